//! How a value is written that YAML cannot take as it is.

use super::line::Entry;
use crate::diagnostic::{cut, unseen};

/// The longest text that a hint writes out, in characters.
const MAX_WRITTEN: usize = 90;

/// How to write an entry whose value needs quotes.
pub(super) fn quotes_for(entry: Entry<'_>) -> String {
    let Entry { key, value, .. } = entry;
    let writable = value.chars().count() <= MAX_WRITTEN && !value.chars().any(unseen);
    let name = |prefix: &str| value.strip_prefix(prefix).map(str::trim).filter(|name| !name.is_empty());
    match key {
        "when" | "at" if writable && !value.is_empty() => {
            format!("put the whole condition in single quotes: `{key}: {}`", in_single_quotes(value))
        }
        "when" | "at" => format!("put the whole condition in single quotes: `{key}: '…'`"),
        "target" if writable && name("team:").is_some() => {
            format!("write `target: \"team:{}\"`, without a blank", name("team:").unwrap_or_default())
        }
        "target" if writable && name("owner:").is_some() => {
            format!("write `target: \"owner:{}\"`, without a blank", name("owner:").unwrap_or_default())
        }
        _ if writable && !in_quotes(value).contains(['"', '\\']) && !value.is_empty() => {
            format!("put the value in double quotes: `{}: \"{}\"`", cut(key, 20), in_quotes(value))
        }
        _ => format!("put the value in quotes: `{}: '…'`", cut(key, 20)),
    }
}

/// What stands between the quotes, where a value has such.
fn in_quotes(value: &str) -> &str {
    let between = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    between('\'').or_else(|| between('"')).unwrap_or(value)
}

/// A condition as a single-quoted scalar. CEL takes both quotes for text, so the inner ones become double where all are single.
fn in_single_quotes(condition: &str) -> String {
    let inner = match condition.starts_with("''") {
        // A quote too many.
        true => condition.trim_matches('\''),
        false => whole_in_quotes(condition).unwrap_or(condition),
    };
    match (inner.contains('\''), inner.contains('"')) {
        (true, false) => format!("'{}'", inner.replace('\'', "\"")),
        (true, true) => format!("'{}'", inner.replace('\'', "''")),
        (false, _) => format!("'{inner}'"),
    }
}

/// `'issue.title == 'x''`: the outer quotes are meant for YAML. The first piece then ends in the middle of an expression.
fn whole_in_quotes(condition: &str) -> Option<&str> {
    let quote = condition.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = condition.strip_prefix(quote)?.strip_suffix(quote)?;
    let (first, _) = inner.split_once(quote)?;
    (first.is_empty() || first.ends_with([' ', '(', '[', ',', '='])).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_put_in_quotes() {
        for (written, better) in [
            ("\"bug\" in issue.labels", "'\"bug\" in issue.labels'"),
            ("'bug' in issue.labels", "'\"bug\" in issue.labels'"),
            ("'issue.title == 'x''", "'issue.title == \"x\"'"),
            ("\"issue.title == \"x\"\"", "'issue.title == \"x\"'"),
            ("''\"bug\" in issue.labels'", "'\"bug\" in issue.labels'"),
            (
                "'bug' in issue.labels && issue.priority == 'P0'",
                "'\"bug\" in issue.labels && issue.priority == \"P0\"'",
            ),
            (
                "'a' in issue.labels || \"it's\" in issue.labels",
                "'''a'' in issue.labels || \"it''s\" in issue.labels'",
            ),
        ] {
            assert_eq!(in_single_quotes(written), better);
        }
    }
}
