//! One member of a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::watch, time::Instant};

use super::{
    Shared,
    coordinator::{self, Claim, Seat},
    fetch::{self, Batch, Cursor, Start, Topic},
    writer::{Job, StepJob},
};
use crate::{LogError, Polled, Step, Subscription};

/// No batch is larger, whatever the caller asks for; its bytes are bounded as well.
const BATCH_RECORDS: usize = 10_000;

pub(super) struct EmbeddedSubscription {
    log: Arc<Shared>,
    group: String,
    inputs: Vec<Arc<Topic>>,
    changelog: Arc<Topic>,
    seat: Seat,
    /// Everything that `poll` has not yet said to be revoked.
    held: BTreeMap<u32, Holding>,
    /// A commit was begun and has not ended well: all is to be given up.
    unsettled: bool,
    /// Which of the input cursors reads first.
    first: usize,
    changes: watch::Receiver<u64>,
    moves: watch::Receiver<u64>,
    /// Everything up to this count of changes has been polled.
    drained_at: Option<u64>,
}

/// A partition that this member holds.
struct Holding {
    epoch: u64,
    phase: Phase,
    /// Topics of which it reads nothing for now.
    paused: BTreeSet<String>,
}

enum Phase {
    /// Nothing has been read yet.
    Claimed,
    /// The changelog is being given; true when it has been given whole.
    Restoring(Start, bool),
    /// Said to be assigned; where each input is read on.
    Assigned(Vec<Cursor>),
}

impl EmbeddedSubscription {
    pub(super) fn new(
        log: Arc<Shared>,
        group: String,
        inputs: Vec<Arc<Topic>>,
        changelog: Arc<Topic>,
        seat: Seat,
    ) -> Self {
        let (changes, moves) = (log.changes.subscribe(), log.coordinator.subscribe());
        Self {
            log,
            group,
            inputs,
            changelog,
            seat,
            held: BTreeMap::new(),
            unsettled: false,
            first: 0,
            changes,
            moves,
            drained_at: None,
        }
    }

    fn claims(&self) -> impl Iterator<Item = Claim> + '_ {
        self.held.iter().map(|(partition, holding)| Claim { partition: *partition, epoch: holding.epoch })
    }

    /// Agrees with the coordinator on what is held; says what no longer is.
    fn settle(&mut self) -> Option<Polled> {
        if std::mem::take(&mut self.unsettled) {
            self.log.coordinator.release_all(&self.group, self.seat);
        }
        let shuffle = self.log.coordinator.settle(&self.group, self.seat, self.claims(), Instant::now());
        for partition in &shuffle.revoked {
            self.held.remove(partition);
        }
        for Claim { partition, epoch } in shuffle.claimed {
            self.held.insert(partition, Holding { epoch, phase: Phase::Claimed, paused: BTreeSet::new() });
        }
        (!shuffle.revoked.is_empty()).then_some(Polled::Revoked { partitions: shuffle.revoked })
    }

    /// Goes on restoring the first partition that is not yet assigned.
    async fn restore(&mut self, max_records: usize) -> Result<Option<Polled>, LogError> {
        const DOING: &str = "cannot restore the state";
        let log = Arc::clone(&self.log);
        let next = self.held.iter_mut().find(|(_, holding)| !matches!(holding.phase, Phase::Assigned(_)));
        let Some((&partition, holding)) = next else { return Ok(None) };
        if matches!(holding.phase, Phase::Claimed) {
            let (group, inputs, changelog) =
                (self.group.clone(), self.inputs.clone(), Arc::clone(&self.changelog));
            let start =
                move |connection: &_| fetch::start(connection, &group, &inputs, &changelog, partition);
            holding.phase = Phase::Restoring(log.readers.run(DOING, start).await?, false);
        }
        if let Phase::Restoring(start, whole @ false) = &mut holding.phase {
            let cursors = vec![start.changelog.clone()];
            let batch = move |connection: &_| fetch::batch(connection, cursors, 0, max_records);
            let mut batch = log.readers.run(DOING, batch).await?;
            if let Some(cursor) = batch.cursors.pop() {
                start.changelog = cursor;
            }
            *whole = batch.drained;
            if !batch.records.is_empty() {
                return Ok(Some(Polled::Restoring { partition, records: batch.records }));
            }
        }
        if let Phase::Restoring(start, true) = &mut holding.phase {
            holding.phase = Phase::Assigned(std::mem::take(&mut start.inputs));
            self.drained_at = None;
        }
        Ok(Some(Polled::Assigned { partition }))
    }

    /// Reads on, in all partitions that are assigned, the inputs that are not paused there.
    async fn fetch(&mut self, max_records: usize, now: u64) -> Result<Option<Polled>, LogError> {
        if self.drained_at == Some(now) {
            return Ok(None);
        }
        let reading = self.held.values_mut().filter_map(|Holding { phase, paused, .. }| match phase {
            Phase::Assigned(cursors) => {
                Some(cursors.iter_mut().filter(|cursor| !paused.contains(&cursor.topic.name)))
            }
            _ => None,
        });
        let assigned: Vec<&mut Cursor> = reading.flatten().collect();
        let cursors: Vec<Cursor> = assigned.iter().map(|cursor| (**cursor).clone()).collect();
        let first = self.first;
        let batch = move |connection: &_| fetch::batch(connection, cursors, first, max_records);
        let Batch { records, cursors, drained } =
            self.log.readers.run("cannot read the inputs", batch).await?;
        self.first = self.first.wrapping_add(1) % cursors.len().max(1);
        for (cursor, moved) in assigned.into_iter().zip(cursors) {
            *cursor = moved;
        }
        self.drained_at = drained.then_some(now);
        Ok((!records.is_empty()).then_some(Polled::Records(records)))
    }

    fn lost(&self, partition: u32) -> LogError {
        LogError::Lost(format!(
            "partition {partition} is not held by this member of group {}; poll says which are",
            self.group
        ))
    }
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let max_records = max_records.clamp(1, BATCH_RECORDS);
        let deadline = super::deadline(max_wait);
        let log = Arc::clone(&self.log);
        let _call = log.coordinator.enter(&self.group, self.seat);
        let _waiting = log.changes.waiting();
        loop {
            self.moves.mark_unchanged();
            let now = *self.changes.borrow_and_update();
            if let Some(revoked) = self.settle() {
                return Ok(revoked);
            }
            if let Some(restored) = self.restore(max_records).await? {
                return Ok(restored);
            }
            if let Some(records) = self.fetch(max_records, now).await? {
                return Ok(records);
            }
            let instant = Instant::now();
            if instant >= deadline {
                return Ok(Polled::Idle);
            }
            let look_again = deadline.min(log.coordinator.next_expiry(&self.group, self.seat, instant));
            tokio::select! {
                // What is looked at first must not be drawn: the simulation lives by it.
                biased;
                _ = self.changes.changed() => {}
                _ = self.moves.changed() => {}
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let log = Arc::clone(&self.log);
        let _call = log.coordinator.enter(&self.group, self.seat);
        let mut claims = Vec::with_capacity(step.partitions.len());
        let mut consumed = Vec::new();
        let mut partitions = step.partitions;
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            match self.held.get(&partition) {
                Some(Holding { epoch, phase: Phase::Assigned(cursors), .. }) if !self.unsettled => {
                    claims.push(Claim { partition, epoch: *epoch });
                    consumed
                        .extend(cursors.iter().map(|cursor| (cursor.topic.id, partition, cursor.position)));
                }
                _ => {
                    self.unsettled = true;
                    return Err(self.lost(partition));
                }
            }
        }
        if self.unsettled {
            return Err(coordinator::lost(&self.group, &[]));
        }
        // Stays so if this future is dropped while the writer is at it.
        self.unsettled = true;
        let group = self.group.clone();
        log.writer
            .run(Job::Step(StepJob { group, seat: self.seat, claims, consumed, append: step.append }))
            .await?;
        self.unsettled = false;
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        let log = Arc::clone(&self.log);
        let _call = log.coordinator.enter(&self.group, self.seat);
        let cursor = match self.held.get(&partition) {
            Some(Holding { epoch, phase: Phase::Assigned(cursors), .. }) => {
                let claim = Claim { partition, epoch: *epoch };
                if self.unsettled || !log.coordinator.is_held(&self.group, self.seat, claim) {
                    return Err(self.lost(partition));
                }
                cursors.iter().find(|cursor| cursor.topic.name == topic).cloned()
            }
            _ => return Err(self.lost(partition)),
        };
        let cursor = cursor.ok_or_else(|| {
            LogError::Refused(format!(
                "group {} does not consume the topic that it was asked about",
                self.group
            ))
        })?;
        let more = log.readers.run("cannot read the inputs", move |c| fetch::has_more(c, &cursor)).await?;
        if more {
            // Whoever polls on is to be given it at once, also when the watcher has not seen it yet.
            self.drained_at = None;
        }
        Ok(!more)
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        let Some(holding) = self.held.get_mut(&partition) else { return Err(self.lost(partition)) };
        match paused {
            true => holding.paused.insert(topic.to_owned()),
            false => holding.paused.remove(topic),
        };
        self.drained_at = None;
        Ok(())
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        self.log.coordinator.leave(&self.group, self.seat);
    }
}
