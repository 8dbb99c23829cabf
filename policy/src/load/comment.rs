//! Comments where none was meant: ` #` ends a value without quotes.

use super::{
    mistake::{Mistake, Report},
    place::Span,
    yaml::Node,
};
use crate::diagnostic::cut;

/// The longest value that is written out in a hint, in characters.
const MAX_WRITTEN: usize = 60;

/// Where a comment begins in a line, or in what is left of one from outside of quotes.
pub(super) fn comment(line: &str) -> Option<usize> {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            // Elsewhere a quote is a letter: `it's`.
            (None, '"' | '\'') if matches!(before, ' ' | '[' | '{' | ',' | ':') => quote = Some(c),
            (None, '#') if matches!(before, ' ' | '\t') => return Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

impl Report<'_> {
    /// Warns of a text without quotes that ends before a comment, when what follows `#` looks like more of it.
    pub(super) fn warn_if_cut(&mut self, node: &Node, value: &str, is_lost: impl Fn(&str) -> bool) {
        let (start, end) = (node.at.start(), node.at.range().end);
        let (Some(written), Some(rest)) = (self.lines.text.get(start..end), self.lines.text.get(end..))
        else {
            return;
        };
        // Of a block, and of what is in quotes, nothing is cut.
        if written.trim_end() != value {
            return;
        }
        let rest = rest.split(['\n', '\r']).next().unwrap_or_default().trim_end();
        let Some(lost) = rest.trim_start().strip_prefix('#').filter(|lost| is_lost(lost)) else { return };
        let at = end + rest.len() - lost.len() - 1;
        let whole = format!("{written}{rest}").replace('\'', "''");
        let hint = match whole.chars().count() <= MAX_WRITTEN {
            true => format!("put the whole value in single quotes: '{}'", cut(&whole, MAX_WRITTEN)),
            false => "put the whole value in single quotes: '…'".to_owned(),
        };
        let message = "` #` begins a comment: from here on this is not part of the value";
        self.add(Mistake::warning(Span::new(at, end + rest.len()), message).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn a_comment_begins_outside_of_quotes() {
        for (line, found) in [
            ("{ id: a, rationale: see #12 }", Some("#12 }")),
            ("{ id: a } # why", Some("# why")),
            ("# why", Some("# why")),
            ("{ rationale: 'see #12', x: it's #1 }", Some("#1 }")),
            ("{ rationale: \"see #12\" }", None),
            ("issue: github:acme/app#12", None),
            ("", None),
        ] {
            assert_eq!(comment(line).map(|at| &line[at..]), found, "{line}");
        }
    }
}
