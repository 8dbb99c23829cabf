//! What is known of a text.

use crate::condition::{
    expr::{Comparison, Method, Term},
    field::Field,
    pattern::Pattern,
};

/// Beyond so many, tests of a text are not compared with each other.
const MAX_ASKS: usize = 32;

/// What a text is, unless it is null.
#[derive(Debug, Clone)]
pub(super) struct Text<'f> {
    pub(super) of: &'f Term,
    /// It is one of these.
    only: Option<Vec<&'f str>>,
    /// It is none of these.
    never: Vec<&'f str>,
    /// What is true or false of it; either way it is not null.
    pub(super) asks: Vec<(Ask<'f>, bool)>,
}

/// What can be asked of a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'f> {
    Part(Method, &'f str),
    Pattern(&'f Pattern),
    Order(Comparison, &'f str),
}

impl Ask<'_> {
    pub(super) fn is_true_of(self, text: &str) -> bool {
        match self {
            Self::Part(Method::StartsWith, part) => text.starts_with(part),
            Self::Part(Method::EndsWith, part) => text.ends_with(part),
            Self::Part(Method::Contains, part) => text.contains(part),
            Self::Pattern(pattern) => pattern.is_match(text),
            Self::Order(op, other) => match op {
                Comparison::Equal => text == other,
                Comparison::NotEqual => text != other,
                Comparison::Less => text < other,
                Comparison::LessOrEqual => text <= other,
                Comparison::Greater => text > other,
                Comparison::GreaterOrEqual => text >= other,
            },
        }
    }
}

impl<'f> Text<'f> {
    pub(super) fn new(of: &'f Term) -> Self {
        let only = match of {
            // An event's type is not here: it can be a word that the table does not have.
            Term::Field(field @ (Field::Source | Field::State | Field::EventSource)) => {
                field.spec().values.map(<[_]>::to_vec)
            }
            _ => None,
        };
        Self { of, only, never: Vec::new(), asks: Vec::new() }
    }

    /// Says how many comparisons it took.
    pub(super) fn only(&mut self, values: Vec<&'f str>) -> usize {
        match &mut self.only {
            Some(known) => {
                known.retain(|value| values.contains(value));
                1 + known.len() * values.len() / 8
            }
            None => {
                self.only = Some(values);
                1
            }
        }
    }

    pub(super) fn never(&mut self, value: &'f str) {
        self.never.push(value);
    }

    /// What it takes to look at it.
    pub(super) fn size(&self) -> usize {
        let tests = self.never.len() / 8 + self.asks.len();
        1 + tests * self.only.as_ref().map_or(self.asks.len(), Vec::len)
    }

    /// Every value that it can have, where these are few.
    pub(super) fn values(&self) -> Option<Vec<&'f str>> {
        let can_be = |value: &&str| {
            !self.never.contains(value)
                && self.asks.iter().all(|(ask, holds)| ask.is_true_of(value) == *holds)
        };
        self.only.as_ref().map(|only| only.iter().copied().filter(|value| can_be(value)).collect())
    }

    /// Nothing is said of it but what it is not, and what can be asked of it.
    pub(super) fn can_be_anything(&self) -> bool {
        self.only.is_none() && self.asks.len() <= MAX_ASKS
    }

    /// Whether it has few values, and all of them are such.
    pub(super) fn is_among(&self, is_such: impl Fn(&str) -> bool) -> bool {
        self.values().is_some_and(|values| values.into_iter().all(is_such))
    }

    /// Whether one thing more cannot be so, of a text that can be anything.
    pub(super) fn excludes(&self, one: (Ask<'_>, bool)) -> bool {
        never_holds(one) || self.asks.iter().any(|other| exclude(one, *other))
    }

    pub(super) fn can_be_something(&self) -> bool {
        match self.values() {
            Some(values) => !values.is_empty(),
            None if self.asks.len() > MAX_ASKS => true,
            None => {
                let asks = self.asks.iter().enumerate();
                asks.clone().all(|(place, one)| {
                    !never_holds(*one) && self.asks[..place].iter().all(|other| !exclude(*one, *other))
                })
            }
        }
    }
}

/// Whether this is so of no text.
fn never_holds((ask, holds): (Ask<'_>, bool)) -> bool {
    matches!(ask, Ask::Part(_, "") if !holds) || matches!(ask, Ask::Order(Comparison::Less, "") if holds)
}

/// Whether no text can be both.
fn exclude(one: (Ask<'_>, bool), other: (Ask<'_>, bool)) -> bool {
    use Method::{Contains, EndsWith, StartsWith};
    match (one, other) {
        ((Ask::Part(StartsWith, a), true), (Ask::Part(StartsWith, b), true)) => {
            !a.starts_with(b) && !b.starts_with(a)
        }
        ((Ask::Part(EndsWith, a), true), (Ask::Part(EndsWith, b), true)) => {
            !a.ends_with(b) && !b.ends_with(a)
        }
        ((Ask::Part(known, has), true), (Ask::Part(asked, hasnt), false))
        | ((Ask::Part(asked, hasnt), false), (Ask::Part(known, has), true)) => match (known, asked) {
            (_, Contains) => has.contains(hasnt),
            (StartsWith, StartsWith) => has.starts_with(hasnt),
            (EndsWith, EndsWith) => has.ends_with(hasnt),
            _ => false,
        },
        ((Ask::Pattern(a), a_holds), (Ask::Pattern(b), b_holds)) => {
            // Of one text: whether case counts is the same for both.
            a_holds != b_holds && a.text() == b.text()
        }
        ((Ask::Order(a_op, a), a_holds), (Ask::Order(b_op, b), b_holds)) => {
            let a_op = if a_holds { a_op } else { a_op.negated() };
            let b_op = if b_holds { b_op } else { b_op.negated() };
            let (above, below) = match (is_upper(a_op), is_upper(b_op)) {
                (Some(true), Some(false)) => ((b_op, b), (a_op, a)),
                (Some(false), Some(true)) => ((a_op, a), (b_op, b)),
                _ => return false,
            };
            let strict = above.0 == Comparison::Greater || below.0 == Comparison::Less;
            above.1 > below.1 || (strict && above.1 == below.1)
        }
        _ => false,
    }
}

/// Whether a comparison says that a text is at most the other (false: at least).
fn is_upper(op: Comparison) -> Option<bool> {
    match op {
        Comparison::Less | Comparison::LessOrEqual => Some(true),
        Comparison::Greater | Comparison::GreaterOrEqual => Some(false),
        _ => None,
    }
}
