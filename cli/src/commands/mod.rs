//! One file a command; each prints for a person, or JSON for a program.

pub(crate) mod dead_letters;
pub(crate) mod deliver;
pub(crate) mod doctor;
pub(crate) mod heard;
pub(crate) mod issue;
pub(crate) mod pause;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod tail;
pub(crate) mod targets;
pub(crate) mod topics;

use std::{fs::File, io::Read, ops::ControlFlow, path::Path, time::Duration};

use eventlog::{Bounds, Log, Record};
use serde_json::Value;

use crate::error::Failure;

/// Longest wait for the next records while reading to the end.
const READ_WAIT: Duration = Duration::from_millis(500);

/// Text from outside must not move the terminal's cursor, change its colours or turn its writing around: control
/// characters and invisible marks of direction become U+FFFD.
pub(crate) fn inert(text: &str) -> String {
    text.chars().map(|c| if is_active(c) { '\u{FFFD}' } else { c }).collect()
}

/// The same for JSON, in which such characters stand within strings only and can be escaped: nothing is lost.
pub(crate) fn inert_json(value: &Value) -> String {
    let text = value.to_string();
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match is_active(c) {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
        out
    })
}

fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// JSON as lines for a person: `key: value`, nested by two spaces; text stays quoted, so it stays inert.
pub(crate) fn indented(value: &Value, depth: usize) -> String {
    let margin = "  ".repeat(depth);
    let line = |name: &str, value: &Value| match value {
        Value::Object(fields) if fields.is_empty() => format!("{margin}{name} none\n"),
        Value::Array(items) if items.is_empty() => format!("{margin}{name} none\n"),
        Value::Object(_) => format!("{margin}{name}\n{}", indented(value, depth + 1)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            format!("{margin}{name}\n{}", indented(value, depth + 1))
        }
        plain => format!("{margin}{name} {}\n", inert_json(plain)),
    };
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| line(&format!("{}:", inert(key)), value)).collect()
        }
        Value::Array(items) => items.iter().map(|item| line("-", item)).collect(),
        plain => format!("{margin}{}\n", inert_json(plain)),
    }
}

/// The bytes of a file, or of standard input where it is called `-`; at most `max`.
pub(crate) fn read_input(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
    let mut bytes = Vec::new();
    // A byte more tells that there is more.
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(max + 1).read_to_end(&mut bytes),
        false => File::open(path).map_err(unreadable)?.take(max + 1).read_to_end(&mut bytes),
    };
    read.map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(Failure::usage(format!(
            "{} has more than {max} bytes, which is the limit",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Every record that stands on `topic` now, in offset order per partition.
pub(crate) async fn read_all(
    log: &dyn Log,
    topic: &str,
    mut each: impl FnMut(Record),
) -> Result<(), Failure> {
    let from = starts(log, topic, |bounds| bounds.first).await?;
    scan(log, topic, &from, |record| {
        each(record);
        ControlFlow::Continue(())
    })
    .await
}

/// The records of `topic` from these offsets on, until there are no more or `each` ends it.
pub(crate) async fn scan(
    log: &dyn Log,
    topic: &str,
    from: &[(u32, u64)],
    mut each: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut reader = log.read(topic, from).await?;
    loop {
        let done = reader.at_end().await?;
        let records = reader.next(if done { Duration::ZERO } else { READ_WAIT }).await?;
        let is_over = records.is_empty() && done;
        if is_over || records.into_iter().try_for_each(&mut each).is_break() {
            return Ok(());
        }
    }
}

/// For each partition of `topic`, where `place` says to begin.
pub(crate) async fn starts(
    log: &dyn Log,
    topic: &str,
    place: impl Fn(Bounds) -> u64,
) -> Result<Vec<(u32, u64)>, Failure> {
    let partitions = bounds(log, topic).await?;
    Ok((0_u32..).zip(partitions.into_iter().map(place)).collect())
}

/// The ends of each partition of `topic`.
pub(crate) async fn bounds(log: &dyn Log, topic: &str) -> Result<Vec<Bounds>, Failure> {
    let mut topics = log.topics().await?;
    let Some(place) = topics.iter().position(|info| info.name == topic) else {
        let names: Vec<_> = topics.iter().map(|info| info.name.as_str()).collect();
        return Err(Failure::failed(format!(
            "topic {topic:?} is not on this log; there are: {}",
            if names.is_empty() {
                "none yet (run `breakdown serve` or `breakdown publish`)".into()
            } else {
                names.join(", ")
            }
        )));
    };
    Ok(topics.swap_remove(place).partitions)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_from_outside_is_inert_and_json_loses_nothing() {
        let hostile = "\u{1b}[31m\u{9b}2J\u{7f}\u{202e}tab\t";
        assert_eq!(inert(hostile), "\u{FFFD}[31m\u{FFFD}2J\u{FFFD}\u{FFFD}tab\u{FFFD}");
        let shown = inert_json(&json!({"title": hostile}));
        assert!(!shown.chars().any(is_active), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), json!({"title": hostile}));
    }
}
