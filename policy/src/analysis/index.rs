//! Which earlier rules can be made to hold by what is known in a way: looked up by a value or list member that they need.

use std::collections::HashMap;

use super::known::{Known, member_of};
use crate::{
    Rule,
    condition::{
        Formula,
        expr::{Comparison, List, Logic, Quantifier, Term, Test},
        field::Field,
    },
};

type Key<'f> = (Field, &'f str);

/// Rules by what they need.
#[derive(Debug)]
pub(super) struct Index<'f> {
    by_key: HashMap<Key<'f>, Vec<usize>>,
    /// Rules that need no single value, each with the fields of which it needs something: for each part of its `&&` a set, of
    /// which at least one must be spoken of.
    others: Vec<(usize, Vec<u32>)>,
}

impl<'f> Index<'f> {
    /// Of those rules that end a walk.
    pub(super) fn new(rules: &'f [Rule]) -> Self {
        let mut counts = HashMap::new();
        for rule in rules {
            rule.condition.formula().visit(&mut |formula| {
                let leaf = if let Logic::Not(inner) = &formula.logic { inner } else { formula };
                for key in leaf_keys(leaf, true).into_iter().flatten() {
                    *counts.entry(key).or_insert(0) += 1;
                }
            });
        }
        let mut index = Self { by_key: HashMap::new(), others: Vec::new() };
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.goes_on) {
            let formula = rule.condition.formula();
            match keys(formula, true, &counts) {
                Some(keys) => {
                    for key in keys {
                        let posted: &mut Vec<usize> = index.by_key.entry(key).or_default();
                        if posted.last() != Some(&place) {
                            posted.push(place);
                        }
                    }
                }
                None => index.others.push((place, needs(formula))),
            }
        }
        index
    }

    /// The rules above `place` that need something that is known.
    pub(super) fn above(&self, place: usize, known: &Known<'_>) -> Vec<usize> {
        let mut found = Vec::new();
        let values = known.values().filter_map(|(field, values)| Some((field, *values.first()?)));
        for key in known.members().chain(values) {
            // The key's text lives longer in the index than what is looked for; only its value counts.
            let posted = self.by_key.get(&key).map_or(&[][..], Vec::as_slice);
            found.extend(posted.iter().copied().take_while(|rule| *rule < place));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The rules above `place` that need no single value, but nothing of which nothing is known.
    pub(super) fn others_above(&self, place: usize, fields: u32) -> impl Iterator<Item = usize> {
        let above = self.others.iter().take_while(move |(rule, _)| *rule < place);
        above.filter(move |(_, needs)| needs.iter().all(|need| need & fields != 0)).map(|(rule, _)| *rule)
    }
}

/// Values and members of which one is there whenever `formula` is true (`holds`), or false. None when there is no such set.
fn keys<'f>(formula: &'f Formula, holds: bool, counts: &HashMap<Key<'f>, usize>) -> Option<Vec<Key<'f>>> {
    match &formula.logic {
        Logic::Not(inner) => keys(inner, !holds, counts),
        Logic::And(parts) | Logic::Or(parts) => {
            let sets = parts.iter().map(|part| keys(part, holds, counts));
            if matches!(formula.logic, Logic::And(_)) == holds {
                let cost = |set: &Vec<Key<'f>>| -> usize {
                    set.iter().map(|key| counts.get(key).copied().unwrap_or_default()).sum()
                };
                sets.flatten().min_by_key(cost)
            } else {
                sets.collect::<Option<Vec<_>>>().map(|sets| sets.concat())
            }
        }
        _ => leaf_keys(formula, holds),
    }
}

fn leaf_keys(leaf: &Formula, holds: bool) -> Option<Vec<Key<'_>>> {
    match &leaf.logic {
        Logic::Test(Test::In { term: Term::Text(word), list: List::Field(list) }) if holds => {
            Some(vec![(*list, word)])
        }
        Logic::Test(Test::In { term: Term::Field(field), list: List::Of(elements) }) if holds => elements
            .iter()
            .map(|element| match element {
                Term::Text(value) => Some((*field, &**value)),
                _ => None,
            })
            .collect(),
        Logic::Test(Test::Compare { op, left, right }) => {
            let op = if holds { *op } else { op.negated() };
            match (op, left, right) {
                (Comparison::Equal, Term::Field(field), Term::Text(value))
                | (Comparison::Equal, Term::Text(value), Term::Field(field)) => Some(vec![(*field, value)]),
                _ => None,
            }
        }
        Logic::Each { quantifier: Quantifier::Exists, list: List::Field(list), body } if holds => {
            member_of(body).map(|word| vec![(*list, word)])
        }
        _ => None,
    }
}

/// For each part of an `&&` the fields that it reads; parts that read none are left out.
fn needs(formula: &Formula) -> Vec<u32> {
    match &formula.logic {
        Logic::And(parts) => parts.iter().flat_map(needs).collect(),
        _ => Some(fields(formula)).filter(|fields| *fields != 0).into_iter().collect(),
    }
}

/// The fields that a formula reads, a bit each.
pub(super) fn fields(formula: &Formula) -> u32 {
    let mut bits = 0;
    formula.visit(&mut |formula| match &formula.logic {
        Logic::Each { list, .. } => bits |= of_list(list),
        Logic::Test(test) => {
            bits |= match test {
                Test::Compare { left, right, .. } => of_term(left) | of_term(right),
                Test::Flag(field) | Test::ListIsNull { list: field, .. } => bit(*field),
                Test::In { term, list } => of_term(term) | of_list(list),
                Test::Text { text, part, .. } => of_term(text) | of_term(part),
                Test::Matches { text, .. } => of_term(text),
            };
        }
        _ => {}
    });
    bits
}

fn of_term(term: &Term) -> u32 {
    match term {
        Term::Field(field) => bit(*field),
        Term::Sum { left, right, .. } => of_term(left) | of_term(right),
        Term::Length(inner) | Term::Lower(inner) => of_term(inner),
        Term::Size(list) => of_list(list),
        Term::If(parts) => fields(&parts.0) | of_term(&parts.1) | of_term(&parts.2),
        _ => 0,
    }
}

fn of_list(list: &List) -> u32 {
    match list {
        List::Field(field) => bit(*field),
        List::Of(terms) => terms.iter().map(of_term).fold(0, |all, bits| all | bits),
    }
}

fn bit(field: Field) -> u32 {
    1 << (field as u32)
}
