//! How the brokers keep topics.

use std::{collections::BTreeMap, sync::Arc};

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::{
    admin::Admin,
    blocking::run_blocking,
    cluster::{Cluster, PATIENCE},
    failure::classify,
};
use crate::LogError;

/// How a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// The fewest replicas that one of its partitions has.
    pub replicas: usize,
    /// Every setting that the brokers tell of, by its name there (`cleanup.policy`, …).
    pub values: BTreeMap<String, String>,
}

/// Asks the brokers how these topics are kept.
pub(super) async fn of(
    admin: &Admin,
    cluster: &Arc<Cluster>,
    topics: &[&str],
) -> Result<BTreeMap<String, TopicSettings>, LogError> {
    const DOING: &str = "ask for the topics' settings";
    let asked: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = admin.client().describe_configs(&asked, &options).await;
    let answers = answers.map_err(|error| classify(DOING, &error))?;
    let cluster = Arc::clone(cluster);
    let replicas = run_blocking(move || cluster.replicas()).await?;
    let mut settings = BTreeMap::new();
    for (name, answer) in topics.iter().zip(answers) {
        let resource = answer.map_err(|code| classify(DOING, &rdkafka::error::KafkaError::AdminOp(code)))?;
        let values = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
        let replicas = replicas.get(*name).copied().unwrap_or_default();
        settings.insert((*name).to_owned(), TopicSettings { replicas, values: values.collect() });
    }
    Ok(settings)
}
