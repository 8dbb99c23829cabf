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
    /// Whether there is something in it that is a policy's on trial.
    of_shadow: bool,
    /// Whether it begins a trial.
    begins: bool,
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

    /// Something of it is there for the policy on trial only.
    pub(crate) fn tries_out(&mut self) {
        self.of_shadow = true;
    }

    /// It says that a trial begins: of the policy on trial, and nothing that it has got done yet.
    pub(crate) fn begins_trial(&mut self, message: Message) {
        self.tries_out();
        self.begins = true;
        self.says(message);
    }

    /// Whether it begins a trial.
    pub(crate) fn is_beginning(&self) -> bool {
        self.begins
    }

    /// Whether it would be another without the policy on trial.
    pub(crate) fn is_of_shadow(&self) -> bool {
        self.of_shadow
    }

    pub(crate) fn changes(&mut self, partition: u32, lane: Lane, keys: impl IntoIterator<Item = Key>) {
        self.of_shadow |= lane == Lane::Shadow;
        let kept = keys.into_iter().filter(|key| lane.keeps(key.kind));
        self.changed.extend(kept.map(|key| (partition, lane, key)));
    }

    /// Puts a record on `gateway-state`: no value deletes the key.
    pub(crate) fn keeps(&mut self, partition: u32, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.decides_for(partition);
        self.messages.push(state_record(partition, key, value));
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
            append.push(state_record(*partition, key, value));
        }
        (Step { partitions: self.partitions.into_iter().collect(), append }, self.projects)
    }
}

fn state_record(partition: u32, key: Vec<u8>, value: Option<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: topic::GATEWAY_STATE.into(),
        partition: Some(partition),
        key: key.into(),
        value: value.map(Into::into),
        headers: Vec::new(),
    }
}
