//! Values as they are shown: bounded, and inert on a terminal.

use std::fmt::{self, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use crate::{
    condition::{eval::Value, field::Field, field::Type},
    decide::Sight,
};

/// How much of a text is shown, in characters.
const MAX_CHARS: usize = 80;
/// How many members of a list.
const MAX_MEMBERS: usize = 20;

/// A value that a condition saw, cut to what is shown. JSON: null, a text, true or false, a number, a list of texts; a time and a duration are
/// texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// Unknown, or there is none.
    Null,
    /// A text; the end of a long one is an ellipsis.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A time.
    #[serde(serialize_with = "instant")]
    Time(DateTime<Utc>),
    /// A duration, such as `1h30m`.
    Duration(String),
    /// A list; the last member of a long one says how many more there are.
    List(Vec<String>),
}

fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*at))
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(at) => f.write_str(&time(*at)),
            Self::Duration(text) => f.write_str(text),
            Self::List(members) => {
                let members: Vec<_> = members.iter().map(|member| quoted(member)).collect();
                write!(f, "[{}]", members.join(", "))
            }
        }
    }
}

impl Shown {
    pub(super) fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Text(text) => Self::Text(cut(text)),
            Value::Int(number) => Self::Number(*number),
            Value::Time(at) => Self::Time(*at),
            Value::Duration(by) => Self::Duration(duration(*by)),
        }
    }

    /// A field, in the provider's case.
    pub(super) fn of_field(sight: &Sight, field: Field) -> Self {
        let view = sight.view();
        let labels = || sight.event.as_ref()?.change.get("labels");
        if field.spec().is_list {
            let members: Option<Vec<&str>> = match field {
                Field::Labels => words(sight.issue.facts.labels.value().map(|labels| &**labels)),
                Field::EventLabelsAdded if labels().is_some() => words(labels().map(|change| &change.added)),
                Field::EventLabelsRemoved if labels().is_some() => {
                    words(labels().map(|change| &change.removed))
                }
                _ => view.list(field).map(|list| list.iter().map(|word| &**word).collect()),
            };
            return members.map_or(Self::Null, |members| Self::list(&members));
        }
        let text = |text: Option<&str>| text.map_or(Self::Null, |text| Self::Text(cut(text)));
        match (field, field.spec().value_type) {
            (Field::Priority, _) => text(sight.issue.facts.priority.value().map(SmolStr::as_str)),
            (_, Type::Text) => text(view.text(field)),
            (_, Type::Int) => view.int(field).map_or(Self::Null, Self::Number),
            (_, Type::Time) => view.time(field).map_or(Self::Null, Self::Time),
            (_, Type::Bool) => Self::Flag(view.flag(field)),
            (_, Type::Duration) => Self::Null,
        }
    }

    fn list(members: &[&str]) -> Self {
        let mut shown: Vec<_> = members.iter().take(MAX_MEMBERS).map(|member| cut(member)).collect();
        if let Some(more) = members.len().checked_sub(MAX_MEMBERS).filter(|more| *more > 0) {
            shown.push(format!("… {more} more"));
        }
        Self::List(shown)
    }
}

fn words(list: Option<&Vec<String>>) -> Option<Vec<&str>> {
    list.map(|list| list.iter().map(String::as_str).collect())
}

/// The first 80 characters.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// In quotes, cut, with what is not printable escaped.
pub(super) fn quoted(text: &str) -> String {
    let text = cut(text);
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for c in text.chars() {
        match c {
            '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown.push('"');
    shown
}

/// As it is where it is one plain word, else quoted.
pub(super) fn bare(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '#');
    let is_word = !text.is_empty() && text.chars().count() <= MAX_CHARS && text.chars().all(plain);
    if is_word { text.to_owned() } else { quoted(text) }
}

/// A piece of a policy on one line, cut, with what is not printable escaped.
pub(super) fn written(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = String::with_capacity(line.len());
    for c in line.chars().take(2 * MAX_CHARS) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if line.chars().nth(2 * MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// To the second where it is whole.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Such as `26h`, `1h30m` or `-5s`.
pub(super) fn duration(by: TimeDelta) -> String {
    let mut shown = String::new();
    if by < TimeDelta::zero() {
        shown.push('-');
    }
    let seconds = by.num_seconds().unsigned_abs();
    for (unit, count) in [("h", seconds / 3600), ("m", seconds / 60 % 60), ("s", seconds % 60)] {
        if count > 0 {
            let _ = write!(shown, "{count}{unit}");
        }
    }
    let nanos = by.subsec_nanos().unsigned_abs();
    if nanos > 0 {
        let _ = write!(shown, "{}ms", f64::from(nanos) / 1e6);
    }
    if shown.trim_start_matches('-').is_empty() { "0s".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_inert() {
        let hostile = format!("a\u{1b}[31m\u{202e}\"\n{}", "x".repeat(1000));
        let shown = quoted(&hostile);
        assert!(shown.starts_with(r#""a\u{1b}[31m\u{202e}\"\nxxx"#), "{shown}");
        assert!(shown.chars().count() < 120 && shown.ends_with("…\""), "{shown}");
        assert_eq!(bare("area/ui"), "area/ui");
        assert_eq!(bare("in progress"), "\"in progress\"");
        assert_eq!(bare(""), "\"\"");
        assert_eq!(written("a &&\n    b == \"\\\\d\u{7}\" || 'ü'"), "a && b == \"\\\\d\\u{7}\" || 'ü'");
        let many: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(Shown::list(&many).to_string().ends_with("\"19\", \"… 80 more\"]"));
    }

    #[test]
    fn durations_are_short() {
        for (by, shown) in [
            (TimeDelta::hours(26), "26h"),
            (TimeDelta::minutes(-90), "-1h30m"),
            (TimeDelta::zero(), "0s"),
            (TimeDelta::milliseconds(1500), "1s500ms"),
        ] {
            assert_eq!(duration(by), shown);
        }
    }
}
