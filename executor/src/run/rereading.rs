//! Deferred actions are read again once half of what filled their carrier has ended. In tasks of their own, so that a log that takes its
//! time holds up nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use eventlog::{Log, LogError, Record};
use events::topic;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::{Executor, LOG_RETRY_AFTER, parking::Lot};
use crate::{ExecutorError, conclude};

/// How long the next records are waited for before it is asked again whether there are any.
const RECORDS_WITHIN: Duration = Duration::from_millis(100);
/// Bytes of records after which no more are read in one go.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Offsets at which records were looked for, and which actions; and the records that are there. Both in the order of the log.
pub(super) type Reread = Result<(Vec<(u64, Arc<str>)>, Vec<Record>), LogError>;

#[derive(Default)]
pub(super) struct Rereading {
    /// Lots that have room for what is deferred, and since when.
    due: BTreeMap<Lot, DateTime<Utc>>,
    reading: BTreeMap<Lot, AbortHandle>,
    tasks: JoinSet<Reread>,
    /// After the log did not answer.
    not_before: DateTime<Utc>,
}

impl Rereading {
    /// The next that was read.
    pub(super) async fn next(&mut self) -> Option<Result<(Id, Reread), JoinError>> {
        self.tasks.join_next_with_id().await
    }

    /// The partition is held no more.
    pub(super) fn lose(&mut self, partition: u32) {
        self.due.retain(|(of, _), _| *of != partition);
        self.reading.retain(|(of, _), task| {
            if *of == partition {
                task.abort();
            }
            *of != partition
        });
    }

    /// Lots whose deferred actions are to be taken up, and since when.
    pub(super) fn due(&self) -> impl Iterator<Item = (Lot, DateTime<Utc>)> {
        self.due.iter().map(|(lot, since)| (*lot, *since))
    }
}

impl Executor {
    /// Has the log asked for what there is room for again.
    pub(super) fn reread(&mut self) {
        let now = self.clock.now();
        let mut due = BTreeMap::new();
        for (&partition, held) in &self.held {
            // What a pause holds back takes no carrier's room, but memory.
            if held.held_back() >= self.config.held_back_max {
                continue;
            }
            for (carrier, _) in held.deferrals().lanes() {
                let waiting = carrier.and_then(|carrier| held.waiting().get(&carrier)).copied();
                let waiting = waiting.unwrap_or_default();
                if waiting > self.config.pending_max / 2 {
                    continue;
                }
                let lot = (partition, carrier);
                due.insert(lot, self.rereading.due.get(&lot).copied().unwrap_or(now));
                if now < self.rereading.not_before || self.rereading.reading.contains_key(&lot) {
                    continue;
                }
                let room =
                    self.config.pending_max.saturating_sub(waiting).clamp(1, self.config.batch_max.max(1));
                let wanted = held.deferrals().first(carrier).take(room).cloned().collect();
                let task = self.rereading.tasks.spawn(read(self.log.clone(), partition, wanted));
                self.rereading.reading.insert(lot, task);
            }
        }
        self.rereading.due = due;
    }

    /// Takes up what was read.
    pub(super) async fn take_up(
        &mut self,
        read: Result<(Id, Reread), JoinError>,
    ) -> Result<(), ExecutorError> {
        let (task, read) = match read {
            Ok((task, read)) => (task, Some(read)),
            Err(error) => (error.id(), None),
        };
        // Unknown: for a partition that was lost.
        let lot = self.rereading.reading.iter().find(|(_, reading)| reading.id() == task);
        let Some(lot) = lot.map(|(lot, _)| *lot) else { return Ok(()) };
        self.rereading.reading.remove(&lot);
        match read {
            Some(Ok((wanted, records))) => {
                self.rereading.due.remove(&lot);
                self.accept_deferred(lot, &wanted, &records).await
            }
            Some(Err(error @ LogError::Refused(_))) => Err(ExecutorError::Log(error)),
            failed => {
                let error = failed.and_then(Result::err);
                let error =
                    error.map_or_else(|| "reading broke off inside".to_owned(), |error| error.to_string());
                tracing::warn!(error, partition = lot.0, "deferred actions cannot be read again yet");
                self.rereading.not_before = self.clock.now() + conclude::delta(LOG_RETRY_AFTER);
                Ok(())
            }
        }
    }
}

/// Reads records of a partition of `actions` by their offsets, which are in order and not none. A great many bytes are left for the next
/// time, with the offsets where they stand.
async fn read(log: Arc<dyn Log>, partition: u32, mut wanted: Vec<(u64, Arc<str>)>) -> Reread {
    let first = wanted.first().map_or(0, |(offset, _)| *offset);
    let last = wanted.last().map_or(0, |(offset, _)| *offset);
    let mut reader = log.read(topic::ACTIONS, &[(partition, first)]).await?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    loop {
        let done = reader.at_end().await?;
        let records = reader.next(if done { Duration::ZERO } else { RECORDS_WITHIN }).await?;
        let (is_over, seen) = (records.is_empty() && done, records.last().map(|record| record.offset));
        let is_wanted =
            |record: &Record| wanted.binary_search_by_key(&record.offset, |(offset, _)| *offset).is_ok();
        for record in records.into_iter().filter(is_wanted) {
            bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
            found.push(record);
        }
        if is_over || seen.is_some_and(|seen| seen >= last) {
            return Ok((wanted, found));
        }
        if let Some(seen) = seen.filter(|_| bytes >= BYTES_MAX) {
            wanted.retain(|(offset, _)| *offset <= seen);
            return Ok((wanted, found));
        }
    }
}
