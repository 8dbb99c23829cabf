//! A gateway on a real embedded log, with a clock that is turned by hand and commits that can be made to fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{
    Clock, GroupOffset, Log, LogError, ManualClock, NewRecord, Polled, Position, Reader, Record, Step,
    Subscription, SubscriptionSpec, TopicInfo, TopicSpec, embedded::EmbeddedLog,
};
use events::{Action, IssueEvent, Outcome, topic};
use gateway::{Gateway, GatewayError, View};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const POLICY: &str = include_str!("../../../samples/policy.yaml");

pub struct World {
    dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub log: Arc<FaultyLog>,
    policy: Arc<policy::Ruleset>,
    running: Option<(CancellationToken, JoinHandle<Result<(), GatewayError>>)>,
    pub view: Arc<View>,
}

impl World {
    /// A gateway with the sample policy, at nine in the morning.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(at("2026-03-02T09:00:00Z")));
        let log = open(&dir, &clock);
        log.create_topics(&topics()).await.unwrap();
        let policy = Arc::new(policy::load(POLICY).unwrap());
        let mut world = Self { dir, clock, log, policy, running: None, view: Arc::default() };
        world.start();
        world
    }

    pub fn start(&mut self) {
        let gateway = Gateway::new(self.log.clone(), self.clock.clone(), self.policy.clone())
            .max_wait(Duration::from_millis(10));
        self.view = gateway.view();
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

    pub fn policy(&mut self, text: &str) {
        self.policy = Arc::new(policy::load(text).unwrap());
    }

    pub fn turn(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Appends an event; `fields` go over a plain opened GitHub issue in project alpha.
    pub async fn say(&self, id: &str, fields: Value) -> Position {
        self.say_with(id, fields, None).await
    }

    pub async fn say_with(&self, id: &str, fields: Value, payload_hash: Option<&str>) -> Position {
        let mut event = json!({
            "event_id": id, "project_id": "alpha", "source": "github", "type": "issue_opened",
            "issue_ref": "github:acme/checkout#1", "repo": "acme/checkout", "issue_number": 1, "state": "open",
            "url": "https://github.com/acme/checkout/issues/1", "updated_at": self.clock.now(), "labels": [],
        });
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        let event: IssueEvent = serde_json::from_value(event).unwrap();
        let message = event.to_message(payload_hash).unwrap();
        self.append(message.topic, &message.key, message.value, message.headers).await
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
            partitions: 4,
            compacted: topic::COMPACTED.contains(name),
            retention: None,
        })
        .collect()
}

/// The embedded log, whose next commits can be made to fail before or after they were made.
pub struct FaultyLog {
    inner: Option<Arc<EmbeddedLog>>,
    /// Commits to fail before anything was written.
    pub fail_before: Arc<AtomicU32>,
    /// Commits to make, and then report as failed.
    pub fail_after: Arc<AtomicU32>,
    /// Questions whether the end of a partition other than the first is reached, that go unanswered.
    pub fail_asking: Arc<AtomicU32>,
}

impl FaultyLog {
    fn over(inner: Option<EmbeddedLog>) -> Self {
        Self {
            inner: inner.map(Arc::new),
            fail_before: Arc::default(),
            fail_after: Arc::default(),
            fail_asking: Arc::default(),
        }
    }

    fn inner(&self) -> &Arc<EmbeddedLog> {
        self.inner.as_ref().unwrap()
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner().create_topics(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.inner().append(records).await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.inner().topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.inner().groups().await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.inner().read(topic, from).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(FaultySubscription {
            log: self.inner().clone(),
            inner: Some(self.inner().subscribe(spec.clone()).await?),
            spec,
            fail_before: self.fail_before.clone(),
            fail_after: self.fail_after.clone(),
            fail_asking: self.fail_asking.clone(),
        }))
    }
}

struct FaultySubscription {
    log: Arc<EmbeddedLog>,
    inner: Option<Box<dyn Subscription>>,
    spec: SubscriptionSpec,
    fail_before: Arc<AtomicU32>,
    fail_after: Arc<AtomicU32>,
    fail_asking: Arc<AtomicU32>,
}

fn take(left: &AtomicU32) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Subscription for FaultySubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        if self.inner.is_none() {
            self.inner = Some(self.log.subscribe(self.spec.clone()).await?);
        }
        self.inner.as_mut().unwrap().poll(max_records, max_wait).await
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        if take(&self.fail_before) {
            self.inner = None;
            return Err(LogError::Lost("made to fail before the step".into()));
        }
        self.inner.as_mut().unwrap().commit(step).await?;
        if take(&self.fail_after) {
            self.inner = None;
            return Err(LogError::Lost("made to fail after the step".into()));
        }
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        if partition > 0 && take(&self.fail_asking) {
            return Err(LogError::Unavailable("made to fail".into()));
        }
        self.inner.as_mut().unwrap().caught_up(topic, partition).await
    }

    async fn pause(&mut self, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.as_mut().unwrap().pause(partition, paused).await
    }
}
