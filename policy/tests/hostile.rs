//! Conditions that are meant to do harm: each is loaded or refused with what is wrong about it, and none is a fault.
//!
//! How long it takes and how much memory is not asserted here: `scripts/bench.sh policy --loading` and `--hostile` print them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::thread;

use events::{EventType, IssueEvent, Said, Source};
use policy::{Input, Note, Ruleset, State, decide, load};
use proptest::prelude::*;
use serde_json::json;

/// A policy of these conditions.
fn policy_of(conditions: impl IntoIterator<Item = String>) -> String {
    let mut text = String::from("{\"version\":1,\"rules\":[");
    for (place, condition) in conditions.into_iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let rule = json!({
            "id": format!("r{place}"), "when": condition, "rationale": "r", "continue": true, "cooldown": "0s",
            "then": { "action": "post_nudge", "target": "owner:x" },
        });
        text.push_str(&format!("{comma}\n{rule}"));
    }
    text + "]}"
}

/// What is said of a policy that is refused. Whatever is said is short, of one line, and nothing that a terminal obeys.
fn try_load(text: &str) -> Result<Ruleset, String> {
    load(text).map_err(|diagnostics| {
        assert!(!diagnostics.is_empty() && diagnostics.len() <= 100);
        let mut said = String::new();
        for diagnostic in &diagnostics {
            for words in [Some(&diagnostic.message), diagnostic.hint.as_ref()].into_iter().flatten() {
                assert!(words.len() < 700, "{words}");
                let unseen = |c: char| {
                    c.is_control() || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
                };
                assert!(!words.contains(unseen), "{words:?}");
            }
            said.push_str(&format!("{diagnostic}\n"));
        }
        // What `load` says when it caught a panic.
        assert!(!said.contains("a fault"), "{said}\n{text}");
        said
    })
}

fn try_condition(condition: &str) -> Result<Ruleset, String> {
    try_load(&policy_of([condition.to_owned()]))
}

#[track_caller]
fn refused(condition: &str, because: &str) {
    let brief: String = condition.chars().take(60).collect();
    let said = try_condition(condition).err().unwrap_or_else(|| panic!("{brief} is accepted"));
    assert!(said.contains(because), "{brief}\n{said}");
    assert_eq!(said.lines().filter(|line| !line.starts_with("  hint")).count(), 1, "{brief}\n{said}");
}

fn event(title: &str, labels: usize) -> IssueEvent {
    let mut event = IssueEvent::new("e", "p", Source::Github, EventType::IssueOpened, "github:o/r#1");
    event.title = Said::Value(title.to_owned());
    event.labels = Said::Value((0..labels).map(|n| format!("label-{n}")).collect());
    event
}

/// Decides an event on a thread with a quarter of the stack that a server's has; how many errors and actions there are.
fn decided(ruleset: Ruleset, event: IssueEvent) -> (u64, usize) {
    let evaluate = move || {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let input = Input::Event { event: &event, payload_hash: None };
        let decision = decide(&State::default(), input, now, &ruleset);
        let errors = decision.notes.iter().filter(|note| note.name() == "condition_error");
        let errors: u64 = errors.map(Note::count).sum();
        // Beyond the first twenty they are counted, not named.
        assert!(decision.notes.len() <= 21);
        (errors, decision.actions.len())
    };
    thread::Builder::new().stack_size(512 * 1024).spawn(evaluate).unwrap().join().unwrap()
}

/// Pieces that nest or chain, `n` times each.
fn deep(n: usize) -> Vec<String> {
    let r = |piece: &str| piece.repeat(n);
    vec![
        format!("{}true{}", r("("), r(")")),
        format!("{}true", r("!")),
        format!("{}1 == 1", r("-")),
        format!("1 in {}1{}", r("["), r("]")),
        format!("{}true{}", r("true ? "), r(" : true")),
        format!("true{}", r(" ? true : true")),
        format!("issue{} == 1", r(".b")),
        format!("issue.title{} == 1", r(".size()")),
        format!("issue{} == 1", r("[0]")),
        format!("{}1{} == 1", r("size("), r(")")),
        format!("{}true{}", r("issue.labels.all(l, "), r(")")),
        format!("{}true{}", r("[1].exists(l, "), r(")")),
        format!("now{} == now", r(" - duration('1h')")),
        format!("{}", r("{1:")),
        format!("{}", r("a{b:")),
        format!("true{}", r(" == true")),
        format!("1{} == 1", r("+1")),
        r("("),
        r(")"),
        r("["),
        r("\"\"\""),
        r("r'"),
        r("//"),
        r("\\"),
        r("?"),
        r("a."),
        r("."),
        r("!!("),
        r("-("),
    ]
}

#[test]
fn depth_is_bounded() {
    for n in [20, 100, 1000, 4000] {
        for condition in deep(n) {
            if let Ok(ruleset) = try_condition(&condition) {
                // `!!` and `--` are nothing to the parser.
                assert!(
                    n < 1000 || condition.starts_with("!!!") || condition.starts_with("---"),
                    "{}",
                    &condition[..60]
                );
                decided(ruleset, event("x", 3));
            }
        }
    }
    for condition in deep(10_000).into_iter().filter(|condition| condition.len() > 8 * 1024) {
        refused(&condition, "at most 8192 bytes");
    }
    refused(&"(".repeat(33), "nests too deeply");
    refused(&format!("{}true", "!(".repeat(40)), "nests too deeply");
    refused(&format!("issue{} == 1", ".b".repeat(200)), "nests too deeply");
    refused(&format!("true{}", " ? true : true".repeat(100)), "nests too deeply");
}

#[test]
fn as_many_nodes_as_fit() {
    // Chains are no depth.
    for (first, piece) in [
        ("true", "&&true"),
        ("true", "||true"),
        ("true", "&&1<2"),
        ("1 in [1", ",1"),
        ("now in [now", ",now"),
    ] {
        let closing = if first.contains('[') { "]" } else { "" };
        let pieces = (8 * 1024 - first.len() - closing.len()) / piece.len();
        let condition = format!("{first}{}{closing}", piece.repeat(pieces));
        let ruleset = try_condition(&condition).unwrap_or_else(|said| panic!("{first}{piece}\n{said}"));
        assert_eq!(decided(ruleset, event("x", 3)), (0, 1));
    }
    refused(&format!("true{}", "&&true".repeat(100_000)), "at most 8192 bytes");
}

#[test]
fn patterns_are_bounded() {
    let ruleset = try_condition(r#"issue.title.matches("(a+)+$")"#).unwrap();
    assert_eq!(decided(ruleset, event(&format!("{}b", "a".repeat(1000)), 0)), (0, 0));
    for hostile in [r"\\w{1000}{1000}", r"(\\pL{100}){100}", r"((a{100}){100}){100}", r"(?i)(\\w|\\d){3000}"]
    {
        refused(&format!("issue.title.matches(\"{hostile}\")"), "more than 256 KiB");
    }
    for (broken, why) in [
        ("(", "does not end"),
        ("*", "nothing to repeat"),
        (r"\\", "escape"),
        (r"(?=a)", "ahead"),
        ("a{9999999999}", "regular"),
    ] {
        let said = try_condition(&format!("issue.title.matches(\"{broken}\")")).unwrap_err();
        assert!(said.contains(why) || said.contains("not a regular expression"), "{broken}: {said}");
    }
    refused(
        &format!("issue.title.matches(\"{}{}\")", "(".repeat(3000), ")".repeat(3000)),
        "nests too deeply",
    );
    // Each alone is allowed, all together are not; those that are the same count once.
    let large = |n: usize| format!("'x'.matches(\"^{n}[a-z]{{2000}}\")");
    assert!(try_load(&policy_of((0..200).map(|_| large(1)))).is_ok());
    let said = try_load(&policy_of((0..2000).map(large))).unwrap_err();
    assert!(said.contains("20 MiB"), "{said}");
    // Searches for what is the same count each.
    let searches = |n: usize| policy_of((0..n).map(|_| "issue.title.matches(\"(?:.?){40}\")".to_owned()));
    assert!(try_load(&searches(100)).is_ok());
    assert!(try_load(&searches(200)).unwrap_err().contains("steps together"));
}

/// `part`, as often as a pattern of 4,000 bytes holds it.
fn pattern(before: &str, part: &str, after: &str) -> String {
    format!("issue.title.matches(r\"{before}{}{after}\")", part.repeat(4000 / part.len()))
}

/// Small when compiled, and long in the making.
#[test]
fn the_work_of_compiling_a_pattern_is_bounded() {
    let wide = "[\u{100}-\u{10ffff}]";
    let too_much = [
        pattern("(?i)(?:", wide, "){0}"),
        pattern("(?i)", wide, ""),
        pattern("(?:(?i:", wide, ")){0}"),
        pattern("(?i)(?:", "[^a]|[[^b]]", "){0}"),
        pattern("(?i)(?:", r"\p{any}", "){0}"),
        pattern("(?i)(?:", r"[\w-]", "){0}"),
        pattern("(?i)(?:", r"[a&&\W]", "){0}"),
        pattern("(?:", r"\p{age=16.0}", "){0}"),
        pattern("(?:", r"\pL", "){0}"),
        pattern("(?:", r"\pL|\pN|", "x){0}"),
        pattern("[", r"\pL\pN", "]{0}"),
        pattern("(?:", r"[\pL&&\w--\pN~~[ab]]", "){0}"),
    ];
    for condition in &too_much {
        refused(condition, "more than 4194304 steps to be compiled");
    }
    // Each just below the limit.
    let below = |n: usize| format!("issue.title.matches(r\"(?i){n}{}{{0}}\")", wide.repeat(3));
    assert!(try_condition(&below(0)).is_ok());
    let said = try_load(&policy_of((0..100).map(below))).unwrap_err();
    assert!(said.contains("the patterns up to here take more than 40000000 steps"), "{said}");
    // What is refused counts as well: the rest of the policy is not even tried.
    let said =
        try_load(&policy_of((0..90).map(|n| too_much[0].replace("(?:", &format!("{n}(?:"))))).unwrap_err();
    assert!(said.contains("the patterns up to here take more than 40000000 steps"), "{said}");
    for condition in [
        pattern("(?:", "[ab]|", "c){0}"),
        format!("issue.title.matches(r\"{}a{}\")", "[".repeat(49), "]".repeat(49)),
        r#"issue.title.matches("(?:(?:(?:(?:a{0}){99}){99}){99}){99}")"#.to_owned(),
        r#"issue.title.matches("(?i)\\b(crash|outage)s?\\b")"#.to_owned(),
    ] {
        let ruleset = try_condition(&condition).unwrap_or_else(|said| panic!("{condition}\n{said}"));
        decided(ruleset, event("Crash: üç", 3));
    }
    refused(&format!("issue.title.matches(r\"{}a{}\")", "[".repeat(60), "]".repeat(60)), "nests too deeply");
    refused(&pattern("[", r"\pL&&\w--\pN~~", "a]"), "nests too deeply");
    // Little work to compile, and at each character as many ways to go on as there are branches.
    refused(&pattern("(?:", "|", "){500}"), "steps; 4194304 is the limit");
    let looped = format!(r#"issue.labels.exists(l, issue.title.matches("(?:{})\\bzz"))"#, "|".repeat(7_000));
    refused(&looped, "steps; 4194304 is the limit");
}

#[test]
fn what_an_evaluation_takes_is_bounded() {
    let nested = |depth: usize| {
        let names = ["a", "b", "c", "d", "e"];
        let opening: String =
            names[..depth].iter().map(|name| format!("issue.labels.all({name}, ")).collect();
        format!("{opening}{} != ''{}", names[depth - 1], ")".repeat(depth))
    };
    let ruleset = try_condition(&nested(2)).unwrap();
    assert_eq!(decided(ruleset, event("x", 256)), (0, 1));
    refused(&nested(3), "steps; 4194304 is the limit");
    refused(&nested(5), "steps");
    let said = try_load(&policy_of((0..1000).map(|_| nested(2)))).unwrap_err();
    assert!(said.contains("steps together"), "{said}");
    // A list that is written out multiplies as well.
    let list = format!("[{}1]", "1,".repeat(1000));
    refused(&format!("{list}.all(a, {list}.all(b, {list}.all(c, a == b || b == c)))"), "steps");
}

/// A policy that forgets to ask whether there are labels.
#[test]
fn rules_that_err_all_at_once_are_counted_and_some_are_named() {
    let rules = |n: usize| policy_of((0..n).map(|n| format!("\"label-{n}\" in issue.labels")));
    let unlabelled = || IssueEvent { labels: Said::Nothing, ..event("x", 0) };
    for n in [1, 20, 21, 3000] {
        assert_eq!(decided(try_load(&rules(n)).unwrap(), unlabelled()), (n as u64, 0));
    }
    let decision = decide(
        &State::default(),
        Input::Event { event: &unlabelled(), payload_hash: None },
        "2026-11-20T10:00:00Z".parse().unwrap(),
        &try_load(&rules(50)).unwrap(),
    );
    let named =
        |n: usize| Note::ConditionError { rule: format!("r{n}"), issue_ref: "github:o/r#1".to_owned() };
    let mut expected: Vec<_> = (0..20).map(named).collect();
    expected.push(Note::MoreConditionErrors { count: 30 });
    assert_eq!(decision.notes, expected);
}

#[test]
fn odd_characters_numbers_and_times() {
    for (condition, because) in [
        ("\0", "U+0000"),
        ("true\0", "U+0000"),
        ("true \u{1}", "U+0001"),
        ("\u{feff}true", "U+FEFF"),
        ("true\u{202e}", "U+202E"),
        ("true &&\u{a0}true", "U+00A0"),
        ("true &&\u{200b}true", "U+200B"),
        ("issue.\u{202e}title == 'x'", "U+202E"),
        ("issue.title == '\n'", "no closing"),
        ("event.type == 'issue_\u{202e}opened'", "is never"),
        (r"issue.title == '\q'", "escape"),
        (r"issue.title == '\u12'", "escape"),
        (r"issue.title == '\U00110000'", "escape"),
        (r"issue.title == '\ud800'", "escape"),
        (r"issue.title == '\x'", "escape"),
        (r"issue.title == '\400'", "escape"),
        (r"issue.title == '\", "no closing"),
        ("issue.number == 9223372036854775808", "too large"),
        ("issue.number == -9223372036854775809", "too large"),
        ("issue.number == 0xFFFFFFFFFFFFFFFFF", "too large"),
        ("issue.number == 1e999", "numbers"),
        ("issue.number == 18446744073709551616u", "too large"),
        ("now - now > duration('999999999999h')", "not a duration"),
        ("now - now > duration('99999999999999999999999999h')", "not a duration"),
        ("now - now > duration('24h banana')", "not a duration"),
        ("now - now > duration('')", "not a duration"),
        ("now > timestamp('0000-01-01T00:00:00Z')", "years 1 to 9999"),
        ("now > timestamp('0001-01-01T00:00:00+00:01')", "years 1 to 9999"),
        ("now > timestamp('9999-12-31T23:59:59-00:01')", "years 1 to 9999"),
        ("now > timestamp('9999-12-31T23:59:60Z')", "years 1 to 9999"),
        ("now > timestamp('10000-01-01T00:00:00Z')", "not a time"),
        ("now > timestamp('+10000-01-01T00:00:00Z')", "not a time"),
        ("now > timestamp('-0001-01-01T00:00:00Z')", "not a time"),
        ("now > timestamp('2026-02-30T00:00:00Z')", "not a time"),
        ("now > timestamp('2026-11-21T24:00:00Z')", "not a time"),
        ("now > timestamp('2026-11-21T16:00:00+25:00')", "not a time"),
        ("now > timestamp('２026-11-21T16:00:00Z')", "not a time"),
        ("now > timestamp('')", "not a time"),
    ] {
        refused(condition, because);
    }
    for condition in [
        "issue.title != '\u{202e}\u{1}ü\u{0}'",
        r"issue.title != '\x00\u202e\U0001F980\a\b\f\n\r\t\v\?'",
        "issue.number != -9223372036854775808 || true",
        "issue.number != 0x7FFFFFFFFFFFFFFF || true",
        "now > timestamp('0001-01-01T00:00:00Z')",
        "now < timestamp('9999-12-31T23:59:59.999999999Z')",
        "now > timestamp('2016-12-31T23:59:60Z')",
        "now > timestamp('2016-12-31T23:59:60+14:00')",
        "now - now < duration('87600h')",
        "\ttrue\r\n// what for\r\n",
    ] {
        let ruleset = try_condition(condition).unwrap_or_else(|said| panic!("{condition:?}\n{said}"));
        assert_eq!(decided(ruleset, event("x", 1)), (0, 1), "{condition:?}");
    }
    // Beyond the calendar while it is evaluated.
    let ruleset = try_condition("timestamp('9999-12-31T23:59:59Z') + duration('1s') > now").unwrap();
    assert_eq!(decided(ruleset, event("x", 1)), (1, 0));
    let name = "x".repeat(8000);
    refused(&format!("{name} == 1"), "unknown name");
    refused(&format!("issue.{name} == 1"), "unknown field");
    refused(&format!("{name}() == 1"), "unknown function");
    refused(&format!("event.type == '{name}'"), "is never");
    let ruleset = try_condition(&format!("['a'].exists({name}, true)")).unwrap();
    assert_eq!(decided(ruleset, event("x", 1)), (0, 1));
}

/// Valid conditions to spoil.
const VALID: &[&str] = &[
    r#""bug" in issue.labels && ("p0" in issue.labels || issue.priority in ["P0", "Highest"])"#,
    r#"issue.due_at != null && issue.due_at <= now || "overdue" in issue.labels"#,
    r#"issue.labels.exists(l, l.startsWith("area/") && issue.assignees.all(a, a != l))"#,
    r#"now - issue.created_at > duration("72h") ? issue.title.matches("^(fix|feat)\\b") : !(issue.state == "closed")"#,
    r#"(issue.priority == null ? "P3" : issue.priority) == 'P0' && size(issue.labels) >= 2 // many"#,
    r#"issue.due_at - duration("24h") < timestamp("2026-11-21T16:00:00Z") && issue.number != -12"#,
    r#"event.type == "issue_opened" || event.labels_added.exists(l, l in ["a", """b""", r'c\d'])"#,
];

fn spoiled() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        "\"",
        "'",
        "\\",
        "\n",
        "!",
        "-",
        "&&",
        "||",
        "==",
        " in ",
        "issue",
        ".",
        "labels",
        "now",
        "null",
        "1",
        "1.5",
        "u",
        "24h",
        "2026-11-21",
        "?",
        ":",
        ",",
        "{",
        "}",
        "//",
        "=",
        "&",
        "and",
        "ü",
        "“",
        "\u{202e}",
        "\0",
        "exists",
        "has",
        "all(l, l)",
        ".size()",
        "matches",
        "\"(a+\"",
        "duration",
        "timestamp",
        "x",
        "r\"",
        "b'",
        "\"\"\"",
        "type",
        "?.",
        "[?",
        "`",
        "@",
        "9999999999999999999",
    ]);
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), pieces, 0..4_usize);
    (prop::sample::select(VALID), prop::collection::vec(edit, 1..6)).prop_map(|(valid, edits)| {
        let mut chars: Vec<char> = valid.chars().collect();
        for (at, to, piece, what) in edits {
            let (at, to) = (at.index(chars.len() + 1), to.index(chars.len() + 1));
            let (from, to) = (at.min(to), at.max(to));
            match what {
                0 => _ = chars.splice(from..from, piece.chars()),
                1 => _ = chars.splice(from..to.min(from + 4), piece.chars()),
                2 => _ = chars.drain(from..to.min(from + 8)),
                _ => {
                    let copy = chars[from..to].to_vec();
                    chars.splice(to..to, copy);
                }
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_condition_is_loaded_or_refused(condition in spoiled()) {
        if let Ok(ruleset) = try_condition(&condition) {
            decided(ruleset, event("fix it", 3));
        }
    }

    #[test]
    fn a_spoiled_policy_is_loaded_or_refused(at in any::<prop::sample::Index>(), length in 0..40_usize, piece in "[ -~\n]{0,12}") {
        let sample = include_str!("../../samples/policy.yaml");
        let from = at.index(sample.len());
        let mut text = sample.as_bytes().to_vec();
        text.splice(from..(from + length).min(sample.len()), piece.into_bytes());
        let _ = try_load(&String::from_utf8_lossy(&text));
    }
}
