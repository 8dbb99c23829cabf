//! From a part of a scalar's value to the part of the file that means it.
//!
//! The file may write a value in quotes with escapes, and over several lines that are folded or indented. What it writes and
//! what is meant are read side by side; where they cannot be brought together the answer is `None`, never a wrong place.

use std::ops::Range;

/// Where `part` of `value` (bytes) stands in `raw`, the text of the scalar in the file. An empty part stands for the word or
/// sign that begins there.
pub(super) fn locate(raw: &str, value: &str, part: Range<usize>) -> Option<Range<usize>> {
    let part = if part.is_empty() { word_at(value, part.start) } else { part };
    if part.end > value.len() || !value.is_char_boundary(part.start) || !value.is_char_boundary(part.end) {
        return None;
    }
    // A block's text can begin with a quote, too: every way is tried, and only one fits.
    let quoted = |quote| raw.starts_with(quote).then(|| inline(raw, value, &part, Some(quote))).flatten();
    quoted('"')
        .or_else(|| quoted('\''))
        .or_else(|| inline(raw, value, &part, None))
        .or_else(|| block(raw, value, &part))
}

/// The word, number or sign that begins at `offset`; empty at the end.
fn word_at(value: &str, offset: usize) -> Range<usize> {
    let Some(rest) = value.get(offset..) else { return value.len()..value.len() };
    let letters = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let length = match rest.chars().next() {
        None => 0,
        _ if letters > 0 => letters,
        Some(_) if ["==", "!=", "<=", ">=", "&&", "||"].iter().any(|sign| rest.starts_with(sign)) => 2,
        Some(first) => first.len_utf8(),
    };
    offset..offset + length
}

/// A plain or quoted scalar: lines are folded, and quotes have escapes.
fn inline(raw: &str, value: &str, part: &Range<usize>, quote: Option<char>) -> Option<Range<usize>> {
    let mut at = quote.map_or(0, char::len_utf8);
    let (mut meant, mut from) = (0, None);
    loop {
        if meant >= part.end && (from.is_some() || part.is_empty()) {
            return Some(from.unwrap_or(at)..at);
        }
        let (taken, character, times) = step(raw.get(at..)?, quote)?;
        for _ in 0..times {
            if !value.get(meant..)?.starts_with(character) {
                return None;
            }
            meant += character.len_utf8();
        }
        if from.is_none() && meant > part.start {
            from = Some(at);
        }
        at += taken;
    }
}

/// How many bytes the next piece of a plain or quoted scalar takes, and which character it means, how often.
fn step(raw: &str, quote: Option<char>) -> Option<(usize, char, usize)> {
    let first = raw.chars().next()?;
    if quote == Some('"') && first == '\\' {
        return escape(raw);
    }
    if quote == Some('\'') && first == '\'' {
        return raw.starts_with("''").then_some((2, '\'', 1));
    }
    if quote == Some(first) {
        return None;
    }
    let blanks = blanks(raw);
    match breaks(&raw[..blanks]) {
        0 => Some((first.len_utf8(), first, 1)),
        1 => Some((blanks, ' ', 1)),
        more => Some((blanks, '\n', more - 1)),
    }
}

/// The same for an escape in double quotes.
fn escape(raw: &str) -> Option<(usize, char, usize)> {
    let escaped = raw.get(1..)?.chars().next()?;
    let coded = |digits: usize| {
        let code = u32::from_str_radix(raw.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?, 1))
    };
    let character = match escaped {
        '\n' | '\r' => return Some((1 + blanks(&raw[1..]), ' ', 0)),
        'x' => return coded(2),
        'u' => return coded(4),
        'U' => return coded(8),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    };
    Some((1 + escaped.len_utf8(), character, 1))
}

/// A block scalar (`|`, `>`), from the first line of its text: blanks differ in number, everything else is as it is.
fn block(raw: &str, value: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let (mut at, mut meant) = (0, 0);
    let (mut from, mut to) = (None, None);
    loop {
        let (rest, left) = (raw.get(at..)?, value.get(meant..)?);
        let (written, wanted) = (blanks(rest), blanks(left));
        let (taken, given) = match (written, wanted) {
            (0, 0) => {
                let same = left.chars().next().filter(|c| rest.starts_with(*c)).map_or(0, char::len_utf8);
                (same, same)
            }
            (0, _) if at > 0 => return None,
            (_, 0) if !left.is_empty() && meant > 0 => return None,
            both => both,
        };
        if from.is_none() && part.start < meant + given.max(1) {
            from = Some(at + (part.start - meant).min(taken));
        }
        if to.is_none() && part.end <= meant + given {
            to = Some(at + (part.end - meant).min(taken));
        }
        if let (Some(from), Some(to)) = (from, to) {
            return Some(from..to.max(from));
        }
        if (taken, given) == (0, 0) {
            return None;
        }
        at += taken;
        meant += given;
    }
}

fn blanks(text: &str) -> usize {
    text.find(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')).unwrap_or(text.len())
}

fn breaks(blanks: &str) -> usize {
    blanks.matches('\n').count() + blanks.matches('\r').count() - blanks.matches("\r\n").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file says for `word` of the value.
    fn found<'r>(raw: &'r str, value: &str, word: &str) -> Option<&'r str> {
        let start = value.find(word).unwrap();
        locate(raw, value, start..start + word.len()).map(|range| &raw[range])
    }

    #[test]
    fn every_way_to_write_a_scalar() {
        for (raw, value, word, expected) in [
            ("issue.prio == 1", "issue.prio == 1", "prio", "prio"),
            ("issue.a &&\n    issue.prio", "issue.a && issue.prio", "prio", "prio"),
            ("'it''s ü prio'", "it's ü prio", "prio", "prio"),
            ("'it''s'", "it's", "it's", "it''s"),
            ("\"\\\"bug\\\" \\u00fc prio\"", "\"bug\" ü prio", "prio", "prio"),
            ("\"\\\"bug\\\" \\u00fc prio\"", "\"bug\" ü prio", "ü", "\\u00fc"),
            ("\"a \\\n   prio\"", "a prio", "prio", "prio"),
            ("\"a\n\n   prio\"", "a\nprio", "prio", "prio"),
            ("\"a\r\n   prio\"", "a prio", "prio", "prio"),
            ("\"bug\" in x &&\n      prio\n    ", "\"bug\" in x && prio\n", "prio", "prio"),
            ("\"bug\" in x &&\n      prio\n    ", "\"bug\" in x &&\nprio\n", "prio", "prio"),
            ("'x' in y\n\n\n      prio\n", "'x' in y\n\nprio\n", "prio", "prio"),
            ("  abc\n       prio\n", "  abc\n prio\n", "prio", "prio"),
            ("abc\r\n      prio\r\n", "abc\nprio\n", "prio", "prio"),
        ] {
            assert_eq!(found(raw, value, word), Some(expected), "{raw:?}");
        }
        assert_eq!(locate("abc", "abd", 2..3), None);
        assert_eq!(locate("'abc'", "abc", 3..3), Some(4..4));
        assert_eq!(locate("abc\n  ", "abc\n", 4..4), Some(6..6));
        assert_eq!(locate("a == b", "a == b", 2..2), Some(2..4));
        assert_eq!(locate("''", "", 0..0), Some(1..1));
    }
}
