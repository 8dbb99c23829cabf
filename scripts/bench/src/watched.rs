//! A log that is watched from outside the gateway: when the first record of `issues` came to it, how many it has taken,
//! and how far it has committed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Step, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};
use events::topic;
use tokio::sync::Notify;

/// What was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// When `poll` first returned records of `issues`.
    pub(crate) first: Option<Instant>,
    /// When the last step that consumed such records was committed.
    pub(crate) last: Option<Instant>,
    /// Records of `issues` that were polled.
    pub(crate) records: u64,
    /// Steps committed.
    pub(crate) steps: u64,
    /// Steps that failed.
    pub(crate) failed: u64,
    /// Per partition of `issues`, the offset after the last one that was polled and committed.
    pub(crate) committed: BTreeMap<u32, u64>,
    polled: BTreeMap<u32, u64>,
}

/// Shares what was seen.
#[derive(Default)]
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    moved: Notify,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the partitions are committed up to `ends`.
    pub(crate) async fn reached(&self, ends: &BTreeMap<u32, u64>) -> Seen {
        loop {
            let moved = self.moved.notified();
            let seen = self.lock().clone();
            if ends.iter().all(|(partition, end)| seen.committed.get(partition).is_some_and(|at| at >= end)) {
                return seen;
            }
            moved.await;
        }
    }

    /// What was seen up to now.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }
}

/// Passes everything on to another log.
pub(crate) struct Watched {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) watch: Arc<Watch>,
}

#[async_trait]
impl Log for Watched {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.log.append(records).await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.log.topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.log.groups().await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.log.read(topic, from).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        let inner = self.log.subscribe(spec).await?;
        Ok(Box::new(WatchedSubscription { inner, watch: Arc::clone(&self.watch) }))
    }
}

struct WatchedSubscription {
    inner: Box<dyn Subscription>,
    watch: Arc<Watch>,
}

#[async_trait]
impl Subscription for WatchedSubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let polled = self.inner.poll(max_records, max_wait).await?;
        if let Polled::Records(records) = &polled {
            let mut seen = self.watch.lock();
            for record in records.iter().filter(|record| record.topic == topic::ISSUES) {
                seen.first.get_or_insert_with(Instant::now);
                seen.records += 1;
                seen.polled.insert(record.partition, record.offset + 1);
            }
        }
        Ok(polled)
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let partitions = step.partitions.clone();
        let result = self.inner.commit(step).await;
        let mut seen = self.watch.lock();
        if result.is_err() {
            seen.failed += 1;
            return result;
        }
        seen.steps += 1;
        for partition in partitions {
            if let Some(offset) = seen.polled.remove(&partition) {
                seen.last = Some(Instant::now());
                seen.committed.insert(partition, offset);
            }
        }
        drop(seen);
        self.watch.moved.notify_waiters();
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        self.inner.caught_up(topic, partition).await
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.pause(topic, partition, paused).await
    }
}
