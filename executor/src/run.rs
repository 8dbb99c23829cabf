//! The loop: it owns all state, takes turns between the log and the attempts, and makes the steps.

mod accepting;
mod audit;
mod join;
mod legs;
mod parking;
mod prune;
mod recall;
mod rereading;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Auditor, Clock, Log, LogError, Polled, Subscription};
use events::{Action, ActionKind, topic};
use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    legs::Legs,
    parking::Parking,
    recall::{Recalled, Recalling},
    rereading::{Reread, Rereading},
};
use crate::{
    Attempt, Config, ExecutorError, Progress, Target,
    attempt::{attempt, broken_off},
    conclude::{self, Conclusion, Ended},
    partition::Partition,
    routes::Routes,
    stack::{Call, Report},
    stalls,
    state::{Entry, Pending},
    step::Draft,
    targets,
};

/// The consumer group.
pub const GROUP: &str = "executor";
/// How long an unreachable log is left alone.
const LOG_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Wait for more after something came.
const SOON: Duration = Duration::from_millis(10);
/// Longest wait after steps that failed in a row.
const STEP_WAIT_MAX: Duration = Duration::from_secs(8);
/// How long after a failed step a member may be without partitions because it joins again.
const REJOINS_WITHIN: TimeDelta = TimeDelta::minutes(1);

/// Carries out the actions on `actions`, as a member of the group `executor`, with the calendar and notification API.
///
/// Runs until `shutdown` is cancelled; then running attempts get [`Config::drain_within`] to end. Dropping the
/// future is like a crash: nothing is lost, some calls may be made again. The topics must exist. Returns early only
/// with an error that no retry mends.
pub async fn run(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    config: Config,
    progress: Arc<Progress>,
    shutdown: CancellationToken,
) -> Result<(), ExecutorError> {
    let targets = targets::open(&BTreeMap::new(), &config, &|_| None, &clock)?;
    run_with(log, clock, config, targets, progress, shutdown).await
}

/// [`run`] with other targets; `config.routes` say which carries what, else it is the first that does.
pub async fn run_with(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    config: Config,
    targets: Vec<Arc<dyn Target>>,
    progress: Arc<Progress>,
    shutdown: CancellationToken,
) -> Result<(), ExecutorError> {
    let routes = Routes::new(targets, &config, &clock)?;
    let Some(subscription) = join::subscribe(log.as_ref(), &shutdown).await? else { return Ok(()) };
    let parking = Parking::new(config.pending_max);
    let executor = Executor {
        log,
        clock,
        config,
        progress,
        routes,
        subscription,
        held: BTreeMap::new(),
        restoring: BTreeMap::new(),
        recalling: Recalling::default(),
        parking,
        rereading: Rereading::default(),
        legs: Legs::new(),
        attempts: JoinSet::new(),
        running: HashMap::new(),
        draining: CancellationToken::new(),
        pruned_at: DateTime::UNIX_EPOCH,
        failed_at: None,
        quiet: false,
        failures: 0,
        shaken: false,
        auditor: Auditor::default(),
    };
    executor.run(shutdown).await
}

/// Invariants: every pending action of a held partition that is informed is either in `parking` or in `running`, never in both, unless it
/// waits for the end of another ([`Partition::waits_for_another`]): then it is in neither. Nothing else is in either.
struct Executor {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    config: Config,
    progress: Arc<Progress>,
    routes: Routes,
    subscription: Box<dyn Subscription>,
    held: BTreeMap<u32, Partition>,
    restoring: BTreeMap<u32, Partition>,
    /// Of `restoring`, those that are restored whole, and know of no action.
    recalling: Recalling,
    parking: Parking,
    rereading: Rereading,
    legs: Legs,
    /// `None` from an attempt that was called off before it began.
    attempts: JoinSet<Option<Report>>,
    running: HashMap<Id, Running>,
    /// No attempt begins once this is cancelled.
    draining: CancellationToken,
    pruned_at: DateTime<Utc>,
    /// When a step last failed, until one is made.
    failed_at: Option<DateTime<Utc>>,
    /// Whether the last poll found nothing. After one that did, the next comes soon: it says whether there is more.
    quiet: bool,
    /// Steps that failed in a row.
    failures: u32,
    /// Whether the last of them has still to be waited for.
    shaken: bool,
    auditor: Auditor<stalls::Due>,
}

/// An attempt in flight.
struct Running {
    partition: u32,
    carrier: usize,
    id: Arc<str>,
    /// Cancelled, it calls no target any more.
    called_off: CancellationToken,
    /// When it first had a permit.
    begun_at: Arc<OnceLock<DateTime<Utc>>>,
    /// Calls of it that a step has counted, with legs that ended.
    counted: u32,
    abort: AbortHandle,
}

type Finished = Result<(Id, Option<Report>), JoinError>;

/// What woke the loop.
enum Woken {
    Polled(Result<Polled, LogError>),
    Finished(Finished),
    Reread(Result<(Id, Reread), JoinError>),
    Recalled(Result<(Id, Recalled), JoinError>),
}

impl Executor {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), ExecutorError> {
        // Attempts that end in a steady stream would cancel every poll: after each of their steps the log gets a turn.
        let mut logs_turn = false;
        while !shutdown.is_cancelled() {
            if std::mem::take(&mut self.shaken) {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    () = sleep(self.after_failures()) => {}
                }
            }
            self.audit();
            if !self.recall().await? {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    () = sleep(LOG_RETRY_AFTER) => continue,
                }
            }
            self.learn().await?;
            self.keep_legs().await?;
            if !self.takes_steps().await? {
                continue;
            }
            self.start_due().await?;
            self.prune().await?;
            self.reread();
            self.balance().await;
            self.report();
            let (max, wait) = (self.config.batch_max, self.wait());
            let woken = if logs_turn {
                Woken::Polled(self.subscription.poll(max, Duration::ZERO).await)
            } else {
                // In this order, not by lot, so that a run can be repeated exactly; the log has its turn after each.
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    Some(recalled) = self.recalling.next() => Woken::Recalled(recalled),
                    Some(read) = self.rereading.next() => Woken::Reread(read),
                    Some(finished) = self.attempts.join_next_with_id() => Woken::Finished(finished),
                    polled = self.subscription.poll(max, wait) => Woken::Polled(polled),
                }
            };
            logs_turn = !matches!(woken, Woken::Polled(_));
            match woken {
                Woken::Recalled(recalled) => self.remember(recalled).await?,
                Woken::Reread(read) => self.take_up(read).await?,
                Woken::Finished(first) => {
                    self.finish(first).await?;
                }
                Woken::Polled(Ok(polled)) => {
                    self.quiet = matches!(polled, Polled::Idle);
                    self.take(polled).await?;
                }
                Woken::Polled(Err(error @ LogError::Refused(_))) => return Err(ExecutorError::Log(error)),
                Woken::Polled(Err(error)) => {
                    tracing::warn!(%error, "the executor's log does not answer");
                    if matches!(error, LogError::Lost(_)) {
                        self.lose_all();
                    }
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => break,
                        () = sleep(LOG_RETRY_AFTER) => {}
                    }
                }
            }
        }
        self.drain().await
    }

    /// How long the log may be waited for: until the next attempt is due.
    fn wait(&self) -> Duration {
        let due_in = |at: DateTime<Utc>| (at - self.clock.now()).to_std().unwrap_or_default();
        let due_in = self.parking.next_at().map(due_in);
        let longest = if self.quiet { self.config.idle_wait } else { self.config.idle_wait.min(SOON) };
        due_in.into_iter().chain(self.legs.next_in()).fold(longest, Duration::min)
    }

    async fn take(&mut self, polled: Polled) -> Result<(), ExecutorError> {
        self.progress.holding().hear(&polled);
        match polled {
            Polled::Idle => self.rest().await?,
            Polled::Revoked { partitions } => partitions.into_iter().for_each(|p| self.lose(p)),
            Polled::Restoring { partition, records } => {
                let restored = self.restoring.entry(partition).or_default();
                let target = |action: &Action| self.routes.carrier_of(action);
                let keyed = |key: &str| self.routes.keyed(key);
                for record in &records {
                    restored.restore(record, target, keyed)?;
                }
            }
            Polled::Assigned { partition } => self.take_hold(partition),
            Polled::Records(records) => self.accept(&records).await?,
        }
        Ok(())
    }

    /// The log has nothing new. That is progress, unless steps fail: then polls may be quiet between one failure and the
    /// next, and only a step that is made says that all is well.
    async fn rest(&mut self) -> Result<(), ExecutorError> {
        let now = self.clock.now();
        match self.failed_at {
            None if self.recalling.is_over() => self.progress.moved(now),
            // The others have taken over everything.
            Some(failed_at) if self.held.is_empty() && now - failed_at > REJOINS_WITHIN => {
                self.progress.moved(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the log takes steps. After one that was not made no target is called before one of nothing is: on a disk that is full a call's
    /// outcome could not be kept, and so the call would be made again and again.
    async fn takes_steps(&mut self) -> Result<bool, ExecutorError> {
        if self.failed_at.is_none() {
            return Ok(true);
        }
        let mut draft = Draft::default();
        self.held.keys().for_each(|partition| draft.decide_for(*partition));
        self.commit(draft).await
    }

    /// The end of an action that is not to be attempted (any more), or that is rehearsed only.
    fn without_attempt(&self, pending: &Pending, partition: u32, now: DateTime<Utc>) -> Option<Ended> {
        if let Some(held) = self.held.get(&partition).filter(|_| !self.routes.is_dry_run(pending)) {
            if held.has_nothing_left(pending) {
                return Some(conclude::nothing_left(pending, now));
            }
            if held.is_overtaken(pending) {
                return Some(conclude::overtaken(pending, now));
            }
            if held.is_belated(pending) {
                return Some(conclude::belated(pending, now));
            }
        }
        conclude::without_attempt(pending, partition, now, &self.config).or_else(|| {
            self.routes.rehearse(pending).map(|carried| conclude::rehearsed(pending, carried, now))
        })
    }

    /// Starts whatever is due.
    async fn start_due(&mut self) -> Result<(), ExecutorError> {
        let now = self.clock.now();
        let (mut draft, mut ended) = (Draft::default(), Vec::new());
        while let Some((partition, id)) = self.parking.due(now) {
            let Some(held) = self.held.get(&partition) else { continue };
            let Some(pending) = held.pending().get(&id) else { continue };
            if let Some(end) = self.without_attempt(pending, partition, now) {
                draft.end(partition, &id, &end, now)?;
                ended.push((partition, id, end));
            } else if held.holds_back(pending) || held.waits_for_another(pending) {
                self.park(partition, &id);
            } else if let Some(index) = pending.target
                && let Some(carrier) = self.routes.get(index)
            {
                let (action, asked_at) = (pending.action.clone(), pending.entry.asked_at);
                let legs = pending.entry.legs.clone();
                let called_off = self.draining.child_token();
                let call = Call::new(Attempt { action, asked_at }, legs, called_off.clone());
                let begun_at = call.begun_at.clone();
                let abort = self.attempts.spawn(attempt(carrier.stack.clone(), call, self.legs.to.clone()));
                self.parking.begin((partition, Some(index)));
                let task = abort.id();
                let running =
                    Running { partition, carrier: index, id, called_off, begun_at, counted: 0, abort };
                self.running.insert(task, running);
            }
        }
        if self.commit(draft).await? {
            self.end(ended, now);
        }
        Ok(())
    }

    /// Step two for an attempt that ended, and for all that ended meanwhile. False when the step was not made.
    async fn finish(&mut self, first: Finished) -> Result<bool, ExecutorError> {
        let now = self.clock.now();
        let mut draft = Draft::default();
        let (mut parked, mut ended) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(finished) = next {
            let (task, report) = match finished {
                Ok((task, report)) => (task, report),
                Err(error) => (error.id(), broken_off(&error)),
            };
            // Unknown: an attempt for a partition that was lost. Its next holder makes it again.
            if let Some(Running { partition, carrier, id, counted, .. }) = self.running.remove(&task)
                && let Some(held) = self.held.get(&partition)
                && let Some(pending) = held.pending().get(&id)
            {
                self.parking.end((partition, Some(carrier)));
                let end = report.map(|report| {
                    let times = (held.tried_since(pending, report.made > 0, now), now);
                    let report = Report { made: report.made.saturating_sub(counted), ..report };
                    conclude::after_attempt(pending, partition, report, times, &self.config)
                });
                match end {
                    Some(Conclusion::Ended(end)) => {
                        draft.end(partition, &id, &end, now)?;
                        ended.push((partition, id, end));
                    }
                    Some(Conclusion::Parked(pending)) => {
                        let target = self.routes.get(carrier).map_or("", |carrier| carrier.name);
                        metrics::counter!("breakdown_parked_retries_total", "target" => target).increment(1);
                        draft.keep(partition, &id, &Entry::Pending(pending.entry.clone()))?;
                        parked.push((partition, id, pending));
                    }
                    None => self.park(partition, &id),
                }
            }
            let full = ended.len() + parked.len() >= self.config.batch_max;
            next = if full { None } else { self.attempts.try_join_next_with_id() };
        }
        let made = self.commit(draft).await?;
        if made {
            for (_, id, pending) in &parked {
                // One line each would bury what matters while a target is down: the breaker says that it is, and that it is well again.
                tracing::debug!(
                    action = %pending.action.action, target = pending.action.target, id = &**id,
                    issue = pending.action.issue_ref, attempts = pending.entry.attempts,
                    next_attempt_at = %pending.entry.next_attempt_at, error = pending.entry.last_error,
                    "not done yet; it will be tried again"
                );
            }
            self.put(parked);
            self.end(ended, now);
        }
        Ok(made)
    }

    /// These have their outcome: the step that says so was made.
    fn end(&mut self, actions: Vec<(u32, Arc<str>, Ended)>, now: DateTime<Utc>) {
        let mut changed = BTreeSet::new();
        for (partition, id, Ended { outcome, mark, dead_letter, issue, .. }) in actions {
            let known = outcome.action.as_ref().filter(|a| ActionKind::KNOWN.contains(&a.as_str()));
            let action = known.map_or("other", ActionKind::as_str).to_owned();
            let counter = if outcome.is_dry_run() {
                metrics::counter!("breakdown_dry_runs_total", "action" => action.clone())
            } else if outcome.is_withdrawn() {
                metrics::counter!("breakdown_withdrawn_total", "action" => action.clone())
            } else {
                let ack = if outcome.ack { "true" } else { "false" };
                metrics::counter!("breakdown_outcomes_total", "action" => action.clone(), "ack" => ack)
            };
            counter.increment(1);
            if let Some(letter) = dead_letter {
                tracing::warn!(
                    action,
                    target = outcome.target,
                    id = &*id,
                    issue,
                    letter = letter.event_id,
                    detail = letter.detail,
                    "an action could not be carried out; see breakdown dead-letters show {}",
                    letter.event_id
                );
                count_dead_letter(&letter.reason);
            }
            let Some(held) = self.held.get_mut(&partition) else { continue };
            held.finish(id.clone(), now, mark);
            for follower in held.waiting_for(&id) {
                self.park(partition, &follower);
            }
            changed.extend(issue.map(|issue| (partition, issue)));
        }
        self.settle(&changed);
    }

    /// How long to wait before beginning anew after failed steps. Every new beginning calls the target again for what was
    /// done and could not be written down; on a full disk that must not become a flood. Shorter than a session.
    fn after_failures(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1).min(16));
        self.config.step_wait.saturating_mul(doubled).min(STEP_WAIT_MAX)
    }

    /// Makes the step. False when it is not known to be made: then everything held is void and will be restored.
    async fn commit(&mut self, draft: Draft) -> Result<bool, ExecutorError> {
        if draft.is_empty() {
            return Ok(true);
        }
        match self.subscription.commit(draft.into_step()).await {
            Ok(()) => {
                self.progress.moved(self.clock.now());
                self.failed_at = None;
                self.failures = 0;
                Ok(true)
            }
            Err(error @ (LogError::Refused(_) | LogError::Unfit(_))) => Err(ExecutorError::Log(error)),
            Err(error) => {
                tracing::warn!(%error, "the executor's step was not made; it restores its partitions");
                self.failed_at = Some(self.clock.now());
                self.failures = self.failures.saturating_add(1);
                self.shaken = true;
                self.lose_all();
                Ok(false)
            }
        }
    }

    /// Holds back partitions of which too many actions are deferred behind one target, or wait for their project to go on; and lets them go
    /// on at half of that. What is said on `control` is heard all the same.
    async fn balance(&mut self) {
        for (&partition, held) in &mut self.held {
            if held.halted {
                match self.subscription.pause(topic::CONTROL, partition, false).await {
                    Ok(()) => held.halted = false,
                    Err(error) => tracing::warn!(%error, partition, "a partition cannot be let go on yet"),
                }
            }
            let deferred = held.deferrals().lanes().map(|(_, count)| count).max().unwrap_or_default();
            let counts =
                [(deferred, self.config.deferred_max), (held.held_back(), self.config.held_back_max)];
            let full =
                counts.iter().any(|(count, max)| if held.full { *count > max / 2 } else { count >= max });
            if full == held.full {
                continue;
            }
            match self.subscription.pause(topic::ACTIONS, partition, full).await {
                Ok(()) => {
                    held.full = full;
                    self.progress.holding().pause(partition, full);
                }
                // Tried again on the next turn; if the partition is lost, poll will say so.
                Err(error) => tracing::warn!(%error, partition, "a partition could not be paused or resumed"),
            }
        }
    }

    fn report(&self) {
        let pending = self.held.values().map(|held| held.pending().len()).sum();
        let held_back = self.held.values().map(Partition::held_back).sum();
        let deferred = self.held.values().map(|held| held.deferrals().len()).sum();
        self.progress.waits(pending, held_back, deferred);
        let paused = self.progress.pauses(self.held.values().flat_map(|held| held.pauses().paused()));
        metrics::gauge!("breakdown_paused_projects").set(paused as f64);
        metrics::gauge!("breakdown_held_back").set(held_back as f64);
        // Several routes may lead to the same targets.
        let mut by_name: BTreeMap<&'static str, [usize; 2]> = BTreeMap::new();
        for (index, carrier) in self.routes.iter().enumerate() {
            let [waiting, deferred] = by_name.entry(carrier.name).or_default();
            *waiting += self.held.values().filter_map(|held| held.waiting().get(&index)).sum::<usize>();
            *deferred += self.held.values().map(|held| held.deferrals().of(Some(index))).sum::<usize>();
        }
        for (target, [waiting, deferred]) in by_name {
            metrics::gauge!("breakdown_pending", "target" => target).set(waiting as f64);
            metrics::gauge!("breakdown_deferred", "target" => target).set(deferred as f64);
        }
    }

    /// The partition is held no more.
    fn lose(&mut self, partition: u32) {
        self.held.remove(&partition);
        self.restoring.remove(&partition);
        self.recalling.lose(partition);
        self.parking.lose(partition);
        self.rereading.lose(partition);
        self.running.retain(|_, running| {
            let keep = running.partition != partition;
            if !keep {
                running.abort.abort();
            }
            keep
        });
    }

    fn lose_all(&mut self) {
        let partitions: BTreeSet<u32> = self.held.keys().chain(self.restoring.keys()).copied().collect();
        partitions.into_iter().for_each(|partition| self.lose(partition));
        self.progress.holding().lose();
    }

    /// Lets running attempts end, and says what came of them. Whatever does not end in time stays pending.
    async fn drain(mut self) -> Result<(), ExecutorError> {
        self.draining.cancel();
        let deadline = Instant::now() + self.config.drain_within;
        while !self.running.is_empty() {
            match timeout_at(deadline, self.attempts.join_next_with_id()).await {
                Ok(Some(first)) => {
                    self.finish(first).await?;
                }
                Ok(None) | Err(_) => break,
            }
        }
        self.report();
        Ok(())
    }
}

fn count_dead_letter(reason: &str) {
    metrics::counter!("breakdown_executor_dead_letters_total", "reason" => reason.to_owned()).increment(1);
}
