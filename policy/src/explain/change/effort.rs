//! What a search has taken so far: counted by what was really evaluated, so that it ends the same way on every machine.

use std::ops::ControlFlow;

use crate::{Rule, Ruleset, decide::Sight};

/// How many sets of edits are tried for one rule.
const MAX_TRIED: usize = 2000;
/// How many steps of evaluation that may take together: some tenths of a second.
const MAX_STEPS: u64 = 30_000_000;
/// What it takes, in steps, to copy what the rules saw and to look up which of them can hold.
const COPY: u64 = 256;

/// What a search has taken.
#[derive(Debug, Default)]
pub(super) struct Effort {
    /// Sets of edits that were tried.
    pub(super) tried: usize,
    steps: u64,
    /// Whether something was left undone because it would have taken too much.
    pub(super) is_cut_short: bool,
}

impl Effort {
    /// Whether no more may be tried; remembered, because something is left undone then.
    pub(super) fn is_spent(&mut self) -> bool {
        let is_spent = self.tried >= MAX_TRIED || self.steps >= MAX_STEPS;
        self.is_cut_short |= is_spent;
        is_spent
    }

    /// A condition was evaluated, `times` times.
    pub(super) fn evaluated(&mut self, rule: &Rule, sight: &Sight, times: u64) {
        let steps = rule.condition.steps(&sight.view());
        self.steps = self.steps.saturating_add(steps.saturating_mul(times));
    }

    /// The rules were walked through, and these were met.
    pub(super) fn walked(&mut self, ruleset: &Ruleset, sight: &Sight, met: &[&Rule]) {
        let (view, mut steps) = (sight.view(), COPY);
        let ends = met.last().filter(|last| !last.goes_on).and_then(|last| ruleset.places.get(&last.id));
        sight.candidates(ruleset, |place| match ruleset.rules.get(place) {
            Some(rule) if ends.is_none_or(|ends| place <= *ends) => {
                steps = steps.saturating_add(rule.condition.steps(&view));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        });
        self.steps = self.steps.saturating_add(steps);
    }

    /// The text of a policy's conditions was looked at, without evaluating it.
    pub(super) fn read(&mut self, rules: usize) {
        self.steps = self.steps.saturating_add(4 * rules as u64);
    }
}
