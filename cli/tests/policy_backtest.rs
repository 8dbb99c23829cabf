//! `breakdown policy backtest` on files and on a log.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::{
    fs,
    path::{Path, PathBuf},
};

use program::{breakdown, run};
use serde_json::{Value, json};
use tempfile::TempDir;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("samples").join(name)
}

fn policy() -> String {
    fs::read_to_string(sample("policy.yaml")).unwrap()
}

/// Without the repeats of `deadline`, and with another owner for the frontend.
fn candidate(dir: &TempDir) -> PathBuf {
    let text = policy().replace("    repeat: 24h\n", "").replace("owner:alice", "owner:bo");
    let path = dir.path().join("candidate.yaml");
    fs::write(&path, text).unwrap();
    path
}

async fn backtest(
    candidate: &Path,
    configure: impl FnOnce(&mut tokio::process::Command) -> &mut tokio::process::Command,
) -> (String, String, i32) {
    let mut command = breakdown();
    command.args(["policy", "backtest"]).arg(candidate);
    run(configure(&mut command)).await
}

async fn document(
    candidate: &Path,
    configure: impl FnOnce(&mut tokio::process::Command) -> &mut tokio::process::Command,
) -> Value {
    let (out, err, code) = backtest(candidate, |command| configure(command.arg("--json"))).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(err, "", "nothing but the document");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn the_sample_history_shows_what_a_change_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let (out, err, code) =
        backtest(&path, |command| command.arg("--input").arg(sample("history.ndjson"))).await;
    assert_eq!((code, err.as_str()), (0, ""));
    for says in [
        "  candidate  ",
        "candidate.yaml\n  current    the built-in policy\n",
        "420 events about 90 issues, from 2026-01-05T08:41:35Z to 2026-02-13T12:50:54Z",
        "The replay ends at 2026-02-13T12:50:54Z, with the last event",
        "  deadline ",
        "owner:alice",
        "owner:bo",
        "added: only the candidate makes it · removed: only the current policy does",
        "Examples, the first of each rule (+ added, - removed, ~ changed;",
        "\nrule deadline\n",
        "schedule_unblocker ",
        "assign_owner owner:alice → assign_owner owner:bo (somebody else)",
        "this is the direct difference only.",
    ] {
        assert!(out.contains(says), "{says}\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no colours, no bar: {out}");

    let document = document(&path, |command| command.arg("--input").arg(sample("history.ndjson"))).await;
    let total = &document["total"];
    let count = |name: &str| total[name].as_u64().unwrap();
    assert!(count("removed") > 100 && count("changed") > 10 && count("unchanged") > 50, "{total}");
    assert_eq!(count("added"), 0);
    assert_eq!(
        total["actions"]["current"].as_u64().unwrap(),
        count("removed") + count("changed") + count("unchanged")
    );
    assert_eq!(document["rules"]["deadline"]["removed"], total["removed"]);
    assert_eq!(document["rules"]["deadline"]["examples"]["removed"].as_array().unwrap().len(), 3);
    assert_eq!(document["history"]["events"], 420);
    assert_eq!(document["gone"], json!({"partitions": 0, "records": 0}));
    assert_eq!(document["skipped"], json!({"unreadable": 0, "other_topics": 0, "raised": 0}));
    assert_eq!(document["current"]["name"], "the built-in policy");
    assert_eq!(document["to"], document["history"]["last_at"]);
}

#[tokio::test]
async fn a_log_and_its_tail_and_the_events_themselves_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let path = candidate(&dir);
    let publish = breakdown()
        .args(["publish", "--data-dir"])
        .arg(&data)
        .arg("--file")
        .arg(sample("history.ndjson"))
        .output()
        .await
        .unwrap();
    assert!(publish.status.success(), "{publish:?}");
    let (tailed, ..) = run(breakdown().args(["tail", "issues", "--json", "--data-dir"]).arg(&data)).await;
    // Between the records of `issues` stand those of another topic, as in a file of several tails.
    let mut lines: Vec<Value> = tailed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 420);
    lines.insert(
        7,
        json!({"topic": "outcomes", "partition": 0, "offset": 0, "key": "alpha", "headers": {},
        "timestamp": "2026-01-01T00:00:00Z", "value": {}}),
    );
    let file = dir.path().join("tail.ndjson");
    fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();

    let on_log = document(&path, |command| command.arg("--data-dir").arg(&data)).await;
    let in_file = document(&path, |command| command.arg("--input").arg(&file)).await;
    for part in ["history", "total", "rules", "projects", "targets", "to"] {
        assert_eq!(on_log[part], in_file[part], "{part}");
    }
    assert_eq!(
        (on_log["input"].as_str(), in_file["skipped"]["other_topics"].as_u64()),
        (Some("log"), Some(1))
    );

    // With the stamps that the events had, the log would have told what the bare events tell.
    for line in &mut lines {
        let at = line["value"]["updated_at"].clone();
        if at.is_string() {
            line["timestamp"] = at;
        }
    }
    fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let stamped = document(&path, |command| command.arg("--input").arg(&file)).await;
    let bare = document(&path, |command| command.arg("--input").arg(sample("history.ndjson"))).await;
    for part in ["history", "total", "rules", "projects", "targets", "to"] {
        assert_eq!(stamped[part], bare[part], "{part}");
    }
    assert_ne!(on_log["total"], bare["total"], "the log took them all within a second");

    // Nothing was written: the log ends where it ended.
    let (topics, ..) = run(breakdown().args(["topics", "--json", "--data-dir"]).arg(&data)).await;
    assert!(!topics.contains("actions\",\"partitions\":[{\"end\":1"), "{topics}");
    let (actions, ..) = run(breakdown().args(["tail", "actions", "--json", "--data-dir"]).arg(&data)).await;
    assert_eq!(actions, "");
}

#[tokio::test]
async fn budgets_gate() {
    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let history = sample("history.ndjson");
    let removed = document(&path, |command| command.arg("--input").arg(&history)).await["total"]["removed"]
        .as_u64()
        .unwrap();
    let within = removed.to_string();
    let (_, err, code) = backtest(&path, |command| {
        command.arg("--input").arg(&history).args(["--max-added", "0", "--max-removed", &within])
    })
    .await;
    assert_eq!((code, err.as_str()), (0, ""));
    let changed =
        document(&path, |command| command.arg("--input").arg(&history)).await["total"]["changed"].clone();
    let (_, err, code) =
        backtest(&path, |command| command.arg("--input").arg(&history).args(["--max-changed", "3"])).await;
    assert_eq!(
        (code, err),
        (1, format!("error: over budget: {changed} actions are changed, and --max-changed allows 3\n"))
    );
    let below = (removed - 1).to_string();
    let (out, err, code) = backtest(&path, |command| {
        command.arg("--input").arg(&history).args(["--json", "--max-added", "0", "--max-removed", &below])
    })
    .await;
    assert_eq!(code, 1);
    assert_eq!(
        err,
        format!("error: over budget: {removed} actions are removed, and --max-removed allows {below}\n")
    );
    let document: Value = serde_json::from_str(&out).expect("one document all the same");
    assert_eq!(
        document["budgets"],
        json!({"max_added": {"limit": 0, "actual": 0, "exceeded": false},
            "max_removed": {"limit": removed - 1, "actual": removed, "exceeded": true}})
    );
}

#[tokio::test]
async fn a_window_is_told_of_and_the_rest_folded() {
    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let of = async |window: &[&str]| {
        document(&path, |command| command.arg("--input").arg(sample("history.ndjson")).args(window)).await
    };
    let whole = of(&[]).await;
    let first = of(&["--to", "2026-01-25"]).await;
    let second = of(&["--from", "2026-01-26"]).await;
    for count in ["added", "removed", "changed", "unchanged"] {
        let parts = first["total"][count].as_u64().unwrap() + second["total"][count].as_u64().unwrap();
        assert_eq!(parts, whole["total"][count], "{count}: two halves are the whole");
    }
    assert_eq!(first["to"], "2026-01-25T23:59:59.999Z");
    assert_eq!(
        (&second["from"], &second["history"]["events"]),
        (&json!("2026-01-26T00:00:00Z"), &json!(420))
    );
    // Time goes on after the last event: deadlines come due.
    let later = of(&["--to", "2026-02-20"]).await;
    assert!(later["history"]["timers"]["current"].as_u64() > whole["history"]["timers"]["current"].as_u64());
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let history = fs::read_to_string(sample("history.ndjson")).unwrap();
    let file = dir.path().join("history.ndjson");
    let mut lines: Vec<_> = history.lines().collect();
    lines[40] = r#"{"project_id":"alpha","lables":[]}"#;
    fs::write(&file, lines.join("\n")).unwrap();
    let (out, err, code) = backtest(&path, |command| command.arg("--input").arg(&file)).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("history.ndjson, line 41: ") && err.contains("lables"), "{err}");

    let bad = dir.path().join("bad.yaml");
    fs::write(&bad, policy().replace("issue.labels", "issue.lables")).unwrap();
    let (_, err, code) = backtest(&bad, |command| command.arg("--input").arg(sample("history.ndjson"))).await;
    assert_eq!((code, err.contains("lables")), (2, true), "{err}");

    let (_, err, code) = backtest(&path, |command| command.args(["--input", "/no/such/file"])).await;
    assert_eq!((code, err.contains("/no/such/file cannot be read")), (2, true), "{err}");
    // A name, too, can hold what moves the cursor.
    let hostile = dir.path().join("a\u{1b}[2J\u{202e}.ndjson");
    for wrong in ["could not be read as there is none", "{}"] {
        let (_, err, code) = backtest(&path, |command| command.arg("--input").arg(&hostile)).await;
        assert_eq!((code, err.contains("\u{FFFD}[2J\u{FFFD}.ndjson")), (2, true), "{wrong}: {err}");
        assert!(!err.contains(['\u{1b}', '\u{202e}']), "{err:?}");
        fs::write(&hostile, "{}").unwrap();
    }
    let (_, err, code) =
        backtest(&path, |command| command.arg("--data-dir").arg(dir.path().join("none"))).await;
    assert_eq!((code, err.contains("there is no log in")), (1, true), "{err}");
    let (_, err, code) =
        backtest(&path, |command| command.args(["--from", "2026-02-02", "--to", "2026-02-01"])).await;
    assert_eq!((code, err.contains("--from lies after --to")), (2, true), "{err}");
    let (_, err, code) = backtest(&path, |command| command.args(["--from", "yesterday"])).await;
    assert_eq!((code, err.contains("2026-02-03T08:15:00Z")), (2, true), "{err}");
}

#[tokio::test]
async fn text_from_events_is_inert() {
    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let file = dir.path().join("history.ndjson");
    let event = json!({"project_id": "a\u{1b}[2J", "source": "github", "type": "issue_opened", "repo": "o/r",
        "issue_number": 1, "title": "\u{1b}]0;owned\u{7}\u{202e}", "labels": ["frontend"],
        "updated_at": "2026-02-03T08:15:00Z"});
    fs::write(&file, event.to_string()).unwrap();
    for format in [&[][..], &["--json"][..]] {
        let (out, _, code) = backtest(&path, |command| command.arg("--input").arg(&file).args(format)).await;
        assert_eq!(code, 0);
        assert!(out.contains("owned") && !out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{out:?}");
    }
}

/// A log that had dead letters, and a policy in force that is not the configured one.
#[tokio::test]
async fn the_log_tells_which_policy_was_in_force_last() {
    use eventlog::{Clock, Log, NewRecord, embedded::EmbeddedLog};

    #[derive(Debug)]
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> chrono::DateTime<chrono::Utc> {
            "2026-02-03T08:15:00Z".parse().unwrap()
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let path = candidate(&dir);
    let data = dir.path().join("data");
    let sample = sample("issue_frontend.json");
    let (_, err, code) =
        run(breakdown().args(["publish", "--data-dir"]).arg(&data).arg("--file").arg(&sample)).await;
    assert_eq!(code, 0, "{err}");
    let log = EmbeddedLog::open(&data, std::sync::Arc::new(Fixed)).unwrap();
    let change = events::PolicyChange {
        partition: 0,
        policy_hash: "ab".repeat(32),
        offsets: Default::default(),
        at: Fixed.now(),
        clock: None,
        on_trial: false,
        policy: "version: 1".into(),
    };
    let message = change.to_message().unwrap();
    let record = |topic: &str, key: &str, value: Vec<u8>| NewRecord {
        topic: topic.into(),
        partition: None,
        key: key.to_owned().into(),
        value: Some(value.into()),
        headers: Vec::new(),
    };
    log.append(vec![
        record(message.topic, &message.key, message.value),
        record("issues", "alpha", b"nonsense".to_vec()),
        record("issues", "beta", fs::read(&sample).unwrap()),
    ])
    .await
    .unwrap();
    drop(log);
    let (out, err, code) = backtest(&path, |command| command.arg("--data-dir").arg(&data)).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("1 event about 1 issue, from "), "{out}");
    assert!(out.contains("2 records: not readable as an event"), "{out}");
    assert!(out.contains("another one (abababababab) than the built-in policy"), "{out}");
    let against = self::sample("policy.yaml");
    let (out, ..) =
        backtest(&path, |command| command.arg("--data-dir").arg(&data).arg("--against").arg(&against)).await;
    assert!(!out.contains("abababababab"), "{out}");
}
