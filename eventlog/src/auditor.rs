//! What a role finds overdue among what it holds: counted, the oldest named, each told once.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

/// How often it is looked.
const AUDIT_EVERY: TimeDelta = TimeDelta::seconds(10);
/// How many are named; the others are counted.
const MAX_NAMED: usize = 1_000;

/// What is overdue at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue<T> {
    /// How many.
    pub count: usize,
    /// The first of them in their order, at most a thousand.
    pub named: BTreeSet<T>,
}

impl<T: Ord> FromIterator<T> for Overdue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let (mut count, mut named) = (0, BTreeSet::new());
        for overdue in all {
            count += 1;
            named.insert(overdue);
            if named.len() > MAX_NAMED {
                named.pop_last();
            }
        }
        Self { count, named }
    }
}

/// Remembers when it looked and what it found.
#[derive(Debug)]
pub struct Auditor<T> {
    looked_at: Option<DateTime<Utc>>,
    noted: BTreeSet<T>,
}

impl<T> Default for Auditor<T> {
    fn default() -> Self {
        Self { looked_at: None, noted: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Auditor<T> {
    /// Whether it is time to look again: every ten seconds, whichever way the clock was turned.
    pub fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        let is_due = self.looked_at.is_none_or(|at| (now - at).abs() >= AUDIT_EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Those that were not overdue when it last looked.
    pub fn news(&mut self, overdue: BTreeSet<T>) -> Vec<T> {
        let news = overdue.difference(&self.noted).cloned().collect();
        self.noted = overdue;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_until_it_is_no_longer_overdue() {
        let mut auditor = Auditor::default();
        let mut news = |overdue: &[u32]| auditor.news(overdue.iter().copied().collect());
        assert_eq!([news(&[1]), news(&[1, 2]), news(&[2])], [vec![1], vec![2], vec![]]);
        assert_eq!(news(&[1, 2]), [1], "what had ended is forgotten");
    }

    #[test]
    fn memory_is_bounded_and_the_count_is_not() {
        let Overdue { count, named } = (0..5_000).rev().collect();
        assert_eq!((count, named.len(), named.last()), (5_000, MAX_NAMED, Some(&(MAX_NAMED as u32 - 1))));
    }

    #[test]
    fn it_looks_every_ten_seconds_whichever_way_the_clock_is_turned() {
        let mut auditor = Auditor::<u32>::default();
        let due = [0, 9, 10, 15, 21, 9]
            .map(|second| auditor.is_due(DateTime::UNIX_EPOCH + TimeDelta::seconds(second)));
        assert_eq!(due, [true, false, true, false, true, true]);
    }
}
