//! What stands in `executor-state`: key = action id; value = JSON, one of
//!
//! - `{"state": "pending", "accepted_at", "asked_at", "offset", "attempts", "parkings", "next_attempt_at", "record"}`:
//!   the action is to be carried out; `offset` and `record` are the action's record, as it stands on `actions`;
//! - `{"state": "done", "finished_at"}`: it has its outcome. Kept for seven days, so that the same action standing on
//!   the log again is recognised; then deleted.
//!
//! Instants are RFC 3339.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::{Action, Carried, Origin, topic};
use serde::{Deserialize, Serialize};

/// A value in `executor-state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Entry {
    Pending(PendingEntry),
    Done { finished_at: DateTime<Utc> },
}

/// An action that is to be carried out, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingEntry {
    /// When step one was made.
    pub(crate) accepted_at: DateTime<Utc>,
    /// The earlier of the instant for which it was decided and the record's timestamp.
    pub(crate) asked_at: DateTime<Utc>,
    /// Offset of the action's record.
    pub(crate) offset: u64,
    /// Calls of the target so far, as far as a step has counted them.
    pub(crate) attempts: u32,
    /// How often it was parked.
    pub(crate) parkings: u32,
    /// When it is to be attempted.
    pub(crate) next_attempt_at: DateTime<Utc>,
    /// What the target last said against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// What is known of its targets, where a route names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) legs: Vec<Leg>,
    /// Value of the action's record.
    pub(crate) record: String,
}

/// One target of an action's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    /// Whether nothing more is to be done there.
    pub(crate) ended: bool,
    #[serde(flatten)]
    pub(crate) carried: Carried,
}

/// An action that is to be carried out.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) action: Arc<Action>,
    /// Index of the target that carries it; `None` when none does.
    pub(crate) target: Option<usize>,
    pub(crate) entry: PendingEntry,
}

impl Pending {
    /// What each of its targets did.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        self.entry.legs.iter().map(|leg| leg.carried.clone()).collect()
    }

    /// Where the action's record stands.
    pub(crate) fn origin(&self, partition: u32) -> Origin {
        Origin::Record { topic: topic::ACTIONS.to_owned(), partition, offset: self.entry.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_kept() {
        // These stand in changelogs in the field.
        let pending = r#"{"state":"pending","accepted_at":"2026-03-02T10:00:00Z","asked_at":"2026-03-02T09:59:00Z","offset":7,"attempts":3,"parkings":1,"next_attempt_at":"2026-03-02T10:00:05.250Z","record":"{\"event_id\":\"a-1\"}"}"#;
        let done = r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z"}"#;
        for text in [pending, done] {
            let entry: Entry = serde_json::from_str(text).expect("an entry");
            assert_eq!(serde_json::to_string(&entry).expect("JSON"), text);
        }
    }
}
