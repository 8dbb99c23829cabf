//! A log, a calendar, a clock, and an executor that can be started, stopped and killed.

pub mod logged;
pub mod memory_log;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calendar_mock::CalendarMock;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, ManualClock, NewRecord};
use events::{Action, Control, DeadLetter, Outcome, Redrive, topic};
use executor::{Config, ExecutorError, Limits, Progress, Target};
use memory_log::MemoryLog;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// The longest that anything may take; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub clock: Arc<ManualClock>,
    pub log: MemoryLog,
    pub mock: CalendarMock,
    pub config: Config,
    pub progress: Arc<Progress>,
    running: Option<(CancellationToken, JoinHandle<Result<(), ExecutorError>>)>,
}

impl World {
    /// With a calendar at the other end; the executor is not yet running.
    pub async fn new() -> Self {
        let mock = CalendarMock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        tokio::spawn(calendar_mock::serve(listener, mock.clone(), std::future::pending()));
        Self::with_base(&base, mock)
    }

    pub fn with_base(base: &str, mock: CalendarMock) -> Self {
        let clock = Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()));
        let limits = Limits {
            attempt_timeout: Duration::from_millis(300),
            quick_wait: Duration::from_millis(5),
            breaker_failures: 1000,
            ..Limits::default()
        };
        let config = Config {
            limits,
            idle_wait: Duration::from_millis(10),
            step_wait: Duration::from_millis(1),
            ..Config::new(base.parse().unwrap())
        };
        let log = MemoryLog::new(clock.clone());
        Self { clock, log, mock, config, progress: Arc::default(), running: None }
    }

    pub async fn started() -> Self {
        let mut world = Self::new().await;
        world.start();
        world
    }

    pub fn start(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let targets = executor::open(&BTreeMap::new(), &self.config, &|_| None, &clock).unwrap();
        self.start_with(targets);
    }

    /// With these targets only.
    pub fn start_with(&mut self, targets: Vec<Arc<dyn Target>>) {
        assert!(self.running.is_none());
        let stop = CancellationToken::new();
        let log: Arc<dyn Log> = Arc::new(self.log.clone());
        let (clock, config, progress) = (self.clock.clone(), self.config.clone(), self.progress.clone());
        let task = tokio::spawn(executor::run_with(log, clock, config, targets, progress, stop.clone()));
        self.running = Some((stop, task));
    }

    /// As `kill -9` would.
    pub async fn kill(&mut self) {
        let (_, task) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    /// The error with which it ends by itself.
    pub async fn ended(&mut self) -> ExecutorError {
        let (_stop, task) = self.running.take().unwrap();
        timeout(PATIENCE, task).await.expect("it ends").unwrap().unwrap_err()
    }

    /// Puts a record on `executor-state` as a step would.
    pub async fn keep(&self, partition: u32, key: &[u8], value: Option<&[u8]>) {
        let record = NewRecord {
            topic: topic::EXECUTOR_STATE.into(),
            partition: Some(partition),
            key: key.to_vec().into(),
            value: value.map(|value| value.to_vec().into()),
            headers: Vec::new(),
        };
        self.log.append(vec![record]).await.unwrap();
    }

    /// As SIGTERM does.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        timeout(PATIENCE, task).await.expect("it stops").unwrap().unwrap();
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    pub async fn publish(&self, action: &Value) {
        let key = action["project_id"].as_str().unwrap();
        self.publish_raw(key, serde_json::to_vec(action).unwrap()).await;
    }

    pub async fn publish_raw(&self, key: &str, value: Vec<u8>) {
        self.publish_with(key, value, Vec::new()).await;
    }

    async fn publish_with(&self, key: &str, value: Vec<u8>, headers: Vec<(String, String)>) {
        let (key, value) = (key.to_owned().into(), Some(value.into()));
        let record = NewRecord { topic: topic::ACTIONS.into(), partition: None, key, value, headers };
        self.log.append(vec![record]).await.unwrap();
    }

    /// Puts the original of a dead letter on its topic again, as `breakdown dead-letters redrive` does.
    pub async fn redrive(&self, letter: &DeadLetter) {
        let value = letter.whole_original().unwrap().into_owned();
        let id = serde_json::from_slice::<Action>(&value).ok().map(|action| action.event_id);
        let round = letter.round + 1;
        let supersedes = id.filter(|_| letter.reason == "undeliverable");
        let supersedes = supersedes.map(|id| events::id::outcome(&id, round - 1));
        let redrive = Redrive { round, letter: letter.event_id.clone(), supersedes };
        self.publish_with("alpha", value, redrive.headers([])).await;
    }

    /// Pauses a project, or all, or lets go.
    pub async fn say(&self, project: Option<&str>, paused: bool) {
        let message = Control::new(project, paused, self.clock.now()).to_message().unwrap();
        let partitions = match project {
            Some(project) => vec![eventlog::partition_of(project.as_bytes(), memory_log::PARTITIONS)],
            None => (0..memory_log::PARTITIONS).collect(),
        };
        let record = |partition| NewRecord {
            topic: message.topic.into(),
            partition: Some(partition),
            key: message.key.clone().into(),
            value: Some(message.value.clone().into()),
            headers: message.headers.clone(),
        };
        self.log.append(partitions.into_iter().map(record).collect()).await.unwrap();
    }

    fn read<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let value = |r: eventlog::Record| serde_json::from_slice(&r.value.unwrap()).unwrap();
        self.log.all(topic).into_iter().map(value).collect()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.read(topic::OUTCOMES)
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.read(topic::DEAD_LETTERS)
    }

    /// The newest value of each key of `executor-state`.
    pub fn state(&self) -> std::collections::BTreeMap<String, Value> {
        let mut state = std::collections::BTreeMap::new();
        for record in self.log.all(topic::EXECUTOR_STATE) {
            let id = String::from_utf8(record.key.to_vec()).unwrap();
            match record.value {
                Some(value) => state.insert(id, serde_json::from_slice(&value).unwrap()),
                None => state.remove(&id),
            };
        }
        state
    }

    /// The instant until which an action is parked, once it is.
    pub async fn parked_until(&self, id: &str) -> DateTime<Utc> {
        self.until("the action is parked", || self.state().get(id).is_some_and(|s| s["parkings"] != 0)).await;
        self.state()[id]["next_attempt_at"].as_str().unwrap().parse().unwrap()
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let watching = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(PATIENCE, watching).await.is_err() {
            panic!("waited in vain until {what}; outcomes {:?}; state {:?}", self.outcomes(), self.state());
        }
    }

    /// The outcomes, once there are `count`; a straggler would show in the state being anything but done.
    pub async fn outcomes_of(&self, count: usize) -> Vec<Outcome> {
        self.until("the outcomes are there", || self.outcomes().len() >= count).await;
        let outcomes = self.outcomes();
        assert_eq!(outcomes.len(), count, "{outcomes:?}");
        outcomes
    }

    pub async fn outcome(&self) -> Outcome {
        self.outcomes_of(1).await.remove(0)
    }

    /// Publishes a last, harmless action and waits for its outcome: whatever was to happen before has happened.
    pub async fn settle(&self) {
        let before = self.outcomes().len();
        let mut last = action(&format!("a-last-{before}"), "post_nudge");
        last["evaluated_at"] = json!((self.clock.now() - TimeDelta::days(3)).to_rfc3339());
        self.publish(&last).await;
        self.until("the last action is expired", || self.outcomes().len() > before).await;
        assert_eq!(self.outcomes().len(), before + 1);
    }
}

/// An action as the gateway writes it.
pub fn action(id: &str, kind: &str) -> Value {
    let action = json!({
        "event_id": id, "project_id": "alpha", "action": kind, "target": "team:triage",
        "rationale": "New issue needs triage", "source_ref": "https://github.com/o/r/issues/1",
        "issue_ref": "github:o/r#1", "cause": format!("gh-{}", "ab".repeat(16)), "rule": "triage-new",
        "evaluated_at": "2026-03-02T09:59:58Z",
        "params": {
            "title": "Login fails", "start_at": "2026-03-02T10:15:00Z", "duration_min": 15,
            "participants": ["bo", "team:triage"],
        },
    });
    serde_json::from_value::<Action>(action.clone()).expect("an action");
    action
}
