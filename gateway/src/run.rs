//! The loop: it owns all state, takes turns between the log, the clock and changes of policy, and makes the steps.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Auditor, LogError, Overdue, Polled, Subscription, SubscriptionSpec};
use events::topic;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    END_MARGIN, GROUP, Gateway, GatewayError, GivenUp, Policies,
    batch::Batch,
    partition::Partition,
    policies, short_hash,
    stalls::{self, STALLED_AFTER, Stalled},
    takeover::Restoring,
    trial::Trial,
};

/// Most records taken in one step. A step costs a fixed number of round trips, so larger is faster, and slower to answer.
const MAX_BATCH: usize = 500;
/// Most timers decided in one step at the partition's end.
const MAX_TIMERS: usize = 1000;
/// Wait for more after something came.
const SOON: Duration = Duration::from_millis(10);
/// How long after a failed step a quiet log does not count as progress; a step that always fails does so more often.
const DOUBT: TimeDelta = TimeDelta::seconds(10);
/// Wait before the log is asked again after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Gateway {
    /// Decides until `shutdown`. A step under way is finished first.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let spec = SubscriptionSpec {
            group: GROUP.into(),
            inputs: vec![topic::ISSUES.into(), topic::OUTCOMES.into()],
            changelog: topic::GATEWAY_STATE.into(),
        };
        let Some(mut subscription) = self.subscribe(spec, &shutdown).await? else { return Ok(()) };
        let mut policies = self.policies.clone();
        let mut partitions = Partitions::default();
        self.in_force.give_up(None);
        // When a step last failed. For a while after that a quiet log is no sign that steps can be made.
        let mut failed_at: Option<DateTime<Utc>> = None;
        let mut quiet = false;
        let mut auditor = Auditor::default();
        while !shutdown.is_cancelled() {
            self.view.turned();
            self.audit(&mut auditor, &partitions, quiet);
            // What is polled from here on is decided by these, and by these only.
            let (newest, another) = partitions.trial.admit(&policies.borrow_and_update());
            if another {
                self.in_force.give_up(None);
            }
            let committed = match self.follow(&newest, &mut *subscription, &mut partitions, &shutdown).await?
            {
                Committed::Nothing => {
                    // After news the log is soon found quiet, or not: either way it is known whether we are behind.
                    let wait = self.wait(&partitions);
                    let wait = match partitions.unwritten() {
                        Some(_) => Duration::ZERO,
                        None if quiet => wait,
                        None => wait.min(SOON),
                    };
                    let polled = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return Ok(()),
                        () = policies::changed(&mut policies) => continue,
                        polled = subscription.poll(MAX_BATCH, wait) => polled,
                    };
                    quiet = matches!(polled, Ok(Polled::Idle));
                    match polled {
                        Ok(polled) => {
                            self.decide(polled, &newest, &mut *subscription, &mut partitions).await?
                        }
                        Err(LogError::Refused(why)) => return Err(LogError::Refused(why).into()),
                        Err(error) => {
                            warn!(%error, "the gateway cannot poll; trying again");
                            partitions.doubt();
                            pause(&shutdown).await;
                            continue;
                        }
                    }
                }
                other => other,
            };
            match committed {
                Committed::Nothing => {
                    // Whichever way the clock may have been turned meanwhile.
                    let now = self.clock.now();
                    if quiet && failed_at.is_none_or(|at| (now - at).abs() > DOUBT) {
                        self.progress.moved(now);
                    }
                }
                Committed::Step => {
                    failed_at = None;
                    self.progress.moved(self.clock.now());
                }
                Committed::Lost => {
                    failed_at = Some(self.clock.now());
                    pause(&shutdown).await;
                }
            }
        }
        Ok(())
    }

    /// Joins the group, however long the log takes to answer; `None` when the shutdown came first.
    async fn subscribe(
        &self,
        spec: SubscriptionSpec,
        shutdown: &CancellationToken,
    ) -> Result<Option<Box<dyn Subscription>>, GatewayError> {
        loop {
            let joined = tokio::select! {
                biased;
                joined = self.log.subscribe(spec.clone()) => joined,
                () = shutdown.cancelled() => return Ok(None),
            };
            match joined {
                Ok(subscription) => return Ok(Some(subscription)),
                Err(LogError::Refused(why)) => return Err(LogError::Refused(why).into()),
                Err(error) => warn!(%error, "the gateway cannot join its group; trying again"),
            }
            pause(shutdown).await;
            if shutdown.is_cancelled() {
                return Ok(None);
            }
        }
    }

    /// Lets policies take over where others decide, one step a partition.
    async fn follow(
        &self,
        policies: &Policies,
        subscription: &mut dyn Subscription,
        partitions: &mut Partitions,
        shutdown: &CancellationToken,
    ) -> Result<Committed, GatewayError> {
        let held = partitions.held.iter();
        let behind: Vec<u32> =
            held.filter(|(_, held)| !held.follows(policies)).map(|(number, _)| *number).collect();
        let mut made = Committed::Nothing;
        for (done, number) in behind.iter().enumerate() {
            if shutdown.is_cancelled() {
                break;
            }
            let Some(held) = partitions.held.get_mut(number) else { continue };
            let mut batch = Batch::default();
            held.follow(policies, self.clock.now(), &mut batch)?;
            made = made.max(self.commit(subscription, batch, partitions).await?);
            if made == Committed::Lost {
                return Ok(made);
            }
            self.publish(*number, partitions);
            info!(
                partition = number,
                policy = policies.policy.hash(),
                shadow = policies.shadow.as_ref().map(|shadow| shadow.hash()),
                done = done + 1,
                of = behind.len(),
                "policy takes effect"
            );
        }
        Ok(made)
    }

    /// Decides and commits what `poll` found, then the timers that are released, then some of what is not written of a shadow.
    async fn decide(
        &self,
        polled: Polled,
        policies: &Policies,
        subscription: &mut dyn Subscription,
        partitions: &mut Partitions,
    ) -> Result<Committed, GatewayError> {
        let assigned = match polled {
            Polled::Assigned { partition } => Some(partition),
            _ => None,
        };
        let batch = self.handle(polled, policies, partitions)?;
        let decided = self.commit(subscription, batch, partitions).await?;
        if decided == Committed::Lost {
            return Ok(Committed::Lost);
        }
        assigned.into_iter().for_each(|number| self.publish(number, partitions));
        let fired = self.fire_timers(subscription, partitions).await?;
        if fired == Committed::Lost {
            return Ok(Committed::Lost);
        }
        let written = self.write_on(subscription, partitions).await?;
        Ok(decided.max(fired).max(written))
    }

    /// One step towards a shadow that stands, or to nothing being left of one.
    async fn write_on(
        &self,
        subscription: &mut dyn Subscription,
        partitions: &mut Partitions,
    ) -> Result<Committed, GatewayError> {
        let mut batch = Batch::default();
        if let Some(held) = partitions.unwritten() {
            held.write_on(&mut batch);
            if held.unwritten.is_empty() {
                info!(
                    partition = held.number,
                    stands = held.shadow.is_some(),
                    "the shadow's state is written"
                );
            }
        }
        self.commit(subscription, batch, partitions).await
    }

    /// Folds what `poll` found into the partitions; the batch is empty where there is nothing to commit.
    fn handle(
        &self,
        polled: Polled,
        policies: &Policies,
        partitions: &mut Partitions,
    ) -> Result<Batch, GatewayError> {
        let mut batch = Batch::default();
        self.progress.holding().hear(&polled);
        match polled {
            Polled::Restoring { partition, records } => {
                let restoring = partitions.restoring.entry(partition).or_default();
                records.iter().try_for_each(|record| restoring.take(record))?;
            }
            Polled::Assigned { partition } => {
                let restored = partitions.restoring.remove(&partition).unwrap_or_default();
                let held = restored.assigned(partition, policies, self.clock.now(), &mut batch)?;
                if partitions.trial.is_left_out() {
                    // Whether steps can be made without the shadow is found out now.
                    batch.decides_for(partition);
                }
                let state = &held.production.state;
                self.view.publish_all(partition, state);
                info!(
                    partition,
                    issues_offset = state.consumed(topic::ISSUES),
                    policy = policies.policy.hash(),
                    "partition assigned"
                );
                partitions.held.insert(partition, held);
            }
            Polled::Revoked { partitions: gone } => {
                for partition in gone {
                    partitions.held.remove(&partition);
                    partitions.restoring.remove(&partition);
                    self.view.forget(partition);
                    self.in_force.forget(partition);
                    info!(partition, "partition revoked");
                }
            }
            Polled::Records(records) => {
                for record in &records {
                    match partitions.held.get_mut(&record.partition) {
                        Some(held) => held.take(record, &mut batch)?,
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
        partitions: &mut Partitions,
    ) -> Result<Committed, GatewayError> {
        if batch.is_empty() {
            return Ok(Committed::Nothing);
        }
        let began = Instant::now();
        let (of_shadow, begins) = (batch.is_of_shadow(), batch.is_beginning());
        let (step, projects) = batch.into_step(&partitions.held);
        let size = step.append.len();
        let result = subscription.commit(step).await;
        metrics::histogram!("breakdown_gateway_step_seconds").record(began.elapsed().as_secs_f64());
        match result {
            Ok(()) => {
                metrics::counter!("breakdown_gateway_steps_total", "result" => "committed").increment(1);
                debug!(records = size, "step committed");
                if partitions.trial.step_made(of_shadow && !begins) {
                    self.give_up(partitions.trial.verdict());
                }
                for (partition, project) in projects {
                    if let Some(held) = partitions.held.get(&partition) {
                        self.view.publish(partition, &project, &held.production.state);
                    }
                }
                Ok(Committed::Step)
            }
            Err(error) => {
                metrics::counter!("breakdown_gateway_steps_total", "result" => "failed").increment(1);
                self.forget(partitions);
                let can_do_without = partitions.trial.step_failed(of_shadow, &error);
                if let (LogError::Refused(_) | LogError::Unfit(_), false) = (&error, can_do_without) {
                    return Err(error.into());
                }
                warn!(%error, of_shadow, "a step failed; restoring from the log");
                Ok(Committed::Lost)
            }
        }
    }

    /// Decides the timers that the wall clock releases, where everything before them has been decided.
    async fn fire_timers(
        &self,
        subscription: &mut dyn Subscription,
        partitions: &mut Partitions,
    ) -> Result<Committed, GatewayError> {
        // Read before the log is asked: what is appended later is stamped later.
        let until = self.clock.now() - END_MARGIN;
        // Everything is asked before anything is decided: what is decided must be committed.
        let mut released = Vec::new();
        for (number, held) in &mut partitions.held {
            if held.next_timer_at().is_none_or(|due| due > until) {
                continue;
            }
            match subscription.caught_up(topic::ISSUES, *number).await {
                Ok(caught_up) => {
                    held.caught_up = Some(caught_up);
                    released.extend(caught_up.then_some(*number));
                }
                Err(error) => {
                    warn!(%error, partition = number, "timers wait: the log does not answer");
                    partitions.doubt();
                    return Ok(Committed::Nothing);
                }
            }
        }
        let mut batch = Batch::default();
        for number in released {
            if let Some(held) = partitions.held.get_mut(&number) {
                held.fire(until, MAX_TIMERS, &mut batch)?;
            }
        }
        self.commit(subscription, batch, partitions).await
    }

    /// Looks now and then for timers that should have been decided. A partition of which a quiet log says that there is more is not
    /// behind; one of which it says nothing may be.
    fn audit(&self, auditor: &mut Auditor<stalls::Due>, partitions: &Partitions, quiet: bool) {
        let now = self.clock.now();
        if !auditor.is_due(now) {
            return;
        }
        let held = partitions.held.values().map(|held| stalls::Held {
            number: held.number,
            caught_up: held.caught_up.is_some_and(|caught_up| caught_up || quiet),
            state: &held.production.state,
        });
        let Overdue { count: timers, named: overdue } = stalls::overdue(held, now, STALLED_AFTER);
        let first = overdue.first();
        self.progress.stalls(Stalled {
            timers,
            since: first.map(|(timer, _)| timer.due_at),
            partition: first.map(|(_, partition)| *partition),
            rule: first.map(|(timer, _)| timer.rule.to_string()),
        });
        metrics::gauge!("breakdown_stalled_timers").set(timers as f64);
        let news = auditor.news(overdue);
        metrics::counter!("breakdown_stalled_timers_total").increment(news.len() as u64);
        for (timer, partition) in news {
            error!(
                partition,
                issue = %timer.issue_ref,
                rule = %timer.rule,
                due_at = %timer.due_at,
                "a timer is overdue though nothing is left to decide before it; a new start decides it, if the log can be \
                 written; please report it with the lines above"
            );
        }
    }

    fn publish(&self, number: u32, partitions: &Partitions) {
        if let Some(held) = partitions.held.get(&number) {
            self.in_force.publish(number, held);
        }
    }

    /// Goes on without the shadow.
    fn give_up(&self, (shadow, why): (Option<&str>, &str)) {
        let Some(hash) = shadow else {
            return error!(
                why,
                "what a former shadow left on gateway-state cannot be deleted: it stays there until the next start"
            );
        };
        error!(
            shadow = short_hash(hash),
            why,
            "steps with something of the shadow fail, and without it they are made: it is given up, and the policy in force \
             goes on alone; change the candidate's file, or start again, to try it again"
        );
        let (hash, why) = (hash.to_owned(), why.to_owned());
        self.in_force.give_up(Some(GivenUp { hash, at: self.clock.now(), why }));
    }

    fn forget(&self, partitions: &mut Partitions) {
        partitions.restoring.clear();
        for partition in std::mem::take(&mut partitions.held).into_keys() {
            self.view.forget(partition);
            self.in_force.forget(partition);
        }
        self.progress.holding().lose();
    }

    fn wait(&self, partitions: &Partitions) -> Duration {
        let next: Option<DateTime<Utc>> = partitions.held.values().filter_map(Partition::next_timer_at).min();
        let until = next.map(|due| (due + END_MARGIN - self.clock.now()).to_std().unwrap_or_default());
        // Never zero: a timer that is due but not released (the end is not reached) must not spin.
        until.unwrap_or(self.max_wait).clamp(Duration::from_millis(1), self.max_wait)
    }
}

/// What this process has been given.
#[derive(Default)]
struct Partitions {
    restoring: BTreeMap<u32, Restoring>,
    held: BTreeMap<u32, Partition>,
    trial: Trial,
}

impl Partitions {
    /// The log does not answer: what it last said of its ends tells nothing of timers that have come due since.
    fn doubt(&mut self) {
        self.held.values_mut().for_each(|held| held.caught_up = None);
    }

    /// One of which not everything is written that should be of a shadow, unless that is left alone.
    fn unwritten(&mut self) -> Option<&mut Partition> {
        let left_out = self.trial.is_left_out();
        self.held.values_mut().find(|held| !held.unwritten.is_empty() && !left_out)
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Committed {
    /// There was nothing to commit.
    Nothing,
    /// A step was made.
    Step,
    /// The step failed; the partitions and their memory are gone.
    Lost,
}

/// Waits before the log is asked again, unless the shutdown comes.
async fn pause(shutdown: &CancellationToken) {
    tokio::select! {
        biased;
        () = tokio::time::sleep(RETRY_AFTER) => {}
        () = shutdown.cancelled() => {}
    }
}
