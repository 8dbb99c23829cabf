//! Regular expressions: linear in time whatever they are, bounded in size one by one and together.

use regex_automata::{
    meta::{self, BuildError, Config},
    util::syntax,
};

/// The largest compiled pattern, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// What all patterns of a policy may take together, in bytes.
pub(crate) const MAX_PATTERNS_BYTES: usize = 16 * 1024 * 1024;
/// What one search may keep of the states that it has met, in bytes.
const CACHE_BYTES: usize = 64 * 1024;

/// The pattern of `matches`.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    caseless: bool,
    regex: meta::Regex,
}

/// Why a pattern is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// It is no regular expression; where, in bytes of it, when known.
    Syntax(Option<usize>),
    /// It is larger than a pattern may be.
    TooLarge,
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
        Ok(Self { text: text.into(), caseless, regex })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.regex.memory_usage()
    }

    pub(super) fn is_caseless(&self) -> bool {
        self.caseless
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn refused(error: BuildError) -> PatternError {
    if error.size_limit().is_some() {
        return PatternError::TooLarge;
    }
    PatternError::Syntax(error.syntax_error().map(|error| match error {
        regex_syntax::Error::Parse(error) => error.span().start.offset,
        regex_syntax::Error::Translate(error) => error.span().start.offset,
        _ => 0,
    }))
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
            assert!(matches!(Pattern::new(&nested, false), Err(PatternError::Syntax(_))));
        }
        assert_eq!(Pattern::new("a[", false).unwrap_err(), PatternError::Syntax(Some(1)));
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
