//! What becomes of a record that the broker will never take: a dead letter.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventlog::{LogError, NewRecord};
use events::{DeadLetter, IssueEvent, Origin};

/// The dead letter that tells of `record`; `None` where it is one itself, or cannot be written.
pub(super) fn letter(record: &NewRecord, why: &LogError, at: DateTime<Utc>) -> Option<NewRecord> {
    let value = record.value.as_deref().unwrap_or_default();
    let event: IssueEvent = serde_json::from_slice(value).ok()?;
    let payload_hash = record.headers.iter().find(|(name, _)| name == "payload_hash");
    let origin = Origin::Spooled {
        provider: event.source.as_str().to_owned(),
        delivery_id: event.delivery_id,
        payload_hash: payload_hash.map(|(_, hash)| hash.clone()),
    };
    let letter = DeadLetter::new(origin, Some(event.project_id), "unfit", why.to_string(), at, value);
    let message = letter.to_message().ok()?;
    Some(NewRecord {
        topic: message.topic.to_owned(),
        partition: None,
        key: Bytes::from(message.key),
        value: Some(Bytes::from(message.value)),
        headers: message.headers,
    })
}
