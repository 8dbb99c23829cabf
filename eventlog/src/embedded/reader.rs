//! Reading one topic outside any group.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::watch, time::timeout_at};

use super::{
    Shared,
    fetch::{self, Batch, Cursor},
};
use crate::{LogError, Reader, Record};

/// How many records one batch holds at most; its bytes are bounded as well.
const BATCH_RECORDS: usize = 1_000;

pub(super) struct EmbeddedReader {
    log: Arc<Shared>,
    cursors: Vec<Cursor>,
    /// The cursor that reads first.
    first: usize,
    changes: watch::Receiver<u64>,
    /// Everything up to this count of changes has been read.
    drained_at: Option<u64>,
}

impl EmbeddedReader {
    pub(super) fn new(log: Arc<Shared>, cursors: Vec<Cursor>) -> Self {
        let changes = log.changes.subscribe();
        Self { log, cursors, first: 0, changes, drained_at: None }
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Vec<Record>, LogError> {
        let deadline = super::deadline(max_wait);
        let _waiting = self.log.changes.waiting();
        loop {
            let now = *self.changes.borrow_and_update();
            if self.drained_at != Some(now) {
                let (cursors, first) = (self.cursors.clone(), self.first);
                let batch = move |connection: &_| fetch::batch(connection, cursors, first, BATCH_RECORDS);
                let Batch { records, cursors, drained } =
                    self.log.readers.run("cannot read the topic", batch).await?;
                self.cursors = cursors;
                self.first = self.first.wrapping_add(1) % self.cursors.len().max(1);
                self.drained_at = drained.then_some(now);
                if !records.is_empty() {
                    return Ok(records);
                }
                if !drained {
                    continue;
                }
            }
            if timeout_at(deadline, self.changes.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        let cursors = self.cursors.clone();
        let more = move |connection: &_| {
            cursors.iter().try_fold(false, |more, cursor| Ok(more || fetch::has_more(connection, cursor)?))
        };
        let more = self.log.readers.run("cannot read the topic", more).await?;
        if more {
            // Whoever asks on is to be given it at once, also when the watcher has not seen it yet.
            self.drained_at = None;
        }
        Ok(!more)
    }
}
