//! How many steps an evaluation can take when every list is as long as it can be.

use super::{
    expr::{Formula, List, Logic, Method, Term, Test},
    field::Type,
};
use crate::state::MAX_LIST;

/// The most steps of one condition.
pub(crate) const MAX_STEPS: u64 = 1 << 23;
/// What all conditions of a policy may take together: an event that meets every one of them is decided within a second. Where texts are as
/// long as they can be, a step took 5 to 14 ns (docs/benchmarks.md, the dearest policies; `scripts/bench.sh policy` measures them anew).
pub(crate) const MAX_POLICY_STEPS: u64 = 1 << 26;
/// Going through a text of the greatest length, [`events::MAX_TEXT_CHARS`] of four bytes: looking for a part, counting characters.
const READ: u64 = 64;
/// Comparing two texts of that length.
const COMPARE: u64 = 8;
/// Bringing such a text to lower case.
const LOWER: u64 = 1024;
/// Searching such a text, for each place in which the search can be at once: at worst (a Unicode word boundary, which no automaton knows,
/// in a text beyond ASCII) one byte in one place takes five nanoseconds.
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
        Test::Compare { left, right, .. } => {
            let texts = if is_long(left) && is_long(right) { COMPARE } else { 0 };
            term(left).saturating_add(term(right)).saturating_add(texts)
        }
        Test::ListIsNull { .. } => 1,
        Test::In { term: it, list } => {
            let each = if is_long(it) { COMPARE } else { 1 };
            term(it).saturating_add(elements(list)).saturating_add(length(list).saturating_mul(each))
        }
        Test::Text { method, text, part } => {
            let read = match method {
                Method::Contains => READ,
                _ if is_long(part) => COMPARE,
                _ => 0,
            };
            term(text).saturating_add(term(part)).saturating_add(read)
        }
        Test::Matches { text, pattern } => term(text).saturating_add(pattern.places().saturating_mul(SEARCH)),
    }
}

fn term(it: &Term) -> u64 {
    let parts = match it {
        Term::Sum { left, right, .. } => term(left).saturating_add(term(right)),
        Term::Length(inner) => term(inner).saturating_add(READ),
        Term::Lower(inner) => term(inner).saturating_add(LOWER),
        Term::Size(list) => elements(list).saturating_add(length(list)),
        Term::If(parts) => formula(&parts.0).saturating_add(term(&parts.1)).saturating_add(term(&parts.2)),
        _ => 0,
    };
    parts.saturating_add(1)
}

/// Whether it can be a text of the greatest length: whatever is not written out.
fn is_long(it: &Term) -> bool {
    match it {
        Term::Field(field) => field.spec().value_type == Type::Text,
        Term::Element(_) | Term::Lower(_) | Term::If(_) => true,
        _ => false,
    }
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
