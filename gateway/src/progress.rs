//! Whether the gateway moves.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use chrono::{DateTime, Utc};
use eventlog::Holding;

use crate::Stalled;

/// Whether the gateway moves: readiness is made of this.
#[derive(Debug, Default)]
pub struct Progress {
    moved_at: AtomicI64,
    holding: Holding,
    stalled: Mutex<Stalled>,
}

impl Progress {
    /// When the gateway last polled the log and committed whatever that gave; `None` before the first time.
    pub fn moved_at(&self) -> Option<DateTime<Utc>> {
        match self.moved_at.load(Relaxed) {
            0 => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    /// The partitions that this process holds or restores.
    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    /// How many they are.
    pub fn partitions(&self) -> usize {
        self.holding.partitions().len()
    }

    /// Timers that are overdue, as of the last look; see [`crate::STALLED_AFTER`].
    pub fn stalled(&self) -> Stalled {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn moved(&self, now: DateTime<Utc>) {
        self.moved_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn stalls(&self, stalled: Stalled) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = stalled;
    }
}
