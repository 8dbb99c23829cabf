//! What has been found wrong so far.

use std::ops::Range;

use super::{
    place::{Lines, Span},
    scalar,
    yaml::{Node, Value},
};
use crate::{Diagnostic, Severity, condition::Problem, diagnostic};

/// More than anyone mends at one go.
pub(crate) const MAX_DIAGNOSTICS: usize = 100;
/// How many names are compared, in search of the one that was meant. Each takes up to some microseconds.
const MAX_COMPARED: usize = 20_000;

/// Something wrong with a part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    span: Span,
    severity: Severity,
    message: String,
    hint: Option<String>,
    /// As [`Diagnostic::is_dear`].
    is_dear: bool,
}

impl Mistake {
    pub(crate) fn error(span: Span, message: impl Into<String>) -> Self {
        Self { span, severity: Severity::Error, message: message.into(), hint: None, is_dear: false }
    }

    pub(crate) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    pub(super) fn span(&self) -> Span {
        self.span
    }

    fn placed(self, lines: &Lines<'_>) -> Diagnostic {
        let span = self.span.range();
        let ((line, column), (end_line, end_column)) = (lines.place(span.start), lines.place(span.end));
        let Self { severity, message, hint, is_dear, .. } = self;
        Diagnostic { line, column, end_line, end_column, span, severity, message, hint, is_dear }
    }
}

/// What has been found wrong so far, at most [`MAX_DIAGNOSTICS`] errors and as many warnings, none of them twice: what stands
/// at an anchor is said once, however often it is repeated.
pub(crate) struct Report<'t> {
    pub(crate) lines: &'t Lines<'t>,
    errors: Vec<Mistake>,
    warnings: Vec<Mistake>,
    compared: usize,
    /// Values that are not as they were written, and of which nothing is said.
    pub(super) blanked: Vec<Range<usize>>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(lines: &'t Lines<'t>) -> Self {
        Self { lines, errors: Vec::new(), warnings: Vec::new(), compared: 0, blanked: Vec::new() }
    }

    pub(crate) fn add(&mut self, mistake: Mistake) {
        let so_far = match mistake.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        let is_blanked = self.blanked.iter().any(|part| part.contains(&mistake.span.start()));
        if so_far.len() < MAX_DIAGNOSTICS && !is_blanked && !so_far.contains(&mistake) {
            so_far.push(mistake);
        }
    }

    /// A mistake within the expression that `node` holds.
    pub(crate) fn problem(&mut self, node: &Node, value: &str, problem: Problem) {
        let span = problem.span.map_or(node.at, |span| self.within(node, value, span));
        let mistake = Mistake::error(span, problem.message).maybe_hint(problem.hint);
        self.add(Mistake { is_dear: problem.is_dear, ..mistake });
    }

    /// Where a part (bytes) of a scalar's value stands in the file; the whole scalar where that cannot be told.
    pub(crate) fn within(&self, node: &Node, value: &str, part: Range<usize>) -> Span {
        let whole = node.at.range();
        let raw = self.lines.text.get(whole.clone()).unwrap_or_default();
        scalar::locate(raw, value, part)
            .map_or(node.at, |part| Span::new(whole.start + part.start, whole.start + part.end))
    }

    /// No more errors are taken: whoever reads on finds nothing new.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_DIAGNOSTICS
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The one of `known` that is close to `word`, as long as there is time to search.
    pub(crate) fn closest<'a>(
        &mut self,
        word: &str,
        known: impl ExactSizeIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        self.compared += known.len();
        if self.compared > MAX_COMPARED { None } else { diagnostic::closest(word, known) }
    }

    /// A part of the file that stands for a node where its value is not what it should be: a scalar, or the beginning of a
    /// collection, on one line.
    pub(crate) fn head(&self, node: &Node) -> Span {
        match &node.value {
            Value::Map(entries) if node.at.is_empty() => match entries.first() {
                Some((key, value)) => self.joined(self.head(key), self.head(value)),
                None => node.at,
            },
            Value::List(list) if node.at.is_empty() => match list.first() {
                // From the dash on.
                Some(first) => self.joined(node.at, self.head(first)),
                None => node.at,
            },
            Value::Map(_) | Value::List(_) => self.bracketed(node.at),
            _ => node.at,
        }
    }

    /// Both parts and what is between them, when they are on one line; else the first.
    fn joined(&self, first: Span, second: Span) -> Span {
        match self.lines.text.get(first.start()..second.end()) {
            Some(text) if !text.contains(['\n', '\r']) => Span::new(first.start(), second.end()),
            _ => first,
        }
    }

    /// From a bracket to the one that closes it on the same line, else to the line's end.
    fn bracketed(&self, open: Span) -> Span {
        let rest = self.lines.text.get(open.start()..).unwrap_or_default();
        let rest = rest.split(['\n', '\r']).next().unwrap_or_default();
        let (mut depth, mut quote) = (0_usize, None);
        for (at, c) in rest.char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '{' | '[') => depth += 1,
                (None, '}' | ']') if depth <= 1 => return Span::new(open.start(), open.start() + at + 1),
                (None, '}' | ']') => depth -= 1,
                _ => {}
            }
        }
        Span::new(open.start(), open.start() + rest.trim_end().len())
    }

    /// Everything in file order, errors first when not all can be said.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.warnings.truncate(MAX_DIAGNOSTICS.saturating_sub(self.errors.len()));
        self.errors.append(&mut self.warnings);
        self.errors.sort_by_key(|mistake| (mistake.span.start(), mistake.severity));
        self.errors.into_iter().map(|mistake| mistake.placed(self.lines)).collect()
    }
}
