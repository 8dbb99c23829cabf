//! How far a sweep has come, on the topic `sweeps`, under the sweep's name.
//!
//! Everybody may write it: two sweeps at once, or one that goes back, find what was found before, and the log tells that it is
//! there. So nobody has to be elected; whoever sees that another has just swept leaves it at that.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Log, LogError, NewRecord, Record};
use events::topic;
use serde::{Deserialize, Serialize};

/// How long is waited for records at a time.
const WAIT: Duration = Duration::from_millis(200);

/// By how much a cursor may be ahead and its offsets still be right: sweeps overlap, and clocks may differ.
const AHEAD: TimeDelta = TimeDelta::minutes(10);

/// How far a sweep has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// All that happened before, by the provider's clock, is on the log or was looked at.
    pub(super) swept_to: DateTime<Utc>,
    /// When the last whole sweep ended, by ours.
    pub(super) swept_at: DateTime<Utc>,
    /// When the first one began, by ours.
    pub(super) began_at: DateTime<Utc>,
    /// By topic and partition: what comes of later happenings stands at this offset or later.
    pub(super) offsets: BTreeMap<String, Vec<u64>>,
}

impl Cursor {
    /// Reads the newest one under `name`, written under a clock that may have been ahead of `now`.
    pub(super) async fn load(
        log: &dyn Log,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, LogError> {
        let mut newest: Option<Self> = None;
        read_to_end(log, topic::SWEEPS, &[], DateTime::UNIX_EPOCH, |record| {
            if record.key == name.as_bytes() {
                newest = record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
            }
        })
        .await?;
        Ok(newest.map(|cursor| cursor.until(now)))
    }

    /// The same, as far as it can have come by `now`: what is yet to happen was not looked at.
    fn until(mut self, now: DateTime<Utc>) -> Self {
        if self.swept_to > now + AHEAD {
            self.offsets.clear();
        }
        self.swept_to = self.swept_to.min(now);
        self.began_at = self.began_at.min(now);
        self
    }

    /// Writes it under `name`.
    pub(super) async fn save(&self, log: &dyn Log, name: &str, now: DateTime<Utc>) -> Result<(), LogError> {
        let value = serde_json::to_vec(&self.clone().until(now))
            .map_err(|error| LogError::Unfit(format!("a sweep's cursor cannot be written: {error}")))?;
        let record = NewRecord {
            topic: topic::SWEEPS.to_owned(),
            partition: None,
            key: Bytes::copy_from_slice(name.as_bytes()),
            value: Some(value.into()),
            headers: vec![],
        };
        log.append(vec![record]).await.map(drop)
    }

    /// Reads what the log says since the happenings that are yet to be swept, `topic` by `topic`, and remembers from where to read when
    /// nothing before `until` matters any more.
    pub(super) async fn read_history(
        &mut self,
        log: &dyn Log,
        topics: &[&str],
        until: DateTime<Utc>,
        mut each: impl FnMut(&Record),
    ) -> Result<(), LogError> {
        let mut offsets = BTreeMap::new();
        for topic in topics {
            let from = self.offsets.get(*topic).map(Vec::as_slice).unwrap_or_default();
            offsets.insert((*topic).to_owned(), read_to_end(log, topic, from, until, &mut each).await?);
        }
        self.offsets = offsets;
        Ok(())
    }

    /// Whether another process has swept so lately that it need not be done again.
    pub(super) fn is_fresh(&self, now: DateTime<Utc>, every: Duration) -> bool {
        let every = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
        // A clock that is ahead must not keep everybody from sweeping.
        self.swept_at <= now + every && now < self.swept_at + every * 9 / 10
    }
}

/// Gives `each` record of `topic`, from the given offset of each partition (else the first kept) to the end as it is now. Returns
/// from where to read to find all that came at `until` or later.
async fn read_to_end(
    log: &dyn Log,
    topic: &str,
    from: &[u64],
    until: DateTime<Utc>,
    mut each: impl FnMut(&Record),
) -> Result<Vec<u64>, LogError> {
    let topics = log.topics().await?;
    let Some(info) = topics.iter().find(|info| info.name == topic) else { return Ok(vec![]) };
    // A topic that was made anew ends before where its predecessor was read to.
    let mut next: Vec<u64> = (info.partitions.iter().enumerate())
        .map(|(partition, bounds)| from.get(partition).copied().unwrap_or(0).clamp(bounds.first, bounds.end))
        .collect();
    let pairs: Vec<_> = (0..).zip(next.iter().copied()).collect();
    let mut reader = log.read(topic, &pairs).await?;
    while !reader.at_end().await? {
        for record in &reader.next(WAIT).await? {
            each(record);
            if let Some(next) = next.get_mut(record.partition as usize).filter(|_| record.timestamp < until) {
                *next = record.offset + 1;
            }
        }
    }
    Ok(next)
}
