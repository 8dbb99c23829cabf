//! The earliest start at which everybody can. Pure: nothing of a clock.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::{hours::Hours, quarter};

/// From `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(in crate::targets) struct Period {
    pub(in crate::targets) start: DateTime<Utc>,
    pub(in crate::targets) end: DateTime<Utc>,
}

/// The earliest quarter of an hour, not before `from`, at which something of this length begins that ends by `until`, lies
/// within all `hours`, and meets nothing of `busy`.
pub(super) fn earliest(
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    length: TimeDelta,
    hours: &[&Hours],
    busy: Vec<Period>,
) -> Option<DateTime<Utc>> {
    let busy = joined(busy);
    let mut start = quarter(from)?;
    loop {
        let end = start.checked_add_signed(length).filter(|end| *end <= until)?;
        // Each says before when nothing can begin: at least a minute after `start`, so this comes to an end.
        let obstacles = hours.iter().filter_map(|hours| hours.obstacle(start, end));
        match obstacles.chain(busy_until(&busy, start, end)).max() {
            None => return Some(start),
            Some(then) => start = quarter(then)?,
        }
    }
}

/// In order, none of them empty, no two of them touching.
fn joined(mut busy: Vec<Period>) -> Vec<Period> {
    busy.retain(|period| period.start < period.end);
    busy.sort_unstable();
    busy.dedup_by(|next, before| {
        let touches = next.start <= before.end;
        if touches {
            before.end = before.end.max(next.end);
        }
        touches
    });
    busy
}

/// The end of what is in the way between `start` and `end`.
fn busy_until(busy: &[Period], start: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = busy.get(busy.partition_point(|period| period.end <= start))?;
    (next.start < end).then_some(next.end)
}

#[cfg(test)]
mod tests {
    use chrono::Timelike;
    use proptest::prelude::*;

    use super::*;

    /// Minute by minute, and each by what the zone's clocks show then.
    fn by_force(
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        minutes: i64,
        hours: &[Hours],
        busy: &[Period],
    ) -> Option<DateTime<Utc>> {
        let can = |at: DateTime<Utc>| {
            let next = at + TimeDelta::minutes(1);
            let free = busy.iter().all(|p| p.start >= p.end || p.end <= at || p.start >= next);
            free && hours.iter().all(|hours| hours.has(at))
        };
        let from_minute = |n: i64| from + TimeDelta::minutes(n);
        let starts = (0..(until - from).num_minutes()).map(from_minute);
        let mut starts = starts.filter(|at| at.minute() % 15 == 0);
        starts.find(|start| {
            *start + TimeDelta::minutes(minutes) <= until
                && (0..minutes).all(|n| can(*start + TimeDelta::minutes(n)))
        })
    }

    /// Days around which clocks are changed, some of them on working days, some at midnight, some by half an hour.
    const DAYS: [&str; 9] = [
        "2026-03-27T00:00:00Z", // Berlin, Saturday night
        "2026-10-23T00:00:00Z", // Berlin, back
        "2026-04-23T00:00:00Z", // Cairo, Friday at midnight
        "2026-10-28T00:00:00Z", // Cairo, back, Thursday at midnight
        "2026-04-02T00:00:00Z", // Lord Howe, half an hour
        "2026-03-06T00:00:00Z", // New York
        "2026-09-03T00:00:00Z", // Santiago, at midnight
        "2011-12-28T00:00:00Z", // Apia leaves out a Friday
        "2026-06-10T00:00:00Z",
    ];

    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Berlin",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "America/New_York",
        "America/Santiago",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Pacific/Chatham",
    ];

    fn hours() -> impl Strategy<Value = Hours> {
        let span = prop_oneof![
            3 => Just((9 * 60, 17 * 60 + 30)),
            1 => Just((0, 24 * 60)),
            2 => (0i64..1439, 1i64..1440).prop_map(|(opens, long)| (opens, (opens + long).min(1440))),
        ];
        (prop::sample::select(ZONES.to_vec()), span).prop_map(|(zone, (opens, closes))| {
            let text = format!("{}:{:02}-{}:{:02}", opens / 60, opens % 60, closes / 60, closes % 60);
            Hours::read(&text, Some(zone)).expect("hours")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        #[test]
        fn it_is_the_one_that_a_search_of_every_minute_finds(
            day in prop::sample::select(DAYS.to_vec()),
            begins in 0i64..2000,
            horizon in 0i64..5000,
            minutes in prop_oneof![Just(15i64), Just(30), 1i64..300],
            hours in prop::collection::vec(hours(), 0..4),
            busy in prop::collection::vec((-300i64..300_000, -50i64..40_000), 0..30),
        ) {
            let day: DateTime<Utc> = day.parse().expect("an instant");
            let from = day + TimeDelta::minutes(begins);
            let until = from + TimeDelta::minutes(horizon);
            // In seconds: what others book does not begin at full minutes.
            let busy: Vec<Period> = busy
                .into_iter()
                .map(|(start, long)| {
                    let start = day + TimeDelta::seconds(start);
                    Period { start, end: start + TimeDelta::seconds(long) }
                })
                .collect();
            let expected = by_force(from, until, minutes, &hours, &busy);
            let all: Vec<&Hours> = hours.iter().collect();
            prop_assert_eq!(earliest(from, until, TimeDelta::minutes(minutes), &all, busy), expected);
        }
    }

    #[test]
    fn what_touches_is_no_obstacle() {
        let at = |text: &str| -> DateTime<Utc> { format!("2026-03-02T{text}Z").parse().expect("an instant") };
        let period = |start: &str, end: &str| Period { start: at(start), end: at(end) };
        let found =
            |busy: Vec<Period>| earliest(at("10:15:00"), at("12:00:00"), TimeDelta::minutes(15), &[], busy);
        assert_eq!(
            found(vec![period("09:00:00", "10:15:00"), period("10:30:00", "11:00:00")]),
            Some(at("10:15:00"))
        );
        assert_eq!(found(vec![period("10:29:59", "10:45:01")]), Some(at("11:00:00")));
        assert_eq!(
            found(vec![period("10:00:00", "10:45:00"), period("10:20:00", "10:21:00")]),
            Some(at("10:45:00"))
        );
        assert_eq!(found(vec![period("10:20:00", "11:45:01")]), None);
        assert_eq!(found(vec![period("10:20:00", "11:45:00")]), Some(at("11:45:00")));
        assert_eq!(
            found(vec![period("10:20:00", "10:20:00"), period("11:00:00", "10:00:00")]),
            Some(at("10:15:00"))
        );
    }
}
