//! A broker in memory that goes away, hangs, answers late and refuses, as it is told.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Position, Reader, Subscription, SubscriptionSpec, TopicInfo,
    TopicSpec,
};
use tokio::sync::{oneshot, watch};

/// What the broker does with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Up,
    /// Says that it cannot be reached.
    Down,
    /// Takes it and says that it cannot be reached.
    Lying,
    /// Says that we have no rights.
    Forbids,
    /// Says nothing until [`Broker::answer`] is called.
    Hangs,
}

/// How appends end that hung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Taken,
    /// Nobody knows that they were taken.
    TakenUnheard,
    Lost,
}

pub struct Broker {
    mood: watch::Sender<Mood>,
    inside: Mutex<Inside>,
}

/// An append without an answer.
struct Hanging {
    records: Vec<NewRecord>,
    answer: oneshot::Sender<Result<Vec<Position>, LogError>>,
}

#[derive(Default)]
struct Inside {
    records: Vec<NewRecord>,
    hanging: Vec<Hanging>,
    /// Values that are never taken.
    unfit: BTreeSet<Vec<u8>>,
    /// Largest number of records in one append.
    longest: usize,
}

impl Broker {
    pub fn new(mood: Mood) -> Self {
        Self { mood: watch::Sender::new(mood), inside: Mutex::default() }
    }

    pub fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub fn never_takes(&self, value: &[u8]) {
        self.inside().unfit.insert(value.to_vec());
    }

    /// Ends all appends that hang, in the order in which they came.
    pub fn answer(&self, end: End) {
        let hanging = std::mem::take(&mut self.inside().hanging);
        for Hanging { records, answer } in hanging {
            let _ = answer.send(match end {
                End::Taken => self.take(records),
                End::TakenUnheard => self.take(records).and(Err(gone())),
                End::Lost => Err(gone()),
            });
        }
    }

    pub fn hanging(&self) -> usize {
        self.inside().hanging.len()
    }

    pub fn longest(&self) -> usize {
        self.inside().longest
    }

    /// What it has, in order.
    pub fn records(&self) -> Vec<NewRecord> {
        self.inside().records.clone()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// As a broker takes a batch: up to the first record that does not fit.
    fn take(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mut inside = self.inside();
        inside.longest = inside.longest.max(records.len());
        let mut positions = Vec::new();
        for record in records {
            let value = record.value.as_deref().unwrap();
            if inside.unfit.iter().any(|unfit| value.windows(unfit.len()).any(|part| part == unfit)) {
                return Err(LogError::Unfit("append: message too large".into()));
            }
            positions.push(Position { partition: 5, offset: inside.records.len() as u64 });
            inside.records.push(record);
        }
        Ok(positions)
    }
}

fn gone() -> LogError {
    LogError::Unavailable("the broker is gone".into())
}

#[async_trait]
impl Log for Broker {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Up => self.take(records),
            Mood::Down => Err(gone()),
            Mood::Lying => self.take(records).and(Err(gone())),
            Mood::Forbids => Err(LogError::Refused("no rights".into())),
            Mood::Hangs => {
                let (sender, answer) = oneshot::channel();
                self.inside().hanging.push(Hanging { records, answer: sender });
                answer.await.unwrap_or_else(|_| Err(gone()))
            }
        }
    }

    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Ok(vec![])
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        Ok(vec![])
    }

    async fn read(&self, _: &str, _: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Err(LogError::Refused("the spool never reads the broker".into()))
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Refused("the spool is no member of the broker's groups".into()))
    }
}
