//! Working hours: Monday to Friday, from one minute of the day to another, as the clocks of a zone show them.

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

const DAY: i64 = 24 * 60;

/// Somebody's working hours. An instant is within them where the zone's clocks show a working day and a minute from
/// `opens` to before `closes`; an hour that the clocks show twice is therefore within twice, one that they skip never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hours {
    zone: Tz,
    /// Minutes since midnight.
    opens: i64,
    /// Later than `opens`, and at most the day's end.
    closes: i64,
}

impl Hours {
    /// `09:00-17:30`, in a zone with an IANA name (UTC). `None` where either is none.
    pub(super) fn read(hours: &str, zone: Option<&str>) -> Option<Self> {
        let zone = zone.map(str::trim).filter(|zone| !zone.is_empty()).unwrap_or("UTC").parse().ok()?;
        let (opens, closes) = hours.split_once('-')?;
        let (opens, closes) = (minute(opens)?, minute(closes)?);
        (opens < closes).then_some(Self { zone, opens, closes })
    }

    /// `None` where all of `start` to `end`, whole minutes, is within; else an instant after `start` before which nothing
    /// that long begins within.
    pub(super) fn obstacle(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let outside = self.first_outside(start, end)?;
        let local = self.local(outside);
        let today = local.date().and_time(chrono::NaiveTime::MIN);
        let ahead = |days: i64| today + TimeDelta::minutes(days * DAY + self.opens);
        let opens = (0..8).map(ahead).find(|at| *at > local && is_working_day(*at))?;
        let then = outside + (opens - local);
        // Where the clocks are changed in between it is not so simple: look again a minute later.
        let simple = self.offset(then) == self.offset(outside);
        Some(if simple { then } else { outside + TimeDelta::minutes(1) })
    }

    fn first_outside(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = start;
        while at < end {
            if !self.has(at) {
                return Some(at);
            }
            // To the end of the day's hours, which for who works all day is no end; minute by minute, where the clocks are
            // changed before.
            let closes = at + TimeDelta::minutes(self.closes - minute_of(self.local(at)));
            let simple = self.offset(at) == self.offset(closes.min(end));
            at = if simple { closes } else { at + TimeDelta::minutes(1) };
        }
        None
    }

    pub(super) fn has(&self, instant: DateTime<Utc>) -> bool {
        let local = self.local(instant);
        is_working_day(local) && (self.opens..self.closes).contains(&minute_of(local))
    }

    fn local(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.zone).naive_local()
    }

    fn offset(&self, instant: DateTime<Utc>) -> i32 {
        instant.with_timezone(&self.zone).offset().fix().local_minus_utc()
    }
}

fn is_working_day(local: NaiveDateTime) -> bool {
    local.weekday().num_days_from_monday() < 5
}

fn minute_of(local: NaiveDateTime) -> i64 {
    i64::from(local.hour() * 60 + local.minute())
}

/// `09:00`; up to `24:00`.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_or_refused() {
        for (text, zone) in
            [("09:00-17:30", Some("Europe/Berlin")), ("9:00 - 17:30", None), ("00:00-24:00", Some(" "))]
        {
            assert!(Hours::read(text, zone).is_some(), "{text}");
        }
        for text in
            ["", "9-17", "17:00-09:00", "09:00-09:00", "09:60-10:00", "-1:00-2:00", "23:00-24:01", "a:b-c:d"]
        {
            assert_eq!(Hours::read(text, None), None, "{text}");
        }
        assert_eq!(Hours::read("09:00-17:30", Some("Europe/Atlantis")), None);
    }

    #[test]
    fn the_clocks_of_the_zone_count() {
        let berlin = Hours::read("09:00-17:30", Some("Europe/Berlin")).expect("hours");
        for (instant, has) in [
            ("2026-03-27T08:00:00Z", true), // Friday, 09:00 in winter
            ("2026-03-27T07:59:00Z", false),
            ("2026-03-30T07:00:00Z", true), // Monday, 09:00 in summer
            ("2026-03-30T15:29:00Z", true),
            ("2026-03-30T15:30:00Z", false),
            ("2026-03-28T10:00:00Z", false), // Saturday
        ] {
            assert_eq!(berlin.has(instant.parse().expect("an instant")), has, "{instant}");
        }
    }
}
