//! The words everyone speaks: what stands on the topics, how it is named, and who may be told apart.
//!
//! A message is a JSON value under a key, with CloudEvents headers ([`Message`]). Readers ignore fields they do
//! not know and accept event types and actions they do not know; writers never reuse a name for another meaning.
//! Every id is derived from what it names ([`id`]), so that a second attempt at anything carries the same id.
//!
//! The JSON Schemas under `schemas/` are generated from these types; a test fails when they are stale
//! (`UPDATE_SCHEMAS=1 cargo test -p events` writes them anew).

mod action;
mod by_hand;
mod control;
mod dead_letter;
pub mod id;
mod instant;
mod issue_event;
mod issue_ref;
mod message;
mod open_enum;
mod outcome;
mod policy_change;
mod recipients;
mod record;
mod redrive;
mod said;
mod sanitize;
pub mod schema;
pub mod topic;

pub use action::{Action, ActionKind, Earlier};
pub use by_hand::Mistake;
pub use control::Control;
pub use dead_letter::{DeadLetter, MAX_ORIGINAL_BYTES, Origin, Original};
pub use instant::provider_instant;
pub use issue_event::{
    AcknowledgedThrough, EventType, FieldChange, IssueEvent, IssueState, NoAnswer, Source,
};
pub use issue_ref::{
    is_issue_key, is_issue_ref, is_repository, issue_ref_of_github, issue_ref_of_jira, issue_ref_of_milestone,
};
pub use message::Message;
pub use outcome::{Carried, Outcome, Risk, Unsent};
pub use policy_change::PolicyChange;
pub use recipients::{Person, Recipients, Team};
pub use record::{MAX_ID_BYTES, Recorded, Unsound};
pub use redrive::{Letter, Redone, Redrive, Redriven};
pub use said::Said;
pub use sanitize::{MAX_TEXT_CHARS, clean_text};
