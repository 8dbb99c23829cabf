//! A past decision is met again: its partition's history is folded from the first record on, under the policies that held then, until
//! the decision that is meant.
//!
//! ```text
//!   issues   ──events──────────────┐
//!   policies ──which held when─────┼─► course in force ──────────────┐
//!   actions  ──which repeats───────┘         │ copied when a trial   ├─► the decision that is meant ──► explanation
//!              gave way (repeats)            ▼ began                 │
//!   actions-shadow ──the same──────────► course on trial ────────────┘
//! ```
//!
//! Only the events of one project are folded: no decision about one project looks at another. One policy is in memory for each course,
//! and of the records those that were read last.

use std::collections::VecDeque;

use ::policy::{
    Decided, Ruleset, Timer,
    explain::{Case, Explanation, Focus, explain},
};
use chrono::{DateTime, Utc};
use eventlog::{Bounds, Log};
use events::{Action, topic};

use super::{check_rule, find::Place, short, subject::Lane, time};
use crate::{
    commands::inert,
    error::Failure,
    history::{self, Change, Course, FiredRepeats, Happened, Look, Policies, Until},
};

/// How much is said of the way to a decision, in remarks.
const MAX_REMARKS: usize = 5;

/// Which decision is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim<'a> {
    /// The one that made this action.
    Action(&'a Action),
    /// That of the event at this offset.
    Event(u64),
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant<'a> {
    pub(super) aim: Aim<'a>,
    pub(super) lane: Lane,
    pub(super) project: &'a str,
    /// The rule that is asked about.
    pub(super) rule: Option<&'a str>,
    /// The wall clock's.
    pub(super) now: DateTime<Utc>,
}

/// Decides a partition again until the decision that is meant; else why it was not met.
///
/// # Errors
/// When the log cannot be read, or the policy of then has no such rule.
pub(super) async fn replay(
    log: &dyn Log,
    meant: Meant<'_>,
    place: &Place,
    bounds: Bounds,
    policies: &Policies,
) -> Result<Result<Box<Explanation>, String>, Failure> {
    let partition = place.partition;
    let fired =
        async |lane: Lane| FiredRepeats::read(log, lane.topic(), partition, Some(meant.project)).await;
    let mut replay = Replay {
        meant,
        changes: policies.of(partition).iter().cloned().collect(),
        in_force: Course { repeats: fired(Lane::InForce).await?, ..Course::default() },
        on_trial: Course::default(),
        remarks: Vec::new(),
        stop: None,
    };
    if meant.lane == Lane::OnTrial {
        replay.on_trial.repeats = fired(Lane::OnTrial).await?;
    }
    let mut history = history::Partition::open(log, partition, bounds).await?;
    'read: while let Some(events) = history.next().await? {
        for happened in events {
            while let Some(change) = replay.due_change(happened.offset) {
                replay.change(log, &change, happened.timestamp).await?;
            }
            replay.event(&happened);
            if replay.stop.is_some() {
                break 'read;
            }
        }
    }
    if let (None, Aim::Action(Action { evaluated_at: Some(until), .. })) = (&replay.stop, meant.aim) {
        // After the last event: what timers did since.
        let latest = meant.now.max(*until);
        while let Some(change) = replay.due_change(u64::MAX) {
            replay.change(log, &change, latest).await?;
        }
        replay.timers(Until { due: *until, latest, before: None });
    }
    match replay.stop {
        Some(Stop::Met(mut explanation)) => {
            explanation.remarks.append(&mut replay.remarks);
            Ok(Ok(explanation))
        }
        Some(Stop::Failed(failure)) => Err(failure),
        Some(Stop::Unreadable(why)) => Ok(Err(why)),
        None => Ok(Err(not_met(meant, partition, bounds))),
    }
}

fn not_met(meant: Meant<'_>, partition: u32, bounds: Bounds) -> String {
    let Bounds { first, end } = bounds;
    let topic = topic::ISSUES;
    if let (Aim::Event(offset), lane) = (meant.aim, meant.lane) {
        return match lane {
            Lane::InForce => format!(
                "no policy is in force there: no gateway has come to offset {offset} of {topic} partition {partition} yet"
            ),
            Lane::OnTrial => format!(
                "no policy was on trial at offset {offset} of {topic} partition {partition} (`breakdown serve --shadow`)"
            ),
        };
    }
    match (first, first >= end) {
        (0, false) => format!(
            "{topic} partition {partition} is kept from its first record on, but deciding it again does not make this action; it was \
             decided by another version of breakdown, or the log was written by something else"
        ),
        (0, true) => format!("{topic} partition {partition} holds no event"),
        (_, false) => format!(
            "{topic} partition {partition} is kept from offset {first} on, and what led to this action happened before"
        ),
        (_, true) => format!("of {topic} partition {partition} nothing is kept any more"),
    }
}

/// What ends the replay.
enum Stop {
    /// The decision was met.
    Met(Box<Explanation>),
    /// What was asked is wrong.
    Failed(Failure),
    /// A policy on the way cannot be read: why.
    Unreadable(String),
}

/// A partition's history on its way to one decision.
struct Replay<'a> {
    meant: Meant<'a>,
    changes: VecDeque<Change>,
    in_force: Course,
    on_trial: Course,
    /// What is to be said of the way.
    remarks: Vec<String>,
    stop: Option<Stop>,
}

impl Replay<'_> {
    /// The next change of the policy, if it took effect by that offset.
    fn due_change(&mut self, offset: u64) -> Option<Change> {
        let is_due = self.stop.is_none() && self.changes.front().is_some_and(|change| change.first <= offset);
        if is_due { self.changes.pop_front() } else { None }
    }

    /// A change of the policy takes effect, after the timers that were due before it.
    async fn change(&mut self, log: &dyn Log, change: &Change, latest: DateTime<Utc>) -> Result<(), Failure> {
        if let Some(clock) = change.clock {
            self.timers(Until { due: clock, latest, before: None });
        }
        if self.stop.is_some() || (change.on_trial && self.meant.lane != Lane::OnTrial) {
            return Ok(());
        }
        let text = change.text(log).await?;
        let Ok(ruleset) = ::policy::load(&text) else {
            self.stop = Some(Stop::Unreadable(format!(
                "the policy {} of {} on the topic {} is not one to this version of breakdown: explain with the version that ran then",
                short(&change.hash),
                time(change.at),
                topic::POLICIES
            )));
            return Ok(());
        };
        let course = match change.on_trial {
            false => &mut self.in_force,
            true => {
                self.on_trial.state = self.in_force.state.for_trial();
                &mut self.on_trial
            }
        };
        course.switch(ruleset, change.clock);
        Ok(())
    }

    fn event(&mut self, happened: &Happened) {
        self.timers(Until::event(happened.timestamp));
        if self.stop.is_some() || happened.event.project_id != self.meant.project {
            return;
        }
        let meant = self.meant;
        self.courses(|lane, course, remarks| {
            let is_it =
                lane == meant.lane && matches!(meant.aim, Aim::Event(offset) if offset == happened.offset);
            course.event(happened, &mut Meet { meant, lane, is_it, remarks })
        });
    }

    fn timers(&mut self, until: Until<'_>) {
        let meant = self.meant;
        self.courses(|lane, course, remarks| {
            course.timers(until, &mut Meet { meant, lane, is_it: false, remarks })
        });
    }

    /// Goes on with each course, unless something has ended the replay.
    fn courses(&mut self, mut go_on: impl FnMut(Lane, &mut Course, &mut Vec<String>) -> Result<(), Stop>) {
        for (lane, course) in [(Lane::InForce, &mut self.in_force), (Lane::OnTrial, &mut self.on_trial)] {
            if self.stop.is_none() {
                self.stop = go_on(lane, course, &mut self.remarks).err();
            }
        }
    }
}

/// Looks at each decision whether it is the one that is meant.
struct Meet<'a> {
    meant: Meant<'a>,
    lane: Lane,
    /// Whether it is the next event's.
    is_it: bool,
    remarks: &'a mut Vec<String>,
}

impl Look for Meet<'_> {
    type End = Stop;

    /// Ends the fold when this is the one.
    fn look(&mut self, decided: &Decided<'_>, ruleset: &Ruleset, now: DateTime<Utc>) -> Result<(), Stop> {
        let actions = &decided.decision.actions;
        let again = match self.meant.aim {
            Aim::Action(action) if self.lane == self.meant.lane => {
                actions.iter().find(|again| again.event_id == action.event_id).map(|again| (action, again))
            }
            _ => None,
        };
        if again.is_none() && !self.is_it {
            return Ok(());
        }
        check_rule(self.meant.rule, ruleset).map_err(Stop::Failed)?;
        let issue_ref = again.and_then(|(action, _)| action.issue_ref.as_deref());
        let focus = Focus { rule: self.meant.rule, issue_ref };
        let mut explanation = explain(decided.before, Case::Input(decided.input), now, ruleset, focus);
        if let Some((action, again)) = again {
            if action.policy_hash.as_deref() != Some(ruleset.hash()) {
                explanation.remarks.push(format!(
                    "the action says that policy {} decided it",
                    short(action.policy_hash.as_deref().unwrap_or("?"))
                ));
            }
            if (&again.action, &again.target) != (&action.action, &action.target) {
                explanation.remarks.push(format!(
                    "decided again from what the log keeps, it is {} for {}: something that counted then is missing here",
                    inert(again.action.as_str()),
                    inert(&again.target)
                ));
            }
        }
        Err(Stop::Met(Box::new(explanation)))
    }

    fn gave_way(&mut self, timer: &Timer) {
        let concerns = match self.meant.aim {
            Aim::Action(action) => action.issue_ref.as_deref() == Some(timer.issue_ref.as_str()),
            Aim::Event(_) => true,
        };
        if self.remarks.len() < MAX_REMARKS && concerns && self.lane == self.meant.lane {
            self.remarks.push(format!(
                "rule `{}` would have repeated at {}, of which the log has nothing: what it remembered then may differ",
                timer.rule,
                time(timer.due_at)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_leads_to_a_decision_depends_on_what_is_kept() {
        let action: Action =
            serde_json::from_value(serde_json::json!({"event_id": "a-1", "project_id": "alpha",
            "action": "post_nudge", "target": "owner:kim", "rationale": "", "source_ref": ""}))
            .unwrap();
        let meant =
            |aim| Meant { aim, lane: Lane::InForce, project: "alpha", rule: None, now: DateTime::UNIX_EPOCH };
        for (first, end, says) in [
            (0, 0, "holds no event"),
            (0, 9, "kept from its first record on"),
            (4, 9, "kept from offset 4 on"),
            (9, 9, "nothing is kept any more"),
        ] {
            let why = not_met(meant(Aim::Action(&action)), 3, Bounds { first, end });
            assert!(why.contains("issues partition 3") && why.contains(says), "{why}");
        }
        let why = not_met(meant(Aim::Event(5)), 3, Bounds { first: 0, end: 9 });
        assert!(why.contains("no gateway has come to offset 5 of issues partition 3"), "{why}");
    }
}
