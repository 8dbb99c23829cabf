//! Step two's judgement: what becomes of an action after an attempt, or instead of one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{ActionKind, Carried, DeadLetter, Origin, Outcome, Risk, id, topic};

use crate::{
    Config, Verdict,
    deferred::Deferred,
    stack::{Report, spread},
    state::{Mark, Pending, PendingEntry, Superseded},
    ties::Tie,
};

/// An action's end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// What is to be remembered of it.
    pub(crate) mark: Mark,
    pub(crate) dead_letter: Option<Box<DeadLetter>>,
    /// What caused the action; names the trace.
    pub(crate) cause: Option<String>,
    /// The issue that it is about.
    pub(crate) issue: Option<String>,
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
        return Some(untouched(pending, Outcome::EXPIRED, now));
    }
    if pending.target.is_none() {
        // Most tools know of no such thing, and whoever answered has answered all the same.
        if pending.action.action == ActionKind::Acknowledge {
            return Some(nothing_left(pending, now));
        }
        return Some(failed(pending, partition, "no target carries this action", "rejected", now));
    }
    None
}

/// The end of an action that follows up one that left nothing anywhere, or nothing where anybody could be told.
pub(crate) fn nothing_left(pending: &Pending, now: DateTime<Utc>) -> Ended {
    end(pending, Risk::of_done(&pending.action.action), true, now)
}

/// The end of an action that follows up a page in whose place there is a later one: what it does could befall that one.
pub(crate) fn overtaken(pending: &Pending, now: DateTime<Utc>) -> Ended {
    let what = if pending.action.action == ActionKind::Acknowledge { "acknowledged" } else { "taken back" };
    let mut ended = nothing_left(pending, now);
    ended.outcome.error = Some(format!("not {what}: a later page took its place"));
    // What the page left is still there.
    ended.mark.left = false;
    ended
}

/// The end of an `acknowledge` of a page that is taken back.
pub(crate) fn belated(pending: &Pending, now: DateTime<Utc>) -> Ended {
    let mut ended = nothing_left(pending, now);
    ended.outcome.error = Some("not acknowledged: the issue was closed meanwhile".to_owned());
    ended
}

/// The end of a redriven action that was taken back meanwhile. Nobody needs it any more: it is no failure, and no letter again.
pub(crate) fn withdrawn(pending: &Pending, now: DateTime<Utc>) -> Ended {
    untouched(pending, Outcome::WITHDRAWN, now)
}

/// Whether an action that was not done may have left something: a target did its part, or did not say that it did not; in this round or an
/// earlier one, of which what is not said now is still there.
fn may_have_left(pending: &Pending, refused: bool) -> bool {
    // The last word of a target that refuses is that nothing is there.
    let known = |refused: bool| u32::from(refused);
    let now = match pending.entry.legs.as_slice() {
        [] => pending.entry.attempts > known(refused),
        legs => legs.iter().any(|leg| leg.carried.ack || leg.carried.attempts > known(leg.ended)),
    };
    now || pending.entry.supersedes.as_ref().is_some_and(|before| before.left)
}

/// What an attempt's report means for the action, which has been tried `since` then; while that is `None`, it is not given up.
pub(crate) fn after_attempt(
    pending: &Pending,
    partition: u32,
    report: Report,
    (since, now): (Option<DateTime<Utc>>, DateTime<Utc>),
    config: &Config,
) -> Conclusion {
    let attempts = pending.entry.attempts.saturating_add(report.made);
    // None from an attempt that broke off inside: what was known holds.
    let legs = if report.legs.is_empty() { pending.entry.legs.clone() } else { report.legs };
    let pending =
        Pending { entry: PendingEntry { attempts, legs, ..pending.entry.clone() }, ..pending.clone() };
    match report.verdict {
        Verdict::Done { reference } => {
            let mut ended = end(&pending, Risk::of_done(&pending.action.action), true, now);
            ended.outcome.reference = reference;
            Conclusion::Ended(ended)
        }
        Verdict::Reject { reason } => {
            Conclusion::Ended(failed(&pending, partition, &reason, "rejected", now))
        }
        Verdict::Retry { after, reason } => {
            // A breaker says nothing about the action: what the target said last is why it is not done.
            let reason = match (report.held_back, &pending.entry.last_error) {
                (Some(_), Some(last)) => last.clone(),
                _ => reason,
            };
            match next_attempt(&pending, after, report.held_back, (since, now), config) {
                Some(next_attempt_at) => {
                    let parkings = pending.entry.parkings.saturating_add(1);
                    let last_error = Some(reason);
                    let entry = PendingEntry {
                        next_attempt_at,
                        parkings,
                        tried_since: since,
                        last_error,
                        ..pending.entry
                    };
                    Conclusion::Parked(Pending { entry, ..pending })
                }
                None => Conclusion::Ended(failed(&pending, partition, &reason, "given up", now)),
            }
        }
    }
}

/// When to try again; `None` when it is to be given up. A target's own word (`after`) is never anticipated and never
/// shortens our own wait, which is the breaker's where that `held_back` the attempt, and else doubles. Unless the target
/// wants to be left alone for longer, there is a last attempt when the time is up.
fn next_attempt(
    pending: &Pending,
    after: Option<Duration>,
    held_back: Option<Duration>,
    (since, now): (Option<DateTime<Utc>>, DateTime<Utc>),
    config: &Config,
) -> Option<DateTime<Utc>> {
    let entry = &pending.entry;
    let deadline = since.map(|since| since + delta(config.give_up_after));
    let after = after.unwrap_or_default();
    if deadline.is_some_and(|deadline| now >= deadline || now + delta(after) > deadline) {
        return None;
    }
    let limits = &config.limits;
    let doubled = limits.park_wait.saturating_mul(1 << entry.parkings.min(16)).min(limits.park_wait_max);
    let wait = held_back.unwrap_or(doubled).max(after);
    let at = now + delta(spread(wait, &pending.action.event_id, entry.parkings));
    Some(deadline.map_or(at, |deadline| at.min(deadline)))
}

/// The end of an action that did this to the project's risk, over all rounds.
fn end(pending: &Pending, risk: Risk, ack: bool, now: DateTime<Utc>) -> Ended {
    let (action, entry) = (&pending.action, &pending.entry);
    let mut outcome = Outcome::of(action, risk, ack, now);
    outcome.event_id = id::outcome(&action.event_id, entry.round());
    outcome.attempts = Some(entry.attempts);
    outcome.carried = pending.carried();
    if let Some(before) = &entry.supersedes {
        outcome.risk_delta = Risk(risk.0 - before.risk.0);
        outcome.supersedes = Some(before.outcome.clone());
    }
    Ended {
        outcome,
        mark: Mark {
            round: entry.round(),
            risk,
            left: ack || may_have_left(pending, false),
            tie: Tie::of(pending).map(Box::new),
        },
        dead_letter: None,
        cause: action.cause.clone(),
        issue: action.issue_ref.clone(),
    }
}

/// Why a deferred action cannot be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Its record is kept no longer.
    Removed,
    /// Where its record stood there is another one.
    Replaced,
    /// Either of them, and it was redriven, and taken back meanwhile: nobody needs it.
    Withdrawn,
}

impl Gone {
    fn error(self) -> &'static str {
        match self {
            Self::Removed => {
                "its record was removed from actions before its target had room for it; retention is too short, or too small, or the \
                 topic was made anew"
            }
            Self::Replaced => {
                "another record stands on actions where its own did: the topic was made anew before its target had room for it"
            }
            Self::Withdrawn => Outcome::WITHDRAWN,
        }
    }

    fn risk(self) -> Risk {
        if self == Self::Withdrawn { Risk(0) } else { Risk::FAILED }
    }
}

/// The end of a deferred action whose record is gone: nobody knows what it was to do. `before` is the outcome that this one replaces, `tie`
/// what the action was to others until now.
pub(crate) fn gone(
    (partition, id): (u32, &str),
    deferred: &Deferred,
    why: Gone,
    before: Option<Superseded>,
    tie: Option<Box<Tie>>,
    now: DateTime<Utc>,
) -> Ended {
    let (project, round, error) = (&deferred.about.project, deferred.round, why.error());
    let (kind, risk) = (deferred.about.kind.as_str(), why.risk());
    let left = before.as_ref().map_or(round > 0, |before| before.left);
    let dead_letter = (why != Gone::Withdrawn).then(|| {
        let origin = Origin::Record { topic: topic::ACTIONS.to_owned(), partition, offset: deferred.offset };
        let detail = format!("{error} ({kind}, {id})");
        let letter = DeadLetter::new(origin, Some(project.clone()), "gone", detail, now, b"");
        // Nothing is left of the original, and where it stood others may have: the action tells letters apart.
        let event_id = id::dead_letter(&format!("{id}/{round}"), &letter.original_sha256);
        Box::new(DeadLetter { event_id, round, ..letter })
    });
    let tie = tie.or_else(|| Some(Box::new(Tie::TakesBack(deferred.takes_back.as_deref()?.to_owned()))));
    Ended {
        outcome: Outcome {
            event_id: id::outcome(id, round),
            project_id: project.clone(),
            risk_delta: Risk(risk.0 - before.as_ref().map_or(0, |before| before.risk.0)),
            ack: false,
            action_id: Some(id.to_owned()),
            action: Some(kind.into()),
            target: None,
            attempts: Some(0),
            error: Some(error.to_owned()),
            at: Some(now),
            reference: None,
            supersedes: before.map(|before| before.outcome),
            carried: Vec::new(),
        },
        mark: Mark { round, risk, left, tie },
        dead_letter,
        cause: None,
        issue: None,
    }
}

/// The end of an action in a dry run.
pub(crate) fn rehearsed(pending: &Pending, carried: Vec<Carried>, now: DateTime<Utc>) -> Ended {
    let mut ended = untouched(pending, Outcome::DRY_RUN, now);
    ended.outcome.carried = carried;
    ended
}

fn untouched(pending: &Pending, why: &str, now: DateTime<Utc>) -> Ended {
    let mut ended = end(pending, Risk(0), false, now);
    ended.outcome.error = Some(why.to_owned());
    ended
}

fn failed(pending: &Pending, partition: u32, reason: &str, how: &str, now: DateTime<Utc>) -> Ended {
    let mut ended = end(pending, Risk::FAILED, false, now);
    ended.outcome.error = Some(reason.to_owned());
    ended.mark.left = may_have_left(pending, how == "rejected");
    let attempts = match pending.entry.attempts {
        1 => "1 attempt".to_owned(),
        attempts => format!("{attempts} attempts"),
    };
    let letter = DeadLetter::new(
        pending.origin(partition),
        Some(pending.action.project_id.clone()),
        "undeliverable",
        format!("{how} after {attempts}: {reason}"),
        now,
        pending.entry.record.as_bytes(),
    );
    ended.dead_letter = Some(Box::new(letter.after(pending.entry.redrive.as_ref())));
    ended
}

/// When an action that is held back has expired: nothing else will become of it before.
pub(crate) fn expires_at(pending: &Pending, config: &Config) -> DateTime<Utc> {
    // Not at the very instant: `without_attempt` wants it to have passed.
    pending.entry.asked_at + delta(config.expire_after) + TimeDelta::milliseconds(1)
}

/// A duration as the calendar can bear it: a hundred years at most.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    const LONGEST: TimeDelta = TimeDelta::days(36_500);
    TimeDelta::from_std(duration).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use events::Action;
    use serde_json::json;

    use super::*;

    fn pending(parkings: u32) -> Pending {
        let action: Action = serde_json::from_value(json!({
            "event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "team:triage", "rationale": "r",
            "source_ref": "",
        }))
        .expect("an action");
        let entry = PendingEntry {
            accepted_at: DateTime::UNIX_EPOCH,
            asked_at: DateTime::UNIX_EPOCH,
            offset: 0,
            attempts: 0,
            parkings,
            next_attempt_at: DateTime::UNIX_EPOCH,
            tried_since: None,
            last_error: None,
            legs: Vec::new(),
            redrive: None,
            supersedes: None,
            record: String::new(),
        };
        Pending { action: Arc::new(action), target: Some(0), entry }
    }

    /// Seconds from acceptance to the next attempt, for an attempt that ends `at` seconds after it.
    fn next(at: i64, parkings: u32, after: Option<Duration>, held_back: Option<u64>) -> Option<i64> {
        let config = Config::new("http://h/".parse().expect("a url"));
        let held_back = held_back.map(Duration::from_secs);
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(at);
        let pending = pending(parkings);
        let since = Some(pending.entry.accepted_at);
        next_attempt(&pending, after, held_back, (since, now), &config).map(|at| at.timestamp())
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn a_targets_word_lengthens_the_wait_and_never_shortens_it() {
        let ours = next(0, 3, None, None);
        assert!(ours.is_some_and(|at| (40..=50).contains(&at)), "{ours:?}");
        for less in [0, 1, 39] {
            assert_eq!(next(0, 3, seconds(less), None), ours, "{less}");
        }
        assert!(next(0, 3, seconds(200), None).is_some_and(|at| (200..=250).contains(&at)));
        for endless in [Duration::from_secs(u64::MAX / 2000), Duration::MAX] {
            assert_eq!(next(0, 3, Some(endless), None), None, "longer than we are willing to try");
        }
    }

    #[test]
    fn there_is_a_last_attempt_when_the_time_is_up() {
        assert_eq!(next(899, 9, None, None), Some(900));
        assert_eq!(next(890, 0, None, Some(30)), Some(900), "the breaker's wait is ours");
        assert_eq!(next(890, 9, seconds(10), None), Some(900), "the target may be asked by then");
        assert_eq!(next(890, 9, seconds(11), None), None, "the target wants to be left alone for longer");
        assert_eq!(next(900, 0, None, None), None, "that was the last");
    }

    #[test]
    fn what_was_not_tried_since_it_was_let_go_is_not_given_up() {
        let config = Config::new("http://h/".parse().expect("a url"));
        let now = DateTime::UNIX_EPOCH + TimeDelta::hours(20);
        let next = |after, held_back| next_attempt(&pending(9), after, held_back, (None, now), &config);
        assert!(next(None, seconds(30)).is_some_and(|at| at > now));
        for endless in [Duration::from_secs(3600), Duration::MAX] {
            assert!(next(Some(endless), None).is_some_and(|at| at - now >= TimeDelta::hours(1)));
        }
    }

    #[test]
    fn the_breaker_says_itself_when_to_come_back() {
        assert!(next(0, 9, None, Some(8)).is_some_and(|at| (8..=10).contains(&at)));
    }
}
