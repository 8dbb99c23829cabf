//! Step two's judgement: what becomes of an action after an attempt, or instead of one.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use events::{Action, DeadLetter, Outcome, Risk};

use crate::{
    Config, Verdict,
    stack::{Report, spread},
    state::{Pending, PendingEntry},
};

/// An action's end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) dead_letter: Option<Box<DeadLetter>>,
    /// What caused the action; names the trace.
    pub(crate) cause: Option<String>,
}

/// What becomes of an action after an attempt.
#[derive(Debug)]
pub(crate) enum Conclusion {
    Parked(Pending),
    Ended(Ended),
}

/// The end of an action that is not to be attempted (any more): no target carries it, it is too old, or nothing is to
/// be touched.
pub(crate) fn without_attempt(
    pending: &Pending,
    partition: u32,
    now: DateTime<Utc>,
    config: &Config,
) -> Option<Ended> {
    if now - pending.entry.asked_at > delta(config.expire_after) {
        return Some(untouched(pending, "expired", now));
    }
    if pending.target.is_none() {
        return Some(failed(pending, partition, "no target carries this action", "rejected", now));
    }
    config.dry_run.then(|| untouched(pending, "dry_run", now))
}

/// What an attempt's report means for the action.
pub(crate) fn after_attempt(
    pending: &Pending,
    partition: u32,
    report: Report,
    now: DateTime<Utc>,
    config: &Config,
) -> Conclusion {
    let attempts = pending.entry.attempts.saturating_add(report.made);
    let pending = Pending { entry: PendingEntry { attempts, ..pending.entry.clone() }, ..pending.clone() };
    match report.verdict {
        Verdict::Done { reference } => {
            let action = &pending.action;
            let mut outcome = Outcome::of(action, Risk::of_done(&action.action), true, now);
            (outcome.attempts, outcome.reference) = (Some(attempts), reference);
            Conclusion::Ended(Ended { outcome, dead_letter: None, cause: action.cause.clone() })
        }
        Verdict::Reject { reason } => {
            Conclusion::Ended(failed(&pending, partition, &reason, "rejected", now))
        }
        Verdict::Retry { after, reason } => match next_attempt(&pending, after, now, config) {
            Some(next_attempt_at) => {
                let parkings = pending.entry.parkings.saturating_add(1);
                let entry = PendingEntry { next_attempt_at, parkings, ..pending.entry };
                Conclusion::Parked(Pending { entry, ..pending })
            }
            None => Conclusion::Ended(failed(&pending, partition, &reason, "given up", now)),
        },
    }
}

/// When to try again; `None` when it is to be given up. A target's own word is never anticipated; our own waits end
/// at the latest with a last attempt when the time is up.
fn next_attempt(
    pending: &Pending,
    after: Option<Duration>,
    now: DateTime<Utc>,
    config: &Config,
) -> Option<DateTime<Utc>> {
    let entry = &pending.entry;
    let deadline = entry.accepted_at + delta(config.give_up_after);
    if now >= deadline {
        return None;
    }
    let limits = &config.limits;
    let doubled = limits.park_wait.saturating_mul(1 << entry.parkings.min(16)).min(limits.park_wait_max);
    let wait = spread(after.unwrap_or(doubled), &pending.action.event_id, entry.parkings);
    let at = now + delta(wait);
    match after {
        Some(_) => (at <= deadline).then_some(at),
        None => Some(at.min(deadline)),
    }
}

fn untouched(pending: &Pending, why: &str, now: DateTime<Utc>) -> Ended {
    let mut outcome = Outcome::of(&pending.action, Risk(0), false, now);
    (outcome.attempts, outcome.error) = (Some(pending.entry.attempts), Some(why.to_owned()));
    Ended { outcome, dead_letter: None, cause: pending.action.cause.clone() }
}

fn failed(pending: &Pending, partition: u32, reason: &str, how: &str, now: DateTime<Utc>) -> Ended {
    let (action, entry): (&Arc<Action>, _) = (&pending.action, &pending.entry);
    let mut outcome = Outcome::of(action, Risk::FAILED, false, now);
    (outcome.attempts, outcome.error) = (Some(entry.attempts), Some(reason.to_owned()));
    let letter = DeadLetter::new(
        pending.origin(partition),
        Some(action.project_id.clone()),
        "undeliverable",
        format!("{how} after {} attempts: {reason}", entry.attempts),
        now,
        entry.record.as_bytes(),
    );
    Ended { outcome, dead_letter: Some(Box::new(letter)), cause: action.cause.clone() }
}

/// A configured duration; one beyond all calendars is the longest.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(36_500))
}
