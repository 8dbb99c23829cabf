//! A log in memory: what sweeps need of one. It answers at once, so that time stands still while it is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{
    Bounds, Clock, GroupOffset, Log, LogError, NewRecord, Position, Reader, Record, Subscription,
    SubscriptionSpec, TopicInfo, TopicSpec, partition_of,
};

const PARTITIONS: u32 = 3;

#[derive(Default)]
struct Inside {
    topics: BTreeMap<String, Vec<Vec<Record>>>,
    /// How many more appends are taken, and to which topic no longer.
    fails_after: Option<(String, usize)>,
    read: usize,
}

/// Clones are the same log.
#[derive(Clone)]
pub(super) struct MemoryLog {
    inside: Arc<Mutex<Inside>>,
    clock: Arc<dyn Clock>,
}

impl MemoryLog {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inside: Arc::default(), clock }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(super) fn all(&self, topic: &str) -> Vec<Record> {
        let mut all: Vec<Record> =
            self.inside().topics.get(topic).into_iter().flatten().flatten().cloned().collect();
        all.sort_by_key(|record| record.timestamp);
        all
    }

    /// After so many more, appends to `topic` fail.
    pub(super) fn fail_after(&self, topic: &str, appends: usize) {
        self.inside().fails_after = Some((topic.to_owned(), appends));
    }

    pub(super) fn recover(&self) {
        self.inside().fails_after = None;
    }

    /// How many records were read since the last call.
    pub(super) fn records_read(&self) -> usize {
        std::mem::take(&mut self.inside().read)
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let mut inside = self.inside();
        for TopicSpec { name, .. } in topics {
            inside.topics.entry(name.clone()).or_insert_with(|| vec![vec![]; PARTITIONS as usize]);
        }
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let (mut inside, timestamp) = (self.inside(), self.clock.now());
        let append = |NewRecord { topic, partition, key, value, headers }: NewRecord| {
            if let Some((name, left)) = &mut inside.fails_after
                && *name == topic
            {
                *left = left.checked_sub(1).ok_or(LogError::Unavailable("the disk is full".into()))?;
            }
            let partition = partition.unwrap_or_else(|| partition_of(&key, PARTITIONS));
            let records = &mut inside.topics.get_mut(&topic).unwrap()[partition as usize];
            let offset = records.len() as u64;
            let headers = headers.into_iter().collect();
            records.push(Record { topic, partition, offset, timestamp, key, value, headers });
            Ok(Position { partition, offset })
        };
        records.into_iter().map(append).collect()
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let bounds = |records: &Vec<Record>| Bounds { first: 0, end: records.len() as u64 };
        let info = |(name, partitions): (&String, &Vec<Vec<Record>>)| TopicInfo {
            name: name.clone(),
            partitions: partitions.iter().map(bounds).collect(),
        };
        Ok(self.inside().topics.iter().map(info).collect())
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        Ok(vec![])
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let from = from.iter().copied().collect();
        Ok(Box::new(Reading { log: self.clone(), topic: topic.to_owned(), from }))
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Refused("a sweep is no member of a group".into()))
    }
}

struct Reading {
    log: MemoryLog,
    topic: String,
    from: BTreeMap<u32, u64>,
}

#[async_trait]
impl Reader for Reading {
    async fn next(&mut self, _: Duration) -> Result<Vec<Record>, LogError> {
        let mut inside = self.log.inside();
        let mut found = vec![];
        for (partition, from) in &mut self.from {
            // A few at a time, as a log gives them.
            let fresh = inside.topics[&self.topic][*partition as usize].iter().skip(*from as usize).take(7);
            found.extend(fresh.cloned());
            *from = found
                .last()
                .filter(|last| last.partition == *partition)
                .map_or(*from, |last| last.offset + 1);
        }
        inside.read += found.len();
        Ok(found)
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        let inside = self.log.inside();
        let partitions = &inside.topics[&self.topic];
        Ok(self.from.iter().all(|(partition, from)| *from >= partitions[*partition as usize].len() as u64))
    }
}
