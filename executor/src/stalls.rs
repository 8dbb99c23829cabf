//! Actions that should have been attempted, or have ended, and did not.
//!
//! A parked retry is attempted when its instant has come, and no attempt, once it has its permit, takes as long as the time to
//! give up: each of its calls is bounded. One that is overdue by more than [`STALLED_AFTER`] was forgotten by somebody. It is logged and
//! counted once, until it ends or is parked anew.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// By how much a retry may be overdue, and an attempt may outlast the time to give up. The loop comes round every second; a step
/// on a slow log takes some.
pub const STALLED_AFTER: TimeDelta = TimeDelta::seconds(60);
/// How often it is looked.
const AUDIT_EVERY: TimeDelta = TimeDelta::seconds(10);
/// How many of them are named; the others are counted.
const MAX_NAMED: usize = 1_000;

/// What is overdue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// How many actions.
    pub actions: usize,
    /// When the first of them was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Its partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
}

/// An action of a partition that is held: when it is due (to be attempted, or to have ended), its partition, its id.
pub(crate) type Due = (DateTime<Utc>, u32, Arc<str>);

/// Those that were due more than `bound` before `now`: how many, and their first, in order.
pub(crate) fn overdue(
    due: impl IntoIterator<Item = Due>,
    now: DateTime<Utc>,
    bound: TimeDelta,
) -> (usize, BTreeSet<Due>) {
    let limit = now - bound;
    let (mut count, mut named) = (0, BTreeSet::new());
    for due in due.into_iter().filter(|(at, ..)| *at < limit) {
        count += 1;
        named.insert(due);
        if named.len() > MAX_NAMED {
            named.pop_last();
        }
    }
    (count, named)
}

/// Remembers what was noted.
#[derive(Default)]
pub(crate) struct Auditor {
    looked_at: Option<DateTime<Utc>>,
    noted: BTreeSet<Due>,
}

impl Auditor {
    /// Whether it is time to look again, whichever way the clock was turned.
    pub(crate) fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        let is_due = self.looked_at.is_none_or(|at| (now - at).abs() >= AUDIT_EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Those that were not overdue when it last looked.
    pub(crate) fn news(&mut self, overdue: BTreeSet<Due>) -> Vec<Due> {
        let news = overdue.difference(&self.noted).cloned().collect();
        self.noted = overdue;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn due(seconds: i64, id: &str) -> Due {
        (at(seconds), 3, id.into())
    }

    #[test]
    fn only_what_is_late_by_more_than_the_bound_is_overdue() {
        let parked = [due(100, "a-2"), due(10, "a-1"), due(500, "a-3")];
        for (now, ids) in [(70, &[][..]), (71, &["a-1"]), (160, &["a-1"]), (161, &["a-1", "a-2"])] {
            let (count, named) = overdue(parked.clone(), at(now), STALLED_AFTER);
            let named: Vec<_> = named.iter().map(|(.., id)| &**id).collect();
            assert_eq!((count, &named[..]), (ids.len(), ids), "{now}");
        }
    }

    #[test]
    fn each_is_told_once_until_it_is_parked_anew() {
        let mut auditor = Auditor::default();
        let mut news = |parked: &[Due], now| {
            let (_, named) = overdue(parked.iter().cloned(), at(now), STALLED_AFTER);
            auditor.news(named).len()
        };
        let first = [due(10, "a-1")];
        assert_eq!([news(&first, 100), news(&first, 110)], [1, 0]);
        assert_eq!(news(&[due(10, "a-1"), due(20, "a-2")], 120), 1);
        assert_eq!(news(&[due(200, "a-1")], 130), 0, "parked anew");
        assert_eq!(news(&[due(200, "a-1")], 300), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_count_is_not() {
        let many = (0..5_000).rev().map(|n| due(n, &format!("a-{n}")));
        let (count, named) = overdue(many, at(100_000), STALLED_AFTER);
        assert_eq!((count, named.len()), (5_000, MAX_NAMED));
        assert_eq!(named.last().map(|(at, ..)| *at), Some(at(999)), "the oldest are named");
    }
}
