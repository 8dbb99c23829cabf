//! Two policies over one history: what the candidate would have done that the current one would not, and the other way round.
//!
//! ```text
//!            ┌─► state under the current policy   ─► actions ─┐
//!   history ─┤                                                ├─► pairs ─► Report
//!            └─► state under the candidate policy ─► actions ─┘
//! ```
//!
//! Both sides are decided by the code that a gateway decides by, and in its order ([`crate::take_event`]): every timer due at or before a
//! record's stamp goes in before the record. What an event tells of its issue is the same on both sides, so it is learnt once. They go in
//! lockstep, one instant at a time, and the actions of an instant are paired and counted before the next one. So memory grows with
//! what the states keep (issues, and ids for seven days) and with the report (rules, projects, targets and days), not with
//! events or actions.
//!
//! History is what happened under whichever policy was in force. Had the candidate been, people would have reacted to other
//! actions, and other events would have come: the report is the first-order difference only.

mod pair;
mod report;

use std::{convert::Infallible, sync::Arc};

use chrono::{DateTime, Utc};
use events::{Action, IssueEvent};
pub use report::{Both, Busiest, Counts, Example, Examples, History, Load, Made, Report, RuleReport};

use crate::{Decision, Note, Repeats, Ruleset, State, fire_timers, fold::hear};

/// One partition's history on its way through two policies.
#[derive(Debug)]
pub struct Replay {
    sides: Both<Side>,
    from: Option<DateTime<Utc>>,
    report: Report,
}

/// One policy, and the state that it has led to.
#[derive(Debug)]
struct Side {
    ruleset: Arc<Ruleset>,
    state: State,
    heard: Heard,
}

/// What the instant at hand has brought.
#[derive(Debug, Default)]
struct Heard {
    actions: Vec<Action>,
    notes: Vec<Note>,
    timers: u64,
}

impl Replay {
    /// Begins before a partition's first event. What is decided before `from` is folded and not reported; of each rule at most
    /// `examples` actions are kept that were added, removed or changed.
    pub fn new(rulesets: Both<Arc<Ruleset>>, from: Option<DateTime<Utc>>, examples: usize) -> Self {
        Self { sides: rulesets.map(Side::new), from, report: Report::new(examples) }
    }

    /// Takes the partition's next event in, stamped `now`, after every timer due by then.
    pub fn take(&mut self, event: &IssueEvent, payload_hash: Option<&str>, now: DateTime<Utc>) {
        self.advance(now);
        let reported = self.reports(now);
        let Self { sides: Both { current, candidate }, report, .. } = self;
        let states = [(&mut current.state, &*current.ruleset), (&mut candidate.state, &*candidate.ruleset)];
        let mut heard = [&mut current.heard, &mut candidate.heard];
        let Ok(()) = hear(states, event, payload_hash, now, &mut |side: usize, decided| {
            if let Some(heard) = heard.get_mut(side) {
                heard.take(decided.decision);
            }
            Ok::<_, Infallible>(())
        });
        // What there is to say of the event itself is said by the first side.
        report.count_event(now, reported, &current.heard.notes);
        self.compare(now);
    }

    /// Lets time pass: every timer due at or before `until` is decided.
    pub fn advance(&mut self, until: DateTime<Utc>) {
        loop {
            let due = self.sides.each_mut().into_iter().filter_map(|side| side.state.next_due());
            let Some(due_at) = due.min().filter(|due_at| *due_at <= until) else { break };
            for side in self.sides.each_mut() {
                side.advance(due_at);
            }
            self.compare(due_at);
        }
    }

    /// Lets time pass to `until`, the end, and says what there was to see.
    pub fn finish(mut self, until: DateTime<Utc>) -> Report {
        self.advance(until);
        self.report.history.issues = self.sides.candidate.state.issues().count() as u64;
        let Both { current, candidate } = &self.sides;
        self.report.name_rules(Both { current: &current.ruleset, candidate: &candidate.ruleset });
        self.report
    }

    fn reports(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| at >= from)
    }

    fn compare(&mut self, at: DateTime<Utc>) {
        let reported = self.reports(at);
        let [current, candidate] = self.sides.each_mut().map(|side| &mut side.heard);
        if reported {
            self.report.count_notes(Both { current: &current.notes, candidate: &candidate.notes });
            self.report.count_timers(Both { current: current.timers, candidate: candidate.timers });
            pair::pairs(&mut current.actions, &mut candidate.actions, |pair| self.report.count(at, pair));
        }
        current.clear();
        candidate.clear();
    }
}

impl Side {
    fn new(ruleset: Arc<Ruleset>) -> Self {
        Self { ruleset, state: State::default(), heard: Heard::default() }
    }

    fn advance(&mut self, until: DateTime<Utc>) {
        let Self { ruleset, state, heard } = self;
        let Ok(()) = fire_timers(state, until, usize::MAX, Repeats::Each, ruleset, &mut |decided| {
            heard.timers += 1;
            heard.take(decided.decision);
            Ok::<_, Infallible>(())
        });
    }
}

impl Heard {
    fn take(&mut self, decision: &Decision) {
        self.actions.extend(decision.actions.iter().cloned());
        self.notes.extend(decision.notes.iter().cloned());
    }

    fn clear(&mut self) {
        self.actions.clear();
        self.notes.clear();
        self.timers = 0;
    }
}
