//! Reading committed records outside any group.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Header, Headers as _},
};

use super::{
    KafkaConfig,
    blocking::Shared,
    cluster::{Cluster, Edge, PATIENCE, Quiet},
    failure::{classify, of_consumer, poll_once},
};
use crate::{Headers, LogError, Reader, Record};

/// How many records and bytes one batch has at most.
const BATCH_RECORDS: usize = 1_000;
/// See [`BATCH_RECORDS`].
pub(super) const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long a wait may go on after nobody waits for it.
pub(super) const SLICE: Duration = Duration::from_millis(200);

/// A message as the contract knows it, and roughly how many bytes it keeps.
pub(super) fn record_of(message: &BorrowedMessage<'_>) -> (Record, usize) {
    let headers = message.headers().map_or_else(Headers::default, |headers| {
        let text = |header: Header<'_, &[u8]>| {
            (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
        };
        headers.iter().map(text).collect()
    });
    let record = Record {
        topic: message.topic().to_owned(),
        partition: message.partition() as u32,
        offset: message.offset().max(0) as u64,
        timestamp: message
            .timestamp()
            .to_millis()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or_default(),
        key: message.key().map(Bytes::copy_from_slice).unwrap_or_default(),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
    };
    let bytes = record.key.len()
        + record.value.as_ref().map_or(0, Bytes::len)
        + record.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    (record, bytes)
}

/// What a consumer without group came upon.
pub(super) enum Seen {
    /// A committed record.
    Record(Record, usize),
    /// This partition's end: everything before the first open transaction has been seen.
    End(u32),
}

/// A consumer of some partitions of one topic. It sees committed records only.
pub(super) struct Committed {
    topic: String,
    consumer: BaseConsumer<Quiet>,
}

impl Committed {
    pub(super) fn open(config: &KafkaConfig, topic: &str, from: &[(u32, u64)]) -> Result<Self, LogError> {
        let failed = |error| classify(&format!("read {topic}"), &error);
        let consumer: BaseConsumer<Quiet> = config.reader().create_with_context(Quiet).map_err(failed)?;
        let mut places = TopicPartitionList::with_capacity(from.len());
        for (partition, offset) in from {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            places.add_partition_offset(topic, *partition as i32, offset).map_err(failed)?;
        }
        consumer.assign(&places).map_err(failed)?;
        Ok(Self { topic: topic.to_owned(), consumer })
    }

    /// What comes next; `None` when nothing came within `wait`.
    pub(super) fn next(&self, wait: Duration) -> Result<Option<Seen>, LogError> {
        match poll_once(|wait| self.consumer.poll(wait), wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                let (record, bytes) = record_of(&message);
                Ok(Some(Seen::Record(record, bytes)))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Some(Seen::End(partition as u32))),
            Some(Err(error)) => of_consumer(&format!("read {}", self.topic), &error).map_or(Ok(None), Err),
        }
    }

    /// Per partition, the offset after the last record or transaction marker that was seen, where any was.
    fn positions(&self) -> BTreeMap<u32, u64> {
        let known = |(place, offset): ((String, i32), Offset)| match offset {
            Offset::Offset(offset) if offset >= 0 => Some((place.1 as u32, offset as u64)),
            _ => None,
        };
        let positions = self.consumer.position();
        positions
            .map_or_else(|_| BTreeMap::new(), |p| p.to_topic_map().into_iter().filter_map(known).collect())
    }
}

/// Whether no committed record stands in `from..to`. Markers, aborted records and what compaction took away leave gaps
/// that a consumer's position does not always pass. Blocks.
pub(super) fn is_gap(
    cluster: &Cluster,
    topic: &str,
    partition: u32,
    from: u64,
    to: u64,
) -> Result<bool, LogError> {
    if cluster.edges(Edge::Stable, &[(topic, partition)])?.first().is_none_or(|stable| *stable < to) {
        // A transaction is open before `to`, or committed without its marker yet: it is not known what will stand there.
        return Ok(false);
    }
    let consumer = Committed::open(&cluster.config, topic, &[(partition, from)])?;
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        match consumer.next(SLICE)? {
            Some(Seen::Record(record, _)) => return Ok(record.offset >= to),
            Some(Seen::End(_)) => return Ok(true),
            None => {}
        }
    }
    Err(LogError::Unavailable(format!(
        "read {topic}: partition {partition} did not answer within {PATIENCE:?}"
    )))
}

/// One topic, from given offsets on.
pub(super) struct KafkaReader {
    inner: Shared<Inner>,
}

struct Inner {
    cluster: Arc<Cluster>,
    committed: Committed,
    /// Per partition, the first offset that is wanted.
    wanted: BTreeMap<u32, u64>,
    /// Per partition, the offset after the last record that was returned, or where reading began.
    next: BTreeMap<u32, u64>,
    /// Read, and not yet returned: the call that read it was dropped.
    ready: VecDeque<Record>,
    /// Whether the last batch took everything that was there.
    dry: bool,
}

impl KafkaReader {
    /// Blocks.
    pub(super) fn open(cluster: Arc<Cluster>, topic: String, from: &[(u32, u64)]) -> Result<Self, LogError> {
        let count = cluster.partitions_of(&topic)?;
        if let Some((partition, _)) = from.iter().find(|(partition, _)| *partition >= count) {
            return Err(LogError::Refused(format!(
                "topic {topic} has {count} partitions: there is no partition {partition}"
            )));
        }
        let wanted: BTreeMap<u32, u64> = from.iter().copied().collect();
        let places: Vec<_> = wanted.keys().map(|partition| (topic.as_str(), *partition)).collect();
        let firsts = cluster.edges(Edge::First, &places)?;
        let ends = cluster.edges(Edge::End, &places)?;
        // The broker answers an offset outside with "out of range", and the client would begin anew.
        let inside = |((partition, offset), (first, end)): ((&u32, &u64), (u64, u64))| {
            (*partition, (*offset).clamp(first, end.max(first)))
        };
        let next: BTreeMap<u32, u64> = wanted.iter().zip(firsts.into_iter().zip(ends)).map(inside).collect();
        let start: Vec<_> = next.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        let committed = Committed::open(&cluster.config, &topic, &start)?;
        let inner = Inner { cluster, committed, wanted, next, ready: VecDeque::new(), dry: false };
        Ok(Self { inner: Shared::new(inner) })
    }
}

impl Inner {
    /// Makes `ready` not empty, if anything comes in time.
    fn fetch(&mut self, until: Instant, wanted: &AtomicBool) -> Result<(), LogError> {
        let mut bytes = 0;
        self.dry = false;
        while self.ready.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let left = if self.ready.is_empty() {
                until.saturating_duration_since(Instant::now()).min(SLICE)
            } else {
                Duration::ZERO
            };
            match self.committed.next(left) {
                Ok(Some(Seen::Record(record, size))) => {
                    if self.wanted.get(&record.partition).is_some_and(|first| record.offset >= *first) {
                        bytes += size;
                        self.ready.push_back(record);
                    }
                }
                Ok(Some(Seen::End(_))) => {}
                Ok(None)
                    if self.ready.is_empty() && wanted.load(Ordering::Relaxed) && Instant::now() < until => {}
                Ok(None) => {
                    self.dry = true;
                    break;
                }
                Err(error) if self.ready.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<Record> {
        let records: Vec<_> = self.ready.drain(..).collect();
        for record in &records {
            self.next.insert(record.partition, record.offset + 1);
        }
        records
    }

    fn at_end(&self) -> Result<bool, LogError> {
        let topic = self.committed.topic.as_str();
        let places: Vec<_> = self.next.keys().map(|partition| (topic, *partition)).collect();
        let ends = self.cluster.edges(Edge::End, &places)?;
        if !self.ready.is_empty() {
            return Ok(false);
        }
        let seen = self.committed.positions();
        for ((partition, next), end) in self.next.iter().zip(ends) {
            let from = seen.get(partition).map_or(*next, |seen| *next.max(seen));
            if from < end && !(self.dry && is_gap(&self.cluster, topic, *partition, from, end)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Vec<Record>, LogError> {
        let until = Instant::now() + max_wait;
        let fetch = move |inner: &mut Inner, wanted: &AtomicBool| {
            if inner.ready.is_empty() { inner.fetch(until, wanted) } else { Ok(()) }
        };
        self.inner.run(fetch).await?;
        // Only now, when they are handed out for certain, do they count as returned.
        Ok(self.inner.with(Inner::take).unwrap_or_default())
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        self.inner.run(|inner, _| inner.at_end()).await
    }
}
