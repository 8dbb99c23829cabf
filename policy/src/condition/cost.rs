//! How many steps an evaluation can take: when every list is as long as it can be, or with those that a view has.

use super::{
    View,
    expr::{Formula, List, Logic, Term, Test},
};
use crate::state::MAX_LIST;

/// The most steps of one condition. A step takes some ten nanoseconds.
pub(crate) const MAX_STEPS: u64 = 1 << 20;
/// What all conditions of a policy may take together: an event that meets every one of them is decided within a second,
/// but for conditions that bring a long text to lower case in a loop, which costs more than the step that it counts as.
pub(crate) const MAX_POLICY_STEPS: u64 = 1 << 25;
/// Searching a text of the greatest length for a pattern counts as so many.
const SEARCH: u64 = 2048;
/// Looking for one text in another, as far as it counts.
const TEXT: u64 = 16;

/// Of a condition; without a view, at worst.
pub(super) fn formula(it: &Formula, seen: Option<&View<'_>>) -> u64 {
    let parts = match &it.logic {
        Logic::Always(_) => 0,
        Logic::Not(inner) => formula(inner, seen),
        Logic::And(parts) | Logic::Or(parts) => {
            parts.iter().map(|part| formula(part, seen)).fold(0, u64::saturating_add)
        }
        Logic::If(parts) => parts.iter().map(|part| formula(part, seen)).fold(0, u64::saturating_add),
        Logic::Each { list, body, .. } => {
            let body = formula(body, seen).saturating_add(1);
            elements(list, seen).saturating_add(length(list, seen).saturating_mul(body))
        }
        Logic::Test(test) => self::test(test, seen),
    };
    parts.saturating_add(1)
}

fn test(it: &Test, seen: Option<&View<'_>>) -> u64 {
    match it {
        Test::Compare { left, right, .. } => term(left, seen).saturating_add(term(right, seen)),
        Test::ListIsNull { .. } => 1,
        Test::In { term: it, list } => {
            term(it, seen).saturating_add(elements(list, seen)).saturating_add(length(list, seen))
        }
        Test::Text { text, part, .. } => {
            // A text of a kilobyte and more takes so much; with all lists at their longest, it is the lists that count.
            let searched = if seen.is_some() { TEXT } else { 0 };
            term(text, seen).saturating_add(term(part, seen)).saturating_add(searched)
        }
        Test::Matches { text, .. } => term(text, seen).saturating_add(SEARCH),
    }
}

fn term(it: &Term, seen: Option<&View<'_>>) -> u64 {
    let parts = match it {
        Term::Sum { left, right, .. } => term(left, seen).saturating_add(term(right, seen)),
        Term::Length(inner) | Term::Lower(inner) => term(inner, seen),
        Term::Size(list) => elements(list, seen).saturating_add(length(list, seen)),
        Term::If(parts) => {
            formula(&parts.0, seen).saturating_add(term(&parts.1, seen)).saturating_add(term(&parts.2, seen))
        }
        _ => 0,
    };
    parts.saturating_add(1)
}

/// What it costs to say the elements of a list that is written out.
fn elements(it: &List, seen: Option<&View<'_>>) -> u64 {
    match it {
        List::Field(_) => 0,
        List::Of(terms) => terms.iter().map(|it| term(it, seen)).fold(0, u64::saturating_add),
    }
}

fn length(it: &List, seen: Option<&View<'_>>) -> u64 {
    match it {
        List::Field(field) => match seen {
            None => MAX_LIST as u64,
            Some(view) => view.list(*field).map_or(0, |list| list.len() as u64),
        },
        List::Of(terms) => terms.len() as u64,
    }
}
