//! A disk that fills up under `serve`, and is given room again: a real file system of 16 MiB, where the test may mount one (root, on
//! Linux).
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod program;

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use program::{SECRET, Serve, breakdown, client, run, tail, until};
use serde_json::Value;
use webhooks::{Provider, Secrets, sign};

/// A small disk of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, said plainly, where mounting is not permitted.
    fn mount(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                eprintln!("skipped: {test}: no file system can be mounted here ({other:?})");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.0.path().join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives the room back.
    fn free(&self) {
        File::create(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Status of one signed delivery, and its event's id where it was taken.
async fn deliver(serve: &Serve, number: usize) -> (u16, Option<String>) {
    let payload = include_str!("../../samples/deliveries/github-issue-opened-triage.json");
    let mut payload: Value = serde_json::from_str(payload).unwrap();
    payload["issue"]["number"] = number.into();
    payload["issue"]["title"] = "x".repeat(500).into();
    let body = serde_json::to_vec(&payload).unwrap();
    let secrets = Secrets::parse(SECRET).unwrap();
    let headers = sign(Provider::Github, &secrets, "issues", &format!("d-{number}"), &body);
    let request = client().post(format!("{}{}", serve.webhooks, Provider::Github.path())).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["event_id"].as_str().map(str::to_owned))
}

async fn ready(listener: &str) -> (u16, Value) {
    let answer = client().get(format!("{listener}/health/ready")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn values(data: &Path, topic: &str) -> Vec<Value> {
    tail(topic, |command| command.arg("--data-dir").arg(data)).await
}

fn ids(values: &[Value], field: &str) -> BTreeSet<String> {
    values.iter().map(|value| value[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_answered_503_said_in_readiness_and_left_behind_without_a_restart() {
    let Some(disk) = Disk::mount("is_answered_503_said_in_readiness_and_left_behind_without_a_restart")
    else {
        return;
    };
    let serve = Serve::start(&disk.data(), |command| command).await;
    let (mut taken, mut next) = (BTreeSet::new(), 0);
    for round in 0..2 {
        // Gateway and executor are in the middle of their work when the room ends.
        for _ in 0..40 {
            next += 1;
            let (status, id) = deliver(&serve, next).await;
            assert_eq!(status, 202, "round {round}");
            taken.extend(id);
        }
        disk.fill();
        // What the write-ahead log has taken from the disk before is still there to be used.
        let mut more = 0;
        loop {
            next += 1;
            match deliver(&serve, next).await {
                (202, id) => taken.extend(id),
                (503, None) => break,
                other => panic!("round {round}: {other:?}"),
            }
            more += 1;
            assert!(more < 10_000, "the disk does not fill up");
        }
        for listener in [&serve.admin, &serve.webhooks] {
            let mut last = Value::Null;
            until("readiness names the disk", async || {
                let (status, detail) = ready(listener).await;
                last = detail;
                status == 503 && last["log"].as_str().is_some_and(|why| why.contains("no space left"))
            })
            .await;
            assert_eq!(last["ready"], false);
        }
        assert_eq!(deliver(&serve, next).await.0, 503);
        let live = client().get(format!("{}/health/live", serve.admin)).send().await.unwrap();
        assert_eq!(live.status(), 200, "a restart would not help");

        // Nobody delivers to who is not ready: it recovers without that.
        disk.free();
        for listener in [&serve.admin, &serve.webhooks] {
            until("it is ready again", async || ready(listener).await.0 == 200).await;
        }
        let (status, id) = deliver(&serve, next).await;
        assert_eq!(status, 202, "round {round}");
        taken.extend(id);
        until("gateway and executor have done all that was left", async || {
            let decided = ids(&values(&disk.data(), "actions").await, "cause").len();
            decided >= taken.len() && values(&disk.data(), "outcomes").await.len() >= decided
        })
        .await;
    }

    let issues = ids(&values(&disk.data(), "issues").await, "event_id");
    assert_eq!(taken.difference(&issues).count(), 0, "acknowledged, and not on the log");
    let actions = values(&disk.data(), "actions").await;
    assert_eq!(ids(&actions, "cause"), issues, "each event is decided");
    assert_eq!(actions.len(), issues.len(), "and once");
    let outcomes = values(&disk.data(), "outcomes").await;
    assert_eq!(ids(&outcomes, "action_id"), ids(&actions, "event_id"), "each action has its outcome");
    assert_eq!(outcomes.len(), actions.len(), "and one only");
    assert!(outcomes.iter().all(|outcome| outcome["ack"] == true), "and was done");
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_named_with_what_is_needed_where_nothing_can_start() {
    let Some(disk) = Disk::mount("is_named_with_what_is_needed_where_nothing_can_start") else { return };
    let start = async || {
        let mut command = breakdown();
        command.args([
            "serve",
            "--webhooks-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        run(command.arg(disk.data())).await
    };
    let says = |(_, err, code): (String, String, i32)| {
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("no space left for") && err.contains("log.db (0 KiB are free"), "{err}");
        assert!(err.contains("free at least 32 MiB there, then start again"), "{err}");
    };
    std::fs::create_dir(disk.data()).unwrap();
    disk.fill();
    says(start().await);
    disk.free();
    let serve = Serve::start(&disk.data(), |command| command).await;
    assert_eq!(deliver(&serve, 1).await.0, 202);
    serve.kill().await;
    disk.fill();
    says(start().await);
    disk.free();
    let serve = Serve::start(&disk.data(), |command| command).await;
    assert_eq!(values(&disk.data(), "issues").await.len(), 1);
    serve.stop().await;
}
