//! Policy files: what is refused, and how it is said; what is loaded; and limits.
//!
//! `bad/*.yaml` are refused with exactly what stands in the `.txt` beside them (`UPDATE_EXPECTED=1` writes those anew).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use events::ActionKind;
use policy::{Diagnostic, MAX_RULES, MAX_TEXT_BYTES, SCHEMA, Severity, load};
use proptest::prelude::*;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../samples/policy.yaml");

/// Every diagnostic with the part of the text that it is about.
fn in_words(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut words = String::new();
    for diagnostic in diagnostics {
        let Diagnostic { end_line, end_column, span, .. } = diagnostic;
        let said = diagnostic.to_string();
        let (place, said) = said.split_once(": ").unwrap();
        let (message, hint) = said.split_once('\n').map_or((said, ""), |(message, hint)| (message, hint));
        words += &format!("{place}-{end_line}:{end_column}: {message}\n");
        if let Some(part) = text[span.clone()].lines().next() {
            words += &format!("  here: {part}\n");
        }
        if !hint.is_empty() {
            words += &format!("{hint}\n");
        }
    }
    words
}

/// A file of several policies: each begins with a line `#### name`.
fn cases(text: &str) -> Vec<(&str, &str)> {
    match text.strip_prefix("#### ") {
        Some(text) => text.split("\n#### ").map(|case| case.split_once('\n').unwrap()).collect(),
        None => vec![("", text)],
    }
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
    for path in yaml_files(&folder) {
        files += 1;
        let is_loaded = path.file_stem().is_some_and(|name| name == "warned");
        let text = fs::read_to_string(&path).unwrap();
        let mut said = String::new();
        for (name, case) in cases(&text) {
            let diagnostics = match load(case) {
                Ok(ruleset) => {
                    assert!(is_loaded, "{}: {name} is loaded", path.display());
                    ruleset.warnings().to_vec()
                }
                Err(diagnostics) => {
                    assert!(!is_loaded, "{}: {name} is refused", path.display());
                    assert!(diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error));
                    diagnostics
                }
            };
            assert!(!diagnostics.is_empty(), "{}: {name}", path.display());
            if !name.is_empty() {
                said += &format!("#### {name}\n");
            }
            said += &in_words(case, &diagnostics);
        }
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(files >= 13, "only {files} files were found");
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
    assert_eq!(ruleset.hash(), events::id::sha256(SAMPLE.as_bytes()));
    assert!(ruleset.warnings().is_empty());
    assert_eq!(ruleset.rule("deadline").unwrap().line(), 25);
}

/// A YAML text as JSON, as an editor reads it.
fn as_json(text: &str) -> Option<Value> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).ok()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn the_schema_agrees_with_the_loader() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");

    let warned = fs::read_to_string(tests.join("bad/warned.yaml")).unwrap();
    let mut good: Vec<String> = cases(&warned).into_iter().map(|(_, case)| case.to_owned()).collect();
    good.push(SAMPLE.to_owned());
    for path in yaml_files(&tests.join("../../samples/policies")) {
        if !path.to_string_lossy().ends_with(".test.yaml") {
            good.push(fs::read_to_string(path).unwrap());
        }
    }
    for path in yaml_files(&tests.join("conversations")) {
        let conversation: Value = as_json(&fs::read_to_string(path).unwrap()).unwrap();
        good.extend(conversation["policy"].as_str().filter(|text| text.contains('\n')).map(str::to_owned));
    }
    assert!(good.len() > 20);
    for text in &good {
        assert!(load(text).is_ok(), "{text}");
        let value = as_json(text).unwrap();
        let errors: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
    }

    // What no schema can see: other names in the file, expressions, what is read as one document, keys that stand there
    // twice.
    let unseen =
        ["a second document, of nothing", "keys of every kind, and twice", "one identity of two people"];
    let mut bad = 0;
    for file in [
        "wrong-kinds",
        "slips",
        "everything-at-once",
        "not-a-policy",
        "at-and-durations",
        "identities",
        "limits",
    ] {
        let text = fs::read_to_string(tests.join("bad").join(file).with_extension("yaml")).unwrap();
        for (name, case) in cases(&text) {
            if let Some(value) = as_json(case).filter(|_| !unseen.contains(&name)) {
                bad += 1;
                assert!(!schema.is_valid(&value), "{file}: {name}");
            }
        }
    }
    assert!(bad > 15, "only {bad} bad files");
    // And one by one, in a file that is good besides.
    let targets = fs::read_to_string(tests.join("bad/wrong-kinds.yaml")).unwrap();
    let mut parts = 0;
    for (name, case) in cases(&targets) {
        for rule in as_json(case).iter().filter_map(|value| value["rules"].as_array()).flatten() {
            parts += 1;
            let alone = json!({"version": 1, "rules": [rule]});
            assert!(!schema.is_valid(&alone), "{name}: {rule}");
        }
    }
    assert!(parts > 15, "only {parts} rules");
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(value: &Value, path: &str, bare: &mut Vec<String>) {
        for (name, property) in value["properties"].as_object().into_iter().flatten() {
            if property.is_object() && !property["description"].is_string() && property["enum"].is_null() {
                bare.push(format!("{path}/{name}"));
            }
            walk(property, &format!("{path}/{name}"), bare);
        }
        for (name, definition) in value["$defs"].as_object().into_iter().flatten() {
            walk(definition, name, bare);
        }
    }
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut bare = Vec::new();
    walk(&schema, "", &mut bare);
    assert!(bare.is_empty(), "{bare:?}");
    let actions = schema["$defs"]["action"]["properties"]["action"]["enum"].as_array().unwrap();
    let said = ActionKind::KNOWN.iter().filter(|word| !ActionKind::from(**word).follows_up());
    assert!(actions.iter().eq(said), "every action but those that no rule says");
}

#[test]
fn line_ends_and_byte_order_marks_are_no_columns() {
    let text = "version: 1\nteams: {}\nrules:\n  - id: ü\n    when: |\n      issue.state == \"ü\" &&\n      issue.prio == \"P0\"\n    colour: x\n";
    let places = |text: &str| -> Vec<_> {
        let diagnostics = load(text).unwrap_err();
        diagnostics
            .iter()
            .map(|d| (d.line, d.column, d.end_line, d.end_column, text[d.span.clone()].to_owned()))
            .collect()
    };
    let expected = places(text);
    assert!(expected.contains(&(7, 7, 7, 17, "issue.prio".to_owned())), "{expected:?}");
    assert_eq!(places(&text.replace('\n', "\r\n")), expected);
    assert_eq!(places(&text.replace('\n', "\r")), expected);
    assert_eq!(places(&format!("\u{FEFF}{text}")), expected);
}

#[test]
fn characters_that_yaml_does_not_take_are_named() {
    for (text, place, name) in [
        ("version: 1\nrules: []\n\0", (3, 1), "U+0000"),
        ("version: 1\nrules: [\u{7}]\n", (2, 9), "U+0007"),
        ("version: 1\n# \u{FEFF}x\nrules: [\u{1}", (3, 9), "U+0001"),
    ] {
        let diagnostics = load(text).unwrap_err();
        assert_eq!((diagnostics[0].line, diagnostics[0].column), place, "{diagnostics:?}");
        assert!(diagnostics[0].message.contains(name), "{diagnostics:?}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let rule = "  - { id: r, when: 'true', then: { action: post_nudge, target: assignee }, rationale: r }\n";
    let nested = |n: usize| format!("version: 1\nrules: {}{}\n", "[".repeat(n), "]".repeat(n));
    let block: String = (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 500))).collect();
    let cases = [
        ("10 MB", " ".repeat(MAX_TEXT_BYTES + 1)),
        ("blank lines", format!("version: 1\nrules: []\n{}", "\n".repeat(MAX_TEXT_BYTES - 30))),
        ("100,000 rules", format!("version: 1\nrules:\n{}", rule.repeat(90_000))),
        ("more rules than allowed", format!("version: 1\nrules:\n{}", rule.repeat(MAX_RULES + 1))),
        ("nesting", nested(10_000)),
        ("nesting in blocks", block),
        ("nested twenty-five times", nested(25)),
        ("a long condition", with_condition(&format!("issue.title == \"{}\"", "x".repeat(8 * 1024)))),
        (
            "unknown keys",
            format!(
                "version: 1\nrules: []\n{}",
                (0..150_000).map(|n| format!("k{n}: 1\n")).collect::<String>()
            ),
        ),
        ("teams that nobody has", {
            let teams: String =
                (0..1000).map(|n| format!("  {}{n}: {{ members: [a] }}\n", "x".repeat(60))).collect();
            let rules: String = (0..5000)
                .map(|n| format!("  - {{ id: r{n}, when: 'true', then: {{ action: post_nudge, target: \"team:{}{n}\" }}, rationale: r }}\n", "y".repeat(60)))
                .collect();
            format!("version: 1\nteams:\n{teams}rules:\n{rules}")
        }),
        ("a fault at an anchor", {
            let uses = "  - { id: r, when: 'true', then: *t, rationale: r }\n".repeat(5000);
            format!(
                "version: 1\nrules:\n  - {{ id: r, when: 'true', then: &t {{ action: x, target: y }}, rationale: r }}\n{uses}"
            )
        }),
        ("a slip on every line", format!("version: 1\nrules:\n{}", "  - when: \"a\" in b\n".repeat(90_000))),
        ("one long line", format!("{{ version: 1, rules: [{}] }}", "{ id: a },".repeat(MAX_RULES - 1))),
        ("quotes that are never closed", format!("version: 1\nrules:\n{}", "  - when: \"a\n".repeat(90_000))),
        ("brackets on every line", format!("version: 1\nrules:\n{}", "  - when: [\n".repeat(90_000))),
        ("many faults", format!("version: 1\nrules:\n{}", "  - {}\n".repeat(MAX_RULES))),
    ];
    let says = [
        "at most 2097152 bytes",
        "at most 3145728 bytes",
        "at most 2097152 bytes",
        "at most 10000 rules; here are 10001",
        "nest more than 24 times",
        "at most 2097152 bytes",
        "nest more than 24 times",
        "at most 8192 bytes",
        "unknown key `k0`",
        "unknown team",
        "unknown action `x`",
        "more after the closing quote",
        "a rule must have",
        "not closed on its line",
        "there are no dashes",
        "a rule must have",
    ];
    for ((what, text), says) in cases.into_iter().zip(says) {
        let diagnostics = load(&text).expect_err(what);
        assert!(diagnostics.len() <= 100, "{what}");
        assert!(in_words(&text, &diagnostics).len() < 64 * 1024, "{what}");
        assert!(diagnostics[0].message.contains(says), "{what}: {:?}", diagnostics[0]);
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
                let said = format!("{diagnostics:?}");
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

/// Signs that mean something to YAML or to a condition.
fn any_sign() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\"",
        "'",
        ":",
        ": ",
        "-",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "@",
        "!",
        "*",
        "&",
        "#",
        " #",
        "`",
        "%",
        "|",
        ">",
        "\\",
        "\\d",
        "?",
        "? ",
        "<<: ",
        "---\n",
        "...\n",
        "ü",
        "\u{1F600}",
        "\u{FEFF}",
        "\0",
        "~",
        "x: y",
        "issue",
    ])
}

/// What is wrong with the diagnostics of a text, if anything.
fn misplaced(text: &str) -> Option<String> {
    let diagnostics = match load(text) {
        Ok(ruleset) => ruleset.warnings().to_vec(),
        Err(diagnostics) => diagnostics,
    };
    let bare = text.trim_start_matches('\u{FEFF}').replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = bare.split('\n').collect();
    let is_wrong = |diagnostic: &&Diagnostic| {
        let Diagnostic { line, column, end_line, end_column, span, message, .. } = diagnostic;
        let is_in = |line: usize, column: usize| {
            line >= 1
                && column >= 1
                && lines.get(line - 1).is_some_and(|line| column <= line.chars().count() + 1)
        };
        message.contains("fault")
            || text.get(span.clone()).is_none()
            || (line, column) > (end_line, end_column)
            || !is_in(*line, *column)
            || !is_in(*end_line, *end_column)
            || (line == end_line && text[span.clone()].chars().count() != end_column - column)
    };
    diagnostics.iter().find(is_wrong).map(|diagnostic| format!("{diagnostic:?}\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_condition_is_loaded_or_refused(condition in words()) {
        if let Err(diagnostics) = load(&with_condition(&condition)) {
            let said = format!("{diagnostics:?}");
            prop_assert!(!said.contains("fault"), "{said}\n{condition}");
        }
    }

    #[test]
    fn a_slip_anywhere_is_told(
        slips in proptest::collection::vec((0..SAMPLE.len(), 0_usize..3, any_sign()), 1..4),
        ends in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (at, taken, sign) in slips {
            let at = at % text.len();
            text.splice(at..(at + taken).min(text.len()), sign.chars());
        }
        let text = text.into_iter().collect::<String>().replace('\n', ends);
        prop_assert_eq!(misplaced(&text), None);
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in "[ -~\n\t\u{85}ü{}:&*|>!%@`\\[\\]]{0,200}") {
        prop_assert_eq!(misplaced(&text), None);
    }
}

/// What docs/policy.md shows of people and teams is a policy.
#[test]
fn the_documented_people_are_loaded() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md")).unwrap();
    let shown = text.split("<!-- example: people -->\n\n").nth(1).unwrap();
    let shown: String = shown
        .lines()
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", &line[4..]))
        .collect();
    let warnings = load(&shown).unwrap().warnings().to_vec();
    assert!(
        warnings.iter().all(|warning| warning.message.starts_with("no rule names the team")),
        "{warnings:?}"
    );
}
