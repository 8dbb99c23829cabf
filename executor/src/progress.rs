//! What readiness and the admin API may know of a running executor.

use std::{
    collections::BTreeMap,
    sync::{
        RwLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use chrono::{DateTime, Utc};

/// How far the executor is; written by its loop, read by anyone. Instants are the clock's, in milliseconds since the
/// Unix epoch; 0 means never.
#[derive(Debug, Default)]
pub struct Progress {
    moved_at: AtomicI64,
    partitions: AtomicU32,
    pending: AtomicU64,
    held_back: AtomicU64,
    paused: RwLock<BTreeMap<String, DateTime<Utc>>>,
}

impl Progress {
    /// When a step was last committed, or a poll found nothing to do; `None` before the first time. After a step that
    /// failed, a quiet poll counts only once it is known that steps can be made again.
    pub fn moved_at(&self) -> Option<DateTime<Utc>> {
        match self.moved_at.load(Relaxed) {
            0 => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    /// How many partitions are held.
    pub fn partitions(&self) -> u32 {
        self.partitions.load(Relaxed)
    }

    /// How many actions are pending in them, running and parked.
    pub fn pending(&self) -> u64 {
        self.pending.load(Relaxed)
    }

    /// How many of them wait because their project is paused.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Relaxed)
    }

    /// Which projects are paused in them, and since when; under the empty name all projects.
    pub fn paused(&self) -> BTreeMap<String, DateTime<Utc>> {
        self.paused.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn moved(&self, now: DateTime<Utc>) {
        self.moved_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn holds(&self, partitions: usize, pending: usize, held_back: usize) {
        self.held_back.store(held_back as u64, Relaxed);
        self.partitions.store(u32::try_from(partitions).unwrap_or(u32::MAX), Relaxed);
        self.pending.store(pending as u64, Relaxed);
    }

    /// How many names there are.
    pub(crate) fn pauses<'p>(&self, paused: impl Iterator<Item = (&'p str, DateTime<Utc>)>) -> usize {
        let paused: BTreeMap<_, _> = paused.map(|(project, at)| (project.to_owned(), at)).collect();
        let count = paused.len();
        // A panic while the lock was held cannot leave the map half written: it is replaced whole.
        if *self.paused.read().unwrap_or_else(|poisoned| poisoned.into_inner()) != paused {
            *self.paused.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = paused;
        }
        count
    }
}
