//! A timer that is due.

use chrono::{DateTime, Utc};
use smol_str::SmolStr;

use super::{
    Decision, Note, Occasion, Subject, Work,
    schedule::{nth_repeat, repeats_by},
};
use crate::{Rule, Ruleset, State, Timer, TimerKind, state::IssueTimer};

pub(super) fn decide(state: &State, timer: &Timer, until: DateTime<Utc>, ruleset: &Ruleset) -> Decision {
    let mut work = Work::begin(state, ruleset, super::within_calendar(timer.due_at));
    take(&mut work, timer, until);
    work.decision
}

pub(super) fn take<'a>(work: &mut Work<'a>, timer: &'a Timer, until: DateTime<Utc>) {
    let mut subject = work.subject(&timer.project_id, &timer.issue_ref);
    let rule =
        work.ruleset.rule(&timer.rule).filter(|rule| subject.issue.has(timer) && subject.concerns(rule));
    let Some(rule) = rule else {
        work.note(Note::Obsolete { rule: timer.rule.to_string(), issue_ref: timer.issue_ref.to_string() });
        // Whatever the reason (the issue may have been forgotten since), a timer that was decided is gone.
        if subject.before.is_some() {
            work.schedule(&mut subject, Some(timer));
            work.put(subject);
        }
        return;
    };

    if let (TimerKind::Repeat, Some(from), Some(repeat)) =
        (timer.kind, subject.firing(rule).repeats_from, rule.repeat)
    {
        let last = repeats_by(from, repeat, until.max(work.now));
        let missed = last - repeats_by(from, repeat, timer.due_at);
        if let (true, Some(due_at)) = (missed > 0, nth_repeat(from, repeat, last)) {
            // The last one is decided in its own time, among the timers of others.
            let own = |own: &IssueTimer| own.kind == TimerKind::Repeat && own.rule == rule.id.as_str();
            let timers = &mut *subject.issue.timers;
            timers.retain(|timer| !own(timer));
            timers.push(IssueTimer { due_at, rule: SmolStr::new(&rule.id), kind: TimerKind::Repeat });
            timers.sort_unstable();
            work.note(Note::Missed {
                rule: rule.id.clone(),
                issue_ref: timer.issue_ref.to_string(),
                count: missed.unsigned_abs(),
            });
            work.put(subject);
            return;
        }
    }

    work.look(&mut subject, rule, timer);
    work.schedule(&mut subject, Some(timer));
    work.put(subject);
}

impl Work<'_> {
    /// Looks at the rule that set a timer, and at no other.
    pub(super) fn look(&mut self, subject: &mut Subject<'_>, rule: &Rule, timer: &Timer) {
        self.watched(subject, Occasion::Timer, None, Some(timer));
        if !subject.still_stands(rule, timer) || !self.holds(subject, rule) {
            return;
        }
        match timer.kind {
            TimerKind::At => {
                subject.firing_mut(rule).at_done = Some(timer.due_at);
                self.fire_unless_cooling(subject, rule, &timer.id());
            }
            TimerKind::Repeat => self.fire(subject, rule, &timer.id()),
        }
    }
}

impl Subject<'_> {
    /// Whether what set a timer is still so.
    pub(super) fn still_stands(&self, rule: &Rule, timer: &Timer) -> bool {
        match timer.kind {
            TimerKind::At => {
                let at = rule.at.and_then(|at| at.of(&self.issue));
                at == Some(timer.due_at) && self.firing(rule).at_done != at
            }
            TimerKind::Repeat => self.repeats(rule),
        }
    }
}
