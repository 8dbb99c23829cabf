//! Regular expressions: linear in time whatever they are, bounded in size and in the work of making them ready, one by one and
//! together.

mod work;

use std::{
    collections::HashMap,
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use regex_automata::{
    Input,
    hybrid::dfa::{self, DFA},
    nfa::thompson::{self, WhichCaptures, pikevm, pikevm::PikeVM},
    util::pool::Pool,
};
use regex_syntax::{
    ast::{self, ErrorKind, parse::ParserBuilder},
    hir::{Class, Hir, HirKind, translate::TranslatorBuilder},
};

/// The largest compiled pattern, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// What all patterns of a policy may take together, in bytes: some 10,000 small ones.
pub(crate) const MAX_PATTERNS_BYTES: usize = 20 * 1024 * 1024;
/// The most steps of making one pattern ready ([`work`]): some 16 ms.
pub(crate) const MAX_PATTERN_WORK: u64 = 1 << 22;
/// The most steps of making all patterns of a policy ready: some 0.15 s.
pub(crate) const MAX_PATTERNS_WORK: u64 = 40_000_000;
/// What a pattern may keep of the states that its searches have met, in bytes: four times what it takes itself, within these
/// bounds. So the memory of all of them is bounded as all patterns are.
const MIN_CACHE_BYTES: usize = 16 * 1024;
const MAX_CACHE_BYTES: usize = 64 * 1024;
/// How deep parentheses and classes may nest.
const MAX_NESTING: u32 = 50;

/// The pattern of `matches`: an automaton that is made deterministic where searches go.
pub(crate) struct Pattern {
    text: Box<str>,
    dfa: DFA,
    /// Takes over where the other gives up: word boundaries beside characters beyond ASCII, too many states.
    vm: PikeVM,
    caches: Pool<Caches, MakeCaches>,
    positions: u64,
}

type MakeCaches = Box<dyn Fn() -> Caches + Send + Sync + UnwindSafe + RefUnwindSafe>;

struct Caches {
    dfa: dfa::Cache,
    vm: Option<pikevm::Cache>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// The patterns of a policy. Equal ones are one; what is refused counts as if it had been taken, so that ever more of them do
/// not take ever longer.
#[derive(Debug)]
pub(crate) struct Patterns {
    known: HashMap<(Box<str>, bool), Arc<Pattern>>,
    bytes_left: usize,
    work_left: u64,
    /// One for all: what it works with is large.
    compiler: thompson::Compiler,
}

impl Default for Patterns {
    fn default() -> Self {
        let mut compiler = thompson::Compiler::new();
        compiler.configure(
            thompson::Config::new()
                .nfa_size_limit(Some(MAX_PATTERN_BYTES))
                .which_captures(WhichCaptures::None),
        );
        Self { known: HashMap::new(), bytes_left: MAX_PATTERNS_BYTES, work_left: MAX_PATTERNS_WORK, compiler }
    }
}

impl Patterns {
    pub(super) fn get(&mut self, text: &str, caseless: bool) -> Result<Arc<Pattern>, PatternError> {
        let key = (Box::from(text), caseless);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let made = self.make(text, caseless);
        let bytes = match &made {
            Ok(pattern) => pattern.vm.get_nfa().memory_usage(),
            Err(PatternError::TooLarge) => MAX_PATTERN_BYTES,
            Err(_) => 0,
        };
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None if made.is_ok() => {
                self.bytes_left = 0;
                return Err(PatternError::TooMany);
            }
            None => self.bytes_left = 0,
        }
        let pattern = Arc::new(made?);
        self.known.insert(key, pattern.clone());
        Ok(pattern)
    }

    fn make(&mut self, text: &str, caseless: bool) -> Result<Pattern, PatternError> {
        if self.bytes_left == 0 {
            return Err(PatternError::TooMany);
        }
        let tree = ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(text).map_err(|error| {
            PatternError::Syntax { at: Some(error.span().start.offset), why: why(error.kind()) }
        })?;
        let limit = self.work_left.min(MAX_PATTERN_WORK);
        match work::count(text, &tree, caseless, limit) {
            Ok(steps) => self.work_left -= steps,
            Err(work::TooMuch) => {
                self.work_left -= limit;
                let all = limit < MAX_PATTERN_WORK;
                return Err(if all { PatternError::TooMuchWorkTogether } else { PatternError::TooMuchWork });
            }
        }
        self.compile(text, &tree, caseless)
    }

    fn compile(&self, text: &str, tree: &ast::Ast, caseless: bool) -> Result<Pattern, PatternError> {
        let translated = TranslatorBuilder::new().case_insensitive(caseless).build().translate(text, tree);
        let translated = translated
            .map_err(|error| PatternError::Syntax { at: Some(error.span().start.offset), why: None })?;
        // Of what is a regular expression nothing but its size is refused.
        let nfa = self.compiler.build_from_hir(&translated).map_err(|_| PatternError::TooLarge)?;
        let bytes = nfa.memory_usage();
        if bytes > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLarge);
        }
        // Determinised ahead of time a pattern can be exponential in size; this form is bounded by its cache.
        let config = dfa::Config::new()
            .cache_capacity((4 * bytes).clamp(MIN_CACHE_BYTES, MAX_CACHE_BYTES))
            .skip_cache_capacity_check(true)
            .unicode_word_boundary(true)
            // It gives up where nearly every byte needs a state of its own.
            .minimum_cache_clear_count(Some(3))
            .minimum_bytes_per_state(Some(10));
        let dfa = dfa::Builder::new().configure(config).build_from_nfa(nfa.clone());
        let dfa = dfa.map_err(|_| PatternError::TooLarge)?;
        let vm = PikeVM::new_from_nfa(nfa).map_err(|_| PatternError::TooLarge)?;
        let of = dfa.clone();
        let make: MakeCaches = Box::new(move || Caches { dfa: of.create_cache(), vm: None });
        let positions = positions(&translated);
        Ok(Pattern { text: text.into(), dfa, vm, caches: Pool::new(make), positions })
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
    /// It takes more steps to be made ready than a pattern may.
    TooMuchWork,
    /// It is more than is left of what all may take together.
    TooMany,
    /// It takes more steps than are left of those that all may take together.
    TooMuchWorkTogether,
}

impl Pattern {
    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// At how many places in it a search can be at once: what it takes to go on by a byte, where it takes most.
    pub(crate) fn positions(&self) -> u64 {
        self.positions
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let input = Input::new(text).earliest(true);
        let mut caches = self.caches.get();
        match self.dfa.try_search_fwd(&mut caches.dfa, &input) {
            Ok(found) => found.is_some(),
            Err(_) => self.vm.is_match(caches.vm.get_or_insert_with(|| self.vm.create_cache()), input),
        }
    }
}

/// The characters, classes, assertions and branches of a pattern, each as often as it is repeated. What matches nothing is a way to go
/// on all the same.
fn positions(it: &Hir) -> u64 {
    match it.kind() {
        HirKind::Empty => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Look(_) => 1,
        // A character is looked for among the ranges of its class.
        HirKind::Class(Class::Unicode(class)) => 1 + (class.ranges().len() as u64 / 8).min(8),
        HirKind::Class(Class::Bytes(class)) => 1 + class.ranges().len() as u64 / 8,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            // Going on without one more is a way besides, at each of them.
            let ways = if repetition.max == Some(repetition.min) { 0 } else { 2 };
            positions(&repetition.sub).saturating_add(ways).saturating_mul(u64::from(times)).max(1)
        }
        HirKind::Capture(capture) => positions(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(positions).fold(0, u64::saturating_add),
        HirKind::Alternation(parts) => {
            parts.iter().map(|part| positions(part).saturating_add(1)).fold(0, u64::saturating_add)
        }
    }
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

    fn made(text: &str, caseless: bool) -> Result<Arc<Pattern>, PatternError> {
        Patterns::default().get(text, caseless)
    }

    #[test]
    fn what_matches_nothing_is_counted() {
        let positions = |text: &str| made(text, false).map(|pattern| pattern.positions());
        for (text, at_least) in [("(?:||||||||)zz", 9), ("(?:a?|b*|){100}", 400), ("", 1)] {
            assert!(positions(text).is_ok_and(|found| found >= at_least), "{text}: {:?}", positions(text));
        }
    }

    #[test]
    fn patterns_are_bounded() {
        for hostile in [r"\w{1000}{1000}", r"(\pL{100}){100}", r"((a{100}){100}){100}", r"(?:\w|\d){5000}"] {
            assert_eq!(made(hostile, false).unwrap_err(), PatternError::TooLarge, "{hostile}");
        }
        for nested in ["(".repeat(10_000), "(".repeat(10_000) + &")".repeat(10_000)] {
            assert!(matches!(made(&nested, false), Err(PatternError::Syntax { .. })));
        }
        for (pattern, place) in [("a[", 1), ("ab(?=c)", 2), ("(a)\\1", 3), ("a(b", 1), ("*", 0)] {
            let Err(PatternError::Syntax { at, why }) = made(pattern, false) else { panic!("{pattern}") };
            assert_eq!(at, Some(place), "{pattern}");
            assert!(why.is_some(), "{pattern}");
        }
        assert_eq!(
            made(r"a\p{Nonsense}", false).unwrap_err(),
            PatternError::Syntax { at: Some(1), why: None }
        );
    }

    #[test]
    fn work_is_bounded_one_by_one_and_together() {
        let wide = |times: usize| format!("(?:{}){{0}}", "[\u{100}-\u{10ffff}]".repeat(times));
        assert!(made(&wide(800), false).is_ok());
        assert!(made(&wide(3), true).is_ok());
        assert_eq!(made(&wide(800), true).unwrap_err(), PatternError::TooMuchWork);
        let mut patterns = Patterns::default();
        let taken = (0..100).take_while(|n| patterns.get(&format!("{n}{}", wide(3)), true).is_ok()).count();
        assert!((5..20).contains(&taken), "{taken}");
        assert_eq!(patterns.get(&wide(3), true).unwrap_err(), PatternError::TooMuchWorkTogether);
        // What is refused counts.
        let mut patterns = Patterns::default();
        let refused = |n: usize| format!("{n}{}", wide(800));
        while matches!(
            patterns.get(&refused(patterns.work_left as usize), true),
            Err(PatternError::TooMuchWork)
        ) {}
        assert_eq!(patterns.get("(?i)[a-z]", false).unwrap_err(), PatternError::TooMuchWorkTogether);
    }

    #[test]
    fn time_is_linear_in_the_text() {
        let pattern = made("(a+)+$", false).unwrap();
        assert!(!pattern.is_match(&format!("{}b", "a".repeat(100_000))));
    }

    #[test]
    fn word_boundaries_know_all_letters() {
        let pattern = made(r"(?i)\bcrash\b", false).unwrap();
        for (text, found) in [
            ("a crash!", true),
            ("crashes", false),
            ("Übercrash", false),
            ("ü CRASH ß", true),
            ("crashé", false),
        ] {
            assert_eq!(pattern.is_match(text), found, "{text}");
        }
    }

    #[test]
    fn what_needs_ever_more_states_is_found_all_the_same() {
        let pattern = made("(?:a|b)*a(?:a|b){12}c", false).unwrap();
        let text = |n: u32| -> String {
            (0..4000_u32)
                .map(|i| if (i * n).wrapping_mul(2_654_435_761) >> 13 & 1 == 0 { 'a' } else { 'b' })
                .collect()
        };
        assert!(!pattern.is_match(&text(1)));
        assert!(pattern.is_match(&(text(3) + "abbbbbbbbbbbbc")));
        assert!(!pattern.is_match(&(text(3) + "bbbbbbbbbbbbbc")));
    }

    #[test]
    fn case_counts_unless_it_does_not() {
        assert!(!made("^AREA/", false).unwrap().is_match("area/ui"));
        assert!(made("^AREA/", true).unwrap().is_match("area/ui"));
        // Not the pattern in lower case, which would turn it into its opposite.
        assert!(made(r"^\S+$", true).unwrap().is_match("area/ui"));
    }
}
