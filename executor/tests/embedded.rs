//! The executor on the embedded log: real files, members that share partitions, and members that die.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use calendar_mock::{CalendarMock, Collection, Fault};
use chrono::TimeDelta;
use eventlog::{Keep, Log, ManualClock, NewRecord, TopicSpec, embedded::EmbeddedLog};
use events::{Outcome, Risk, topic};
use executor::{Config, ExecutorError, Limits, Progress};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

const PARTITIONS: u32 = 4;
/// The longest that anything may take; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

struct Member {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ExecutorError>>,
    progress: Arc<Progress>,
}

impl Member {
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it stops").unwrap().unwrap();
    }
}

struct World {
    directory: tempfile::TempDir,
    log: EmbeddedLog,
    clock: Arc<ManualClock>,
    mock: CalendarMock,
    config: Config,
}

impl World {
    async fn new() -> Self {
        let mock = CalendarMock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        tokio::spawn(calendar_mock::serve(listener, mock.clone(), std::future::pending()));
        let limits = Limits {
            attempt_timeout: Duration::from_millis(200),
            quick_wait: Duration::from_millis(5),
            ..Limits::default()
        };
        let config = Config {
            limits,
            idle_wait: Duration::from_millis(20),
            step_wait: Duration::from_millis(5),
            ..Config::new(base.parse().unwrap())
        };
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()));
        let log = EmbeddedLog::hold(directory.path(), clock.clone()).unwrap();
        let spec = |name: &&str| TopicSpec {
            name: (*name).to_owned(),
            partitions: PARTITIONS,
            keep: if topic::COMPACTED.contains(name) { Keep::Newest } else { Keep::ALL },
        };
        log.create_topics(&topic::ALL.iter().map(spec).collect::<Vec<_>>()).await.unwrap();
        Self { directory, log, clock, mock, config }
    }

    fn member(&self) -> Member {
        let (stop, progress) = (CancellationToken::new(), Arc::<Progress>::default());
        let (log, clock, config) = (Arc::new(self.log.clone()), self.clock.clone(), self.config.clone());
        let task = tokio::spawn(executor::run(log, clock, config, progress.clone(), stop.clone()));
        Member { stop, task, progress }
    }

    async fn publish(&self, actions: impl Iterator<Item = Value>) {
        let record = |action: Value| NewRecord {
            topic: topic::ACTIONS.into(),
            partition: None,
            key: action["project_id"].as_str().unwrap().to_owned().into(),
            value: Some(serde_json::to_vec(&action).unwrap().into()),
            headers: Vec::new(),
        };
        self.log.append(actions.map(record).collect()).await.unwrap();
    }

    async fn outcomes(&self) -> Vec<Outcome> {
        let from: Vec<_> = (0..PARTITIONS).map(|p| (p, 0)).collect();
        let mut reader = self.log.read(topic::OUTCOMES, &from).await.unwrap();
        let mut outcomes = Vec::new();
        while !reader.at_end().await.unwrap() {
            let records = reader.next(Duration::from_millis(100)).await.unwrap();
            outcomes.extend(records.iter().map(|r| {
                let value: &[u8] = r.value.as_ref().unwrap();
                serde_json::from_slice::<Outcome>(value).unwrap()
            }));
        }
        outcomes
    }

    async fn outcomes_of(&self, count: usize) -> Vec<Outcome> {
        let watching = async {
            loop {
                let outcomes = self.outcomes().await;
                if outcomes.len() >= count {
                    return outcomes;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                // Time passes, or what several faults in a row have parked would wait for ever.
                self.clock.advance(chrono::TimeDelta::milliseconds(20));
            }
        };
        let outcomes = timeout(PATIENCE, watching).await.expect("the outcomes");
        assert_eq!(outcomes.len(), count, "one outcome an action");
        outcomes
    }
}

fn action(n: usize) -> Value {
    let kinds = ["post_nudge", "schedule_unblocker", "assign_owner", "escalate_owner"];
    json!({
        "event_id": events::id::action("gh-1", "github:o/r#1", "rule", n),
        "project_id": format!("project-{}", n % 7), "action": kinds[n % kinds.len()], "target": "team:triage",
        "rationale": "r", "source_ref": "", "evaluated_at": "2026-03-02T09:59:58Z",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_are_done_once_over_a_restart_of_everything() {
    let mut world = World::new().await;
    let member = world.member();
    world.publish((0..20).map(action)).await;
    world.outcomes_of(20).await;
    member.stop().await;

    // The log too is closed and opened again.
    let (directory, clock) = (world.directory.path().to_owned(), world.clock.clone());
    let closed = tempfile::tempdir().unwrap();
    world.log = EmbeddedLog::hold(closed.path(), clock.clone()).unwrap();
    world.log = timeout(PATIENCE, async {
        loop {
            match EmbeddedLog::hold(&directory, clock.clone()) {
                Ok(log) => return log,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
    .expect("the directory is let go");

    let member = world.member();
    world.publish((10..40).map(action)).await;
    let outcomes = world.outcomes_of(40).await;
    member.stop().await;
    assert!(outcomes.iter().all(|o| o.ack));
    assert_eq!(outcomes.iter().map(|o| o.risk_delta).sum::<Risk>(), Risk(-10 * (50 + 200 + 100 + 300)));
    assert_eq!(world.mock.meetings().len() + world.mock.nudges().len(), 40);
    assert_eq!(world.outcomes().await.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_takes_over_when_the_other_dies() {
    let world = World::new().await;
    let (one, two) = (world.member(), world.member());
    let both = async {
        while one.progress.partitions() == 0 || two.progress.partitions() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, both).await.expect("they share the partitions");
    world.mock.inject(Fault::hang().after_work().times(20));
    world.publish((0..40).map(action)).await;
    let called = async {
        while world.mock.faults().first().is_some_and(|f| f.times > 10) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, called).await.expect("calls are made");
    one.kill().await;
    world.outcomes_of(40).await;
    two.stop().await;
    assert_eq!(world.mock.meetings().len() + world.mock.nudges().len(), 40);
}

/// Faults at the other end, members that die and come back, the clock running: in the end each action has one
/// effect and one outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_each_action_has_one_effect_and_one_outcome() {
    const ACTIONS: usize = 400;
    for seed in 1..=3_u64 {
        let world = World::new().await;
        let mut state = seed;
        let mut dice = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let mut members = vec![world.member(), world.member()];
        for round in 0..20 {
            let batch = round * ACTIONS / 20..(round + 1) * ACTIONS / 20;
            // Every fifth action comes twice.
            world.publish(batch.clone().map(action).chain(batch.step_by(5).map(action))).await;
            let fault = match dice(6) {
                0 => Fault::hang().after_work(),
                1 => Fault::close(),
                2 => Fault::close().after_work(),
                3 => Fault::status(500).after_work(),
                4 => Fault::status(429).retry_after("7"),
                _ => Fault::hang().on(Collection::Meetings),
            };
            world.mock.inject(fault.times(1 + dice(5) as u32));
            tokio::time::sleep(Duration::from_millis(dice(40))).await;
            if dice(3) == 0 {
                let dead = members.swap_remove(dice(2) as usize);
                if dice(2) == 0 {
                    dead.kill().await
                } else {
                    dead.stop().await
                }
                members.push(world.member());
            }
            world.clock.advance(TimeDelta::seconds(dice(10) as i64));
        }
        world.mock.clear_faults();
        let watching = async {
            while world.outcomes().await.len() < ACTIONS {
                // Slowly: nothing may be given up.
                world.clock.advance(TimeDelta::milliseconds(200));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, watching).await.expect("every action ends");
        for member in members {
            member.stop().await;
        }

        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in world.outcomes().await {
            assert!(outcome.ack, "seed {seed}: {outcome:?}");
            *outcomes.entry(outcome.action_id.unwrap()).or_default() += 1;
        }
        assert_eq!(outcomes.len(), ACTIONS, "seed {seed}");
        assert!(outcomes.values().all(|count| *count == 1), "seed {seed}: {outcomes:?}");
        let keys = world.mock.meetings().into_iter().map(|m| m.idempotency_key);
        let keys: Vec<_> = keys.chain(world.mock.nudges().into_iter().map(|n| n.idempotency_key)).collect();
        assert_eq!(keys.len(), ACTIONS, "seed {seed}: one effect an action");
    }
}
