//! `breakdown policy test` with the real program: the samples hold, and what is said where something else happens.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::{
    fs,
    path::{Path, PathBuf},
};

use program::{breakdown, run};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn test(dir: &Path) -> Command {
    let mut command = breakdown();
    command.args(["policy", "test"]).current_dir(dir);
    command
}

const POLICY: &str = r#"version: 1
rules:
  - id: bug
    when: '"bug" in issue.labels'
    then: { action: escalate_owner, target: "owner:maria" }
    rationale: A bug
  - id: web
    when: '"web" in issue.labels'
    then: { action: assign_owner, target: "owner:alice" }
    rationale: The web
"#;
const CASES: &str = r#"cases:
  - name: Bugs call Maria
    steps:
      - event: { type: issue_opened, labels: [bug] }
        expect: ["escalate_owner owner:maria bug"]
"#;
const FAILING: &str = r#"cases:
  - name: Bugs of the <web> & "such" call Maria
    steps:
      - event: { type: issue_opened, labels: [bug, web] }
        expect: ["assign_owner owner:alice web"]
"#;

/// A directory with those files.
fn with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[tokio::test]
async fn the_samples_hold() {
    let (out, err, code) = run(test(&root()).arg("samples")).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.is_empty() && !out.contains("FAIL"), "{out}{err}");
    for policy in [
        "policy.yaml",
        "policies/support-sla.yaml",
        "policies/team-routing.yaml",
        "policies/release-week.yaml",
    ] {
        assert!(out.contains(&format!("samples/{policy}: each of its")), "{policy}\n{out}");
    }
    assert!(
        out.contains("ok   A due date passes by itself, and then every day until the issue is closed\n"),
        "{out}"
    );
    assert!(out.trim_end().ends_with("passed, 0 failed"), "{out}");
    // What newcomers copy has no mistakes, nor warnings.
    let mut check = breakdown();
    check.args(["policy", "check", "--deny-warnings", "samples/policy.yaml"]).current_dir(root());
    for entry in fs::read_dir(root().join("samples/policies")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".test.yaml") {
            check.arg(path);
        }
    }
    let (out, err, code) = run(&mut check).await;
    assert!(code == 0 && !out.contains("warning"), "{out}{err}");
}

#[tokio::test]
async fn a_failure_is_shown_as_a_difference_with_its_reasons() {
    let dir = with(&[("p.yaml", POLICY), ("p.test.yaml", FAILING)]);
    let (out, _, code) = run(&mut test(dir.path())).await;
    assert_eq!(code, 1);
    let expected = "p.test.yaml (policy p.yaml)
FAIL Bugs of the <web> & \"such\" call Maria
     step 1, line 4, 2026-01-05T09:00:00Z, issue_opened of github:acme/app#1:
     the actions differ: `-` was expected, `+` happened instead
       - assign_owner owner:alice web
       + escalate_owner owner:maria bug   (2026-01-05T09:00:00Z)
     why:
       the condition of `web` holds for github:acme/app#1, but `bug` stands above it and decides

p.yaml: 1 of 2 rules fired in no case: web (line 7)
1 case: 0 passed, 1 failed
";
    assert_eq!(out, expected);
    // No clock, nothing random.
    assert_eq!(run(&mut test(dir.path())).await.0, out);
}

#[tokio::test]
async fn of_many_rules_that_no_case_covers_some_are_named() {
    let rule = |n: usize| {
        format!(
            "  - {{ id: r{n}, when: '\"l{n}\" in issue.labels', then: {{ action: post_nudge, target: \"owner:bo\" }}, rationale: r }}\n"
        )
    };
    let policy = format!("version: 1\nrules:\n{}", (0..50).map(rule).collect::<String>());
    let cases = "cases: [{ name: x, steps: [{ event: { type: issue_opened }, expect: [] }] }]\n";
    let dir = with(&[("p.yaml", &policy), ("p.test.yaml", cases)]);
    let (out, _, code) = run(&mut test(dir.path())).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("p.yaml: 50 of 50 rules fired in no case: r0 (line 3), r1 (line 4), "), "{out}");
    assert!(out.contains(" r19 (line 22), and 30 more (`--json` names all)\n"), "{out}");
    let (out, _, _) = run(test(dir.path()).arg("--json")).await;
    let of_policy = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_policy = of_policy.into_iter().find(|line| line["not_fired"].is_array()).unwrap();
    assert_eq!(of_policy["not_fired"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn files_are_found_by_name_by_policy_and_by_folder() {
    let dir = with(&[
        ("a.yaml", POLICY),
        ("a.test.yaml", CASES),
        ("deep/er/b.test.yaml", &format!("policy: ../../a.yaml\n{CASES}")),
        (".hidden/c.test.yaml", "nonsense"),
        ("no-cases.yaml", POLICY),
    ]);
    for (args, cases) in [
        (&[][..], 2),
        (&["."], 2),
        (&["deep"], 1),
        (&["a.yaml"], 1),
        (&["a.test.yaml"], 1),
        (&["a.yaml", "deep", "a.test.yaml"], 2),
    ] {
        let (out, err, code) = run(test(dir.path()).args(args)).await;
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        assert!(out.contains(&format!(": {cases} passed, 0 failed")), "{args:?}: {out}");
    }
    // Both name one policy, and between them one rule is left.
    let (out, _, _) = run(&mut test(dir.path())).await;
    assert_eq!(out.matches("1 of 2 rules fired in no case: web (line 7)").count(), 1, "{out}");
    for (args, says) in [
        (&["no-cases.yaml"][..], "no-cases.test.yaml"),
        (&["missing.test.yaml"], "missing.test.yaml cannot be read"),
        (&["--filter", "unheard of"], "unheard of"),
        (&["--json", "--junit", "-"], "standard output"),
        (&["--policy", "missing.yaml", "a.yaml"], ""),
        (&["--junit", "no/such/folder.xml"], "no/such/folder.xml cannot be written"),
    ] {
        let (_, err, code) = run(test(dir.path()).args(args)).await;
        assert!(code == 2 && err.contains(says), "{args:?}: {code} {err}");
    }
    fs::create_dir(dir.path().join("empty")).unwrap();
    let (_, err, code) = run(test(dir.path()).arg("empty")).await;
    assert!(code == 2 && err.contains("no test file"), "{err}");
}

#[tokio::test]
async fn cases_chosen_by_name_say_nothing_of_the_other_rules() {
    let both = format!("{CASES}{}", FAILING.replace("cases:\n", ""));
    let dir = with(&[("p.yaml", POLICY), ("p.test.yaml", &both)]);
    let (out, _, code) = run(test(dir.path()).args(["--filter", "Bugs call"])).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 case: 1 passed") && !out.contains("fired in"), "{out}");
    assert_eq!(run(&mut test(dir.path())).await.2, 1);
}

#[tokio::test]
async fn a_candidate_is_put_to_the_same_cases() {
    let candidate = POLICY.replace("id: bug", "id: all-bugs");
    let dir = with(&[("p.yaml", POLICY), ("p.test.yaml", CASES), ("next.yaml", &candidate)]);
    let (out, _, code) = run(test(dir.path()).args(["--policy", "next.yaml", "p.yaml"])).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("(policy next.yaml)") && out.contains("the policy has no rule `bug`"), "{out}");
    // Under its own policy a name that nobody has is a mistake of the test file.
    let dir = with(&[("p.yaml", &candidate), ("p.test.yaml", CASES)]);
    let (out, _, code) = run(&mut test(dir.path())).await;
    assert_eq!(code, 2, "{out}");
    assert!(
        out.contains("error: the policy has no rule `bug`") && out.contains("p.test.yaml:5:18\n"),
        "{out}"
    );
}

#[tokio::test]
async fn mistakes_have_their_place_and_the_other_files_are_run() {
    let wrong = CASES.replace("labels:", "lables:").replace("escalate_owner", "escalte");
    let dir = with(&[
        ("a.yaml", POLICY),
        ("a.test.yaml", &wrong),
        ("b.yaml", "version: 2\n"),
        ("b.test.yaml", CASES),
        ("c.yaml", POLICY),
        ("c.test.yaml", CASES),
        ("d.test.yaml", CASES),
        ("e.yaml", POLICY),
        ("e.test.yaml", &CASES.replace("event: { type: issue_opened, labels: [bug] }", "file: e.json")),
        (
            "e.json",
            r#"{"source": "github", "type": "issue_opened", "repo": "a/b", "issue_number": 1, "prio": 1}"#,
        ),
    ]);
    let (out, err, code) = run(&mut test(dir.path())).await;
    assert_eq!(code, 2, "{out}{err}");
    for line in [
        "error: unknown field \"lables\"\n",
        "a.test.yaml:4:38\n",
        "hint: did you mean `labels`?",
        "error: unknown action `escalte`",
        "b.yaml:1:10\n",
        "ok   Bugs call Maria",
        "d.yaml cannot be read",
        "error: e.json: unknown field \"prio\"",
        "e.test.yaml:4:15\n",
        "1 case: 1 passed, 0 failed; 4 files cannot be run",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
}

#[tokio::test]
async fn json_is_one_object_a_line() {
    let dir = with(&[
        ("a.yaml", POLICY),
        ("a.test.yaml", CASES),
        ("b.yaml", POLICY),
        ("b.test.yaml", FAILING),
        ("c.yaml", POLICY),
        ("c.test.yaml", "cases: 7"),
    ]);
    let (out, _, code) = run(test(dir.path()).arg("--json")).await;
    assert_eq!(code, 2);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6, "{out}");
    assert_eq!((&lines[0]["file"], &lines[0]["ok"]), (&"a.test.yaml".into(), &true.into()));
    assert_eq!(lines[1]["failures"][0]["diff"][0], "- assign_owner owner:alice web");
    assert_eq!(lines[1]["failures"][0]["line"], 4);
    assert_eq!((&lines[2]["ok"], &lines[2]["errors"][0]["line"]), (&false.into(), &1.into()));
    assert_eq!(lines[3]["not_fired"], serde_json::json!(["web"]));
    assert_eq!(lines[5], serde_json::json!({"cases": 2, "passed": 1, "failed": 1, "broken_files": 1}));
}

#[tokio::test]
async fn junit_is_xml_whatever_the_names_hold() {
    // ESC and a colour, in an event's title and as a rationale.
    let policy = POLICY.replace("rationale: A bug", "rationale: \"A \\e[31mbug ]]> <&\"");
    let failing =
        FAILING.replace("\"assign_owner owner:alice web\"", "{ rationale: \"\\e[31m\\u0001 <b>\" }");
    let dir = with(&[
        ("a.yaml", &policy),
        ("a.test.yaml", CASES),
        ("b.yaml", &policy),
        ("b.test.yaml", &failing),
        ("c.yaml", POLICY),
        ("c.test.yaml", "cases: 7"),
    ]);
    let (xml, err, code) = run(test(dir.path()).args(["--junit", "-"])).await;
    assert_eq!(code, 2, "{xml}{err}");
    assert!(xml.starts_with("<?xml"), "{xml}");
    assert!(!xml.chars().any(|c| c.is_control() && c != '\n'), "{xml:?}");
    for part in [
        "tests=\"3\" skipped=\"0\" failures=\"1\" errors=\"1\"",
        "<testsuite name=\"a.test.yaml\" tests=\"1\"",
        "name=\"Bugs of the &lt;web&gt; &amp; &quot;such&quot; call Maria\" classname=\"b.test.yaml\"",
        "<failure message=\"step 1: the actions differ",
        "escalate_owner owner:maria bug",
        "<error message=\"c.test.yaml:1:8:",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
    assert!(!xml.contains("time="), "{xml}");
    // A reader of XML takes it.
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (3, 1, 1));
    // The file holds the same, and the person still reads theirs.
    let (out, _, _) = run(test(dir.path()).args(["--junit", "out.xml"])).await;
    assert!(out.contains("FAIL Bugs of the"), "{out}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
    assert_eq!(fs::read_to_string(dir.path().join("out.xml")).unwrap(), xml);
}

#[tokio::test]
async fn what_has_no_end_is_not_read() {
    let dir = with(&[
        ("a.yaml", POLICY),
        ("a.test.yaml", &CASES.replace("event: { type: issue_opened, labels: [bug] }", "file: /dev/zero")),
    ]);
    let (out, _, code) = run(&mut test(dir.path())).await;
    assert!(code == 2 && out.contains("/dev/zero cannot be read: it is not a regular file"), "{out}");
    fs::write(dir.path().join("a.test.yaml"), " ".repeat(3 << 20)).unwrap();
    let (out, _, code) = run(&mut test(dir.path())).await;
    assert!(code == 2 && out.contains("at most 2097152 bytes"), "{out}");
}
