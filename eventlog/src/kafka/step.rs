//! One step: one transaction, and what is done about each failure in it.
//!
//! | failure | then |
//! |---|---|
//! | retriable, at any call | the same call again, until the step's time is over |
//! | the commit call timed out | the same call again: whether it took place is not known, and an abort would guess |
//! | anything else before the commit call | the transaction is aborted as well as it goes, so that readers need not wait for its timeout |
//! | anything else at the commit call | nothing more is said to the transaction |
//! | a call that does not come back | it is left behind |
//!
//! In every case but success the member then drops its clients and all it holds. There is no other way out.
//!
//! librdkafka's timeouts do not bound its calls. One that is known never to come back: `send_offsets_to_transaction`, when the
//! group's coordinator was missing from the brokers' metadata since the last step, as a broker is that has just come back. The
//! client then waits, without the timeout it was given, for a connection that it has given up itself
//! (confluentinc/librdkafka#5511 and #5456, as of 2.14.2). So every call is made on a thread that can be left behind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::Producer as _,
    types::RDKafkaErrorCode as Code,
};
use tokio::sync::oneshot;

use super::{
    blocking::within,
    cursors::Place,
    failure::classify_known,
    producer::{Producer, Receipt, send},
};
use crate::{LogError, NewRecord};

/// How long one call may take before it is made again.
const CALL: Duration = Duration::from_secs(5);
/// How long an abort is tried.
const ABORT: Duration = Duration::from_secs(2);
/// Between two tries of a call that came back at once, or a queue that is full.
const PAUSE: Duration = Duration::from_millis(10);
/// By how much a call that keeps its timeout is back before it would be left behind.
const SPARE: Duration = Duration::from_secs(1);

/// What a step needs of a transactional producer. Any call may block for ever.
pub(super) trait Client: Send + Sync + 'static {
    fn begin(&self) -> KafkaResult<()>;
    fn send(&self, record: &NewRecord, partition: u32) -> Result<oneshot::Receiver<Receipt>, KafkaError>;
    fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        generation: &ConsumerGroupMetadata,
        timeout: Duration,
    ) -> KafkaResult<()>;
    fn commit(&self, timeout: Duration) -> KafkaResult<()>;
    fn abort(&self, timeout: Duration) -> KafkaResult<()>;
}

impl Client for Producer {
    fn begin(&self) -> KafkaResult<()> {
        self.begin_transaction()
    }

    fn send(&self, record: &NewRecord, partition: u32) -> Result<oneshot::Receiver<Receipt>, KafkaError> {
        send(self, record, partition)
    }

    fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        generation: &ConsumerGroupMetadata,
        timeout: Duration,
    ) -> KafkaResult<()> {
        self.send_offsets_to_transaction(offsets, generation, timeout)
    }

    fn commit(&self, timeout: Duration) -> KafkaResult<()> {
        self.commit_transaction(timeout)
    }

    fn abort(&self, timeout: Duration) -> KafkaResult<()> {
        match self.client().fatal_error() {
            None => self.abort_transaction(timeout),
            Some((code, _)) => Err(KafkaError::Global(code)),
        }
    }
}

/// When each part of a step is over, whatever the client does.
#[derive(Clone, Copy)]
pub(super) struct Until {
    /// Everything before the commit call.
    pub(super) filled: Instant,
    /// The commit call.
    pub(super) committed: Instant,
}

/// What a step does.
pub(super) struct Transaction {
    /// Records, and the partition of each.
    pub(super) records: Vec<NewRecord>,
    pub(super) partitions: Vec<u32>,
    /// Offsets that the group has then.
    pub(super) offsets: Vec<(Place, u64)>,
    /// The generation in which the partitions were taken over.
    pub(super) generation: Arc<ConsumerGroupMetadata>,
}

impl Transaction {
    /// Makes the step. Blocks until `until` at most, and for as long as an abort is tried.
    pub(super) fn run<C: Client>(self, client: &Arc<C>, until: Until) -> Result<(), LogError> {
        let filled = timely("step", client, until.filled, move |client, by| self.fill(client, by));
        if let Err(error) = filled {
            let by = Instant::now() + ABORT + SPARE;
            // Also of a step that was left behind: its records are given up, so that whatever waits for their receipts ends.
            let aborted = timely("abort", client, by, |client, _| {
                client.abort(ABORT).map_err(|error| lost("abort", &error))
            });
            if let Err(also) = aborted {
                tracing::debug!(error = %also, "the abort of a failed step did not succeed");
            }
            return Err(error);
        }
        timely("commit", client, until.committed, |client, by| {
            insist(by, |left| client.commit(left)).map_err(|error| lost("commit", &error))
        })
    }

    /// Everything before the commit call.
    fn fill(&self, client: &impl Client, by: Instant) -> Result<(), LogError> {
        insist(by, |_| client.begin()).map_err(|error| lost("begin", &error))?;
        let mut receipts = Vec::with_capacity(self.records.len());
        for (record, partition) in self.records.iter().zip(&self.partitions) {
            let receipt = loop {
                match client.send(record, *partition) {
                    Err(KafkaError::MessageProduction(Code::QueueFull)) if Instant::now() < by => {
                        std::thread::sleep(PAUSE);
                    }
                    other => break other.map_err(|error| of_record(record, &error))?,
                }
            };
            receipts.push(receipt);
        }
        // The commit call would wait for them too, but looks only every 100 ms.
        for (record, receipt) in self.records.iter().zip(receipts) {
            let receipt = receipt.blocking_recv().unwrap_or(Err(KafkaError::Canceled));
            receipt.map_err(|error| of_record(record, &error))?;
        }
        if self.offsets.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(self.offsets.len());
        for ((topic, partition), offset) in &self.offsets {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            offsets
                .add_partition_offset(topic, *partition as i32, offset)
                .map_err(|error| lost("offset list", &error))?;
        }
        insist(by, |left| client.send_offsets(&offsets, &self.generation, left))
            .map_err(|error| lost("offsets", &error))
    }
}

/// Makes calls that are to be over a little before `until`, and are left behind when they are not over then.
fn timely<C: Client>(
    what: &'static str,
    client: &Arc<C>,
    until: Instant,
    calls: impl FnOnce(&C, Instant) -> Result<(), LogError> + Send + 'static,
) -> Result<(), LogError> {
    let (client, by) = (Arc::clone(client), until.checked_sub(SPARE).unwrap_or(until));
    within(what, until, move || calls(&client, by)).unwrap_or_else(|| {
        tracing::warn!(what, "the Kafka client does not come back and is left behind");
        Err(LogError::Lost(format!("the {what} does not come back; the member rejoins and restores")))
    })
}

/// Calls again while the error says that the same call may succeed. The call is told how long it may take.
fn insist(by: Instant, mut call: impl FnMut(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match call(by.saturating_duration_since(Instant::now()).clamp(PAUSE, CALL)) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < by => {
                tracing::debug!(%error, "a call of a step is made again");
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn lost(call: &str, error: &KafkaError) -> LogError {
    LogError::Lost(format!("the step failed ({call}: {error}); the member rejoins and restores"))
}

/// A record that can never be written is refused as such; the partitions are lost all the same.
fn of_record(record: &NewRecord, error: &KafkaError) -> LogError {
    match classify_known(&format!("step: append to {}", record.topic), error) {
        never @ (LogError::Refused(_) | LogError::Unfit(_)) => never,
        _ => lost(&format!("append to {}", record.topic), error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rdkafka::{
        consumer::{BaseConsumer, Consumer},
        mocking::{MockCluster, MockCoordinator},
    };

    use super::*;
    use crate::kafka::{KafkaConfig, producer::Receipts};

    /// What a client does when it is called.
    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        All,
        /// Takes records, and says nothing of them any more.
        NoReceipts,
        /// Does not come back from the call for offsets, until it is let go.
        NoOffsets,
        /// Refuses each record with this.
        Refuses(Code),
    }

    struct Fake {
        does: Does,
        calls: Mutex<Vec<&'static str>>,
        waiting: Mutex<Vec<oneshot::Sender<Receipt>>>,
        hung: Mutex<()>,
    }

    impl Fake {
        fn new(does: Does) -> Arc<Self> {
            Arc::new(Self {
                does,
                calls: Mutex::default(),
                waiting: Mutex::default(),
                hung: Mutex::default(),
            })
        }

        fn called(&self, what: &'static str) -> KafkaResult<()> {
            self.calls.lock().unwrap().push(what);
            Ok(())
        }
    }

    impl Client for Fake {
        fn begin(&self) -> KafkaResult<()> {
            self.called("begin")
        }

        fn send(&self, _: &NewRecord, _: u32) -> Result<oneshot::Receiver<Receipt>, KafkaError> {
            self.called("send")?;
            let (sender, receiver) = oneshot::channel();
            match self.does {
                Does::NoReceipts => self.waiting.lock().unwrap().push(sender),
                Does::Refuses(code) => return Err(KafkaError::MessageProduction(code)),
                _ => sender.send(Ok(None)).unwrap(),
            }
            Ok(receiver)
        }

        fn send_offsets(
            &self,
            offsets: &TopicPartitionList,
            _: &ConsumerGroupMetadata,
            _: Duration,
        ) -> KafkaResult<()> {
            assert_eq!(offsets.count(), 1);
            self.called("offsets")?;
            drop(self.hung.lock().unwrap());
            Ok(())
        }

        fn commit(&self, _: Duration) -> KafkaResult<()> {
            self.called("commit")
        }

        fn abort(&self, _: Duration) -> KafkaResult<()> {
            self.called("abort")
        }
    }

    fn transaction() -> Transaction {
        // Nothing listens on the discard port: this consumer is in no generation.
        let consumer: BaseConsumer = KafkaConfig::new("127.0.0.1:9").member("g").create().unwrap();
        Transaction {
            records: vec![NewRecord {
                topic: "out".into(),
                partition: Some(0),
                key: "key".into(),
                value: Some("value".into()),
                headers: Vec::new(),
            }],
            partitions: vec![0],
            offsets: vec![(("in".to_owned(), 0), 7)],
            generation: Arc::new(consumer.group_metadata().unwrap()),
        }
    }

    fn at(instant: Instant) -> Until {
        Until { filled: instant, committed: instant }
    }

    fn in_a_minute() -> Until {
        at(Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn a_step_calls_in_this_order() {
        let fake = Fake::new(Does::All);
        transaction().run(&fake, in_a_minute()).unwrap();
        assert_eq!(*fake.calls.lock().unwrap(), ["begin", "send", "offsets", "commit"]);
    }

    #[test]
    fn a_receipt_that_never_comes_is_waited_for_until_the_step_is_over() {
        let fake = Fake::new(Does::NoReceipts);
        let made = transaction().run(&fake, at(Instant::now()));
        assert!(matches!(&made, Err(LogError::Lost(why)) if why.contains("does not come back")), "{made:?}");
        assert!(fake.calls.lock().unwrap().contains(&"abort"));
    }

    #[test]
    fn what_was_left_behind_commits_nothing_when_it_comes_back() {
        let fake = Fake::new(Does::NoOffsets);
        let hung = fake.hung.lock().unwrap();
        let made = transaction().run(&fake, at(Instant::now()));
        assert!(matches!(made, Err(LogError::Lost(_))), "{made:?}");
        drop(hung);
        // Its thread has let go of the client: it is over.
        while Arc::strong_count(&fake) > 1 {
            std::thread::yield_now();
        }
        assert!(!fake.calls.lock().unwrap().contains(&"commit"));
    }

    /// What the fake stands for: librdkafka waits for its group's coordinator without the timeout it is given.
    #[test]
    fn a_coordinator_that_stays_away_holds_up_no_step_for_ever() {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic("out", 1, 1).unwrap();
        cluster.partition_leader("out", 0, Some(1)).unwrap();
        cluster.coordinator(MockCoordinator::Transaction("t".to_owned()), 1).unwrap();
        cluster.coordinator(MockCoordinator::Group("g".to_owned()), 2).unwrap();
        cluster.broker_down(2).unwrap();
        let config = KafkaConfig::new(cluster.bootstrap_servers());
        let producer = Arc::new(config.stepper("t").create_with_context::<_, Producer>(Receipts).unwrap());
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        let until = Until { filled: Instant::now() + 3 * SPARE, ..in_a_minute() };
        let made = transaction().run(&producer, until);
        assert!(matches!(&made, Err(LogError::Lost(why)) if why.contains("does not come back")), "{made:?}");
        cluster.broker_up(2).unwrap();
        // Then also what was left behind ends.
        let give_up = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&producer) > 1 {
            assert!(Instant::now() < give_up, "the thread that was left behind is still there");
            std::thread::sleep(PAUSE);
        }
    }

    #[test]
    fn a_record_that_no_log_takes_is_not_a_loss_to_come_back_from() {
        let fake = Fake::new(Does::Refuses(Code::MessageSizeTooLarge));
        let made = transaction().run(&fake, in_a_minute());
        assert!(matches!(made, Err(LogError::Unfit(_))), "{made:?}");
        assert_eq!(*fake.calls.lock().unwrap(), ["begin", "send", "abort"]);
    }

    #[test]
    fn only_retriable_errors_are_tried_again() {
        let mut calls = 0;
        let failed = insist(in_a_minute().filled, |_| {
            calls += 1;
            Err(KafkaError::Flush(Code::Fatal))
        });
        assert!(failed.is_err());
        assert_eq!(calls, 1);
    }
}
