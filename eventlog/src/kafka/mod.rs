//! The Kafka API: Redpanda, Apache Kafka, or any other broker that speaks it, through librdkafka.
//!
//! ```text
//!  append ──► Appender: one idempotent producer, acks=all
//!  read ────► Committed: a consumer without group, read_committed
//!  subscribe ► Member: a consumer in the group + a transactional producer of this start alone
//!
//!   poll:   join ► assigned by the group ► restore the changelog ► ask for the committed offsets ► fetch
//!   commit: begin ► produce, every receipt awaited ► send offsets, with the generation of the assignment ► commit
//! ```
//!
//! Why no step of a former holder can follow a takeover: its offsets are checked by the group's coordinator against
//! the generation in which it was given its partitions. A step whose offsets were accepted before the takeover has all
//! its records in the log by then, before the end that the new holder's restore goes up to, and the new holder reads
//! the committed offsets only when no such step is open any more (`restore`).

mod admin;
mod blocking;
mod cluster;
mod config;
mod cursors;
mod failure;
mod gathering;
mod group;
mod member;
mod producer;
mod reader;
mod restore;
mod settings;
mod step;
mod subscription;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
pub use config::{KafkaConfig, Sasl, SaslMechanism};
pub use settings::TopicSettings;

use self::{
    admin::Admin, blocking::run_blocking, cluster::Cluster, producer::Appender, reader::KafkaReader,
    subscription::KafkaSubscription,
};
use crate::{
    GroupOffset, Log, LogError, NewRecord, Position, Reader, Stuck, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};

/// A log on a cluster of brokers.
pub struct KafkaLog {
    cluster: Arc<Cluster>,
    admin: Admin,
    appender: Appender,
}

impl KafkaLog {
    /// Sets up the clients. Nothing is asked of the brokers yet: the first call does.
    ///
    /// # Errors
    /// [`LogError::Refused`] for settings that cannot work, such as a CA file that cannot be read.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let cluster = Arc::new(Cluster::new(config)?);
        Ok(Self {
            admin: Admin::new(Arc::clone(&cluster))?,
            appender: Appender::new(Arc::clone(&cluster))?,
            cluster,
        })
    }

    /// How the brokers keep these topics, which exist.
    ///
    /// # Errors
    /// Those of any call: the brokers do not answer, or refuse to tell.
    pub async fn settings(
        &self,
        topics: &[&str],
    ) -> Result<std::collections::BTreeMap<String, TopicSettings>, LogError> {
        settings::of(&self.admin, &self.cluster, topics).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.admin.create_topics(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.appender.append(records).await
    }

    async fn writable(&self) -> Result<(), LogError> {
        match self.appender.last_failure() {
            Some(failure) => Err(failure),
            None => self.topics().await.map(drop),
        }
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.admin.topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.admin.groups().await
    }

    async fn group(&self, name: &str) -> Result<Vec<GroupOffset>, LogError> {
        self.admin.group(name).await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let (cluster, topic, from) = (Arc::clone(&self.cluster), topic.to_owned(), from.to_vec());
        Ok(Box::new(run_blocking(move || KafkaReader::open(cluster, topic, &from)).await?))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        let cluster = Arc::clone(&self.cluster);
        Ok(Box::new(run_blocking(move || KafkaSubscription::open(cluster, spec)).await?))
    }

    fn stuck(&self) -> Vec<Stuck> {
        self.cluster.watch.stuck()
    }
}
