//! Regular expressions: linear in time whatever they are, bounded in size one by one and together.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use regex_automata::{
    Input,
    meta::{self, Cache, Config},
};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

/// The largest compiled pattern, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// What all patterns of a policy may take together, in bytes.
pub(crate) const MAX_PATTERNS_BYTES: usize = 16 * 1024 * 1024;
/// What one search may keep of the states that it has met, in bytes.
const CACHE_BYTES: usize = 64 * 1024;
/// What all patterns of a policy may keep between searches, in bytes.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// The pattern of `matches`.
///
/// A search needs a cache, which grows while it searches. The regex's own pool would keep one for each thread that ever searched, so
/// each pattern keeps one at most, and all of a policy together no more than [`MAX_KEPT_BYTES`]; beyond that, and for a second
/// thread at the same moment, a cache is made for the search and dropped.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    caseless: bool,
    regex: meta::Regex,
    places: u64,
    cache: Mutex<Option<Box<Cache>>>,
    kept: Kept,
}

/// How many bytes the patterns of a policy keep between searches.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<AtomicUsize>);

/// Why a pattern is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// It is no regular expression; where, in bytes of it, when known.
    Syntax(Option<usize>),
    /// It is larger than a pattern may be.
    TooLarge,
}

impl Pattern {
    pub(super) fn new(text: &str, caseless: bool, kept: &Kept) -> Result<Self, PatternError> {
        let parsed = ParserBuilder::new().case_insensitive(caseless).nest_limit(50).build().parse(text);
        let hir = parsed.map_err(|error| {
            PatternError::Syntax(match error {
                regex_syntax::Error::Parse(error) => Some(error.span().start.offset),
                regex_syntax::Error::Translate(error) => Some(error.span().start.offset),
                _ => None,
            })
        })?;
        let config = Config::new()
            .nfa_size_limit(Some(MAX_PATTERN_BYTES))
            .onepass_size_limit(Some(MAX_PATTERN_BYTES))
            // Determinised ahead of time a pattern can be exponential in size; the lazy form is bounded by its cache.
            .dfa(false)
            .hybrid_cache_capacity(CACHE_BYTES);
        let regex = meta::Regex::builder()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|_| PatternError::TooLarge)?;
        if regex.memory_usage() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLarge);
        }
        Ok(Self {
            text: text.into(),
            caseless,
            regex,
            places: places(&hir),
            cache: Mutex::new(None),
            kept: kept.clone(),
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.regex.memory_usage()
    }

    /// In how many places of it a search can be at once: with that, and with the text's length, its time grows.
    pub(super) fn places(&self) -> u64 {
        self.places
    }

    pub(super) fn is_caseless(&self) -> bool {
        self.caseless
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        let mut own = self.cache.try_lock().ok();
        let kept = own.as_mut().and_then(|own| own.take());
        let before = kept.as_ref().map_or(0, |cache| cache.memory_usage());
        let mut cache = kept.unwrap_or_else(|| Box::new(self.regex.create_cache()));
        let found = self.regex.search_half_with(&mut cache, &Input::new(text).earliest(true)).is_some();
        if let Some(own) = &mut own
            && self.kept.exchange(before, cache.memory_usage())
        {
            **own = Some(cache);
        }
        found
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        if let Ok(Some(cache)) = self.cache.get_mut() {
            self.kept.exchange(cache.memory_usage(), 0);
        }
    }
}

impl Kept {
    /// Gives up `before` bytes and takes `after` instead, if there is room: if not, takes none.
    fn exchange(&self, before: usize, after: usize) -> bool {
        let others = self.0.fetch_sub(before, Ordering::Relaxed).saturating_sub(before);
        let room = others.saturating_add(after) <= MAX_KEPT_BYTES;
        if room {
            self.0.fetch_add(after, Ordering::Relaxed);
        }
        room
    }
}

/// Each byte of a literal and each class, as often as repetitions write them out. A class beyond ASCII takes up to four bytes.
fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) if !class.is_ascii() => 4,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1);
            places(&repetition.sub).saturating_mul(times.into())
        }
        HirKind::Capture(capture) => places(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(places).fold(0, u64::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_bounded() {
        for hostile in [r"\w{1000}{1000}", r"(\pL{100}){100}", r"((a{100}){100}){100}", r"(?:\w|\d){5000}"] {
            assert_eq!(
                Pattern::new(hostile, false, &Kept::default()).unwrap_err(),
                PatternError::TooLarge,
                "{hostile}"
            );
        }
        for nested in ["(".repeat(10_000), "(".repeat(10_000) + &")".repeat(10_000)] {
            assert!(matches!(Pattern::new(&nested, false, &Kept::default()), Err(PatternError::Syntax(_))));
        }
        assert_eq!(Pattern::new("a[", false, &Kept::default()).unwrap_err(), PatternError::Syntax(Some(1)));
    }

    #[test]
    fn time_is_linear_in_the_text() {
        let pattern = Pattern::new("(a+)+$", false, &Kept::default()).unwrap();
        assert!(!pattern.is_match(&format!("{}b", "a".repeat(100_000))));
    }

    #[test]
    fn case_counts_unless_it_does_not() {
        assert!(!Pattern::new("^AREA/", false, &Kept::default()).unwrap().is_match("area/ui"));
        assert!(Pattern::new("^AREA/", true, &Kept::default()).unwrap().is_match("area/ui"));
        // Not the pattern in lower case, which would turn it into its opposite.
        assert!(Pattern::new(r"^\S+$", true, &Kept::default()).unwrap().is_match("area/ui"));
    }

    #[test]
    fn places_are_counted_as_often_as_they_are_written_out() {
        for (pattern, expected) in [
            ("abc", 3),
            ("a{10}b", 11),
            ("(?:ab?){5}", 10),
            ("[a-z]+x|y", 4),
            ("(?i)bug", 3),
            (".{3}", 12),
            ("ü*", 4),
        ] {
            let pattern = Pattern::new(pattern, false, &Kept::default()).unwrap();
            assert_eq!(pattern.places(), expected, "{}", pattern.text());
        }
    }

    #[test]
    fn what_is_kept_between_searches_is_bounded() {
        let kept = Kept::default();
        let new = || Pattern::new("(?:a|b)*a(?:a|b){12}c", false, &kept).unwrap();
        let patterns: Vec<_> = (0..1000).map(|_| new()).collect();
        // A text of which a search keeps much.
        let text: String =
            (0..4000_u32).map(|n| if n * n % 7 < 3 || n % 11 == 0 { 'a' } else { 'b' }).collect();
        for pattern in &patterns {
            assert!(!pattern.is_match(&text));
        }
        let bytes = kept.0.load(Ordering::Relaxed);
        assert!(bytes > MAX_KEPT_BYTES / 2 && bytes <= MAX_KEPT_BYTES, "{bytes}");
        drop(patterns);
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn threads_search_at_once() {
        let pattern = Pattern::new(r"(?i)\bcrash\b.*start$", false, &Kept::default()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert!(
                            pattern.is_match("a Crash ü at start") && !pattern.is_match("a crash at the end")
                        );
                    }
                });
            }
        });
    }
}
