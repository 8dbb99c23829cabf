//! Events that people write, in a file to publish or in a test of a policy: what a reader of the topic would overlook is a
//! mistake here.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use serde_json::{Map, Value};

use crate::{EventType, FieldChange, IssueEvent, MAX_ID_BYTES, Recorded, Unsound, clean_text};

/// Why something is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: the keys and list places (from 0) that lead there; empty when it is the event as a whole.
    pub path: Vec<String>,
    /// The last key of the path is itself wrong, an unknown field; `message` names it.
    pub is_key: bool,
    /// What is wrong.
    pub message: String,
}

impl Mistake {
    fn at(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|&step| step.to_owned()).collect();
        Self { path, is_key: false, message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.path[..self.path.len() - usize::from(self.is_key && !self.path.is_empty())];
        match named.is_empty() {
            true => f.write_str(&self.message),
            // A key can be any text.
            false => write!(f, "{}: {}", clean_text(&named.join(".")).escape_debug(), self.message),
        }
    }
}

impl std::error::Error for Mistake {}

impl IssueEvent {
    /// Reads an event, and refuses what readers of the topic ignore or accept: unknown fields, unknown types, and names that are
    /// empty or longer than 512 bytes.
    ///
    /// # Errors
    /// The first [`Mistake`].
    pub fn by_hand(fields: Map<String, Value>) -> Result<Self, Mistake> {
        refuse_unknown(fields.keys(), fields_of_event(), &[])?;
        for (name, change) in fields.get("change").and_then(Value::as_object).into_iter().flatten() {
            // A list would be read as the fields of a change in their order.
            let Some(change) = change.as_object() else {
                let message = "a change is a map with some of old, new, added and removed, such as labels: {added: [urgent]}";
                return Err(Mistake::at(&["change", name], message));
            };
            refuse_unknown(change.keys(), fields_of_change(), &["change", name])?;
        }
        let event: Self = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            let path = error.path().iter().filter_map(|step| match step {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                _ => None,
            });
            Mistake { path: path.collect(), is_key: false, message: error.inner().to_string() }
        })?;
        if let EventType::Other(word) = &event.event_type {
            let known = EventType::KNOWN.join(", ");
            let message = format!("{:?} is no event type; there are {known}", clean_text(word));
            return Err(Mistake::at(&["type"], message));
        }
        match event.check_ids() {
            Err(Unsound::Id(field)) => {
                Err(Mistake::at(&[field], format!("must have 1 to {MAX_ID_BYTES} bytes")))
            }
            _ => Ok(event),
        }
    }

    /// The names of an event's fields, as its schema has them.
    pub fn field_names() -> impl Iterator<Item = &'static str> {
        fields_of_event().iter().map(String::as_str)
    }
}

fn refuse_unknown<'k>(
    mut keys: impl Iterator<Item = &'k String>,
    known: &BTreeSet<String>,
    within: &[&str],
) -> Result<(), Mistake> {
    match keys.find(|key| !known.contains(*key)) {
        None => Ok(()),
        Some(key) => {
            let path = [within, &[key.as_str()]].concat();
            let mistake = Mistake::at(&path, format!("unknown field {:?}", clean_text(key)));
            Err(Mistake { is_key: true, ..mistake })
        }
    }
}

fn fields_of_event() -> &'static BTreeSet<String> {
    static FIELDS: LazyLock<BTreeSet<String>> =
        LazyLock::new(|| properties(&schemars::schema_for!(IssueEvent)));
    &FIELDS
}

fn fields_of_change() -> &'static BTreeSet<String> {
    static FIELDS: LazyLock<BTreeSet<String>> =
        LazyLock::new(|| properties(&schemars::schema_for!(FieldChange)));
    &FIELDS
}

fn properties(schema: &schemars::Schema) -> BTreeSet<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|fields| fields.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Result<IssueEvent, Mistake> {
        let mut event = json!({"event_id": "e", "project_id": "p", "source": "github", "type": "issue_opened",
            "issue_ref": "github:o/r#1"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        IssueEvent::by_hand(event.as_object().unwrap().clone())
    }

    #[test]
    fn what_is_right_is_read() {
        let event = read(json!({"labels": ["x"], "change": {"labels": {"added": ["x"]}}})).unwrap();
        assert_eq!(event.change["labels"].added, ["x"]);
        assert!(IssueEvent::field_names().any(|name| name == "due_at"));
    }

    #[test]
    fn a_mistake_names_its_place() {
        for (more, path, says) in [
            (json!({"lables": []}), "lables", "unknown field"),
            (json!({"change": {"labels": {"add": []}}}), "change.labels.add", "unknown field \"add\""),
            (json!({"labels": ["a", 1]}), "labels.1", "expected a string"),
            (json!({"due_at": "tomorrow"}), "due_at", "invalid"),
            (json!({"type": "issue_openned"}), "type", "there are issue_opened,"),
            (json!({"project_id": ""}), "project_id", "1 to 512 bytes"),
            (json!({"issue_ref": "x".repeat(513)}), "issue_ref", "1 to 512 bytes"),
        ] {
            let mistake = read(more).unwrap_err();
            assert_eq!(mistake.path.join("."), path);
            assert!(mistake.message.contains(says), "{mistake}");
        }
        let nested = read(json!({"change": {"labels": {"add": []}}})).unwrap_err();
        assert_eq!(nested.to_string(), "change.labels: unknown field \"add\"");
        assert_eq!(read(json!({"lables": []})).unwrap_err().to_string(), "unknown field \"lables\"");
        assert!(IssueEvent::by_hand(Map::new()).unwrap_err().to_string().contains("missing field"));
    }
}
