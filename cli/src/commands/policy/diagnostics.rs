//! What is wrong with a policy, shown in its source.

use std::{io::IsTerminal, ops::Range};

use ::policy::{Diagnostic, Severity};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::commands::inert;

/// How much of a line is shown before and after the part in question, and of that part itself, in characters.
const MAX_SHOWN: usize = 40;
/// Longer lines are cut here already: a whole policy may stand on one line.
const MAX_LINE_BYTES: usize = 1000;

/// Whether what goes to `stream` may have colours.
pub(crate) fn is_coloured(stream: &impl IsTerminal) -> bool {
    let says = |name, value: Option<&str>| {
        std::env::var_os(name).is_some_and(|set| value.map_or(!set.is_empty(), |value| set == value))
    };
    stream.is_terminal() && !says("NO_COLOR", None) && !says("TERM", Some("dumb"))
}

/// Each diagnostic with its place, the line of the source and a mark below the part in question; empty lines between.
/// Safe to print.
pub(crate) fn in_source(name: &str, text: &str, diagnostics: &[Diagnostic], coloured: bool) -> String {
    let renderer = if coloured { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    let shown: Vec<_> = diagnostics.iter().map(|one| renderer.render(&[group(name, text, one)])).collect();
    shown.join("\n\n")
}

/// The same for a file of which nothing can be shown.
pub(super) fn without_source(name: &str, message: &str, coloured: bool) -> String {
    let renderer = if coloured { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
    renderer.render(&[Level::ERROR.primary_title(inert(message)).element(Origin::path(inert(name)))])
}

fn group<'a>(name: &str, text: &str, diagnostic: &Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let Excerpt { line, mark, is_cut } = Excerpt::of(text, diagnostic.span.clone());
    let snippet =
        Snippet::source(line).line_start(diagnostic.line).annotation(AnnotationKind::Primary.span(mark));
    let group = level.primary_title(inert(&diagnostic.message));
    // The renderer counts the column itself, in what it is given.
    let group = match is_cut {
        false => group.element(snippet.path(inert(name))),
        true => {
            let place = Origin::path(inert(name)).line(diagnostic.line).char_column(diagnostic.column);
            group.element(place).element(snippet)
        }
    };
    match &diagnostic.hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(inert(hint))),
        None => group,
    }
}

/// The line in question, and the part of it that is marked, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    mark: Range<usize>,
    is_cut: bool,
}

impl Excerpt {
    fn of(text: &str, span: Range<usize>) -> Self {
        let line_ends = ['\n', '\r'];
        let start = text.get(..span.start).unwrap_or_default();
        let start = start.rfind(line_ends).map_or(0, |at| at + 1);
        let rest = text.get(start..).unwrap_or_default();
        let line = &rest[..rest.find(line_ends).unwrap_or(rest.len())];
        // Of a part that goes on over several lines, what is on the first.
        let mark = (span.start - start).min(line.len())..span.end.saturating_sub(start).min(line.len());
        // A byte order mark is no part of the line.
        let (line, mark) = match line.strip_prefix('\u{FEFF}') {
            Some(line) => (line, mark.start.saturating_sub(3)..mark.end.saturating_sub(3)),
            None => (line, mark),
        };
        let parts = (line.get(..mark.start), line.get(mark.clone()), line.get(mark.end..));
        let (Some(before), Some(marked), Some(after)) = parts else {
            return Self { line: visible(line), mark: 0..0, is_cut: false };
        };
        if line.len() <= MAX_LINE_BYTES {
            return Self::joined(&visible(before), &visible(marked), &visible(after), false);
        }
        let ends = |text: &str| if text.chars().nth(MAX_SHOWN).is_some() { "…" } else { "" };
        let first = |text: &str| visible(&text.chars().take(MAX_SHOWN).collect::<String>());
        let tail: String = before.chars().rev().take(MAX_SHOWN).collect();
        let before = format!("{}{}", ends(before), visible(&tail.chars().rev().collect::<String>()));
        let (is_long, after) = (!ends(marked).is_empty(), format!("{}{}", first(after), ends(after)));
        Self::joined(&before, &first(marked), if is_long { "…" } else { &after }, true)
    }

    fn joined(before: &str, marked: &str, after: &str, is_cut: bool) -> Self {
        let mark = before.len()..before.len() + marked.len();
        Self { line: format!("{before}{marked}{after}"), mark, is_cut }
    }
}

/// [`inert`], but tabs stay: they are shown as blanks.
fn visible(text: &str) -> String {
    text.split('\t').map(inert).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, part: &str) -> Excerpt {
        let start = text.find(part).unwrap();
        Excerpt::of(text, start..start + part.len())
    }

    #[test]
    fn a_line_and_its_part() {
        let one = excerpt("\u{FEFF}a: b\r\nc:\td\u{1b} e\r\n", "d\u{1b}");
        assert_eq!((one.line.as_str(), &one.line[one.mark]), ("c:\td\u{FFFD} e", "d\u{FFFD}"));
        let first = excerpt("\u{FEFF}a: b\n", "b");
        assert_eq!((first.line.as_str(), first.mark), ("a: b", 3..4));
        let multi = excerpt("a\nb c\nd", "c\nd");
        assert_eq!((multi.line.as_str(), multi.mark), ("b c", 2..3));
        let end = Excerpt::of("a:\n", 2..2);
        assert_eq!((end.line.as_str(), end.mark), ("a:", 2..2));
        assert_eq!(Excerpt::of("a\n", 2..2).line, "");
        assert_eq!(Excerpt::of("", 0..0).line, "");
        assert_eq!(Excerpt::of("ü", 1..1).mark, 0..0);
    }

    #[test]
    fn a_long_line_is_cut_around_the_part() {
        let text = format!("{}part{}", "ü".repeat(2000), "x".repeat(1_000_000));
        let one = excerpt(&text, "part");
        assert_eq!(&one.line[one.mark.clone()], "part");
        assert_eq!(one.line.chars().count(), 1 + 40 + 4 + 40 + 1);
        let long = excerpt(&text, &"x".repeat(5000));
        assert_eq!(long.line.chars().count(), 1 + 40 + 40 + 1);
    }
}
