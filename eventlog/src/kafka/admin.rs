//! Making topics, and telling of topics and groups.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode as Code,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    blocking::run_blocking,
    cluster::{Cluster, Edge, PATIENCE, Quiet},
    config::MAX_RECORD_BYTES,
    failure::classify,
};
use crate::{Bounds, GroupOffset, Keep, LogError, TopicInfo, TopicSpec};

/// How many groups are looked at at once.
const ONLOOKERS: usize = 8;

/// Makes topics, and tells of topics and groups.
pub(super) struct Admin {
    cluster: Arc<Cluster>,
    client: AdminClient<Quiet>,
}

impl Admin {
    pub(super) fn new(cluster: Arc<Cluster>) -> Result<Self, LogError> {
        let client = cluster.config.admin().create_with_context(Quiet);
        Ok(Self { client: client.map_err(|e| classify("set up an admin client", &e))?, cluster })
    }

    pub(super) fn client(&self) -> &AdminClient<Quiet> {
        &self.client
    }

    async fn counts(&self) -> Result<BTreeMap<String, u32>, LogError> {
        let cluster = Arc::clone(&self.cluster);
        run_blocking(move || cluster.topics()).await
    }

    pub(super) async fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let existing = self.counts().await?;
        check_counts(specs, &existing)?;
        let settings: Vec<_> = specs
            .iter()
            .filter(|spec| !existing.contains_key(&spec.name))
            .map(|spec| (spec, settings(spec)))
            .collect();
        if settings.is_empty() {
            return Ok(());
        }
        let topics: Vec<_> = settings
            .iter()
            .map(|(spec, settings)| {
                let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
                // -1: as many replicas as the brokers' default says.
                let topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(-1));
                settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let results = self.client.create_topics(&topics, &options).await;
        for result in results.map_err(|e| classify("create topics", &e))? {
            match result {
                // Another process was faster; whether it meant the same is checked below.
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let error = rdkafka::error::KafkaError::AdminOp(code);
                    return Err(classify(&format!("create topic {topic}"), &error));
                }
            }
        }
        self.until_visible(specs).await
    }

    /// Waits until the brokers tell of the topics that they have made, and their partitions have leaders.
    async fn until_visible(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let give_up = Instant::now() + 2 * PATIENCE;
        loop {
            let existing = self.counts().await?;
            check_counts(specs, &existing)?;
            if specs.iter().all(|spec| existing.contains_key(&spec.name)) {
                let places: Vec<_> = specs
                    .iter()
                    .flat_map(|spec| (0..spec.partitions).map(|partition| (spec.name.clone(), partition)))
                    .collect();
                let cluster = Arc::clone(&self.cluster);
                return run_blocking(move || edges(&cluster, Edge::First, &places)).await.map(drop);
            }
            if Instant::now() > give_up {
                return Err(LogError::Unavailable("the brokers have not made the topics yet".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let cluster = Arc::clone(&self.cluster);
        run_blocking(move || {
            let topics = cluster.topics()?;
            let places: Vec<_> =
                topics.iter().flat_map(|(name, count)| (0..*count).map(|p| (name.clone(), p))).collect();
            let firsts = edges(&cluster, Edge::First, &places)?;
            let ends = edges(&cluster, Edge::End, &places)?;
            let mut bounds = firsts.into_iter().zip(ends).map(|(first, end)| Bounds { first, end });
            let info = |(name, count): (String, u32)| TopicInfo {
                name,
                partitions: bounds.by_ref().take(count as usize).collect(),
            };
            Ok(topics.into_iter().map(info).collect())
        })
        .await
    }

    pub(super) async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        let cluster = Arc::clone(&self.cluster);
        self.look(run_blocking(move || cluster.groups()).await?).await
    }

    pub(super) async fn group(&self, name: &str) -> Result<Vec<GroupOffset>, LogError> {
        self.look(vec![name.to_owned()]).await
    }

    async fn look(&self, names: Vec<String>) -> Result<Vec<GroupOffset>, LogError> {
        let topics = Arc::new(self.counts().await?);
        let mut names = names.into_iter();
        let mut looking = JoinSet::new();
        let mut found: Vec<(String, String, u32, u64)> = Vec::new();
        loop {
            while looking.len() < ONLOOKERS
                && let Some(group) = names.next()
            {
                let (cluster, topics) = (Arc::clone(&self.cluster), Arc::clone(&topics));
                looking.spawn_blocking(move || committed(&cluster, &group, &topics));
            }
            match looking.join_next().await {
                None => break,
                Some(Ok(offsets)) => found.extend(offsets?),
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => return Err(LogError::Unavailable("the program is shutting down".to_owned())),
            }
        }
        found.sort_unstable();
        let cluster = Arc::clone(&self.cluster);
        run_blocking(move || {
            let places: Vec<_> =
                found.iter().map(|(_, topic, partition, _)| (topic.clone(), *partition)).collect();
            let ends = edges(&cluster, Edge::End, &places)?;
            let offset = |((group, topic, partition, committed), end)| GroupOffset {
                group,
                topic,
                partition,
                committed,
                end,
            };
            Ok(found.into_iter().zip(ends).map(offset).collect())
        })
        .await
    }
}

fn edges(cluster: &Cluster, edge: Edge, places: &[(String, u32)]) -> Result<Vec<u64>, LogError> {
    let places: Vec<_> = places.iter().map(|(topic, partition)| (topic.as_str(), *partition)).collect();
    cluster.edges(edge, &places)
}

fn check_counts(specs: &[TopicSpec], existing: &BTreeMap<String, u32>) -> Result<(), LogError> {
    for spec in specs {
        match existing.get(&spec.name) {
            Some(count) if *count != spec.partitions => {
                return Err(LogError::Refused(format!(
                    "topic {} has {count} partitions, not {}: the number is fixed when a topic is made; \
                     set [log] partitions = {count}, or use other brokers",
                    spec.name, spec.partitions
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A topic's settings on the broker.
fn settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("max.message.bytes", MAX_RECORD_BYTES.to_string()),
    ];
    match spec.keep {
        Keep::Newest => settings.extend([
            ("cleanup.policy", "compact".to_owned()),
            ("retention.ms", "-1".to_owned()),
            // Only closed segments are compacted, and a restore reads what is not.
            ("segment.bytes", (32 * 1024 * 1024).to_string()),
            ("segment.ms", (60 * 60 * 1000).to_string()),
        ]),
        Keep::Until { age, bytes } => {
            settings.push(("cleanup.policy", "delete".to_owned()));
            settings.push(("retention.ms", age.map_or("-1".to_owned(), |age| age.as_millis().to_string())));
            settings.extend(bytes.map(|bytes| ("retention.bytes", bytes.to_string())));
        }
    }
    settings
}

/// What `group` has committed on `topics`. Blocks.
fn committed(
    cluster: &Cluster,
    group: &str,
    topics: &BTreeMap<String, u32>,
) -> Result<Vec<(String, String, u32, u64)>, LogError> {
    let failed = |error| classify(&format!("ask for the offsets of group {group}"), &error);
    let client: BaseConsumer<Quiet> =
        cluster.config.onlooker(group).create_with_context(Quiet).map_err(failed)?;
    let mut question = TopicPartitionList::new();
    for (topic, count) in topics {
        question.add_partition_range(topic, 0, *count as i32 - 1);
    }
    let answer = client.committed_offsets(question, PATIENCE).map_err(failed)?;
    let offset = |(place, offset): ((String, i32), Offset)| match offset {
        Offset::Offset(offset) if offset >= 0 => {
            Some((group.to_owned(), place.0, place.1 as u32, offset as u64))
        }
        _ => None,
    };
    Ok(answer.to_topic_map().into_iter().filter_map(offset).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(keep: Keep) -> TopicSpec {
        TopicSpec { name: "t".into(), partitions: 8, keep }
    }

    #[test]
    fn settings_follow_the_spec() {
        let until = |age, bytes| Keep::Until { age, bytes };
        for (keep, policy, age, bytes) in [
            (until(Some(Duration::from_secs(90 * 86_400)), None), "delete", Some("7776000000"), None),
            (until(None, Some(1 << 30)), "delete", Some("-1"), Some("1073741824")),
            (Keep::ALL, "delete", Some("-1"), None),
            (Keep::Newest, "compact", Some("-1"), None),
        ] {
            let settings: BTreeMap<_, _> = settings(&spec(keep)).into_iter().collect();
            let said = |name| settings.get(name).map(String::as_str);
            assert_eq!(
                (said("cleanup.policy"), said("retention.ms"), said("retention.bytes")),
                (Some(policy), age, bytes)
            );
            assert_eq!(settings["message.timestamp.type"], "LogAppendTime");
            assert_eq!(settings["max.message.bytes"], "4194304");
        }
    }

    #[test]
    fn another_number_of_partitions_is_refused_with_both() {
        let existing = BTreeMap::from([("t".to_owned(), 3)]);
        let Err(LogError::Refused(why)) = check_counts(&[spec(Keep::ALL)], &existing) else {
            panic!("not refused")
        };
        assert!(why.contains("t has 3 partitions, not 8"), "{why}");
        check_counts(&[TopicSpec { partitions: 3, ..spec(Keep::Newest) }], &existing).unwrap();
    }
}
