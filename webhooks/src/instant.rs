//! Providers' timestamps and dates.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A timestamp as the providers write it. Years outside 1970 to 9999 are nothing that a provider means.
pub(crate) fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    events::provider_instant(text).filter(|at| sensible(at.date_naive()))
}

/// Milliseconds since the epoch.
pub(crate) fn epoch_millis(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).filter(|at| sensible(at.date_naive()))
}

/// A date alone: `2026-01-15`.
pub(crate) fn date(text: &str) -> Option<NaiveDate> {
    (text.len() == 10)
        .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())?
        .filter(|date| sensible(*date))
}

/// A date alone, or the UTC date of a timestamp: GitHub writes 07:00Z or 08:00Z for a date that was chosen in California.
pub(crate) fn date_of(text: &str) -> Option<NaiveDate> {
    date(text).or_else(|| timestamp(text).map(|at| at.date_naive()))
}

/// 23:59:59 of `date` in `zone`. Where the clock strikes that twice, the second; where it is skipped, the last quarter of an
/// hour that is not.
pub(crate) fn end_of_day(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let end = date.and_time(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or(NaiveTime::MIN));
    // 96 quarters of an hour lead back to the day before, for places that skipped a whole day (Samoa, 30 December 2011).
    (0..=96)
        .find_map(|quarters| zone.from_local_datetime(&(end - TimeDelta::minutes(15 * quarters))).latest())
        .map_or_else(|| end.and_utc(), |at| at.with_timezone(&Utc))
}

fn sensible(date: NaiveDate) -> bool {
    // A day of room on either side, so that no time zone leads out of it.
    let (day_before, day_after) = (date.checked_sub_days(Days::new(1)), date.checked_add_days(Days::new(1)));
    day_before.is_some_and(|day| day.year() >= 1970) && day_after.is_some_and(|day| day.year() <= 9999)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2019-02-16T13:15:16.037-0800", "2019-02-16T21:15:16.037Z")]
    #[case("2019-06-04T00:10:21.326+0000", "2019-06-04T00:10:21.326Z")]
    #[case("2026-01-15T09:30:00Z", "2026-01-15T09:30:00Z")]
    #[case("2026-01-15T09:30:00+05:30", "2026-01-15T04:00:00Z")]
    fn reads_both_providers_timestamps(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(timestamp(text), Some(expected.parse().unwrap()));
    }

    #[rstest]
    #[case("")]
    #[case("yesterday")]
    #[case("2026-01-15")]
    #[case("2026-13-15T09:30:00Z")]
    #[case("0001-01-01T00:00:00Z")]
    #[case("+262142-12-31T23:59:59Z")]
    #[case("9999-12-31T23:59:59Z")]
    fn other_timestamps_are_none(#[case] text: &str) {
        assert_eq!(timestamp(text), None);
    }

    #[rstest]
    #[case("2026-1-5")]
    #[case("2026-02-30")]
    #[case("0000-01-01")]
    #[case("2026-01-15T00:00")]
    fn other_dates_are_none(#[case] text: &str) {
        assert_eq!(date(text), None);
    }

    #[rstest]
    #[case::utc("2026-01-15", Tz::UTC, "2026-01-15T23:59:59Z")]
    #[case::winter("2026-01-15", Tz::Europe__Berlin, "2026-01-15T22:59:59Z")]
    #[case::summer("2026-07-15", Tz::Europe__Berlin, "2026-07-15T21:59:59Z")]
    #[case::struck_twice("2025-04-05", Tz::America__Santiago, "2025-04-06T03:59:59Z")]
    #[case::skipped_evening("2025-03-29", Tz::America__Scoresbysund, "2025-03-30T00:59:59Z")]
    #[case::skipped_day("2011-12-30", Tz::Pacific__Apia, "2011-12-30T09:59:59Z")]
    fn a_day_ends_in_its_zone(#[case] day: &str, #[case] zone: Tz, #[case] expected: &str) {
        assert_eq!(end_of_day(date(day).unwrap(), zone), expected.parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn the_date_of_a_milestone_is_its_utc_date() {
        assert_eq!(date_of("2026-05-23T07:00:00Z"), date("2026-05-23"));
        assert_eq!(date_of("2026-05-23"), date("2026-05-23"));
    }
}
