//! Policy files: what is refused, and how it is said; what is loaded; and limits.
//!
//! `bad/*.yaml` are refused with exactly what stands in the `.txt` beside them (`UPDATE_EXPECTED=1` writes those anew).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use policy::{Diagnostic, MAX_RULES, MAX_TEXT_BYTES, SCHEMA, Severity, load};
use proptest::prelude::*;
use serde_json::Value;

const SAMPLE: &str = include_str!("../../samples/policy.yaml");

fn refused(text: &str) -> String {
    in_words(&load(text).expect_err("the policy is refused"))
}

fn in_words(diagnostics: &[Diagnostic]) -> String {
    assert!(diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error));
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

fn with_condition(condition: &str) -> String {
    let condition = condition.replace('\'', "''");
    format!(
        "version: 1\nrules:\n  - id: r\n    when: '{condition}'\n    then: {{ action: post_nudge, target: assignee }}\n    rationale: r\n"
    )
}

#[test]
fn bad_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let (mut files, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        files += 1;
        let said = refused(&fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(files >= 11, "only {files} files were found");
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn the_sample_is_loaded_as_it_is_meant() {
    let ruleset = load(SAMPLE).unwrap();
    let ids: Vec<_> = ruleset.rules().map(|rule| rule.id()).collect();
    assert_eq!(ids, ["escalate-p0-bug", "frontend-to-alice", "deadline", "triage-new"]);
    let momentary: Vec<_> =
        ruleset.rules().filter(|rule| rule.is_momentary()).map(|rule| rule.id()).collect();
    assert_eq!(momentary, ["triage-new"]);
    assert_eq!(ruleset.text(), SAMPLE);
    assert_eq!(ruleset.hash(), events::id::payload_hash(SAMPLE.as_bytes()));
    assert!(ruleset.warnings().is_empty());
    assert_eq!(ruleset.rule("deadline").unwrap().line(), 24);
}

#[test]
fn the_schema_agrees_with_the_loader() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let sample: Value = serde_saphyr::from_str(SAMPLE).unwrap();
    assert!(schema.is_valid(&sample));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    for file in ["everything-at-once", "not-a-policy", "at-and-durations"] {
        let text = fs::read_to_string(folder.join(file).with_extension("yaml")).unwrap();
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        assert!(!schema.is_valid(&value), "{file}");
    }
    let mut unknown = sample.clone();
    unknown["rules"][0]["cooldwn"] = "1m".into();
    assert!(!schema.is_valid(&unknown));
}

#[test]
fn a_team_that_no_rule_names_is_a_warning() {
    let ruleset = load("version: 1\nteams: { idle: { members: [a] } }\nrules: []\n").unwrap();
    let warnings: Vec<_> = ruleset.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["2:10: warning: no rule names the team `idle`"]);
}

#[test]
fn what_is_too_large_is_refused_soon() {
    let rule = "  - { id: r, when: 'true', then: { action: post_nudge, target: assignee }, rationale: r }\n";
    let nested = |n: usize| format!("version: 1\nrules: {}{}\n", "[".repeat(n), "]".repeat(n));
    let block: String = (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 500))).collect();
    let cases = [
        ("10 MB", " ".repeat(MAX_TEXT_BYTES + 1)),
        ("100,000 rules", format!("version: 1\nrules:\n{}", rule.repeat(90_000))),
        ("more rules than allowed", format!("version: 1\nrules:\n{}", rule.repeat(MAX_RULES + 1))),
        ("nesting", nested(10_000)),
        ("nesting in blocks", block),
        ("nested twenty-five times", nested(25)),
        ("a long condition", with_condition(&format!("issue.title == \"{}\"", "x".repeat(8 * 1024)))),
        ("many faults", format!("version: 1\nrules:\n{}", "  - {}\n".repeat(MAX_RULES))),
    ];
    for (what, text) in cases {
        let began = Instant::now();
        let diagnostics = load(&text).expect_err(what);
        assert!(diagnostics.len() <= 100, "{what}");
        assert!(in_words(&diagnostics).len() < 64 * 1024, "{what}");
        // Generous: this is an unoptimised build on a busy machine, and what is guarded against takes minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());
    }
}

/// Conditions that grow in every direction in which a parser or an evaluation can recurse.
fn deep_conditions() -> Vec<String> {
    let repeat = |piece: &str, n: usize| piece.repeat(n);
    let mut conditions = Vec::new();
    for n in [5, 10, 15, 20, 25, 30, 31, 32, 33, 40, 47, 48, 49, 60, 100, 1000, 2500] {
        conditions.extend([
            format!("{}true{}", repeat("(", n), repeat(")", n)),
            format!("{}true", repeat("!", n)),
            format!("{}1 == 1", repeat("-", n)),
            format!("issue{} == 1", repeat(".b", n)),
            format!("size(\"\"{}) > 0", repeat("+\"a\"", n)),
            format!("true{}", repeat("&&true", n)),
            format!("true{}", repeat("||true", n)),
            format!("{}true{}", repeat("true?", n), repeat(":true", n)),
            format!("true{}", repeat("?true:true", n)),
            format!("1 in {}1{}", repeat("[", n), repeat("]", n)),
            format!("true{}", repeat("==true", n)),
            format!("\"a\"{} == 1", repeat(".size()", n)),
            format!("\"a\"{} == 1", repeat("[0]", n)),
            format!("{}1{} == 1", repeat("size(", n), repeat(")", n)),
            format!("{}{}", repeat("issue.labels.all(l,", n), repeat(")", n)),
        ]);
    }
    conditions.retain(|condition| condition.len() <= 8 * 1024);
    conditions
}

#[test]
fn no_condition_brings_the_process_down() {
    use events::{EventType, IssueEvent, Said, Source};
    use policy::{Input, State, decide};

    let (mut loaded, mut refused) = (0, 0);
    for condition in deep_conditions() {
        match load(&with_condition(&condition)) {
            Err(diagnostics) => {
                let said = in_words(&diagnostics);
                assert!(!said.contains("fault"), "{said}\n{condition}");
                refused += 1;
            }
            Ok(ruleset) => {
                loaded += 1;
                // A quarter of what a thread of the server has.
                let evaluate = move || {
                    let mut event =
                        IssueEvent::new("e", "p", Source::Github, EventType::IssueOpened, "github:o/r#1");
                    event.labels = Said::Value(vec!["a".into(), "b".into()]);
                    let now = chrono::DateTime::UNIX_EPOCH;
                    decide(
                        &State::default(),
                        Input::Event { event: &event, payload_hash: None },
                        now,
                        &ruleset,
                    );
                };
                std::thread::Builder::new().stack_size(512 * 1024).spawn(evaluate).unwrap().join().unwrap();
            }
        }
    }
    assert!(loaded > 20 && refused > 100, "{loaded} loaded, {refused} refused");
}

fn words() -> impl Strategy<Value = String> {
    let pieces = proptest::sample::select(vec![
        "issue",
        ".",
        "labels",
        "event",
        "type",
        "now",
        "due_at",
        "\"bug\"",
        "'x'",
        "1",
        "-",
        "1.5",
        "2u",
        "in",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "==",
        "!=",
        "<",
        ">=",
        "+",
        "exists",
        "all",
        "map",
        "l",
        "size",
        "matches",
        "duration",
        "timestamp",
        "\"24h\"",
        "null",
        "true",
        "false",
        " ",
        "\n",
        "\"",
        "\\",
        "b\"",
        "r'",
        "0x",
        "9999999999999999999",
        "ü",
        "\u{1F600}",
        "@",
        "`",
        "$",
        ";",
        "//",
        "_",
        "has",
        "optional.of",
        "?.",
        "[?",
    ]);
    proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_condition_is_loaded_or_refused(condition in words()) {
        if let Err(diagnostics) = load(&with_condition(&condition)) {
            let said = in_words(&diagnostics);
            prop_assert!(!said.contains("fault"), "{said}\n{condition}");
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in "[ -~\n\t\u{85}ü{}:&*|>!%@`\\[\\]]{0,200}") {
        if let Err(diagnostics) = load(&text) {
            prop_assert!(!in_words(&diagnostics).contains("fault"));
        }
    }
}
