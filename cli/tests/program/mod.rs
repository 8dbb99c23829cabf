//! The real program: started, talked to over HTTP, killed.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

pub const SECRET: &str = "s3cret";

pub fn breakdown() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_breakdown"));
    command.kill_on_drop(true).stdin(Stdio::null());
    // What the machine that runs the tests happens to have set is not what they are about.
    for name in [
        "REDPANDA_BROKERS",
        "CALENDAR_API_BASE",
        "BREAKDOWN_DATA_DIR",
        "BREAKDOWN_POLICY",
        "PROJECT_ID",
        "GITHUB_TOKEN",
        "JIRA_TOKEN",
    ] {
        command.env_remove(name);
    }
    command.env("RUST_LOG", "warn").env("GITHUB_WEBHOOK_SECRET", SECRET).env("JIRA_WEBHOOK_SECRET", SECRET);
    command.env_remove("PAGERDUTY_WEBHOOK_SECRET");
    command
}

/// A `serve` that has printed its addresses.
pub struct Serve {
    pub child: Child,
    pub webhooks: String,
    pub admin: String,
}

impl Serve {
    /// Starts `serve` on free ports and waits until it is ready.
    pub async fn start(dir: &Path, configure: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = breakdown();
        command.args(["serve", "--webhooks-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--calendar-listen", "127.0.0.1:0", "--data-dir"]).arg(dir).stdout(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut webhooks, mut admin) = (String::new(), String::new());
        while webhooks.is_empty() {
            let line = lines.next_line().await.unwrap().expect("serve ended before it printed its addresses");
            let address = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            match line.split_whitespace().next() {
                Some("webhooks") => webhooks = address,
                Some("admin") => admin = address,
                _ => {}
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let serve = Self { child, webhooks, admin };
        let url = format!("{}/health/ready", serve.admin);
        until("serve is ready", async || {
            client().get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        serve
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and the exit that must follow.
    pub async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(Duration::from_secs(40), self.child.wait()).await;
        assert!(status.expect("serve drains within 40 s").unwrap().success());
    }
}

pub fn client() -> reqwest::Client {
    executor::http_client(&"http://127.0.0.1".parse().unwrap(), Duration::from_secs(20)).unwrap()
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(90), "waited 90 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Standard output, standard error and exit code of one command.
pub async fn run(command: &mut Command) -> (String, String, i32) {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// The values of a topic, read by `tail --json` in another process.
pub async fn tail(topic: &str, configure: impl FnOnce(&mut Command) -> &mut Command) -> Vec<Value> {
    let mut command = breakdown();
    command.args(["tail", topic, "--json"]);
    let (out, err, code) = run(configure(&mut command)).await;
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].clone()).collect()
}
