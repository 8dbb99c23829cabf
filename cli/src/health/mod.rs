//! What readiness is made of.
//!
//! ```text
//!   the log ── takes an append? ──┐
//!   the spool ─ takes one? ───────┼─► ready, and what that is made of
//!   a role ─── comes round? ──────┤
//!     its group ─ moves while it is behind? (lag.rs looks, watch.rs judges)
//! ```

pub(crate) mod lag;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, Phase, Stuck};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use webhooks::{Spool, SpoolReport};

use self::watch::Watch;

/// How long a role may go without coming round before the process is not ready. A role comes round at least once a second.
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long the log may take to answer.
pub(crate) const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of the log is good for, so that probes cost it little.
const LOG_ANSWER_KEPT: Duration = Duration::from_secs(1);

/// What a role tells of itself.
pub(crate) trait Progress: Send + Sync {
    /// When it last came round.
    fn moved_at(&self) -> Option<DateTime<Utc>>;
    /// The partitions that it was given.
    fn partitions(&self) -> BTreeMap<u32, Phase>;
    /// What is overdue there; none where nothing is.
    fn stalled(&self) -> Option<Value>;
    /// Which effects operators have paused, and what waits; none of a role that has none.
    fn effects(&self) -> Option<Value> {
        None
    }
}

impl Progress for gateway::Progress {
    fn moved_at(&self) -> Option<DateTime<Utc>> {
        self.moved_at()
    }

    fn partitions(&self) -> BTreeMap<u32, Phase> {
        self.holding().partitions()
    }

    fn stalled(&self) -> Option<Value> {
        let stalled = self.stalled();
        (stalled.timers > 0).then(|| json!(stalled))
    }
}

impl Progress for executor::Progress {
    fn moved_at(&self) -> Option<DateTime<Utc>> {
        self.moved_at()
    }

    fn partitions(&self) -> BTreeMap<u32, Phase> {
        self.holding().partitions()
    }

    fn stalled(&self) -> Option<Value> {
        let stalled = self.stalled();
        (stalled.actions > 0).then(|| json!(stalled))
    }

    // Numbers only: readiness is shown to whoever asks, and projects have names.
    fn effects(&self) -> Option<Value> {
        let paused = self.paused();
        let all = paused.contains_key("");
        let projects = paused.len() - usize::from(all);
        let (held_back, deferred) = (self.held_back(), self.deferred());
        Some(
            json!({"all_paused": all, "paused_by_name": projects, "held_back": held_back, "deferred": deferred}),
        )
    }
}

/// A role that consumes the log.
pub(crate) struct Role {
    name: &'static str,
    group: &'static str,
    inputs: &'static [&'static str],
    progress: Arc<dyn Progress>,
    watch: StdMutex<Watch>,
}

impl Role {
    pub(crate) fn new(
        name: &'static str,
        group: &'static str,
        inputs: &'static [&'static str],
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self { name, group, inputs, progress, watch: StdMutex::default() }
    }

    // A panic while the lock was held cannot leave it half written: each place is replaced whole.
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it moves, and what that is made of.
    fn ready(&self, now: DateTime<Utc>) -> (bool, Value) {
        let (moved_at, partitions) = (self.progress.moved_at(), self.progress.partitions());
        let moves = moved_at.is_some_and(|at| now - at < STALLED_AFTER);
        let (lag, stuck) = {
            let watch = self.watch();
            (watch.lag(), watch.stuck(&partitions))
        };
        let count = |phase: fn(&Phase) -> bool| partitions.values().filter(|held| phase(held)).count();
        let mut detail = json!({
            "moves": moves, "moved_at": moved_at, "partitions": partitions.len(), "lag": lag,
        });
        let ready = moves && stuck.is_empty();
        let restoring = count(|phase| matches!(phase, Phase::Restoring { .. }));
        let paused = count(|phase| matches!(phase, Phase::Paused));
        // What is as it should be is not mentioned.
        let parts = [
            ("restoring", (restoring > 0).then(|| json!(restoring))),
            ("paused", (paused > 0).then(|| json!(paused))),
            ("stuck", (!stuck.is_empty()).then(|| json!(stuck))),
            ("stalled", self.progress.stalled()),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                detail[name] = part;
            }
        }
        (ready, detail)
    }
}

/// What readiness is made of.
pub(crate) struct Health {
    /// `None` where no role needs one.
    log: Option<Arc<dyn Log>>,
    clock: Arc<dyn Clock>,
    roles: Arc<Vec<Role>>,
    /// Takes deliveries while the log does not answer.
    spool: Option<Spool>,
    answered: Mutex<Option<(Instant, Answers)>>,
}

/// What log and spool say, each whether it takes something.
#[derive(Debug, Clone)]
struct Answers {
    log: Result<(), String>,
    spool: Option<Result<(), String>>,
}

impl Health {
    pub(crate) fn new(
        log: Option<Arc<dyn Log>>,
        clock: Arc<dyn Clock>,
        roles: Arc<Vec<Role>>,
        spool: Option<Spool>,
    ) -> Self {
        Self { log, clock, roles, spool, answered: Mutex::new(None) }
    }

    async fn answers(&self) -> Answers {
        let mut answered = self.answered.lock().await;
        if let Some((at, answers)) = &*answered
            && at.elapsed() < LOG_ANSWER_KEPT
        {
            return answers.clone();
        }
        let log = async {
            match &self.log {
                Some(log) => in_time(log.writable()).await,
                None => Ok(()),
            }
        };
        let spool = async {
            match &self.spool {
                Some(spool) => Some(in_time(spool.writable()).await),
                None => None,
            }
        };
        let (log, spool) = tokio::join!(log, spool);
        let answers = Answers { log, spool };
        *answered = Some((Instant::now(), answers.clone()));
        answers
    }

    /// Whether the process is ready, and what that is made of.
    pub(crate) async fn ready(&self) -> (bool, Map<String, Value>) {
        let Answers { log, spool: spool_takes } = self.answers().await;
        let spool = self.spool.as_ref().map(Spool::report);
        // A receiver that is taken out of service loses what it could have kept: providers do not send again. While the spool is in
        // use whatever comes goes behind what waits there.
        let mut ready = match (&spool, &spool_takes) {
            (Some(report), Some(takes)) => takes.is_ok() || (log.is_ok() && !report.spooling),
            _ => log.is_ok(),
        };
        let mut detail = Map::new();
        detail.insert("log".into(), log.map_or_else(Value::from, |()| "answers".into()));
        for role in self.roles.iter() {
            let (moves, said) = role.ready(self.clock.now());
            ready &= moves;
            detail.insert(role.name.into(), said);
            if let Some(effects) = role.progress.effects() {
                detail.insert("effects".into(), effects);
            }
        }
        // Only the broker's operator can end a transaction that it has forgotten, so it must be said where it is looked at.
        let undecided = match &self.log {
            Some(log) if !self.roles.is_empty() => log.stuck(),
            _ => Vec::new(),
        };
        if !undecided.is_empty() {
            ready = false;
            let said = undecided.into_iter().map(|stuck| self.said(stuck)).collect();
            detail.insert("undecided".into(), Value::Array(said));
        }
        if let (Some(SpoolReport { spooling, records, bytes, oldest, full: _ }), Some(takes)) =
            (spool, spool_takes)
        {
            let mut spool = json!({"spooling": spooling, "takes": takes.is_ok(), "records": records, "bytes": bytes, "oldest_at": oldest});
            if let Err(why) = takes {
                spool["why"] = why.into();
            }
            detail.insert("spool".into(), spool);
        }
        detail.insert("ready".into(), ready.into());
        (ready, detail)
    }

    fn said(&self, Stuck { group, partition, topic, from, waiting }: Stuck) -> Value {
        let since = TimeDelta::from_std(waiting).ok().map(|waiting| self.clock.now() - waiting);
        let hint = "the broker has forgotten an open transaction: kafka-transactions.sh find-hanging, then abort (docs/operations.md)";
        json!({"group": group, "partition": partition, "topic": topic, "from": from, "since": since, "hint": hint})
    }
}

/// What a log says, or that it says nothing.
async fn in_time(answer: impl Future<Output = Result<(), eventlog::LogError>>) -> Result<(), String> {
    match tokio::time::timeout(LOG_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOG_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests;
