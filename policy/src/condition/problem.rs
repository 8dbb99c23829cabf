//! What is wrong with one expression.

use std::ops::Range;

use cel::ParseErrors;

use super::slip;

/// What is wrong with one expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where, in bytes from the expression's start; `None` where no place can be named. Empty where
    /// something is missing.
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Nothing is wrong but what the evaluation could cost.
    pub(crate) is_dear: bool,
}

impl Problem {
    pub(crate) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None, is_dear: false }
    }

    /// Of an expression as a whole that could cost too much.
    pub(crate) fn dear(message: impl Into<String>) -> Self {
        Self { is_dear: true, ..Self::new(None, message) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The first syntax error. What follows it is mostly the parser's attempt to recover.
    pub(crate) fn syntax(text: &str, errors: ParseErrors) -> Self {
        let Some(error) = errors.errors.into_iter().next() else {
            return Self::new(None, "this is not an expression");
        };
        let (line, column) = error.pos;
        slip::explain(text, offset_of(text, line, column), &error.msg)
    }
}

/// The byte offset of a line and column as the parser counts them, clamped into the text.
fn offset_of(text: &str, line: isize, column: isize) -> usize {
    let skipped = usize::try_from(line - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let column = usize::try_from(column - 1).unwrap_or_default();
    let rest = text.get(start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column).map_or(text.len(), |(offset, _)| start + offset);
    offset.min(text.len())
}
