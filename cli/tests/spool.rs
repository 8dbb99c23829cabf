//! Receivers while the broker is away: frozen, killed, and the receivers killed meanwhile. Every delivery that was answered 202
//! is on `issues` once it is back, and those of a project in the order of their answers.
//!
//! These tests freeze and kill the broker, so they want one of their own: `REDPANDA_BROKERS` must be the one that
//! `scripts/kafka.sh up` started from this checkout.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod program;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use program::{SECRET, Serve, breakdown, client, run, tail, until};
use serde_json::Value;
use tokio::process::Command;
use webhooks::{Provider, Secrets, sign};

const PROJECTS: usize = 4;

/// One test at a time has the broker.
static BROKER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A broker that may be frozen and killed.
struct Broker {
    address: String,
}

impl Broker {
    fn ours(test: &str) -> Option<Self> {
        let kafka = root().join("target/kafka");
        let ours = |address: &str| {
            let properties = std::fs::read_to_string(kafka.join("server.properties")).unwrap_or_default();
            kafka.join("pid").exists() && properties.contains(&format!("PLAINTEXT://{address}\n"))
        };
        let address = std::env::var("REDPANDA_BROKERS").ok().filter(|address| ours(address));
        if address.is_none() {
            eprintln!(
                "skipped: spool::{test}: set REDPANDA_BROKERS to the broker of this checkout (scripts/kafka.sh up)"
            );
        }
        Some(Self { address: address? })
    }

    async fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(root().join("target/kafka/pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().await.unwrap().success());
    }

    async fn start(&self) {
        let port = self.address.rsplit(':').next().unwrap();
        let mut script = Command::new(root().join("scripts/kafka.sh"));
        let started = script.arg("up").env("BREAKDOWN_KAFKA_PORT", port).status().await.unwrap();
        assert!(started.success());
    }
}

/// Whatever a test finds, the broker is there for the next one.
struct Thaw(PathBuf);

impl Drop for Thaw {
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(&self.0) {
            let _ = std::process::Command::new("kill").args(["-CONT", pid.trim()]).status();
        }
    }
}

/// Senders, one a project, each of which sends its next delivery when the last one was answered 202.
struct Senders {
    run: String,
    origin: Mutex<String>,
    stop: AtomicBool,
    /// Per project, the ids in the order of their answers.
    acknowledged: [Mutex<Vec<String>>; PROJECTS],
    spooled: AtomicUsize,
    refused: AtomicUsize,
}

impl Senders {
    fn count(&self) -> usize {
        self.acknowledged.iter().map(|ids| ids.lock().unwrap().len()).sum()
    }

    async fn send(self: Arc<Self>, project: usize) {
        let client = client();
        let secrets = Secrets::parse(SECRET).unwrap();
        let payload = include_str!("../../samples/deliveries/github-issue-opened-triage.json");
        let mut payload: Value = serde_json::from_str(payload).unwrap();
        let mut number = 0;
        while !self.stop.load(SeqCst) {
            payload["issue"]["number"] = (number + 1).into();
            payload["repository"]["full_name"] = format!("acme/{}-{project}", self.run).into();
            let body = serde_json::to_vec(&payload).unwrap();
            let id = format!("{}-{project}-{number}", self.run);
            let headers = sign(Provider::Github, &secrets, "issues", &id, &body);
            let url = format!("{}{}", self.origin.lock().unwrap(), Provider::Github.path());
            let request = client.post(url).body(body);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            match request.send().await {
                Ok(answer) if answer.status() == 202 => {
                    let Ok(answer) = answer.json::<Value>().await else { continue };
                    let spooled = answer["spooled"] == true;
                    assert_eq!(spooled, answer.get("offset").is_none(), "{answer}");
                    self.spooled.fetch_add(usize::from(spooled), SeqCst);
                    self.acknowledged[project]
                        .lock()
                        .unwrap()
                        .push(answer["event_id"].as_str().unwrap().into());
                    number += 1;
                }
                Ok(answer) => {
                    assert_eq!(answer.status(), 503);
                    self.refused.fetch_add(1, SeqCst);
                }
                // Killed, or not yet back.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            // A project's deliveries, not a load test.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

struct World {
    broker: Broker,
    dir: tempfile::TempDir,
    senders: Arc<Senders>,
    sending: Vec<tokio::task::JoinHandle<()>>,
    serve: Serve,
}

impl World {
    async fn new(broker: Broker) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run = format!("spool-{}", uuid::Uuid::new_v4().simple());
        let projects: String = (0..PROJECTS)
            .map(|n| format!("[projects.{run}-{n}]\nrepositories = [\"acme/{run}-{n}\"]\n"))
            .collect();
        std::fs::write(dir.path().join("breakdown.toml"), projects).unwrap();
        let serve = start(dir.path(), &broker).await;
        let senders = Arc::new(Senders {
            run,
            origin: Mutex::new(serve.webhooks.clone()),
            stop: AtomicBool::new(false),
            acknowledged: Default::default(),
            spooled: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let sending = (0..PROJECTS).map(|project| tokio::spawn(senders.clone().send(project))).collect();
        Self { broker, dir, senders, sending, serve }
    }

    async fn acknowledges(&self, more: usize) {
        let then = self.senders.count();
        until("deliveries are acknowledged", async || self.senders.count() >= then + more).await;
    }

    async fn kill_and_start(&mut self) {
        let Self { serve, dir, broker, .. } = self;
        serve.child.kill().await.unwrap();
        *serve = start(dir.path(), broker).await;
        *self.senders.origin.lock().unwrap() = serve.webhooks.clone();
    }

    async fn ready(&self) -> (u16, Value) {
        let answer = client().get(format!("{}/health/ready", self.serve.webhooks)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn metric(&self, name: &str) -> f64 {
        let text =
            client().get(format!("{}/metrics", self.serve.admin)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn until_direct(&self) {
        let waiting = self.ready().await.1["spool"]["records"].clone();
        let began = std::time::Instant::now();
        until("all is forwarded", async || self.ready().await.1["spool"]["spooling"] == false).await;
        eprintln!("{waiting} records, and those that came meanwhile, forwarded within {:?}", began.elapsed());
    }

    /// Stops the senders and the receivers, and reads the log.
    async fn check(self) {
        self.senders.stop.store(true, SeqCst);
        for sender in self.sending {
            sender.await.unwrap();
        }
        self.serve.stop().await;
        let values = tail("issues", |command| command.env("REDPANDA_BROKERS", &self.broker.address)).await;
        let (mut doubles, mut wanted) = (0, 0);
        for (project, acknowledged) in self.senders.acknowledged.iter().enumerate() {
            let project = format!("{}-{project}", self.senders.run);
            let mut seen = BTreeSet::new();
            let ids = values.iter().filter(|value| value["project_id"] == project.as_str());
            let ids = ids.map(|value| value["event_id"].as_str().unwrap().to_owned());
            let all: Vec<_> = ids.collect();
            let first: Vec<_> = all.iter().filter(|id| seen.insert((*id).clone())).cloned().collect();
            doubles += all.len() - first.len();
            let acknowledged = acknowledged.lock().unwrap();
            wanted += acknowledged.len();
            let acknowledged_set: BTreeSet<_> = acknowledged.iter().collect();
            let counted: Vec<_> = first.iter().filter(|id| acknowledged_set.contains(id)).cloned().collect();
            assert_eq!(counted.len(), acknowledged.len(), "{project}: lost");
            assert!(counted == *acknowledged, "{project}: not in order");
            // The last delivery of a sender may have been taken and not answered, by a receiver that was killed.
            assert!(first.len() <= acknowledged.len() + 1, "{project}");
        }
        eprintln!(
            "{wanted} acknowledged, {} of them spooled, {} refused; {doubles} doubles on the log",
            self.senders.spooled.load(SeqCst),
            self.senders.refused.load(SeqCst)
        );
        assert_eq!(self.senders.refused.load(SeqCst), 0, "503 only when the spool is full");
    }
}

async fn start(dir: &Path, broker: &Broker) -> Serve {
    Serve::start(dir, |command| {
        command.args(["--roles", "webhooks", "--config"]).arg(dir.join("breakdown.toml"));
        command.env("REDPANDA_BROKERS", &broker.address).env("RUST_LOG", "error")
    })
    .await
}

/// Nobody listens at port 9.
const NOWHERE: &str = "127.0.0.1:9";

async fn deliver(serve: &Serve, id: &str) -> (u16, Value) {
    let body = include_str!("../../samples/deliveries/github-issue-opened-triage.json");
    let secrets = Secrets::parse(SECRET).unwrap();
    let headers = sign(Provider::Github, &secrets, "issues", id, body.as_bytes());
    let request = client().post(format!("{}{}", serve.webhooks, Provider::Github.path())).body(body);
    let answer =
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_start_and_stop_without_a_broker_and_keep_what_they_took() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker { address: NOWHERE.into() };
    let config = dir.path().join("breakdown.toml");
    std::fs::write(&config, "[log]\nspool_max_bytes = 10000\n").unwrap();
    let serve = start(dir.path(), &broker).await;
    let (status, answer) = deliver(&serve, "one").await;
    assert_eq!((status, &answer["topic"], &answer["spooled"]), (202, &"issues".into(), &true.into()));
    serve.kill().await;
    let serve = start(dir.path(), &broker).await;
    let (status, again) = deliver(&serve, "one").await;
    assert_eq!((status, &again["event_id"]), (202, &answer["event_id"]));

    let beside = |arguments: &[&str]| {
        let mut command = breakdown();
        command.args(arguments).arg("--data-dir").arg(dir.path()).arg("--config").arg(&config);
        command.env("REDPANDA_BROKERS", NOWHERE);
        command
    };
    let (_, err, code) =
        run(&mut beside(&["serve", "--roles", "webhooks", "--admin-listen", "127.0.0.1:0"])).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("spool is in use by another breakdown serve"), "{err}");
    let (out, err, code) = run(&mut beside(&["topics"])).await;
    assert!(
        out.contains(": 2 records, ") && out.contains("wait for the broker, the oldest since 20"),
        "{out}"
    );
    assert_eq!(code, 1, "{err}");

    let mut taken = 2;
    let refused = loop {
        match deliver(&serve, &format!("more-{taken}")).await {
            (202, _) => taken += 1,
            other => break other,
        }
    };
    assert_eq!((refused.0, &refused.1["reason"]), (503, &"unavailable".into()));
    let ready = client().get(format!("{}/health/ready", serve.webhooks)).send().await.unwrap();
    assert_eq!(ready.status(), 503, "it takes no more");
    serve.stop().await;
    let (out, ..) = run(&mut beside(&["topics", "--json"])).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["spool"]["records"], taken, "{shown}");

    std::fs::write(&config, "[log]\nspool_max_bytes = 0\n").unwrap();
    let (_, err, code) =
        run(&mut beside(&["serve", "--roles", "webhooks", "--admin-listen", "127.0.0.1:0"])).await;
    assert_eq!(code, 1, "without a spool it needs its broker: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_costs_nothing_but_time_also_when_receivers_are_killed() {
    let Some(broker) = Broker::ours("a_frozen_broker_costs_nothing_but_time_also_when_receivers_are_killed")
    else {
        return;
    };
    let _alone = BROKER.lock().await;
    let mut world = World::new(broker).await;
    world.acknowledges(200).await;
    let _thaw = Thaw(root().join("target/kafka/pid"));
    world.broker.signal("-STOP").await;
    world.acknowledges(400).await;
    world.kill_and_start().await;
    world.acknowledges(400).await;

    let (status, ready) = world.ready().await;
    assert_eq!((status, &ready["spool"]["spooling"]), (200, &true.into()), "{ready}");
    assert!(ready["spool"]["records"].as_u64().unwrap() >= 400, "{ready}");
    assert!(world.metric("breakdown_spool_records").await >= 400.0);
    assert!(world.metric("breakdown_spooled_total").await >= 400.0);
    let mut topics = breakdown();
    topics.args(["topics", "--json", "--data-dir"]).arg(world.dir.path());
    let (out, err, code) = run(topics.env("REDPANDA_BROKERS", &world.broker.address)).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert!(shown["spool"]["records"].as_u64().unwrap() >= 400, "{shown}");
    assert!(shown["spool"]["oldest_at"].is_string(), "{shown}");
    assert_eq!(code, 1, "the broker does not answer: {err}");

    world.broker.signal("-CONT").await;
    // In the middle of forwarding, as far as one can meet it.
    for _ in 0..3 {
        until("some is forwarded", async || world.metric("breakdown_forwarded_total").await > 0.0).await;
        world.kill_and_start().await;
    }
    world.until_direct().await;
    world.acknowledges(100).await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_and_comes_back_misses_nothing() {
    let Some(broker) = Broker::ours("a_broker_that_dies_and_comes_back_misses_nothing") else { return };
    let _alone = BROKER.lock().await;
    let mut world = World::new(broker).await;
    for round in 0..2 {
        world.acknowledges(200).await;
        world.broker.signal("-KILL").await;
        world.acknowledges(500).await;
        if round == 1 {
            world.kill_and_start().await;
        }
        world.broker.start().await;
        world.until_direct().await;
    }
    world.acknowledges(100).await;
    let mut topics = breakdown();
    topics.args(["topics", "--data-dir"]).arg(world.dir.path());
    let (out, err, code) = run(topics.env("REDPANDA_BROKERS", &world.broker.address)).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("spool in ") && out.contains(": 0 records, 0 bytes wait for the broker\n"),
        "{out}"
    );
    world.check().await;
}
