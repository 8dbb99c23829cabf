//! Which policy held from which offsets on. The texts stay on the log: one is read when it is needed.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use eventlog::Log;
use events::{PolicyChange, topic};
use serde::Deserialize;

use super::READ_WAIT;
use crate::{commands::read_all, error::Failure};

/// What the topic `policies` says, without the policies' texts.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// By partition of `issues`, oldest first.
    partitions: BTreeMap<u32, Vec<Change>>,
    /// For each policy one place where its text stands.
    texts: HashMap<String, Place>,
}

/// From an offset on, a partition was decided by a policy.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// SHA-256 of the policy's text.
    pub(crate) hash: String,
    /// The first offset of `issues` that it decided.
    pub(crate) first: u64,
    /// When the change was made.
    pub(crate) at: DateTime<Utc>,
    /// The partition's own time then: timers due by then were decided before. None: nothing had been.
    pub(crate) clock: Option<DateTime<Utc>>,
    /// Whether it was put on trial, beside the one that held (`--shadow`).
    pub(crate) on_trial: bool,
    place: Place,
}

/// Where a record of `policies` stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition: u32,
    offset: u64,
}

/// A record of `policies` without the text.
#[derive(Deserialize)]
struct Head {
    partition: u32,
    policy_hash: String,
    offsets: BTreeMap<String, u64>,
    at: DateTime<Utc>,
    clock: Option<DateTime<Utc>>,
    #[serde(default)]
    on_trial: bool,
}

/// Reads the topic `policies`.
pub(crate) async fn policies(log: &dyn Log) -> Result<Policies, Failure> {
    let mut policies = Policies::default();
    let mut broken = None;
    read_all(log, topic::POLICIES, |record| {
        let place = Place { partition: record.partition, offset: record.offset };
        let Ok(head) = serde_json::from_slice::<Head>(record.value.as_deref().unwrap_or_default()) else {
            _ = broken.get_or_insert(place);
            return;
        };
        let Head { partition, policy_hash: hash, offsets, at, clock, on_trial } = head;
        let first = offsets.get(topic::ISSUES).copied().unwrap_or_default();
        policies.texts.entry(hash.clone()).or_insert(place);
        let change = Change { hash, first, at, clock, on_trial, place };
        policies.partitions.entry(partition).or_default().push(change);
    })
    .await?;
    match broken {
        None => Ok(policies),
        Some(place) => Err(unreadable(place)),
    }
}

impl Policies {
    /// What took effect in a partition of `issues`, oldest first.
    pub(crate) fn of(&self, partition: u32) -> &[Change] {
        self.partitions.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// The hash of the policy that took effect last, in any partition; trials aside.
    pub(crate) fn last(&self) -> Option<&str> {
        let changes = self.partitions.values().flatten().filter(|change| !change.on_trial);
        changes.max_by_key(|change| change.at).map(|change| change.hash.as_str())
    }

    /// The text of the policy of that hash, held or on trial; none where it is not on the log.
    pub(crate) async fn text(&self, log: &dyn Log, hash: &str) -> Result<Option<String>, Failure> {
        match self.texts.get(hash) {
            Some(place) => place.text(log, hash).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Change {
    /// The policy's text; it fails where that is not the one whose hash was recorded.
    pub(crate) async fn text(&self, log: &dyn Log) -> Result<String, Failure> {
        self.place.text(log, &self.hash).await
    }
}

impl Place {
    async fn text(self, log: &dyn Log, hash: &str) -> Result<String, Failure> {
        let mut reader = log.read(topic::POLICIES, &[(self.partition, self.offset)]).await?;
        loop {
            let records = reader.next(READ_WAIT).await?;
            let change = match records.first() {
                Some(record) if record.offset == self.offset => {
                    serde_json::from_slice::<PolicyChange>(record.value.as_deref().unwrap_or_default())
                }
                None if !reader.at_end().await? => continue,
                _ => return Err(unreadable(self)),
            };
            let text = change.map_err(|_| unreadable(self))?.policy;
            if events::id::sha256(text.as_bytes()) != hash {
                let Self { partition, offset } = self;
                return Err(Failure::failed(format!(
                    "{} partition {partition} offset {offset}: the policy's text was changed after it was written (it is not that of \
                     its policy_hash); restore the log from a backup",
                    topic::POLICIES
                )));
            }
            return Ok(text);
        }
    }
}

fn unreadable(Place { partition, offset }: Place) -> Failure {
    Failure::failed(format!(
        "{} partition {partition} offset {offset} cannot be read; was it written by another version of breakdown?",
        topic::POLICIES
    ))
}
