//! What a member holds, for others in its process to see.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Polled;

/// How a member stands to a partition that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its state is being restored.
    Restoring {
        /// How many records of the changelog have been given so far.
        records: u64,
    },
    /// Its records come.
    Held,
    /// It is held, and the member lets none of its records come for now.
    Paused,
}

/// The partitions that a member was given, as of what [`crate::Subscription::poll`] last said. Written by whoever polls, read by
/// anyone.
#[derive(Debug, Default)]
pub struct Holding(Mutex<BTreeMap<u32, Phase>>);

impl Holding {
    /// Takes in what was polled.
    pub fn hear(&self, polled: &Polled) {
        match polled {
            Polled::Restoring { partition, records } => {
                let mut held = self.lock();
                let phase = held.entry(*partition).or_insert(Phase::Restoring { records: 0 });
                let before = if let Phase::Restoring { records } = phase { *records } else { 0 };
                *phase = Phase::Restoring { records: before.saturating_add(records.len() as u64) };
            }
            Polled::Assigned { partition } => _ = self.lock().insert(*partition, Phase::Held),
            Polled::Revoked { partitions } => {
                self.lock().retain(|partition, _| !partitions.contains(partition));
            }
            Polled::Records(_) | Polled::Idle => {}
        }
    }

    /// Records of a held partition are stopped, or let come.
    pub fn pause(&self, partition: u32, paused: bool) {
        if let Some(phase @ (Phase::Held | Phase::Paused)) = self.lock().get_mut(&partition) {
            *phase = if paused { Phase::Paused } else { Phase::Held };
        }
    }

    /// Everything was lost.
    pub fn lose(&self) {
        self.lock().clear();
    }

    /// Each partition, and how the member stands to it.
    pub fn partitions(&self) -> BTreeMap<u32, Phase> {
        self.lock().clone()
    }

    // A panic while the lock was held cannot leave the map half written: each entry is replaced whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Phase>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn it_follows_what_was_polled() {
        let record = |offset| Record {
            topic: "state".into(),
            partition: 3,
            offset,
            timestamp: chrono::DateTime::UNIX_EPOCH,
            key: bytes::Bytes::new(),
            value: None,
            headers: crate::Headers::default(),
        };
        let holding = Holding::default();
        for records in [vec![record(0), record(1)], vec![record(2)]] {
            holding.hear(&Polled::Restoring { partition: 3, records });
        }
        assert_eq!(holding.partitions(), BTreeMap::from([(3, Phase::Restoring { records: 3 })]));
        holding.pause(3, true);
        assert_eq!(holding.partitions()[&3], Phase::Restoring { records: 3 }, "nothing comes of it yet");
        holding.hear(&Polled::Assigned { partition: 3 });
        holding.hear(&Polled::Assigned { partition: 4 });
        holding.pause(3, true);
        holding.pause(5, true);
        holding.hear(&Polled::Idle);
        assert_eq!(holding.partitions(), BTreeMap::from([(3, Phase::Paused), (4, Phase::Held)]));
        holding.pause(3, false);
        holding.hear(&Polled::Revoked { partitions: vec![4, 9] });
        assert_eq!(holding.partitions(), BTreeMap::from([(3, Phase::Held)]));
        // Given again, it begins anew.
        holding.hear(&Polled::Restoring { partition: 3, records: vec![record(0)] });
        assert_eq!(holding.partitions()[&3], Phase::Restoring { records: 1 });
        holding.lose();
        assert!(holding.partitions().is_empty());
    }
}
