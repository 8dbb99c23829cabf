//! Whether the gateway moves.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use chrono::{DateTime, Utc};

/// Whether the gateway moves: readiness is made of this.
#[derive(Debug, Default)]
pub struct Progress {
    moved_at: AtomicI64,
    partitions: AtomicUsize,
}

impl Progress {
    /// When the gateway last polled the log and committed whatever that gave; `None` before the first time.
    pub fn moved_at(&self) -> Option<DateTime<Utc>> {
        match self.moved_at.load(Relaxed) {
            0 => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    /// How many partitions this process holds or restores.
    pub fn partitions(&self) -> usize {
        self.partitions.load(Relaxed)
    }

    pub(crate) fn moved(&self, now: DateTime<Utc>) {
        self.moved_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn holds(&self, partitions: usize) {
        self.partitions.store(partitions, Relaxed);
    }
}
