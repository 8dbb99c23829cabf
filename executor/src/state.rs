//! What stands in `executor-state`: key = action id; value = JSON, one of
//!
//! - `{"state": "pending", "accepted_at", "asked_at", "offset", "attempts", "parkings", "next_attempt_at", "record"}`:
//!   the action is to be carried out; `offset` and `record` are the action's record, as it stands on `actions`;
//!   with `tried_since` once it was parked, `redrive` where that record was redriven, and `supersedes` (`outcome`, `risk`, `left`, as below) where its outcome
//!   will replace an earlier one;
//! - `{"state": "done", "finished_at", "round", "risk", "left"}`: it has its outcome, of that redrive round (0 where it is not said), which made the
//!   project's risk what it is by `risk`; `left` false where it left nothing anywhere, or took nothing back since a later page was made (true where it is not said); `tie` is what it was to others, where it called people
//!   (`page`: `issue`, `offset`, `decided_at`) or took an action back (`takes_back`: its id). Kept for seven days, so that the same action standing on the log again is recognised; then
//!   deleted.
//!
//! Key = `deferred ` and an action's id; value = `{"state": "deferred", "offset", "round", "by", "project_id", "action", "takes_back"}`: the action
//! is to be carried out, and is read again from `actions` at that offset once the carrier `by` has room; `round` where it was redriven,
//! `takes_back` the id of what it is to take back. Deleted in the step that takes it up.
//!
//! Key = `control ` and a project, or nothing for all; value = `{"state": "paused", "at"}` or `{"state": "resumed", "at"}`.
//!
//! Instants are RFC 3339.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::{Action, ActionKind, Carried, Origin, Redrive, Risk, topic};
use serde::{Deserialize, Serialize};

use crate::ties::Tie;

/// A value in `executor-state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Entry {
    Pending(PendingEntry),
    Done {
        finished_at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "is_zero")]
        round: u32,
        /// Not said by versions that redrove nothing: what they will be asked about is what failed.
        #[serde(default = "failed")]
        risk: Risk,
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        left: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tie: Option<Box<Tie>>,
    },
    Deferred(DeferredEntry),
    Paused {
        at: DateTime<Utc>,
    },
    Resumed {
        at: DateTime<Utc>,
    },
}

/// What is remembered of an action that has its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The redrive round of the outcome.
    pub(crate) round: u32,
    /// What the action has done to the project's risk, over all rounds.
    pub(crate) risk: Risk,
    /// Whether it may have left something somewhere, which can be taken back; of what takes back, whether it did, and made way for no other.
    pub(crate) left: bool,
    /// What it is to others; boxed, since most are nothing to anybody and there are many marks.
    pub(crate) tie: Option<Box<Tie>>,
}

impl Entry {
    /// The entry of an action that ended then, with this mark.
    pub(crate) fn done(finished_at: DateTime<Utc>, mark: &Mark) -> Self {
        let Mark { round, risk, left, tie } = mark.clone();
        Self::Done { finished_at, round, risk, left, tie }
    }
}

fn yes() -> bool {
    true
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_true(left: &bool) -> bool {
    *left
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(round: &u32) -> bool {
    *round == 0
}

fn failed() -> Risk {
    Risk::FAILED
}

/// The outcome that the next one replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Superseded {
    /// Its id (`o-…`).
    pub(crate) outcome: String,
    /// What the action has done to the project's risk so far.
    pub(crate) risk: Risk,
    /// Whether its rounds so far may have left something somewhere.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub(crate) left: bool,
}

/// An action that is to be carried out, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingEntry {
    /// When step one was made.
    pub(crate) accepted_at: DateTime<Utc>,
    /// The earlier of the instant for which it was decided and the record's timestamp; of a redriven one, its record's own.
    pub(crate) asked_at: DateTime<Utc>,
    /// Offset of the action's record.
    pub(crate) offset: u64,
    /// Calls of the target so far, as far as a step has counted them.
    pub(crate) attempts: u32,
    /// How often it was parked.
    pub(crate) parkings: u32,
    /// When it is to be attempted.
    pub(crate) next_attempt_at: DateTime<Utc>,
    /// Since when it had been tried when it was last parked; `None` also where it was held back then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tried_since: Option<DateTime<Utc>>,
    /// What the target last said against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// What is known of its targets, where a route names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) legs: Vec<Leg>,
    /// What its record says of having been redriven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redrive: Option<Redrive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supersedes: Option<Superseded>,
    /// Value of the action's record.
    pub(crate) record: String,
}

/// An action that is taken up later, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeferredEntry {
    /// Offset of the action's record.
    pub(crate) offset: u64,
    /// How often it was redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) round: u32,
    /// The key of the carrier behind whose actions it waits.
    pub(crate) by: String,
    /// What an outcome says of it where its record is kept no longer.
    pub(crate) project_id: String,
    pub(crate) action: ActionKind,
    /// The action that it is to take back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) takes_back: Option<String>,
}

/// One target of an action's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    /// Whether nothing more is to be done there.
    pub(crate) ended: bool,
    /// When it wants to be asked again, at the earliest, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub(crate) carried: Carried,
}

impl PendingEntry {
    /// How often it was redriven.
    pub(crate) fn round(&self) -> u32 {
        self.redrive.as_ref().map_or(0, |redrive| redrive.round)
    }
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
        let redriven = r#"{"state":"pending","accepted_at":"2026-03-02T10:00:00Z","asked_at":"2026-03-02T09:59:00Z","offset":7,"attempts":3,"parkings":1,"next_attempt_at":"2026-03-02T10:00:05.250Z","redrive":{"round":2,"letter":"d-1","supersedes":"o-1"},"supersedes":{"outcome":"o-1","risk":0.1},"record":"{\"event_id\":\"a-1\"}"}"#;
        let untouched = r#"{"state":"pending","accepted_at":"2026-03-02T10:00:00Z","asked_at":"2026-03-02T09:59:00Z","offset":7,"attempts":0,"parkings":0,"next_attempt_at":"2026-03-02T10:00:05.250Z","redrive":{"round":1,"letter":"d-1"},"supersedes":{"outcome":"o-1","risk":0.1,"left":false},"record":"{\"event_id\":\"a-1\"}"}"#;
        let let_go = r#"{"state":"pending","accepted_at":"2026-03-02T10:00:00Z","asked_at":"2026-03-02T09:59:00Z","offset":7,"attempts":3,"parkings":1,"next_attempt_at":"2026-03-02T12:00:05.250Z","tried_since":"2026-03-02T12:00:00Z","record":"{\"event_id\":\"a-1\"}"}"#;
        let done = r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z","risk":-0.05}"#;
        let again = r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z","round":2,"risk":-0.05}"#;
        let nothing_left = r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z","risk":0.0,"left":false}"#;
        let page = r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z","risk":-0.3,"tie":{"page":{"issue":"github:o/r#1","offset":7,"decided_at":"2026-03-02T10:00:00Z"}}}"#;
        let back =
            r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z","risk":0.0,"tie":{"takes_back":"a-1"}}"#;
        let deferred = r#"{"state":"deferred","offset":7,"by":"escalate_owner: pager+chat","project_id":"alpha","action":"escalate_owner"}"#;
        let deferred_round = r#"{"state":"deferred","offset":9,"round":2,"by":"after escalate_owner of alpha: pager","project_id":"alpha","action":"resolve","takes_back":"a-1"}"#;
        let paused = r#"{"state":"paused","at":"2026-03-02T10:00:01Z"}"#;
        let resumed = r#"{"state":"resumed","at":"2026-03-02T10:00:01Z"}"#;
        for text in [
            pending,
            redriven,
            untouched,
            let_go,
            done,
            again,
            nothing_left,
            page,
            back,
            deferred,
            deferred_round,
            paused,
            resumed,
        ] {
            let entry: Entry = serde_json::from_str(text).expect("an entry");
            assert_eq!(serde_json::to_string(&entry).expect("JSON"), text);
        }
    }

    #[test]
    fn a_mark_of_an_older_version_is_read() {
        let entry = serde_json::from_str(r#"{"state":"done","finished_at":"2026-03-02T10:00:01Z"}"#);
        let Ok(Entry::Done { round, risk, .. }) = entry else { panic!("{entry:?}") };
        assert_eq!((round, risk), (0, Risk::FAILED));
    }
}
