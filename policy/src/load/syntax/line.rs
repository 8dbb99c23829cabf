//! How the lines of a broken file are read: what on them looks like a key and its value.

/// `key: value` on a line.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    /// Where key and value begin in the line, in bytes.
    pub(super) key_at: usize,
    pub(super) value_at: usize,
    pub(super) value: &'t str,
}

/// Keys whose values are expressions.
pub(super) fn is_expression(key: &str) -> bool {
    matches!(key, "when" | "at")
}

/// `  - key: value`; none for a line in brackets or without a key.
pub(super) fn entry(line: &str) -> Option<Entry<'_>> {
    let mut key_at = line.len() - line.trim_start().len();
    while let Some(rest) = line[key_at..].strip_prefix("- ") {
        key_at += 2 + rest.len() - rest.trim_start().len();
    }
    let (key, rest) = line[key_at..].split_once(':')?;
    let is_key =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let value = rest.trim_start();
    (is_key && (rest.is_empty() || rest.starts_with([' ', '\t']))).then(|| Entry {
        key,
        key_at,
        value_at: line.len() - value.len(),
        value: value.trim_end(),
    })
}

/// The same for an entry in brackets: the last one that begins before `column` (bytes), up to the comma or bracket after it.
pub(super) fn flow_entry(line: &str, column: usize) -> Option<Entry<'_>> {
    let begins = line.get(..column)?.rfind(['{', ','])? + 1;
    let part = line.get(begins..)?;
    let entry = entry(part)?;
    let value = entry.value.split([',', '}']).next().unwrap_or_default().trim_end();
    Some(Entry { key_at: begins + entry.key_at, value_at: begins + entry.value_at, value, ..entry })
}

/// Where the last bracket of a line stands that is not closed in it; quotes and comments are passed over.
pub(super) fn unclosed(line: &str) -> Option<usize> {
    let (mut open, mut quote, mut before) = (Vec::new(), None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(opened), c) if c == opened => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '#') if before == ' ' => break,
            (None, '{' | '[') => open.push(at),
            (None, '}' | ']') => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    open.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_lines() {
        let entry = entry("  - id: a").unwrap();
        assert_eq!((entry.key, entry.key_at, entry.value, entry.value_at), ("id", 4, "a", 8));
        assert!(self::entry("  \"bug\" in x: y").is_none());
        assert!(self::entry("id:a").is_none());
        let line = "  then: { action: x, target: @alice }";
        let entry = flow_entry(line, 29).unwrap();
        assert_eq!((entry.key, entry.value), ("target", "@alice"));
        assert_eq!(unclosed("a: { b: [1, 2], c: '}' # }"), Some(3));
        assert_eq!(unclosed("a: { b: [1, 2] }"), None);
    }
}
