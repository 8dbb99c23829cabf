//! Evaluation: three-valued, as CEL has it.
//!
//! | | with an error |
//! |---|---|
//! | `a && b` | false when either is false, else an error |
//! | `a \|\| b` | true when either is true, else an error |
//! | `!a`, `c ? a : b` | an error where `a` is one, where `c` is one |
//! | `exists`, `all` | as `\|\|` and `&&` over the elements |
//!
//! Errors come from null where a value is needed (an order, `in` a list, a function), from times outside the years 1 to
//! 9999, and from durations of more than 292 years. `==` and `!=` never fail on null.

use std::cell::OnceCell;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use smallvec::SmallVec;

use super::{
    expr::{Comparison, Formula, List, Logic, Method, Quantifier, Term, Test},
    field::{Field, Type},
    view::{View, lower},
};

/// Why an evaluation gives no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvalError {
    /// Null where a value is needed.
    Null,
    /// A time or a duration beyond what one can be.
    Range,
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null where a value is needed",
            Self::Range => "a time outside the years 1 to 9999, or a duration of more than 292 years",
        })
    }
}

/// What a term is.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Value<'v> {
    Null,
    Text(&'v str),
    Int(i64),
    Time(DateTime<Utc>),
    Duration(TimeDelta),
}

/// The view, and the elements that the variables of `exists` and `all` stand for, innermost first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'v, 'a> {
    view: &'v View<'a>,
    element: Option<&'v Bound<'v>>,
}

#[derive(Debug)]
struct Bound<'v> {
    value: Value<'v>,
    origin: Option<Origin>,
    /// Of what the view does not know in lower case, that: made when it is first asked for.
    lower: OnceCell<Box<str>>,
    outer: Option<&'v Self>,
}

/// Where an element comes from that the view knows, in lower case too.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The field that the list is, and which of its members.
    Member(Field, usize),
    /// A field that stands in a list that is written out.
    Field(Field),
}

impl<'v, 'a> Scope<'v, 'a> {
    pub(crate) fn new(view: &'v View<'a>) -> Self {
        Self { view, element: None }
    }

    /// Calls `each` for the elements of a list until it says that it has heard enough.
    pub(crate) fn for_each(
        self,
        list: &'v List,
        mut each: impl FnMut(Scope<'_, 'a>, &Value<'_>) -> Result<bool, EvalError>,
    ) -> Result<(), EvalError> {
        let mut enough = |value: Value<'_>, origin| {
            let bound = Bound { value, origin, lower: OnceCell::new(), outer: self.element };
            each(Scope { view: self.view, element: Some(&bound) }, &bound.value)
        };
        match list {
            List::Field(field) => {
                for (place, word) in self.view.list(*field).ok_or(EvalError::Null)?.iter().enumerate() {
                    if enough(Value::Text(word), Some(Origin::Member(*field, place)))? {
                        break;
                    }
                }
            }
            List::Of(terms) => {
                // An element that cannot be said makes the whole list unsayable.
                let values =
                    terms.iter().map(|term| self.term(term)).collect::<Result<SmallVec<[_; 8]>, _>>()?;
                for (value, term) in values.into_iter().zip(terms) {
                    if enough(value, self.origin(term))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn origin(self, term: &Term) -> Option<Origin> {
        match term {
            Term::Field(field) => Some(Origin::Field(*field)),
            Term::Element(out) => self.bound(*out)?.origin,
            _ => None,
        }
    }

    /// Whether a formula holds.
    pub(crate) fn formula(self, formula: &'v Formula) -> Result<bool, EvalError> {
        match &formula.logic {
            Logic::Test(test) => self.test(test),
            Logic::And(parts) => self.join(parts, false),
            Logic::Or(parts) => self.join(parts, true),
            Logic::Not(inner) => self.formula(inner).map(|holds| !holds),
            other => self.rare_logic(other),
        }
    }

    /// `&&` (decisive: false) or `||` (decisive: true).
    fn join(self, parts: &'v [Formula], decisive: bool) -> Result<bool, EvalError> {
        let mut verdict = Ok(!decisive);
        for part in parts {
            let part = match &part.logic {
                Logic::Test(test) => self.test(test),
                _ => self.formula(part),
            };
            match part {
                Ok(holds) if holds == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(error) => verdict = verdict.and(Err(error)),
            }
        }
        verdict
    }

    // By themselves, so that what most conditions are made of stays small.
    #[inline(never)]
    fn rare_logic(self, logic: &'v Logic) -> Result<bool, EvalError> {
        match logic {
            Logic::Always(always) => Ok(*always),
            Logic::Not(inner) => self.formula(inner).map(|holds| !holds),
            Logic::And(parts) => self.join(parts, false),
            Logic::Or(parts) => self.join(parts, true),
            Logic::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                self.formula(if self.formula(condition)? { then } else { otherwise })
            }
            Logic::Each { quantifier, list, body } => {
                let decisive = *quantifier == Quantifier::Exists;
                let mut verdict = Ok(!decisive);
                self.for_each(list, |scope, _| {
                    match scope.formula(body) {
                        Ok(holds) if holds == decisive => verdict = Ok(decisive),
                        Ok(_) => {}
                        Err(error) => verdict = verdict.and(Err(error)),
                    }
                    Ok(verdict == Ok(decisive))
                })?;
                verdict
            }
            Logic::Test(test) => self.test(test),
        }
    }

    #[inline]
    fn test(self, test: &'v Test) -> Result<bool, EvalError> {
        match test {
            // What most conditions are made of, without a detour through values.
            Test::Compare {
                op: op @ (Comparison::Equal | Comparison::NotEqual),
                left: Term::Field(field),
                right: Term::Text(text),
            } => Ok((self.view.text(*field) == Some(text)) == (*op == Comparison::Equal)),
            Test::In { term: Term::Text(text), list: List::Field(field) } => {
                let words = self.view.list(*field).ok_or(EvalError::Null)?;
                Ok(words.iter().any(|word| **word == **text))
            }
            Test::Text { method, text: Term::Field(field), part: Term::Text(part) } => {
                Ok(method.holds(self.view.text(*field).ok_or(EvalError::Null)?, part))
            }
            other => self.rare_test(other),
        }
    }

    #[inline(never)]
    fn rare_test(self, test: &'v Test) -> Result<bool, EvalError> {
        match test {
            // How old something is, how long until it is due: `field < now - duration`.
            Test::Compare { op, left: Term::Field(field), right: Term::Sum { left, right, minus } }
                if op.is_order()
                    && let (Term::Now, Term::Duration(duration)) = (&**left, &**right)
                    && let Some(time) = self.view.time(*field)
                    && is_plain(time)
                    && is_plain(self.view.now())
                    && MANY_YEARS > duration.abs() =>
            {
                let since = time.signed_duration_since(self.view.now());
                Ok(op.holds(&since, if *minus { -*duration } else { *duration }))
            }
            Test::Compare { op, left: Term::Size(List::Field(field)), right: Term::Int(number) } => {
                let size = self.view.list(*field).ok_or(EvalError::Null)?.len();
                Ok(op.holds(&i64::try_from(size).unwrap_or(i64::MAX), *number))
            }
            Test::Compare { op, left, right } => compare(*op, &self.term(left)?, &self.term(right)?),
            Test::Flag(field) => Ok(self.view.flag(*field)),
            Test::ListIsNull { list, null } => Ok(self.view.list(*list).is_none() == *null),
            Test::In { term, list } => self.is_in(term, list),
            Test::Text { method, text, part } => Ok(method.holds(self.text(text)?, self.text(part)?)),
            Test::Matches { text, pattern } => Ok(pattern.is_match(self.text(text)?)),
        }
    }

    fn is_in(self, term: &'v Term, list: &'v List) -> Result<bool, EvalError> {
        match list {
            List::Field(field) => {
                let value = self.term(term)?;
                let words = self.view.list(*field).ok_or(EvalError::Null)?;
                Ok(match value {
                    Value::Text(text) => words.iter().any(|word| **word == *text),
                    _ => false,
                })
            }
            List::Of(terms) => {
                let value = self.term(term)?;
                let mut found = false;
                for term in terms {
                    // To the end: an element that cannot be said makes the whole list unsayable.
                    found |= match (term, &value) {
                        (Term::Text(text), Value::Text(value)) => **text == **value,
                        _ => self.term(term)? == value,
                    };
                }
                Ok(found)
            }
        }
    }

    /// What a term is.
    pub(crate) fn term(self, term: &'v Term) -> Result<Value<'v>, EvalError> {
        Ok(match term {
            Term::Field(field) => {
                let value = match field.spec().value_type {
                    Type::Text => self.view.text(*field).map(Value::Text),
                    Type::Int => self.view.int(*field).map(Value::Int),
                    Type::Time => self.view.time(*field).map(Value::Time),
                    // No field is a duration, and one that is true or false is no term.
                    Type::Duration | Type::Bool => None,
                };
                value.unwrap_or(Value::Null)
            }
            Term::Element(out) => self.element(*out),
            Term::Now => Value::Time(self.view.now()),
            Term::Null => Value::Null,
            Term::Text(text) => Value::Text(text),
            Term::Int(number) => Value::Int(*number),
            Term::Time(time) => Value::Time(*time),
            Term::Duration(duration) => Value::Duration(*duration),
            Term::Sum { left, right, minus } => sum(&self.term(left)?, &self.term(right)?, *minus)?,
            Term::Length(text) => {
                let text = self.text(text)?;
                Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
            }
            Term::Size(List::Field(field)) => {
                let size = self.view.list(*field).ok_or(EvalError::Null)?.len();
                Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
            }
            Term::Size(list) => {
                let mut size = 0;
                self.for_each(list, |_, _| {
                    size += 1;
                    Ok(false)
                })?;
                Value::Int(size)
            }
            Term::If(parts) => {
                let (condition, then, otherwise) = &**parts;
                self.term(if self.formula(condition)? { then } else { otherwise })?
            }
            Term::Lower(inner) => match &**inner {
                Term::Field(field) => self.view.lower_text(*field).map_or(Value::Null, Value::Text),
                Term::Element(out) => self.lower_element(*out),
                // Loading leaves it before nothing else.
                other => self.term(other)?,
            },
        })
    }

    fn bound(self, out: usize) -> Option<&'v Bound<'v>> {
        let mut bound = self.element;
        for _ in 0..out {
            bound = bound.and_then(|bound| bound.outer);
        }
        bound
    }

    fn element(self, out: usize) -> Value<'v> {
        // Loading bound every variable.
        self.bound(out).map_or(Value::Null, |bound| bound.value)
    }

    fn lower_element(self, out: usize) -> Value<'v> {
        let Some(bound) = self.bound(out) else { return Value::Null };
        match (bound.value, bound.origin) {
            (Value::Text(text), Some(Origin::Member(field, place))) => {
                let words = self.view.lower_list(field).unwrap_or_default();
                Value::Text(words.get(place).map_or(text, |word| word))
            }
            (Value::Text(text), Some(Origin::Field(field))) => {
                Value::Text(self.view.lower_text(field).unwrap_or(text))
            }
            (Value::Text(text), None) => Value::Text(bound.lower.get_or_init(|| lower(text).into())),
            (other, _) => other,
        }
    }

    fn text(self, term: &'v Term) -> Result<&'v str, EvalError> {
        match self.term(term)? {
            Value::Text(text) => Ok(text),
            _ => Err(EvalError::Null),
        }
    }
}

impl Method {
    fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}

/// `&&` (decisive: false) or `||` (decisive: true).
pub(crate) fn join(
    parts: impl Iterator<Item = Result<bool, EvalError>>,
    decisive: bool,
) -> Result<bool, EvalError> {
    let mut verdict = Ok(!decisive);
    for part in parts {
        match part {
            Ok(holds) if holds == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(error) => verdict = verdict.and(Err(error)),
        }
    }
    verdict
}

fn compare(op: Comparison, left: &Value<'_>, right: &Value<'_>) -> Result<bool, EvalError> {
    if op.is_order() && (matches!(left, Value::Null) || matches!(right, Value::Null)) {
        return Err(EvalError::Null);
    }
    Ok(op.holds(left, right))
}

/// What can be added to a plain time.
const MANY_YEARS: TimeDelta = TimeDelta::days(100_000);

/// Whether it is far from the ends of the calendar, and no leap second.
fn is_plain(time: DateTime<Utc>) -> bool {
    (1000..9000).contains(&time.year()) && time.timestamp_subsec_nanos() < 1_000_000_000
}

impl Comparison {
    fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    fn holds<T: PartialOrd>(self, left: &T, right: impl std::borrow::Borrow<T>) -> bool {
        let right = right.borrow();
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

fn sum<'v>(left: &Value<'_>, right: &Value<'_>, minus: bool) -> Result<Value<'v>, EvalError> {
    let time = |time: Option<DateTime<Utc>>| {
        time.filter(|time| (1..=9999).contains(&time.year())).map(Value::Time).ok_or(EvalError::Range)
    };
    // CEL's durations are what 64 bits of nanoseconds hold.
    let duration = |duration: Option<TimeDelta>| {
        let within = duration.filter(|duration| duration.num_nanoseconds().is_some());
        within.map(Value::Duration).ok_or(EvalError::Range)
    };
    match (left, right) {
        (Value::Time(at), Value::Duration(by)) if minus => time(at.checked_sub_signed(*by)),
        (Value::Time(at), Value::Duration(by)) | (Value::Duration(by), Value::Time(at)) => {
            time(at.checked_add_signed(*by))
        }
        (Value::Time(a), Value::Time(b)) => duration(Some(a.signed_duration_since(*b))),
        (Value::Duration(a), Value::Duration(b)) => {
            duration(if minus { a.checked_sub(b) } else { a.checked_add(b) })
        }
        _ => Err(EvalError::Null),
    }
}
