//! What failed or could not be read is redriven, with the real program on a real log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod program;
#[path = "program/world.rs"]
mod world;

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use calendar_mock::Fault;
use chrono::{DateTime, Utc};
use eventlog::{Clock, Log, ManualClock, NewRecord, embedded::EmbeddedLog};
use events::{DeadLetter, Message, Origin, id, topic};
use program::{SECRET, Serve, breakdown, client, run, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use webhooks::{Provider, Secrets, sign};
use world::World;

const OPENED: &[u8] = include_bytes!("../../samples/deliveries/github-issue-opened-triage.json");

impl World {
    async fn letters(&self, more: &[&str]) -> Vec<Value> {
        let (out, err, code) = self.run(&[&["dead-letters", "list", "--json"], more].concat()).await;
        assert_eq!(code, 0, "{err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn redrive(&self, more: &[&str]) -> (String, String, i32) {
        let own = ["--project", self.project.as_str()];
        self.run(&[&["dead-letters", "redrive"], &own[..], more].concat()).await
    }

    /// Issues of these numbers, each of which is one nudge.
    async fn publish(&self, numbers: std::ops::Range<usize>) {
        let file = self.dir.path().join("events.ndjson");
        let line = |number| {
            let event = json!({"project_id": self.project, "source": "github", "type": "issue_opened", "repo": "o/r",
                "issue_number": number, "title": "t"});
            event.to_string()
        };
        std::fs::write(&file, numbers.map(line).collect::<Vec<_>>().join("\n")).unwrap();
        let (_, err, code) = self.run(&["publish", "--file", file.to_str().unwrap()]).await;
        assert_eq!(code, 0, "{err}");
    }

    async fn risk(&self, serve: &Serve) -> Value {
        let url = format!("{}/api/projects", serve.admin);
        let shown: Vec<Value> = client().get(url).send().await.unwrap().json().await.unwrap();
        shown
            .into_iter()
            .find(|at| at["project_id"] == self.project.as_str())
            .map_or(Value::Null, |mut at| at["risk"].take())
    }

    /// Puts a record on the embedded log, beside whoever serves it.
    async fn append(&self, record: NewRecord) {
        let log = EmbeddedLog::open(self.dir.path(), Arc::new(ManualClock::new(now()))).unwrap();
        log.append(vec![record]).await.unwrap();
    }

    async fn append_letter(&self, letter: &DeadLetter) {
        self.append(new_record(letter.to_message().unwrap())).await;
    }
}

fn now() -> DateTime<Utc> {
    // The machine's: what a log's records are compared with.
    let at = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let at = ManualClock::new(String::from_utf8(at).unwrap().trim().parse().unwrap());
    at.now()
}

fn new_record(message: Message) -> NewRecord {
    NewRecord {
        topic: message.topic.into(),
        partition: None,
        key: message.key.into(),
        value: Some(message.value.into()),
        headers: message.headers,
    }
}

fn brokers(test: &str) -> Option<String> {
    let brokers = std::env::var("REDPANDA_BROKERS").ok();
    if brokers.is_none() {
        eprintln!("skipped: dead_letters::{test}: set REDPANDA_BROKERS (scripts/kafka.sh up)");
    }
    brokers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_redriven_on_the_embedded_log() {
    what_failed_is_redriven(World::new("letters", None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_redriven_on_a_broker() {
    if let Some(brokers) = brokers("what_failed_is_redriven_on_a_broker") {
        what_failed_is_redriven(World::new("letters", Some(brokers)).await).await;
    }
}

async fn what_failed_is_redriven(world: World) {
    let serve = world.start().await;
    let own = ["--project", world.project.as_str()];
    world.calendar.inject(Fault::status(401).times(4));
    world.publish(0..3).await;
    until("all have failed", async || world.letters(&own).await.len() == 3).await;
    until("the risk is known", async || world.risk(&serve).await == json!(0.3)).await;
    let (out, ..) = world.run(&[&["dead-letters", "list"], &own[..]].concat()).await;
    assert!(
        out.contains("3 open: 3 undeliverable of actions") && out.contains("notification answered 401"),
        "{out}"
    );
    assert_eq!(world.letters(&[&own[..], &["--reason", "unreadable"]].concat()).await.len(), 0);
    assert_eq!(world.letters(&[&own[..], &["--topic", "issues"]].concat()).await.len(), 0);
    assert_eq!(world.letters(&[&own[..], &["--since", "2999-01-01"]].concat()).await.len(), 0);
    // None of this kind is not none at all.
    let (out, err, code) = world.run(&["dead-letters", "list", "--reason", "foo"]).await;
    assert!(code == 0 && out.is_empty(), "{out}{err}");
    assert!(err.contains("none of the ") && err.contains("undeliverable of actions"), "{err}");
    let (_, err, code) = world.redrive(&["--yes", "--topic", "calendar"]).await;
    assert!(code == 1 && err.contains("undeliverable of actions"), "{err}");
    let since = ["--topic", "actions", "--reason", "undeliverable", "--since", "1h"];
    assert_eq!(world.letters(&[&own[..], &since].concat()).await.len(), 3);

    // Nobody can be asked: it is counted, and nothing done.
    let (out, err, code) = world.redrive(&[]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("undeliverable") && err.contains('3') && err.contains("--yes"), "{err}");
    assert_eq!(world.on("actions").await.len(), 3);

    // One of them, by the beginning of its id; it fails again, and is a letter of its own.
    let first = world.letters(&own).await.remove(0);
    let id = first["letter"]["event_id"].as_str().unwrap();
    let (out, err, code) = world.redrive(&["--yes", &id[..20]]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with(&format!("{id} actions/")), "{out}");
    let again = async || world.letters(&own).await.into_iter().find(|letter| letter["letter"]["round"] == 1);
    until("it has failed again", async || again().await.is_some()).await;
    let again = again().await.unwrap();
    assert_eq!(again["letter"]["original_sha256"], first["letter"]["original_sha256"]);
    assert_eq!(world.letters(&own).await.len(), 3);
    assert_eq!(world.letters(&[&own[..], &["--all"]].concat()).await.len(), 4);
    let (out, ..) = world.run(&["dead-letters", "show", id, "--json"]).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["redriven"]["became"]["topic"], "actions");
    assert_eq!(shown["letter"]["original"]["action"], "post_nudge");
    let (out, ..) = world.run(&["dead-letters", "show", id, "--original"]).await;
    assert_eq!(id::sha256(out.as_bytes()), shown["letter"]["original_sha256"].as_str().unwrap());
    assert_eq!(world.redrive(&["--yes", id]).await.2, 0);
    assert!(world.redrive(&["--yes", id]).await.1.contains("redriven already"));

    // Mended.
    let (out, err, code) = world.redrive(&["--yes", "--json"]).await;
    assert_eq!((code, out.lines().count()), (0, 3), "{err}");
    until("all are done", async || world.calendar.nudges().len() == 3).await;
    until("the risk is as if nothing had failed", async || world.risk(&serve).await == json!(-0.15)).await;
    let outcomes = world.on("outcomes").await;
    assert_eq!(outcomes.len(), 7);
    for done in outcomes.iter().filter(|outcome| outcome["ack"] == true) {
        let replaced = outcomes.iter().find(|outcome| outcome["event_id"] == done["supersedes"]).unwrap();
        assert_eq!((&replaced["action_id"], &replaced["ack"]), (&done["action_id"], &json!(false)));
        assert_eq!(done["risk_delta"], -0.15);
    }
    let mut keys: Vec<_> =
        world.calendar.nudges().into_iter().map(|nudge| nudge.idempotency_key.unwrap()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3);

    // Nothing is left, and nothing redrives itself.
    let (out, err, code) = world.redrive(&["--yes"]).await;
    assert_eq!((code, out.as_str(), err.contains("no open dead letter")), (0, "", true), "{err}");
    let issue_ref = world.on("issues").await[0]["issue_ref"].as_str().unwrap().to_owned();
    if world.brokers.is_none() {
        let (out, ..) = world.run(&["issue", &issue_ref, "--json"]).await;
        let issue: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(issue["actions"].as_array().unwrap().len(), 1, "{issue}");
        assert!(issue["actions"][0]["outcomes"].as_array().unwrap().len() >= 2);
        let (out, ..) = world.run(&["doctor"]).await;
        assert!(
            out.contains(
                "7 actions taken up and 7 outcomes: each action is pending, deferred, or has its outcome"
            ),
            "{out}"
        );
    }
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_killed_and_made_again_neither_loses_nor_doubles() {
    const COUNT: usize = 300;
    let world = World::new("letters", None).await;
    world.calendar.inject(Fault::status(401).times(COUNT as u32));
    let serve = world.start().await;
    world.publish(0..COUNT).await;
    until("all have failed", async || world.letters(&[]).await.len() == COUNT).await;
    // In the first and in a later batch; without a server, so that what is written is what was asked for.
    serve.stop().await;
    for lines in [1, 120] {
        let mut child = world
            .command(&["dead-letters", "redrive", "--yes"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..lines {
            if out.next_line().await.unwrap().is_none() {
                break;
            }
        }
        child.kill().await.unwrap();
    }
    let (_, err, _) = world.redrive(&["--yes"]).await;
    assert!(err.contains("redriven, 0 left") || err.contains("no open"), "{err}");
    assert_eq!(world.letters(&[]).await.len(), 0);
    // Notes that were lost, as by a kill in front of them: every letter once more.
    let actions = world.on("actions").await.len();
    assert!(actions >= 2 * COUNT, "{actions}");
    let log = EmbeddedLog::open(world.dir.path(), Arc::new(ManualClock::new(now()))).unwrap();
    let redriven = read(&log, topic::ACTIONS).await.into_iter().filter(|r| r.header("redrive").is_some());
    let doubles: Vec<_> = redriven
        .map(|record| NewRecord {
            topic: record.topic.clone(),
            partition: Some(record.partition),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        })
        .collect();
    log.append(doubles).await.unwrap();
    drop(log);

    let serve = world.start().await;
    until("the risk is exact", async || world.risk(&serve).await == json!(-0.05 * COUNT as f64)).await;
    let lag = async || {
        let (out, ..) = world.run(&["groups", "--json"]).await;
        out.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["lag"].as_u64().unwrap())
            .sum::<u64>()
    };
    until("all is read", async || lag().await == 0).await;
    assert_eq!(world.on("outcomes").await.len(), 2 * COUNT);
    assert_eq!(world.calendar.nudges().len(), COUNT);
    assert_eq!(world.letters(&["--all"]).await.len(), COUNT);
    serve.stop().await;
}

async fn read(log: &dyn Log, topic: &str) -> Vec<eventlog::Record> {
    let topics = log.topics().await.unwrap();
    let info = topics.into_iter().find(|info| info.name == topic).unwrap();
    let from: Vec<_> = (0..).zip(&info.partitions).map(|(partition, at)| (partition, at.first)).collect();
    let mut reader = log.read(topic, &from).await.unwrap();
    let mut records = Vec::new();
    while !reader.at_end().await.unwrap() {
        records.extend(reader.next(Duration::from_millis(200)).await.unwrap());
    }
    records
}

fn delivery(event: Option<&str>, delivery_id: &str, body: &[u8]) -> DeadLetter {
    let origin = Origin::Delivery {
        provider: "github".into(),
        delivery_id: Some(delivery_id.into()),
        event: event.map(str::to_owned),
    };
    DeadLetter::new(origin, None, "unreadable", "an older version could not", now(), body)
}

async fn deliver(serve: &Serve, delivery_id: &str, body: &[u8]) -> (u16, Value) {
    let headers = sign(Provider::Github, &Secrets::parse(SECRET).unwrap(), "issues", delivery_id, body);
    let request = client().post(format!("{}/github/issues", serve.webhooks)).body(body.to_vec());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_read_anew_and_is_the_event_that_it_would_have_been() {
    let world = World::new("letters", None).await;
    let serve = world.start().await;
    let redrive =
        async |more: &[&str]| world.run(&[&["dead-letters", "redrive", "--yes"], more].concat()).await;
    // Signed right, and of no form: it stays what it is, however often it is tried.
    for _ in 0..2 {
        assert_eq!(deliver(&serve, "broken", b"{\"action\": \"opened\", \"issue\": <script>").await.0, 400);
    }
    let letters = world.letters(&[]).await;
    assert_eq!((letters.len(), &letters[0]["times"]), (1, &json!(2)));
    let (out, err, code) = redrive(&[]).await;
    assert!(code == 1 && out.contains("still cannot be read") && !out.contains("script"), "{out}{err}");
    assert_eq!(world.letters(&[]).await.len(), 1);

    // What an older version could not read, this one can.
    world.append_letter(&delivery(Some("issues"), "readable", OPENED)).await;
    world.append_letter(&delivery(Some("ping"), "ping", b"{}")).await;
    let form: String = OPENED.iter().map(|byte| format!("%{byte:02X}")).collect();
    world.append_letter(&delivery(Some("issues"), "form", format!("payload={form}").as_bytes())).await;
    world.append_letter(&delivery(None, "nameless", OPENED)).await;
    let cut = vec![b' '; events::MAX_ORIGINAL_BYTES + 1];
    world.append_letter(&delivery(Some("issues"), "cut", &cut)).await;
    let (out, err, code) = redrive(&["--since", "1h"]).await;
    assert_eq!((code, out.lines().count()), (1, 6), "{out}{err}");
    for says in ["ignored: ping", "X-GitHub-Event", "first 524288 were kept", "3 redriven, 3 left"] {
        assert!(out.contains(says) || err.contains(says), "{says}\n{out}{err}");
    }
    let event_id = id::github_event("github.com", Some("readable"), OPENED);
    until("there is an event", async || !world.on("issues").await.is_empty()).await;
    let ids: Vec<_> =
        world.on("issues").await.iter().map(|e| e["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&event_id), "{ids:?}");
    assert_eq!(world.letters(&[]).await.len(), 3);

    // Delivered again, it is the same.
    let (status, answer) = deliver(&serve, "readable", OPENED).await;
    assert_eq!((status, answer["event_id"].as_str().unwrap()), (202, event_id.as_str()));
    // Both deliveries are of one issue, which needs triage once.
    until("it is done", async || world.calendar.nudges().len() == 1).await;
    until("all is read", async || world.on("issues").await.len() == 3).await;
    until("the risk is known", async || world.risk(&serve).await == json!(-0.05)).await;
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_come_back_once_a_round_and_some_are_not_redriven() {
    let world = World::new("letters", None).await;
    let serve = world.start().await;
    let record = |topic: &str, key: &str, value: &str| NewRecord {
        topic: topic.into(),
        partition: None,
        key: key.to_owned().into(),
        value: Some(value.to_owned().into()),
        headers: vec![("payload_hash".into(), "h".into())],
    };
    let action = json!({"event_id": "a-1", "project_id": world.project, "action": "post_nudge", "target": "team:triage",
        "rationale": "r", "source_ref": ""});
    for topic in ["issues", "actions", "outcomes", "control"] {
        world.append(record(topic, &world.project, "no JSON of ours")).await;
    }
    world.append(record("actions", "another-project", &action.to_string())).await;
    until("they are letters", async || world.letters(&[]).await.len() == 5).await;
    let (out, err, code) = world.run(&["dead-letters", "redrive", "--yes"]).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("3 redriven, 2 left") && out.contains("its key is not its project"), "{out}{err}");
    let rounds = async |round: u64| {
        let letters = world.letters(&[]).await;
        let at =
            letters.iter().filter(|letter| letter["letter"]["round"].as_u64().unwrap_or(0) == round).count();
        (at, letters.len())
    };
    until("they are letters again", async || rounds(1).await == (3, 5)).await;
    assert!(
        world
            .run(&["dead-letters", "redrive", "--yes", "--topic", "issues"])
            .await
            .1
            .contains("1 redriven, 0 left")
    );
    until("it is one again", async || rounds(2).await == (1, 5)).await;
    let log = EmbeddedLog::open(world.dir.path(), Arc::new(ManualClock::new(now()))).unwrap();
    let issues = read(&log, topic::ISSUES).await;
    assert_eq!(issues.iter().map(|r| r.header("redrive")).collect::<Vec<_>>(), [None, Some("1"), Some("2")]);
    assert!(issues.iter().all(|r| r.header("payload_hash") == Some("h")), "headers stay");
    drop(log);

    // Its record is gone, and the letter has it all; then not all. Where there is none of what it names, its project says where.
    let gone = |offset, original: &[u8]| {
        let origin = Origin::Record { topic: "actions".into(), partition: 99, offset };
        DeadLetter::new(origin, Some(world.project.clone()), "undeliverable", "long ago", now(), original)
    };
    world.append_letter(&gone(1_000_000, action.to_string().as_bytes())).await;
    world.append_letter(&gone(1_000_001, &vec![b' '; events::MAX_ORIGINAL_BYTES + 1])).await;
    world.append_letter(&gone(1_000_002, b"{}")).await;
    let (out, err, code) = world.redrive(&["--yes", "--reason", "undeliverable"]).await;
    assert_eq!((code, out.matches("is no more on actions").count()), (1, 2), "{out}{err}");
    until("it is done", async || !world.on("outcomes").await.is_empty()).await;
    let outcome = world.on("outcomes").await.remove(0);
    assert_eq!(
        (&outcome["supersedes"], &outcome["risk_delta"]),
        (&json!(id::outcome("a-1", 0)), &json!(-0.15))
    );
    serve.stop().await;
}

#[tokio::test]
async fn wrong_usage_is_told() {
    let world = World::new("letters", None).await;
    assert!(Path::new(world.dir.path()).exists());
    for (arguments, expected, says) in [
        (&["dead-letters", "list", "--since", "yesterday"][..], 2, "write a day"),
        (&["dead-letters", "show", "d-nothing"], 1, "dead-letters"),
        (&["dead-letters", "redrive", "--data-dir", "/no/such"], 1, "no log in"),
    ] {
        let mut command = breakdown();
        command.args(arguments);
        if !arguments.contains(&"--data-dir") {
            command.arg("--data-dir").arg(world.dir.path());
        }
        let (out, err, code) = run(&mut command).await;
        assert_eq!(code, expected, "{arguments:?} {out}{err}");
        assert!(err.contains(says), "{arguments:?} {err}");
    }
}

/// A page failed, and its issue was closed since: whoever redrives it is told that nobody needs it any more, and there is no letter again.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_any_more_ends_with_its_redrive() {
    let world = World::new("letters", None).await;
    let policy = world.dir.path().join("pages.yaml");
    let rule = json!({
        "version": 1, "teams": { "ops": { "members": ["al"] } },
        "rules": [{
            "id": "page", "when": "event.type == \"issue_opened\"", "rationale": "It is new",
            "then": { "action": "escalate_owner", "target": "team:ops" },
        }],
    });
    std::fs::write(&policy, rule.to_string()).unwrap();
    let serve =
        Serve::start(world.dir.path(), |command| world.configure(command).env("BREAKDOWN_POLICY", &policy))
            .await;
    world.calendar.inject(Fault::status(401));
    world.publish(0..1).await;
    until("it has failed", async || world.letters(&[]).await.len() == 1).await;
    let opened = world.on("issues").await.remove(0);
    let closed = json!({"project_id": world.project, "source": "github", "type": "issue_closed", "state": "closed",
        "repo": "o/r", "issue_number": 0});
    assert_eq!(opened["issue_ref"], "github:o/r#0");
    let file = world.dir.path().join("closed.json");
    std::fs::write(&file, closed.to_string()).unwrap();
    let (_, err, code) = world.run(&["publish", "--file", file.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{err}");
    until("it is taken back", async || world.on("outcomes").await.len() == 2).await;
    let letter = world.letters(&[]).await.remove(0)["letter"]["event_id"].as_str().unwrap().to_owned();

    let (_, err, code) = world.redrive(&["--yes"]).await;
    assert!(code == 0 && err.contains("1 redriven, 0 left"), "{err}");
    assert!(err.contains(&format!("{letter} ended: withdrawn: the issue was closed meanwhile")), "{err}");
    assert!(world.letters(&[]).await.is_empty(), "nothing is open");
    assert_eq!(world.letters(&["--all"]).await.len(), 1, "and there is no other");
    let (out, ..) = world.run(&["issue", "github:o/r#0", "--json"]).await;
    let issue: Value = serde_json::from_str(&out).unwrap();
    let outcomes = &issue["actions"][0]["outcomes"];
    assert!(outcomes[1]["error"].as_str().unwrap().starts_with("withdrawn: "), "{outcomes}");
    assert_eq!((&outcomes[1]["supersedes"], &outcomes[1]["ack"]), (&outcomes[0]["event_id"], &json!(false)));
    until("the failure counts no more", async || world.risk(&serve).await == json!(0.0)).await;
    assert!(world.calendar.nudges().is_empty(), "nobody is called");
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_redriven_while_nobody_runs_is_said_to_wait() {
    let world = World::new("letters", None).await;
    let serve = world.start().await;
    world.calendar.inject(Fault::status(401));
    world.publish(0..1).await;
    until("it has failed", async || world.letters(&[]).await.len() == 1).await;
    serve.stop().await;
    let (_, err, code) = world.redrive(&["--yes"]).await;
    assert!(code == 0 && err.contains("1 redriven, 0 left"), "{err}");
    assert!(err.contains("no executor has taken all of it up yet") && !err.contains("no gateway"), "{err}");
    let serve = world.start().await;
    until("it is done", async || world.calendar.nudges().len() == 1).await;
    serve.stop().await;
}
