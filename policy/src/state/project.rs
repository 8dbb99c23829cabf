//! What is kept per project besides its issues.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use events::Risk;
use serde::{Deserialize, Serialize};

use super::Latest;

/// How long an event's id and payload, or an outcome's id, are recognised.
pub(crate) const SEEN_AFTER: TimeDelta = TimeDelta::days(7);
/// How long the facts of a closed issue are remembered: as long as records are kept on the log.
pub(crate) const CLOSED_AFTER: TimeDelta = TimeDelta::days(90);
/// How many outcomes are listed per project.
pub(crate) const MAX_CONTRIBUTIONS: usize = 50;

/// A project's risk, and what it is made of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Project {
    /// The sum of all outcomes' deltas.
    pub risk: Risk,
    /// How many outcomes were counted.
    pub outcomes: u64,
    /// How many of them say that the action was not done: refused, given up, or expired. What a redrive made good, or withdrew, stays counted.
    pub failed: u64,
    /// How many of them are of dry runs, which neither did nor failed anything.
    #[serde(default)]
    pub dry_runs: u64,
    /// The last outcomes, newest last, at most 50.
    pub recent: VecDeque<Contribution>,
}

impl Project {
    pub(crate) const EMPTY: Self =
        Self { risk: Risk(0), outcomes: 0, failed: 0, dry_runs: 0, recent: VecDeque::new() };
}

/// One outcome's part in a project's risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The outcome (`o-…`).
    pub outcome_id: String,
    /// Its action (`a-…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// What it added.
    pub risk_delta: Risk,
    /// Whether the action was done.
    pub ack: bool,
    /// When it was counted: the log's stamp.
    pub at: DateTime<Utc>,
    /// The earlier outcome that it corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
}

/// How much we have given a person to do in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Open issues that we assigned to them.
    pub open: u64,
    /// When we last assigned one to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked_at: Option<DateTime<Utc>>,
}

/// What a milestone's own events last said of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Milestone {
    /// Its due date; null when it has none.
    pub due_at: Option<DateTime<Utc>>,
    /// When the provider last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// The events that said `updated_at`: their replay is known even after seven days.
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub(crate) latest: Latest,
}

/// An outcome that was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When: the log's stamp.
    pub at: DateTime<Utc>,
}
