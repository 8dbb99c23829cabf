//! `breakdown policy explain` on files, and on logs: made by `serve`, and made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod away;
mod past;
#[path = "../program/mod.rs"]
mod program;
mod served;

use std::{
    fs,
    path::{Path, PathBuf},
};

use program::{breakdown, run, tail, until};
use serde_json::{Value, json};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("samples").join(name)
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn explain(arguments: &[&str], dir: &Path) -> (String, String, i32) {
    run(breakdown().args(["policy", "explain"]).args(arguments).arg("--data-dir").arg(dir)).await
}

async fn document(arguments: &[&str], dir: &Path) -> Value {
    let (out, err, code) = explain(&[arguments, &["--json"]].concat(), dir).await;
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?} {out}");
    assert!(!out.trim_end().chars().any(char::is_control), "{out:?}");
    serde_json::from_str(&out).unwrap()
}

fn rule<'v>(document: &'v Value, id: &str) -> &'v Value {
    let rules = document["issues"][0]["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["id"] == id).unwrap_or_else(|| panic!("no rule {id}: {document}"))
}

fn assert_inert(text: &str) {
    let is_active = |c: char| {
        c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    assert!(!text.chars().any(is_active), "{text:?}");
}

async fn publish(event: &Value, dir: &Path) -> Value {
    let file = write(dir, "event.json", &event.to_string());
    let (out, err, code) =
        run(breakdown().args(["publish", "--json", "--file"]).arg(file).arg("--data-dir").arg(dir)).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

async fn actions(dir: &Path) -> Vec<Value> {
    tail("actions", |command| command.arg("--data-dir").arg(dir)).await
}

/// The action that `cause` has, once there is one.
async fn action_of(cause: impl Fn(&str) -> bool, dir: &Path) -> Value {
    let mut found = None;
    until("an action", async || {
        found = actions(dir).await.into_iter().find(|action| action["cause"].as_str().is_some_and(&cause));
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn an_event_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = sample("issue_triage.json").display().to_string();
    let (out, err, code) = explain(&[&file], dir.path()).await;
    assert_eq!((code, err.as_str()), (0, ""));
    for says in [
        "event sample-triage-1 (issue_opened) of github:acme/payments#43",
        "now 2026-02-03T10:20:00Z, policy ",
        "1. `escalate-p0-bug` (line 14): does not hold",
        "issue.labels = [\"question\"]  ← decides",
        "3. `deadline` (line 25): does not hold",
        "or with label overdue",
        "4. `triage-new` (line 34): fired: post_nudge for team:triage (a-",
    ] {
        assert!(out.contains(says), "{says}\n{out}");
    }

    // Another instant and another policy, one rule of it.
    let policy = write(
        dir.path(),
        "mine.yaml",
        "version: 1\nteams: { triage: { members: [kim] } }\nrules:\n  - id: unowned\n    at: issue.created_at + duration(\"72h\")\n    \
         when: issue.assignee == null && now - issue.created_at >= duration(\"72h\")\n    then: { action: post_nudge, target: \"team:triage\" }\n    \
         rationale: Nobody takes it\n",
    );
    let policy = policy.display().to_string();
    let early = document(&[&file, "--policy", &policy, "--rule", "unowned"], dir.path()).await;
    assert_eq!(rule(&early, "unowned")["verdict"], "does_not_hold");
    assert_eq!(rule(&early, "unowned")["what_if"]["goal"], "fire");
    assert_eq!(early["issues"][0]["timers"][0]["reason"], "at");
    assert_eq!(early["issues"][0]["timers"][0]["rule"], "unowned");
    let late = document(&[&file, "--policy", &policy, "--at", "2026-02-07T00:00:00Z"], dir.path()).await;
    assert_eq!(rule(&late, "unowned")["became"]["what"], "fired");
    assert_eq!(late["now"], "2026-02-07T00:00:00Z");
    assert_ne!(late["policy_hash"], document(&[&file], dir.path()).await["policy_hash"]);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let event = sample("issue_triage.json").display().to_string();
    let (_, err, code) = run(breakdown().args(["publish", "--file", &event, "--data-dir"]).arg(&data)).await;
    assert_eq!(code, 0, "{err}");
    let file = |name: &str, text: &str| write(dir.path(), name, text).display().to_string();
    let odd = file("odd.json", &json!({"project_id": "alpha", "\u{1b}[31m": "x".repeat(9000)}).to_string());
    let two = file("two.json", &"{}\n".repeat(2));
    let large = file("large.json", &" ".repeat((8 << 20) + 1));
    let unknown = format!("a-{}", "0".repeat(32));
    let shapes: &[&str] = &["32 hex digits", "github:owner/repo#12", "one event"];
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &[&unknown],
            1,
            &["no action a-0", "looked through: actions from the start; actions-shadow", "tail actions"],
        ),
        (&[&unknown, "--topic", "actions"], 1, &["looked through: actions from the start; `breakdown"]),
        (&["T-00000000000000000000000000000000"], 1, &["explain its issue"]),
        (&[&event, "--topic", "actions"], 2, &["--topic is for an id"]),
        (&[&unknown, "--at", "2026-01-01T00:00:00Z"], 2, &["leave out --policy and --at"]),
        (&["a-123"], 2, shapes),
        (&["o/r#1"], 2, shapes),
        (
            &["gh-fc5a76c271ce04b9c35d4b40e61efcdc"],
            1,
            &["no event gh-fc5a", "looked through: issues from the start", "tail issues"],
        ),
        (&["sample-triage-2"], 2, &["no event sample-triage-2", "no such file"]),
        (
            &["sample-triage-1"],
            1,
            &["issues partition", "offset 0", "no gateway has come", "breakdown groups"],
        ),
        (&["no\u{1b}[31m\u{202e}"], 2, shapes),
        (&["github:o/r#1"], 1, &["github:o/r#1", "not known here"]),
        (&[&odd], 2, &["odd.json: "]),
        (&[&two], 2, &["two.json is not one JSON object", "line 2", "one event"]),
        (&[&large], 2, &["large.json", "8388608 bytes"]),
        (&[&event, "--rule", "none"], 2, &["has no rule \"none\"", "triage-new"]),
        (&[&event, "--policy", "/no/such.yaml"], 2, &["/no/such.yaml", "no such file"]),
    ];
    for (arguments, expected, says) in cases {
        let (out, err, code) = explain(arguments, &data).await;
        assert_eq!((code, out.as_str()), (*expected, ""), "{arguments:?}\n{err}");
        for part in *says {
            assert!(err.contains(part), "{arguments:?} does not say {part:?}:\n{err}");
        }
        assert!(err.len() < 1500, "{err}");
        assert_inert(&err);
    }
    let (_, err, code) = explain(&[&unknown], &dir.path().join("mistyped")).await;
    assert_eq!((code, err.contains("no log in")), (1, true), "{err}");
}

#[tokio::test]
async fn hostile_events_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "\u{1b}[31m\u{9b}2J\u{202e}\u{7}\nFAKE";
    let event = json!({"project_id": format!("alpha{evil}"), "source": "github", "type": "issue_opened", "repo": "o/r",
        "issue_number": 1, "title": evil, "labels": [evil, "bug", "p0"], "assignee": evil, "actor": evil, "event_id": format!("e{evil}")});
    let file = write(dir.path(), "evil.json", &event.to_string()).display().to_string();
    let (out, err, code) = explain(&[&file], dir.path()).await;
    match code {
        0 => assert!(!out.contains("\nFAKE"), "{out}"),
        code => assert_eq!((code, out.as_str()), (2, ""), "refused"),
    }
    assert_inert(&out);
    assert_inert(&err);
}
