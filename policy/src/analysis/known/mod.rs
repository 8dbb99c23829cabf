//! What literals together say about each field, and whether all of it can be so.

mod list;
mod number;
mod take;
mod term;
mod text;
mod time;

use list::Words;
pub(super) use list::member_of;
use number::Number;
use take::Order;
use term::{is_null, is_solid, is_variable};
use text::{Ask, Text};
use time::Times;
pub(super) use time::{Moment, moment};

use super::{Steps, ways::Literal};
use crate::{
    Rule,
    condition::{
        Formula,
        expr::{Comparison, List, Logic, Term, Test},
        field::Field,
    },
};

/// The element for which the body of `exists` or `all` is asked.
static ELEMENT: Term = Term::Element(0);
static STATE: Term = Term::Field(Field::State);
/// The past: what has happened to an issue lies there.
static NOW: Term = Term::Now;
static CREATED_AT: Term = Term::Field(Field::CreatedAt);
static UPDATED_AT: Term = Term::Field(Field::UpdatedAt);
static ACKNOWLEDGED_AT: Term = Term::Field(Field::AcknowledgedAt);

/// Everything that some literals say. What is known of one variable does not depend on what is known of another, but for times,
/// and for lists and their sizes; so what is found impossible is impossible, and not everything impossible is found.
///
/// A variable is a term that is no literal: a field, or a term that is taken whole. Within one evaluation the same term has the
/// same value everywhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Known<'f> {
    /// A literal is false whatever the fields are, or is so next to another.
    impossible: bool,
    can_be: Vec<(Variable<'f>, CanBe)>,
    texts: Vec<Text<'f>>,
    numbers: Vec<Number<'f>>,
    lists: Vec<Words<'f>>,
    times: Times<'f>,
    /// Terms of which only their order is known.
    orders: Vec<(&'f Term, &'f Term, Order)>,
    /// Times and durations that are equal, or both null.
    equal: Vec<(&'f Term, &'f Term)>,
    /// Times and durations that are not equal, unless null.
    unequal: Vec<(&'f Term, &'f Term)>,
    /// Every literal.
    leaves: Vec<(&'f Formula, bool)>,
    /// Terms made of others that gave a value or null, not an error.
    evaluated: Vec<&'f Term>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Variable<'f> {
    Term(&'f Term),
    List(Field),
}

/// What a variable can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CanBe {
    null: bool,
    value: bool,
}

impl<'f> Known<'f> {
    /// Of an issue about which the rule is asked.
    pub(super) fn when_asked(rule: &Rule) -> Self {
        let mut known = Self::default();
        if !rule.on_closed {
            known.text(&STATE).never("closed");
        }
        known
    }

    /// Of the element of a list.
    fn of_element(word: Option<&'f str>) -> Self {
        let mut known = Self::default();
        known.not_null(Variable::Term(&ELEMENT));
        if let Some(word) = word {
            known.text(&ELEMENT).only(vec![word]);
        }
        known
    }

    /// In the body of an `exists` or `all` over a field.
    pub(super) fn with_element(&self) -> Self {
        let mut known = self.clone();
        known.not_null(Variable::Term(&ELEMENT));
        known
    }

    /// With some literals more.
    pub(super) fn with(&self, literals: &[Literal<'f>], steps: &Steps) -> Self {
        let mut known = self.clone();
        steps.spend(4 + known.leaves.len());
        for literal in literals {
            known.take(literal.leaf, literal.holds, steps);
        }
        known
    }

    /// Where the issue was created, changed and acknowledged no later than now.
    pub(super) fn with_a_past(&self) -> Self {
        let mut known = self.clone();
        for past in [&CREATED_AT, &UPDATED_AT, &ACKNOWLEDGED_AT] {
            known.times.compare(Comparison::LessOrEqual, past, &NOW);
        }
        known
    }

    /// Whether the issue cannot be closed.
    pub(super) fn is_open(&self, steps: &Steps) -> bool {
        let mut closed = self.clone();
        closed.not_null(Variable::Term(&STATE));
        closed.text(&STATE).only(vec!["closed"]);
        !closed.is_possible(steps)
    }

    /// Whether a literal more is too many for certain.
    pub(super) fn excludes(&self, leaf: &Formula, holds: bool, steps: &Steps) -> bool {
        if let Some(excludes) = self.excludes_at_once(leaf, holds) {
            return excludes;
        }
        let mut otherwise = self.clone();
        steps.spend(4 + self.leaves.len());
        otherwise.take(leaf, holds, steps);
        !otherwise.is_possible(steps)
    }

    /// The same for the most frequent leaves, by a look at the one variable that they are about; what is known is possible.
    fn excludes_at_once(&self, leaf: &Formula, holds: bool) -> Option<bool> {
        let Logic::Test(test) = &leaf.logic else { return None };
        let text = |of: &Term| self.texts.iter().find(|text| text.of == of);
        let is_open = |field: &Field| field.spec().values.is_none();
        match test {
            Test::In { term: Term::Text(word), list: List::Field(list) } if !holds => {
                let Some(words) = self.lists.iter().find(|words| words.list == *list) else {
                    return Some(false);
                };
                words.is_plain().then(|| words.with.contains(&&**word))
            }
            Test::Compare { op, left: of @ Term::Field(field), right: Term::Text(word) }
                if (*op == Comparison::NotEqual) == holds
                    && matches!(op, Comparison::Equal | Comparison::NotEqual) =>
            {
                let Some(known) = text(of) else { return is_open(field).then_some(false) };
                Some(!self.may_be_null(of) && known.is_among(|value| *value == **word))
            }
            Test::In { term: of @ Term::Field(field), list: List::Of(elements) }
                if !holds && elements.iter().all(|element| matches!(element, Term::Text(_))) =>
            {
                let Some(known) = text(of) else { return is_open(field).then_some(false) };
                let is_listed = |value: &str| {
                    elements.iter().any(|one| matches!(one, Term::Text(one) if **one == *value))
                };
                Some(!self.may_be_null(of) && known.is_among(is_listed))
            }
            Test::Text { method, text: of @ Term::Field(field), part: Term::Text(part) }
                if is_open(field) =>
            {
                let known = text(of)?;
                known.can_be_anything().then(|| known.excludes((Ask::Part(*method, part), holds)))
            }
            _ => None,
        }
    }

    /// The same leaf is among the literals.
    pub(super) fn says(&self, leaf: &Formula, holds: bool) -> bool {
        self.leaves.iter().any(|(known, known_holds)| *known_holds == holds && *known == leaf)
    }

    /// A field that is a text has one of these values, and is not null.
    pub(super) fn values(&self) -> impl Iterator<Item = (Field, Vec<&'f str>)> {
        self.texts.iter().filter_map(|text| match text.of {
            Term::Field(field) if !self.can_be(Variable::Term(text.of)).null => {
                text.values().map(|values| (*field, values))
            }
            _ => None,
        })
    }

    /// A list has these members.
    pub(super) fn members(&self) -> impl Iterator<Item = (Field, &'f str)> {
        self.lists.iter().flat_map(|words| words.with.iter().map(|word| (words.list, *word)))
    }

    fn not_null(&mut self, variable: Variable<'f>) {
        self.can_be_mut(variable).null = false;
    }

    fn null(&mut self, variable: Variable<'f>) {
        self.can_be_mut(variable).value = false;
    }

    fn can_be(&self, variable: Variable<'_>) -> CanBe {
        let known = self.can_be.iter().find(|(known, _)| *known == variable);
        known.map_or_else(|| beforehand(variable), |(_, can_be)| *can_be)
    }

    fn can_be_mut(&mut self, variable: Variable<'f>) -> &mut CanBe {
        let place = self.can_be.iter().position(|(known, _)| *known == variable).unwrap_or_else(|| {
            self.can_be.push((variable, beforehand(variable)));
            self.can_be.len() - 1
        });
        &mut self.can_be[place].1
    }

    fn text(&mut self, of: &'f Term) -> &mut Text<'f> {
        let place = self.texts.iter().position(|text| text.of == of).unwrap_or_else(|| {
            self.texts.push(Text::new(of));
            self.texts.len() - 1
        });
        &mut self.texts[place]
    }

    fn number(&mut self, of: &'f Term) -> &mut Number<'f> {
        let place = self.numbers.iter().position(|number| number.of == of).unwrap_or_else(|| {
            self.numbers.push(Number::new(of));
            self.numbers.len() - 1
        });
        &mut self.numbers[place]
    }

    fn words(&mut self, list: Field) -> &mut Words<'f> {
        let place = self.lists.iter().position(|words| words.list == list).unwrap_or_else(|| {
            self.lists.push(Words::new(list));
            self.lists.len() - 1
        });
        &mut self.lists[place]
    }

    /// Whether all that is known can be so. True when it cannot be told.
    pub(super) fn is_possible(&self, steps: &Steps) -> bool {
        steps.spend(1 + self.can_be.len() + self.times.len());
        if steps.are_spent() {
            return true;
        }
        if self.impossible {
            return false;
        }
        // What follows for null, and from that for times.
        let mut settled = Self { can_be: self.can_be.clone(), ..Self::default() };
        for text in &self.texts {
            steps.spend(text.size());
            if !text.can_be_something() {
                settled.null(Variable::Term(text.of));
            }
        }
        for number in &self.numbers {
            let possible = match self.lengths(number.of) {
                Some(lengths) => lengths.into_iter().any(|length| number.can_be(length)),
                None => number.can_be_something(self.least(number.of)),
            };
            if !possible {
                settled.null(Variable::Term(number.of));
            }
        }
        // Equal: both null or neither. What one passes on can reach the next.
        for _ in 0..self.equal.len().min(4) {
            for &(left, right) in &self.equal {
                for (one, other) in [(left, right), (right, left)] {
                    if !settled.may_be_null(one) {
                        settled.has_value(other);
                    }
                    if !settled.can_be(Variable::Term(one)).value {
                        settled.null(Variable::Term(other));
                    }
                }
            }
        }
        if settled.impossible || settled.can_be.iter().any(|(_, can_be)| !can_be.null && !can_be.value) {
            return false;
        }
        settled.times = self.times.clone();
        for (op, pairs) in [(Comparison::Equal, &self.equal), (Comparison::NotEqual, &self.unequal)] {
            for &(left, right) in pairs {
                if !settled.may_be_null(left) && !settled.may_be_null(right) {
                    settled.times.compare(op, left, right);
                }
            }
        }
        settled.times.are_possible(steps) && self.lists.iter().all(|words| words.is_possible(steps))
    }

    /// The least that a number can be for what is known of lists.
    fn least(&self, of: &Term) -> i64 {
        match of {
            Term::Size(List::Field(list)) => {
                self.lists.iter().find(|words| words.list == *list).map_or(0, Words::least)
            }
            _ => i64::MIN,
        }
    }

    /// Every length that a text can have, where it can only be one of a few.
    fn lengths(&self, of: &Term) -> Option<Vec<i64>> {
        let Term::Length(inner) = of else { return None };
        let values = self.texts.iter().find(|text| *text.of == **inner)?.values()?;
        values.iter().map(|value| i64::try_from(value.chars().count()).ok()).collect()
    }

    /// Whether a term that is no error can be null.
    pub(super) fn may_be_null(&self, term: &Term) -> bool {
        match term {
            term if is_null(term) => true,
            Term::Lower(inner) => self.can_be(Variable::Term(term)).null && self.may_be_null(inner),
            term if is_variable(term) && !is_solid(term) => self.can_be(Variable::Term(term)).null,
            _ => false,
        }
    }

    pub(super) fn may_list_be_null(&self, list: Field) -> bool {
        self.can_be(Variable::List(list)).null
    }

    /// Whether a term is no error for certain.
    pub(super) fn is_sayable(&self, term: &Term, steps: &Steps) -> bool {
        if self.evaluated.contains(&term) {
            return true;
        }
        match term {
            Term::Sum { left, right, .. } => {
                [left, right].iter().all(|part| self.is_sayable(part, steps) && !self.may_be_null(part))
                    && self.times.is_in_range(term, steps)
            }
            Term::Length(text) => self.is_sayable(text, steps) && !self.may_be_null(text),
            Term::Lower(inner) => self.is_sayable(inner, steps),
            Term::Size(List::Field(list)) => !self.may_list_be_null(*list),
            Term::Size(List::Of(elements)) => elements.iter().all(|element| self.is_sayable(element, steps)),
            Term::If(_) => false,
            _ => true,
        }
    }
}

/// What a variable can be before anything is known of the issue.
fn beforehand(variable: Variable<'_>) -> CanBe {
    let always = match variable {
        Variable::Term(Term::Field(field)) => {
            matches!(field, Field::Ref | Field::Project | Field::EventType | Field::EventSource)
        }
        Variable::Term(term) => is_solid(term),
        Variable::List(field) => {
            matches!(field, Field::EventChanged | Field::EventLabelsAdded | Field::EventLabelsRemoved)
        }
    };
    CanBe { null: !always, value: true }
}
