//! Durations, as the policy file and as conditions write them.

use chrono::TimeDelta;

use crate::condition::Problem;

/// The longest duration: ten years. A sum of instants and such durations stays far within what a time can be.
const MAX_SECONDS: i64 = 3650 * 24 * 3600;

/// A duration of the policy file: whole numbers with `d` (24 hours), `h`, `m`, `s`, largest first (`1h30m`).
pub(crate) fn of_file(text: &str) -> Result<TimeDelta, Problem> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    parse(text, &units).ok_or_else(|| {
        let problem = Problem::new(None, "this is not a duration");
        match (text.trim().parse::<u64>(), in_short(text)) {
            (Ok(number), _) if number < 1_000_000 => {
                problem.hint(format!("a unit is missing: `{number}m` for minutes, or s, h, d"))
            }
            (_, Some(meant)) if parse(&meant, &units).is_some() => problem.hint(format!("write `{meant}`")),
            _ => problem.hint("such as 90s, 15m, 24h, 7d or 1h30m, and at most 3650d"),
        }
    })
}

/// `15 min`, `2 hours`, `1 week` with the units of the file.
fn in_short(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u32 = number.parse().ok()?;
    let (times, unit) = match unit.trim().to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => (1, "s"),
        "m" | "min" | "mins" | "minute" | "minutes" => (1, "m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => (1, "h"),
        "d" | "day" | "days" => (1, "d"),
        "w" | "wk" | "week" | "weeks" => (7, "d"),
        _ => return None,
    };
    Some(format!("{}{unit}", number.checked_mul(times)?))
}

/// The argument of `duration("…")`. CEL has no days; the `cel` crate would overlook what follows a duration.
pub(crate) fn of_cel(text: &str) -> Result<TimeDelta, Problem> {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    parse(digits, &units).map(|duration| duration * sign).ok_or_else(|| {
        let problem = Problem::new(None, "this is not a duration");
        match digits.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
            Some(days) => problem.hint(format!("there is no `d` here: write \"{}h\"", u64::from(days) * 24)),
            None => problem.hint("such as \"90s\", \"15m\", \"24h\" or \"1h30m\""),
        }
    })
}

/// A duration that is not negative as the argument of `duration("…")`; none where that is too long, or shorter than a millisecond.
pub(crate) fn in_cel(duration: TimeDelta) -> Option<String> {
    let mut left = duration.num_milliseconds();
    let mut written = String::new();
    for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= millis {
            written += &format!("{}{unit}", left / millis);
            left %= millis;
        }
    }
    (of_cel(&written).ok() == Some(duration)).then_some(written)
}

/// `units` with their milliseconds, largest first; each at most once, in that order.
fn parse(text: &str, units: &[(&str, i64)]) -> Option<TimeDelta> {
    let (mut rest, mut units, mut millis) = (text, units, 0_i64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let place = units.iter().position(|(unit, _)| Some(*unit) == rest.get(..letters))?;
        millis = millis.checked_add(number.checked_mul(units[place].1)?)?;
        rest = rest.get(letters..)?;
        units = &units[place + 1..];
    }
    (millis <= MAX_SECONDS * 1000).then(|| TimeDelta::milliseconds(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_file() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400), ("0s", 0)]
        {
            assert_eq!(of_file(text).unwrap(), TimeDelta::seconds(seconds), "{text}");
        }
        for text in
            ["", "15", "m", "15 m", "-5m", "1.5h", "5m5m", "30m1h", "24h banana", "9999999d", "1w", "١m"]
        {
            assert!(of_file(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_people_write_is_put_right() {
        for (text, hint) in [("15 min", "`15m`"), ("2 Hours", "`2h`"), ("1w", "`7d`"), ("10", "`10m`")] {
            assert!(of_file(text).unwrap_err().hint.unwrap().contains(hint), "{text}");
        }
        for text in ["9999999 weeks", "99999999999999", "-5m", "1.5h", ""] {
            assert!(of_file(text).unwrap_err().hint.unwrap().contains("such as"), "{text}");
        }
    }

    #[test]
    fn durations_of_conditions() {
        assert_eq!(of_cel("24h").unwrap(), TimeDelta::hours(24));
        assert_eq!(of_cel("-1h30m").unwrap(), TimeDelta::minutes(-90));
        assert_eq!(of_cel("250ms").unwrap(), TimeDelta::milliseconds(250));
        for text in ["24h", "1h30m", "90h1s", "250ms", "1m5s2ms"] {
            assert_eq!(in_cel(of_cel(text).unwrap()).as_deref(), Some(text));
        }
        assert_eq!(in_cel(TimeDelta::zero()), None);
        assert_eq!(in_cel(TimeDelta::days(4000)), None);
        assert!(of_cel("2d").unwrap_err().hint.unwrap().contains("\"48h\""));
        for text in ["24h banana", "", "-", "1d", "99999999999999999999h"] {
            assert!(of_cel(text).is_err(), "{text}");
        }
    }
}
