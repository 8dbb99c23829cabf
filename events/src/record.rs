//! Which records of a topic are what it is for. Whoever reads the topic passes over the others, and everybody over the same ones.

use std::{fmt, str};

use serde::de::DeserializeOwned;

use crate::{IssueEvent, Outcome};

/// The longest id, project and issue_ref, in bytes: they become keys of the state, and many of them one entry.
pub const MAX_ID_BYTES: usize = 512;

/// Why a record is not what its topic is for. Told without the record's own text.
#[derive(Debug)]
pub enum Unsound {
    /// Its value is not the JSON of it.
    Json(serde_json::Error),
    /// This field is empty or has more than [`MAX_ID_BYTES`].
    Id(&'static str),
    /// Its key is not its project.
    Key,
}

impl Unsound {
    /// The reason in one word, as dead letters and metrics have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Id(_) => "unreadable",
            Self::Key => "wrong_key",
        }
    }
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // serde_json's own text can quote the value; its place cannot.
            Self::Json(error) => {
                write!(f, "{:?} error at line {} column {}", error.classify(), error.line(), error.column())
            }
            Self::Id(field) => write!(f, "{field} must have 1 to {MAX_ID_BYTES} bytes"),
            Self::Key => f.write_str("the record's key is not its project_id"),
        }
    }
}

impl std::error::Error for Unsound {}

/// What stands on a topic under its project.
pub trait Recorded: DeserializeOwned {
    /// The project.
    fn project_id(&self) -> &str;

    /// Its other ids, each with the name of the field.
    fn ids(&self) -> impl IntoIterator<Item = (&'static str, &str)>;

    /// Reads a record.
    ///
    /// # Errors
    /// Why it is none of these.
    fn from_record(key: &[u8], value: &[u8]) -> Result<Self, Unsound> {
        // Checked to be UTF-8 once, and not again for each text in it.
        let read: Self = match str::from_utf8(value) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(value),
        }
        .map_err(Unsound::Json)?;
        read.check_ids()?;
        read.check_key(key)?;
        Ok(read)
    }

    /// # Errors
    /// The first id that is empty or too long.
    fn check_ids(&self) -> Result<(), Unsound> {
        let mut ids = [("project_id", self.project_id())].into_iter().chain(self.ids());
        match ids.find(|(_, id)| !(1..=MAX_ID_BYTES).contains(&id.len())) {
            Some((field, _)) => Err(Unsound::Id(field)),
            None => Ok(()),
        }
    }

    /// # Errors
    /// The key is another than the project.
    fn check_key(&self, key: &[u8]) -> Result<(), Unsound> {
        if self.project_id().as_bytes() == key { Ok(()) } else { Err(Unsound::Key) }
    }
}

impl Recorded for IssueEvent {
    fn project_id(&self) -> &str {
        &self.project_id
    }

    fn ids(&self) -> impl IntoIterator<Item = (&'static str, &str)> {
        [("event_id", self.event_id.as_str()), ("issue_ref", &self.issue_ref)]
    }
}

impl Recorded for Outcome {
    fn project_id(&self) -> &str {
        &self.project_id
    }

    fn ids(&self) -> impl IntoIterator<Item = (&'static str, &str)> {
        let action = self.action_id.as_deref().map(|action| ("action_id", action));
        [("event_id", self.event_id.as_str())].into_iter().chain(action)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(more: Value) -> Vec<u8> {
        let mut event = json!({"event_id": "e", "project_id": "p", "source": "github", "type": "issue_opened",
            "issue_ref": "github:o/r#1"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event.to_string().into()
    }

    #[test]
    fn what_is_none_is_told_without_its_text() {
        let id = "i".repeat(MAX_ID_BYTES);
        assert_eq!(IssueEvent::from_record(b"p", &event(json!({"event_id": id}))).unwrap().event_id, id);
        for (key, value, reason, says) in [
            ("q", event(json!({})), "wrong_key", "the record's key is not its project_id"),
            (
                "p",
                event(json!({"event_id": "i".repeat(513)})),
                "unreadable",
                "event_id must have 1 to 512 bytes",
            ),
            ("p", event(json!({"issue_ref": ""})), "unreadable", "issue_ref must have 1 to 512 bytes"),
            ("", event(json!({"project_id": ""})), "unreadable", "project_id must have 1 to 512 bytes"),
            ("p", b"{\"secret\": \"x".into(), "unreadable", "Eof error at line 1 column 13"),
            ("p", b"{\"event_id\": \"\xff\"}".into(), "unreadable", "Syntax error at line 1 column 15"),
            ("p", vec![], "unreadable", "Eof error at line 1 column 0"),
        ] {
            let unsound = IssueEvent::from_record(key.as_bytes(), &value).unwrap_err();
            assert_eq!((unsound.reason(), unsound.to_string().as_str()), (reason, says));
        }
        let outcome = |action: Value| json!({"event_id": "o", "project_id": "p", "risk_delta": 0, "ack": true, "action_id": action});
        let read = |action| Outcome::from_record(b"p", outcome(action).to_string().as_bytes());
        assert!(read(Value::Null).is_ok() && read(json!("a-1")).is_ok());
        assert_eq!(read(json!("")).unwrap_err().to_string(), "action_id must have 1 to 512 bytes");
    }
}
