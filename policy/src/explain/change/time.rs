//! Tests over times, solved for one of the times that they read.
//!
//! Times and durations are only added and subtracted, so the two sides of a comparison differ by a sum of fields, each some whole number
//! of times, and a constant.

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use crate::{
    condition::{
        eval::{Scope, Value},
        expr::{Comparison, Term},
        field::Type,
    },
    decide::Sight,
    explain::reads::Read,
};

const NANOS: i128 = 1_000_000_000;

/// A sum of times that are read, and a constant, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    terms: Vec<(Read, i128)>,
    constant: i128,
}

impl Sum {
    fn constant(constant: i128) -> Self {
        Self { terms: Vec::new(), constant }
    }

    /// A term that is a time or a duration; none where it is neither, or cannot be said.
    pub(super) fn of(term: &Term, scope: Scope<'_, '_>) -> Option<Self> {
        Some(match term {
            Term::Field(field) if field.spec().value_type == Type::Time => {
                Self { terms: vec![(Read::Field(*field), 1)], constant: 0 }
            }
            Term::Now => Self { terms: vec![(Read::Now, 1)], constant: 0 },
            Term::Sum { left, right, minus } => {
                Self::of(left, scope)?.plus(Self::of(right, scope)?, if *minus { -1 } else { 1 })
            }
            Term::If(parts) => {
                Self::of(if scope.formula(&parts.0).ok()? { &parts.1 } else { &parts.2 }, scope)?
            }
            other => match scope.term(other).ok()? {
                Value::Time(at) => Self::constant(nanos(at)),
                Value::Duration(by) => Self::constant(nanos_of(by)),
                _ => return None,
            },
        })
    }

    pub(super) fn plus(mut self, other: Self, times: i128) -> Self {
        for (read, count) in other.terms {
            match self.terms.iter_mut().find(|(known, _)| *known == read) {
                Some((_, known)) => *known += count * times,
                None => self.terms.push((read, count * times)),
            }
        }
        self.constant += other.constant * times;
        self
    }

    pub(super) fn reads(&self) -> impl Iterator<Item = Read> {
        self.terms.iter().filter(|(_, count)| *count != 0).map(|(read, _)| *read)
    }

    /// The value of `read` at which the sum is zero, and whether the sum grows with it. None where another time is not known.
    pub(super) fn solve(&self, read: Read, sight: &Sight) -> Option<(DateTime<Utc>, bool)> {
        let mut rest = self.constant;
        let mut own = 0;
        for (other, count) in &self.terms {
            match *other == read {
                true => own = *count,
                false => rest += nanos(value(*other, sight)?) * count,
            }
        }
        Some((instant((-rest).checked_div(own)?)?, own > 0))
    }
}

/// A time that a condition reads.
pub(super) fn value(read: Read, sight: &Sight) -> Option<DateTime<Utc>> {
    match read {
        Read::Now => Some(sight.now),
        Read::Field(field) => sight.view().time(field),
    }
}

/// The value nearest to `at` for which `read OP at` holds, to the second.
pub(super) fn nearest(op: Comparison, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let second = TimeDelta::seconds(1);
    match op {
        Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual => Some(at),
        Comparison::Less => at.checked_sub_signed(second),
        Comparison::Greater | Comparison::NotEqual => at.checked_add_signed(second),
    }
    .filter(|at| is_time(*at))
}

fn is_time(at: DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

fn nanos(at: DateTime<Utc>) -> i128 {
    i128::from(at.timestamp()) * NANOS + i128::from(at.timestamp_subsec_nanos())
}

fn nanos_of(by: TimeDelta) -> i128 {
    i128::from(by.num_seconds()) * NANOS + i128::from(by.subsec_nanos())
}

pub(super) fn instant(nanos: i128) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(nanos.div_euclid(NANOS)).ok()?;
    let rest = u32::try_from(nanos.rem_euclid(NANOS)).ok()?;
    DateTime::from_timestamp(seconds, rest).filter(|at| is_time(*at))
}

/// Halfway.
pub(super) fn between(a: DateTime<Utc>, b: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instant(nanos(a).midpoint(nanos(b)))
}
