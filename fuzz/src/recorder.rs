//! A log that keeps what is appended until it is asked.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Position, Reader, Record, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};

/// The instant at which everything happens.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_026_400, 0).expect("an instant")
}

/// A record as a reader would get it, at `offset` of partition 0.
pub fn as_read(record: NewRecord, offset: u64) -> Record {
    let NewRecord { topic, key, value, headers, .. } = record;
    let headers = headers.iter().map(|(name, value)| (name, value)).collect();
    Record { topic, partition: 0, offset, timestamp: now(), key, value, headers }
}

/// Keeps what is appended.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<NewRecord>>);

impl Recorder {
    /// What was appended since this was asked last.
    pub fn take(&self) -> Vec<NewRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Log for Recorder {
    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.len() as u64;
        kept.extend(records);
        Ok((first..kept.len() as u64).map(|offset| Position { partition: 0, offset }).collect())
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Ok(vec![])
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        Ok(vec![])
    }

    async fn read(&self, _: &str, _: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Err(LogError::Refused("nothing is read here".into()))
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Refused("nothing is subscribed to here".into()))
    }
}
