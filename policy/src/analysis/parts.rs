//! Conditions that never hold, and parts of `||` that never matter.

use std::ops::Range;

use super::{
    Steps,
    known::Known,
    say::{Core, core},
    sure::is_sure,
    ways::{Expansion, Ways},
};
use crate::{
    Rule,
    condition::{
        Formula, Problem,
        expr::{Comparison, Logic, Term, Test},
    },
};

/// Of a longer `||` the parts are not compared with each other.
const MAX_COMPARED: usize = 12;

/// Looks into one rule's condition by itself.
pub(super) fn look_into<'f>(
    rule: &'f Rule,
    ways: &Ways<'f>,
    steps: &Steps,
    report: &mut impl FnMut(Problem),
) {
    let text = rule.condition.text();
    let Some(possible) = &ways.possible else { return };
    let mut report = |span: Option<Range<usize>>, message: &str, hint: Option<String>| {
        report(Problem::new(span, message).maybe_hint(hint));
    };
    let cores = |within: Option<&Formula>| -> Vec<Core<'f>> {
        let failed = ways.failed.iter();
        failed
            .filter_map(|way| core(rule, way, steps))
            .filter(|core| {
                within.is_none_or(|part| core.literals.iter().any(|literal| lies_in(literal.leaf, part)))
            })
            .collect()
    };
    if possible.is_empty() {
        let mut cores = cores(None);
        cores.dedup_by(|a, b| a.is_same(b));
        let span = match cores.as_slice() {
            [core] => core.span(),
            _ => None,
        };
        let hint = match cores.is_empty() {
            true => "it is false by itself; to switch a rule off, put `#` before its lines".to_owned(),
            false => super::say::why(text, &cores),
        };
        return report(span, "this condition never holds", Some(hint));
    }
    let is_dead = |id: usize| !possible.iter().any(|way| way.parts.contains(&id));
    for (id, part) in ways.parts.iter().enumerate() {
        if !is_dead(id) || part.within.is_some_and(is_dead) {
            continue;
        }
        // Without the reason it would be no help.
        let of_part: Vec<_> = cores(Some(part.formula)).into_iter().take(1).collect();
        if !of_part.is_empty() {
            report(span_of(part.formula), "this part never holds", Some(super::say::why(text, &of_part)));
        }
    }
    rule.condition.formula().visit_holding(&mut |formula| {
        let Logic::Or(parts) = &formula.logic else { return };
        if parts.len() > MAX_COMPARED {
            return;
        }
        let known: Vec<_> = parts.iter().map(|part| ways_of(rule, part, steps)).collect();
        let implies = |one: usize, other: usize| {
            let ways = known[one].as_ref().filter(|ways| !ways.is_empty());
            ways.is_some_and(|ways| ways.iter().all(|way| is_sure(way, &parts[other], true, steps)))
        };
        for (one, part) in parts.iter().enumerate() {
            if asks_for_null(part) {
                // Said for the reader.
                continue;
            }
            let more = (0..parts.len())
                .find(|&other| other != one && implies(one, other) && !(one < other && implies(other, one)));
            if let Some(other) = more {
                let hint =
                    format!("whenever it holds, {} holds as well", super::say::written(text, &parts[other]));
                report(span_of(part), "this part changes nothing", Some(hint));
            }
        }
    });
}

/// What is known in each way in which a part holds.
fn ways_of<'f>(rule: &Rule, part: &'f Formula, steps: &Steps) -> Option<Vec<Known<'f>>> {
    let base = Known::when_asked(rule);
    let ways = Expansion::new(base.clone(), steps).ways(part).possible?;
    Some(ways.iter().map(|way| base.with(&way.literals, steps)).collect())
}

fn asks_for_null(part: &Formula) -> bool {
    match &part.logic {
        Logic::Not(inner) => asks_for_null(inner),
        Logic::Test(Test::ListIsNull { .. }) => true,
        Logic::Test(Test::Compare { op: Comparison::Equal | Comparison::NotEqual, left, right }) => {
            *left == Term::Null || *right == Term::Null
        }
        _ => false,
    }
}

fn lies_in(leaf: &Formula, part: &Formula) -> bool {
    let mut found = false;
    part.visit(&mut |formula| found |= std::ptr::eq(formula, leaf));
    found
}

pub(super) fn span_of(formula: &Formula) -> Option<Range<usize>> {
    Some(formula.span.clone()).filter(|span| !span.is_empty())
}

impl Formula {
    /// Calls `visit` for this formula and those in it that stand neither under `!` nor in a `? :`.
    fn visit_holding<'f>(&'f self, visit: &mut impl FnMut(&'f Self)) {
        visit(self);
        if let Logic::And(parts) | Logic::Or(parts) = &self.logic {
            parts.iter().for_each(|part| part.visit_holding(visit));
        }
    }
}
