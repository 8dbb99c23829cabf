//! Policies that change while the real program runs, and policies on trial.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "other tests use the rest")]
mod program;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use program::{Serve, breakdown, client, run, tail, until};
use serde_json::{Value, json};
use tokio::process::Command;

const SAMPLE: &str = include_str!("../../samples/policy.yaml");
const PARTITIONS: usize = 8;

/// The sample, with another rationale for what is new: another hash, and an action that shows it.
fn saying(rationale: &str) -> String {
    let text = SAMPLE.replace("New issue needs triage", rationale);
    assert_ne!(text, SAMPLE);
    text
}

fn hash(text: &str) -> String {
    policy::load(text).unwrap().hash().to_owned()
}

/// What is in force when it decides every partition.
fn everywhere(text: &str) -> Value {
    json!({hash(text): (0..PARTITIONS).collect::<Vec<_>>()})
}

/// A directory with a policy, and a `serve` that decides by it.
struct House {
    dir: tempfile::TempDir,
    serve: Serve,
}

impl House {
    async fn new(files: &[(&str, &str)], args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let serve = Self::serve(dir.path(), args).await;
        Self { dir, serve }
    }

    async fn serve(dir: &Path, args: &[&str]) -> Serve {
        let log = File::options().append(true).create(true).open(dir.join("log.txt")).unwrap();
        Serve::start(&dir.join("data"), |command| {
            command.current_dir(dir).args(args).env("RUST_LOG", "info").stderr(Stdio::from(log))
        })
        .await
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As editors do: written beside it, and put in its place.
    fn save(&self, name: &str, text: &str) {
        fs::write(self.at("beside"), text).unwrap();
        fs::rename(self.at("beside"), self.at(name)).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log.txt")).unwrap()
    }

    async fn health(&self) -> Value {
        let (is_ready, health) = self.said().await;
        assert!(is_ready, "a refused file does not make the process unready");
        health
    }

    /// Whether it is ready, and what `/health` says.
    async fn said(&self) -> (bool, Value) {
        let answer = client().get(format!("{}/health", self.serve.admin)).send().await.unwrap();
        (answer.status() == 200, answer.json().await.unwrap())
    }

    async fn until_health(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, async || holds(&self.health().await)).await;
        self.health().await
    }

    /// The value of one series; none when there is none.
    async fn metric(&self, series: &str) -> Option<String> {
        let answer = client().get(format!("{}/metrics", self.serve.admin)).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(str::to_owned)
    }

    async fn hang_up(&self) {
        let pid = self.serve.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    }

    async fn tail(&self, topic: &str) -> Vec<Value> {
        let data = self.at("data");
        tail(topic, |command| command.arg("--data-dir").arg(data)).await
    }

    /// Publishes an opened issue, and gives the action that it caused.
    async fn action(&self, number: u32) -> Value {
        let id = self.publish(number).await;
        self.caused("actions", &id).await
    }

    async fn publish(&self, number: u32) -> String {
        let event = json!({
            "project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "acme/checkout",
            "issue_number": number, "title": "T", "state": "open", "event_id": format!("p-{number}"),
        });
        fs::write(self.at("event.json"), event.to_string()).unwrap();
        let mut command = breakdown();
        command.args(["publish", "--file"]).arg(self.at("event.json")).arg("--data-dir").arg(self.at("data"));
        let (_, err, code) = run(&mut command).await;
        assert_eq!(code, 0, "{err}");
        format!("p-{number}")
    }

    async fn caused(&self, topic: &str, id: &str) -> Value {
        let find = async || self.tail(topic).await.into_iter().find(|action| action["cause"] == id);
        until("the action is there", async || find().await.is_some()).await;
        find().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_file_is_followed_while_it_changes_breaks_and_goes() {
    let house = House::new(&[("policy.yaml", SAMPLE)], &["--policy", "policy.yaml"]).await;
    let action = house.action(1).await;
    assert_eq!(action["policy_hash"], hash(SAMPLE));
    let policy = &house.health().await["policy"];
    let expected = json!({"loaded": hash(SAMPLE), "file": "policy.yaml", "refused": null, "in_force": everywhere(SAMPLE)});
    assert_eq!(*policy, expected);
    let receivers = client().get(format!("{}/health", house.serve.webhooks)).send().await.unwrap();
    assert_eq!(receivers.json::<Value>().await.unwrap().get("policy"), None, "the world is told less");

    // Another good version.
    let second = saying("Look at it");
    house.save("policy.yaml", &second);
    house.until_health("the second is in force", |it| it["policy"]["in_force"] == everywhere(&second)).await;
    let action = house.action(2).await;
    assert_eq!((&action["policy_hash"], &action["rationale"]), (&json!(hash(&second)), &json!("Look at it")));
    let policies = house.tail("policies").await;
    let hashes: Vec<_> = policies.iter().map(|change| change["policy_hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.iter().filter(|it| **it == hash(&second)).count(), PARTITIONS, "one step a partition");
    assert_eq!(hashes.len(), 2 * PARTITIONS);
    let short = |text: &str| format!("breakdown_policy_info{{hash=\"{}\"}}", &hash(text)[..12]);
    assert_eq!(house.metric(&short(&second)).await.as_deref(), Some("1"));
    assert_eq!(house.metric(&short(SAMPLE)).await.as_deref(), Some("0"));
    let reloads = |result: &str| format!("breakdown_policy_reloads_total{{result=\"{result}\"}}");
    assert_eq!(house.metric(&reloads("loaded")).await.as_deref(), Some("1"));
    assert_eq!(house.metric("breakdown_policy_refused").await.as_deref(), Some("0"));

    // A broken one.
    let broken = second.replace("issue.labels", "issue.lables").replace("team:platform", "team:plattform");
    house.save("policy.yaml", &broken);
    let health = house.until_health("the third is refused", |it| !it["policy"]["refused"].is_null()).await;
    let mistakes = policy::load(&broken).unwrap_err();
    let refused = &health["policy"]["refused"];
    assert_eq!(health["policy"]["loaded"], hash(&second));
    assert_eq!(health["policy"]["in_force"], everywhere(&second));
    assert_eq!(refused["errors"], mistakes.len());
    let first = format!("{}:{}: {}", mistakes[0].line, mistakes[0].column, mistakes[0].message);
    assert_eq!(refused["first"], first);
    assert!(refused["at"].as_str().is_some_and(|at| at.starts_with("20")), "{refused}");
    assert_eq!(house.metric(&reloads("refused")).await.as_deref(), Some("1"));
    assert_eq!(house.metric("breakdown_policy_refused").await.as_deref(), Some("1"));
    assert_eq!(house.action(3).await["policy_hash"], hash(&second));

    // The same again is no news; to be asked is.
    house.save("policy.yaml", &broken);
    house.hang_up().await;
    until("it is read again", async || house.metric(&reloads("refused")).await.as_deref() == Some("2")).await;

    // Gone.
    fs::remove_file(house.at("policy.yaml")).unwrap();
    let gone =
        |it: &Value| it["policy"]["refused"]["first"].as_str().unwrap_or("").contains("cannot be read");
    house.until_health("it is missed", gone).await;
    assert_eq!(house.metric(&reloads("unreadable")).await.as_deref(), Some("1"));
    assert_eq!(house.action(4).await["policy_hash"], hash(&second));
    let log = house.log();
    for mistake in &mistakes {
        let line = format!("{}:{}: {}", mistake.line, mistake.column, mistake.message);
        assert_eq!(log.matches(&line).count(), if line == first { 4 } else { 2 }, "{line}\n{log}");
    }

    // Back as it was.
    house.save("policy.yaml", &second);
    house.until_health("all is well", |it| it["policy"]["refused"].is_null()).await;
    assert_eq!(house.metric(&reloads("loaded")).await.as_deref(), Some("1"), "it was in force all the time");
    assert_eq!(house.metric("breakdown_policy_refused").await.as_deref(), Some("0"));
    assert_eq!(house.tail("policies").await.len(), 2 * PARTITIONS);

    // Written in place, and said so.
    let last = saying("Last");
    fs::write(house.at("policy.yaml"), &last).unwrap();
    house.hang_up().await;
    house.until_health("the last is in force", |it| it["policy"]["in_force"] == everywhere(&last)).await;
    assert_eq!(house.action(5).await["rationale"], "Last");
    let House { dir, serve } = house;
    serve.stop().await;

    // Changed while nothing ran: the start is a change like any other.
    fs::write(dir.path().join("policy.yaml"), SAMPLE).unwrap();
    let serve = House::serve(dir.path(), &["--policy", "policy.yaml"]).await;
    let house = House { dir, serve };
    assert_eq!(house.action(6).await["policy_hash"], hash(SAMPLE));
    assert_eq!(house.tail("policies").await.len(), 4 * PARTITIONS);
    house.serve.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_no_partition_could_take_is_loaded_and_not_in_force() {
    let house = House::new(&[("policy.yaml", SAMPLE)], &["--policy", "policy.yaml"]).await;
    // No file may grow, as on a full disk.
    let limit = async |to: &str| {
        let pid = house.serve.child.id().unwrap().to_string();
        let mut prlimit = Command::new("prlimit");
        assert!(prlimit.args(["--pid", &pid, &format!("--fsize={to}:")]).status().await.unwrap().success());
    };
    limit("1").await;
    let second = saying("Look at it");
    house.save("policy.yaml", &second);
    // A gateway whose steps fail for long is not ready.
    until("it is loaded", async || house.said().await.1["policy"]["loaded"] == hash(&second)).await;
    let failed = async || house.metric("breakdown_gateway_steps_total{result=\"failed\"}").await;
    until("steps fail", async || failed().await.is_some_and(|count| count != "0")).await;
    let info = |text: &str| format!("breakdown_policy_info{{hash=\"{}\"}}", &hash(text)[..12]);
    assert_eq!(house.said().await.1["policy"]["in_force"].get(hash(&second)), None);
    assert_ne!(house.metric(&info(&second)).await.as_deref(), Some("1"));
    limit("unlimited").await;
    until("it is in force", async || house.said().await.1["policy"]["in_force"] == everywhere(&second)).await;
    assert_eq!(house.metric(&info(&second)).await.as_deref(), Some("1"));
    assert_eq!(house.metric(&info(SAMPLE)).await.as_deref(), Some("0"));
    house.serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_a_hang_up_changes_nothing() {
    for args in [&[][..], &["--roles", "webhooks,executor,calendar-mock", "--policy", "policy.yaml"]] {
        let house = House::new(&[("policy.yaml", SAMPLE)], args).await;
        house.hang_up().await;
        until("the log says so", async || house.log().contains("nothing to reload")).await;
        let health = house.health().await;
        match args {
            [] => assert_eq!(health["policy"]["file"], Value::Null),
            _ => assert_eq!(health.get("policy"), None, "no gateway, no policy"),
        }
        assert_eq!(health.get("shadow"), None);
        house.serve.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_on_trial_decides_beside_the_one_in_force_and_nothing_of_it_is_done() {
    let candidate = saying("Tried out")
        .replace("post_nudge, target: \"team:triage\"", "assign_owner, target: \"team:triage\"");
    let files = [("candidate.yaml", candidate.as_str()), ("breakdown.toml", "shadow = \"candidate.yaml\"\n")];
    let house = House::new(&files, &[]).await;
    let real = house.action(1).await;
    let tried = house.caused("actions-shadow", "p-1").await;
    assert_eq!((&real["action"], &tried["action"]), (&json!("post_nudge"), &json!("assign_owner")));
    assert_eq!(real["event_id"], tried["event_id"], "that is how one compares them");
    assert_eq!(tried["policy_hash"], hash(&candidate));
    assert_eq!(tried["rationale"], "Tried out");
    let health = house.health().await;
    assert_eq!(
        health["shadow"],
        json!({"loaded": hash(&candidate), "file": "candidate.yaml", "refused": null,
            "in_force": everywhere(&candidate), "given_up": null})
    );
    let info = format!("breakdown_shadow_policy_info{{hash=\"{}\"}}", &hash(&candidate)[..12]);
    assert_eq!(house.metric(&info).await.as_deref(), Some("1"));
    assert_eq!(house.metric("breakdown_shadow_given_up").await.as_deref(), Some("0"));

    // Another candidate, then one that is none.
    let next = candidate.replace("Tried out", "Tried next");
    house.save("candidate.yaml", &next);
    house.until_health("the next is on trial", |it| it["shadow"]["in_force"] == everywhere(&next)).await;
    house.action(2).await;
    assert_eq!(house.caused("actions-shadow", "p-2").await["rationale"], "Tried next");
    house.save("candidate.yaml", "version: 1\nrules: [");
    house.until_health("it is refused", |it| !it["shadow"]["refused"].is_null()).await;
    house.action(3).await;
    assert_eq!(house.caused("actions-shadow", "p-3").await["policy_hash"], hash(&next));
    assert_eq!(house.health().await["policy"]["refused"], Value::Null);

    // Each counts on its own, and an outcome is of something done.
    let counted = |name: &str, action: &str| format!("{name}{{action=\"{action}\",rule=\"triage-new\"}}");
    let real = counted("breakdown_decided_actions_total", "post_nudge");
    assert_eq!(house.metric(&real).await.as_deref(), Some("3"));
    assert_eq!(house.metric(&counted("breakdown_decided_actions_total", "assign_owner")).await, None);
    let tried = counted("breakdown_shadow_actions_total", "assign_owner");
    assert_eq!(house.metric(&tried).await.as_deref(), Some("3"));
    until("each has its outcome", async || house.tail("outcomes").await.len() >= 3).await;
    assert!(house.tail("outcomes").await.iter().all(|outcome| outcome["action"] == "post_nudge"));
    let policies = house.tail("policies").await;
    let trials = policies.iter().filter(|change| change["on_trial"] == true).count();
    assert_eq!(policies.len() - trials, PARTITIONS, "a trial is no change of policy");
    assert_eq!(
        trials,
        2 * PARTITIONS,
        "each candidate's trial is on the log, for its actions to be explained"
    );

    // A trial goes on over a restart, and ends with one that does not name it.
    fs::write(house.at("candidate.yaml"), &next).unwrap();
    let House { dir, serve } = house;
    serve.stop().await;
    let serve = House::serve(dir.path(), &[]).await;
    let house = House { dir, serve };
    house.action(4).await;
    house.caused("actions-shadow", "p-4").await;
    fs::remove_file(house.at("breakdown.toml")).unwrap();
    let House { dir, serve } = house;
    serve.stop().await;
    let serve = House::serve(dir.path(), &[]).await;
    let house = House { dir, serve };
    house.action(5).await;
    assert_eq!(house.tail("actions-shadow").await.len(), 4);
    assert_eq!(
        house.tail("outcomes").await.iter().filter(|outcome| outcome["action"] != "post_nudge").count(),
        0
    );
    house.serve.stop().await;
}

#[tokio::test]
async fn a_candidate_that_does_not_load_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("candidate.yaml"), "version: 1\nrules: 7\n").unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    for (file, expected) in [
        ("candidate.yaml", "candidate.yaml:2:"),
        ("none.yaml", "cannot be read: there is no such file"),
        ("pipe", "cannot be read: it is not a regular file"),
        (".", "cannot be read: it is a directory"),
    ] {
        let mut command = breakdown();
        command.current_dir(dir.path()).args(["serve", "--shadow", file, "--admin-listen", "127.0.0.1:0"]);
        let (_, err, code) = run(&mut command).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(expected), "{err}");
    }
}

#[tokio::test]
async fn no_command_waits_for_a_pipe_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    for pipe in ["pipe", "pipe.test.yaml"] {
        assert!(Command::new("mkfifo").arg(dir.path().join(pipe)).status().await.unwrap().success());
    }
    let event =
        r#"{"project_id": "a", "source": "github", "type": "issue_opened", "issue_ref": "github:a/b#1"}"#;
    fs::write(dir.path().join("event.json"), event).unwrap();
    fs::write(dir.path().join("policy.yaml"), SAMPLE).unwrap();
    let cases =
        "cases:\n  - name: one\n    steps:\n      - event: { type: issue_opened }\n        expect: []\n";
    fs::write(dir.path().join("policy.test.yaml"), cases).unwrap();
    for args in [
        &["check", "pipe"][..],
        &["explain", "event.json", "--policy", "pipe"],
        &["test", "pipe.test.yaml"],
        &["test", "policy.test.yaml", "--policy", "pipe"],
        &["backtest", "pipe", "--input", "event.json"],
        &["backtest", "policy.yaml", "--against", "pipe", "--input", "event.json"],
    ] {
        let mut command = breakdown();
        command.current_dir(dir.path()).arg("policy").args(args);
        let (out, err, code) = run(&mut command).await;
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(
            (out.clone() + &err).contains("cannot be read: it is not a regular file"),
            "{args:?}: {out}{err}"
        );
    }
}
