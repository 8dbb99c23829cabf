//! What is known of a number.

use crate::condition::{
    expr::{Comparison, Term},
    field::Field,
};

/// What a number is, unless it is null.
#[derive(Debug, Clone)]
pub(super) struct Number<'f> {
    pub(super) of: &'f Term,
    least: i64,
    most: i64,
    only: Option<Vec<i64>>,
    never: Vec<i64>,
}

impl<'f> Number<'f> {
    pub(super) fn new(of: &'f Term) -> Self {
        let least = match of {
            Term::Length(_) | Term::Size(_) | Term::Field(Field::Number) => 0,
            _ => i64::MIN,
        };
        Self { of, least, most: i64::MAX, only: None, never: Vec::new() }
    }

    pub(super) fn compare(&mut self, op: Comparison, n: i64) {
        match op {
            Comparison::Equal => self.only(vec![n]),
            Comparison::NotEqual => self.never(n),
            Comparison::LessOrEqual => self.most = self.most.min(n),
            Comparison::GreaterOrEqual => self.least = self.least.max(n),
            // Beyond the last number there is none.
            Comparison::Less => match n.checked_sub(1) {
                Some(most) => self.most = self.most.min(most),
                None => self.only = Some(Vec::new()),
            },
            Comparison::Greater => match n.checked_add(1) {
                Some(least) => self.least = self.least.max(least),
                None => self.only = Some(Vec::new()),
            },
        }
    }

    pub(super) fn only(&mut self, numbers: Vec<i64>) {
        match &mut self.only {
            Some(known) => known.retain(|number| numbers.contains(number)),
            None => self.only = Some(numbers),
        }
    }

    pub(super) fn never(&mut self, number: i64) {
        if !self.never.contains(&number) {
            self.never.push(number);
        }
    }

    pub(super) fn can_be(&self, number: i64) -> bool {
        (self.least..=self.most).contains(&number)
            && !self.never.contains(&number)
            && self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    /// Whether it can be any number of at least `least`.
    pub(super) fn can_be_something(&self, least: i64) -> bool {
        let range = self.least.max(least)..=self.most;
        if let Some(only) = &self.only {
            return only.iter().any(|number| *number >= least && self.can_be(*number));
        }
        let count = i128::from(*range.end()) - i128::from(*range.start()) + 1;
        let never = self.never.iter().filter(|number| range.contains(number)).count();
        count > 0 && count > i128::try_from(never).unwrap_or(i128::MAX)
    }
}

pub(super) fn holds(op: Comparison, left: i64, right: i64) -> bool {
    match op {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}
