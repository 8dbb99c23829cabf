//! A gateway on a real embedded log, with a clock that is turned by hand and commits that can be made to fail.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{
    Clock, GroupOffset, Keep, Log, ManualClock, NewRecord, Position, Record, TopicSpec, embedded::EmbeddedLog,
};
use events::{Action, IssueEvent, Outcome, PolicyChange, topic};
use gateway::{Gateway, GatewayError, InForce, Policies, Progress, View};
use policy::Ruleset;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::faulty_log::FaultyLog;

pub const POLICY: &str = include_str!("../../../samples/policy.yaml");
pub const PARTITIONS: u32 = 4;

pub struct World {
    dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub log: Arc<FaultyLog>,
    pub policies: watch::Sender<Policies>,
    running: Option<(CancellationToken, JoinHandle<Result<(), GatewayError>>)>,
    pub view: Arc<View>,
    pub progress: Arc<Progress>,
    pub in_force: Arc<InForce>,
    max_wait: Duration,
}

impl World {
    /// A gateway with the sample policy, at nine in the morning.
    pub async fn new() -> Self {
        Self::with(POLICY, None).await
    }

    pub async fn with(policy: &str, shadow: Option<&str>) -> Self {
        let mut world = Self::idle(policy, shadow).await;
        world.start();
        world
    }

    /// The gateway is not yet running.
    pub async fn idle(policy: &str, shadow: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(at("2026-03-02T09:00:00Z")));
        let log = open(&dir, &clock);
        log.create_topics(&topics()).await.unwrap();
        let (policies, _) = watch::channel(Policies { policy: load(policy), shadow: shadow.map(load) });
        let (view, progress, in_force) = Default::default();
        let max_wait = Duration::from_millis(10);
        Self { dir, clock, log, policies, running: None, view, progress, in_force, max_wait }
    }

    /// Patience of a gateway that was not made for tests.
    pub fn patient(mut self) -> Self {
        self.max_wait = Duration::from_secs(600);
        self
    }

    pub fn start(&mut self) {
        let policies = self.policies.subscribe();
        let gateway =
            Gateway::following(self.log.clone(), self.clock.clone(), policies).max_wait(self.max_wait);
        self.view = gateway.view();
        self.progress = gateway.progress();
        self.in_force = gateway.in_force();
        let stop = CancellationToken::new();
        self.running = Some((stop.clone(), tokio::spawn(gateway.run(stop))));
    }

    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Ends the gateway wherever it is, as a crash would, and opens the log anew.
    pub async fn crash(&mut self) {
        let (_, task) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
        // The lock on the data directory goes with the last handle.
        self.log = Arc::new(FaultyLog::over(None));
        self.log = open(&self.dir, &self.clock);
    }

    /// Puts another policy in place of the one that decides.
    pub fn policy(&self, text: &str) {
        self.policies.send_modify(|policies| policies.policy = load(text));
    }

    /// Puts another policy on trial, or none.
    pub fn shadow(&self, text: Option<&str>) {
        self.policies.send_modify(|policies| policies.shadow = text.map(load));
    }

    /// Waits until every partition has changed its policy this often, the first time at the start; gives the last change of
    /// each, by partition, and that there was no other.
    pub async fn changes(&self, times: usize) -> Vec<PolicyChange> {
        let count = times * PARTITIONS as usize;
        let in_force = async || {
            let all: Vec<PolicyChange> = self.read(topic::POLICIES).await;
            all.into_iter().filter(|change| !change.on_trial).collect::<Vec<_>>()
        };
        self.until("policies take effect", async || in_force().await.len() >= count).await;
        let all = in_force().await;
        assert_eq!(all.len(), count, "one change a partition");
        let last = |partition| all.iter().rfind(|change| change.partition == partition).unwrap().clone();
        (0..PARTITIONS).map(last).collect()
    }

    pub fn turn(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Appends an event; `fields` go over a plain opened GitHub issue in project alpha.
    pub async fn say(&self, id: &str, fields: Value) -> Position {
        self.say_with(id, fields, None).await
    }

    pub async fn say_with(&self, id: &str, fields: Value, payload_hash: Option<&str>) -> Position {
        let message = self.event(id, fields).to_message(payload_hash).unwrap();
        self.append(message.topic, &message.key, message.value, message.headers).await
    }

    /// Opens so many issues, `github:a/b#FROM` and on, at once.
    pub async fn open_issues(&self, from: usize, count: usize, fields: Value) -> Vec<Position> {
        let record = |n: usize| {
            let mut fields = fields.clone();
            fields["issue_ref"] = json!(format!("github:a/b#{n}"));
            let message = self.event(&format!("o-{n}"), fields).to_message(None).unwrap();
            NewRecord {
                topic: message.topic.into(),
                partition: None,
                key: message.key.into(),
                value: Some(message.value.into()),
                headers: message.headers,
            }
        };
        self.log.append((from..from + count).map(record).collect()).await.unwrap()
    }

    fn event(&self, id: &str, fields: Value) -> IssueEvent {
        let mut event = json!({
            "event_id": id, "project_id": "alpha", "source": "github", "type": "issue_opened",
            "issue_ref": "github:acme/checkout#1", "repo": "acme/checkout", "issue_number": 1, "state": "open",
            "url": "https://github.com/acme/checkout/issues/1", "updated_at": self.clock.now(), "labels": [],
        });
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    pub async fn append(
        &self,
        topic: &str,
        key: &str,
        value: Vec<u8>,
        headers: Vec<(String, String)>,
    ) -> Position {
        let record = NewRecord {
            topic: topic.into(),
            partition: None,
            key: key.to_owned().into(),
            value: Some(value.into()),
            headers,
        };
        self.log.append(vec![record]).await.unwrap()[0]
    }

    pub async fn outcome(&self, action: &Action, risk: i64) -> Outcome {
        let outcome = Outcome::of(action, events::Risk(risk), true, self.clock.now());
        let message = outcome.to_message(None).unwrap();
        self.append(message.topic, &message.key, message.value, message.headers).await;
        outcome
    }

    /// Waits until the gateway has consumed everything.
    pub async fn settle(&self) {
        self.until("the gateway catches up", async || {
            let groups = self.log.groups().await.unwrap();
            let inputs = groups.iter().filter(|at| at.group == gateway::GROUP);
            let lag: u64 = inputs.clone().map(GroupOffset::lag).sum();
            let seen: u64 = inputs.map(|at| at.end).sum();
            let ends: u64 = self.ends(&[topic::ISSUES, topic::OUTCOMES]).await;
            lag == 0 && seen == ends
        })
        .await;
    }

    async fn ends(&self, names: &[&str]) -> u64 {
        let topics = self.log.topics().await.unwrap();
        let named = topics.iter().filter(|info| names.contains(&info.name.as_str()));
        named.flat_map(|info| &info.partitions).map(|bounds| bounds.end).sum()
    }

    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let began = tokio::time::Instant::now();
        while !holds().await {
            assert!(began.elapsed() < Duration::from_secs(20), "waited 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn records(&self, name: &str) -> Vec<Record> {
        let topics = self.log.topics().await.unwrap();
        let info = topics.iter().find(|info| info.name == name).unwrap();
        let from: Vec<_> = (0..info.partitions.len() as u32).map(|partition| (partition, 0)).collect();
        let mut reader = self.log.read(name, &from).await.unwrap();
        let mut all = Vec::new();
        loop {
            let done = reader.at_end().await.unwrap();
            let records = reader.next(Duration::ZERO).await.unwrap();
            if done && records.is_empty() {
                return all;
            }
            all.extend(records);
        }
    }

    pub async fn read<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        let records = self.records(name).await;
        records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
            .collect()
    }

    /// The newest value of each key of `gateway-state` that begins with `prefix`.
    pub async fn state(&self, prefix: &str) -> BTreeMap<(u32, String), Value> {
        let mut state = BTreeMap::new();
        for record in self.records(topic::GATEWAY_STATE).await {
            let key = (record.partition, String::from_utf8(record.key.to_vec()).unwrap());
            match record.value {
                _ if !key.1.starts_with(prefix) => continue,
                Some(value) => state.insert(key, serde_json::from_slice(&value).unwrap()),
                None => state.remove(&key),
            };
        }
        state
    }

    /// Every action so far, as `action target`.
    pub async fn actions(&self) -> Vec<String> {
        let actions: Vec<Action> = self.read(topic::ACTIONS).await;
        actions.iter().map(|action| format!("{} {}", action.action, action.target)).collect()
    }

    pub async fn until_actions(&self, count: usize) -> Vec<String> {
        self.until("actions appear", async || self.actions().await.len() >= count).await;
        self.actions().await
    }
}

pub fn load(text: &str) -> Arc<Ruleset> {
    Arc::new(policy::load(text).unwrap())
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn open(dir: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Arc<FaultyLog> {
    Arc::new(FaultyLog::over(Some(EmbeddedLog::hold(dir.path(), clock.clone()).unwrap())))
}

fn topics() -> Vec<TopicSpec> {
    topic::ALL
        .iter()
        .map(|name| TopicSpec {
            name: (*name).into(),
            partitions: PARTITIONS,
            keep: if topic::COMPACTED.contains(name) { Keep::Newest } else { Keep::ALL },
        })
        .collect()
}
