//! The shell around the policy: poll → load state → decide → commit state, timers, actions and offsets at once.
//!
//! ```text
//!  issues ───┐                      ┌──► actions
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
//! Metrics: `breakdown_events_total{type}`, `breakdown_decided_actions_total{action,rule}`,
//! `breakdown_timers_total`, `breakdown_notes_total{note}`, `breakdown_dead_letters_total{reason}`,
//! `breakdown_gateway_steps_total{result}`, `breakdown_gateway_step_seconds`.

mod batch;
mod partition;
mod progress;
mod view;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, LogError, Polled, Subscription, SubscriptionSpec};
use events::topic;
use policy::Ruleset;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{batch::Batch, partition::Partition};
pub use crate::{
    progress::Progress,
    view::{ProjectRisk, View},
};

/// The consumer group.
pub const GROUP: &str = "gateway";
/// How far the wall clock must be past a timer before the end of `issues` releases it, so that a record stamped
/// before the timer by a clock a little behind still goes first.
pub const END_MARGIN: TimeDelta = TimeDelta::seconds(1);

/// Most records taken in one step. A step costs a fixed number of round trips, so larger is faster, and slower to answer.
const MAX_BATCH: usize = 500;
/// Most timers decided in one step at the partition's end.
const MAX_TIMERS: usize = 1000;
/// Longest wait for records; bounds how late a timer and the shutdown are noticed.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Wait before the log is asked again after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(500);

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
    ruleset: Arc<Ruleset>,
    view: Arc<View>,
    progress: Arc<Progress>,
    max_wait: Duration,
}

impl Gateway {
    /// A gateway that decides by `ruleset`. The topics must exist.
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, ruleset: Arc<Ruleset>) -> Self {
        let progress = Arc::new(Progress::default());
        Self { log, clock, ruleset, view: Arc::default(), progress, max_wait: MAX_WAIT }
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

    /// Whether the gateway moves.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Decides until `shutdown`. A step under way is finished first.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let spec = SubscriptionSpec {
            group: GROUP.into(),
            inputs: vec![topic::ISSUES.into(), topic::OUTCOMES.into()],
            changelog: topic::GATEWAY_STATE.into(),
        };
        let Some(mut subscription) = self.subscribe(spec, &shutdown).await? else { return Ok(()) };
        let mut partitions: BTreeMap<u32, Partition> = BTreeMap::new();
        loop {
            let wait = self.wait(&partitions);
            let polled = tokio::select! {
                polled = subscription.poll(MAX_BATCH, wait) => polled,
                () = shutdown.cancelled() => return Ok(()),
            };
            let idle = matches!(polled, Ok(Polled::Idle));
            let batch = match polled {
                Ok(polled) => self.handle(polled, &mut partitions)?,
                Err(LogError::Refused(why)) => return Err(LogError::Refused(why).into()),
                Err(error) => {
                    warn!(%error, "the gateway cannot poll; trying again");
                    if pause(&shutdown).await { continue } else { return Ok(()) }
                }
            };
            let decided = self.commit(&mut *subscription, batch, &mut partitions).await?;
            let fired = match decided {
                Committed::Lost => Committed::Lost,
                _ => self.fire_timers(&mut *subscription, &mut partitions).await?,
            };
            match (decided, fired) {
                (_, Committed::Lost) => {
                    if !pause(&shutdown).await {
                        return Ok(());
                    }
                }
                (Committed::Nothing, Committed::Nothing) if !idle => {}
                _ => self.progress.moved(self.clock.now()),
            }
        }
    }

    /// Joins the group, however long the log takes to answer; `None` when the shutdown came first.
    async fn subscribe(
        &self,
        spec: SubscriptionSpec,
        shutdown: &CancellationToken,
    ) -> Result<Option<Box<dyn Subscription>>, GatewayError> {
        loop {
            let joined = tokio::select! {
                joined = self.log.subscribe(spec.clone()) => joined,
                () = shutdown.cancelled() => return Ok(None),
            };
            match joined {
                Ok(subscription) => return Ok(Some(subscription)),
                Err(LogError::Refused(why)) => return Err(LogError::Refused(why).into()),
                Err(error) => warn!(%error, "the gateway cannot join its group; trying again"),
            }
            if !pause(shutdown).await {
                return Ok(None);
            }
        }
    }

    /// Folds what `poll` found into the partitions; the batch is empty where there is nothing to commit.
    fn handle(
        &self,
        polled: Polled,
        partitions: &mut BTreeMap<u32, Partition>,
    ) -> Result<Batch, GatewayError> {
        let mut batch = Batch::default();
        match polled {
            Polled::Restoring { partition, records } => {
                let held = partitions.entry(partition).or_insert_with(|| Partition::new(partition));
                for record in records {
                    held.restore(&record)?;
                }
            }
            Polled::Assigned { partition } => {
                let held = partitions.entry(partition).or_insert_with(|| Partition::new(partition));
                held.assigned(&self.ruleset, self.clock.now(), &mut batch)?;
                self.view.publish_all(partition, &held.state);
                info!(partition, issues_offset = held.state.consumed(topic::ISSUES), "partition assigned");
                self.progress.holds(partitions.len());
            }
            Polled::Revoked { partitions: gone } => {
                for partition in gone {
                    partitions.remove(&partition);
                    self.view.forget(partition);
                    info!(partition, "partition revoked");
                }
                self.progress.holds(partitions.len());
            }
            Polled::Records(records) => {
                for record in &records {
                    match partitions.get_mut(&record.partition) {
                        Some(held) => held.take(record, &self.ruleset, &mut batch)?,
                        None => {
                            error!(partition = record.partition, "a record of a partition that is not held")
                        }
                    }
                }
            }
            Polled::Idle => {}
        }
        Ok(batch)
    }

    /// Commits a batch. What the log refuses for good ends the gateway: the same inputs would give the same step again.
    async fn commit(
        &self,
        subscription: &mut dyn Subscription,
        batch: Batch,
        partitions: &mut BTreeMap<u32, Partition>,
    ) -> Result<Committed, GatewayError> {
        if batch.is_empty() {
            return Ok(Committed::Nothing);
        }
        let began = tokio::time::Instant::now();
        let (step, projects) = batch.into_step(partitions);
        let size = step.append.len();
        let result = subscription.commit(step).await;
        metrics::histogram!("breakdown_gateway_step_seconds").record(began.elapsed().as_secs_f64());
        match result {
            Ok(()) => {
                metrics::counter!("breakdown_gateway_steps_total", "result" => "committed").increment(1);
                debug!(records = size, "step committed");
                for (partition, project) in projects {
                    if let Some(held) = partitions.get(&partition) {
                        self.view.publish(partition, &project, &held.state);
                    }
                }
                Ok(Committed::Step)
            }
            Err(error) => {
                metrics::counter!("breakdown_gateway_steps_total", "result" => "failed").increment(1);
                self.forget(partitions);
                if let LogError::Refused(_) = error {
                    return Err(error.into());
                }
                warn!(%error, "a step failed; restoring from the log");
                Ok(Committed::Lost)
            }
        }
    }

    /// Decides the timers that the wall clock releases, where everything before them has been decided.
    async fn fire_timers(
        &self,
        subscription: &mut dyn Subscription,
        partitions: &mut BTreeMap<u32, Partition>,
    ) -> Result<Committed, GatewayError> {
        // Read before the log is asked: what is appended later is stamped later.
        let until = self.clock.now() - END_MARGIN;
        // Everything is asked before anything is decided: what is decided must be committed.
        let mut released = Vec::new();
        for (number, held) in partitions.iter() {
            if held.next_timer_at().is_none_or(|due| due > until) {
                continue;
            }
            match subscription.caught_up(topic::ISSUES, *number).await {
                Ok(true) => released.push(*number),
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, partition = number, "timers wait: the log does not answer");
                    return Ok(Committed::Nothing);
                }
            }
        }
        let mut batch = Batch::default();
        for number in released {
            if let Some(held) = partitions.get_mut(&number) {
                held.fire(until, MAX_TIMERS, &self.ruleset, &mut batch)?;
            }
        }
        self.commit(subscription, batch, partitions).await
    }

    fn forget(&self, partitions: &mut BTreeMap<u32, Partition>) {
        for partition in std::mem::take(partitions).into_keys() {
            self.view.forget(partition);
        }
        self.progress.holds(0);
    }

    fn wait(&self, partitions: &BTreeMap<u32, Partition>) -> Duration {
        let next: Option<DateTime<Utc>> = partitions.values().filter_map(Partition::next_timer_at).min();
        let until = next.map(|due| (due + END_MARGIN - self.clock.now()).to_std().unwrap_or_default());
        // Never zero: a timer that is due but not released (the end is not reached) must not spin.
        until.unwrap_or(self.max_wait).clamp(Duration::from_millis(1), self.max_wait)
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    /// There was nothing to commit.
    Nothing,
    /// A step was made.
    Step,
    /// The step failed; the partitions and their memory are gone.
    Lost,
}

/// Waits before the log is asked again; false when the shutdown came first.
async fn pause(shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(RETRY_AFTER) => true,
        () = shutdown.cancelled() => false,
    }
}
