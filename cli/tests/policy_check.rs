//! `breakdown policy check` and `policy schema`, as somebody who writes a policy meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::{fs, path::Path};

use program::{breakdown, run};
use serde_json::{Value, json};

const GOOD: &str = "version: 1
rules:
  - id: one
    when: '\"bug\" in issue.labels'
    then: { action: post_nudge, target: assignee }
    rationale: first
";
const WARNED: &str = "version: 1
teams:
  triage: { members: [alice, bo] }
rules:
  - id: one
    when: '\"bug\" in issue.labels'
    then: { action: post_nudge, target: [assignee, \"team:triage\"] }
    rationale: first
  - id: two
    when: '\"web\" in issue.labels'
    then: { action: assign_owner, target: \"owner:alcie\" }
    rationale: second
";
const BAD: &str = "version: 1
teams:
  triage: { members: [alice, bo] }
rules:
  - id: one
    when: '\"bug\" in issue.lables && issue.title == \"100%\"'
    then: { action: nudge, target: \"team:triag\" }
    rationale: first
  - id: two
    when: \"bug\" in issue.labels
    then: { action: post_nudge, target: \"owner:alcie\" }
    rationale: second
";

/// `policy check` in a folder with those files.
async fn check(files: &[(&str, &[u8])], arguments: &[&str]) -> (String, i32) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = breakdown();
    command.current_dir(folder.path()).args(["policy", "check"]).args(arguments);
    let (out, err, code) = run(command.args(files.iter().map(|(name, _)| name))).await;
    assert_eq!(err, "");
    (out, code)
}

/// What is said last where there are no targets to look at.
const NO_TARGETS: &str =
    "targets: there is no configuration, so whom they would find was not looked at (--config)\n";

const BAD_SHOWN: &str = r#"error: unknown field `issue.lables`
 --> bad.yaml:6:21
  |
6 |     when: '"bug" in issue.lables && issue.title == "100%"'
  |                     ^^^^^^^^^^^^
  |
  = hint: did you mean `issue.labels`?

error: unknown action `nudge`
 --> bad.yaml:7:21
  |
7 |     then: { action: nudge, target: "team:triag" }
  |                     ^^^^^
  |
  = hint: did you mean `post_nudge`?

error: unknown team `triag`
 --> bad.yaml:7:36
  |
7 |     then: { action: nudge, target: "team:triag" }
  |                                    ^^^^^^^^^^^^
  |
  = hint: did you mean `triage`?

error: here is more after the closing quote
  --> bad.yaml:10:17
   |
10 |     when: "bug" in issue.labels
   |                 ^^^^^^^^^^^^^^^
   |
   = hint: put the whole condition in single quotes: `when: '"bug" in issue.labels'`

warning: `alcie` is in no team
  --> bad.yaml:11:41
   |
11 |     then: { action: post_nudge, target: "owner:alcie" }
   |                                         ^^^^^^^^^^^^^
   |
   = hint: did you mean `alice`?

bad.yaml: 4 errors, 1 warning
"#;

#[tokio::test]
async fn a_person_sees_each_mistake_in_its_line() {
    let (out, code) = check(&[("bad.yaml", BAD.as_bytes())], &[]).await;
    assert_eq!((out.as_str(), code), (BAD_SHOWN, 1), "{out}");
    let (out, code) = check(&[("good.yaml", GOOD.as_bytes())], &[]).await;
    assert_eq!((out, code), (format!("good.yaml: 1 rule, no mistakes\n{NO_TARGETS}"), 0));
}

#[tokio::test]
async fn all_files_are_reported_at_once() {
    let files: &[(&str, &[u8])] = &[
        ("good.yaml", GOOD.as_bytes()),
        ("wide.yaml", "version: 1\n# \u{fc}\nrules: x\n".as_bytes()),
        ("latin.yaml", b"version: 1\n# \xfc\nrules: []\n"),
        ("empty.yaml", b""),
    ];
    let (out, code) = check(files, &["missing.yaml", "."]).await;
    let expected = "error: the file cannot be read: there is no such file
--> missing.yaml

error: the file cannot be read: it is a directory
--> .

good.yaml: 1 rule, no mistakes

error: `rules` must be a list, not text
 --> wide.yaml:3:8
  |
3 | rules: x
  |        ^
  |
  = hint: each rule begins with `- id: …`

wide.yaml: 1 error

error: the file cannot be read: line 2 is not UTF-8; save the file as UTF-8
--> latin.yaml

error: a policy must be a map; here is nothing
 --> empty.yaml:1:1
  |
1 |
  | ^
  |
  = hint: a file begins with `version: 1` and `rules:`

empty.yaml: 1 error
";
    assert_eq!((out.as_str(), code), (format!("{expected}{NO_TARGETS}").as_str(), 2), "{out}");
}

#[tokio::test]
async fn a_program_reads_one_object_a_line() {
    let files: &[(&str, &[u8])] = &[("bad.yaml", BAD.as_bytes()), ("good.yaml", GOOD.as_bytes())];
    let (out, code) = check(files, &["--format", "json", "none.yaml"]).await;
    assert_eq!(code, 2);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mistake = |severity, place: [u64; 4], message: &str, hint: &str| {
        json!({"kind": "diagnostic", "file": "bad.yaml", "severity": severity, "line": place[0], "column": place[1],
            "end_line": place[2], "end_column": place[3], "message": message, "hint": hint})
    };
    let summary = |file, errors, warnings| {
        json!({"kind": "summary", "file": file, "ok": false, "errors": errors, "warnings": warnings, "rules": null,
            "hash": null, "targets": null, "unreadable": null})
    };
    let mut none = summary("none.yaml", 0, 0);
    none["unreadable"] = json!("there is no such file");
    let mut good = summary("good.yaml", 0, 0);
    good["ok"] = json!(true);
    good["rules"] = json!(1);
    good["hash"] = json!(events::id::sha256(GOOD.as_bytes()));
    good["targets"] = json!([]);
    let quotes = "put the whole condition in single quotes: `when: '\"bug\" in issue.labels'`";
    assert_eq!(
        lines,
        [
            none,
            mistake("error", [6, 21, 6, 33], "unknown field `issue.lables`", "did you mean `issue.labels`?"),
            mistake("error", [7, 21, 7, 26], "unknown action `nudge`", "did you mean `post_nudge`?"),
            mistake("error", [7, 36, 7, 48], "unknown team `triag`", "did you mean `triage`?"),
            mistake("error", [10, 17, 10, 32], "here is more after the closing quote", quotes),
            mistake("warning", [11, 41, 11, 54], "`alcie` is in no team", "did you mean `alice`?"),
            summary("bad.yaml", 4, 1),
            good,
        ]
    );
}

#[tokio::test]
async fn github_annotates_the_lines() {
    let files: &[(&str, &[u8])] = &[
        ("a,b.yaml", WARNED.as_bytes()),
        ("bad.yaml", b"version: 1\nrules:\n  - { id: \"50%,\xe2\x80\xae\", when: 'true', then: { action: post_nudge, target: assignee }, rationale: r }\n"),
    ];
    let (out, code) = check(files, &["--format", "github", "none:.yaml"]).await;
    let expected = "::error file=none%3A.yaml,title=Policy::the file cannot be read: there is no such file
::warning file=a%2Cb.yaml,line=11,col=43,endLine=11,endColumn=56,title=Policy warning::`alcie` is in no team%0Ahint: did you mean `alice`?
a,b.yaml: 2 rules, 1 warning
::error file=bad.yaml,line=3,col=11,endLine=3,endColumn=18,title=Policy error::an id is 1 to 100 letters, digits, `-`, `_`, `.` or `/`%0Ahint: such as `50---`
bad.yaml: 1 error
";
    assert_eq!((out.as_str(), code), (format!("{expected}{NO_TARGETS}").as_str(), 2), "{out}");
}

#[tokio::test]
async fn warnings_fail_when_they_are_denied() {
    let files: &[(&str, &[u8])] = &[("warned.yaml", WARNED.as_bytes())];
    for (arguments, ok, code) in [(&[][..], true, 0), (&["--deny-warnings"][..], false, 1)] {
        let (out, exit) = check(files, arguments).await;
        assert!(out.ends_with(&format!("\nwarned.yaml: 2 rules, 1 warning\n{NO_TARGETS}")), "{out}");
        assert!(out.starts_with("warning: `alcie` is in no team\n"), "{out}");
        assert_eq!(exit, code);
        let (out, exit) = check(files, &[arguments, &["--format", "json"]].concat()).await;
        let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!((&summary["ok"], &summary["warnings"], exit), (&json!(ok), &json!(1), code));
    }
}

/// Whatever a file holds, what is printed of it moves no cursor.
#[tokio::test]
async fn text_from_a_file_is_inert() {
    let hostile =
        "version: 1\nrules:\n  - { id: \"\\e[2J\u{202e}\", wh\u{9b}en: \"\u{2066}x\", target: '\u{200f}' }\n";
    for format in ["human", "json", "github"] {
        let (out, code) = check(&[("hostile.yaml", hostile.as_bytes())], &["--format", format]).await;
        assert_eq!(code, 1);
        let active = |c: &char| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        };
        assert_eq!(out.chars().find(active), None, "{format}: {out:?}");
    }
}

/// Files that no policy is: refused with the limit named.
#[tokio::test]
async fn what_is_too_large_is_refused() {
    let block: String = (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let rule = "  - { id: r, when: 'true', then: { action: post_nudge, target: assignee }, rationale: r }\n";
    let rules = |n: usize| format!("version: 1\nrules:\n{}", rule.repeat(n));
    let bomb = include_str!("../../policy/tests/bad/bomb.yaml");
    let cases = [
        ("ten megabytes", "ü".repeat(5 * 1024 * 1024), "at most 2097152 bytes"),
        (
            "blank lines",
            format!("version: 1\nrules: []\n{}", "\n".repeat(2_000_000)),
            "as a JSON string, which may have at most 3145728 bytes (3 MiB)",
        ),
        ("100,000 rules", rules(100_000), "at most 2097152 bytes"),
        ("10,001 rules", rules(10_001), "at most 10000 rules"),
        (
            "nested in brackets",
            format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
            "nest more than 24 times",
        ),
        ("nested in blocks", block[..2_000_000].to_owned(), "nest more than 24 times"),
        ("a bomb", bomb.to_owned(), "aliases repeat too much"),
        (
            "one long line",
            format!("{{ rules: [{}] }}", "{ id: a },".repeat(9_999)),
            "a policy must have `version`",
        ),
    ];
    for (what, text, said) in cases {
        let (out, code) = check(&[("large.yaml", text.as_bytes())], &[]).await;
        assert_eq!(code, 1, "{what}");
        assert!(out.contains(said), "{what}: {}", out.chars().take(500).collect::<String>());
        assert!(out.len() < 128 * 1024, "{what}: {}", out.len());
    }
}

#[tokio::test]
async fn serve_refuses_a_bad_policy_in_the_same_form() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let mut command = breakdown();
    command.current_dir(folder.path()).args(["serve", "--policy", "bad.yaml", "--data-dir", "data"]);
    let (_, err, code) = run(&mut command).await;
    assert_eq!(code, 2);
    let shown = BAD_SHOWN.rsplit_once("\n\n").unwrap().0;
    assert_eq!(err.trim_end(), format!("error: the policy bad.yaml has mistakes\n\n{shown}"));
}

#[tokio::test]
async fn the_schema_is_printed_as_it_is_published() {
    let (out, _, code) = run(breakdown().args(["policy", "schema"])).await;
    assert_eq!(code, 0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    assert_eq!(out, fs::read_to_string(root.join("policy/policy.schema.json")).unwrap());
    // What newcomers copy names it beside itself, wherever they put it, and says how it comes there.
    let samples = fs::read_dir(root.join("samples/policies")).unwrap().map(|entry| entry.unwrap().path());
    let samples: Vec<_> = samples.chain([root.join("samples/policy.yaml")]).collect();
    let policies = samples.iter().filter(|path| !path.to_string_lossy().ends_with(".test.yaml"));
    assert_eq!(policies.clone().count(), 4);
    for path in policies {
        let sample = fs::read_to_string(path).unwrap();
        let (first, rest) = sample.split_once('\n').unwrap();
        assert_eq!(first, "# yaml-language-server: $schema=policy.schema.json", "{}", path.display());
        assert!(rest.lines().next().unwrap().ends_with("breakdown policy schema > policy.schema.json"));
    }
}

/// Who is known where, and a rule for each.
const NAMED: &str = "version: 1
people:
  alice: { github: alice-w, slack: U024BE7LH }
  bo: {}
teams:
  platform: { members: [alice, bo] }
rules:
  - id: page
    when: '\"p0\" in issue.labels'
    then: { action: escalate_owner, target: \"team:platform\" }
    rationale: first
  - id: give
    when: '\"bug\" in issue.labels'
    then: { action: assign_owner, target: [assignee, \"team:platform\"] }
    rationale: second
";

const CONFIGURATION: &str = r#"
[targets.pager]
kind = "pagerduty"
services = { platform = { env = "PD" } }
[targets.gh]
kind = "github"
token = { env = "GH" }
[targets.other]
kind = "pagerduty"
services = { all = { env = "PD" }, platform = { env = "PD" } }
service = "all"
[[routes]]
project = "alpha"
action = "escalate_owner"
targets = ["other"]
[[routes]]
action = "escalate_owner"
targets = ["pager", "gh"]
[[routes]]
project = "alpha"
action = "escalate_owner"
targets = ["pager"]
[[routes]]
action = "assign_owner"
targets = ["gh"]
"#;

#[tokio::test]
async fn whom_a_target_would_not_find_is_warned_of_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let check = async |arguments: &[&str]| {
        let mut command = breakdown();
        command.current_dir(folder.path()).args(["policy", "check", "p.yaml"]).args(arguments);
        let (out, err, code) = run(&mut command).await;
        assert_eq!(err, "");
        (out, code)
    };
    write("p.yaml", NAMED);
    assert_eq!(check(&[]).await, (format!("p.yaml: 2 rules, no mistakes\n{NO_TARGETS}"), 0));
    write("breakdown.toml", CONFIGURATION);
    let (out, code) = check(&["--deny-warnings"]).await;
    assert_eq!(code, 1);
    let page = "rule page: team:platform has no `pagerduty`, and target `pager` has no default service; the action will be rejected";
    let give =
        "rule give: owner:bo has no `github`, and target `gh` assigns by login; the action will be rejected";
    assert!(
        out.contains(page) && out.contains("--> p.yaml:8:") && out.contains("targets.pager.service"),
        "{out}"
    );
    let asked = "targets: those of breakdown.toml were looked at: gh, other, pager\n";
    assert!(out.contains(give) && out.ends_with(&format!("p.yaml: 2 rules, 2 warnings\n{asked}")), "{out}");
    let (out, _) = check(&["--format", "json"]).await;
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["targets"], json!(["gh", "other", "pager"]));
    // Elsewhere other targets may serve.
    write("other.toml", "");
    assert_eq!(check(&["--config", "other.toml"]).await.1, 0);
    let none = "no mistakes\ntargets: other.toml has none, so whom they would find was not looked at\n";
    assert!(check(&["--config", "other.toml"]).await.0.ends_with(none));
    write("p.yaml", &NAMED.replace("bo: {}", "bo: { github: bo-k, pagerduty: platform }"));
    assert!(check(&[]).await.0.contains("no mistakes"), "a team is paged by its people's service");
    write("p.yaml", &NAMED.replace("bo: {}", "bo: { github: bo-k, pagerduty: moon }"));
    let (out, _) = check(&[]).await;
    assert!(
        out.contains("team:platform has the `pagerduty` \"moon\", and target `pager` has no such service"),
        "{out}"
    );
}
