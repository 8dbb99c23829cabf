//! `breakdown doctor`: a healthy log is said to be so, and what somebody did to one is found and named.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use program::{Serve, breakdown, run, tail, until};
use serde_json::{Value, json};

/// What the doctor says of a data directory: check, verdict and text; and the exit code.
async fn doctor(dir: &Path) -> (Vec<(String, String, String)>, i32) {
    let (out, err, code) = run(breakdown().args(["doctor", "--json", "--data-dir"]).arg(dir)).await;
    assert_eq!(err, "", "{out}");
    let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
    let findings = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|finding| {
        assert_eq!(finding["verdict"] == "ok", finding.get("todo").is_none(), "{finding}");
        let says: Vec<_> =
            finding["says"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        (text(&finding, "check"), text(&finding, "verdict"), says.join("\n"))
    });
    (findings.collect(), code)
}

/// Nothing is wrong with the log; the disk of whoever runs the tests may be small.
async fn is_well(dir: &Path) -> Vec<(String, String, String)> {
    let (findings, code) = doctor(dir).await;
    let wrong: Vec<_> =
        findings.iter().filter(|(check, verdict, _)| verdict != "ok" && check != "disk").collect();
    assert!(wrong.is_empty() && code == 0, "{wrong:#?}");
    findings
}

/// A real program runs by the real clock.
fn now() -> DateTime<Utc> {
    DateTime::from(std::time::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap())
}

/// The data directory of a demo that has ended.
async fn demo() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (out, err, code) =
        run(breakdown().args(["serve", "--demo", "--exit", "--data-dir"]).arg(data(&dir))).await;
    assert_eq!(code, 0, "{out}{err}");
    dir
}

fn data(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

fn sql(dir: &Path, statements: &str) {
    let log = rusqlite::Connection::open(dir.join("log.db")).unwrap();
    log.execute_batch(statements).unwrap();
}

/// Rows of a topic that has records.
fn of(topic: &str) -> String {
    format!("topic = (SELECT id FROM topics WHERE name = '{topic}')")
}

#[tokio::test]
async fn after_the_demo_all_is_well_and_nothing_is_changed() {
    let dir = demo().await;
    let before = std::fs::read(data(&dir).join("log.db")).unwrap();
    let findings = is_well(&data(&dir)).await;
    let said = |check: &str| findings.iter().find(|(of, ..)| of == check).unwrap().2.clone();
    assert_eq!(said("state"), "4 events and 4 outcomes folded again give what is kept");
    assert_eq!(
        said("actions, outcomes"),
        "4 actions taken up and 4 outcomes: each action is pending, deferred, or has its outcome, and none has two"
    );
    let checks: Vec<_> = findings.iter().map(|(check, ..)| check.as_str()).collect();
    assert_eq!(
        checks,
        [
            "configuration",
            "disk",
            "permissions",
            "database",
            "tables",
            "offsets",
            "timestamps",
            "headers",
            "committed offsets",
            "topics",
            "records",
            "actions, outcomes",
            "state",
            "clock",
        ]
    );
    assert_eq!(std::fs::read(data(&dir).join("log.db")).unwrap(), before);
    let (out, _, code) = run(breakdown().args(["doctor", "--data-dir"]).arg(data(&dir))).await;
    assert_eq!(code, 0);
    assert!(out.contains("ok       database           SQLite's integrity check finds no damage"), "{out}");
}

#[tokio::test]
async fn what_was_done_to_a_log_is_found_and_named() {
    let dir = demo().await;
    let (issues, outcomes) = (of("issues"), of("outcomes"));
    let (state, actions, policies) = (of("gateway-state"), of("actions"), of("policies"));
    let first = |rows: &str| format!("id = (SELECT min(id) FROM records WHERE {rows})");
    let cases = [
        (
            format!("DELETE FROM records WHERE {}", first(&issues)),
            &[("offsets", "issues partition"), ("state", "")][..],
        ),
        (
            format!(
                "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), '\"open\"', '\"closed\"') AS BLOB) WHERE {state} AND CAST(key AS TEXT) LIKE '%issue%'"
            ),
            &[("state", "is kept otherwise than a fresh fold of its events gives it")],
        ),
        (
            format!(
                "DELETE FROM newest WHERE {state} AND CAST(key AS TEXT) LIKE '%\"project\"%'; DELETE FROM records WHERE {state} AND CAST(key AS TEXT) LIKE '%\"project\"%'"
            ),
            &[("state", "of project alpha is missing in gateway-state")],
        ),
        (
            format!("UPDATE records SET value = CAST('{{' AS BLOB) WHERE {}", first(&issues)),
            &[
                ("records", "issues partition"),
                ("records", "Eof error at line 1"),
                ("state", "nothing on the log tells of it"),
            ],
        ),
        (
            "UPDATE group_offsets SET committed = committed + 9 WHERE name = 'gateway'".to_owned(),
            &[("committed offsets", "group gateway has committed"), ("committed offsets", "past its end")],
        ),
        (
            format!("DELETE FROM records WHERE {}", first(&outcomes)),
            &[
                ("offsets", "outcomes partition"),
                ("actions, outcomes", "was taken up, and is neither pending nor has an outcome of round 0"),
                ("state", "project of project alpha"),
            ],
        ),
        (
            format!(
                "UPDATE records SET value = (SELECT value FROM records WHERE {outcomes} ORDER BY id LIMIT 1) WHERE id = (SELECT max(id) FROM records WHERE {outcomes})"
            ),
            &[("actions, outcomes", "stands there twice")],
        ),
        (
            // Redriven, and the outcome of that is gone: the one of the first time does not stand for it.
            format!(
                "UPDATE records SET headers = '[[\"redrive\",\"1\"],[\"redrive_of\",\"d-1\"],[\"supersedes\",\"o-1\"]]' WHERE {}",
                first(&actions)
            ),
            &[("actions, outcomes", "was taken up, and is neither pending nor has an outcome of round 1")],
        ),
        (
            format!("UPDATE records SET key = CAST('beta' AS BLOB) WHERE {}", first(&actions)),
            &[("records", "the record's key is not its project_id")],
        ),
        // Also where the text is still a policy.
        (
            format!(
                "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), 'version: 1', 'version:  1') AS BLOB) WHERE {policies}"
            ),
            &[("state", "the policy's text was changed after it was written")],
        ),
        (
            format!(
                "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), 'rationale:', 'rationalf:') AS BLOB) WHERE {policies}"
            ),
            &[("state", "the policy's text was changed after it was written")],
        ),
    ];
    for (statements, expected) in cases {
        let broken = tempfile::tempdir().unwrap();
        std::fs::copy(data(&dir).join("log.db"), broken.path().join("log.db")).unwrap();
        sql(broken.path(), &statements);
        let (findings, code) = doctor(broken.path()).await;
        assert_eq!(code, 1, "{statements}");
        for (check, says) in expected {
            assert!(
                findings
                    .iter()
                    .any(|(of, verdict, text)| of == check && verdict == "error" && text.contains(says)),
                "{statements}: {check}: {says}: {findings:#?}"
            );
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_page_is_named() {
    let dir = demo().await;
    let file = data(&dir).join("log.db");
    let log = rusqlite::Connection::open(&file).unwrap();
    let page: usize = log
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'records'", (), |row| row.get(0))
        .unwrap();
    log.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(log);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[(page - 1) * 4096 + 3] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    let (findings, code) = doctor(&data(&dir)).await;
    let database = findings.iter().find(|(check, ..)| check == "database").unwrap();
    assert_eq!((code, database.1.as_str()), (1, "error"), "{findings:#?}");
    assert!(database.2.contains(&format!("page {page}")) || database.2.contains("malformed"), "{database:?}");

    // SQLite's report comes line by line, and nothing else is advised on the word of a damaged file.
    let config = dir.path().join("breakdown.toml");
    std::fs::write(&config, "[log]\npartitions = 5\n").unwrap();
    let mut command = breakdown();
    command.args(["doctor", "--json", "--data-dir"]).arg(data(&dir)).arg("--config").arg(&config);
    let (out, ..) = run(&mut command).await;
    let findings: Vec<_> = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    let find = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    let says = find("database")["says"].as_array().unwrap();
    assert!(says.len() <= 10, "{says:?}");
    for line in says {
        let line = line.as_str().unwrap();
        assert!(
            !line.contains('\n') && !line.contains("***") && line.matches("page ").count() <= 2,
            "{line}"
        );
    }
    assert!(find("database")["todo"].as_str().unwrap().contains("from a backup"), "{out}");
    assert_eq!(find("topics")["verdict"], "error", "{out}");
    for finding in &findings {
        let todo = finding["todo"].as_str().unwrap_or_default();
        assert!(!todo.contains("set [log] partitions") && !todo.contains("restore both"), "{finding}");
    }
    assert!(find("topics")["todo"].as_str().unwrap().contains("mend `database` first"), "{out}");
}

#[tokio::test]
async fn what_is_not_there_or_for_others_to_read_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let (findings, code) = doctor(empty.path()).await;
    assert_eq!(code, 1);
    assert!(
        findings.iter().any(|(check, _, text)| check == "log" && text.contains("there is no log in")),
        "{findings:?}"
    );
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made");
    let advice = async || run(breakdown().args(["doctor", "--data-dir"]).arg(empty.path())).await.0;
    let out = advice().await;
    assert!(out.contains("→ name the directory that serve uses") && !out.contains("backup"), "{out}");
    std::fs::write(empty.path().join("log.db-wal"), "what was acknowledged last").unwrap();
    let out = advice().await;
    assert!(out.contains("log.db is missing beside its log.db-wal"), "{out}");
    assert!(out.contains("→ start nothing on it, keep a copy of log.db-wal"), "{out}");

    let dir = demo().await;
    let config = dir.path().join("breakdown.toml");
    std::fs::write(&config, "[github]\nwebhook_secret = \"s3cret\"\n[log]\npartitions = 5\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(data(&dir), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (out, _, code) =
            run(breakdown().args(["doctor", "--data-dir"]).arg(data(&dir)).arg("--config").arg(&config))
                .await;
        assert_eq!(code, 1, "the number of partitions differs");
        for says in [
            "warning  configuration",
            "others on this machine may read or write it (mode 644)",
            "→ chmod 600",
            "warning  permissions",
            "issues has 8 partitions, and [log] partitions is 5",
        ] {
            assert!(out.contains(says), "{says}: {out}");
        }
        assert!(!out.contains("s3cret"));
    }
}

#[tokio::test]
async fn where_the_beginning_is_gone_what_is_whole_is_compared() {
    let dir = demo().await;
    let issues = of("issues");
    // As retention does it: of one partition that has several.
    let cut = format!(
        "CREATE TEMP TABLE cut AS SELECT topic, partition, min(offset) AS first, count(*) AS n FROM records WHERE {issues} GROUP BY partition ORDER BY n DESC LIMIT 1;
         DELETE FROM records WHERE (topic, partition, offset) IN (SELECT topic, partition, first FROM cut);
         UPDATE partitions SET first_offset = first_offset + 1 WHERE (topic, partition) IN (SELECT topic, partition FROM cut);"
    );
    sql(&data(&dir), &cut);
    let (findings, code) = doctor(&data(&dir)).await;
    let state = findings.iter().find(|(check, ..)| check == "state").unwrap();
    assert_eq!((code, state.1.as_str()), (0, "ok"), "{findings:#?}");
    assert!(state.2.contains("1 partitions of issues are not kept from their beginning"), "{state:?}");
    // One that is whole and was changed is told, as far as that can be said.
    sql(
        &data(&dir),
        &format!(
            "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), '\"open\"', '\"closed\"') AS BLOB) WHERE {} AND CAST(key AS TEXT) LIKE '%issue%'",
            of("gateway-state")
        ),
    );
    let (findings, code) = doctor(&data(&dir)).await;
    let state = findings.iter().find(|(check, ..)| check == "state").unwrap();
    assert_eq!((code, state.1.as_str()), (0, "warning"), "{findings:#?}");
}

const POLICY: &str = r#"
version: 1
teams:
  triage: { members: [alice, bo, kim] }
rules:
  - id: share
    when: 'event.type == "issue_opened"'
    then: { action: assign_owner, target: "team:triage" }
    rationale: Somebody has to look
    continue: true
  - id: deadline
    at: issue.due_at
    when: 'issue.due_at != null && issue.due_at <= now'
    then: { action: post_nudge, target: "team:triage" }
    repeat: 1m
    rationale: It is due
"#;

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_busy_serve_and_after_kills_timers_and_other_policies_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let start = async || Serve::start(&data(&dir), |command| command.arg("--policy").arg(&policy)).await;
    let mut number = 0;
    let mut publish = async |count: usize, due_after: i64| {
        let due_at = now() + TimeDelta::seconds(due_after);
        let events: Vec<_> = (0..count)
            .map(|_| {
                number += 1;
                json!({
                    "event_id": format!("p-{number}"), "project_id": format!("project-{}", number % 5), "source": "github",
                    "type": "issue_opened", "issue_ref": format!("github:o/r#{number}"), "repo": "o/r",
                    "issue_number": number, "state": "open", "labels": [], "due_at": due_at, "updated_at": now(),
                })
            })
            .collect();
        let file = dir.path().join("events.json");
        std::fs::write(&file, serde_json::to_vec(&events).unwrap()).unwrap();
        let (_, err, code) =
            run(breakdown().args(["publish", "--data-dir"]).arg(data(&dir)).arg("--file").arg(file)).await;
        assert_eq!(code, 0, "{err}");
    };
    let serve = start().await;
    publish(200, 3).await;
    // In the middle of it.
    is_well(&data(&dir)).await;
    let nudges = async |count: usize| {
        until("they are due", async || {
            let actions = tail("actions", |command| command.arg("--data-dir").arg(data(&dir))).await;
            actions.iter().filter(|action| action["action"] == "post_nudge").count() >= count
        })
        .await;
    };
    nudges(200).await;
    is_well(&data(&dir)).await;
    std::fs::write(&policy, POLICY.replace("It is due", "It is late").replace("repeat: 1m", "repeat: 2m"))
        .unwrap();
    publish(100, 2).await;
    serve.kill().await;
    is_well(&data(&dir)).await;
    let serve = start().await;
    nudges(300).await;
    publish(100, 600).await;
    serve.stop().await;
    is_well(&data(&dir)).await;
}
