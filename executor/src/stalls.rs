//! Actions that should have been attempted, or have ended, and did not.
//!
//! A parked retry is attempted when its instant has come, and no attempt, once it has its permit, takes as long as the time to
//! give up: each of its calls is bounded. One that is overdue by more than [`STALLED_AFTER`] was forgotten by somebody. It is logged and
//! counted once, until it ends or is parked anew. Likewise what is deferred while its target has room.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Overdue;
use serde::Serialize;

/// By how much a retry may be overdue, and an attempt may outlast the time to give up. The loop comes round every second; a step
/// on a slow log takes some.
pub const STALLED_AFTER: TimeDelta = TimeDelta::seconds(60);
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

/// Those that were due more than `bound` before `now`.
pub(crate) fn overdue(
    due: impl IntoIterator<Item = Due>,
    now: DateTime<Utc>,
    bound: TimeDelta,
) -> Overdue<Due> {
    let limit = now - bound;
    due.into_iter().filter(|(at, ..)| *at < limit).collect()
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
            let Overdue { count, named } = overdue(parked.clone(), at(now), STALLED_AFTER);
            let named: Vec<_> = named.iter().map(|(.., id)| &**id).collect();
            assert_eq!((count, &named[..]), (ids.len(), ids), "{now}");
        }
    }

    #[test]
    fn what_is_parked_anew_is_news_again() {
        let mut auditor = eventlog::Auditor::default();
        let mut news = |parked: &[Due], now| {
            auditor.news(overdue(parked.iter().cloned(), at(now), STALLED_AFTER).named).len()
        };
        let first = [due(10, "a-1")];
        assert_eq!([news(&first, 100), news(&first, 110)], [1, 0]);
        assert_eq!([news(&[due(200, "a-1")], 130), news(&[due(200, "a-1")], 300)], [0, 1]);
    }
}
