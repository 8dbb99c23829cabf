//! What a test reads.

use crate::condition::{
    expr::{Formula, List, Logic, Term, Test},
    field::Field,
};

/// Something that a test reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    Field(Field),
    Now,
}

/// What a test reads, each once, in the order in which it stands there.
pub(super) fn of_test(test: &Test) -> Vec<Read> {
    let mut reads = Reads(Vec::new());
    reads.test(test);
    reads.0
}

/// What a list reads.
pub(super) fn of_list(list: &List) -> Vec<Read> {
    let mut reads = Reads(Vec::new());
    reads.list(list);
    reads.0
}

/// What a formula reads.
pub(super) fn of_formula(formula: &Formula) -> Vec<Read> {
    let mut reads = Reads(Vec::new());
    reads.formula(formula);
    reads.0
}

struct Reads(Vec<Read>);

impl Reads {
    fn add(&mut self, read: Read) {
        if !self.0.contains(&read) {
            self.0.push(read);
        }
    }

    fn test(&mut self, test: &Test) {
        match test {
            Test::Compare { left, right, .. } => {
                self.term(left);
                self.term(right);
            }
            Test::Flag(field) | Test::ListIsNull { list: field, .. } => self.add(Read::Field(*field)),
            Test::In { term, list } => {
                self.term(term);
                self.list(list);
            }
            Test::Text { text, part, .. } => {
                self.term(text);
                self.term(part);
            }
            Test::Matches { text, .. } => self.term(text),
        }
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Field(field) => self.add(Read::Field(*field)),
            Term::Now => self.add(Read::Now),
            Term::Sum { left, right, .. } => {
                self.term(left);
                self.term(right);
            }
            Term::Length(inner) | Term::Lower(inner) => self.term(inner),
            Term::Size(list) => self.list(list),
            Term::If(parts) => {
                self.formula(&parts.0);
                self.term(&parts.1);
                self.term(&parts.2);
            }
            Term::Element(_)
            | Term::Null
            | Term::Text(_)
            | Term::Int(_)
            | Term::Time(_)
            | Term::Duration(_) => {}
        }
    }

    fn list(&mut self, list: &List) {
        match list {
            List::Field(field) => self.add(Read::Field(*field)),
            List::Of(terms) => terms.iter().for_each(|term| self.term(term)),
        }
    }

    fn formula(&mut self, formula: &Formula) {
        formula.visit(&mut |formula| match &formula.logic {
            Logic::Test(test) => self.test(test),
            Logic::Each { list, .. } => self.list(list),
            _ => {}
        });
    }
}
