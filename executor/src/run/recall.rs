//! A partition of whose actions `executor-state` keeps nothing: it is new, nothing was done for a week, or its state was lost, and then
//! the group may begin with `actions` anew. What has its outcome is not to be done again, so the outcomes are asked, once and before
//! anything else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use eventlog::{Log, LogError};
use events::{Outcome, id, topic};
use tokio_util::sync::CancellationToken;

use super::Executor;
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

impl Executor {
    /// A partition was restored whole: it is held from here on, or once the outcomes have been asked.
    pub(super) fn take_hold(&mut self, partition: u32) {
        let restored = self.restoring.remove(&partition).unwrap_or_default();
        if restored.knows_nothing() {
            self.restoring.insert(partition, restored);
            self.recalling.insert(partition);
        } else {
            self.hold(partition, restored);
        }
    }

    fn hold(&mut self, partition: u32, restored: Partition) {
        tracing::info!(partition, pending = restored.pending().len(), "the executor holds a partition");
        self.held.insert(partition, restored);
    }

    /// Takes hold of the partitions that wait for it, one after the other. False when the log does not answer: nothing is polled
    /// before they are held, or their records would count as consumed. False at `shutdown`, too: a long topic is not read to its end.
    pub(super) async fn recall(&mut self, shutdown: &CancellationToken) -> Result<bool, ExecutorError> {
        while let Some(partition) = self.recalling.pop_first() {
            let since = self.clock.now() - conclude::delta(self.config.remember_for);
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.recalling.insert(partition);
                    return Ok(false);
                }
                read = outcomes(&*self.log, partition, since) => read,
            };
            let ended = match read {
                Ok(ended) => ended,
                Err(error @ LogError::Refused(_)) => return Err(ExecutorError::Log(error)),
                Err(error) => {
                    tracing::warn!(%error, partition, "what a partition's outcomes say cannot be read yet");
                    self.recalling.insert(partition);
                    return Ok(false);
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
            if self.commit(draft).await? {
                if recalled > 0 {
                    tracing::info!(
                        partition,
                        recalled,
                        "nothing was kept of a partition's actions; those that have an outcome are not done again"
                    );
                }
                self.hold(partition, restored);
            }
        }
        Ok(true)
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
    // An outcome does not say what the action was to others.
    Some(Mark { round, risk, left: outcome.ack || outcome.attempts != Some(0), tie: None })
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
        // The first rounds' outcomes are kept no more.
        assert_eq!(marked("a-1", &outcome(4, -150, true, Some(1)), None).map(|mark| mark.round), Some(4));
    }
}
