//! Conditions that become true as time passes, while nothing looks at their rule then.
//!
//! A lasting rule is looked at when an event comes, at its `at`, and, once it has fired, at its `repeat`. A test such as
//! `issue.due_at <= now` becomes true without any of them, at a moment that can be told: `issue.due_at`.
//!
//! What is said holds for certain, as long as the times of issues are whole milliseconds, as providers write them:
//! - of a rule without `at`: no timer looks at it before an event has made it fire;
//! - of one with `at`: at that instant the test is false.
//!
//! It is said of a test that can be the last one to become true in some way in which the condition holds: not when the others imply
//! it (`issue.due_at <= now && issue.due_at <= issue.updated_at` waits for an update), nor when it was true as soon as there was an
//! issue (`issue.created_at <= now`). And nothing is said
//! - of momentary rules: they are about an event, not about an instant;
//! - where the moment is not made of one time of the issue (`now >= timestamp("…")`): there is no `at` for it;
//! - of an `at` that is made of another time than the moment is, or comes later;
//! - of a rule with `repeat` that can first fire by something else: then its repeats may come in time.

use super::{
    Steps,
    known::{Known, Moment, moment},
    parts::span_of,
    ways::{Literal, Way, Ways},
};
use crate::{
    At, Rule,
    condition::{
        Formula, Problem,
        expr::{Comparison, Logic, Test},
    },
    load::duration,
};

/// A way of more literals is not looked at.
const MAX_LITERALS: usize = 64;

/// A test that becomes true while nothing looks.
#[derive(Debug, Clone, Copy)]
struct Unseen<'f> {
    literal: Literal<'f>,
    moment: Moment,
    /// The comparison as it is written.
    op: Comparison,
}

pub(super) fn look_into<'f>(
    rule: &'f Rule,
    ways: &Ways<'f>,
    steps: &Steps,
    report: &mut impl FnMut(Problem),
) {
    let Some(possible) = ways.possible.as_ref().filter(|_| !rule.is_momentary()) else { return };
    let past = Known::when_asked(rule).with_a_past();
    let unseen: Vec<_> = possible.iter().map(|way| unseen(rule, way, &past, steps)).collect();
    if rule.repeat.is_some() && unseen.iter().any(Option::is_none) {
        return;
    }
    // A rule has one `at`: the rest shows when it is there.
    if let Some(first) = unseen.into_iter().flatten().min_by_key(|unseen| shown(unseen).span.start) {
        report(first.problem(rule.at));
    }
}

fn shown<'f>(unseen: &Unseen<'f>) -> &'f Formula {
    unseen.literal.shown
}

/// The first test of a way that becomes true while nothing looks.
fn unseen<'f>(rule: &Rule, way: &Way<'f>, past: &Known<'f>, steps: &Steps) -> Option<Unseen<'f>> {
    // Each literal is tried among all the others. Who writes so many has written something else than a moment.
    if way.literals.len() > MAX_LITERALS {
        return None;
    }
    let can_be_last = |place: usize| {
        if steps.are_spent() {
            return false;
        }
        let all = way.literals.iter().enumerate();
        let others =
            all.map(|(other, literal)| Literal { holds: literal.holds == (other != place), ..*literal });
        let others: Vec<_> = others.collect();
        past.with(&others, steps).is_possible(steps) && !steps.are_spent()
    };
    let mut unseen = way.literals.iter().enumerate().filter_map(|(place, literal)| {
        let Logic::Test(Test::Compare { op, left, right }) = &literal.leaf.logic else { return None };
        let moment = moment(if literal.holds { *op } else { op.negated() }, left, right)?;
        let is_unseen = rule.at.is_none_or(|at| {
            at.field == moment.field
                && (at.shift < moment.shift || (at.shift == moment.shift && moment.is_later))
        });
        (is_unseen && can_be_last(place)).then_some(Unseen { literal: *literal, moment, op: *op })
    });
    unseen.next()
}

impl Unseen<'_> {
    fn problem(&self, at: Option<At>) -> Problem {
        // What is under a `!` further out becomes false, and the condition true.
        let Literal { leaf, holds, shown } = self.literal;
        let becomes = if holds || !std::ptr::eq(shown, leaf) { "true" } else { "false" };
        let message = match at {
            None => format!(
                "this becomes {becomes} as time passes, and nothing looks at the rule then: it waits for the next event"
            ),
            Some(at) if at.shift < self.moment.shift => format!(
                "`at` comes before this can be {becomes}: the rule finds nothing then, and waits for the next event"
            ),
            Some(_) => format!(
                "at the very instant of `at` this is not {becomes} yet: the rule finds nothing then, and waits for the next event"
            ),
        };
        let wanted = self.at().filter(|_| at.is_none_or(|at| at.shift != self.moment.shift));
        let sign = self.moment.is_later.then(|| self.sign_that_holds_at_once());
        let give = if at.is_some() { "write" } else { "give the rule" };
        let hint = match (wanted, sign) {
            (Some(at), None) => format!("{give} `{at}`"),
            (Some(at), Some((written, better))) => {
                format!(
                    "{give} `{at}`, and `{better}` for `{written}`: as it is, this is not {becomes} yet at that very instant"
                )
            }
            (None, Some((written, better))) => format!("write `{better}` instead of `{written}`"),
            (None, None) => format!("give the rule an `at` at which it is {becomes}"),
        };
        Problem::new(span_of(self.literal.shown), message).hint(hint)
    }

    /// The key that looks at the rule at this moment; none where no `at` can be written for it.
    fn at(&self) -> Option<String> {
        let Moment { field, shift, .. } = self.moment;
        if shift.is_zero() {
            return Some(format!("at: {field}"));
        }
        let sign = if shift < chrono::TimeDelta::zero() { '-' } else { '+' };
        Some(format!("at: {field} {sign} duration(\"{}\")", duration::in_cel(shift.abs())?))
    }

    /// The sign that is written, and the one with which the moment itself counts.
    fn sign_that_holds_at_once(&self) -> (&'static str, &'static str) {
        let better = match self.op {
            Comparison::Less => Comparison::LessOrEqual,
            Comparison::LessOrEqual => Comparison::Less,
            Comparison::Greater => Comparison::GreaterOrEqual,
            _ => Comparison::Greater,
        };
        (self.op.symbol(), better.symbol())
    }
}
