//! Restoring: the whole changelog of newly held partitions, as of the last committed step of any former holder.
//!
//! The changelog's end is taken after the takeover, and as what is written, not as what is committed: a step of the
//! former holder may be committed although its markers are not yet in the log, and what stands before the first open
//! transaction would end before it. A former holder's step that the group still accepted has all its records before
//! that end. So: wait until everything before the end is decided, then read committed records until there are no more.
//!
//! Each partition goes its own way: one in which a transaction stays open holds up no other. How long such a transaction
//! may stay open is up to the broker, and nothing but waiting is right: should it commit after all, what it wrote is state.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    cluster::{Cluster, Edge},
    reader::{BATCH_BYTES, Committed, Seen},
};
use crate::{LogError, Polled, Record};

/// How soon it is asked again whether open transactions are decided; each time in vain doubles it.
const ASK_AFTER: Duration = Duration::from_millis(20);
/// The longest wait for that.
const ASK_AT_LATEST: Duration = Duration::from_secs(1);

/// How far restoring has come, partition by partition.
pub(super) struct Restore {
    /// Their changelog's end is to be asked for.
    begun: BTreeSet<u32>,
    /// Something before the end, which is named, may still be undecided.
    undecided: BTreeMap<u32, u64>,
    /// More of their changelog is to come.
    reading: Option<Reading>,
    /// Everything has been given.
    restored: BTreeSet<u32>,
    ask: Patience,
}

/// Partitions that are read together.
struct Reading {
    from: Committed,
    /// Those of which more is to come.
    open: BTreeSet<u32>,
    all: BTreeSet<u32>,
}

impl Restore {
    pub(super) fn of(partitions: BTreeSet<u32>) -> Self {
        Self {
            begun: partitions,
            undecided: BTreeMap::new(),
            reading: None,
            restored: BTreeSet::new(),
            ask: Patience::new(ASK_AFTER, ASK_AT_LATEST),
        }
    }

    /// How long there is nothing to do but wait; none where no partition is left that waits for a transaction.
    pub(super) fn waits(&self) -> Option<Duration> {
        if !self.begun.is_empty() || self.reading.is_some() {
            return Some(Duration::ZERO);
        }
        (!self.undecided.is_empty()).then(|| self.ask.left())
    }

    /// Partitions whose changelog has been given whole.
    pub(super) fn restored(&self) -> &BTreeSet<u32> {
        &self.restored
    }

    /// These have been taken over.
    pub(super) fn taken(&mut self, partitions: &BTreeSet<u32>) {
        self.restored.retain(|partition| !partitions.contains(partition));
    }

    /// Whether every partition has been taken over.
    pub(super) fn is_over(&self) -> bool {
        self.waits().is_none() && self.restored.is_empty()
    }

    /// Goes on, waits for records for about `wait`, and returns what came of it: at most `max` records. After an error
    /// it may be called again.
    pub(super) fn advance(
        &mut self,
        cluster: &Cluster,
        changelog: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Polled>, LogError> {
        if let Some(reading) = &mut self.reading {
            let batches = reading.next(max, wait)?;
            if reading.open.is_empty() {
                self.restored.append(&mut reading.all);
                self.reading = None;
            }
            return Ok(batches);
        }
        if !self.begun.is_empty() {
            let places: Vec<_> = self.begun.iter().map(|p| (changelog, *p)).collect();
            let firsts = cluster.edges(Edge::First, &places)?;
            let ends = cluster.edges(Edge::End, &places)?;
            for (partition, (first, end)) in
                std::mem::take(&mut self.begun).into_iter().zip(firsts.into_iter().zip(ends))
            {
                if first < end {
                    self.undecided.insert(partition, end);
                } else {
                    self.restored.insert(partition);
                }
            }
        }
        if !self.undecided.is_empty() && self.ask.left().is_zero() {
            let places: Vec<_> = self.undecided.keys().map(|p| (changelog, *p)).collect();
            let stable = cluster.edges(Edge::Stable, &places)?;
            let decided: BTreeSet<u32> = self
                .undecided
                .iter()
                .zip(stable)
                .filter(|((_, end), stable)| *stable >= **end)
                .map(|((p, _), _)| *p)
                .collect();
            if decided.is_empty() {
                self.ask.lose();
                return Ok(Vec::new());
            }
            self.ask.renew();
            let start: Vec<_> = decided.iter().map(|partition| (*partition, 0)).collect();
            let from = Committed::open(&cluster.config, changelog, &start)?;
            self.undecided.retain(|partition, _| !decided.contains(partition));
            self.reading = Some(Reading { from, open: decided.clone(), all: decided });
        }
        Ok(Vec::new())
    }
}

impl Reading {
    /// One batch; partitions whose end was seen leave `open`.
    fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Polled>, LogError> {
        let mut batches: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
        let (mut count, mut bytes, mut left) = (0, 0, wait);
        while count < max && bytes < BATCH_BYTES && !self.open.is_empty() {
            match self.from.next(left) {
                Ok(Some(Seen::Record(record, size))) => {
                    (count, bytes, left) = (count + 1, bytes + size, Duration::ZERO);
                    batches.entry(record.partition).or_default().push(record);
                }
                Ok(Some(Seen::End(partition))) => _ = self.open.remove(&partition),
                Ok(None) => break,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(batches.into_iter().map(|(partition, records)| Polled::Restoring { partition, records }).collect())
    }
}

/// Asks again and again, at growing intervals.
pub(super) struct Patience {
    first: Duration,
    longest: Duration,
    next: Duration,
    ask_at: Instant,
}

impl Patience {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, ask_at: Instant::now() }
    }

    /// How long until it is to be asked.
    pub(super) fn left(&self) -> Duration {
        self.ask_at.saturating_duration_since(Instant::now())
    }

    /// It was asked in vain.
    pub(super) fn lose(&mut self) {
        self.ask_at = Instant::now() + self.next;
        self.next = (2 * self.next).min(self.longest);
    }

    /// Something came of it.
    pub(super) fn renew(&mut self) {
        (self.next, self.ask_at) = (self.first, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_to_its_bound_and_is_renewed() {
        let mut patience = Patience::new(Duration::from_secs(10), Duration::from_secs(25));
        assert!(patience.left().is_zero());
        for seconds in [10, 20, 25, 25] {
            patience.lose();
            let left = patience.left();
            assert!(
                left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 1),
                "{left:?}"
            );
        }
        patience.renew();
        assert!(patience.left().is_zero());
    }

    #[test]
    fn partitions_are_over_one_by_one() {
        let mut restore = Restore::of(BTreeSet::from([1, 2]));
        assert_eq!(restore.waits(), Some(Duration::ZERO));
        restore.begun.clear();
        restore.restored.insert(1);
        restore.undecided.insert(2, 7);
        restore.ask.lose();
        assert!(restore.waits().is_some_and(|wait| !wait.is_zero()), "an undecided partition is waited for");
        restore.taken(&BTreeSet::from([1]));
        assert!(restore.restored().is_empty() && !restore.is_over());
        restore.undecided.clear();
        assert!(restore.is_over());
    }
}
