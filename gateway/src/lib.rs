//! The shell around the policy: poll → load state → decide → commit state, timers, actions and offsets at once.
//!
//! ```text
//!  issues ───┐                      ┌──► actions, actions-shadow
//!            ├─► Partition::take ─► Batch ──► gateway-state, dead-letters, policies
//!  outcomes ─┘   (policy::decide)   └──► the group's offsets          all in one step
//! ```
//!
//! A partition's state is the fold of its inputs ([`policy::State`]). It lives in memory while the partition is held; what a
//! batch changed is written to `gateway-state` in the step that consumes the batch. When a step fails the memory is
//! thrown away and restored from the log: there is no third path.
//!
//! Order within a partition: every timer due at or before a record's timestamp is decided before the record. At the end of
//! `issues` the wall clock, less [`END_MARGIN`], releases further timers. Outcomes change risk only and neither wait for
//! timers nor move the partition's clock.
//!
//! Other [`Policies`] take over between two batches: each partition in one step of its own, which fires nothing and stands on
//! `policies`. A policy on trial, the shadow, decides the same events beside the one in force, with a state, timers and
//! metrics of its own; its state is kept in the same step under keys that begin with `shadow:`. What it needs to begin is written
//! in steps of its own, and where steps fail because of it, it is given up: production does not wait for it.
//!
//! Metrics: `breakdown_events_total{type}`, `breakdown_decided_actions_total{action,rule}`,
//! `breakdown_timers_total`, `breakdown_notes_total{note}`, `breakdown_dead_letters_total{reason}`,
//! `breakdown_shadow_actions_total{action,rule}`, `breakdown_shadow_notes_total{note}`,
//! `breakdown_policy_info{hash}` and `breakdown_shadow_policy_info{hash}` (1 while it decides a partition),
//! `breakdown_shadow_given_up`, `breakdown_shadow_unreadable_total`, `breakdown_gateway_steps_total{result}`, `breakdown_gateway_step_seconds`,
//! `breakdown_stalled_timers`, `breakdown_stalled_timers_total`. What they mean: [`describe_metrics`].

mod batch;
mod course;
#[doc(hidden)]
pub mod fuzzing;
mod in_force;
mod meters;
mod partition;
mod policies;
mod progress;
mod run;
mod stalls;
mod takeover;
mod trial;
mod view;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use eventlog::{Clock, Log, LogError};
use policy::Ruleset;
use tokio::sync::watch;

pub use crate::{
    course::is_of_shadow,
    in_force::{GivenUp, InForce, short_hash},
    meters::describe_metrics,
    policies::Policies,
    progress::Progress,
    stalls::{STALLED_AFTER, Stalled},
    view::{ProjectRisk, View},
};

/// The consumer group.
pub const GROUP: &str = "gateway";
/// How far the wall clock must be past a timer before the end of `issues` releases it, so that a record stamped
/// before the timer by a clock a little behind still goes first.
pub const END_MARGIN: TimeDelta = TimeDelta::seconds(1);

/// Longest wait for records; bounds how late a timer and the shutdown are noticed.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Why the gateway stopped.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The log refuses what the gateway needs.
    #[error("the gateway cannot use the log: {0}")]
    Log(#[from] LogError),
    /// State on the log cannot be read; deciding without it would repeat or omit actions.
    #[error(
        "partition {partition}: the state on topic gateway-state at offset {offset} cannot be read: {error}; it was \
         written by another version of breakdown: run that version"
    )]
    State {
        /// The partition.
        partition: u32,
        /// Offset of the changelog record.
        offset: u64,
        /// What was wrong with it.
        error: policy::StateError,
    },
    /// A message could not be written as JSON.
    #[error("a message could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The gateway role.
pub struct Gateway {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    policies: watch::Receiver<Policies>,
    view: Arc<View>,
    progress: Arc<Progress>,
    in_force: Arc<InForce>,
    max_wait: Duration,
}

impl Gateway {
    /// A gateway that decides by `ruleset`. The topics must exist.
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, ruleset: Arc<Ruleset>) -> Self {
        let (_, policies) = watch::channel(Policies { policy: ruleset, shadow: None });
        Self::following(log, clock, policies)
    }

    /// A gateway that decides by whatever `policies` holds. Events appended after others were put there are decided by those.
    /// The topics must exist.
    pub fn following(log: Arc<dyn Log>, clock: Arc<dyn Clock>, policies: watch::Receiver<Policies>) -> Self {
        let (view, progress, in_force) = Default::default();
        Self { log, clock, policies, view, progress, in_force, max_wait: MAX_WAIT }
    }

    /// Bounds how late the clock is looked at when nothing comes (1 s). Tests that turn the clock by hand shorten it.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// What is known of the projects whose partitions this process holds.
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Which policies decide the partitions that this process holds.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.clone()
    }

    /// Whether the gateway moves.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }
}
