//! What readiness and the admin API may know of a running executor.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use chrono::{DateTime, Utc};
use eventlog::{Holding, Phase};

use crate::{
    Stalled,
    pauses::{Told, Word},
};

/// How far the executor is; written by its loop, read by anyone. Instants are the clock's, in milliseconds since the
/// Unix epoch; 0 means never.
#[derive(Debug, Default)]
pub struct Progress {
    moved_at: AtomicI64,
    holding: Holding,
    pending: AtomicU64,
    stalled: Mutex<Stalled>,
    held_back: AtomicU64,
    deferred: AtomicU64,
    paused: RwLock<BTreeMap<String, DateTime<Utc>>>,
    told: Mutex<Told>,
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

    /// The partitions that this process holds or restores. Those of which too many actions are deferred or held back are paused.
    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    /// How many partitions are held.
    pub fn partitions(&self) -> u32 {
        let held = |phase: &Phase| !matches!(phase, Phase::Restoring { .. });
        let count = self.holding.partitions().values().filter(|phase| held(phase)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many actions are pending in them: running, parked, and held back.
    pub fn pending(&self) -> u64 {
        self.pending.load(Relaxed)
    }

    /// Actions that are overdue, as of the last look; see [`crate::STALLED_AFTER`].
    pub fn stalled(&self) -> Stalled {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of them wait because their project is paused.
    pub fn held_back(&self) -> u64 {
        self.held_back.load(Relaxed)
    }

    /// How many actions are to be taken up later, besides those that are pending: their target has too many of them.
    pub fn deferred(&self) -> u64 {
        self.deferred.load(Relaxed)
    }

    /// Which projects are paused in them, and since when; under the empty name all projects.
    pub fn paused(&self) -> BTreeMap<String, DateTime<Utc>> {
        self.paused.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(crate) fn moved(&self, now: DateTime<Utc>) {
        self.moved_at.store(now.timestamp_millis(), Relaxed);
    }

    pub(crate) fn waits(&self, pending: usize, held_back: usize, deferred: usize) {
        self.deferred.store(deferred as u64, Relaxed);
        self.held_back.store(held_back as u64, Relaxed);
        self.pending.store(pending as u64, Relaxed);
    }

    pub(crate) fn stalls(&self, stalled: Stalled) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = stalled;
    }

    /// An operator's word was heard: whoever reads the logs is told once, in however many partitions it was said.
    pub(crate) fn heard(&self, project: &str, word: Word) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_news(project, word) {
            let project = scope(project);
            match word {
                Word::Paused(at) => tracing::info!(project, paused_at = %at, "effects are paused"),
                Word::Resumed(at) => tracing::info!(project, resumed_at = %at, "effects go on"),
            }
        }
    }

    /// A partition came with a pause that nobody here was told of: what waits looks like a fault to whoever started this.
    pub(crate) fn found_paused(&self, project: &str, at: DateTime<Utc>) {
        let word = Word::Paused(at);
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_news(project, word) {
            let how = if project.is_empty() { "breakdown resume" } else { "breakdown resume --project" };
            tracing::warn!(
                project = scope(project), paused_at = %at,
                "effects are paused since before this start; {how} lets them go on"
            );
        }
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

/// Whose effects a word is about, for people.
fn scope(project: &str) -> &str {
    if project.is_empty() { "all projects" } else { project }
}
