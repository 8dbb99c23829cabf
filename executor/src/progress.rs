//! What readiness and the admin API may know of a running executor.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use chrono::{DateTime, Utc};

/// How far the executor is; written by its loop, read by anyone. Instants are the clock's, in milliseconds since the
/// Unix epoch; 0 means never.
#[derive(Debug, Default)]
pub struct Progress {
    polled_at: AtomicI64,
    stepped_at: AtomicI64,
    partitions: AtomicU32,
    pending: AtomicU64,
}

impl Progress {
    /// When the log last answered a poll, be it with nothing.
    pub fn polled_at(&self) -> Option<DateTime<Utc>> {
        instant(&self.polled_at)
    }

    /// When the last step was committed.
    pub fn stepped_at(&self) -> Option<DateTime<Utc>> {
        instant(&self.stepped_at)
    }

    /// How many partitions are held.
    pub fn partitions(&self) -> u32 {
        self.partitions.load(Relaxed)
    }

    /// How many actions are pending in them, running and parked.
    pub fn pending(&self) -> u64 {
        self.pending.load(Relaxed)
    }

    pub(crate) fn polled(&self, now: DateTime<Utc>) {
        self.polled_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn stepped(&self, now: DateTime<Utc>) {
        self.stepped_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn holds(&self, partitions: usize, pending: usize) {
        self.partitions.store(u32::try_from(partitions).unwrap_or(u32::MAX), Relaxed);
        self.pending.store(pending as u64, Relaxed);
    }
}

fn instant(millis: &AtomicI64) -> Option<DateTime<Utc>> {
    match millis.load(Relaxed) {
        0 => None,
        millis => DateTime::from_timestamp_millis(millis),
    }
}
