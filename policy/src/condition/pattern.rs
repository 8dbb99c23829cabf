//! Regular expressions: linear in time whatever they are, bounded in size one by one and together.

use std::{collections::HashMap, sync::Arc};

use regex_automata::{
    meta::{self, BuildError, Config},
    util::syntax,
};
use regex_syntax::ast::ErrorKind;

/// The largest compiled pattern, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// What all patterns of a policy may take together, in bytes: some 10,000 small ones. As many take about 120 MB, since what
/// they are made of is counted here, and not what surrounds it.
pub(crate) const MAX_PATTERNS_BYTES: usize = 20 * 1024 * 1024;
/// What one search may keep of the states that it has met, in bytes.
const CACHE_BYTES: usize = 64 * 1024;

/// The pattern of `matches`.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    regex: meta::Regex,
}

/// The patterns of a policy. Equal ones are one; what is refused as too large counts as if it had been taken, so that
/// ever more of them do not take ever longer.
#[derive(Debug)]
pub(crate) struct Patterns {
    known: HashMap<(Box<str>, bool), Arc<Pattern>>,
    bytes_left: usize,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { known: HashMap::new(), bytes_left: MAX_PATTERNS_BYTES }
    }
}

impl Patterns {
    pub(super) fn get(&mut self, text: &str, caseless: bool) -> Result<Arc<Pattern>, PatternError> {
        let key = (Box::from(text), caseless);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        if self.bytes_left == 0 {
            return Err(PatternError::TooMany);
        }
        let pattern = match Pattern::new(text, caseless) {
            Err(PatternError::TooLarge) => {
                self.bytes_left = self.bytes_left.saturating_sub(MAX_PATTERN_BYTES);
                return Err(PatternError::TooLarge);
            }
            pattern => Arc::new(pattern?),
        };
        let Some(left) = self.bytes_left.checked_sub(pattern.regex.memory_usage()) else {
            self.bytes_left = 0;
            return Err(PatternError::TooMany);
        };
        self.bytes_left = left;
        self.known.insert(key, pattern.clone());
        Ok(pattern)
    }
}

/// Why a pattern is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// It is no regular expression.
    Syntax {
        /// Where, in bytes of it, when known.
        at: Option<usize>,
        /// What is wrong and what to write instead, when it is something that people do.
        why: Option<(&'static str, &'static str)>,
    },
    /// It is larger than a pattern may be.
    TooLarge,
    /// It is more than is left of what all may take together.
    TooMany,
}

impl Pattern {
    pub(super) fn new(text: &str, caseless: bool) -> Result<Self, PatternError> {
        let config = Config::new()
            .nfa_size_limit(Some(MAX_PATTERN_BYTES))
            .onepass_size_limit(Some(MAX_PATTERN_BYTES))
            // Determinised ahead of time a pattern can be exponential in size; the lazy form is bounded by its cache.
            .dfa(false)
            .hybrid_cache_capacity(CACHE_BYTES);
        let regex = meta::Regex::builder()
            .configure(config)
            .syntax(syntax::Config::new().case_insensitive(caseless).nest_limit(50))
            .build(text)
            .map_err(refused)?;
        if regex.memory_usage() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLarge);
        }
        Ok(Self { text: text.into(), regex })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn refused(error: BuildError) -> PatternError {
    if error.size_limit().is_some() {
        return PatternError::TooLarge;
    }
    let (at, why) = match error.syntax_error() {
        Some(regex_syntax::Error::Parse(error)) => (Some(error.span().start.offset), why(error.kind())),
        Some(regex_syntax::Error::Translate(error)) => (Some(error.span().start.offset), None),
        _ => (None, None),
    };
    PatternError::Syntax { at, why }
}

fn why(kind: &ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::GroupUnclosed => {
            ("a group begins here and does not end", "the character itself is written `\\\\(`")
        }
        ErrorKind::GroupUnopened => ("this ends no group", "the character itself is written `\\\\)`"),
        ErrorKind::ClassUnclosed => {
            ("a class begins here and does not end", "the character itself is written `\\\\[`")
        }
        ErrorKind::RepetitionMissing => {
            ("there is nothing to repeat", "the character itself is written with `\\\\` before it")
        }
        ErrorKind::UnsupportedLookAround => (
            "a pattern does not look ahead or behind",
            "join two conditions with `&&`, one of them with `!` before it",
        ),
        ErrorKind::UnsupportedBackreference => {
            ("a pattern does not refer back to its groups", "write out what may stand there")
        }
        ErrorKind::NestLimitExceeded(_) => ("the pattern nests too deeply", "take away parentheses"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_bounded() {
        for hostile in [r"\w{1000}{1000}", r"(\pL{100}){100}", r"((a{100}){100}){100}", r"(?:\w|\d){5000}"] {
            assert_eq!(Pattern::new(hostile, false).unwrap_err(), PatternError::TooLarge, "{hostile}");
        }
        for nested in ["(".repeat(10_000), "(".repeat(10_000) + &")".repeat(10_000)] {
            assert!(matches!(Pattern::new(&nested, false), Err(PatternError::Syntax { .. })));
        }
        for (pattern, place) in [("a[", 1), ("ab(?=c)", 2), ("(a)\\1", 3), ("a(b", 1), ("*", 0)] {
            let Err(PatternError::Syntax { at, why }) = Pattern::new(pattern, false) else {
                panic!("{pattern}")
            };
            assert_eq!(at, Some(place), "{pattern}");
            assert!(why.is_some(), "{pattern}");
        }
    }

    #[test]
    fn time_is_linear_in_the_text() {
        let pattern = Pattern::new("(a+)+$", false).unwrap();
        assert!(!pattern.is_match(&format!("{}b", "a".repeat(100_000))));
    }

    #[test]
    fn case_counts_unless_it_does_not() {
        assert!(!Pattern::new("^AREA/", false).unwrap().is_match("area/ui"));
        assert!(Pattern::new("^AREA/", true).unwrap().is_match("area/ui"));
        // Not the pattern in lower case, which would turn it into its opposite.
        assert!(Pattern::new(r"^\S+$", true).unwrap().is_match("area/ui"));
    }
}
