//! A partition of whose actions `executor-state` keeps nothing: it is new, nothing was done for a week, or its state was lost, and then
//! the group may begin with `actions` anew. What has its outcome is not to be done again, so the outcomes are asked, once and before
//! anything else of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::{Log, LogError};
use events::{Outcome, id, topic};
use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::sleep,
};

use super::{Executor, LOG_RETRY_AFTER};
use crate::{
    ExecutorError, conclude,
    partition::{DONE_MAX, Partition},
    state::{Entry, Mark},
    step::Draft,
};

/// How long the next outcomes are waited for before it is asked again whether there are any.
const OUTCOMES_WITHIN: Duration = Duration::from_millis(100);
/// The redrive rounds in which an outcome is looked for.
const ROUNDS_MAX: u32 = 1000;

/// What the outcomes say of one action: when the last was known, its place among them, and the mark.
type Ended = (DateTime<Utc>, u64, Mark);

/// Partitions that are restored whole, know of no action, and are not held before their outcomes have been asked; in tasks of their own, so
/// that those that are held go on meanwhile.
#[derive(Default)]
pub(super) struct Recalling {
    /// Of these nothing is asked yet.
    asked_for: BTreeSet<u32>,
    asking: HashMap<Id, (u32, AbortHandle)>,
    tasks: JoinSet<Recalled>,
}

/// What the outcomes of a partition say, oldest first.
pub(super) type Recalled = Result<Vec<(Arc<str>, Ended)>, LogError>;

impl Recalling {
    /// The next that was asked.
    pub(super) async fn next(&mut self) -> Option<Result<(Id, Recalled), JoinError>> {
        self.tasks.join_next_with_id().await
    }

    /// Whether all are held.
    pub(super) fn is_over(&self) -> bool {
        self.asked_for.is_empty() && self.asking.is_empty()
    }

    /// The partition will not be held.
    pub(super) fn lose(&mut self, partition: u32) {
        self.asked_for.remove(&partition);
        self.asking.retain(|_, (of, task)| {
            if *of == partition {
                task.abort();
            }
            *of != partition
        });
    }
}

impl Executor {
    /// A partition was restored whole: it is held from here on, or once the outcomes have been asked.
    pub(super) fn take_hold(&mut self, partition: u32) {
        let restored = self.restoring.remove(&partition).unwrap_or_default();
        if restored.knows_nothing() {
            self.restoring.insert(partition, restored);
            self.recalling.asked_for.insert(partition);
        } else {
            self.hold(partition, restored);
        }
    }

    fn hold(&mut self, partition: u32, restored: Partition) {
        let (pending, deferred) = (restored.pending().len(), restored.deferrals().len());
        tracing::info!(partition, pending, deferred, "the executor holds a partition");
        self.held.insert(partition, restored);
    }

    /// Has the outcomes asked of the partitions that wait for it. False when these could not be paused: nothing is to be polled
    /// before, for their records would count as consumed.
    pub(super) async fn recall(&mut self) -> Result<bool, ExecutorError> {
        while let Some(&partition) = self.recalling.asked_for.first() {
            match self.halt(partition).await {
                Ok(()) => {
                    let since = self.clock.now() - conclude::delta(self.config.remember_for);
                    let task = self.recalling.tasks.spawn(asked(self.log.clone(), partition, since));
                    self.recalling.asking.insert(task.id(), (partition, task));
                }
                Err(error @ LogError::Refused(_)) => return Err(ExecutorError::Log(error)),
                // Poll will say so, and give nothing of it.
                Err(LogError::Lost(_)) => {}
                // All wait for it: nothing is to be polled. It is not to be met: a log pauses by itself and asks nobody, and attempts
                // under way go on.
                Err(error) => {
                    tracing::warn!(%error, partition, "a partition cannot be made to wait for its outcomes yet");
                    return Ok(false);
                }
            }
            self.recalling.asked_for.remove(&partition);
        }
        Ok(true)
    }

    /// Takes hold of a partition whose outcomes were asked.
    pub(super) async fn remember(
        &mut self,
        asked: Result<(Id, Recalled), JoinError>,
    ) -> Result<(), ExecutorError> {
        let (task, recalled) = match asked {
            Ok((task, recalled)) => (task, Some(recalled)),
            Err(error) => (error.id(), None),
        };
        // Unknown: it was lost meanwhile.
        let Some((partition, _)) = self.recalling.asking.remove(&task) else { return Ok(()) };
        let ended = match recalled {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(ExecutorError::Log(error)),
            None => {
                self.recalling.asked_for.insert(partition);
                return Ok(());
            }
        };
        // All in one step: a partition of which something is kept is not asked again.
        let mut draft = Draft::default();
        let mut restored = self.restoring.remove(&partition).unwrap_or_default();
        let recalled = ended.len();
        for (id, (finished_at, _, mark)) in ended {
            draft.keep(partition, &id, &Entry::done(finished_at, &mark))?;
            restored.finish(id, finished_at, mark);
        }
        if !self.commit(draft).await? {
            return Ok(());
        }
        if recalled > 0 {
            tracing::info!(
                partition,
                recalled,
                "nothing was kept of a partition's actions; those that have an outcome are not done again"
            );
        }
        // It goes on when the inputs are let go: see `balance`.
        (restored.halted, restored.full) = (true, true);
        self.hold(partition, restored);
        Ok(())
    }

    /// Has nothing of a partition come.
    async fn halt(&mut self, partition: u32) -> Result<(), LogError> {
        self.subscription.pause(topic::ACTIONS, partition, true).await?;
        self.subscription.pause(topic::CONTROL, partition, true).await
    }
}

/// What the outcomes of a partition say, however long the log does not answer.
async fn asked(log: Arc<dyn Log>, partition: u32, since: DateTime<Utc>) -> Recalled {
    loop {
        match outcomes(&*log, partition, since).await {
            Err(error) if !matches!(error, LogError::Refused(_)) => {
                tracing::warn!(%error, partition, "what a partition's outcomes say cannot be read yet");
                sleep(LOG_RETRY_AFTER).await;
            }
            said => return said,
        }
    }
}

/// The actions of a partition that have an outcome, oldest first: those that ended `since` then, and no more than are marked.
async fn outcomes(
    log: &dyn Log,
    partition: u32,
    since: DateTime<Utc>,
) -> Result<Vec<(Arc<str>, Ended)>, LogError> {
    let mut said = Said { since, ended: HashMap::new() };
    let mut reader = log.read(topic::OUTCOMES, &[(partition, 0)]).await?;
    while !reader.at_end().await? {
        for record in reader.next(OUTCOMES_WITHIN).await? {
            // Nothing else on this topic is ours.
            if let Ok(outcome) =
                serde_json::from_slice::<Outcome>(record.value.as_deref().unwrap_or_default())
            {
                said.hear(&outcome, outcome.at.unwrap_or(record.timestamp), record.offset);
            }
        }
    }
    Ok(said.marks())
}

/// What the outcomes say that were read so far.
struct Said {
    since: DateTime<Utc>,
    ended: HashMap<Arc<str>, Ended>,
}

impl Said {
    /// An older one is forgotten at once, as its mark was: the topic may be kept for much longer, and be long.
    fn hear(&mut self, outcome: &Outcome, at: DateTime<Utc>, offset: u64) {
        let Some(action_id) = outcome.action_id.as_deref().filter(|_| at >= self.since) else { return };
        let before = self.ended.get(action_id).map(|(.., mark)| mark);
        if let Some(mark) = marked(action_id, outcome, before) {
            self.ended.insert(action_id.into(), (at, offset, mark));
        }
    }

    fn marks(self) -> Vec<(Arc<str>, Ended)> {
        let mut ended: Vec<_> = self.ended.into_iter().collect();
        ended.sort_unstable_by_key(|(_, (_, offset, _))| *offset);
        ended.split_off(ended.len().saturating_sub(DONE_MAX))
    }
}

/// The mark that an outcome left, after the one `before` it; `None` where it is no news, or no outcome of an executor.
fn marked(action_id: &str, outcome: &Outcome, before: Option<&Mark>) -> Option<Mark> {
    let next = before.map_or(0, |before| before.round + 1);
    let round = (next..ROUNDS_MAX).find(|round| id::outcome(action_id, *round) == outcome.event_id)?;
    let mut risk = outcome.risk_delta;
    // A later round's is the difference.
    risk.0 += before.map_or(0, |before| before.risk.0);
    let left = outcome.ack || outcome.attempts != Some(0) || before.is_some_and(|before| before.left);
    // An outcome does not say what the action was to others.
    Some(Mark { round, risk, left, tie: None })
}

#[cfg(test)]
mod tests {
    use events::{Action, Risk};
    use serde_json::json;

    use super::*;

    fn action(id: &str) -> Action {
        serde_json::from_value(json!({
            "event_id": id, "project_id": "alpha", "action": "post_nudge", "target": "team:triage", "rationale": "r",
            "source_ref": "",
        }))
        .expect("an action")
    }

    #[test]
    fn what_ended_before_is_forgotten_while_it_is_read() {
        let day = |day: i64| DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day);
        let mut said = Said { since: day(10), ended: HashMap::new() };
        let mut hear = |id: &str, day, offset| {
            let outcome =
                Outcome { event_id: id::outcome(id, 0), ..Outcome::of(&action(id), Risk(100), false, day) };
            said.hear(&outcome, day, offset);
            said.ended.len()
        };
        assert_eq!((hear("a-1", day(2), 0), hear("a-2", day(9), 1)), (0, 0));
        // Done anew when its mark was forgotten, so in its first round again.
        assert_eq!((hear("a-3", day(10), 2), hear("a-1", day(11), 3)), (1, 2));
        let marks: Vec<(String, u64)> =
            said.marks().into_iter().map(|(id, (_, offset, _))| (id.to_string(), offset)).collect();
        assert_eq!(marks, [("a-3".to_owned(), 2), ("a-1".to_owned(), 3)]);
    }

    #[test]
    fn an_outcome_gives_the_mark_that_went_with_it() {
        let action = action("a-1");
        let outcome = |round, risk, ack, attempts| Outcome {
            event_id: id::outcome("a-1", round),
            attempts,
            ..Outcome::of(&action, Risk(risk), ack, DateTime::UNIX_EPOCH)
        };
        let first = marked("a-1", &outcome(0, 100, false, Some(3)), None);
        assert_eq!(first, Some(Mark { round: 0, risk: Risk(100), left: true, tie: None }));
        let second = marked("a-1", &outcome(1, -150, true, Some(1)), first.as_ref());
        assert_eq!(second, Some(Mark { round: 1, risk: Risk(-50), left: true, tie: None }));
        assert_eq!(
            marked("a-1", &outcome(1, -150, true, Some(1)), second.as_ref()),
            None,
            "it stands there twice"
        );
        assert_eq!(marked("a-1", &outcome(0, 100, false, Some(3)), second.as_ref()), None, "an older one");
        assert_eq!(marked("a-2", &outcome(0, 100, false, Some(3)), None), None, "of another action");
        let untouched = marked("a-1", &outcome(0, 0, false, Some(0)), None);
        assert_eq!(untouched.map(|mark| mark.left), Some(false));
        let withdrawn = marked("a-1", &outcome(1, -100, false, Some(0)), first.as_ref());
        let mark = Mark { round: 1, risk: Risk(0), left: true, tie: None };
        assert_eq!(withdrawn, Some(mark), "what was left before is still there");
        // The first rounds' outcomes are kept no more.
        assert_eq!(marked("a-1", &outcome(4, -150, true, Some(1)), None).map(|mark| mark.round), Some(4));
    }
}
