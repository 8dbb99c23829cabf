//! Step one's judgement: what a record of `actions` is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{Action, DeadLetter, Origin, Redrive, topic};

use crate::state::{Pending, PendingEntry};

/// The longest action that is accepted, in bytes: kept twice over (pending, dead letter) it must fit a record.
const MAX_BYTES: usize = 256 * 1024;
/// The longest action id, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Reads a record. An unreadable one, or one under another key than its project, is a dead letter.
pub(crate) fn read(
    record: &Record,
    now: DateTime<Utc>,
    target: impl Fn(&Action) -> Option<usize>,
) -> Result<Pending, Box<DeadLetter>> {
    let value = record.value.as_deref().unwrap_or_default();
    let redrive = Redrive::from_headers(|name| record.header(name));
    let refuse = |reason, detail: String| {
        let origin = Origin::Record {
            topic: topic::ACTIONS.to_owned(),
            partition: record.partition,
            offset: record.offset,
        };
        Box::new(DeadLetter::new(origin, None, reason, detail, now, value).after(redrive.as_ref()))
    };
    let unreadable = |detail: String| refuse("unreadable", detail);
    if value.len() > MAX_BYTES {
        return Err(unreadable(format!("an action has at most {MAX_BYTES} bytes")));
    }
    if value.trim_ascii_start().first() != Some(&b'{') {
        return Err(unreadable("an action is a JSON object".to_owned())); // serde would take an array as well
    }
    // serde's own text may quote the record; the place is enough to find it.
    let action: Action = serde_json::from_slice(value).map_err(|e| {
        unreadable(format!("this is no action, at line {} column {} of its JSON", e.line(), e.column()))
    })?;
    let text = std::str::from_utf8(value).map_err(|_| unreadable("an action is UTF-8".to_owned()))?;
    let id = &action.event_id;
    // It becomes a header and a key.
    if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(unreadable(format!("event_id must be 1 to {MAX_ID_BYTES} visible ASCII characters")));
    }
    if action.project_id.as_bytes() != record.key {
        return Err(refuse("wrong_key", "the record's key is not its project_id".to_owned()));
    }
    // Somebody wants a redriven one now, however long ago it was decided.
    let decided_at = action.evaluated_at.filter(|_| redrive.is_none());
    let entry = PendingEntry {
        accepted_at: now,
        asked_at: decided_at.map_or(record.timestamp, |at| at.min(record.timestamp)),
        offset: record.offset,
        attempts: 0,
        parkings: 0,
        next_attempt_at: now,
        tried_since: None,
        last_error: None,
        legs: Vec::new(),
        redrive,
        supersedes: None,
        record: text.to_owned(),
    };
    Ok(Pending { target: target(&action), action: Arc::new(action), entry })
}
