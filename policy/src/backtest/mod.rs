//! Two policies over one history: what the candidate would have done that the current one would not, and the other way round.
//!
//! ```text
//!            ┌─► state under the current policy   ─► actions ─┐
//!   history ─┤                                                ├─► pairs ─► Report
//!            └─► state under the candidate policy ─► actions ─┘
//! ```
//!
//! Both sides are decided by the code that a gateway decides by, and in its order ([`crate::take_event`]): every timer due at or before a
//! record's stamp goes in before the record. What an event tells of its issue is the same on both sides, so it is learnt once; and where both
//! policies have the same rules for a project, what follows is the same, so it is decided once. They go in
//! lockstep, one instant at a time, and the actions of an instant are paired and counted before the next one. So memory grows with
//! what the states keep (issues, and ids for seven days) and with the report (rules, projects, targets and days), not with
//! events or actions.
//!
//! History is what happened under whichever policy was in force. Had the candidate been, people would have reacted to other
//! actions, and other events would have come: the report is the direct difference only.

mod pair;
mod report;

use std::{convert::Infallible, sync::Arc};

use chrono::{DateTime, Utc};
use events::{Action, IssueEvent};
use hashbrown::HashMap;
use pair::Pair;
pub use report::{Both, Busiest, Counts, Example, Examples, History, Load, Made, Report, RuleReport};

use crate::{Decided, Note, Repeats, Ruleset, State, fire_timers, fold::hear};

/// One partition's history on its way through two policies.
#[derive(Debug)]
pub struct Replay {
    /// Of the projects for which the policies differ.
    sides: Both<Side>,
    /// Of all others, under the current policy.
    common: Side,
    /// Whether the policies decide a project alike.
    alike: HashMap<String, bool>,
    /// The greatest stamp so far, of any project: the partition's time does not go back.
    clock: DateTime<Utc>,
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
        let common = Side::new(Arc::clone(&rulesets.current));
        let sides = rulesets.map(Side::new);
        let report = Report::new(examples);
        Self { sides, common, alike: HashMap::new(), clock: DateTime::UNIX_EPOCH, from, report }
    }

    /// Takes the partition's next event in, stamped `now`, after every timer due by then.
    pub fn take(&mut self, event: &IssueEvent, payload_hash: Option<&str>, now: DateTime<Utc>) {
        self.advance(now);
        let reported = self.reports(now);
        self.clock = self.clock.max(now);
        let Self { sides: Both { current, candidate }, common, alike, clock, report, .. } = self;
        let compare = || current.ruleset.decides_alike(&candidate.ruleset, &event.project_id);
        // What there is to say of the event itself is said by the first side.
        let notes = if *alike.entry_ref(&event.project_id).or_insert_with(compare) {
            let Side { ruleset, state, heard } = common;
            let Ok(()) = hear([(state, ruleset)], event, payload_hash, *clock, &mut |_, it| heard.take(it));
            &heard.notes
        } else {
            let states =
                [(&mut current.state, &*current.ruleset), (&mut candidate.state, &*candidate.ruleset)];
            let heard = [&mut current.heard, &mut candidate.heard];
            let Ok(()) = hear(states, event, payload_hash, *clock, &mut |side, it| heard[side].take(it));
            &current.heard.notes
        };
        report.count_event(now, reported, notes);
        self.compare(now);
    }

    /// Lets time pass: every timer due at or before `until` is decided.
    pub fn advance(&mut self, until: DateTime<Utc>) {
        loop {
            let due = self.all_sides().into_iter().filter_map(|side| side.state.next_due());
            let Some(due_at) = due.min().filter(|due_at| *due_at <= until) else { break };
            for side in self.all_sides() {
                side.advance(due_at);
            }
            self.compare(due_at);
        }
    }

    /// Lets time pass to `until`, the end, and says what there was to see.
    pub fn finish(mut self, until: DateTime<Utc>) -> Report {
        self.advance(until);
        let Both { current, candidate } = &self.sides;
        let issues = candidate.state.issues().chain(self.common.state.issues());
        self.report.history.issues = issues.count() as u64;
        self.report.name_rules(Both { current: &current.ruleset, candidate: &candidate.ruleset });
        self.report
    }

    fn reports(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| at >= from)
    }

    fn all_sides(&mut self) -> [&mut Side; 3] {
        let [current, candidate] = self.sides.each_mut();
        [&mut self.common, current, candidate]
    }

    fn compare(&mut self, at: DateTime<Utc>) {
        let reported = self.reports(at);
        let Self { sides, common, report, .. } = self;
        let [current, candidate] = sides.each_mut().map(|side| &mut side.heard);
        if reported {
            let common = &common.heard;
            for [current, candidate] in [[common, common], [&*current, &*candidate]] {
                report.count_notes(Both { current: &current.notes, candidate: &candidate.notes });
                report.count_timers(Both { current: current.timers, candidate: candidate.timers });
            }
            for action in &common.actions {
                report.count(at, Pair { current: Some(action), candidate: Some(action) });
            }
            pair::pairs(&mut current.actions, &mut candidate.actions, |pair| report.count(at, pair));
        }
        self.all_sides().into_iter().for_each(|side| side.heard.clear());
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
            heard.take(decided)
        });
    }
}

impl Heard {
    fn take(&mut self, decided: Decided<'_>) -> Result<(), Infallible> {
        self.actions.extend_from_slice(&decided.decision.actions);
        self.notes.extend_from_slice(&decided.decision.notes);
        Ok(())
    }

    fn clear(&mut self) {
        self.actions.clear();
        self.notes.clear();
        self.timers = 0;
    }
}
