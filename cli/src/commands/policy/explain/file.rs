//! An event in a file: bare, as `publish` takes it, or in a record, as `tail --json` prints it.

use std::{
    fs::File,
    io::{Read, stdin},
    path::Path,
};

use chrono::{DateTime, Utc};
use events::{IssueEvent, topic};
use serde_json::Value;

use super::subject::{Id, Lane, SHAPES};
use crate::{
    commands::{inert, publish},
    error::Failure,
    history::Line,
};

/// The largest file with an event, in bytes.
const MAX_BYTES: u64 = 8 << 20;
/// How much is told of why an event cannot be read, in characters.
const MAX_REASON_CHARS: usize = 240;

/// What a file holds.
pub(super) enum Content {
    /// An event; of a record, when the log took it.
    Event { event: Box<IssueEvent>, taken_at: Option<DateTime<Utc>> },
    /// The record of an action, which the log knows.
    Action { id: Id, lane: Lane },
}

/// Reads a file with one event or record; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Content, Failure> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { inert(&path.display().to_string()) };
    let mut text = Vec::new();
    let read = match is_stdin {
        true => stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut text),
        false => File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| Failure::usage(format!("{name} cannot be read: {error}; {SHAPES}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name}: an event may have at most {MAX_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!(
            "{name} is not one JSON object ({:?} error at {place}); a file holds one event as `breakdown publish` takes it, or one \
             line of `breakdown tail issues --json`",
            error.classify()
        ))
    })?;
    // It may quote the file.
    content(value).map_err(|why| {
        let reason: String = inert(&why).chars().take(MAX_REASON_CHARS).collect();
        Failure::usage(format!("{name}: {reason}"))
    })
}

fn content(value: Value) -> Result<Content, String> {
    if value.get("topic").is_none() {
        if let (Some(id), Some(_), Some(_)) =
            (value["event_id"].as_str(), value.get("action"), value.get("target"))
        {
            return Err(format!(
                "this is an action: `breakdown policy explain {id}` explains it, from the log"
            ));
        }
        return Ok(Content::Event { event: Box::new(publish::complete(value)?), taken_at: None });
    }
    let line: Line = serde_json::from_value(value)
        .map_err(|error| format!("no record of `breakdown tail --json`: {error}"))?;
    let lane = [Lane::InForce, Lane::OnTrial].into_iter().find(|lane| lane.topic() == line.topic);
    match (lane, line.value["event_id"].as_str()) {
        (Some(lane), Some(id)) => Ok(Content::Action { id: Id::Action(id.to_owned()), lane }),
        _ if line.topic == topic::ISSUES => {
            let event = line.event().ok_or("this record is no event: a gateway makes it a dead letter")?;
            Ok(Content::Event { event: Box::new(event), taken_at: Some(line.timestamp) })
        }
        _ => Err(format!(
            "a record of {:?}; those of issues, actions and actions-shadow can be explained",
            line.topic
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(topic: &str, value: Value) -> Value {
        json!({"topic": topic, "partition": 0, "offset": 7, "key": "alpha", "headers": {}, "timestamp": "2026-02-03T08:15:00Z",
            "value": value})
    }

    #[test]
    fn a_record_is_what_it_holds() {
        let event = json!({"event_id": "e", "project_id": "alpha", "source": "github", "type": "issue_updated",
            "issue_ref": "github:o/r#1", "repo": "o/r", "issue_number": 1});
        let Ok(Content::Event { event: bare, taken_at: None }) = content(event.clone()) else { panic!() };
        let Ok(Content::Event { event: held, taken_at: Some(at) }) = content(record("issues", event)) else {
            panic!()
        };
        assert_eq!((bare, at), (held, "2026-02-03T08:15:00Z".parse().unwrap()));
        let action =
            json!({"event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "owner:kim"});
        for (topic, lane) in [("actions", Lane::InForce), ("actions-shadow", Lane::OnTrial)] {
            let Ok(Content::Action { id, lane: told }) = content(record(topic, action.clone())) else {
                panic!()
            };
            assert_eq!((id.text(), told), ("a-1", lane));
        }
        for (value, says) in [
            (action.clone(), "policy explain a-1"),
            (record("outcomes", action), "those of issues, actions"),
            (record("issues", json!({"base64": "AA=="})), "dead letter"),
            (json!({"topic": "issues"}), "no record of `breakdown tail --json`"),
            (json!([]), "JSON object"),
        ] {
            let Err(why) = content(value) else { panic!("{says}") };
            assert!(why.contains(says), "{why}");
        }
    }
}
