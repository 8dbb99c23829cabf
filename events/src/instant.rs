//! Instants in JSON, read as `chrono` reads them. Most are written as we write them, `2026-11-21T10:00:00Z`, and an event has
//! three: those are told without its general parser, which takes five times as long.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::Said;

/// An instant as providers write it: by RFC 3339, or as Jira does, with an offset without a colon (`2019-02-16T13:15:16.037-0800`) or
/// without seconds (`2024-01-08T15:00Z`, where a limit of requests ends).
pub fn provider_instant(text: &str) -> Option<DateTime<Utc>> {
    let with_offset = |format: &str| DateTime::parse_from_str(text, format).ok();
    let at = DateTime::parse_from_rfc3339(text).ok();
    let at = at.or_else(|| with_offset("%Y-%m-%dT%H:%M:%S%.f%z")).or_else(|| with_offset("%Y-%m-%dT%H:%M%z"));
    let utc = || NaiveDateTime::parse_from_str(text.strip_suffix('Z')?, "%Y-%m-%dT%H:%M").ok();
    at.map(|at| at.to_utc()).or_else(|| utc().map(|at| at.and_utc()))
}

/// For `#[serde(deserialize_with = …)]`: an instant or null.
pub(crate) fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(Option::<Instant>::deserialize(deserializer)?.map(|instant| instant.0))
}

/// For `#[serde(deserialize_with = …)]`: an instant or null that was said.
pub(crate) fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Said<DateTime<Utc>>, D::Error> {
    option(deserializer).map(Said::of)
}

struct Instant(DateTime<Utc>);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Instant;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an RFC 3339 formatted date and time string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Instant, E> {
                plain(text.as_bytes()).map_or_else(|| text.parse(), Ok).map(Instant).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// `2026-11-21T10:00:00Z`; whatever is written otherwise, or is no time, is left to the general parser.
fn plain(text: &[u8]) -> Option<DateTime<Utc>> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'Z'] = text else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(&[a, b, c, d])?).ok()?,
        number(&[e, f])?,
        number(&[g, h])?,
    )?;
    Some(date.and_hms_opt(number(&[i, j])?, number(&[k, l])?, number(&[m, n])?)?.and_utc())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn providers_write_instants_in_their_own_ways() {
        for (said, at) in [
            ("2026-03-02T10:00:30Z", Some("2026-03-02T10:00:30Z")),
            ("2026-03-02T02:00:30.25-0800", Some("2026-03-02T10:00:30.25Z")),
            ("2026-03-02T10:01Z", Some("2026-03-02T10:01:00Z")),
            ("2026-03-02T12:01+0200", Some("2026-03-02T10:01:00Z")),
            ("2026-03-02T12:01+02:00", Some("2026-03-02T10:01:00Z")),
            ("2026-03-02T10:01", None),
            ("2026-03-02", None),
            ("1772445630", None),
            ("soonZ", None),
            ("", None),
        ] {
            assert_eq!(provider_instant(said), at.map(|at| at.parse().unwrap()), "{said}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Ours(#[serde(deserialize_with = "option")] Option<DateTime<Utc>>);

    /// What chrono makes of a text is what is made of it here, also where it refuses.
    #[test]
    fn every_text_is_read_as_chrono_reads_it() {
        let template = b"2026-02-28T23:59:59Z";
        let mut texts: Vec<String> = [
            "2026-02-28T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-02-28T24:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-02-28T23:59:59.5Z",
            "2026-02-28T23:59:59+00:00",
            "2026-02-28t23:59:59z",
            "2026-02-28 23:59:59Z",
            "+2026-02-28T23:59:5Z",
            "",
        ]
        .map(String::from)
        .into();
        // Each place with each byte that is a character.
        for place in 0..template.len() {
            for byte in 1..128 {
                let mut text = template.to_vec();
                text[place] = byte;
                texts.push(String::from_utf8(text).unwrap());
            }
        }
        for text in texts {
            let json = serde_json::to_string(&text).unwrap();
            let theirs: Result<Option<DateTime<Utc>>, _> = serde_json::from_str(&json);
            let ours: Result<Ours, _> = serde_json::from_str(&json);
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours.0, theirs, "{text}"),
                (Err(ours), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{text}"),
                (ours, theirs) => panic!("{text:?}: {ours:?} and {theirs:?}"),
            }
        }
        assert_eq!(serde_json::from_str::<Ours>("null").unwrap(), Ours(None));
        assert!(serde_json::from_str::<Ours>("1").is_err());
    }
}
