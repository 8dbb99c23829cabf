//! From a text to a tree, past syntax errors where that is possible.
//!
//! A value that YAML cannot read, such as a condition without quotes, is blanked, and the rest is read: whoever forgot the
//! quotes in three rules is told of all three, and of what else is wrong. Nothing is said of what was blanked but why.

use std::ops::Range;

use super::{
    mistake::Report,
    place::Lines,
    syntax::{self, Explained},
    yaml::{self, Node},
};

/// How many values are blanked.
const MAX_BLANKED: usize = 20;
/// How many bytes are parsed again on their account: no slip makes loading take longer than the largest file does.
const MAX_BYTES: usize = 1024 * 1024;

/// The tree, unless the report says why there is none.
pub(crate) fn parse(report: &mut Report<'_>) -> Option<Node> {
    let text = report.lines.text;
    let mut error = match yaml::parse(text) {
        Ok(tree) => return Some(tree),
        Err(error) => error,
    };
    let mut blanked = text.to_owned();
    let mut last: Option<Range<usize>> = None;
    for round in 1.. {
        let lines = Lines::new(&blanked);
        let Explained { mistake, value } = syntax::explain(&error, &lines);
        // In what was blanked the parser stumbles over the blanks, and next to it more likely than over a second slip, unless
        // that is a value again.
        let (at, line) = (mistake.span().start(), |offset| lines.number(offset));
        let is_next = |last: &Range<usize>| {
            at >= last.start && line(at) <= line(last.end) + usize::from(value.is_none())
        };
        if last.as_ref().is_some_and(is_next) {
            return None;
        }
        report.add(mistake);
        let value = value.filter(|_| round <= MAX_BLANKED && round * text.len() <= MAX_BYTES)?;
        blank(&mut blanked, value.clone());
        report.blanked.push(value.clone());
        last = Some(value);
        match yaml::parse(&blanked) {
            Ok(tree) => return Some(tree),
            Err(next) => error = next,
        }
    }
    None
}

/// Writes an empty text over a value, byte for byte.
fn blank(text: &mut String, value: Range<usize>) {
    let Some(written) = text.get(value.clone()) else { return };
    let line_ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let mut bytes: Vec<char> =
        written.bytes().map(|byte| if line_ends(&byte) { char::from(byte) } else { ' ' }).collect();
    bytes[..2].fill('\'');
    text.replace_range(value, &bytes.into_iter().collect::<String>());
}
