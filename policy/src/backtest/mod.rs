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

use crate::{
    Decided, Decision, Note, Repeats, Ruleset, State,
    decide::{News, decide_news, learn, within_calendar},
    expire, fire_timers,
};

/// How many events pass until what can be forgotten is; fewer than one call forgets.
const FORGETS_EVERY: u64 = 256;

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
    /// What the instant at hand has brought.
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
        let leading = &self.sides.current.state;
        let clock = leading.not_before(within_calendar(now));
        let news = learn(leading, event, payload_hash, clock);
        for side in self.sides.each_mut() {
            side.hear(&news, clock);
        }
        let reported = self.reports(now);
        self.report.count_event(now, reported, &news.notes);
        // Which events were seen is the same on both sides: one of them remembers it.
        self.sides.current.state.apply(Decision { changes: news.changes, ..Decision::default() });
        if self.report.history.events.is_multiple_of(FORGETS_EVERY) {
            // When and how often changes no decision.
            for side in self.sides.each_mut() {
                let forgotten = expire(&side.state, clock);
                side.state.apply(forgotten);
            }
        }
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
        let Both { current, candidate } = &mut self.sides;
        if reported {
            self.report.count_notes(Both { current: &current.notes, candidate: &candidate.notes });
            let timers = Both { current: current.timers, candidate: candidate.timers };
            self.report.count_timers(timers);
            pair::pairs(&mut current.actions, &mut candidate.actions, |pair| self.report.count(at, pair));
        }
        for side in self.sides.each_mut() {
            side.actions.clear();
            side.notes.clear();
            side.timers = 0;
        }
    }
}

impl Side {
    fn new(ruleset: Arc<Ruleset>) -> Self {
        Self { ruleset, state: State::default(), actions: Vec::new(), notes: Vec::new(), timers: 0 }
    }

    fn hear(&mut self, news: &News<'_>, now: DateTime<Utc>) {
        let mut decision = decide_news(&self.state, news, now, &self.ruleset);
        self.actions.append(&mut decision.actions);
        self.notes.append(&mut decision.notes);
        self.state.apply(decision);
    }

    fn advance(&mut self, until: DateTime<Utc>) {
        let Self { ruleset, state, actions, notes, timers } = self;
        let mut sink = |decided: Decided<'_>| {
            *timers += 1;
            actions.extend(decided.decision.actions.iter().cloned());
            notes.extend(decided.decision.notes.iter().cloned());
            Ok::<_, Infallible>(())
        };
        let Ok(()) = fire_timers(state, until, usize::MAX, Repeats::Each, ruleset, &mut sink);
    }
}
