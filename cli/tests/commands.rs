//! Every command against a real log, and what each says of bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::path::{Path, PathBuf};

use program::{Serve, breakdown, client, run, tail, until};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sample(name: &str) -> PathBuf {
    root().join("samples").join(name)
}

#[tokio::test]
async fn the_demo_shows_every_step_and_ends() {
    let (out, err, code) = run(breakdown().args(["serve", "--demo", "--exit"])).await;
    assert_eq!(code, 0, "{err}");
    for line in [
        "→ escalate_owner team:platform",
        "→ assign_owner owner:alice",
        "→ schedule_unblocker owner:",
        "→ post_nudge team:triage",
        "risk -0.30",
        "risk -0.10",
        "risk -0.20",
        "risk -0.05",
    ] {
        assert_eq!(out.matches(line).count(), 1, "{line}\n{out}");
    }
    assert_eq!(out.matches("→ done, risk ").count(), 4, "{out}");
    assert!(out.trim_end().ends_with("demo complete"), "{out}");
}

#[tokio::test]
async fn the_demo_shows_what_another_policy_does_and_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("mine.yaml");
    let text = std::fs::read_to_string(sample("policy.yaml")).unwrap();
    std::fs::write(
        &policy,
        text.replace("\"frontend\" in", "\"backend\" in").replace("issue_opened", "issue_closed"),
    )
    .unwrap();
    // What is set for the real thing is not the demo's business: nobody listens there.
    let mut command = breakdown();
    command.env("REDPANDA_BROKERS", "127.0.0.1:9").env("CALENDAR_API_BASE", "http://127.0.0.1:9/api");
    let (out, err, code) = run(command.args(["serve", "--demo", "--exit", "--policy"]).arg(&policy)).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.matches("→ no rule fired").count(), 2, "{out}");
    assert_eq!(out.matches("→ done, risk ").count(), 2, "{out}");
}

#[tokio::test]
async fn published_samples_become_actions_and_outcomes_once() {
    let dir = tempfile::tempdir().unwrap();
    let publish = async |name: &str| {
        let (out, err, code) = run(breakdown()
            .args(["publish", "--json", "--data-dir"])
            .arg(dir.path())
            .arg("--file")
            .arg(sample(name)))
        .await;
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    // Before there is a server, and while there is one.
    let first = publish("issue_bug_p0.json").await;
    let serve = Serve::start(dir.path(), |command| command).await;
    let names = ["issue_bug_p0.json", "issue_frontend.json", "issue_jira_overdue.json", "issue_triage.json"];
    let mut ids = Vec::new();
    for name in names.iter().chain(&names) {
        ids.push(publish(name).await["event_id"].clone());
    }
    assert_eq!(ids[0], first["event_id"], "the same event has the same id");
    assert_eq!(ids[..4], ids[4..]);
    let outcomes = async || tail("outcomes", |command| command.arg("--data-dir").arg(dir.path())).await;
    until("four outcomes", async || outcomes().await.len() == 4).await;
    let groups = async || {
        let (out, ..) = run(breakdown().args(["groups", "--json", "--data-dir"]).arg(dir.path())).await;
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    until("the gateway has read all nine", async || {
        let read = groups().await;
        let issues = read.iter().filter(|at| at["group"] == "gateway" && at["topic"] == "issues");
        let committed: u64 = issues.map(|at| at["committed"].as_u64().unwrap()).sum();
        committed == 9 && read.iter().all(|at| at["lag"] == 0)
    })
    .await;
    let mut outcomes = outcomes().await;
    outcomes.sort_by_key(|outcome| outcome["action"].to_string());
    let told: Vec<_> = outcomes
        .iter()
        .map(|o| (o["action"].as_str().unwrap(), o["risk_delta"].clone(), o["ack"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("assign_owner", json!(-0.1), json!(true)),
            ("escalate_owner", json!(-0.3), json!(true)),
            ("post_nudge", json!(-0.05), json!(true)),
            ("schedule_unblocker", json!(-0.2), json!(true)),
        ]
    );

    let metrics =
        client().get(format!("{}/metrics", serve.admin)).send().await.unwrap().text().await.unwrap();
    for line in [
        "# HELP breakdown_lag_records ",
        "# HELP breakdown_stalled_timers ",
        "# HELP breakdown_attempts_total ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let lags = metrics
        .lines()
        .filter(|line| line.starts_with("breakdown_lag_records{group=\"gateway\",topic=\"issues\""));
    assert_eq!(lags.count(), 8, "each partition has its lag");
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("breakdown_oldest_unprocessed_age_seconds{group=\"executor\""))
    );

    let event = tail("issues", |command| command.arg("--data-dir").arg(dir.path())).await;
    let issue_ref = event[0]["issue_ref"].as_str().unwrap();
    let (out, err, code) =
        run(breakdown().args(["issue", issue_ref, "--json", "--data-dir"]).arg(dir.path())).await;
    assert_eq!(code, 0, "{err}");
    let issue: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(issue["actions"][0]["action"]["action"], "escalate_owner");
    assert_eq!(issue["actions"][0]["outcomes"][0]["ack"], true);
    let (_, err, code) =
        run(breakdown().args(["issue", "github:no/such#1", "--data-dir"]).arg(dir.path())).await;
    assert_eq!((code, err.contains("not known here")), (1, true), "{err}");

    let projects: Value =
        client().get(format!("{}/api/projects", serve.admin)).send().await.unwrap().json().await.unwrap();
    assert_eq!((&projects[0]["project_id"], &projects[0]["risk"]), (&json!("alpha"), &json!(-0.65)));
    serve.stop().await;
}

#[tokio::test]
async fn dry_run_decides_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there: an attempt would fail, not succeed.
    let serve = Serve::start(dir.path(), |command| {
        command.arg("--dry-run").env("CALENDAR_API_BASE", "http://127.0.0.1:9/api")
    })
    .await;
    let file = sample("issue_bug_p0.json");
    let (_, err, code) =
        run(breakdown().args(["publish", "--data-dir"]).arg(dir.path()).arg("--file").arg(file)).await;
    assert_eq!(code, 0, "{err}");
    let outcomes = async || tail("outcomes", |command| command.arg("--data-dir").arg(dir.path())).await;
    until("an outcome", async || !outcomes().await.is_empty()).await;
    let outcome = &outcomes().await[0];
    assert_eq!(
        (&outcome["error"], &outcome["ack"], &outcome["risk_delta"]),
        (&json!("dry_run"), &json!(false), &json!(0.0))
    );
    // It is no failure, neither in the project's account nor in the metrics.
    let get = async |path: &str| {
        client().get(format!("{}{path}", serve.admin)).send().await.unwrap().text().await.unwrap()
    };
    let projects = async || serde_json::from_str::<Value>(&get("/api/projects").await).unwrap();
    until("it counts", async || projects().await[0]["outcomes"] == 1).await;
    let project = projects().await[0].clone();
    assert_eq!((&project["failed"], &project["dry_runs"]), (&json!(0), &json!(1)), "{project}");
    let metrics = get("/metrics").await;
    assert!(metrics.contains("breakdown_dry_runs_total{action=\"escalate_owner\"} 1"), "{metrics}");
    assert!(!metrics.contains("breakdown_outcomes_total{"), "{metrics}");
    // Whoever asks what became of it is told that nothing was sent.
    let events = tail("issues", |command| command.arg("--data-dir").arg(dir.path())).await;
    let id = events[0]["event_id"].as_str().unwrap();
    let (out, err, code) =
        run(breakdown().args(["policy", "explain", id, "--data-dir"]).arg(dir.path())).await;
    assert!(code == 0 && out.contains("): dry run, nothing was sent, risk +0.00"), "{out}{err}");
    serve.stop().await;
}

#[tokio::test]
async fn signed_deliveries_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), |command| command).await;
    let deliver = async |provider: &str, file: &str, secret: &str| {
        let url = format!("{}/{provider}/issues", serve.webhooks);
        let file = sample("deliveries").join(file);
        run(breakdown()
            .args(["deliver", "--provider", provider, "--url", &url, "--secret-env", "S", "--file"])
            .arg(file)
            .env("S", secret))
        .await
    };
    let (out, _, code) = deliver("github", "github-issue-opened-p0.json", program::SECRET).await;
    assert!(code == 0 && out.starts_with("202 "), "{out}");
    let (out, _, code) = deliver("jira", "jira-issue-created-overdue.json", program::SECRET).await;
    assert!(code == 0 && out.starts_with("202 "), "{out}");
    let (out, _, code) = deliver("github", "github-issue-opened-p0.json", "guess").await;
    assert!(
        code == 1 && out.starts_with("401 ") && out.contains("problem") | out.contains("\"status\":401"),
        "{out}"
    );
    assert_eq!(tail("issues", |command| command.arg("--data-dir").arg(dir.path())).await.len(), 2);
    serve.stop().await;
}

#[tokio::test]
async fn every_listener_answers_health_and_metrics_and_the_admin_api_wants_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), |command| command.env("BREAKDOWN_ADMIN_TOKEN", "let me in")).await;
    let get = async |url: String, token: Option<&str>| {
        let request = client().get(url);
        let request = token
            .iter()
            .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for origin in [&serve.webhooks, &serve.admin] {
        for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
            assert_eq!(get(format!("{origin}{path}"), None).await.0, 200, "{origin}{path}");
        }
    }
    let api = format!("{}/api/projects", serve.admin);
    assert_eq!(get(api.clone(), None).await.0, 401);
    assert_eq!(get(api.clone(), Some("let me out")).await.0, 401);
    assert_eq!(get(api, Some("let me in")).await.0, 200);
    assert_eq!(
        get(format!("{}/api/projects", serve.webhooks), Some("let me in")).await.0,
        404,
        "not on the public listener"
    );
    let url = format!("{}/github/issues", serve.webhooks);
    assert_eq!(client().post(url).body("{}").send().await.unwrap().status(), 401);
    let metrics = get(format!("{}/metrics", serve.admin), None).await.1;
    assert!(metrics.contains("breakdown_deliveries_total") && metrics.contains("401"), "{metrics}");
    serve.stop().await;
}

#[tokio::test]
async fn bad_input_gets_a_clear_message_and_the_right_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let bad_policy = file(
        "bad.yaml",
        "version: 1\nteams: {}\nrules:\n  - id: a\n    when: issue.lables == 1\n    then: { action: post_nudge, target: \"team:nobody\" }\n    rationale: r\n    colour: red\n",
    );
    let bad_event = file("bad.json", "{\"project_id\": 7}");
    let bad_config = file("bad.toml", "data_dri = \"x\"\n");
    let data = dir.path().join("data").display().to_string();
    let missing = dir.path().join("mistyped").display().to_string();
    let good_event = sample("issue_triage.json").display().to_string();
    let (_, err, code) = run(breakdown().args(["publish", "--file", &good_event, "--data-dir", &data])).await;
    assert_eq!(code, 0, "{err}");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["serve", "--policy", &bad_policy, "--data-dir", &data], 2, &["lables", "nobody", "colour", "5:"]),
        (&["policy", "check", &bad_policy], 1, &["lables", "nobody", "colour"]),
        (&["policy", "check", "/no/such.yaml"], 2, &["/no/such.yaml"]),
        (&["serve", "--config", &bad_config], 2, &["data_dri", "line 1", "breakdown.example.toml"]),
        (&["serve", "--roles", "cook"], 2, &["cook", "webhooks"]),
        (&["publish", "--file", &bad_event, "--data-dir", &data], 1, &["event 1"]),
        (&["publish", "--topic", "actions", "--file", &bad_event, "--data-dir", &data], 2, &["actions"]),
        (&["tail", "no-such-topic", "--data-dir", &data], 1, &["no-such-topic", "outcomes"]),
        (&["tail", "actions", "--data-dir", &missing], 1, &["no log in", "mistyped"]),
        (
            &["serve", "--roles", "gateway", "--brokers", "127.0.0.1:9", "--data-dir", &data],
            1,
            &["127.0.0.1:9"],
        ),
        (
            &["deliver", "--provider", "github", "--file", &bad_event, "--url", "http://127.0.0.1:9/x"],
            1,
            &["127.0.0.1:9", "refused"],
        ),
    ];
    for (arguments, expected, says) in cases {
        let (out, err, code) = run(breakdown().args(*arguments)).await;
        assert_eq!(code, *expected, "{arguments:?}\n{out}{err}");
        for part in *says {
            assert!(
                out.contains(part) || err.contains(part),
                "{arguments:?} does not say {part:?}:\n{out}{err}"
            );
        }
    }
    assert!(!std::path::Path::new(&missing).exists(), "reading makes nothing");
    let (_, err, code) = run(breakdown()
        .args(["serve", "--data-dir", &data])
        .env_remove("GITHUB_WEBHOOK_SECRET")
        .env_remove("JIRA_WEBHOOK_SECRET"))
    .await;
    assert_eq!(code, 2);
    assert!(err.contains("GITHUB_WEBHOOK_SECRET") && err.contains("JIRA_WEBHOOK_SECRET"), "{err}");
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), |command| command).await;
    let (_, err, code) =
        run(breakdown().args(["serve", "--webhooks-listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path()))
            .await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("in use"), "{err}");
    serve.stop().await;
    Serve::start(dir.path(), |command| command).await.stop().await;
}

#[tokio::test]
async fn tail_shows_the_last_the_first_and_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (1..=5)
        .map(|n| format!("{{\"project_id\":\"alpha\",\"source\":\"github\",\"type\":\"issue_opened\",\"repo\":\"o/r\",\"issue_number\":{n},\"title\":\"\\u001b[31m{n}\"}}\n"))
        .collect();
    let file = dir.path().join("five.ndjson");
    std::fs::write(&file, lines).unwrap();
    let data = dir.path().join("data");
    let at = |arguments: &[&str]| {
        let mut command = breakdown();
        command.args(arguments).arg("--data-dir").arg(&data);
        command
    };
    let (_, err, code) = run(at(&["publish"]).arg("--file").arg(&file)).await;
    assert_eq!(code, 0, "{err}");
    let count = async |arguments: &[&str]| run(&mut at(arguments)).await.0.lines().count();
    assert_eq!(count(&["tail", "issues"]).await, 5);
    assert_eq!(count(&["tail", "issues", "-n", "2"]).await, 2);
    assert_eq!(count(&["tail", "issues", "--from", "3"]).await, 2);
    assert_eq!(count(&["tail", "issues", "--from", "end"]).await, 0);
    let (out, ..) = run(&mut at(&["tail", "issues", "-n", "1"])).await;
    assert!(out.contains("o/r#5") && !out.contains('\u{1b}'), "{out:?}");
    let (out, ..) = run(&mut at(&["topics", "--json"])).await;
    let ends: u64 = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|at| at["topic"] == "issues")
        .map(|at| at["end"].as_u64().unwrap())
        .sum();
    assert_eq!(ends, 5);
}

#[cfg(unix)]
#[tokio::test]
async fn no_command_takes_the_place_of_a_log_that_was_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Serve::start(dir.path(), |command| command).await;
    let at = |name: &str| dir.path().join(name);
    let publish = async || {
        run(breakdown()
            .args(["publish", "--data-dir"])
            .arg(dir.path())
            .arg("--file")
            .arg(sample("issue_bug_p0.json")))
        .await
    };
    let (_, err, code) = publish().await;
    assert_eq!(code, 0, "{err}");
    std::fs::rename(at("log.db"), at("gone")).unwrap();
    let all_refuse = async |says: &str| {
        for args in [&["topics"][..], &["issue", "o/r#1"], &["dead-letters", "list"], &["groups"]] {
            let (out, err, code) = run(breakdown().args(args).arg("--data-dir").arg(dir.path())).await;
            assert!(
                code != 0 && err.contains(says) && err.contains("put it back"),
                "{args:?}: {code}: {out}{err}"
            );
        }
        let (_, err, code) = publish().await;
        assert!(code != 0 && err.contains(says), "{err}");
        assert!(!at("log.db").exists());
    };
    all_refuse("is held by another breakdown serve (pid ").await;
    serve.kill().await;
    let wal = std::fs::read(at("log.db-wal")).unwrap();
    assert!(!wal.is_empty());
    all_refuse("log.db is missing beside its log.db-wal").await;
    let (_, err, code) = run(breakdown().args(["serve", "--data-dir"]).arg(dir.path())).await;
    assert!(code != 0 && err.contains("log.db is missing beside its log.db-wal"), "{code}: {err}");
    assert_eq!(std::fs::read(at("log.db-wal")).unwrap(), wal);
    std::fs::rename(at("gone"), at("log.db")).unwrap();
    let issues = tail("issues", |command| command.arg("--data-dir").arg(dir.path())).await;
    assert!(!issues.is_empty(), "what was acknowledged is there");
}
