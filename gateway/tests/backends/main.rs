//! Live change and trial of policies on both logs, in a process that is killed: a data directory, and the broker that
//! `REDPANDA_BROKERS` names (`scripts/kafka.sh up`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod named;
mod place;
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::{GroupOffset, Keep, Log, LogError, NewRecord, Record, TopicSpec};
use events::{Action, IssueEvent, PolicyChange, topic};
use place::Place;
use process::{Process, Texts};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const PARTITIONS: u32 = 4;
const POLICY: &str = include_str!("../../../samples/policy.yaml");
const CANDIDATE: &str = r#"
version: 1
teams:
  triage: { members: [alice, bo, cleo] }
rules:
  - id: every-new-issue
    when: 'event.type == "issue_opened"'
    then: { action: assign_owner, target: "team:triage" }
    rationale: Somebody of the team takes it
"#;

macro_rules! on_both {
    ($($case:ident),+) => {
        mod directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Place::directory()).await;
            })+
        }
        mod broker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Place::broker()).await;
            })+
        }
    };
}

on_both!(
    a_live_change_is_made_once_and_decides_from_then_on,
    a_shadow_begins_survives_kills_and_ends,
    a_shadow_that_is_killed_while_it_begins_begins_anew
);

#[test]
#[ignore = "the child process of the other cases; does nothing by itself"]
fn child_process() {
    process::child();
}

struct World {
    place: Place,
    log: Arc<dyn Log>,
    texts: Texts,
    process: Option<Process>,
    /// How many issues were opened; each has one event, `e-N`.
    opened: usize,
}

impl World {
    async fn new(place: Place) -> Self {
        let log = place.beside();
        let topics: Vec<_> = topic::ALL
            .iter()
            .map(|name| TopicSpec {
                name: (*name).into(),
                partitions: PARTITIONS,
                keep: if topic::COMPACTED.contains(name) { Keep::Newest } else { Keep::ALL },
            })
            .collect();
        log.create_topics(&topics).await.unwrap();
        let texts = Texts { policy: POLICY.into(), shadow: None };
        let process = Some(Process::start(&place, &texts));
        Self { place, log, texts, process, opened: 0 }
    }

    fn follow(&mut self, change: impl FnOnce(&mut Texts)) {
        change(&mut self.texts);
        self.process.as_mut().unwrap().follow(&self.texts);
    }

    /// Kills the gateway wherever it is, and starts another.
    fn kill(&mut self) {
        self.process.take().unwrap().kill();
        self.process = Some(Process::start(&self.place, &self.texts));
    }

    /// Opens so many issues, in projects of all partitions; gives their events.
    async fn open(&mut self, count: usize) -> BTreeSet<String> {
        let mut events = BTreeSet::new();
        let record = |n: usize| {
            let event: IssueEvent = serde_json::from_value(json!({
                "event_id": format!("e-{n}"), "project_id": format!("p{}", n % 11), "source": "github",
                "type": "issue_opened", "issue_ref": format!("github:a/b#{n}"), "repo": "a/b", "issue_number": n,
                "state": "open", "labels": [], "url": format!("https://github.com/a/b/issues/{n}"),
            }))
            .unwrap();
            events.insert(event.event_id.clone());
            let message = event.to_message(None).unwrap();
            NewRecord {
                topic: message.topic.into(),
                partition: None,
                key: message.key.into(),
                value: Some(message.value.into()),
                headers: message.headers,
            }
        };
        let records: Vec<_> = (self.opened..self.opened + count).map(record).collect();
        self.opened += count;
        self.log.append(records).await.unwrap();
        events
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < Duration::from_secs(120), "waited 120 s: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn records(&self, name: &str) -> Result<Vec<Record>, LogError> {
        let from: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        let mut reader = self.log.read(name, &from).await?;
        let mut all = Vec::new();
        while !reader.at_end().await? {
            all.extend(reader.next(Duration::from_millis(100)).await?);
        }
        Ok(all)
    }

    async fn read<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        let records = self.records(name).await.unwrap();
        let read = |record: &Record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        records.iter().map(read).collect()
    }

    /// Waits until everything is decided; gives the causes of what is on a topic of actions, each of which stands there once.
    async fn causes(&self, name: &str) -> BTreeSet<String> {
        self.until("everything is decided", async || {
            let groups = self.log.groups().await.unwrap();
            let inputs: Vec<_> = groups.iter().filter(|at| at.topic == topic::ISSUES).collect();
            let lag: u64 = inputs.iter().copied().map(GroupOffset::lag).sum();
            inputs.len() == PARTITIONS as usize && lag == 0
        })
        .await;
        let actions: Vec<Action> = self.read(name).await;
        let causes: BTreeSet<_> = actions.iter().map(|action| action.cause.clone().unwrap()).collect();
        assert_eq!(causes.len(), actions.len(), "an action stands twice on {name}");
        causes
    }

    /// What `gateway-state` has under keys that begin so.
    async fn state(&self, prefix: &str) -> BTreeMap<(u32, String), Value> {
        let mut state = BTreeMap::new();
        for record in self.records(topic::GATEWAY_STATE).await.unwrap() {
            let key = (record.partition, String::from_utf8(record.key.to_vec()).unwrap());
            match record.value {
                _ if !key.1.starts_with(prefix) => {}
                Some(value) => _ = state.insert(key, serde_json::from_slice(&value).unwrap()),
                None => _ = state.remove(&key),
            }
        }
        state
    }

    async fn until_shadow_stands(&self) {
        let hash = json!(policy::load(self.texts.shadow.as_deref().unwrap()).unwrap().hash());
        self.until("the shadow stands", async || {
            let stands = self.state("shadow:[\"\",\"policy\"").await;
            stands.len() == PARTITIONS as usize && stands.values().all(|value| *value == hash)
        })
        .await;
    }

    async fn until_policies(&self, changes: usize) {
        let count = changes * PARTITIONS as usize;
        let in_force = |record: &Record| {
            let change: PolicyChange = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
            !change.on_trial
        };
        let made = async || {
            self.records(topic::POLICIES).await.unwrap().iter().filter(|record| in_force(record)).count()
        };
        self.until("the policy takes effect", async || made().await >= count).await;
        assert_eq!(made().await, count, "one change a partition");
    }
}

fn hash(text: &str) -> String {
    policy::load(text).unwrap().hash().to_owned()
}

async fn a_live_change_is_made_once_and_decides_from_then_on(place: Option<Place>) {
    let Some(place) = place else { return };
    let mut world = World::new(place).await;
    world.until_policies(1).await;
    let first = world.open(60).await;
    assert_eq!(world.causes(topic::ACTIONS).await, first);
    // As long as a policy may be: its record is the largest there is.
    let mut long = format!("{POLICY}\n# {}", "\"".repeat(policy::MAX_JSON_BYTES / 2));
    let over = serde_json::to_string(&long).unwrap().len() - policy::MAX_JSON_BYTES;
    long.truncate(long.len() - over.div_ceil(2));
    world.follow(|texts| texts.policy = long.clone());
    world.until_policies(2).await;
    let second = world.open(60).await;
    // A kill is no change; one that comes in the middle of a change is made up for, once.
    world.kill();
    assert_eq!(world.causes(topic::ACTIONS).await, &first | &second);
    world.until_policies(2).await;
    let third = POLICY.replace("New issue needs triage", "Look at it");
    world.follow(|texts| texts.policy = third.clone());
    world.kill();
    world.until_policies(3).await;
    let last = world.open(60).await;
    assert_eq!(world.causes(topic::ACTIONS).await, &(&first | &second) | &last);
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    let by = [(hash(POLICY), first), (hash(&long), second), (hash(&third), last)];
    for (hash, causes) in by {
        let decided = actions.iter().filter(|action| action.policy_hash.as_ref() == Some(&hash));
        assert_eq!(decided.map(|action| action.cause.clone().unwrap()).collect::<BTreeSet<_>>(), causes);
    }
    world.process.take().unwrap().stop();
}

async fn a_shadow_begins_survives_kills_and_ends(place: Option<Place>) {
    let Some(place) = place else { return };
    let mut world = World::new(place).await;
    let mut all = world.open(200).await;
    assert_eq!(world.causes(topic::ACTIONS).await, all);
    world.follow(|texts| texts.shadow = Some(CANDIDATE.into()));
    world.until_shadow_stands().await;

    // Killed while it decides, each time a little further.
    let mut tried = BTreeSet::new();
    for round in 0..3_usize {
        let before = tried.len();
        tried.append(&mut world.open(150).await);
        world
            .until("it decides", async || {
                let actions = world.records(topic::ACTIONS_SHADOW).await.unwrap().len();
                actions >= (before + 1 + 40 * round).min(tried.len())
            })
            .await;
        world.kill();
    }
    tried.append(&mut world.open(50).await);
    all.extend(tried.iter().cloned());
    assert_eq!(world.causes(topic::ACTIONS_SHADOW).await, tried, "each event that it met, once");
    assert_eq!(world.causes(topic::ACTIONS).await, all);
    let actions: Vec<Action> = world.read(topic::ACTIONS_SHADOW).await;
    assert!(actions.iter().all(|action| action.policy_hash.as_deref() == Some(&hash(CANDIDATE))));
    // Rotation is what a memory shows that nothing was lost from: nobody has two more than another.
    let mut loads: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for action in &actions {
        *loads.entry((&action.project_id, &action.target)).or_default() += 1;
    }
    for project in loads.keys().map(|(project, _)| *project).collect::<BTreeSet<_>>() {
        let of = loads.iter().filter(|((of, _), _)| *of == project).map(|(_, load)| *load);
        assert!(of.clone().max().unwrap() - of.min().unwrap() <= 1, "{loads:?}");
    }

    // Taken away, also from a process that is killed meanwhile: nothing is left of it.
    world.follow(|texts| texts.shadow = None);
    world.kill();
    world.until("nothing is left", async || world.state("shadow:").await.is_empty()).await;
    all.append(&mut world.open(30).await);
    assert_eq!(world.causes(topic::ACTIONS).await, all);
    assert_eq!(world.causes(topic::ACTIONS_SHADOW).await, tried);
    world.until_policies(1).await;
    world.process.take().unwrap().stop();
}

async fn a_shadow_that_is_killed_while_it_begins_begins_anew(place: Option<Place>) {
    let Some(place) = place else { return };
    let mut world = World::new(place).await;
    // Several steps of the copy in each partition.
    let mut all = world.open(5000).await;
    assert_eq!(world.causes(topic::ACTIONS).await, all);
    for round in 1..4_usize {
        let candidate = CANDIDATE.replace("Somebody of", &format!("Round {round} of"));
        world.follow(|texts| texts.shadow = Some(candidate));
        let own = world.texts.shadow.clone().unwrap();
        // Something is written, and on the last rounds more.
        let some = 1 + 1000 * (round - 1);
        world
            .until("it begins", async || {
                let written = world.state("shadow:").await;
                written.len() >= some && !written.values().all(|value| *value == json!(hash(&own)))
            })
            .await;
        world.kill();
        world.until_shadow_stands().await;
        let issues =
            |prefix: &str, state: BTreeMap<(u32, String), Value>| -> BTreeMap<(u32, String), Value> {
                let issues = state.into_iter().filter(|((_, key), _)| key.contains(",\"issue\","));
                issues
                    .map(|((p, key), mut issue)| ((p, key[prefix.len()..].to_owned()), issue["facts"].take()))
                    .collect()
            };
        let shadow = issues("shadow:", world.state("shadow:").await);
        assert_eq!(shadow.len(), all.len());
        assert!(shadow == issues("", world.state("[").await), "what it knows is what production knows");
        let met = world.open(20).await;
        let causes = world.causes(topic::ACTIONS_SHADOW).await;
        assert!(met.is_subset(&causes));
        all.extend(met);
    }
    assert_eq!(world.causes(topic::ACTIONS).await, all);
    assert_eq!(world.causes(topic::ACTIONS_SHADOW).await.len(), 60);
    world.process.take().unwrap().stop();
}
