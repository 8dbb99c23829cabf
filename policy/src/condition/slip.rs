//! What was probably meant by a text that the parser refuses: the slips of people who know other languages.
//!
//! The parser says where it stopped. Up to there the text is read once more, token by token, for what is known to be no
//! CEL; the first such is what is reported. Nothing of it is known to be wrong in a text that the parser takes.

use std::ops::Range;

use super::{MAX_BYTES, MAX_RECURSION, Problem};
use crate::{diagnostic::quoted, load::duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    /// What begins with a digit.
    Number,
    /// A date, with or without a time of day.
    Date,
    /// In quotes.
    Text,
    /// In quotes that do not end.
    Unclosed,
    Symbol,
    /// A character that can only stand in a text.
    Stray,
}

/// What a bracket does, of whatever kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Opens,
    Closes,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    kind: Kind,
    pub(super) text: &'t str,
    pub(super) start: usize,
}

impl<'t> Token<'t> {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// A symbol; of a word or a literal nothing, and `None` of what is neither.
    pub(super) fn symbol(&self) -> Option<&'t str> {
        match self.kind {
            Kind::Symbol => Some(self.text),
            Kind::Unclosed | Kind::Stray => None,
            _ => Some(""),
        }
    }

    pub(super) fn bracket(&self) -> Option<Bracket> {
        match self.symbol()? {
            "(" | "[" | "[?" | "{" => Some(Bracket::Opens),
            ")" | "]" | "}" => Some(Bracket::Closes),
            _ => None,
        }
    }

    pub(super) fn is(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// Whether a value can end with it.
    fn ends_value(&self) -> bool {
        match self.kind {
            Kind::Symbol => matches!(self.text, ")" | "]" | "}"),
            Kind::Word => self.text != "in",
            _ => true,
        }
    }
}

/// Longest first.
const SYMBOLS: &[&str] = &[
    "===", "!==", "&&", "||", "==", "!=", "<=", ">=", "=>", "=<", "<>", "=~", "!~", "**", "??", "?.", ".?",
    "[?",
];
/// Methods that other languages write between their operands.
const METHODS: &[&str] = &["contains", "startsWith", "endsWith", "matches", "exists", "all"];

/// What is wrong with a text that the parser refuses at `stop` (in bytes), with the parser's words for it.
pub(super) fn explain(text: &str, stop: usize, said: &str) -> Problem {
    if said.contains("Recursion") || said.contains("recursion") {
        return Problem::new(Some(stop..stop), "the expression nests too deeply")
            .hint(format!("at most {MAX_RECURSION} levels; split the rule, or take away parentheses"));
    }
    let tokens = tokens(text);
    let at = |place: usize| {
        let (token, before) = (&tokens[place], place.checked_sub(1).and_then(|place| tokens.get(place)));
        let (message, hint) = slip(text, token, before, &tokens[place + 1..])?;
        Some(Problem::new(Some(token.span()), message).hint(hint))
    };
    let mut open: Vec<Token<'_>> = Vec::new();
    for (place, token) in tokens.iter().enumerate().take_while(|(_, token)| token.start <= stop) {
        if let Some(problem) = at(place) {
            return problem;
        }
        match token.bracket() {
            Some(Bracket::Opens) => open.push(*token),
            Some(Bracket::Closes) => {
                if let Some(problem) = closes(token, open.pop()) {
                    return problem;
                }
            }
            None => {}
        }
    }
    let Some(last) = tokens.last() else {
        return Problem::new(None, "there is nothing but a comment")
            .hint("write `true` for a condition that always holds");
    };
    if stop >= last.span().end {
        return ends_early(last, open.last());
    }
    let place = tokens.iter().rposition(|token| token.start <= stop).unwrap_or(0);
    // The parser may name the beginning of what it could make nothing of.
    if let Some(problem) = (place..tokens.len()).find_map(at) {
        return problem;
    }
    unexpected(&tokens[place], place.checked_sub(1).and_then(|place| tokens.get(place)), said)
}

/// A closing bracket that does not fit.
fn closes(token: &Token<'_>, opening: Option<Token<'_>>) -> Option<Problem> {
    let message = match (opening?.text, token.text) {
        ("(", ")") | ("[" | "[?", "]") | ("{", "}") => return None,
        (opening, closing) => format!("`{closing}` does not close `{opening}`"),
    };
    let wanted = match opening?.text {
        "(" => ")",
        "{" => "}",
        _ => "]",
    };
    Some(Problem::new(Some(token.span()), message).hint(format!("write `{wanted}` first")))
}

fn ends_early(last: &Token<'_>, open: Option<&Token<'_>>) -> Problem {
    let opens = open.is_some_and(|open| open.start == last.start);
    if !last.ends_value() && !opens {
        return Problem::new(Some(last.span()), format!("something is missing after `{}`", last.text))
            .hint(format!("write what stands right of it, or take `{}` away", last.text));
    }
    match open {
        Some(open) => {
            let wanted = match open.text {
                "(" => ")",
                "{" => "}",
                _ => "]",
            };
            Problem::new(Some(open.span()), format!("`{}` is never closed", open.text))
                .hint(format!("write `{wanted}` where it ends"))
        }
        None => {
            let end = last.span().end;
            Problem::new(Some(end..end), "the expression ends too early").hint("what follows is missing")
        }
    }
}

fn unexpected(token: &Token<'_>, before: Option<&Token<'_>>, said: &str) -> Problem {
    let problem = |message: String| Problem::new(Some(token.span()), message);
    let has_left = before.is_some_and(Token::ends_value);
    match token.kind {
        _ if said.contains("simple name") => problem("a name for the element belongs here".into())
            .hint("such as `label` in `issue.labels.exists(label, label.startsWith(\"area/\"))`"),
        _ if said.contains("has()") => problem("`has` is not part of the language".into())
            .hint("every field is always there: write `issue.due_at != null`"),
        Kind::Symbol if token.is(",") => problem("`,` is not expected here".into())
            .hint("a list is written in brackets: `issue.number in [1, 2]`"),
        Kind::Word if token.text == "in" && !has_left => problem("something is missing before `in`".into())
            .hint("such as `\"bug\" in issue.labels`; text stands in quotes"),
        Kind::Word if said.contains("reserved identifier") => {
            problem(format!("{} is a word that CEL keeps for itself", quoted(token.text)))
                .hint("take another name; text stands in quotes")
        }
        Kind::Text if !has_left => problem("this text has an escape that does not exist".into())
            .hint("`\\` is written `\\\\`, or the text begins with r: r\"\\d\""),
        Kind::Number if !has_left => {
            problem("this number is too large".into()).hint("numbers are whole, at most 9223372036854775807")
        }
        Kind::Word | Kind::Text | Kind::Number if has_left => problem(
            "an operator is missing before this".into(),
        )
        .hint("conditions are joined with `&&` or `||`, values compared with `==`; text stands in quotes"),
        Kind::Symbol
            if matches!(token.text, ")" | "]" | "}") && before.is_some_and(|it| !it.ends_value()) =>
        {
            problem(format!("something is missing before `{}`", token.text))
                .hint("write what belongs here, or take the operator or the comma away")
        }
        Kind::Symbol if matches!(token.text, ")" | "]" | "}") => {
            problem(format!("`{}` closes nothing", token.text)).hint("take it away, or open it before")
        }
        Kind::Symbol if !has_left => problem(format!("something is missing before `{}`", token.text))
            .hint(format!("write what stands left of it, or take `{}` away", token.text)),
        _ => problem(format!("{} is not expected here", quoted(token.text))).hint(
            "conditions are joined with `&&` or `||`, values compared with `==`; text stands in quotes",
        ),
    }
}

/// What is wrong with a token by itself, and what to write instead.
fn slip(
    text: &str,
    token: &Token<'_>,
    before: Option<&Token<'_>>,
    after: &[Token<'_>],
) -> Option<(String, String)> {
    let say = |message: &str, hint: &str| Some((message.to_owned(), hint.to_owned()));
    let word = token.text;
    let not_here = |hint: &str| Some((format!("{} is not an operator", quoted(word)), hint.to_owned()));
    let next = after.first();
    match token.kind {
        Kind::Unclosed => {
            let quote =
                if word.trim_start_matches(['r', 'R', 'b', 'B']).starts_with('\'') { '\'' } else { '"' };
            Some((
                format!("this text has no closing `{quote}`"),
                format!("end it with `{quote}`; within a text `{quote}` is written `\\{quote}`"),
            ))
        }
        Kind::Date => {
            Some(("a time stands in quotes".into(), format!("write `timestamp(\"{}\")`", whole_time(word))))
        }
        Kind::Number => number(word),
        Kind::Word if before.is_some_and(|before| before.is(".")) => None,
        Kind::Word => match word.to_ascii_lowercase().as_str() {
            "and" => not_here("write `&&`"),
            "or" => not_here("write `||`"),
            "not" if next.is_some_and(|next| next.text == "in") => {
                not_here("write `!` before the whole, in parentheses: `!(\"bug\" in issue.labels)`")
            }
            "not" => not_here("write `!` before what is not to hold, in parentheses: `!(…)`"),
            "is" => not_here("write `==` or `!=`, such as `issue.due_at == null`"),
            "like" | "ilike" => not_here("write `issue.title.contains(\"…\")`, or `matches` with a pattern"),
            "if" | "then" | "else" => not_here("write `condition ? this : that`"),
            _ if METHODS.contains(&word) && next.is_none_or(|next| !next.is("(")) => {
                not_here(&format!("it stands after a dot: `issue.title.{word}(\"…\")`"))
            }
            _ => None,
        },
        Kind::Symbol => match word {
            "=" | "===" => not_here("write `==`"),
            "!==" | "<>" => not_here("write `!=`"),
            "=<" => not_here("write `<=`"),
            "=>" => {
                not_here("write `>=`; in `exists` the name is followed by a comma: `exists(x, x == \"…\")`")
            }
            "=~" => not_here("write `issue.title.matches(\"…\")`"),
            "!~" => not_here("write `!issue.title.matches(\"…\")`"),
            "??" => not_here("write `issue.priority == null ? \"…\" : issue.priority`"),
            "**" => not_here("times and durations are added and taken away with `+` and `-`"),
            "&" => not_here("write `&&`"),
            "|" => not_here("write `||`"),
            "!" if next.is_some_and(|next| next.text == "in") => say(
                "`!in` is not an operator",
                "write `!` before the whole, in parentheses: `!(\"bug\" in issue.labels)`",
            ),
            "?." | ".?" => say(
                "there is no optional access",
                "every field is always there, null when unknown: write `.`",
            ),
            "[?" => say("there is no optional access", "ask for an element with `in`, or with `exists`"),
            "`" => say("this is no quotation mark here", "text stands in \"…\" or '…'"),
            _ => None,
        },
        Kind::Stray => stray(text, token),
        Kind::Text => None,
    }
}

fn stray(text: &str, token: &Token<'_>) -> Option<(String, String)> {
    let c = token.text.chars().next()?;
    let said = match c {
        '“' | '”' | '„' | '‟' | '«' | '»' | '‘' | '’' | '‚' | '′' | '″' | '＂' => {
            return Some((
                format!("`{c}` is no quotation mark here"),
                "text stands in straight quotes: \"…\" or '…'".into(),
            ));
        }
        '≤' => ("`≤` is not an operator".into(), "write `<=`"),
        '≥' => ("`≥` is not an operator".into(), "write `>=`"),
        '≠' => ("`≠` is not an operator".into(), "write `!=`"),
        '–' | '—' | '−' => (format!("`{c}` is not a minus"), "write `-`"),
        _ if c.is_alphabetic() => {
            ("this letter cannot be part of a name".into(), "text stands in quotes: \"…\"")
        }
        _ if c.is_ascii_graphic() => {
            (format!("`{c}` means nothing here"), "take it away; text stands in quotes")
        }
        // What cannot be seen, or turns the direction of what follows.
        _ => {
            let first = text[..token.start].is_empty();
            let hint = if first { "take it away" } else { "take it away, or write a plain blank" };
            (format!("here stands U+{:04X}, which cannot be part of a condition", u32::from(c)), hint)
        }
    };
    Some((said.0, said.1.to_owned()))
}

fn number(word: &str) -> Option<(String, String)> {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let is_number = match hexadecimal {
        Some(digits) => digits.trim_end_matches(['u', 'U']).bytes().all(|b| b.is_ascii_hexdigit()),
        // Fractions and exponents are refused with their own words, as is `u`.
        None => digits.is_empty() || digits.starts_with(['.', 'e', 'E']) || matches!(digits, "u" | "U"),
    };
    if is_number {
        return None;
    }
    match duration::of_file(word) {
        Ok(_) => {
            Some(("a duration stands in quotes".into(), format!("write `duration(\"{}\")`", in_hours(word))))
        }
        Err(_) => Some((
            format!("{} is neither a number nor a name", quoted(word)),
            "text stands in quotes: \"…\"".into(),
        )),
    }
}

/// A date or a time as `timestamp` takes it, what is missing filled in with midnight, UTC.
pub(super) fn whole_time(written: &str) -> String {
    let (date, rest) = written.split_at(written.len().min(10));
    let rest = rest.trim_start_matches(['T', 't', ' ']);
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let clock = match clock.matches(':').count() {
        0 if clock.is_empty() => "00:00:00".to_owned(),
        0 => format!("{clock}:00:00"),
        1 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let zone = if zone.is_empty() { "Z" } else { zone };
    let whole = format!("{date}T{clock}{zone}");
    match chrono::DateTime::parse_from_rfc3339(&whole) {
        Ok(_) => whole,
        Err(_) => "2026-11-21T16:00:00Z".to_owned(),
    }
}

/// A duration of the policy file as `duration` takes it: CEL has no days.
pub(super) fn in_hours(written: &str) -> String {
    match (duration::of_cel(written), duration::of_file(written)) {
        (Err(_), Ok(length)) if length.num_minutes() % 60 == 0 => format!("{}h", length.num_hours()),
        (Err(_), Ok(length)) => format!("{}s", length.num_seconds()),
        _ => written.to_owned(),
    }
}

/// The length of a date, with or without a time of day, that the text begins with.
pub(super) fn date_at(text: &str) -> Option<usize> {
    let is = |from: usize, digits: usize| {
        text.get(from..from + digits).is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit()))
    };
    let dash = |at: usize| text.as_bytes().get(at) == Some(&b'-');
    if !(is(0, 4) && dash(4) && is(5, 2) && dash(7) && is(8, 2)) {
        return None;
    }
    let rest = &text[10..];
    let more = match rest.strip_prefix(['T', 't']) {
        Some(clock) if clock.starts_with(|c: char| c.is_ascii_digit()) => {
            1 + clock.bytes().take_while(|b| b.is_ascii_alphanumeric() || b":.+-".contains(b)).count()
        }
        _ => 0,
    };
    (more > 0 || !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')).then_some(10 + more)
}

/// The words, signs and literals of a text; of what is too long for a condition, none.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    if text.len() > MAX_BYTES {
        return Vec::new();
    }
    let (mut tokens, mut start) = (Vec::new(), 0);
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = match rest.as_bytes()[0] {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0C' => {
                start += 1;
                continue;
            }
            b'/' if rest.starts_with("//") => {
                start += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            first if first.is_ascii_digit() => match date_at(rest) {
                Some(length) => (Kind::Date, length),
                None => (Kind::Number, number_length(rest)),
            },
            first if first.is_ascii_alphabetic() || first == b'_' || matches!(first, b'"' | b'\'') => {
                match text_length(rest) {
                    Some((length, true)) => (Kind::Text, length),
                    Some((length, false)) => (Kind::Unclosed, length),
                    None => {
                        let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                        (Kind::Word, rest.bytes().take_while(is_part).count())
                    }
                }
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => (Kind::Symbol, symbol.len()),
                None => {
                    let c = rest.chars().next().unwrap_or_default();
                    let known = "()[]{}<>=!&|?:.,+-*/%`".contains(c);
                    (if known { Kind::Symbol } else { Kind::Stray }, c.len_utf8())
                }
            },
        };
        tokens.push(Token { kind, text: &rest[..length], start });
        start += length;
    }
    tokens
}

fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    while let Some(byte) = bytes.get(length) {
        let fraction = *byte == b'.' && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        if !(byte.is_ascii_alphanumeric() || *byte == b'_' || fraction) {
            break;
        }
        length += 1;
    }
    length
}

/// Of what begins with a quote, or with a quote's prefix: its length, and whether it ends. `None` when it is a word.
fn text_length(text: &str) -> Option<(usize, bool)> {
    let prefix = text.bytes().take(2).take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count();
    let quote = text[prefix..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let raw = text[..prefix].contains(['r', 'R']);
    let triple: String = [quote; 3].iter().collect();
    let long = text[prefix..].starts_with(&triple);
    let closing = if long { triple.as_str() } else { &triple[..1] };
    let mut at = prefix + closing.len();
    loop {
        let rest = &text[at..];
        if rest.starts_with(closing) {
            return Some((at + closing.len(), true));
        }
        match rest.chars().next() {
            None => return Some((text.len(), false)),
            Some('\n' | '\r') if !long => return Some((at, false)),
            Some('\\') if !raw => {
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                at += 1 + escaped;
            }
            Some(c) => at += c.len_utf8(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_taken_apart() {
        for text in [
            "",
            "\"",
            "r'",
            "\"\\",
            "'''a''",
            "b\"x\\",
            "2026-11-2",
            "2026-11-21T",
            "1.",
            "1.5.5",
            "ü“",
            "//",
            "/",
            "\0",
        ] {
            let tokens = tokens(text);
            assert!(tokens.iter().all(|token| !token.text.is_empty()), "{text:?}");
            for stop in 0..=text.len() {
                explain(text, stop, "Syntax error");
            }
        }
        let kinds: Vec<_> =
            tokens("a 1h '' \"\\\"\" r\"\\\" 2026-11-21T10:00Z && ü").iter().map(|it| it.kind).collect();
        let expected = [
            Kind::Word,
            Kind::Number,
            Kind::Text,
            Kind::Text,
            Kind::Text,
            Kind::Date,
            Kind::Symbol,
            Kind::Stray,
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn what_a_hint_offers_is_right() {
        for (written, whole) in [
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("2026-11-21T16:00", "2026-11-21T16:00:00Z"),
            ("2026-11-21T16:00:00", "2026-11-21T16:00:00Z"),
            ("2026-11-21 16:00:00+02:00", "2026-11-21T16:00:00+02:00"),
            ("2026-99-99", "2026-11-21T16:00:00Z"),
        ] {
            assert_eq!(whole_time(written), whole);
        }
        for (written, hours) in [("2d", "48h"), ("1d30m", "88200s"), ("24h", "24h")] {
            assert_eq!(in_hours(written), hours);
        }
    }
}
