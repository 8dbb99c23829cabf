//! One step: one transaction, and what is done about each failure in it.
//!
//! | failure | then |
//! |---|---|
//! | retriable, at any call | the same call again, until the step's time is over |
//! | the commit call timed out | the same call again: whether it took place is not known, and an abort would guess |
//! | anything else before the commit call | the transaction is aborted as well as it goes, so that readers need not wait for its timeout |
//! | anything else at the commit call | nothing more is said to the transaction |
//!
//! In every case but success the member then drops its clients and all it holds. There is no other way out.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::Producer as _,
    types::RDKafkaErrorCode as Code,
};

use super::{
    cursors::Place,
    failure::classify,
    producer::{Producer, send},
};
use crate::{LogError, NewRecord};

/// How long one call may take before it is made again.
const CALL: Duration = Duration::from_secs(5);
/// How long an abort is tried.
const ABORT: Duration = Duration::from_secs(2);
/// Between two tries of a call that came back at once, or a queue that is full.
const PAUSE: Duration = Duration::from_millis(10);

/// What a step does.
pub(super) struct Transaction<'a> {
    /// Records, and the partition of each.
    pub(super) records: &'a [NewRecord],
    pub(super) partitions: &'a [u32],
    /// Offsets that the group has then.
    pub(super) offsets: &'a [(Place, u64)],
    /// The generation in which the partitions were taken over.
    pub(super) generation: Option<&'a ConsumerGroupMetadata>,
}

impl Transaction<'_> {
    /// Makes the step, trying until `give_up`. Blocks.
    pub(super) fn run(&self, producer: &Producer, give_up: Instant) -> Result<(), LogError> {
        if let Err(error) = self.fill(producer, give_up) {
            if producer.client().fatal_error().is_none()
                && let Err(also) = producer.abort_transaction(ABORT)
            {
                tracing::debug!(error = %also, "the abort of a failed step did not succeed");
            }
            return Err(error);
        }
        insist(give_up, || producer.commit_transaction(CALL)).map_err(|error| lost("commit", &error))
    }

    /// Everything before the commit call.
    fn fill(&self, producer: &Producer, give_up: Instant) -> Result<(), LogError> {
        insist(give_up, || producer.begin_transaction()).map_err(|error| lost("begin", &error))?;
        let mut receipts = Vec::with_capacity(self.records.len());
        for (record, partition) in self.records.iter().zip(self.partitions) {
            let receipt = loop {
                match send(producer, record, *partition) {
                    Err(KafkaError::MessageProduction(Code::QueueFull)) if Instant::now() < give_up => {
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
        let (Some(generation), false) = (self.generation, self.offsets.is_empty()) else { return Ok(()) };
        let mut offsets = TopicPartitionList::with_capacity(self.offsets.len());
        for ((topic, partition), offset) in self.offsets {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            offsets
                .add_partition_offset(topic, *partition as i32, offset)
                .map_err(|error| lost("offset list", &error))?;
        }
        insist(give_up, || producer.send_offsets_to_transaction(&offsets, generation, CALL))
            .map_err(|error| lost("offsets", &error))
    }
}

/// Calls again while the error says that the same call may succeed.
fn insist(give_up: Instant, mut call: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < give_up => {
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
    match classify(&format!("step: append to {}", record.topic), error) {
        LogError::Refused(why) => LogError::Refused(why),
        _ => lost(&format!("append to {}", record.topic), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_retriable_errors_are_tried_again() {
        let mut calls = 0;
        let later = Instant::now() + Duration::from_secs(60);
        let failed = insist(later, || {
            calls += 1;
            Err(KafkaError::Flush(Code::Fatal))
        });
        assert!(failed.is_err());
        assert_eq!(calls, 1);
    }
}
