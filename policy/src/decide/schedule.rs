//! When an issue's rules are to be looked at again.

use chrono::{DateTime, TimeDelta, Utc};
use smol_str::SmolStr;

use super::{Subject, Work};
use crate::{Rule, Timer, TimerKind, state::IssueTimer};

impl Work<'_> {
    /// Sets an issue's timers, by what is known after all that was decided. `spent` is the timer that is being decided. Timers that were set, still hold and are due by now are kept:
    /// they wait for their turn.
    pub(super) fn schedule(&self, subject: &mut Subject<'_>, spent: Option<&Timer>) {
        if std::mem::take(&mut subject.escalated) {
            subject.issue.ask_again(self.now);
        }
        let mut timers = Vec::new();
        let pending = |due_at: DateTime<Utc>, rule: &Rule, kind: TimerKind| {
            let spent = || {
                spent.is_some_and(|spent| {
                    spent.due_at == due_at && spent.rule == rule.id.as_str() && spent.kind == kind
                })
            };
            let is_set = |timer: &IssueTimer| {
                timer.due_at == due_at && timer.kind == kind && timer.rule == rule.id.as_str()
            };
            due_at > self.now || (!spent() && subject.issue.timers.iter().any(is_set))
        };
        for rule in self.ruleset.timed(subject.project).filter(|rule| subject.concerns(rule)) {
            let at = rule.at.and_then(|at| at.of(&subject.issue));
            let repeat = rule.repeat.filter(|_| subject.repeats(rule));
            let timer = |due_at, kind| IssueTimer { due_at, rule: SmolStr::new(&rule.id), kind };
            if let Some(at) =
                at.filter(|at| pending(*at, rule, TimerKind::At) && subject.firing(rule).at_done != Some(*at))
            {
                timers.push(timer(at, TimerKind::At));
            }
            if let Some(repeat) = repeat
                && let Some(from) = subject.firing(rule).repeats_from
            {
                let waiting = subject.issue.timers.iter().find(|timer| {
                    timer.kind == TimerKind::Repeat
                        && timer.rule == rule.id.as_str()
                        && timer.due_at <= self.now
                        && is_repeat(timer.due_at, from, repeat)
                });
                let due_at = waiting
                    .filter(|timer| pending(timer.due_at, rule, TimerKind::Repeat))
                    .map(|timer| timer.due_at)
                    .or_else(|| next_repeat(from, repeat, self.now));
                timers.extend(due_at.map(|due_at| timer(due_at, TimerKind::Repeat)));
            }
        }
        timers.sort_unstable();
        subject.issue.timers.set(timers);
    }
}

impl Subject<'_> {
    /// Whether a rule's repeats go on.
    pub(super) fn repeats(&self, rule: &Rule) -> bool {
        let at = rule.at.and_then(|at| at.of(&self.issue));
        match at {
            Some(at) => self.firing(rule).at_done == Some(at),
            None => self.issue.deciding.contains_key(rule.id.as_str()),
        }
    }
}

fn is_repeat(due_at: DateTime<Utc>, from: DateTime<Utc>, repeat: TimeDelta) -> bool {
    let passed = (due_at - from).num_milliseconds();
    passed > 0 && passed % repeat.num_milliseconds().max(1) == 0
}

/// The first repeat after `now`.
fn next_repeat(from: DateTime<Utc>, repeat: TimeDelta, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    nth_repeat(from, repeat, repeats_by(from, repeat, now) + 1)
}

/// How many repeats there were by `now`.
pub(super) fn repeats_by(from: DateTime<Utc>, repeat: TimeDelta, now: DateTime<Utc>) -> i64 {
    (now - from).num_milliseconds().max(0) / repeat.num_milliseconds().max(1)
}

/// The n-th repeat.
pub(super) fn nth_repeat(from: DateTime<Utc>, repeat: TimeDelta, n: i64) -> Option<DateTime<Utc>> {
    let passed = repeat.num_milliseconds().checked_mul(n)?;
    from.checked_add_signed(TimeDelta::try_milliseconds(passed)?)
}
