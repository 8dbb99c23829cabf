//! The sample of `samples/targets`, all the way round: the real program with that configuration, fakes of GitHub, PagerDuty and
//! Slack, and Radicale, a real CalDAV server. One webhook of a P0 bug, one of somebody's `/ack`, one of its end, and then the whole log
//! again.
//!
//! `cargo test -p breakdown --test circle -- --nocapture` tells what stands in each tool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "../../executor/tests/targets/fake/mod.rs"]
mod fake;
mod program;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use eventlog::ManualClock;
use fake::{
    Way,
    github::{Github, Issue},
    pagerduty::{PLATFORM, Pagerduty},
    slack::Slack,
};
use program::{SECRET, Serve, breakdown, client, run, tail, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const ISSUE: &str = "acme/checkout/101";

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples")
}

/// The second that it is on the machine.
#[allow(clippy::disallowed_methods)]
fn machine_time() -> DateTime<Utc> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    DateTime::from_timestamp(now.as_secs().cast_signed(), 0).unwrap()
}

/// A real CalDAV server, which ends with the test.
struct Radicale {
    base: String,
    child: Child,
}

impl Radicale {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/radicale.sh");
        let mut command = std::process::Command::new(script);
        let mut child = command.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut base = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut base).unwrap();
        assert!(base.starts_with("http://"), "scripts/radicale.sh run says why it does not start");
        Self { base: base.trim().to_owned(), child }
    }

    async fn ask(&self, method: &str, path: &str, body: &'static str) -> String {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request =
            client().request(method, format!("{}{path}", self.base)).header("depth", "1").body(body);
        let answer = request.basic_auth("breakdown", Some("breakdown")).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.text().await.unwrap()
    }

    /// The meetings, each with its lines.
    async fn meetings(&self) -> Vec<String> {
        let all = self.ask("GET", "/team/meetings/", "").await.replace("\r\n ", "");
        let lines = |event: &str| event.split("END:VEVENT").next().unwrap().to_owned();
        all.split("BEGIN:VEVENT\r\n").skip(1).map(lines).collect()
    }

    /// What every calendar holds, with its tags. The token of a calendar remembers what stood there, too, and is gone.
    async fn tags(&self) -> Vec<String> {
        const ALL: &str = "<?xml version=\"1.0\"?><D:propfind xmlns:D=\"DAV:\" xmlns:S=\"http://calendarserver.org/ns/\"><D:prop>\
                           <D:getetag/><D:sync-token/><S:getctag/></D:prop></D:propfind>";
        let mut tags = Vec::new();
        for calendar in ["/team/meetings/", "/alice/calendar/", "/bo/calendar/"] {
            tags.push(self.ask("PROPFIND", calendar, ALL).await);
            tags.push(self.ask("GET", calendar, "").await);
        }
        tags
    }
}

impl Drop for Radicale {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// All the tools, and a directory with the sample's files.
struct Tools {
    dir: tempfile::TempDir,
    github: Github,
    pagerduty: Pagerduty,
    slack: Slack,
    radicale: Radicale,
}

/// What stands in every tool, to the letter, and how often each was called.
#[derive(Debug, PartialEq)]
struct Everything {
    issue: String,
    alerts: String,
    messages: Vec<(String, String, Value)>,
    calendars: Vec<String>,
    calls: [usize; 3],
}

impl Tools {
    async fn start() -> Self {
        // The program's clock is the machine's; those of the tools go a little ahead of it.
        let now = machine_time() + TimeDelta::minutes(1);
        let github = Github::start(Arc::new(ManualClock::new(now))).await;
        {
            let mut site = github.state.lock().unwrap();
            site.issues = [(ISSUE.to_owned(), Issue::default())].into();
            site.pushers = vec!["alice-w".into(), "bo-k".into()];
        }
        let slack = Slack::start().await;
        {
            let mut workspace = slack.state.lock().unwrap();
            workspace.now = now.timestamp();
            workspace.channels = vec!["C024PLATFORM".into(), "C024TRIAGE".into()];
        }
        let pagerduty = Pagerduty::start().await;
        let radicale = tokio::task::spawn_blocking(Radicale::start).await.unwrap();

        let dir = tempfile::tempdir().unwrap();
        let mut configuration = fs::read_to_string(samples().join("targets/breakdown.toml")).unwrap();
        for (real, fake) in [
            ("https://api.github.com", github.base.clone()),
            ("https://events.pagerduty.com", pagerduty.base.clone()),
            ("https://slack.com/api", format!("{}/api", slack.base)),
            ("https://dav.example.com", radicale.base.clone()),
        ] {
            assert_eq!(configuration.matches(real).count(), 1, "{real}");
            configuration = configuration.replace(real, &fake);
        }
        fs::write(dir.path().join("breakdown.toml"), configuration).unwrap();
        fs::copy(samples().join("targets/policy.yaml"), dir.path().join("policy.yaml")).unwrap();
        Self { dir, github, pagerduty, slack, radicale }
    }

    fn configure<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .current_dir(self.dir.path())
            .env("GITHUB_BOT_TOKEN", "ghp_1")
            .env("PAGERDUTY_PLATFORM", PLATFORM)
            .env("SLACK_BOT_TOKEN", "xoxb-1")
            .env("CALDAV_PASSWORD", "breakdown")
    }

    async fn serve(&self, data: &str) -> Serve {
        Serve::start(Path::new(data), |command| self.configure(command)).await
    }

    async fn on(&self, topic: &str, data: &str) -> Vec<Value> {
        tail(topic, |command| self.configure(command).args(["--data-dir", data])).await
    }

    async fn outcomes(&self, count: usize) -> Vec<Value> {
        until("the outcomes are there", async || self.on("outcomes", "data").await.len() >= count).await;
        let outcomes = self.on("outcomes", "data").await;
        assert_eq!(outcomes.len(), count, "{outcomes:#?}");
        outcomes
    }

    /// Sends a webhook as GitHub would.
    async fn deliver(&self, serve: &Serve, id: &str, payload: &Value) {
        fs::write(self.dir.path().join("payload.json"), payload.to_string()).unwrap();
        let mut command = breakdown();
        self.configure(&mut command).args(["deliver", "--provider", "github", "--file", "payload.json"]);
        command.args(["--delivery-id", id, "--url"]).arg(format!("{}/github/issues", serve.webhooks));
        let (out, err, code) = run(command.env("GITHUB_WEBHOOK_SECRET", SECRET)).await;
        assert!(code == 0 && out.starts_with("202 "), "{out}{err}");
    }

    fn issue(&self) -> Issue {
        self.github.state.lock().unwrap().issues[ISSUE].clone()
    }

    async fn everything(&self) -> Everything {
        let calls = |way: &Way| way.calls().len();
        let calendars = self.radicale.tags().await;
        Everything {
            issue: format!("{:?}", self.issue()),
            alerts: format!("{:?}", self.pagerduty.alerts()),
            messages: self.slack.state.lock().unwrap().messages.clone(),
            calendars,
            calls: [calls(&self.github.way), calls(&self.pagerduty.way), calls(&self.slack.way)],
        }
    }

    async fn tell(&self, when: &str) {
        let issue = self.issue();
        println!("\n{when}");
        println!("  GitHub     assignees {:?}, labels {:?}", issue.assignees, issue.labels);
        issue.comments.iter().for_each(|comment| println!("             comment {:?}", comment.body));
        for ((_, key), alert) in self.pagerduty.alerts() {
            println!("  PagerDuty  {key} {}: {}", alert.status, alert.last["payload"]["summary"]);
        }
        self.slack.texts().iter().for_each(|(channel, text)| println!("  Slack      {channel} {text:?}"));
        match self.radicale.meetings().await.as_slice() {
            [] => println!("  Calendar   no meeting"),
            some => {
                some.iter().for_each(|meeting| println!("  Calendar   {}", meeting.replace("\r\n", " · ")))
            }
        }
    }

    /// A copy of the log of which the members of `groups` know nothing: how far they came, and what they kept, is gone.
    fn copy(&self, data: &str, groups: &[(&str, &str)]) {
        let (from, to) = (self.dir.path().join("data"), self.dir.path().join(data));
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            if file.file_name().unwrap().to_string_lossy().starts_with("log.db") {
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
        let log = rusqlite::Connection::open(to.join("log.db")).unwrap();
        for (group, changelog) in groups {
            let forgotten = log.execute("DELETE FROM group_offsets WHERE name = ?1", [group]).unwrap();
            assert!(forgotten > 0, "{group} had come nowhere");
            let of = "topic = (SELECT id FROM topics WHERE name = ?1)";
            assert!(log.execute(&format!("DELETE FROM newest WHERE {of}"), [changelog]).unwrap() > 0);
            assert!(log.execute(&format!("DELETE FROM records WHERE {of}"), [changelog]).unwrap() > 0);
        }
    }

    /// Waits until a group has consumed as many records of a topic as there are to be.
    async fn consumed(&self, data: &str, group: &str, topic: &str, count: u64) {
        until("the group has consumed everything", async || {
            let mut command = breakdown();
            self.configure(&mut command).args(["groups", "--json", "--data-dir", data]);
            let (out, err, code) = run(&mut command).await;
            assert_eq!(code, 0, "{err}");
            let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let rows: Vec<Value> =
                rows.filter(|row| row["group"] == group && row["topic"] == topic).collect();
            let sum = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>();
            sum("committed") == count && sum("end") == count
        })
        .await;
    }
}

/// The sample of an answer, given then: an old one could be a replay.
fn answered(at: DateTime<Utc>) -> Value {
    let sample = fs::read(samples().join("deliveries/github-comment-ack.json")).unwrap();
    let mut answered: Value = serde_json::from_slice(&sample).unwrap();
    let at = json!(at.to_rfc3339_opts(SecondsFormat::Secs, true));
    (answered["comment"]["created_at"], answered["comment"]["updated_at"]) = (at.clone(), at.clone());
    answered["issue"]["updated_at"] = at;
    answered
}

/// The bug as GitHub tells of it when it is closed, with what we did to it.
fn closed(opened: &Value, at: DateTime<Utc>) -> Value {
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut closed = opened.clone();
    closed["action"] = json!("closed");
    let mut label = closed["issue"]["labels"][0].clone();
    label["name"] = json!("escalated");
    closed["issue"]["labels"].as_array_mut().unwrap().push(label);
    let mut alice = closed["issue"]["user"].clone();
    alice["login"] = json!("alice-w");
    closed["issue"]["assignee"] = alice.clone();
    closed["issue"]["assignees"] = json!([alice]);
    for (key, value) in
        [("state", "closed"), ("state_reason", "completed"), ("closed_at", &at), ("updated_at", &at)]
    {
        closed["issue"][key] = json!(value);
    }
    closed
}

#[tokio::test]
async fn a_p0_bug_is_assigned_paged_told_met_about_acknowledged_and_taken_back_and_a_replay_changes_nothing()
{
    let tools = Tools::start().await;
    let opened = fs::read(samples().join("deliveries/github-issue-opened-p0.json")).unwrap();
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    let serve = tools.serve("data").await;
    tools.deliver(&serve, "11111111-0000-4000-8000-000000000001", &opened).await;
    let outcomes = tools.outcomes(3).await;
    tools.tell("One webhook: a P0 bug was opened.").await;
    assert!(outcomes.iter().all(|outcome| outcome["ack"] == true), "{outcomes:#?}");
    let issue = tools.issue();
    assert_eq!((issue.assignees, issue.labels), (vec!["alice-w".to_owned()], vec!["escalated".to_owned()]));
    assert_eq!(issue.comments.len(), 2);
    let alerts = tools.pagerduty.alerts();
    let ((_, key), alert) = &alerts[0];
    assert_eq!((alerts.len(), key.as_str()), (1, "github:acme/checkout#101"));
    assert_eq!((alert.status, alert.opened, alert.triggers), ("triggered", 1, 1));
    let texts = tools.slack.texts();
    assert_eq!((texts.len(), texts[0].0.as_str()), (1, "C024PLATFORM"));
    assert!(texts[0].1.contains("Card payments fail with 502 since the 09:10 deploy"), "{texts:?}");
    let meetings = tools.radicale.meetings().await;
    assert_eq!(meetings.len(), 1);
    assert!(meetings[0].contains("SUMMARY:Unblock: Card payments fail with 502 since the 09:10 deploy"));

    let now = machine_time();
    let answered = answered(now);
    tools.deliver(&serve, "11111111-0000-4000-8000-000000000002", &answered).await;
    tools.outcomes(4).await;
    tools.tell("Another: somebody answered.").await;
    let alerts = tools.pagerduty.alerts();
    assert_eq!((alerts.len(), alerts[0].1.status, alerts[0].1.triggers), (1, "acknowledged", 1));
    assert_eq!(
        (tools.slack.texts().len(), tools.radicale.meetings().await.len()),
        (1, 1),
        "nobody else is told"
    );

    let closed = closed(&opened, now + TimeDelta::minutes(1));
    tools.deliver(&serve, "11111111-0000-4000-8000-000000000003", &closed).await;
    let outcomes = tools.outcomes(6).await;
    tools.tell("A third: it was closed.").await;
    assert!(outcomes.iter().all(|outcome| outcome["ack"] == true), "{outcomes:#?}");
    let issue = tools.issue();
    assert_eq!((issue.assignees, issue.labels), (vec!["alice-w".to_owned()], Vec::new()));
    assert_eq!((tools.pagerduty.alerts().len(), tools.pagerduty.alerts()[0].1.status), (1, "resolved"));
    let meetings = tools.radicale.meetings().await;
    assert!(meetings.len() == 1 && meetings[0].contains("STATUS:CANCELLED\r\n"), "{meetings:?}");
    assert_eq!(tools.slack.texts().len(), 2, "the channel is told");
    let before = tools.everything().await;

    // The same deliveries again, and the same payloads as other ones.
    for (id, payload) in [
        ("11111111-0000-4000-8000-000000000001", &opened),
        ("11111111-0000-4000-8000-000000000002", &answered),
        ("11111111-0000-4000-8000-000000000003", &closed),
        ("11111111-0000-4000-8000-000000000004", &opened),
        ("11111111-0000-4000-8000-000000000005", &answered),
        ("11111111-0000-4000-8000-000000000006", &closed),
    ] {
        tools.deliver(&serve, id, payload).await;
    }
    // One letter may be several events: that an issue moved on answers what was asked of it.
    let events = tools.on("issues", "data").await.len() as u64;
    tools.consumed("data", "gateway", "issues", events).await;
    tools.consumed("data", "executor", "actions", 6).await;
    assert_eq!(tools.everything().await, before);
    tools.outcomes(6).await;
    serve.stop().await;

    // The whole log, by an executor that knows nothing of what it did; then by a gateway, too, that decides everything anew.
    let executor = ("executor", "executor-state");
    for (data, groups, actions) in
        [("again", &[executor][..], 6), ("anew", &[executor, ("gateway", "gateway-state")][..], 12)]
    {
        tools.copy(data, groups);
        let serve = tools.serve(data).await;
        tools.consumed(data, "gateway", "issues", events).await;
        tools.consumed(data, "executor", "actions", actions).await;
        let replayed = tools.on("actions", data).await;
        assert_eq!(replayed.len() as u64, actions);
        assert_eq!(replayed[replayed.len() - 6..], replayed[..6], "the same log gives the same actions");
        // Whatever is to be done is kept as pending in the step that consumes it.
        let kept = tools.on("executor-state", data).await;
        assert!(kept.len() == 6 && kept.iter().all(|entry| entry["state"] == "done"), "{kept:#?}");
        assert_eq!(tools.on("outcomes", data).await, outcomes, "nothing is done or said again");
        serve.stop().await;
        assert_eq!(tools.everything().await, before);
        println!("\nThe whole log {data}: nothing differs in any of them.");
    }
}

#[tokio::test]
async fn a_policy_check_with_the_sample_has_no_warning_and_its_cases_hold() {
    for arguments in [&["check", "--deny-warnings", "policy.yaml"][..], &["test", "policy.yaml"]] {
        let mut command = breakdown();
        command.current_dir(samples().join("targets")).arg("policy").args(arguments);
        let (out, err, code) = run(&mut command).await;
        assert_eq!(code, 0, "{out}{err}");
        assert!(!format!("{out}{err}").contains("warning"), "{out}{err}");
    }
}
