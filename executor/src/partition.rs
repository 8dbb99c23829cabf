//! What is held in memory for one partition: a fold of its part of `executor-state`.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::Action;

use crate::{
    ExecutorError,
    state::{Entry, Pending},
};

/// The most marks of done actions that are kept for one partition; past that the oldest leave early.
pub(crate) const DONE_MAX: usize = 500_000;

/// Invariants: no id is both pending and done; `waiting[t]` counts the pending actions of target `t`.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pending: BTreeMap<Arc<str>, Pending>,
    waiting: BTreeMap<usize, usize>,
    done: HashSet<Arc<str>>,
    /// Done ids in the order in which they ended; may still name some that are forgotten.
    done_order: VecDeque<(DateTime<Utc>, Arc<str>)>,
    /// Whether records of it are held back.
    pub(crate) paused: bool,
}

impl Partition {
    pub(crate) fn pending(&self) -> &BTreeMap<Arc<str>, Pending> {
        &self.pending
    }

    /// Pending actions by target.
    pub(crate) fn waiting(&self) -> &BTreeMap<usize, usize> {
        &self.waiting
    }

    /// Whether the action was met before.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.pending.contains_key(id) || self.done.contains(id)
    }

    /// The action is to be carried out, or its attempt was parked.
    pub(crate) fn put(&mut self, id: Arc<str>, pending: Pending) {
        self.forget(&id);
        if let Some(target) = pending.target {
            *self.waiting.entry(target).or_default() += 1;
        }
        self.pending.insert(id, pending);
    }

    /// The action has its outcome.
    pub(crate) fn finish(&mut self, id: Arc<str>, finished_at: DateTime<Utc>) {
        self.forget(&id);
        self.done.insert(id.clone());
        self.done_order.push_back((finished_at, id));
    }

    /// The action is known no more.
    pub(crate) fn forget(&mut self, id: &str) {
        let target = self.pending.remove(id).and_then(|pending| pending.target);
        if let Some(count) = target.and_then(|target| self.waiting.get_mut(&target)) {
            *count -= 1;
        }
        self.done.remove(id);
    }

    /// Done actions that ended before `limit`, or are too many; at most `max`, oldest first.
    pub(crate) fn outdated(&self, limit: DateTime<Utc>, max: usize) -> Vec<Arc<str>> {
        let surplus = self.done_order.len().saturating_sub(DONE_MAX);
        let old = self.done_order.iter().enumerate().take_while(|(i, (at, _))| *i < surplus || *at < limit);
        old.take(max).map(|(_, (_, id))| id.clone()).collect()
    }

    /// The oldest `count` marks were deleted.
    pub(crate) fn forget_oldest(&mut self, count: usize) {
        for (_, id) in self.done_order.drain(..count.min(self.done_order.len())) {
            self.done.remove(&id);
        }
    }

    /// Takes in one record of the changelog; `target` says which target carries an action.
    ///
    /// # Errors
    /// [`ExecutorError::State`] when the record is not one that this version wrote.
    pub(crate) fn restore(
        &mut self,
        record: &Record,
        target: impl Fn(&Action) -> Option<usize>,
    ) -> Result<(), ExecutorError> {
        let unreadable = |error: String| ExecutorError::State {
            partition: record.partition,
            offset: record.offset,
            error,
        };
        // serde's own text may quote the record; the place is enough to find it.
        let no_json = |what: &str, error: serde_json::Error| {
            unreadable(format!("{what}, at line {} column {}", error.line(), error.column()))
        };
        let id =
            std::str::from_utf8(&record.key).map_err(|_| unreadable("its key is not UTF-8".to_owned()))?;
        let Some(value) = &record.value else {
            self.forget(id);
            return Ok(());
        };
        match serde_json::from_slice(value).map_err(|error| no_json("it is no entry", error))? {
            Entry::Done { finished_at } => self.finish(id.into(), finished_at),
            Entry::Pending(entry) => {
                let action: Action = serde_json::from_str(&entry.record)
                    .map_err(|error| no_json("it keeps no action", error))?;
                if action.event_id != id {
                    return Err(unreadable("its key is not the id of its action".to_owned()));
                }
                let target = target(&action);
                self.put(id.into(), Pending { action: Arc::new(action), target, entry });
            }
        }
        Ok(())
    }
}
