//! What a policy on trial decides stands on the topic `actions-shadow`, and must reach nobody: an executor joins one group, over
//! `actions` and what operators say on `control`, and keeps nothing else of the log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, ManualClock, NewRecord, Position, Reader, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};
use events::topic;
use executor::{Config, ExecutorError};
use tokio_util::sync::CancellationToken;

/// Hears what is asked of it, and refuses.
#[derive(Default)]
struct Deaf(Mutex<Vec<SubscriptionSpec>>);

#[async_trait]
impl Log for Deaf {
    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        self.0.lock().unwrap().push(spec);
        Err(LogError::Refused("heard".into()))
    }

    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        panic!("an executor creates nothing")
    }

    async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        panic!("an executor appends in steps only")
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        panic!("an executor asks for no topics")
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        panic!("an executor asks for no groups")
    }

    async fn read(&self, _: &str, _: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        panic!("an executor reads what its group gives it")
    }
}

#[tokio::test]
async fn actions_and_control_are_the_only_inputs() {
    let log = Arc::new(Deaf::default());
    let clock = Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()));
    let config = Config::new("http://127.0.0.1:1/api".parse().unwrap());
    let ended = executor::run(log.clone(), clock, config, Arc::default(), CancellationToken::new()).await;
    assert!(matches!(ended, Err(ExecutorError::Log(LogError::Refused(_)))));
    let asked = log.0.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].inputs, [topic::ACTIONS, topic::CONTROL]);
    assert_eq!(asked[0].changelog, topic::EXECUTOR_STATE);
}

/// No other topic is so much as named in the crate: a dead letter knows its own. The outcomes are read where a state was lost.
#[test]
fn no_other_topic_is_named() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut named = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            assert!(!text.contains("shadow"));
            let names = text.split("topic::").skip(1).map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
                rest[..end].to_owned()
            });
            named.extend(names.filter(|name| !name.is_empty()));
        }
    }
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["ACTIONS", "CONTROL", "EXECUTOR_STATE", "OUTCOMES"]);
}
