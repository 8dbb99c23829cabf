//! An event, and what CEL sees of it.

use std::collections::{BTreeSet, HashMap};

use cel::Value;
use chrono::{DateTime, TimeDelta, Utc};
use events::IssueEvent;
use serde_json::{Map, Value as Json, json};

use super::choices::Choices;

/// Texts that are in lower case: fixed points of lowering.
pub(crate) const LOWER: &[&str] = &[
    "bug",
    "",
    "a",
    "p0",
    "area/web",
    "area/",
    "crash",
    "crash in area/web at start",
    "open",
    "kim",
    "title",
    "labels",
    "ü",
    "über",
    "ß",
    "日本",
    "🦀",
    "x\"y",
    "it's",
    "back\\slash",
    "tab\t",
    "new\nline",
    "e\u{301}",
    "\u{202e}bidi",
    "12",
    "2026-11-21",
    "null",
    "o/r",
];
/// Others.
pub(crate) const UPPER: &[&str] =
    &["Bug", "BUG", "P0", "Area/Web", "Crash", "ÜBER", "Kim", "Straße", "İ", "Open"];

const TIMES: &[&str] = &[
    "2026-11-20T10:00:00Z",
    "2026-11-20T09:59:59.999999999Z",
    "2026-11-20T10:00:00.000000001Z",
    "2026-11-20T12:00:00+02:00",
    "2026-11-21T10:00:00Z",
    "2026-11-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "1600-02-29T23:59:59Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59Z",
    "2016-12-31T23:59:60Z",
    "2016-12-31T23:59:60.5Z",
    "2300-01-01T00:00:00Z",
];
const TYPES: &[&str] = &[
    "issue_updated",
    "issue_opened",
    "issue_created",
    "issue_closed",
    "issue_reopened",
    "issue_commented",
    "issue_deleted",
    "issue_acknowledged",
    "issue_of_tomorrow",
];

pub(crate) struct World {
    pub(crate) event: IssueEvent,
    pub(crate) now: DateTime<Utc>,
    /// `issue` and `event`, as CEL sees them.
    pub(crate) issue: Value,
    pub(crate) happening: Value,
}

impl World {
    /// `lower`: every text is in lower case. `loud`: except, in the event, what compares without regard to case.
    pub(crate) fn new(choices: &mut Choices<'_>, lower: bool, loud: bool) -> Self {
        let now: DateTime<Utc> = choices
            .of(&["2026-11-20T10:00:00Z", "1970-01-01T00:00:00Z", "8999-12-31T23:59:59.5Z"])
            .parse()
            .unwrap();
        let mut event = event(&mut Draw { choices, lower });
        let updated_at = event.get("updated_at").and_then(Json::as_str);
        let updated_at = updated_at.map(|at| at.parse::<DateTime<Utc>>().unwrap());
        // An answer that is older than a week is not believed, and no rule is asked.
        if event["type"] == "issue_acknowledged"
            && updated_at.is_some_and(|at| at + TimeDelta::days(7) <= now)
        {
            event.remove("updated_at");
        }
        let json = Json::Object(event);
        let (issue, happening) = seen(&json, now);
        let mut said = json;
        if loud {
            for field in ["/labels", "/priority", "/change/labels/added", "/change/labels/removed"] {
                if let Some(value) = said.pointer_mut(field) {
                    shout(value);
                }
            }
        }
        let event = serde_json::from_value(said).unwrap();
        Self { event, now, issue, happening }
    }
}

struct Draw<'c, 't> {
    choices: &'c mut Choices<'t>,
    lower: bool,
}

impl Draw<'_, '_> {
    fn word(&mut self) -> String {
        if !self.lower && self.choices.once_in(2) {
            return self.choices.of(UPPER).to_owned();
        }
        match self.choices.below(40) {
            38 => "nul\0".to_owned(),
            39 => "ü".repeat(1500),
            _ => self.choices.of(LOWER).to_owned(),
        }
    }

    fn words(&mut self) -> Vec<String> {
        if self.choices.once_in(20) {
            return (0..300).map(|n| format!("label-{n}")).collect();
        }
        let length = self.choices.of(&[2, 0, 1, 2, 3, 5]);
        (0..length).map(|_| self.word()).collect()
    }

    /// Not said, null, or a value.
    fn said(&mut self, event: &mut Map<String, Json>, name: &str, value: impl FnOnce(&mut Self) -> Json) {
        match self.choices.below(5) {
            0 => {}
            1 => _ = event.insert(name.to_owned(), Json::Null),
            _ => _ = event.insert(name.to_owned(), value(self)),
        }
    }
}

fn event(draw: &mut Draw<'_, '_>) -> Map<String, Json> {
    let mut event = Map::new();
    event.insert("event_id".into(), "e".into());
    event.insert("project_id".into(), draw.choices.of(&["alpha", "a", "ü"]).into());
    event.insert("source".into(), draw.choices.of(&["github", "jira"]).into());
    event.insert("type".into(), draw.choices.of(TYPES).into());
    event.insert("issue_ref".into(), draw.choices.of(&["github:o/r#12", "jira:host/KEY-7"]).into());
    for text in ["title", "priority", "assignee", "status", "url", "repo", "issue_key", "actor"] {
        draw.said(&mut event, text, |draw| draw.word().into());
    }
    for time in ["due_at", "created_at", "updated_at"] {
        draw.said(&mut event, time, |draw| draw.choices.of(TIMES).into());
    }
    for list in ["labels", "assignees"] {
        draw.said(&mut event, list, |draw| draw.words().into());
    }
    draw.said(&mut event, "issue_number", |draw| {
        draw.choices.of(&[12_u64, 0, 1, 3, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]).into()
    });
    draw.said(&mut event, "state", |draw| draw.choices.of(&["open", "closed"]).into());
    if draw.choices.once_in(3) {
        event.insert("by_us".into(), true.into());
    }
    let mut change = Map::new();
    for field in ["labels", "title", "due_at", "assignees"] {
        if draw.choices.once_in(2) {
            let members = |words: Vec<String>| Json::from(words);
            let (added, removed) = match field {
                "labels" => (draw.words(), draw.words()),
                _ => (Vec::new(), Vec::new()),
            };
            change.insert(field.into(), json!({ "added": members(added), "removed": members(removed) }));
        }
    }
    event.insert("change".into(), change.into());
    event
}

/// What CEL sees, as docs/policy.md says it: every field is there, null when unknown or when there is none.
fn seen(event: &Json, now: DateTime<Utc>) -> (Value, Value) {
    let text = |name: &str| match event[name].as_str() {
        Some(text) => clean(text).into(),
        None => Value::Null,
    };
    let time = |name: &str| event[name].as_str().map(|time| time.parse::<DateTime<Utc>>().unwrap());
    let opening = matches!(event["type"].as_str(), Some("issue_opened" | "issue_created"));
    // A provider's clock is believed up to a day ahead.
    let updated_at = time("updated_at").or(time("created_at").filter(|_| opening));
    let updated_at = updated_at.map(|at| if at > now + TimeDelta::days(1) { now } else { at });
    // That it was acknowledged is no change of the issue.
    let answers = event["type"] == "issue_acknowledged";
    let acknowledged = answers && event["by_us"] != true;
    let state = match (event["type"].as_str(), event["state"].as_str()) {
        (Some("issue_deleted"), _) => "closed".into(),
        (_, Some(state)) => state.into(),
        // Said to be unknown is not unsaid.
        _ if event.get("state").is_some() => Value::Null,
        (Some("issue_opened" | "issue_created" | "issue_reopened"), None) => "open".into(),
        (Some("issue_closed"), None) => "closed".into(),
        _ => Value::Null,
    };
    let (assignee, assignees) = match (event.get("assignee"), event.get("assignees")) {
        (None, None) => (Value::Null, Value::Null),
        (Some(_), None) => {
            let one = text("assignee");
            let all = if one == Value::Null { Vec::new() } else { vec![one.clone()] };
            (one, Value::List(all.into()))
        }
        (None, Some(names)) => {
            let names = members(names, true);
            (names.first().cloned().unwrap_or(Value::Null), Value::List(names.into()))
        }
        (Some(_), Some(names)) => (text("assignee"), Value::List(members(names, true).into())),
    };
    let issue = HashMap::from([
        ("ref", event["issue_ref"].as_str().unwrap().into()),
        ("project", event["project_id"].as_str().unwrap().into()),
        ("source", event["source"].as_str().unwrap().into()),
        ("repo", text("repo")),
        ("number", event["issue_number"].as_i64().map_or(Value::Null, Value::Int)),
        ("key", text("issue_key")),
        ("title", text("title")),
        ("url", text("url")),
        ("labels", event.get("labels").map_or(Value::Null, |all| Value::List(members(all, true).into()))),
        ("assignee", assignee),
        ("assignees", assignees),
        ("priority", text("priority")),
        ("status", text("status")),
        ("state", state),
        ("created_at", stamp(time("created_at"))),
        ("updated_at", stamp(updated_at.filter(|_| !answers))),
        ("acknowledged_at", stamp(acknowledged.then(|| updated_at.unwrap_or(now)))),
        ("acknowledged_by", if acknowledged { text("actor") } else { Value::Null }),
        ("due_at", stamp(time("due_at"))),
    ]);
    let change = event["change"].as_object().unwrap();
    let changed: BTreeSet<_> = change.keys().cloned().collect();
    let of_labels = |which: &str| {
        let all = event.pointer(&format!("/change/labels/{which}")).unwrap_or(&Json::Null);
        Value::List(members(all, false).into())
    };
    let happening = HashMap::from([
        ("type", event["type"].as_str().unwrap().into()),
        ("source", event["source"].as_str().unwrap().into()),
        ("actor", event["actor"].as_str().map_or(Value::Null, Value::from)),
        ("by_us", event["by_us"].as_bool().unwrap_or_default().into()),
        ("changed", changed.into_iter().collect::<Vec<_>>().into()),
        ("labels_added", of_labels("added")),
        ("labels_removed", of_labels("removed")),
    ]);
    (issue.into(), happening.into())
}

fn stamp(time: Option<DateTime<Utc>>) -> Value {
    time.map_or(Value::Null, |time| Value::Timestamp(time.fixed_offset()))
}

/// What is kept of a text: 1,024 characters, none of them NUL.
fn clean(text: &str) -> String {
    text.chars().take(1024).map(|c| if c == '\0' { '\u{FFFD}' } else { c }).collect()
}

/// At most 256; of an issue's own list each once, and clean.
fn members(list: &Json, own: bool) -> Vec<Value> {
    let mut members: Vec<String> = Vec::new();
    for word in list.as_array().into_iter().flatten().take(256) {
        let word = word.as_str().unwrap();
        let word = if own { clean(word) } else { word.to_owned() };
        if !own || !members.contains(&word) {
            members.push(word);
        }
    }
    members.into_iter().map(Value::from).collect()
}

/// In upper case, as far as there is a way back.
fn shout(value: &mut Json) {
    match value {
        Json::String(text) => {
            *text = text
                .chars()
                .map(|c| {
                    let upper: String = c.to_uppercase().collect();
                    if upper.to_lowercase() == c.to_string() { upper } else { c.to_string() }
                })
                .collect();
        }
        Json::Array(list) => list.iter_mut().for_each(shout),
        _ => {}
    }
}
