//! What is wrong with one expression.

use std::ops::Range;

use cel::ParseErrors;

/// What is wrong with one expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where, in bytes from the expression's start; `None` where no place can be named. Empty where the end is not known.
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
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
        let offset = offset_of(text, line, column);
        let said = error.msg.to_lowercase();
        if said.contains("recursion") {
            return Self::new(Some(offset..offset), "the expression nests too deeply")
                .hint("at most 32 levels; split the rule, or take away parentheses");
        }
        let rest = text.get(offset..).unwrap_or_default();
        let problem = match rest.chars().next() {
            None => Self::new(Some(offset..offset), "the expression ends too early"),
            // Only what a person can have mistyped is repeated, and only one character of it.
            Some(c) if c.is_ascii_graphic() => {
                Self::new(Some(offset..offset), format!("syntax error at `{c}`"))
            }
            Some(_) => Self::new(Some(offset..offset), "syntax error"),
        };
        match rest.get(..2) {
            Some("= ") => problem.hint("write `==` to compare"),
            Some("& ") => problem.hint("write `&&`"),
            Some("| ") => problem.hint("write `||`"),
            _ => match rest.split(|c: char| !c.is_ascii_alphanumeric()).next() {
                Some("and") => problem.hint("write `&&`"),
                Some("or") => problem.hint("write `||`"),
                Some("not") => problem.hint("write `!`"),
                _ => problem,
            },
        }
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
