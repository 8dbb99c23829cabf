//! A log under whose names a test is alone: several share one broker.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Record, Step, Subscription,
    SubscriptionSpec, TopicInfo, TopicSpec,
};

/// Every topic and group has the tag before its name.
pub struct Named {
    pub log: Arc<dyn Log>,
    pub tag: String,
}

impl Named {
    fn of(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    fn without(&self, name: &str) -> Option<String> {
        name.strip_prefix(&self.tag).map(str::to_owned)
    }
}

fn tagged(tag: &str, records: Vec<NewRecord>) -> Vec<NewRecord> {
    let tagged = |record: NewRecord| NewRecord { topic: format!("{tag}{}", record.topic), ..record };
    records.into_iter().map(tagged).collect()
}

fn untagged(tag: &str, records: Vec<Record>) -> Vec<Record> {
    let untagged = |record: Record| Record { topic: record.topic[tag.len()..].to_owned(), ..record };
    records.into_iter().map(untagged).collect()
}

#[async_trait]
impl Log for Named {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let topics: Vec<_> =
            topics.iter().map(|topic| TopicSpec { name: self.of(&topic.name), ..topic.clone() }).collect();
        self.log.create_topics(&topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.log.append(tagged(&self.tag, records)).await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let topics = self.log.topics().await?.into_iter();
        Ok(topics.filter_map(|topic| Some(TopicInfo { name: self.without(&topic.name)?, ..topic })).collect())
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        let own = |at: GroupOffset| {
            Some(GroupOffset { group: self.without(&at.group)?, topic: self.without(&at.topic)?, ..at })
        };
        Ok(self.log.groups().await?.into_iter().filter_map(own).collect())
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let inner = self.log.read(&self.of(topic), from).await?;
        Ok(Box::new(NamedReader { inner, tag: self.tag.clone() }))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        let spec = SubscriptionSpec {
            group: self.of(&spec.group),
            inputs: spec.inputs.iter().map(|input| self.of(input)).collect(),
            changelog: self.of(&spec.changelog),
        };
        let inner = self.log.subscribe(spec).await?;
        Ok(Box::new(NamedSubscription { inner, tag: self.tag.clone() }))
    }
}

struct NamedReader {
    inner: Box<dyn Reader>,
    tag: String,
}

#[async_trait]
impl Reader for NamedReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Vec<Record>, LogError> {
        Ok(untagged(&self.tag, self.inner.next(max_wait).await?))
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        self.inner.at_end().await
    }
}

struct NamedSubscription {
    inner: Box<dyn Subscription>,
    tag: String,
}

#[async_trait]
impl Subscription for NamedSubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        Ok(match self.inner.poll(max_records, max_wait).await? {
            Polled::Records(records) => Polled::Records(untagged(&self.tag, records)),
            Polled::Restoring { partition, records } => {
                Polled::Restoring { partition, records: untagged(&self.tag, records) }
            }
            other => other,
        })
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let append = tagged(&self.tag, step.append);
        self.inner.commit(Step { append, ..step }).await
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        self.inner.caught_up(&format!("{}{topic}", self.tag), partition).await
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.pause(&format!("{}{topic}", self.tag), partition, paused).await
    }
}
