//! Events that people write, in a file to publish or in a test of a policy: what a reader of the topic would overlook is a
//! mistake here.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use serde_json::{Map, Value};

use crate::{
    EventType, FieldChange, IssueEvent, MAX_ID_BYTES, Recorded, Source, Unsound, clean_text, is_issue_key,
    is_issue_ref, is_repository,
};

/// The longest url, in bytes.
const MAX_URL_BYTES: usize = 1024;

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
    /// Reads an event, and refuses what readers of the topic ignore or accept: unknown fields, unknown types, names that are
    /// empty or longer than 512 bytes, and references and addresses that no issue of the provider can have.
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
        if let Err(Unsound::Id(field)) = event.check_ids() {
            return Err(Mistake::at(&[field], format!("must have 1 to {MAX_ID_BYTES} bytes")));
        }
        event.check_place()?;
        Ok(event)
    }

    /// Whether it can be about an issue of its provider.
    fn check_place(&self) -> Result<(), Mistake> {
        if !is_issue_ref(self.source, &self.issue_ref) {
            let form = match self.source {
                Source::Github => "github:owner/repo#12 or github:owner/repo/milestone/3",
                Source::Jira => "jira:host/KEY-7",
            };
            return Err(Mistake::at(&["issue_ref"], format!("no issue has this reference; write {form}")));
        }
        if self.repo.as_deref().is_some_and(|repo| !is_repository(repo)) {
            return Err(Mistake::at(&["repo"], "no repository has this name; write owner/repo"));
        }
        if self.issue_key.as_deref().is_some_and(|key| !is_issue_key(key)) {
            return Err(Mistake::at(&["issue_key"], "no issue has this key; write it as KEY-7"));
        }
        match self.url.value() {
            Some(url) if !is_web_url(url) => {
                let message = format!(
                    "a person cannot open this; write https:// (or http://) and the rest without blanks, quotes, < > or a user's \
                     name, in at most {MAX_URL_BYTES} bytes"
                );
                Err(Mistake::at(&["url"], message))
            }
            _ => Ok(()),
        }
    }

    /// The names of an event's fields, as its schema has them.
    pub fn field_names() -> impl Iterator<Item = &'static str> {
        fields_of_event().iter().map(String::as_str)
    }
}

/// Whether it is one that a receiver would keep: http or https, nothing that could end a link or begin markup, nobody's name or password.
fn is_web_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"'`\\".contains(&byte);
    url.len() <= MAX_URL_BYTES
        && url.bytes().all(is_plain)
        && authority.is_some_and(|host| !host.is_empty() && !host.contains('@'))
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
        for (more, path, says) in [
            (json!({"issue_ref": "github:o/r #1"}), "issue_ref", "write github:owner/repo#12"),
            (json!({"issue_ref": "github:o/r#1\u{7}"}), "issue_ref", "no issue has this reference"),
            (json!({"source": "jira"}), "issue_ref", "write jira:host/KEY-7"),
            (json!({"repo": "o r/r"}), "repo", "write owner/repo"),
            (json!({"issue_key": "OPS 7"}), "issue_key", "write it as KEY-7"),
            (json!({"url": "javascript:alert(1)"}), "url", "write https://"),
            (json!({"url": "https://x/\u{1b}[2J"}), "url", "cannot open this"),
            (json!({"url": "https://kim:secret@x/1"}), "url", "without blanks"),
            (json!({"url": "https://"}), "url", "cannot open this"),
            (json!({"url": format!("https://x/{}", "a".repeat(1024))}), "url", "at most 1024 bytes"),
        ] {
            let mistake = read(more).unwrap_err();
            assert_eq!(mistake.path.join("."), path);
            assert!(mistake.message.contains(says) && !mistake.message.contains("secret"), "{mistake}");
        }
        for url in
            [json!("https://x.test/browse/OPS-7?a=b@c#d"), json!("http://127.0.0.1:8080/x"), Value::Null]
        {
            assert!(read(json!({ "url": url })).is_ok());
        }
        let nested = read(json!({"change": {"labels": {"add": []}}})).unwrap_err();
        assert_eq!(nested.to_string(), "change.labels: unknown field \"add\"");
        assert_eq!(read(json!({"lables": []})).unwrap_err().to_string(), "unknown field \"lables\"");
        assert!(IssueEvent::by_hand(Map::new()).unwrap_err().to_string().contains("missing field"));
    }
}
