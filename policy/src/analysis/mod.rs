//! What a policy says that cannot be meant: conditions that never hold, parts of them that never matter, rules that are never
//! reached because another always decides first ([`parts`], [`reach`]), that wait for a moment at which nothing looks at them
//! ([`moment`]), that ask for the end of an issue and are not asked about it ([`closing`]), and texts that are compared in a way
//! in which they do not compare ([`texts`]). Conditions are reasoned about, not tried out.
//!
//! ```text
//!   Formula ──ways──► Way = Literal, Literal, …      the ways in which it comes to hold (a disjunctive normal form)
//!   Way ──known──► Known ──► possible?               no way possible: the condition never holds
//!   Known, Formula ──sure──► holds surely?           each way of a rule makes an earlier one hold: it is never reached
//! ```
//!
//! # Never wrong
//! A condition is true, false or an error, and a rule fires only when it is true. A literal is a test that is true, or one that
//! is false: both say that it is no error, and so that whatever it needs is not null. What is found holds for every state,
//! event and instant; where it cannot be told, nothing is said. So it is, too, when a condition has too many ways
//! ([`ways::MAX_WAYS`]) or the search has taken too many [`Steps`]: these are counted, not timed, so the same policy always gets
//! the same answer.
//!
//! Of the world this much is taken for granted:
//! - `issue.ref`, `issue.project` and `now` are never null. `now` lies between 1970 and the year 9000.
//! - `event.type`, `event.source`, `event.changed`, `event.labels_added` and `event.labels_removed` are not null: a rule that reads
//!   `event` is asked only when there is one.
//! - `issue.source`, `event.source` and `issue.state` have the values that the table of fields lists, or are null. (`event.type` can be
//!   a word that this version does not know.)
//! - A rule without `on_closed` is asked only about issues whose state is open or unknown.
//! - Numbers of issues and sizes are not negative. The elements of a field that is a list are not null.
//! - Instants lie on a line: arithmetic within a leap second is not reasoned about.
//!
//! # Reached
//! An earlier rule shadows a later one when it does not `continue`, is asked whenever the later one is, and holds whenever the later
//! one does. Two ways lead around it: a rule with `at` is looked at by its timer, whoever decides the issue; and late events are
//! shown to momentary rules only, so a lasting rule keeps a momentary one from all but those. A momentary rule does not keep a
//! lasting one from deciding silently when the policy changes, nor from repeating then, but keeps it from firing otherwise.
//!
//! # Warnings, not errors
//! A rule that never fires does no harm, and what is found depends on how much the search knows. Were it an error, a policy that
//! is in force could be refused by the next version of the program, and one that stands in the log could no longer be
//! explained.

mod closing;
mod index;
mod known;
mod moment;
mod parts;
mod reach;
mod say;
mod sure;
#[cfg(test)]
mod tests;
mod texts;
mod ways;

use std::cell::Cell;

use crate::{Rule, condition::Problem};

/// Problems of rules: each with the rule's place among those that were given, and where in its condition it is.
pub(crate) type Problems = Vec<(usize, Problem)>;

/// What is probably not meant, in the order of the rules. `whole`: these are all of the policy's rules, as they are meant to be;
/// without it nothing is said about which of them are reached.
pub(crate) fn problems(rules: &[Rule], whole: bool) -> Problems {
    let total = Steps::new(STEPS);
    let mut problems = Vec::new();
    let mut studied = Vec::with_capacity(rules.len());
    for (place, rule) in rules.iter().enumerate() {
        let steps = total.part(STEPS_A_RULE);
        let ways = ways::Expansion::of_rule(rule, &steps).ways(rule.condition.formula());
        let mut report = |problem| problems.push((place, problem));
        parts::look_into(rule, &ways, &steps, &mut report);
        moment::look_into(rule, &ways, &steps, &mut report);
        closing::look_into(rule, &ways, &steps, &mut report);
        texts::look_into(rule, &ways, &steps, &mut report);
        studied.push(ways.possible);
        total.take_back(&steps);
    }
    if whole {
        reach::look_into(rules, &studied, &mut problems);
        problems.sort_by_key(|(place, _)| *place);
    }
    problems
}

/// What all conditions may take together, what one may, and what it may take to find out which rules are reached. A step takes up to
/// a hundred nanoseconds.
const STEPS: u32 = 4_000_000;
const STEPS_A_RULE: u32 = 100_000;
const STEPS_OF_REACH: u32 = 3_000_000;

/// How much of a search is left. When nothing is left, nothing more is found.
#[derive(Debug)]
struct Steps {
    left: Cell<u32>,
}

impl Steps {
    fn new(steps: u32) -> Self {
        Self { left: Cell::new(steps) }
    }

    /// At most so many of them.
    fn part(&self, most: u32) -> Self {
        let part = self.left.get().min(most);
        self.left.set(self.left.get() - part);
        Self::new(part)
    }

    fn take_back(&self, part: &Self) {
        self.left.set(self.left.get().saturating_add(part.left.get()));
    }

    fn spend(&self, steps: usize) {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.left.set(self.left.get().saturating_sub(steps));
    }

    fn are_spent(&self) -> bool {
        self.left.get() == 0
    }
}
