//! How many steps an evaluation can take when every list is as long as it can be.

use super::expr::{Formula, List, Logic, Term, Test};
use crate::state::MAX_LIST;

/// The most steps of one condition. A step takes some ten nanoseconds.
pub(crate) const MAX_STEPS: u64 = 1 << 20;
/// What all conditions of a policy may take together: an event that meets every one of them is decided within a second.
pub(crate) const MAX_POLICY_STEPS: u64 = 1 << 25;
/// Searching a text of the greatest length for a pattern counts as so many.
const SEARCH: u64 = 2048;

pub(super) fn formula(it: &Formula) -> u64 {
    let parts = match &it.logic {
        Logic::Always(_) => 0,
        Logic::Not(inner) => formula(inner),
        Logic::And(parts) | Logic::Or(parts) => parts.iter().map(formula).fold(0, u64::saturating_add),
        Logic::If(parts) => parts.iter().map(formula).fold(0, u64::saturating_add),
        Logic::Each { list, body, .. } => {
            let body = formula(body).saturating_add(1);
            elements(list).saturating_add(length(list).saturating_mul(body))
        }
        Logic::Test(test) => self::test(test),
    };
    parts.saturating_add(1)
}

fn test(it: &Test) -> u64 {
    match it {
        Test::Compare { left, right, .. } => term(left).saturating_add(term(right)),
        Test::ListIsNull { .. } => 1,
        Test::In { term: it, list } => term(it).saturating_add(elements(list)).saturating_add(length(list)),
        Test::Text { text, part, .. } => term(text).saturating_add(term(part)),
        Test::Matches { text, .. } => term(text).saturating_add(SEARCH),
    }
}

fn term(it: &Term) -> u64 {
    let parts = match it {
        Term::Sum { left, right, .. } => term(left).saturating_add(term(right)),
        Term::Length(inner) | Term::Lower(inner) => term(inner),
        Term::Size(list) => elements(list).saturating_add(length(list)),
        Term::If(parts) => formula(&parts.0).saturating_add(term(&parts.1)).saturating_add(term(&parts.2)),
        _ => 0,
    };
    parts.saturating_add(1)
}

/// What it costs to say the elements of a list that is written out.
fn elements(it: &List) -> u64 {
    match it {
        List::Field(_) => 0,
        List::Of(terms) => terms.iter().map(term).fold(0, u64::saturating_add),
    }
}

fn length(it: &List) -> u64 {
    match it {
        List::Field(_) => MAX_LIST as u64,
        List::Of(terms) => terms.len() as u64,
    }
}
