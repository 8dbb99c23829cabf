//! What one step will write.

use std::collections::{BTreeMap, BTreeSet};

use eventlog::{NewRecord, Step};
use events::{Message, topic};
use policy::Key;

use crate::{course::Lane, partition::Partition};

/// What one step will write, gathered while a batch of inputs is folded.
#[derive(Default)]
pub(crate) struct Batch {
    messages: Vec<NewRecord>,
    /// Changed entries. Each is written once, as it is after the whole batch.
    changed: BTreeSet<(u32, Lane, Key)>,
    /// Partitions that the step decides for.
    partitions: BTreeSet<u32>,
    /// Projects whose risk changed.
    projects: BTreeSet<(u32, String)>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn decides_for(&mut self, partition: u32) {
        self.partitions.insert(partition);
    }

    pub(crate) fn changes(&mut self, partition: u32, lane: Lane, keys: impl IntoIterator<Item = Key>) {
        self.changed.extend(keys.into_iter().map(|key| (partition, lane, key)));
    }

    pub(crate) fn risk_changes(&mut self, partition: u32, project: &str) {
        self.projects.insert((partition, project.to_owned()));
    }

    pub(crate) fn says(&mut self, message: Message) {
        self.messages.push(NewRecord {
            topic: message.topic.into(),
            partition: None,
            key: message.key.into(),
            value: Some(message.value.into()),
            headers: message.headers,
        });
    }

    /// The step, and the projects whose risk it changes.
    pub(crate) fn into_step(self, partitions: &BTreeMap<u32, Partition>) -> (Step, BTreeSet<(u32, String)>) {
        let mut append = self.messages;
        for (partition, lane, key) in &self.changed {
            let Some(held) = partitions.get(partition) else { continue };
            let (key, value) = held.entry(*lane, key);
            append.push(NewRecord {
                topic: topic::GATEWAY_STATE.into(),
                partition: Some(*partition),
                key: key.into(),
                value: value.map(Into::into),
                headers: Vec::new(),
            });
        }
        (Step { partitions: self.partitions.into_iter().collect(), append }, self.projects)
    }
}
