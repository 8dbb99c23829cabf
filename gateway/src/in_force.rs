//! Which policies decide: not what was loaded, but what the last committed step of each partition was decided by.

use std::{
    collections::BTreeMap,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, Utc};
use metrics::{counter, gauge};
use serde::Serialize;

use crate::partition::Partition;

/// Which policies decide, for the partitions that this process holds.
#[derive(Debug, Default)]
pub struct InForce(RwLock<Deciding>);

#[derive(Debug, Default)]
struct Deciding {
    policy: BTreeMap<u32, String>,
    shadow: BTreeMap<u32, String>,
    given_up: Option<GivenUp>,
}

/// A policy on trial that is decided no more, because its steps failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// SHA-256 of its text, 64 hex digits.
    pub hash: String,
    /// When it was given up.
    pub at: DateTime<Utc>,
    /// Why the last step with something of it failed.
    pub why: String,
}

impl InForce {
    /// Hashes of the policies in force, each with the partitions that it decides.
    pub fn policy(&self) -> BTreeMap<String, Vec<u32>> {
        by_hash(&self.read().policy)
    }

    /// Hashes of the policies on trial, each with the partitions that it decides beside the one in force.
    pub fn shadow(&self) -> BTreeMap<String, Vec<u32>> {
        by_hash(&self.read().shadow)
    }

    /// The candidate that was given up, unless another has been put on trial since.
    pub fn given_up(&self) -> Option<GivenUp> {
        self.read().given_up.clone()
    }

    pub(crate) fn publish(&self, number: u32, held: &Partition) {
        self.change(|deciding| {
            deciding.policy.insert(number, held.production.ruleset.hash().to_owned());
            match &held.shadow {
                Some(shadow) => deciding.shadow.insert(number, shadow.ruleset.hash().to_owned()),
                None => deciding.shadow.remove(&number),
            };
        });
    }

    pub(crate) fn forget(&self, number: u32) {
        self.change(|deciding| {
            deciding.policy.remove(&number);
            deciding.shadow.remove(&number);
        });
    }

    pub(crate) fn give_up(&self, given_up: Option<GivenUp>) {
        gauge!("breakdown_shadow_given_up").set(f64::from(u8::from(given_up.is_some())));
        // There before it happens, so that whoever alerts on it sees a zero.
        counter!("breakdown_shadow_unreadable_total").increment(0);
        self.write().given_up = given_up;
    }

    /// The series of a hash that decides some partition is 1, that of one that decides none any more 0.
    fn change(&self, change: impl FnOnce(&mut Deciding)) {
        let mut deciding = self.write();
        let before = [&deciding.policy, &deciding.shadow].map(by_hash);
        change(&mut deciding);
        let after = [&deciding.policy, &deciding.shadow].map(by_hash);
        let names = ["breakdown_policy_info", "breakdown_shadow_policy_info"];
        for ((name, before), after) in names.into_iter().zip(before).zip(after) {
            for gone in before.keys().filter(|hash| !after.contains_key(*hash)) {
                gauge!(name, "hash" => short_hash(gone).to_owned()).set(0.0);
            }
            for come in after.keys().filter(|hash| !before.contains_key(*hash)) {
                gauge!(name, "hash" => short_hash(come).to_owned()).set(1.0);
            }
        }
    }

    // A panic while the lock was held cannot leave the maps half written: each entry is replaced whole.
    fn read(&self) -> RwLockReadGuard<'_, Deciding> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Deciding> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// As much of a policy's hash as people compare, and metrics have as a label: 12 digits.
pub fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn by_hash(partitions: &BTreeMap<u32, String>) -> BTreeMap<String, Vec<u32>> {
    let mut hashes: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (partition, hash) in partitions {
        hashes.entry(hash.clone()).or_default().push(*partition);
    }
    hashes
}
