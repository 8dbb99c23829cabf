//! What is known of a field that is a list.

use super::{ELEMENT, Known};
use crate::{
    analysis::{Steps, ways::Expansion},
    condition::{
        Formula,
        expr::{Comparison, Logic, Term, Test},
        field::Field,
    },
};

/// Beyond so many, the members of a list are not looked into.
const MAX_WITNESSES: usize = 16;

/// What a list holds, unless it is null.
#[derive(Debug, Clone)]
pub(super) struct Words<'f> {
    pub(super) list: Field,
    /// Its members, among others.
    pub(super) with: Vec<&'f str>,
    /// It has a member.
    pub(super) filled: bool,
    /// No members of it.
    without: Vec<&'f str>,
    /// Of some member this is true, or false.
    some: Vec<(&'f Formula, bool)>,
    /// Of every member this is true, or false.
    every: Vec<(&'f Formula, bool)>,
}

impl<'f> Words<'f> {
    pub(super) fn new(list: Field) -> Self {
        Self {
            list,
            with: Vec::new(),
            filled: false,
            without: Vec::new(),
            some: Vec::new(),
            every: Vec::new(),
        }
    }

    pub(super) fn member(&mut self, word: &'f str, holds: bool) {
        let words = if holds { &mut self.with } else { &mut self.without };
        if !words.contains(&word) {
            words.push(word);
        }
    }

    /// `exists` (or `all`) holds, or is false.
    pub(super) fn take_each(&mut self, exists: bool, body: &'f Formula, holds: bool) {
        match (exists, member_of(body)) {
            (true, Some(word)) => self.member(word, holds),
            // `exists` is false when the body is false of every element; `all`, when it is so of one.
            _ if exists == holds => self.some.push((body, exists)),
            _ => self.every.push((body, !exists)),
        }
    }

    /// Nothing is said of its members but which they are.
    pub(super) fn is_plain(&self) -> bool {
        self.some.is_empty() && self.every.is_empty()
    }

    /// How many members it has at least.
    pub(super) fn least(&self) -> i64 {
        let members = i64::try_from(self.with.len()).unwrap_or(i64::MAX);
        members.max(i64::from(self.filled || !self.some.is_empty()))
    }

    pub(super) fn is_possible(&self, steps: &Steps) -> bool {
        steps.spend(1 + self.with.len() * self.without.len() / 8);
        if self.with.iter().any(|word| self.without.contains(word)) {
            return false;
        }
        // Of a member that is named nothing more is known than what is true of each.
        let named = if self.every.is_empty() { &[] } else { self.with.as_slice() };
        let members = named.iter().map(|word| (Some(*word), None));
        let others = self.some.iter().map(|some| (None, Some(*some)));
        members.chain(others).take(MAX_WITNESSES).all(|(word, some)| {
            let mut known = Known::of_element(word);
            for without in &self.without {
                known.text(&ELEMENT).never(without);
            }
            let all: Vec<_> = some.into_iter().chain(self.every.iter().copied()).collect();
            Expansion::new(known, steps).can_all_be(&all)
        })
    }
}

/// The word to which the body of an `exists` compares the element.
pub(in crate::analysis) fn member_of(body: &Formula) -> Option<&str> {
    let Logic::Test(Test::Compare { op: Comparison::Equal, left, right }) = &body.logic else { return None };
    match (left, right) {
        (Term::Element(0), Term::Text(word)) | (Term::Text(word), Term::Element(0)) => Some(word),
        _ => None,
    }
}
