//! Who holds which partition, for the groups of this process.
//!
//! Partitions are cut into contiguous ranges over the members in the order in which they joined. A partition moves in
//! two moves: its holder gives it back in its next call of `poll`, then the member whose range it is takes it in its own
//! next call. A holder that makes no call for [`SESSION`] loses its partitions to the others.
//!
//! Each taking has an epoch of its own. A step is checked by partition and epoch by the writer, at the moment at which it
//! writes; from then until the transaction has ended, either way, the partition stays where it is. So there is no moment
//! at which a new holder could restore the state without a step that is still to be committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{LogError, SubscriptionSpec};

/// How long a member may go without a call.
pub(super) const SESSION: Duration = Duration::from_secs(10);

/// A member's number, given when it subscribes and kept for its life.
pub(super) type Seat = u64;

#[derive(Default)]
pub(super) struct Coordinator {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    groups: HashMap<String, Group>,
    last_number: u64,
}

struct Group {
    spec: SubscriptionSpec,
    members: BTreeMap<Seat, Presence>,
    /// By partition.
    owners: Vec<Option<Owner>>,
}

#[derive(Clone, Copy)]
enum Presence {
    /// In a call right now.
    Calling,
    /// Its last call ended then.
    Away(Instant),
}

struct Owner {
    seat: Seat,
    epoch: u64,
    /// The writer is writing a step of this holder.
    committing: bool,
    /// Goes free as soon as it is not committing.
    leaving: bool,
}

/// A partition and the epoch in which it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) partition: u32,
    pub(super) epoch: u64,
}

/// What a member is told when it calls.
#[derive(Debug, Default)]
pub(super) struct Shuffle {
    /// No longer held.
    pub(super) revoked: Vec<u32>,
    /// Newly held.
    pub(super) claimed: Vec<Claim>,
}

impl Coordinator {
    /// Changes whenever partitions may have gone free.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Joins a group; its other members must say the same of it.
    pub(super) fn join(&self, spec: &SubscriptionSpec, partitions: u32) -> Result<Seat, LogError> {
        let mut state = self.lock();
        state.last_number += 1;
        let seat = state.last_number;
        let group = state.groups.entry(spec.group.clone()).or_insert_with(|| Group {
            spec: spec.clone(),
            members: BTreeMap::new(),
            owners: (0..partitions).map(|_| None).collect(),
        });
        if group.spec != *spec {
            return Err(LogError::Refused(format!(
                "group {} consumes {} with its state in {}; a member cannot join it with other topics",
                spec.group,
                group.spec.inputs.join(", "),
                group.spec.changelog
            )));
        }
        group.members.insert(seat, Presence::Away(Instant::now()));
        self.say_changed();
        Ok(seat)
    }

    /// Leaves for ever.
    pub(super) fn leave(&self, name: &str, seat: Seat) {
        let mut state = self.lock();
        if let Some(group) = state.groups.get_mut(name) {
            group.members.remove(&seat);
            group.release(seat);
            // A group that nobody is left in may come back with other topics.
            if group.members.is_empty() && group.owners.iter().all(Option::is_none) {
                state.groups.remove(name);
            }
        }
        self.say_changed();
    }

    /// Gives back whatever the member holds; it stays a member.
    pub(super) fn release_all(&self, name: &str, seat: Seat) {
        if let Some(group) = self.lock().groups.get_mut(name) {
            group.release(seat);
        }
        self.say_changed();
    }

    /// Marks the member as calling until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, name: &str, seat: Seat) -> Call {
        if let Some(group) = self.lock().groups.get_mut(name)
            && let Some(presence) = group.members.get_mut(&seat)
        {
            *presence = Presence::Calling;
        }
        Call { coordinator: Arc::clone(self), group: name.to_owned(), seat }
    }

    /// Settles what a calling member holds, given what it believes to hold; a member that was taken for dead is one again.
    pub(super) fn settle(
        &self,
        name: &str,
        seat: Seat,
        held: impl Iterator<Item = Claim>,
        now: Instant,
    ) -> Shuffle {
        let mut state = self.lock();
        let mut shuffle = Shuffle::default();
        let State { groups, last_number } = &mut *state;
        let Some(group) = groups.get_mut(name) else { return shuffle };
        let mut moved = group.members.insert(seat, Presence::Calling).is_none();
        moved |= group.expire(now);
        for claim in held {
            let wanted = group.wanted_by(claim.partition) == Some(seat);
            if !group.is_held(seat, claim) {
                shuffle.revoked.push(claim.partition);
            } else if !wanted {
                group.owners[claim.partition as usize] = None;
                shuffle.revoked.push(claim.partition);
                moved = true;
            }
        }
        for partition in 0..group.owners.len() as u32 {
            if group.owners[partition as usize].is_none() && group.wanted_by(partition) == Some(seat) {
                *last_number += 1;
                let epoch = *last_number;
                group.owners[partition as usize] =
                    Some(Owner { seat, epoch, committing: false, leaving: false });
                shuffle.claimed.push(Claim { partition, epoch });
            }
        }
        if moved {
            self.say_changed();
        }
        shuffle
    }

    /// When a member may have to be taken for dead; another one looks then.
    pub(super) fn next_expiry(&self, name: &str, seat: Seat, now: Instant) -> Instant {
        let state = self.lock();
        let others = state.groups.get(name).into_iter().flat_map(|group| &group.members);
        others
            .filter(|(other, _)| **other != seat)
            .map(|(_, presence)| match presence {
                Presence::Calling => now + SESSION,
                Presence::Away(since) => *since + SESSION,
            })
            .min()
            .unwrap_or(now + SESSION)
    }

    /// True while the claim holds.
    pub(super) fn is_held(&self, name: &str, seat: Seat, claim: Claim) -> bool {
        self.lock().groups.get(name).is_some_and(|group| group.is_held(seat, claim))
    }

    /// Checks every claim of a step and nails it down until the guard is dropped, or says what was lost.
    pub(super) fn begin_commit(
        self: &Arc<Self>,
        name: &str,
        seat: Seat,
        claims: &[Claim],
    ) -> Result<Committing, LogError> {
        let mut state = self.lock();
        let Some(group) = state.groups.get_mut(name) else { return Err(lost(name, claims)) };
        if !claims.iter().all(|claim| group.is_held(seat, *claim)) {
            return Err(lost(name, claims));
        }
        for claim in claims {
            if let Some(owner) = &mut group.owners[claim.partition as usize] {
                owner.committing = true;
            }
        }
        Ok(Committing { coordinator: Arc::clone(self), group: name.to_owned(), claims: claims.to_vec() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say_changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

pub(super) fn lost(group: &str, claims: &[Claim]) -> LogError {
    let partitions: Vec<_> = claims.iter().map(|claim| claim.partition.to_string()).collect();
    LogError::Lost(format!(
        "the step was not made: this member of group {group} no longer holds all of its partitions ({}); it rejoins",
        partitions.join(", ")
    ))
}

impl Group {
    /// The member whose range the partition is in.
    fn wanted_by(&self, partition: u32) -> Option<Seat> {
        let index = partition as usize * self.members.len() / self.owners.len().max(1);
        self.members.keys().nth(index).copied()
    }

    fn is_held(&self, seat: Seat, claim: Claim) -> bool {
        let owner = self.owners.get(claim.partition as usize).and_then(Option::as_ref);
        owner.is_some_and(|owner| owner.seat == seat && owner.epoch == claim.epoch && !owner.leaving)
    }

    fn release(&mut self, seat: Seat) {
        for slot in &mut self.owners {
            match slot {
                Some(owner) if owner.seat == seat && owner.committing => owner.leaving = true,
                Some(owner) if owner.seat == seat => *slot = None,
                _ => {}
            }
        }
    }

    fn expire(&mut self, now: Instant) -> bool {
        let dead: Vec<_> = self
            .members
            .iter()
            .filter(|(_, presence)| matches!(presence, Presence::Away(since) if *since + SESSION <= now))
            .map(|(seat, _)| *seat)
            .collect();
        for seat in &dead {
            tracing::warn!(group = %self.spec.group, member = seat, "a member made no call for {SESSION:?}; others take over");
            self.members.remove(seat);
            self.release(*seat);
        }
        !dead.is_empty()
    }
}

/// See [`Coordinator::enter`].
pub(super) struct Call {
    coordinator: Arc<Coordinator>,
    group: String,
    seat: Seat,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(group) = self.coordinator.lock().groups.get_mut(&self.group)
            && let Some(presence) = group.members.get_mut(&self.seat)
        {
            *presence = Presence::Away(Instant::now());
        }
    }
}

/// See [`Coordinator::begin_commit`].
pub(super) struct Committing {
    coordinator: Arc<Coordinator>,
    group: String,
    claims: Vec<Claim>,
}

impl Drop for Committing {
    fn drop(&mut self) {
        if let Some(group) = self.coordinator.lock().groups.get_mut(&self.group) {
            let mut freed = false;
            for claim in &self.claims {
                let slot = &mut group.owners[claim.partition as usize];
                if let Some(owner) = slot {
                    owner.committing = false;
                    if owner.leaving {
                        *slot = None;
                        freed = true;
                    }
                }
            }
            if freed {
                self.coordinator.say_changed();
            }
        }
    }
}
