//! A step as it is put together: what it decides for, what it keeps, what it says.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventlog::{NewRecord, Step};
use events::{Message, topic};

use crate::{ExecutorError, conclude::Ended, state::Entry};

/// A step as it is put together.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    partitions: BTreeSet<u32>,
    append: Vec<NewRecord>,
}

impl Draft {
    /// The step decides for this partition.
    pub(crate) fn decide_for(&mut self, partition: u32) {
        self.partitions.insert(partition);
    }

    /// Keeps what is known of an action.
    pub(crate) fn keep(&mut self, partition: u32, id: &str, entry: &Entry) -> Result<(), ExecutorError> {
        let value = serde_json::to_vec(entry).map_err(ExecutorError::Write)?;
        self.state(partition, id, Some(value.into()));
        Ok(())
    }

    /// Forgets an action.
    pub(crate) fn forget(&mut self, partition: u32, id: &str) {
        self.state(partition, id, None);
    }

    fn state(&mut self, partition: u32, id: &str, value: Option<Bytes>) {
        self.decide_for(partition);
        self.append.push(NewRecord {
            topic: topic::EXECUTOR_STATE.to_owned(),
            partition: Some(partition),
            key: Bytes::copy_from_slice(id.as_bytes()),
            value,
            headers: Vec::new(),
        });
    }

    /// Says something on a topic; its key chooses the partition.
    pub(crate) fn say(&mut self, message: serde_json::Result<Message>) -> Result<(), ExecutorError> {
        let message = message.map_err(ExecutorError::Write)?;
        self.append.push(NewRecord {
            topic: message.topic.to_owned(),
            partition: None,
            key: message.key.into_bytes().into(),
            value: Some(message.value.into()),
            headers: message.headers,
        });
        Ok(())
    }

    /// Ends an action: its outcome, its dead letter if it has one, and the mark that it is done.
    pub(crate) fn end(
        &mut self,
        partition: u32,
        id: &Arc<str>,
        ended: &Ended,
        finished_at: DateTime<Utc>,
    ) -> Result<(), ExecutorError> {
        self.keep(partition, id, &Entry::done(finished_at, &ended.mark))?;
        self.say(ended.outcome.to_message(ended.cause.as_deref()))?;
        match &ended.dead_letter {
            Some(letter) => self.say(letter.to_message()),
            None => Ok(()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn into_step(self) -> Step {
        Step { partitions: self.partitions.into_iter().collect(), append: self.append }
    }
}
