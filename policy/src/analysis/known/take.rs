//! What a literal says.

use super::{
    Known, Variable, number,
    term::{is_null, is_solid, is_variable, kind},
    text::Ask,
};
use crate::{
    analysis::Steps,
    condition::{
        Formula,
        expr::{Comparison, List, Logic, Quantifier, Term, Test},
        field::Type,
    },
};

/// How two terms can stand to each other: some of [`LESS`], [`SAME`] (both null included), [`MORE`], [`NULL`] (one of them).
pub(super) type Order = u8;
const LESS: Order = 1;
const SAME: Order = 2;
const MORE: Order = 4;
const NULL: Order = 8;

impl<'f> Known<'f> {
    /// Adds a literal.
    pub(super) fn take(&mut self, leaf: &'f Formula, holds: bool, steps: &Steps) {
        steps.spend(2 + self.can_be.len() + self.leaves.len());
        if self.says(leaf, !holds) {
            self.impossible = true;
        }
        self.leaves.push((leaf, holds));
        match &leaf.logic {
            Logic::Test(test) => self.take_test(test, holds, steps),
            Logic::Each { quantifier, list: List::Field(field), body } => {
                self.not_null(Variable::List(*field));
                self.words(*field).take_each(*quantifier == Quantifier::Exists, body, holds);
            }
            _ => {}
        }
    }

    fn take_test(&mut self, test: &'f Test, holds: bool, steps: &Steps) {
        match test {
            Test::Compare { op, left, right } => {
                self.evaluates(left);
                self.evaluates(right);
                self.compare(if holds { *op } else { op.negated() }, left, right);
            }
            // That it is both is seen by the literals alone.
            Test::Flag(_) => {}
            Test::ListIsNull { list, null } => match *null == holds {
                true => self.null(Variable::List(*list)),
                false => self.not_null(Variable::List(*list)),
            },
            Test::In { term, list } => self.take_in(term, list, holds, steps),
            Test::Text { method, text, part } => {
                self.evaluates(text);
                self.evaluates(part);
                self.has_value(text);
                self.has_value(part);
                if let Term::Text(part) = part {
                    self.ask(text, Ask::Part(*method, part), holds);
                }
            }
            Test::Matches { text, pattern } => {
                self.evaluates(text);
                self.has_value(text);
                self.ask(text, Ask::Pattern(pattern), holds);
            }
        }
    }

    fn ask(&mut self, text: &'f Term, ask: Ask<'f>, holds: bool) {
        match text {
            Term::Text(text) => self.impossible |= ask.is_true_of(text) != holds,
            text => self.text(text).asks.push((ask, holds)),
        }
    }

    fn take_in(&mut self, term: &'f Term, list: &'f List, holds: bool, steps: &Steps) {
        self.evaluates(term);
        let elements = match list {
            List::Field(field) => {
                self.not_null(Variable::List(*field));
                match term {
                    Term::Text(word) => self.words(*field).member(word, holds),
                    // Null is in no list of words, and nothing is in one without any.
                    term if holds => {
                        self.has_value(term);
                        self.words(*field).filled = true;
                    }
                    _ => {}
                }
                return;
            }
            List::Of(elements) => elements,
        };
        steps.spend(elements.len());
        elements.iter().for_each(|element| self.evaluates(element));
        if !is_variable(term) {
            // A literal in a list of literals.
            if elements.iter().all(|element| !is_variable(element)) {
                let found =
                    elements.iter().any(|element| element == term || (is_null(element) && is_null(term)));
                self.impossible |= found != holds;
            }
            return;
        }
        let has_null = elements.iter().any(is_null);
        let plain = elements.iter().filter(|element| !is_null(element)).count();
        let texts: Vec<&str> = elements.iter().filter_map(as_text).collect();
        let numbers: Vec<i64> = elements.iter().filter_map(as_number).collect();
        if holds != has_null && texts.len().max(numbers.len()) == plain {
            // It is one of them, and none is null; or it is none of them, and one is.
            self.has_value(term);
        }
        let of = match elements.iter().find(|element| !is_null(element)) {
            Some(element) => kind(term).or(kind(element)),
            None => kind(term),
        };
        match (of, holds) {
            (Some(Type::Text), true) if texts.len() == plain => {
                steps.spend(self.text(term).only(texts));
            }
            (Some(Type::Int), true) if numbers.len() == plain => self.number(term).only(numbers),
            // That it is none of them is known of each by itself.
            (Some(Type::Text), false) => texts.into_iter().for_each(|word| self.text(term).never(word)),
            (Some(Type::Int), false) => numbers.into_iter().for_each(|n| self.number(term).never(n)),
            _ => {}
        }
    }

    fn compare(&mut self, op: Comparison, left: &'f Term, right: &'f Term) {
        let is_equality = matches!(op, Comparison::Equal | Comparison::NotEqual);
        if !is_equality {
            self.has_value(left);
            self.has_value(right);
        }
        let (op, left, right) = match (left, right) {
            // The variable first.
            (literal, variable) if !is_variable(literal) && is_variable(variable) => {
                (op.mirrored(), variable, literal)
            }
            _ => (op, left, right),
        };
        if is_null(right) {
            match (op, left) {
                (_, left) if is_null(left) => self.impossible |= op != Comparison::Equal,
                (Comparison::Equal, left) if !is_variable(left) => self.impossible = true,
                (Comparison::Equal, left) => self.null(Variable::Term(left)),
                (_, left) => self.has_value(left),
            }
            return;
        }
        match kind(left).or(kind(right)) {
            Some(Type::Text) => self.compare_texts(op, left, right),
            Some(Type::Int) => self.compare_numbers(op, left, right),
            Some(Type::Time | Type::Duration) => match op {
                Comparison::Equal if is_solid(left) || is_solid(right) => {
                    self.has_value(left);
                    self.has_value(right);
                    self.times.compare(op, left, right);
                }
                Comparison::Equal => self.equal.push((left, right)),
                Comparison::NotEqual => self.unequal.push((left, right)),
                _ => self.times.compare(op, left, right),
            },
            Some(Type::Bool) | None => {}
        }
        self.order(op, left, right);
    }

    fn compare_texts(&mut self, op: Comparison, left: &'f Term, right: &'f Term) {
        let Term::Text(word) = right else { return };
        match (op, left) {
            (_, Term::Text(text)) => {
                self.impossible |= !Ask::Order(op, word).is_true_of(text);
            }
            (Comparison::Equal, left) => {
                self.has_value(left);
                self.text(left).only(vec![word]);
            }
            (Comparison::NotEqual, left) => self.text(left).never(word),
            (op, left) => self.text(left).asks.push((Ask::Order(op, word), true)),
        }
    }

    fn compare_numbers(&mut self, op: Comparison, left: &'f Term, right: &'f Term) {
        let Term::Int(n) = *right else { return };
        match left {
            Term::Int(number) => self.impossible |= !number::holds(op, *number, n),
            left => {
                if op != Comparison::NotEqual {
                    self.has_value(left);
                }
                self.number(left).compare(op, n);
            }
        }
    }

    /// Notes how two terms stand to each other, whatever they are.
    fn order(&mut self, op: Comparison, left: &'f Term, right: &'f Term) {
        let order = |op| match op {
            Comparison::Equal => SAME,
            Comparison::NotEqual => LESS | MORE | NULL,
            Comparison::Less => LESS,
            Comparison::LessOrEqual => LESS | SAME,
            Comparison::Greater => MORE,
            Comparison::GreaterOrEqual => MORE | SAME,
        };
        let (forth, back) = (order(op), order(op.mirrored()));
        if left == right {
            self.impossible |= forth & SAME == 0;
            return;
        }
        if !is_variable(left) || !is_variable(right) {
            return;
        }
        for (known_left, known_right, known) in &mut self.orders {
            let said = match () {
                () if *known_left == left && *known_right == right => forth,
                () if *known_left == right && *known_right == left => back,
                () => continue,
            };
            *known &= said;
            self.impossible |= *known == 0;
            return;
        }
        self.orders.push((left, right, forth));
    }

    /// A term gives a value or null: what it takes for that is known with it.
    fn evaluates(&mut self, term: &'f Term) {
        match term {
            Term::Sum { left, right, .. } => {
                for part in [left, right] {
                    self.evaluates(part);
                    self.has_value(part);
                }
            }
            Term::Length(text) => {
                self.evaluates(text);
                self.has_value(text);
            }
            Term::Lower(inner) => self.evaluates(inner),
            Term::Size(List::Field(list)) => self.not_null(Variable::List(*list)),
            Term::Size(List::Of(elements)) => elements.iter().for_each(|element| self.evaluates(element)),
            Term::If(_) => {}
            _ => return,
        }
        if !self.evaluated.contains(&term) {
            self.evaluated.push(term);
        }
    }

    /// A term is not null.
    pub(super) fn has_value(&mut self, term: &'f Term) {
        match term {
            term if is_null(term) => self.impossible = true,
            Term::Lower(inner) => {
                self.not_null(Variable::Term(term));
                self.has_value(inner);
            }
            term if is_variable(term) && !is_solid(term) => self.not_null(Variable::Term(term)),
            _ => {}
        }
    }
}

fn as_text(term: &Term) -> Option<&str> {
    match term {
        Term::Text(text) => Some(text),
        _ => None,
    }
}

fn as_number(term: &Term) -> Option<i64> {
    match term {
        Term::Int(number) => Some(*number),
        _ => None,
    }
}
