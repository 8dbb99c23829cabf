//! A condition as it is after loading: typed, and made of nothing but what [`super::eval`] can evaluate.
//!
//! ```text
//!   Formula   true, false or an error      a && b, !a, c ? a : b, list.exists(x, a), or a test
//!   Test      what a formula is made of    a == b, a in list, a.startsWith(b), a.matches("…"), list == null
//!   Term      a value, or null             issue.title, "text", now - issue.created_at, size(issue.labels)
//! ```
//!
//! What compares without regard to case is in lower case here: literals were brought to it when the condition was loaded, fields
//! are when they are read, and other fields and elements stand in a [`Term::Lower`].

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use super::{field::Field, pattern::Pattern};

/// True, false or an error.
#[derive(Debug, Clone)]
pub(crate) struct Formula {
    pub(crate) logic: Logic,
    /// Where it stands, in bytes of the condition's text.
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) enum Logic {
    Always(bool),
    Not(Box<Formula>),
    /// `&&`, of two or more.
    And(Vec<Formula>),
    /// `||`, of two or more.
    Or(Vec<Formula>),
    /// `condition ? then : otherwise`.
    If(Box<[Formula; 3]>),
    /// `list.exists(x, body)` or `list.all(x, body)`.
    Each {
        quantifier: Quantifier,
        list: List,
        body: Box<Formula>,
    },
    Test(Test),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Exists,
    All,
}

/// What a formula is made of: a leaf.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Operands of one type, null besides.
    Compare { op: Comparison, left: Term, right: Term },
    /// A field that is true or false.
    Flag(Field),
    /// `list == null` (`null: true`) or `list != null`.
    ListIsNull { list: Field, null: bool },
    /// `term in list`.
    In { term: Term, list: List },
    /// `text.startsWith(part)` and the like.
    Text { method: Method, text: Term, part: Term },
    /// `text.matches("pattern")`: the pattern is found somewhere in the text.
    Matches { text: Term, pattern: Arc<Pattern> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    StartsWith,
    EndsWith,
    Contains,
}

/// A value, or null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Term {
    /// A field that is no list.
    Field(Field),
    /// The variable of an enclosing `exists` or `all`: of the innermost (0), of the one around it (1), and so on.
    Element(usize),
    Now,
    Null,
    Text(Box<str>),
    Int(i64),
    Time(DateTime<Utc>),
    Duration(TimeDelta),
    /// Times and durations: `left + right`, or `left - right`.
    Sum {
        left: Box<Self>,
        right: Box<Self>,
        minus: bool,
    },
    /// How many characters.
    Length(Box<Self>),
    /// How many elements.
    Size(List),
    /// `condition ? then : otherwise`.
    If(Box<(Formula, Self, Self)>),
    /// A field or an element that is a text, in lower case.
    Lower(Box<Self>),
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum List {
    /// A field that is a list.
    Field(Field),
    Of(Vec<Term>),
}

// Two formulas are the same when they say the same, wherever they stand.
impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        self.logic == other.logic
    }
}

impl PartialEq for Logic {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Always(a), Self::Always(b)) => a == b,
            (Self::Not(a), Self::Not(b)) => a == b,
            (Self::And(a), Self::And(b)) | (Self::Or(a), Self::Or(b)) => a == b,
            (Self::If(a), Self::If(b)) => a == b,
            (
                Self::Each { quantifier: a, list: a_list, body: a_body },
                Self::Each { quantifier: b, list: b_list, body: b_body },
            ) => a == b && a_list == b_list && a_body == b_body,
            (Self::Test(a), Self::Test(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Compare { op: a, left: a_left, right: a_right },
                Self::Compare { op: b, left: b_left, right: b_right },
            ) => a == b && a_left == b_left && a_right == b_right,
            (Self::Flag(a), Self::Flag(b)) => a == b,
            (Self::ListIsNull { list: a, null: a_null }, Self::ListIsNull { list: b, null: b_null }) => {
                a == b && a_null == b_null
            }
            (Self::In { term: a, list: a_list }, Self::In { term: b, list: b_list }) => {
                a == b && a_list == b_list
            }
            (
                Self::Text { method: a, text: a_text, part: a_part },
                Self::Text { method: b, text: b_text, part: b_part },
            ) => a == b && a_text == b_text && a_part == b_part,
            (
                Self::Matches { text: a, pattern: a_pattern },
                Self::Matches { text: b, pattern: b_pattern },
            ) => a == b && a_pattern.text() == b_pattern.text(),
            _ => false,
        }
    }
}

impl Comparison {
    /// As it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The comparison that holds when its operands are exchanged.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// The comparison that is false where this one is true, and true where it is false.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }
}

impl Formula {
    /// Calls `visit` for this formula and every formula in it, outermost first; also those that stand in terms.
    pub(crate) fn visit<'f>(&'f self, visit: &mut impl FnMut(&'f Self)) {
        visit(self);
        match &self.logic {
            Logic::Always(_) => {}
            Logic::Not(inner) => inner.visit(visit),
            Logic::And(parts) | Logic::Or(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Logic::If(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Logic::Each { list, body, .. } => {
                list.visit(visit);
                body.visit(visit);
            }
            Logic::Test(test) => match test {
                Test::Compare { left, right, .. } => {
                    left.visit(visit);
                    right.visit(visit);
                }
                Test::Flag(_) | Test::ListIsNull { .. } => {}
                Test::In { term, list } => {
                    term.visit(visit);
                    list.visit(visit);
                }
                Test::Text { text, part, .. } => {
                    text.visit(visit);
                    part.visit(visit);
                }
                Test::Matches { text, .. } => text.visit(visit),
            },
        }
    }
}

impl Formula {
    /// Says of this formula and every formula in it that it stands so many bytes further on.
    pub(super) fn move_by(&mut self, bytes: usize) {
        self.span = self.span.start + bytes..self.span.end + bytes;
        match &mut self.logic {
            Logic::Always(_) => {}
            Logic::Not(inner) => inner.move_by(bytes),
            Logic::And(parts) | Logic::Or(parts) => parts.iter_mut().for_each(|part| part.move_by(bytes)),
            Logic::If(parts) => parts.iter_mut().for_each(|part| part.move_by(bytes)),
            Logic::Each { list, body, .. } => {
                list.move_by(bytes);
                body.move_by(bytes);
            }
            Logic::Test(test) => match test {
                Test::Compare { left, right, .. } => {
                    left.move_by(bytes);
                    right.move_by(bytes);
                }
                Test::Flag(_) | Test::ListIsNull { .. } => {}
                Test::In { term, list } => {
                    term.move_by(bytes);
                    list.move_by(bytes);
                }
                Test::Text { text, part, .. } => {
                    text.move_by(bytes);
                    part.move_by(bytes);
                }
                Test::Matches { text, .. } => text.move_by(bytes),
            },
        }
    }
}

impl Term {
    fn move_by(&mut self, bytes: usize) {
        match self {
            Self::If(parts) => {
                let (condition, then, otherwise) = &mut **parts;
                condition.move_by(bytes);
                then.move_by(bytes);
                otherwise.move_by(bytes);
            }
            Self::Sum { left, right, .. } => {
                left.move_by(bytes);
                right.move_by(bytes);
            }
            Self::Length(inner) | Self::Lower(inner) => inner.move_by(bytes),
            Self::Size(list) => list.move_by(bytes),
            _ => {}
        }
    }

    fn visit<'f>(&'f self, visit: &mut impl FnMut(&'f Formula)) {
        match self {
            Self::If(parts) => {
                parts.0.visit(visit);
                parts.1.visit(visit);
                parts.2.visit(visit);
            }
            Self::Sum { left, right, .. } => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Length(inner) | Self::Lower(inner) => inner.visit(visit),
            Self::Size(list) => list.visit(visit),
            _ => {}
        }
    }
}

impl List {
    fn move_by(&mut self, bytes: usize) {
        if let Self::Of(terms) = self {
            terms.iter_mut().for_each(|term| term.move_by(bytes));
        }
    }

    fn visit<'f>(&'f self, visit: &mut impl FnMut(&'f Formula)) {
        if let Self::Of(terms) = self {
            terms.iter().for_each(|term| term.visit(visit));
        }
    }
}
