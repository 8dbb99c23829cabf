//! Questions to the cluster: which topics there are, and where their partitions begin and end.
//!
//! Everything here blocks, for [`PATIENCE`] at most.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, OnceLock, RwLock},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use super::{
    KafkaConfig,
    failure::{classify, classify_known},
    watch::Watch,
};
use crate::{LogError, NewRecord};

/// How long an answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a group's coordinator may take to answer a client that has yet to find it.
const COORDINATOR_WITHIN: Duration = Duration::from_secs(2);
/// How long one try waits, before it is looked whether a connection was refused.
const TRY: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// librdkafka's own words go to `tracing`, target `librdkafka`.
pub(super) fn trace(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// A client without callbacks of its own. Errors come back from its calls; here they are only traced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Quiet {}

/// Remembers why no connection comes about. The calls themselves only say that nobody answered.
#[derive(Default)]
struct Asking {
    refused: Mutex<Option<(KafkaError, String)>>,
}

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        if matches!(classify("connect", &error), LogError::Refused(_)) {
            *self.refused.lock().unwrap_or_else(|e| e.into_inner()) = Some((error, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Asking {}

/// An end of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edge {
    /// The first offset that is kept.
    First,
    /// The offset that the next record gets, whether what stands before it is committed or not.
    End,
    /// The first offset that is not yet decided: everything before it is committed or aborted.
    Stable,
}

/// The cluster, as far as one asks it questions.
pub(super) struct Cluster {
    pub(super) config: KafkaConfig,
    /// Sees everything (read_uncommitted).
    asking: BaseConsumer<Asking>,
    /// Sees what is decided (read_committed).
    asking_stable: OnceLock<BaseConsumer<Asking>>,
    /// How many partitions each topic has, as last seen: fixed at creation.
    partitions: RwLock<HashMap<String, u32>>,
    /// What stays undecided for the members of this process.
    pub(super) watch: Watch,
}

impl Cluster {
    pub(super) fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let asking = Self::asker(&config, false)?;
        Ok(Self {
            config,
            asking,
            asking_stable: OnceLock::new(),
            partitions: RwLock::default(),
            watch: Watch::default(),
        })
    }

    fn asker(config: &KafkaConfig, committed: bool) -> Result<BaseConsumer<Asking>, LogError> {
        config
            .queries(committed)
            .create_with_context(Asking::default())
            .map_err(|e| classify(&format!("set up a client for {}", config.brokers), &e))
    }

    /// Asks again until [`PATIENCE`] is over: leaders move, and a topic just made has none at first.
    fn ask<T>(
        &self,
        client: &BaseConsumer<Asking>,
        what: &str,
        question: impl Fn(&BaseConsumer<Asking>, Duration) -> KafkaResult<T>,
    ) -> Result<T, LogError> {
        let what = format!("{what} of the brokers at {}", self.config.brokers);
        let refused = || client.context().refused.lock().unwrap_or_else(|e| e.into_inner()).take();
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Log lines and error events wait in the client's queue until someone takes them out.
            while client.poll(Duration::ZERO).is_some() {}
            let left = give_up.saturating_duration_since(Instant::now()).clamp(PAUSE, TRY);
            let error = match question(client, left) {
                Ok(answer) => {
                    refused();
                    return Ok(answer);
                }
                Err(error) => classify_known(&what, &error),
            };
            while client.poll(Duration::ZERO).is_some() {}
            if let Some((error, reason)) = refused() {
                return Err(classify(&format!("{what}: {reason}"), &error));
            }
            if matches!(error, LogError::Refused(_)) || Instant::now() + PAUSE > give_up {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Every topic and how many partitions it has, without those that the brokers keep for themselves.
    pub(super) fn topics(&self) -> Result<BTreeMap<String, u32>, LogError> {
        let metadata =
            self.ask(&self.asking, "ask for the topics", |client, wait| client.fetch_metadata(None, wait))?;
        let topics: BTreeMap<_, _> = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none() && !topic.name().starts_with('_'))
            .map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32))
            .collect();
        *self.partitions.write().unwrap_or_else(|e| e.into_inner()) = topics.clone().into_iter().collect();
        Ok(topics)
    }

    /// Of each topic, the fewest replicas that one of its partitions has.
    pub(super) fn replicas(&self) -> Result<BTreeMap<String, usize>, LogError> {
        let metadata =
            self.ask(&self.asking, "ask for the topics", |client, wait| client.fetch_metadata(None, wait))?;
        let least = |topic: &rdkafka::metadata::MetadataTopic| {
            topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or_default()
        };
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), least(topic))).collect())
    }

    /// Every consumer group that the brokers know.
    pub(super) fn groups(&self) -> Result<Vec<String>, LogError> {
        let list =
            self.ask(&self.asking, "ask for the groups", |client, wait| client.fetch_group_list(None, wait))?;
        let consumers = list.groups().iter().filter(|g| matches!(g.protocol_type(), "consumer" | ""));
        Ok(consumers.filter(|g| g.state() != "Dead").map(|g| g.name().to_owned()).collect())
    }

    /// Whether the coordinator of `group` answers a question for its offsets at `places`, decided or not.
    pub(super) fn answers_for(&self, group: &str, places: &[(&str, u32)]) -> Result<(), LogError> {
        let failed = |error| classify(&format!("ask the coordinator of group {group}"), &error);
        let client: BaseConsumer<Quiet> =
            self.config.onlooker(group).create_with_context(Quiet).map_err(failed)?;
        let mut question = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            question.add_partition(topic, *partition as i32);
        }
        client.committed_offsets(question, COORDINATOR_WITHIN).map(drop).map_err(failed)
    }

    fn known_partitions(&self, topic: &str) -> Option<u32> {
        self.partitions.read().unwrap_or_else(|e| e.into_inner()).get(topic).copied()
    }

    /// How many partitions `topic` has.
    pub(super) fn partitions_of(&self, topic: &str) -> Result<u32, LogError> {
        match self.known_partitions(topic) {
            Some(count) => Ok(count),
            None => self.topics()?.get(topic).copied().ok_or_else(|| missing(topic)),
        }
    }

    /// The partition of each record, where all topics are known: no question is asked.
    pub(super) fn route_known(&self, records: &[NewRecord]) -> Option<Result<Vec<u32>, LogError>> {
        let counts: Option<Vec<_>> = records.iter().map(|r| self.known_partitions(&r.topic)).collect();
        Some(records.iter().zip(counts?).map(|(record, count)| place(record, count)).collect())
    }

    /// The partition of each record.
    pub(super) fn route(&self, records: &[NewRecord]) -> Result<Vec<u32>, LogError> {
        records.iter().map(|record| place(record, self.partitions_of(&record.topic)?)).collect()
    }

    /// Forgets what is known of topics: one of them was not what it seemed.
    pub(super) fn forget(&self) {
        self.partitions.write().unwrap_or_else(|e| e.into_inner()).clear();
    }

    /// Where `edge` stands now for each of `places`, in their order. Always asks.
    pub(super) fn edges(&self, edge: Edge, places: &[(&str, u32)]) -> Result<Vec<u64>, LogError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let client = match (edge, self.asking_stable.get()) {
            (Edge::First | Edge::End, _) => &self.asking,
            (Edge::Stable, Some(client)) => client,
            (Edge::Stable, None) => {
                let client = Self::asker(&self.config, true)?;
                self.asking_stable.get_or_init(|| client)
            }
        };
        // In a question for offsets by time, -2 stands for the first and -1 for the end, as they do in `Offset`.
        let wanted = if matches!(edge, Edge::First) { Offset::Beginning } else { Offset::End };
        self.ask(client, "ask for the ends of partitions", |client, wait| {
            // A broker does not answer a question that names a partition twice.
            let unique: BTreeSet<_> = places.iter().collect();
            let mut question = TopicPartitionList::with_capacity(unique.len());
            for (topic, partition) in unique {
                question.add_partition_offset(topic, *partition as i32, wanted)?;
            }
            let answer = client.offsets_for_times(question, wait)?;
            let mut found = HashMap::with_capacity(answer.count());
            let elements = answer.elements();
            for place in &elements {
                place.error()?;
                if let Offset::Offset(offset) = place.offset() {
                    found.insert((place.topic(), place.partition() as u32), u64::try_from(offset).ok());
                }
            }
            let edge = |place| found.get(place).copied().flatten().ok_or(KafkaError::NoMessageReceived);
            places.iter().map(edge).collect()
        })
    }
}

fn missing(topic: &str) -> LogError {
    LogError::Refused(format!("there is no topic {topic}; create it first (serve does)"))
}

fn place(record: &NewRecord, count: u32) -> Result<u32, LogError> {
    match record.partition {
        Some(partition) if partition >= count => Err(LogError::Refused(format!(
            "topic {} has {count} partitions: there is no partition {partition}",
            record.topic
        ))),
        Some(partition) => Ok(partition),
        None => Ok(crate::partition_of(&record.key, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_is_away_is_not_one_that_answers() {
        // Nothing listens on the discard port.
        let cluster = Cluster::new(KafkaConfig::new("127.0.0.1:9")).unwrap();
        let away = cluster.answers_for("g", &[("in", 0)]);
        assert!(
            matches!(&away, Err(LogError::Unavailable(why)) if why.contains("coordinator of group g")),
            "{away:?}"
        );
    }
}
