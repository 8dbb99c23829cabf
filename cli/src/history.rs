//! What happened: the events of `issues`, in the order in which each partition has them, from the log or from a file.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, Read},
    ops::ControlFlow,
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use eventlog::{Bounds, Log, Record};
use events::{IssueEvent, PolicyChange, topic};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    commands::{inert, publish, read_all},
    error::Failure,
};

/// Longest wait for the next records before asking whether there are any.
const READ_WAIT: Duration = Duration::from_millis(500);
/// The longest line of a file, in bytes; no event comes near it.
const MAX_LINE_BYTES: u64 = 8 << 20;
/// The longest id, in bytes: a gateway puts records with a longer one aside.
const MAX_ID_BYTES: usize = 512;
/// How much of the reason is told why a line cannot be read, in characters; it may quote the line.
const MAX_REASON_CHARS: usize = 240;

/// One event, where it stands, and when the log took it.
#[derive(Debug)]
pub(crate) struct Happened {
    /// The partition. Of a file of bare events each project is one, numbered as they appear: order is per project.
    pub(crate) partition: u32,
    /// The offset. Of a bare event: the line, from 1.
    pub(crate) offset: u64,
    /// The log's stamp; in a partition it never goes back.
    pub(crate) timestamp: DateTime<Utc>,
    /// SHA-256 of the delivery's body, where the record says it.
    pub(crate) payload_hash: Option<String>,
    /// The event.
    pub(crate) event: IssueEvent,
}

/// What stood between the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Skipped {
    /// Records of `issues` that a gateway puts aside as dead letters.
    pub(crate) unreadable: u64,
    /// Lines of a file that are records of other topics.
    pub(crate) other_topics: u64,
    /// Events of a file whose stamp was earlier than the one before in their partition, and was raised to it.
    pub(crate) raised: u64,
}

/// Reads one partition of `issues` from its first record to the end that `bounds` names, in order. `each` may end it.
pub(crate) async fn read_partition(
    log: &dyn Log,
    partition: u32,
    bounds: Bounds,
    mut each: impl FnMut(Happened) -> ControlFlow<()>,
) -> Result<Skipped, Failure> {
    let mut skipped = Skipped::default();
    if bounds.first >= bounds.end {
        return Ok(skipped);
    }
    let mut reader = log.read(topic::ISSUES, &[(partition, bounds.first)]).await?;
    loop {
        let records = reader.next(READ_WAIT).await?;
        if records.is_empty() && reader.at_end().await? {
            // What stood before the end is gone (retention), or was no record (a broker's marker).
            return Ok(skipped);
        }
        for record in records {
            if record.offset >= bounds.end {
                return Ok(skipped);
            }
            let last = record.offset + 1 == bounds.end;
            match read_record(record) {
                Some(happened) => {
                    if each(happened).is_break() {
                        return Ok(skipped);
                    }
                }
                None => skipped.unreadable += 1,
            }
            if last {
                return Ok(skipped);
            }
        }
    }
}

/// A record's event; none where a gateway makes it a dead letter.
fn read_record(record: Record) -> Option<Happened> {
    let value = record.value.as_deref()?;
    // Checked once, and not again for each text in it.
    let event: IssueEvent = match std::str::from_utf8(value) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(value),
    }
    .ok()?;
    let (partition, offset, timestamp) = (record.partition, record.offset, record.timestamp);
    is_sound(&event, &record.key).then(|| {
        let payload_hash = record.header("payload_hash").map(str::to_owned);
        Happened { partition, offset, timestamp, payload_hash, event }
    })
}

fn is_sound(event: &IssueEvent, key: &[u8]) -> bool {
    let ids = [&event.project_id, &event.event_id, &event.issue_ref];
    ids.iter().all(|id| (1..=MAX_ID_BYTES).contains(&id.len())) && event.project_id.as_bytes() == key
}

/// Which policy held from which offsets on: the records of the topic `policies`, by partition of `issues`, oldest first.
pub(crate) async fn policies(log: &dyn Log) -> Result<BTreeMap<u32, Vec<PolicyChange>>, Failure> {
    let mut changes: BTreeMap<u32, Vec<PolicyChange>> = BTreeMap::new();
    let mut broken = None;
    read_all(log, topic::POLICIES, |record| {
        match serde_json::from_slice::<PolicyChange>(record.value.as_deref().unwrap_or_default()) {
            Ok(change) => changes.entry(change.partition).or_default().push(change),
            Err(_) => _ = broken.get_or_insert((record.partition, record.offset)),
        }
    })
    .await?;
    match broken {
        None => Ok(changes),
        Some((partition, offset)) => Err(Failure::failed(format!(
            "{} partition {partition} offset {offset} cannot be read; was it written by another version of breakdown?",
            topic::POLICIES
        ))),
    }
}

/// A line of `tail --json`.
#[derive(Debug, Deserialize)]
struct Line {
    topic: String,
    partition: u32,
    offset: u64,
    key: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    timestamp: DateTime<Utc>,
    value: Value,
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Events as `publish` takes them.
    Bare,
    /// Records as `tail --json` prints them.
    Records,
}

impl Shape {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "a bare event",
            Self::Records => "a record of `tail --json`",
        }
    }
}

/// Reads history from a file, line by line; `name` stands in what is said of it. No stamp may be later than `latest`.
///
/// Bare events are checked as `publish` does, and stamped `updated_at`, else `created_at`. Records of `tail --json` keep
/// their partition and stamp; those of other topics are passed over.
pub(crate) fn read_file(
    mut input: impl BufRead,
    name: &str,
    latest: DateTime<Utc>,
    mut each: impl FnMut(Happened),
) -> Result<Skipped, Failure> {
    let mut reading = Reading { latest, ..Reading::default() };
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let read = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let length = read.map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
        if length == 0 {
            break;
        }
        let told = match length as u64 > MAX_LINE_BYTES {
            true => Err(format!("a line may have at most {MAX_LINE_BYTES} bytes")),
            false => reading.line(line.trim_ascii(), number),
        };
        match told {
            Ok(happened) => happened.into_iter().for_each(&mut each),
            Err(why) => {
                let mut reason: String = inert(&why).chars().take(MAX_REASON_CHARS).collect();
                if reason.len() < why.len() {
                    reason.push('…');
                }
                return Err(Failure::usage(format!("{name}, line {number}: {reason}")));
            }
        }
    }
    match reading.shape {
        Some(_) => Ok(reading.skipped),
        None => Err(Failure::usage(format!(
            "{name} holds no event; it should have one a line, bare or as `breakdown tail issues --json` prints them"
        ))),
    }
}

/// A file on its way.
#[derive(Debug, Default)]
struct Reading {
    latest: DateTime<Utc>,
    shape: Option<Shape>,
    /// The projects of bare events.
    projects: HashMap<String, u32>,
    /// The last stamp of each partition.
    stamps: HashMap<u32, DateTime<Utc>>,
    skipped: Skipped,
}

impl Reading {
    fn line(&mut self, text: &[u8], number: u64) -> Result<Option<Happened>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            // serde_json's own text can quote the line; the place cannot.
            format!("no JSON ({:?} error at column {}); one event a line", error.classify(), error.column())
        })?;
        if value.is_array() {
            return Err("a JSON array; one event a line (`jq -c '.[]'` makes such lines)".into());
        }
        let shape = if value.get("topic").is_some() { Shape::Records } else { Shape::Bare };
        if let Some(before) = self.shape.filter(|before| *before != shape) {
            return Err(format!(
                "{}, where the lines before are each {}; their order among each other is not known",
                shape.as_str(),
                before.as_str()
            ));
        }
        self.shape = Some(shape);
        let happened = match shape {
            Shape::Bare => Some(self.bare(value, number)?),
            Shape::Records => self.record(value)?,
        };
        happened.map(|happened| self.stamp(happened)).transpose()
    }

    fn bare(&mut self, value: Value, number: u64) -> Result<Happened, String> {
        let event = publish::complete(value)?;
        let timestamp = event.updated_at.or(event.created_at).ok_or(
            "neither updated_at nor created_at: when it happened is not known; write updated_at, as 2026-02-03T08:15:00Z",
        )?;
        let partition = match self.projects.get(&event.project_id) {
            Some(partition) => *partition,
            None => {
                let next = u32::try_from(self.projects.len()).map_err(|_| "too many projects")?;
                self.projects.insert(event.project_id.clone(), next);
                next
            }
        };
        Ok(Happened { partition, offset: number, timestamp, payload_hash: None, event })
    }

    fn record(&mut self, value: Value) -> Result<Option<Happened>, String> {
        let Line { topic, partition, offset, key, mut headers, timestamp, value } =
            serde_json::from_value(value).map_err(|error| format!("no record of `tail --json`: {error}"))?;
        if topic != topic::ISSUES {
            self.skipped.other_topics += 1;
            return Ok(None);
        }
        let event = serde_json::from_value(value).ok().filter(|event| is_sound(event, key.as_bytes()));
        let Some(event) = event else {
            self.skipped.unreadable += 1;
            return Ok(None);
        };
        let payload_hash = headers.remove("payload_hash");
        Ok(Some(Happened { partition, offset, timestamp, payload_hash, event }))
    }

    /// A log's stamps are whole milliseconds and never go back.
    fn stamp(&mut self, mut happened: Happened) -> Result<Happened, String> {
        happened.timestamp = happened.timestamp.trunc_subsecs(3);
        if happened.timestamp > self.latest {
            return Err(format!("{} has not come yet; a history is of the past", happened.timestamp));
        }
        let last = self.stamps.entry(happened.partition).or_insert(happened.timestamp);
        if happened.timestamp < *last {
            self.skipped.raised += 1;
            happened.timestamp = *last;
        }
        *last = happened.timestamp;
        Ok(happened)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bare(project: &str, at: &str) -> Value {
        json!({"project_id": project, "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 1, "updated_at": at})
    }

    fn record(topic: &str, partition: u32, at: &str) -> Value {
        let mut event = bare("alpha", at);
        event["issue_ref"] = "github:o/r#1".into();
        event["event_id"] = "e".into();
        json!({"topic": topic, "partition": partition, "offset": 4, "key": "alpha", "headers": {"payload_hash": "aa"},
            "timestamp": at, "value": event})
    }

    fn read(lines: &[Value]) -> Result<(Vec<Happened>, Skipped), String> {
        let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
        read_text(&text)
    }

    fn read_text(text: &str) -> Result<(Vec<Happened>, Skipped), String> {
        let latest = "2026-06-01T00:00:00Z".parse().unwrap();
        let mut all = Vec::new();
        let skipped = read_file(text.as_bytes(), "f", latest, |happened| all.push(happened));
        skipped.map(|skipped| (all, skipped)).map_err(|failure| {
            assert_eq!(failure.code, 2);
            failure.to_string()
        })
    }

    #[test]
    fn bare_events_are_one_order_a_project() {
        let created = {
            let mut event = bare("beta", "");
            event.as_object_mut().unwrap().remove("updated_at");
            event["created_at"] = "2026-01-01T00:00:00Z".into();
            event
        };
        let (all, skipped) = read(&[
            bare("alpha", "2026-02-03T08:00:00.1239Z"),
            created,
            bare("alpha", "2026-02-03T07:00:00Z"),
            bare("alpha", "2026-02-03T09:00:00Z"),
        ])
        .unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|it| (it.partition, it.offset, it.timestamp.to_rfc3339(), it.event.issue_ref.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (0, 1, "2026-02-03T08:00:00.123+00:00".into(), "github:o/r#1"),
                (1, 3, "2026-01-01T00:00:00+00:00".into(), "github:o/r#1"),
                (0, 5, "2026-02-03T08:00:00.123+00:00".into(), "github:o/r#1"),
                (0, 7, "2026-02-03T09:00:00+00:00".into(), "github:o/r#1"),
            ]
        );
        assert_eq!(skipped, Skipped { raised: 1, ..Skipped::default() });
    }

    #[test]
    fn records_keep_their_place_and_what_a_gateway_puts_aside_is_counted() {
        let mut broken = record("issues", 3, "2026-02-03T08:00:00Z");
        broken["value"] = json!({"base64": "AAAA"});
        let mut foreign = record("issues", 3, "2026-02-03T08:00:00Z");
        foreign["key"] = "beta".into();
        let mut deleted = record("issues", 3, "2026-02-03T08:00:00Z");
        deleted["value"] = Value::Null;
        let actions = record("actions", 3, "2026-02-03T08:00:00Z");
        let good = record("issues", 3, "2026-02-03T09:00:00Z");
        let (all, skipped) = read(&[broken, foreign, deleted, actions, good]).unwrap();
        let place = |it: &Happened| (it.partition, it.offset, it.payload_hash.clone());
        assert_eq!(all.iter().map(place).collect::<Vec<_>>(), [(3, 4, Some("aa".into()))]);
        assert_eq!(skipped, Skipped { unreadable: 3, other_topics: 1, raised: 0 });
    }

    #[test]
    fn a_bad_line_is_named_and_not_quoted_at_length() {
        let good = bare("alpha", "2026-02-03T08:00:00Z");
        let mut unknown = good.clone();
        unknown[format!("x{}", "y".repeat(5000))] = 1.into();
        let mut timeless = good.clone();
        timeless.as_object_mut().unwrap().remove("updated_at");
        let secret = format!(r#"{{"topic": "issues", "partition": "{}"}}"#, "s".repeat(5000));
        for (line, says) in [
            (unknown.to_string(), "unknown field"),
            (timeless.to_string(), "neither updated_at nor created_at"),
            (bare("alpha", "2027-01-01T00:00:00Z").to_string(), "has not come yet"),
            (json!([good]).to_string(), "one event a line"),
            ("{\"a\": \u{1b}[2J".into(), "no JSON"),
            (
                record("issues", 0, "2026-02-03T08:00:00Z").to_string(),
                "the lines before are each a bare event",
            ),
            ("7".into(), "JSON object"),
            (format!("\"{}\"", "x".repeat(MAX_LINE_BYTES as usize)), "at most 8388608 bytes"),
        ] {
            let error = read_text(&format!("{good}\n{line}\n")).unwrap_err();
            assert!(error.starts_with("f, line 2: ") && error.contains(says), "{error}");
            assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
        }
        let error = read_text(&secret).unwrap_err();
        assert!(error.contains("f, line 1: no record of `tail --json`") && error.len() < 1000, "{error}");
        for empty in ["", "\n \n"] {
            assert!(read_text(empty).unwrap_err().contains("f holds no event"));
        }
        assert!(read_text("\u{feff}{}").unwrap_err().contains("no JSON"));
    }
}
