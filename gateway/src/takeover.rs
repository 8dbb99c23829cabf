//! How a policy takes over: silently, in one step a partition, before its first decision.
//!
//! A policy on trial begins as a copy of what the one in force knows. The copy is made in memory at once, and is written to
//! `gateway-state` in bounded steps of its own, between those of production; decisions that both make meanwhile write their changes
//! as ever. The entry `policy` is written last: it says that the shadow stands. Whoever restores a partition without it deletes what
//! is there, in such steps too, and begins anew.
//!
//! Which events were counted is the same whatever policy decides, so that is written for production only.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{PolicyChange, topic};
use metrics::counter;
use policy::{Decision, Key, Kind, Ruleset, State, StateError, switch_policy};
use tracing::{info, warn};

use crate::{
    GatewayError, Policies,
    batch::Batch,
    course::{Course, Lane},
    partition::Partition,
};

/// Most records of a step that writes what is not written yet of a shadow.
const MAX_RECORDS: usize = 500;
/// A step that has so many bytes takes no further record.
const MAX_BYTES: usize = 1024 * 1024;
/// Most unreadable records of a partition that are deleted when a shadow begins.
const MAX_UNREADABLE: usize = 1000;

/// A partition that is being restored: nothing is decided for it.
#[derive(Default)]
pub(crate) struct Restoring {
    production: State,
    shadow: State,
    /// Keys of the shadow's records that cannot be read, and why.
    unreadable: BTreeMap<Vec<u8>, StateError>,
}

impl Restoring {
    /// Takes one record of the changelog back.
    pub(crate) fn take(&mut self, record: &Record) -> Result<(), GatewayError> {
        let (lane, key) = Lane::of(&record.key);
        match lane {
            Lane::Production => self.production.restore(key, record.value.as_deref()).map_err(|error| {
                GatewayError::State { partition: record.partition, offset: record.offset, error }
            }),
            Lane::Shadow => {
                match self.shadow.restore(key, record.value.as_deref()) {
                    Err(error) if record.value.is_some() => {
                        self.unreadable.insert(key.to_vec(), error);
                    }
                    // Written anew since, or deleted.
                    _ => _ = self.unreadable.remove(key),
                }
                Ok(())
            }
        }
    }

    /// The state is whole. Where other policies decided last, these take over.
    pub(crate) fn assigned(
        mut self,
        number: u32,
        policies: &Policies,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<Partition, GatewayError> {
        let ruleset = policies.policy.clone();
        let mut production = Course {
            partition: number,
            lane: Lane::Production,
            state: mem::take(&mut self.production),
            ruleset,
        };
        put_in_force(&mut production, wall, batch)?;
        let mut partition =
            Partition { number, production, shadow: None, unwritten: Vec::new(), caught_up: None };
        let stands = self.drop_unreadable(number, batch);
        partition.put_on_trial(self.shadow, stands, policies.shadow.as_ref(), wall, batch)?;
        Ok(partition)
    }

    /// Deletes what cannot be read of a shadow; false where there was something: what is left is not the state that it had.
    fn drop_unreadable(&self, number: u32, batch: &mut Batch) -> bool {
        let Some(first) = self.unreadable.values().next() else { return true };
        let entries = self.unreadable.len();
        warn!(
            partition = number,
            entries,
            first = %first,
            "records of a shadow on gateway-state cannot be read: they are dropped, and a shadow begins anew"
        );
        counter!("breakdown_shadow_unreadable_total").increment(entries as u64);
        for key in self.unreadable.keys().take(MAX_UNREADABLE) {
            batch.keeps(number, Lane::Shadow.prefixed(key.clone()), None);
        }
        false
    }
}

impl Partition {
    /// Whether these are the policies that decide it.
    pub(crate) fn follows(&self, policies: &Policies) -> bool {
        let on_trial = self.shadow.as_ref().map(|shadow| shadow.ruleset.hash());
        self.production.ruleset.hash() == policies.policy.hash()
            && on_trial == policies.shadow.as_ref().map(|candidate| candidate.hash())
    }

    /// Lets these policies take over.
    pub(crate) fn follow(
        &mut self,
        policies: &Policies,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        self.production.ruleset = policies.policy.clone();
        put_in_force(&mut self.production, wall, batch)?;
        let old = self.shadow.take().map(|shadow| shadow.state).unwrap_or_default();
        self.put_on_trial(old, true, policies.shadow.as_ref(), wall, batch)?;
        Ok(())
    }

    /// A candidate that was on trial goes on from `old`, its state, if that `stands`; another begins as if it took over now from the
    /// policy in force. What is left of the old is to be deleted.
    fn put_on_trial(
        &mut self,
        mut old: State,
        stands: bool,
        candidate: Option<&Arc<Ruleset>>,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        if let Some(candidate) = candidate
            && stands
            && old.policy_hash() == Some(candidate.hash())
        {
            old.share_seen(&self.production.state);
            self.shadow = Some(self.on_trial(old, candidate));
            return Ok(());
        }
        let stood = Key { project: "".into(), kind: Kind::Policy, identity: "".into() };
        if old.policy_hash().is_some() {
            // Before anything of another is written, and with the first event that it does not see.
            batch.keeps(self.number, Lane::Shadow.prefixed(old.entry(&stood).0), None);
        }
        let mut unwritten: BTreeSet<Key> = mem::take(&mut self.unwritten).into_iter().collect();
        unwritten.extend(old.keys());
        if let Some(candidate) = candidate {
            info!(partition = self.number, shadow = candidate.hash(), "a shadow begins");
            batch.decides_for(self.number);
            batch.begins_trial(change(&self.production, candidate, wall, true).to_message()?);
            self.shadow = Some(self.on_trial(fork(&self.production.state, candidate), candidate));
        }
        let begun = self.shadow.iter().flat_map(|shadow| shadow.state.keys());
        unwritten.extend(begun);
        unwritten.remove(&stood);
        // Taken from the end.
        let last = self.shadow.is_some().then_some(stood);
        self.unwritten =
            last.into_iter().chain(unwritten).filter(|key| Lane::Shadow.keeps(key.kind)).collect();
        Ok(())
    }

    fn on_trial(&self, state: State, candidate: &Arc<Ruleset>) -> Course {
        Course { partition: self.number, lane: Lane::Shadow, state, ruleset: candidate.clone() }
    }

    /// Writes some of what `gateway-state` does not have yet of the shadow, or still has of one that is no more.
    pub(crate) fn write_on(&mut self, batch: &mut Batch) {
        batch.tries_out();
        let mut bytes = 0;
        for _ in 0..MAX_RECORDS {
            if bytes >= MAX_BYTES {
                break;
            }
            let Some(key) = self.unwritten.pop() else { break };
            let (key, value) = self.entry(Lane::Shadow, &key);
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            batch.keeps(self.number, key, value);
        }
    }
}

/// Lets the course's policy take over, and says so on `policies`, unless it decided the state last.
fn put_in_force(course: &mut Course, wall: DateTime<Utc>, batch: &mut Batch) -> Result<(), GatewayError> {
    let ruleset = course.ruleset.clone();
    if course.state.policy_hash() == Some(ruleset.hash()) {
        return Ok(());
    }
    let decision = switch(&course.state, &ruleset);
    batch.decides_for(course.partition);
    batch.changes(course.partition, course.lane, decision.keys());
    course.state.apply(decision);
    batch.says(change(course, &ruleset, wall, false).to_message()?);
    Ok(())
}

/// From what the production has consumed on, this policy decides its partition, or is on trial beside it.
fn change(production: &Course, ruleset: &Ruleset, wall: DateTime<Utc>, on_trial: bool) -> PolicyChange {
    let inputs = [topic::ISSUES, topic::OUTCOMES];
    PolicyChange {
        partition: production.partition,
        policy_hash: ruleset.hash().to_owned(),
        offsets: inputs.map(|input| (input.to_owned(), production.state.consumed(input))).into(),
        at: wall,
        clock: production.state.clock(),
        on_trial,
        policy: ruleset.text().to_owned(),
    }
}

/// The state with which a candidate begins.
fn fork(production: &State, candidate: &Ruleset) -> State {
    let mut state = production.for_trial();
    let decision = switch(&state, candidate);
    state.apply(decision);
    state
}

/// At the partition's own time, not the wall's: what is still unread on the log keeps its order with the timers.
fn switch(state: &State, ruleset: &Ruleset) -> Decision {
    switch_policy(state, state.clock().unwrap_or(DateTime::UNIX_EPOCH), ruleset)
}
