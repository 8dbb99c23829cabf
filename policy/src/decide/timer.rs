//! A timer that is due.

use chrono::{DateTime, Utc};

use super::{
    Decision, Note, Work,
    schedule::{turn, turns_by},
};
use crate::{Ruleset, State, Timer, TimerKind, state::IssueTimer};

pub(super) fn decide(state: &State, timer: &Timer, until: DateTime<Utc>, ruleset: &Ruleset) -> Decision {
    let mut work = Work::begin(state, ruleset, super::within_calendar(timer.due_at));
    let mut subject = work.subject(&timer.project_id, &timer.issue_ref);
    let rule = ruleset.rule(&timer.rule).filter(|rule| subject.issue.has(timer) && subject.concerns(rule));
    let Some(rule) = rule else {
        work.note(Note::Obsolete { rule: timer.rule.clone(), issue_ref: timer.issue_ref.clone() });
        // Whatever the reason (the issue may have been forgotten since), a timer that was decided is gone.
        if subject.before.is_some() {
            work.schedule(&mut subject, Some(timer));
            work.put(subject);
        }
        return work.decision;
    };

    if let (TimerKind::Repeat, Some(from), Some(repeat)) =
        (timer.kind, subject.firing(rule).repeats_from, rule.repeat)
    {
        let last = turns_by(from, repeat, until.max(work.now));
        let missed = last - turns_by(from, repeat, timer.due_at);
        if let (true, Some(due_at)) = (missed > 0, turn(from, repeat, last)) {
            // The last one is decided in its own turn, among the timers of others.
            let own = |own: &IssueTimer| own.kind == TimerKind::Repeat && own.rule == rule.id;
            subject.issue.timers.retain(|timer| !own(timer));
            subject.issue.timers.insert(IssueTimer {
                due_at,
                rule: rule.id.clone(),
                kind: TimerKind::Repeat,
            });
            work.note(Note::Missed {
                rule: rule.id.clone(),
                issue_ref: timer.issue_ref.clone(),
                count: missed.unsigned_abs(),
            });
            work.put(subject);
            return work.decision;
        }
    }

    match timer.kind {
        TimerKind::At => {
            let at = rule.at.and_then(|at| at.of(&subject.issue.facts));
            let its_turn = at == Some(timer.due_at) && subject.firing(rule).at_done != at;
            if its_turn && work.holds(&subject, rule) {
                subject.firing_mut(rule).at_done = at;
                work.fire_unless_cooling(&mut subject, rule, &timer.id());
            }
        }
        TimerKind::Repeat => {
            if subject.repeats(rule) && work.holds(&subject, rule) {
                work.fire(&mut subject, rule, &timer.id());
            }
        }
    }
    work.schedule(&mut subject, Some(timer));
    work.put(subject);
    work.decision
}
