//! The YAML parser's errors, in the words of somebody who writes a policy.
//!
//! The parser says where it could not go on, which is often after the slip. The line and those above it mostly show what the
//! slip was; where they do not, the parser's own sentence stands, cut and without control characters.

mod line;
mod quotes;

use std::ops::Range;

use serde_saphyr::{Error, budget::BudgetBreach as Breach};

use self::{
    line::{Entry, entry, flow_entry, is_expression, unclosed},
    quotes::quotes_for,
};
use super::{
    comment::comment,
    mistake::Mistake,
    place::{Lines, Span},
    yaml::{MAX_ALIASES, MAX_DEPTH, MAX_NODES, MAX_REPEATED, MAX_TEXTS_BYTES},
};
use crate::diagnostic::{cut, quoted};

/// How far up a bracket or quote is searched that was left open.
const LINES_ABOVE: usize = 50;

/// How far above a name the key of its list is searched.
const MAX_LIST_LINES: usize = 20;

/// A mistake, and the value (bytes) that would have to be quoted or put right; without it the rest may well be readable.
pub(super) struct Explained {
    pub(super) mistake: Mistake,
    pub(super) value: Option<Range<usize>>,
}

pub(super) fn explain(error: &Error, lines: &Lines<'_>) -> Explained {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
    let at = match error.location().and_then(|at| at.span().byte_offset()) {
        Some(at) => usize::try_from(at).unwrap_or_default(),
        None => lines.offset(line, column),
    };
    if let Some((message, hint)) = limit(error) {
        return Explained {
            mistake: Mistake::error(Span::new(at, at), message).maybe_hint(hint),
            value: None,
        };
    }
    let said = error.to_string();
    // The place is said apart.
    let said = said.lines().next().unwrap_or_default();
    let said = said.split(" at line ").next().unwrap_or_default().trim();
    let stop = Stop { lines, at, number: lines.number(at), said };
    let mistake = stop.explain().unwrap_or_else(|| {
        let said = if said.is_empty() { "this is not YAML".to_owned() } else { cut(said, 200) };
        Mistake::error(stop.rest_of_line(at), said)
    });
    Explained { mistake, value: stop.value() }
}

/// Limits of ours that the parser keeps for us.
fn limit(error: &Error) -> Option<(String, Option<&'static str>)> {
    let repeats =
        || (format!("aliases repeat too much: more than {MAX_REPEATED} parts"), Some("write less with `*`"));
    Some(match error {
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => repeats(),
        // Within an alias the limit comes wrapped in where it was met.
        error if error.to_string().starts_with("alias replay limit exceeded") => repeats(),
        error if error.to_string().starts_with("budget breached: ScalarBytes") => (
            format!("aliases repeat too much: more than {MAX_TEXTS_BYTES} bytes of text"),
            Some("write less with `*`"),
        ),
        error if error.to_string().starts_with("recursion limit exceeded") => {
            (format!("lists and maps nest more than {MAX_DEPTH} times"), None)
        }
        Error::Budget { breach: Breach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            ("a policy is one document".to_owned(), Some("take away everything from `---` on"))
        }
        Error::Budget { breach: Breach::Depth { .. }, .. } => {
            (format!("lists and maps nest more than {MAX_DEPTH} times"), None)
        }
        Error::Budget { breach: Breach::Nodes { .. } | Breach::Events { .. }, .. } => {
            (format!("a policy may have at most {MAX_NODES} values"), Some("split it by project"))
        }
        Error::Budget { breach: Breach::Aliases { .. } | Breach::Anchors { .. }, .. } => {
            (format!("there may be at most {MAX_ALIASES} anchors and aliases"), None)
        }
        Error::Budget { .. } => {
            ("the file is larger than a policy may be".to_owned(), Some("split it by project"))
        }
        _ => return None,
    })
}

/// An error of the parser and where it stopped.
struct Stop<'t> {
    lines: &'t Lines<'t>,
    at: usize,
    number: usize,
    said: &'t str,
}

impl Stop<'_> {
    fn explain(&self) -> Option<Mistake> {
        let says = |words: &str| self.said.contains(words);
        if says("tab")
            && let Some(mistake) = self.tab()
        {
            return Some(mistake);
        }
        if says("unsupported tag") || says("scanning a tag") {
            return Some(self.tag());
        }
        if says("scanning a directive") {
            let message = "for YAML, a line that begins with `%` is a directive";
            return Some(Mistake::error(self.rest_of_line(self.start()), message).hint("take it away"));
        }
        if says("scanning an anchor or alias") {
            let message = "for YAML, a value that begins with `*` or `&` is a repetition";
            let hint = self.quotes().unwrap_or_else(|| "put the value in quotes".to_owned());
            return Some(Mistake::error(self.rest_of_line(self.at), message).hint(hint));
        }
        if says("BOM") {
            let span = Span::new(self.at, self.at + '\u{FEFF}'.len_utf8());
            let span = if self.lines.text.get(span.range()) == Some("\u{FEFF}") {
                span
            } else {
                Span::new(self.at, self.at)
            };
            return Some(
                Mistake::error(span, "a byte order mark stands within the text").hint("take it away"),
            );
        }
        if says("misplaced bracket") {
            let mistake = Mistake::error(self.rest_of_line(self.at), "this bracket closes nothing");
            return Some(mistake.maybe_hint(self.quotes()));
        }
        if says("is only valid inside a block") {
            let hint = "between brackets, entries are separated by commas";
            return Some(
                Mistake::error(self.rest_of_line(self.at), "between brackets there are no dashes").hint(hint),
            );
        }
        if says("comment intercepting") {
            let message = "a comment stands within a value of several lines";
            return Some(Mistake::error(self.rest_of_line(self.at), message).hint("put the value in quotes"));
        }
        if says("mapping keys are not allowed") {
            let message = "for YAML, `? ` begins a key, and here can be none";
            return Some(Mistake::error(self.rest_of_line(self.at), message).maybe_hint(self.quotes()));
        }
        if says("unexpected EOF") {
            let message = "the file ends before this list or map does";
            return Some(Mistake::error(self.rest_of_line(self.at), message));
        }
        if says("unexpected character") {
            return Some(self.character());
        }
        if says("mapping values are not allowed") {
            return Some(self.colon().unwrap_or_else(|| {
                let mistake = Mistake::error(self.rest_of_line(self.at), "here can be no key");
                mistake.hint("a text that holds `: ` stands in quotes")
            }));
        }
        if says("invalid trailing content after") {
            let message = "here is more after the closing quote";
            return Some(Mistake::error(self.rest_of_line(self.at), message).maybe_hint(self.quotes()));
        }
        if says("unclosed quote") || says("indentation in multiline quoted") {
            return Some(self.open_quote().unwrap_or_else(|| {
                Mistake::error(self.rest_of_line(self.at), "a quote is opened above and not closed")
            }));
        }
        if says("escape character") || says("hexadecimal number") {
            return self.escape();
        }
        if says("unknown anchor") {
            let name = self.word(self.at);
            let message = format!("{} repeats nothing: no `&` with this name stands above", quoted(name));
            let hint = self.quotes().or(Some("a value that begins with `*` stands in quotes".to_owned()));
            return Some(Mistake::error(Span::new(self.at, self.at + name.len()), message).maybe_hint(hint));
        }
        if ["flow", "bracket", "placement of ':'"].iter().any(|words| says(words)) {
            return self.bracket();
        }
        if says("scanning a block scalar") {
            let message = "after `|` or `>` the text begins on the next line";
            return Some(Mistake::error(self.rest_of_line(self.at), message).maybe_hint(self.quotes()));
        }
        if says("block sequence entries are not allowed") {
            let hint = "such as `rules:`, and below it `  - id: …`";
            return Some(
                Mistake::error(self.rest_of_line(self.at), "a list begins on a line of its own").hint(hint),
            );
        }
        if says("simple key") {
            return self.missing_colon(self.number);
        }
        if says("did not find expected '-'")
            || says("did not find expected key")
            || says("invalid indentation")
        {
            return self.indentation();
        }
        if says("<document start>") || says("document end marker") {
            let message = "here is more after the end of the policy";
            return Some(Mistake::error(self.rest_of_line(self.at), message));
        }
        if says("comments must be separated") {
            return Some(Mistake::error(
                self.rest_of_line(self.at),
                "a comment begins with a blank before `#`",
            ));
        }
        None
    }

    /// A tab in the indentation of this line or the next.
    fn tab(&self) -> Option<Mistake> {
        let line = [self.number, self.number + 1, self.number - 1].into_iter().find_map(|number| {
            let line = self.lines.line(number);
            let indent = line.len() - line.trim_start().len();
            line[..indent].find('\t').map(|tab| self.lines.start(number) + tab)
        });
        let at = line.or_else(|| self.lines.line(self.number).find('\t').map(|tab| self.start() + tab))?;
        let message = "YAML does not take a tab as indentation";
        Some(Mistake::error(Span::new(at, at + 1), message).hint("indent with blanks"))
    }

    /// `when: !issue.x`: what follows `!` is a tag.
    fn tag(&self) -> Mistake {
        let line = self.lines.line(self.number);
        let before = line.get(..self.at - self.start()).unwrap_or(line);
        let at = before.rfind('!').map_or(self.at, |at| self.start() + at);
        let message = "for YAML, `!` at the beginning of a value is not \"not\" but a tag";
        let hint = self.quotes().unwrap_or_else(|| "put the value in quotes".to_owned());
        Mistake::error(self.rest_of_line(at), message).hint(hint)
    }

    /// A character that cannot stand here.
    fn character(&self) -> Mistake {
        let found = self.lines.text.get(self.at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        if found.is_control() || !found.is_ascii() {
            let message = format!("the character U+{:04X} cannot stand in YAML", u32::from(found));
            return Mistake::error(Span::new(self.at, self.at + found.len_utf8()), message)
                .hint("take it away");
        }
        let message = match found {
            '`' => "for YAML, no value begins with a back tick".to_owned(),
            found => format!("for YAML, no value begins with `{found}`"),
        };
        let hint = self
            .name_after_at()
            .or_else(|| self.quotes())
            .unwrap_or_else(|| "put the value in quotes".to_owned());
        let line = self.lines.line(self.number);
        let span = match line.get(..self.at - self.start()).and_then(unclosed) {
            Some(_) => Span::new(self.at, self.at + self.word(self.at).len()),
            None => self.rest_of_line(self.at),
        };
        Mistake::error(span, message).hint(hint)
    }

    /// `@sam` among targets or members: what they are called here.
    fn name_after_at(&self) -> Option<String> {
        let name = self.word(self.at).strip_prefix('@').filter(|name| !name.is_empty())?;
        let from = self.lines.start(self.number.saturating_sub(MAX_LIST_LINES).max(1));
        let before = self.lines.text.get(from..self.at)?;
        let (key, _) = before.rsplit_once(':')?;
        match key.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()? {
            "members" => Some(format!("write the name alone: {}", quoted(name))),
            "target" => {
                let name = cut(name, 40);
                Some(format!("write \"owner:{name}\" for a person, \"team:{name}\" for a team"))
            }
            _ => None,
        }
    }

    /// A colon that YAML takes for the end of a key where no key can stand.
    fn colon(&self) -> Option<Mistake> {
        let start = self.start();
        let line = self.lines.line(self.number);
        let entry = entry(line);
        if let Some(entry) = entry
            && start + entry.value_at <= self.at
        {
            let message = "`: ` within a value: YAML takes what is before it for a key";
            let mistake = Mistake::error(Span::new(self.at, self.at + 1), message);
            return Some(mistake.maybe_hint(self.quotes()));
        }
        let above = self.above()?;
        let Some(before) = self::entry(self.lines.line(above)) else { return self.missing_colon(above) };
        let entry = entry?;
        let at = Span::new(start + entry.key_at, start + entry.key_at + entry.key.len());
        let message = "this key is further to the right than the one above, which already has a value";
        let column = before.key_at + 1;
        Some(
            Mistake::error(at, message)
                .hint(format!("the keys of one map begin in the same column, here {column}")),
        )
    }

    /// A line that was to be a key.
    fn missing_colon(&self, number: usize) -> Option<Mistake> {
        let at = self.lines.start(number);
        let line = self.lines.line(number);
        let content = line.trim_start().trim_start_matches("- ").trim();
        let at = at + line.find(content)?;
        let mistake =
            Mistake::error(Span::new(at, at + content.len()), "a key is followed by a colon and a blank");
        let word = content.split([' ', ':']).next()?;
        let is_key =
            (1..=20).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_key {
            return Some(mistake);
        }
        Some(mistake.hint(format!("write {}", quoted(&format!("{word}: …")))))
    }

    /// A quote that is opened and not closed.
    fn open_quote(&self) -> Option<Mistake> {
        let opened = |number: usize| {
            let entry = entry(self.lines.line(number))?;
            let quote = entry.value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            (entry.value.matches(quote).count() == 1)
                .then(|| (self.lines.start(number) + entry.value_at, quote))
        };
        let from = self.number.saturating_sub(LINES_ABOVE).max(1);
        let (at, quote) = (from..=self.number).rev().find_map(opened).or_else(|| {
            let quote = self.lines.text.get(self.at..)?.chars().next()?;
            matches!(quote, '"' | '\'').then_some((self.at, quote))
        })?;
        let mistake = Mistake::error(self.rest_of_line(at), "this quote is not closed on its line");
        Some(mistake.hint(format!("put `{quote}` at the end of the value")))
    }

    /// A backslash in double quotes that means nothing.
    fn escape(&self) -> Option<Mistake> {
        let text = self.lines.text.get(self.at..)?;
        let mut characters = text.char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            let (_, escaped) = if c == '\\' { characters.next()? } else { continue };
            let known = "0abtnvfre \"/\\N_LP\t\n\r".contains(escaped);
            let digits = [('x', 2), ('u', 4), ('U', 8)].into_iter().find(|(letter, _)| *letter == escaped);
            let coded = digits.is_some_and(|(_, digits)| {
                let code = text.get(offset + 2..offset + 2 + digits);
                code.is_some_and(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))
            });
            if known || coded {
                continue;
            }
            let span = Span::new(self.at + offset, self.at + offset + 1 + escaped.len_utf8());
            let message = format!("{} means nothing in double quotes", quoted(&format!("\\{escaped}")));
            return Some(
                Mistake::error(span, message)
                    .hint("put the value in single quotes: there a backslash is only that"),
            );
        }
        None
    }

    /// A bracket that is not closed, or a comma that is missing between two.
    fn bracket(&self) -> Option<Mistake> {
        let (from, start) = (self.number.saturating_sub(LINES_ABOVE).max(1), self.start());
        let before = |number: usize| {
            let line = self.lines.line(number);
            let end = if number == self.number { (self.at - start).min(line.len()) } else { line.len() };
            line.get(..end).unwrap_or(line)
        };
        let (number, open) = match self.said.contains("bracket '") {
            // The parser names the bracket itself.
            true => (self.number, self.at - start),
            false => (from..=self.number)
                .rev()
                .find_map(|number| unclosed(before(number)).map(|open| (number, open)))?,
        };
        let line = self.lines.line(number);
        let entry = entry(line).filter(|entry| is_expression(entry.key));
        let at = self.lines.start(number) + open;
        if entry.is_some_and(|entry| entry.value_at == open) {
            let message = "for YAML, a value that begins with a bracket is a list or a map";
            return Some(Mistake::error(self.rest_of_line(at), message).hint(quotes_for(entry?)));
        }
        let opened = line.get(open..)?.chars().next()?;
        let closes = if opened == '{' { '}' } else { ']' };
        if number == self.number && !self.said.contains("bracket '") && unclosed(line).is_none() {
            if let Some((pair, value)) = self.unquoted_pair() {
                let hint = format!("write \"{}\", without a blank", cut(&value, 40));
                return Some(
                    Mistake::error(pair, "`: ` within a value: YAML takes what is before it for a key")
                        .hint(hint),
                );
            }
            let message = "between two entries in brackets there is a comma";
            let span = Span::new(self.at, self.at);
            return Some(Mistake::error(self.word_before(span), message).hint("put `,` before this key"));
        }
        let message = match self.said.contains("mismatched") {
            true => format!("this `{opened}` is closed by another kind of bracket"),
            false => format!("this `{opened}` is not closed"),
        };
        let hint = match comment(line.get(open..)?) {
            Some(_) => "` #` begins a comment: what holds one stands in quotes".to_owned(),
            None => format!("put `{closes}` at its end"),
        };
        Some(Mistake::error(self.rest_of_line(at), message).hint(hint))
    }

    /// `target: team: platform` in brackets: where it stands, and what it is without the blank.
    fn unquoted_pair(&self) -> Option<(Span, String)> {
        let line = self.lines.line(self.number);
        let before = line.get(..self.at - self.start())?;
        let word =
            before.rsplit([' ', ',', '{', '[']).next().filter(|word| matches!(*word, "team" | "owner"))?;
        let name = line.get(before.len()..)?.strip_prefix(": ")?;
        let name = name.split([' ', ',', '}', ']']).next()?;
        let begin = self.at - word.len();
        Some((Span::new(begin, self.at + 2 + name.len()), format!("{word}:{name}")))
    }

    /// A line that begins in no column in which anything above it began.
    fn indentation(&self) -> Option<Mistake> {
        let line = self.lines.line(self.number);
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        if let Some(entry) = entry(line)
            && self.start() + entry.value_at < self.at
        {
            let message = match entry.value.starts_with(['[', '{']) {
                true => {
                    "for YAML, a value that begins with a bracket is a list or a map; here is more after it"
                }
                false => "here is more after the end of the value",
            };
            // Brackets are hardly ever meant as text, but in a condition.
            let hint =
                (is_expression(entry.key) || !entry.value.starts_with(['[', '{'])).then(|| quotes_for(entry));
            return Some(Mistake::error(self.rest_of_line(self.at), message).maybe_hint(hint));
        }
        if entry(line).is_none() && self.lines.line(self.number - 1).trim_start().starts_with('#') {
            let message = "the comment above ends the value, and here is more of it";
            return Some(Mistake::error(self.rest_of_line(self.at), message).hint("move the comment"));
        }
        let above = self.above()?;
        let is_item = content.starts_with("- ") || content == "-";
        let from = self.number.saturating_sub(LINES_ABOVE).max(1);
        let column = (from..=above).rev().find_map(|number| {
            let line = self.lines.line(number);
            let indent = line.len() - line.trim_start().len();
            match is_item {
                true => line.trim_start().starts_with("- ").then_some(indent + 1),
                false => entry(line).map(|entry| entry.key_at + 1),
            }
        });
        let at = self.start() + indent;
        let span = match entry(line).filter(|_| !is_item) {
            Some(entry) => {
                Span::new(self.start() + entry.key_at, self.start() + entry.key_at + entry.key.len())
            }
            None => self.rest_of_line(at),
        };
        let message = "this line begins in a column in which nothing of this list or map begins";
        let hint = match (is_item, column.filter(|column| *column != indent + 1)) {
            (true, Some(column)) => {
                Some(format!("the dashes of one list stand in the same column, here {column}"))
            }
            (false, Some(column)) => {
                Some(format!("the keys of one map begin in the same column, here {column}"))
            }
            (_, None) => None,
        };
        Some(Mistake::error(span, message).maybe_hint(hint))
    }

    /// The hint for a value that needs quotes, where this line is an entry.
    fn quotes(&self) -> Option<String> {
        let line = self.lines.line(self.number);
        let in_brackets = || flow_entry(line, self.at.saturating_sub(self.start()));
        let entry = match entry(line) {
            Some(entry) if entry.value.starts_with(['{', '[']) && !is_expression(entry.key) => {
                in_brackets().unwrap_or(entry)
            }
            Some(entry) => entry,
            None => in_brackets()?,
        };
        // What goes on below is not written out.
        let next = self.lines.line(self.number + 1);
        let goes_on = !next.trim().is_empty() && next.len() - next.trim_start().len() > entry.key_at;
        Some(quotes_for(if goes_on { Entry { value: "", ..entry } } else { entry }))
    }

    /// The value in which the parser stopped, with the lines that go on with it; of a rule in brackets the whole. Only
    /// values on which nothing else in the file depends.
    fn value(&self) -> Option<Range<usize>> {
        const ALONE: &[&str] = &["when", "at", "then", "action", "target", "rationale"];
        let line = self.lines.line(self.number);
        let indent = line.len() - line.trim_start().len();
        let (column, from) = match entry(line) {
            Some(entry) => (entry.key_at, ALONE.contains(&entry.key).then_some(entry.value_at)?),
            None => (indent, indent + line.trim_start().strip_prefix("- {").map(|_| 2)?),
        };
        let from = self.start() + from;
        // Brackets that were opened above end somewhere below.
        let is_whole = unclosed(line).is_none() && !line.trim_end().ends_with(',');
        if !is_whole || self.at < from {
            return None;
        }
        let goes_on = |number: &usize| {
            let next = self.lines.line(*number);
            next.len() - next.trim_start().len() > column && !next.trim().is_empty()
        };
        let last =
            (self.number + 1..self.number + LINES_ABOVE).take_while(goes_on).last().unwrap_or(self.number);
        let end = self.lines.start(last) + self.lines.line(last).trim_end().len();
        (end >= from + 2).then_some(from..end)
    }

    fn start(&self) -> usize {
        self.lines.start(self.number)
    }

    /// The next line above that is neither empty nor a comment.
    fn above(&self) -> Option<usize> {
        let is_content = |number: &usize| {
            let line = self.lines.line(*number).trim();
            !line.is_empty() && !line.starts_with('#')
        };
        (self.number.saturating_sub(LINES_ABOVE).max(1)..self.number).rev().find(is_content)
    }

    fn rest_of_line(&self, at: usize) -> Span {
        let rest = self.lines.text.get(at..).unwrap_or_default();
        let rest = rest.split(['\n', '\r']).next().unwrap_or_default();
        Span::new(at, at + rest.trim_end().len())
    }

    /// What stands at a byte, up to the next blank.
    fn word(&self, at: usize) -> &str {
        let rest = self.lines.text.get(at..).unwrap_or_default();
        rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']')).next().unwrap_or_default()
    }

    /// The word that ends where `span` begins.
    fn word_before(&self, span: Span) -> Span {
        let line = self.lines.line(self.number);
        let before = line.get(..span.start() - self.start()).unwrap_or(line);
        let word = before.rsplit([' ', ',', '{', '[']).next().unwrap_or_default();
        Span::new(span.start() - word.len(), span.start())
    }
}
