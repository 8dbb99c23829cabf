//! Appending: one idempotent producer, shared by all callers.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::oneshot;

use super::{
    KafkaConfig,
    blocking::{retire, run_blocking},
    cluster::{Cluster, trace},
    failure::classify,
    gathering::Gathering,
};
use crate::{LogError, NewRecord, Position};

/// What the broker said of one record: where it stands. `None` when it only said that it has the record already: an earlier try
/// was written, and its answer was lost.
pub(super) type Receipt = Result<Option<Position>, KafkaError>;
/// A producer with a thread of its own that hands out receipts.
pub(super) type Producer = ThreadedProducer<Receipts>;

/// Hands each record's receipt to who waits for it.
pub(super) struct Receipts;

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<oneshot::Sender<Receipt>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let receipt = match result {
            Ok(message) => Ok(place(message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        // Who no longer waits does not want to know.
        let _ = waiting.send(receipt);
    }
}

fn place(partition: i32, offset: i64) -> Option<Position> {
    Some(Position { partition: u32::try_from(partition).ok()?, offset: u64::try_from(offset).ok()? })
}

/// Puts a record in the producer's queue.
pub(super) fn send(
    producer: &Producer,
    record: &NewRecord,
    partition: u32,
) -> Result<oneshot::Receiver<Receipt>, KafkaError> {
    let (sender, receiver) = oneshot::channel();
    let mut message = BaseRecord::with_opaque_to(&record.topic, Box::new(sender))
        .partition(partition as i32)
        // An empty key is a key: a compacted topic refuses records without one.
        .key(&record.key[..]);
    message.payload = record.value.as_deref();
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        message.headers = Some(record.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_str()) })
        }));
    }
    match producer.send(message) {
        Ok(()) => Ok(receiver),
        Err((error, _)) => Err(error),
    }
}

/// How long an append that failed speaks for those that come, where none has been made since.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How long a record waits at most for others that are under way. It takes a broker that is as good as away to wait so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of the last append.
#[derive(Default)]
struct Last(Mutex<Option<(Instant, LogError)>>);

impl Last {
    /// What a record's own fault is says nothing of others.
    fn was(&self, failure: Option<&LogError>, now: Instant) {
        if !matches!(failure, Some(LogError::Unfit(_))) {
            *self.0.lock().unwrap_or_else(|e| e.into_inner()) = failure.map(|error| (now, error.clone()));
        }
    }

    fn failure(&self, now: Instant) -> Option<LogError> {
        let last = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let fresh = last.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < REMEMBERED);
        fresh.map(|(_, error)| error.clone())
    }
}

/// Appends for everyone.
pub(super) struct Appender {
    cluster: Arc<Cluster>,
    producer: Mutex<Arc<Producer>>,
    gathering: Gathering,
    last: Last,
}

impl Appender {
    pub(super) fn new(cluster: Arc<Cluster>) -> Result<Self, LogError> {
        let producer = Mutex::new(Arc::new(Self::produce(&cluster.config)?));
        Ok(Self { cluster, producer, gathering: Gathering::new(PATIENCE), last: Last::default() })
    }

    fn produce(config: &KafkaConfig) -> Result<Producer, LogError> {
        config.appender().create_with_context(Receipts).map_err(|e| classify("set up a producer", &e))
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let partitions = match self.cluster.route_known(&records) {
            Some(known) => known?,
            None => {
                let (cluster, records) = (Arc::clone(&self.cluster), records.clone());
                run_blocking(move || cluster.route(&records)).await?
            }
        };
        let first = partitions.first().copied().unwrap_or_default();
        let under_way = self.gathering.pass(first, records.len()).await;
        let producer = Arc::clone(&self.producer.lock().unwrap_or_else(|e| e.into_inner()));
        let waiting: Vec<_> = records
            .iter()
            .zip(partitions)
            .map(|(record, partition)| send(&producer, record, partition))
            .collect();
        let mut positions = Vec::with_capacity(records.len());
        let mut failed = None;
        // All are waited for, also after a failure: a caller that appends again must not meet its own first try.
        for (record, receipt) in records.iter().zip(waiting) {
            let receipt = match receipt {
                Ok(receipt) => receipt.await.unwrap_or(Err(KafkaError::Canceled)),
                Err(error) => Err(error),
            };
            match receipt {
                Ok(Some(position)) => positions.push(position),
                // Better there twice, which readers recognise, than at a place where another stands.
                Ok(None) => {
                    failed.get_or_insert_with(|| {
                        LogError::Unavailable(format!(
                            "append to {}: the broker has the record and does not say where",
                            record.topic
                        ))
                    });
                }
                Err(error) => {
                    if matches!(
                        error.rdkafka_error_code(),
                        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition)
                    ) {
                        self.cluster.forget();
                    }
                    failed.get_or_insert_with(|| classify(&format!("append to {}", record.topic), &error));
                }
            }
        }
        drop(under_way);
        self.last.was(failed.as_ref(), Instant::now());
        let Some(failed) = failed else { return Ok(positions) };
        self.replace_if_broken(producer)?;
        Err(failed)
    }

    /// Why the last append failed, unless that was over a minute ago or its records' own fault. A broker tells of its topics
    /// also while it takes no record, such as with fewer replicas in sync than `min.insync.replicas`.
    pub(super) fn last_failure(&self) -> Option<LogError> {
        self.last.failure(Instant::now())
    }

    /// An idempotent producer that can no longer tell whether it wrote something stops for good: another takes its place.
    fn replace_if_broken(&self, used: Arc<Producer>) -> Result<(), LogError> {
        let Some((code, reason)) = used.client().fatal_error() else { return Ok(()) };
        let mut current = self.producer.lock().unwrap_or_else(|e| e.into_inner());
        if Arc::ptr_eq(&current, &used) {
            tracing::warn!(?code, reason, "the producer cannot go on and is replaced");
            let broken = std::mem::replace(&mut *current, Arc::new(Self::produce(&self.cluster.config)?));
            drop(current);
            retire((broken, used));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_speaks_for_a_minute_or_until_an_append_succeeds() {
        let (last, began) = (Last::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let down = LogError::Unavailable("not enough replicas".to_owned());
        assert_eq!(last.failure(at(0)), None);
        last.was(Some(&down), at(0));
        assert_eq!((last.failure(at(59)), last.failure(at(60))), (Some(down.clone()), None));
        last.was(Some(&down), at(61));
        last.was(Some(&LogError::Unfit("too large".to_owned())), at(62));
        assert_eq!(last.failure(at(63)), Some(down), "a record's own fault tells nothing");
        last.was(None, at(64));
        assert_eq!(last.failure(at(65)), None);
    }

    #[test]
    fn a_record_whose_offset_is_not_said_has_no_place() {
        assert_eq!(place(3, 0), Some(Position { partition: 3, offset: 0 }));
        assert_eq!((place(3, -1), place(3, -1001)), (None, None));
    }
}
