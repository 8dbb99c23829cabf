//! Whether the disk takes what is written, found out without a record that counts.
//!
//! What was written a short time ago is proof enough, unless the disk is nearly full. Otherwise a place in the file is written
//! anew, in a transaction like any other: a record of no topic, as large as a group of deliveries, which nobody reads. So the
//! answer is that of a real append, also where a quota, a limit on the file's size or a disk that went read-only is at
//! fault; and it changes by itself once there is room again, though nobody appends.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::Transaction;

/// How long one write proves that the next one would be taken.
const PROVEN_FOR: Duration = Duration::from_secs(30);
/// With less than this free on the disk nothing is proven by what was written before.
const SCARCE_BYTES: u64 = 64 << 20;

/// What is known of the disk by its last write.
#[derive(Default)]
pub(super) struct Room(Mutex<Option<Instant>>);

impl Room {
    /// Something was written and synced.
    pub(super) fn took(&self) {
        self.set(Some(Instant::now()));
    }

    /// Something was not.
    pub(super) fn refused(&self) {
        self.set(None);
    }

    /// Whether a write to `file` would be taken, as far as it is known without one.
    pub(super) fn is_proven(&self, file: &Path) -> bool {
        let written_at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written_at.is_some_and(|at| at.elapsed() < PROVEN_FOR)
            && free_bytes(file).is_none_or(|free| free >= SCARCE_BYTES)
    }

    fn set(&self, written_at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = written_at;
    }
}

/// Writes the place that proves that there is room: 64 KiB, always the same.
pub(super) fn prove(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO records (id, topic, partition, offset, timestamp, key, value)
             VALUES (0, 0, 0, 0, 0, x'', zeroblob(65536))",
        )?
        .execute(())
        .map(drop)
}

/// Bytes that are free, for whom this process runs as, on the disk that `path` is on; `None` where nobody says.
#[cfg(unix)]
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_: &Path) -> Option<u64> {
    None
}
