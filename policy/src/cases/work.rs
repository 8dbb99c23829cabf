//! What the cases of a test file may take together: counted, not timed, so that the same file always ends the same way.

use crate::{Decided, Input, Kind, Ruleset, State};

/// The most steps that the cases of one file take together. A step is a rule that is asked, or as much (some ten nanoseconds; a
/// microsecond at worst).
pub const MAX_STEPS: u64 = 300_000_000;

/// What an evaluation of conditions takes at worst, in a step.
const EVALUATED: u64 = 100;
/// What any decision takes.
const DECISION: u64 = 10;
/// So many comparisons of actions are a step.
const COMPARED: usize = 10;

/// What is left for the cases of a file: give each of them the same.
#[derive(Debug)]
pub struct Work {
    left: u64,
    /// What it takes to ask every rule of a policy, by its hash.
    known: Vec<(String, u64)>,
}

impl Default for Work {
    fn default() -> Self {
        Self::of(MAX_STEPS)
    }
}

impl Work {
    /// So many steps.
    pub fn of(steps: u64) -> Self {
        Self { left: steps, known: Vec::new() }
    }

    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Every rule is asked so often.
    pub(super) fn ask(&mut self, ruleset: &Ruleset, times: usize) {
        let known = self.known.iter().find(|(hash, _)| hash == ruleset.hash()).map(|(_, steps)| *steps);
        let steps = known.unwrap_or_else(|| {
            let steps = ruleset.rules().map(|rule| 1 + rule.condition.most_steps() / EVALUATED).sum();
            self.known.push((ruleset.hash().to_owned(), steps));
            steps
        });
        self.spend(steps.saturating_mul(times as u64));
    }

    /// Another policy is put in force.
    pub(super) fn switch(&mut self, state: &State, ruleset: &Ruleset) {
        self.ask(ruleset, 1 + state.issues().count());
    }

    /// An event or a timer is decided.
    pub(super) fn decide(&mut self, decided: &Decided<'_>, ruleset: &Ruleset) {
        self.spend(DECISION);
        match decided.input {
            Input::Timer(timer) => {
                let asked =
                    ruleset.rule(&timer.rule).map_or(0, |rule| rule.condition.most_steps() / EVALUATED);
                self.spend(asked + ruleset.timed(&timer.project_id).count() as u64);
            }
            _ => {
                let issues = decided.decision.keys().filter(|key| key.kind == Kind::Issue).count();
                self.ask(ruleset, issues.max(1));
            }
        }
    }

    /// Actions are compared with those that were expected.
    pub(super) fn compare(&mut self, happened: usize, expected: usize) {
        self.spend((happened.saturating_mul(1 + expected) / COMPARED) as u64);
    }

    fn spend(&mut self, steps: u64) {
        self.left = self.left.saturating_sub(steps);
    }
}
