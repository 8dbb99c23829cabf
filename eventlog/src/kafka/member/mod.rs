//! One member of a group: its clients, what it holds, and what it has to say. Everything here blocks.

mod fetching;
mod joining;
mod steps;
mod takeover;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::consumer::ConsumerGroupMetadata;

use super::{
    blocking::retire,
    cluster::Cluster,
    cursors::{Cursors, Place},
    group::GroupConsumer,
    producer::Producer,
    reader::SLICE,
    restore::{Patience, Restore},
};
use crate::{LogError, Polled, Record, SubscriptionSpec};

/// How long a member is idle before it commits that it has passed transaction markers.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

/// How long an answer to the question for the group's offsets is waited for: while a step that moves them is undecided, none comes.
const OFFSETS_WITHIN: Duration = Duration::from_secs(1);
/// How long records of held partitions may be kept waiting by a changelog that is read.
const SHORT: Duration = Duration::from_millis(10);

/// How far the member is in.
enum Standing {
    /// It has no clients.
    Out,
    /// Its producer is not yet known to the brokers.
    Preparing(Arc<Producer>),
    /// It is in the group.
    In { producer: Arc<Producer>, consumer: GroupConsumer },
}

/// What the group gave it in this generation.
struct Assignment {
    generation: Arc<ConsumerGroupMetadata>,
    partitions: BTreeSet<u32>,
    /// Partitions that are not taken over yet; `None` when all are.
    restore: Option<Restore>,
    /// When the group's offsets are asked for again, if a step is undecided that moves them.
    ask_offsets: Patience,
    /// Whether each partition's offsets are asked for by themselves: those of another are undecided.
    one_by_one: Option<u32>,
    /// Partitions that are taken over: the consumer fetches them.
    cursors: Cursors,
    /// When it is looked whether transactions stay undecided.
    look: Patience,
}

/// What the group's consumer had.
enum Heard {
    Record(Record, usize),
    Nothing,
    /// What is held has changed: what was fetched before is void.
    Changed,
}

fn is_at(record: &Record, (topic, partition): &Place) -> bool {
    record.partition == *partition && record.topic == *topic
}

/// One member.
pub(super) struct Member {
    cluster: Arc<Cluster>,
    spec: SubscriptionSpec,
    standing: Standing,
    /// Since when it is not in the group.
    out_since: Instant,
    assignment: Option<Assignment>,
    /// What `poll` has yet to say. Records in it are not given yet.
    ready: VecDeque<Polled>,
    /// Records that were fetched before their place was paused, and not given.
    aside: BTreeMap<Place, VecDeque<Record>>,
    paused: BTreeSet<Place>,
    /// Partitions of which `Restoring` or `Assigned` was said.
    announced: BTreeSet<u32>,
    /// Partitions of which `Assigned` was said.
    held: BTreeSet<u32>,
    /// Whether the last fetch took everything that was there.
    dry: bool,
    settle_at: Instant,
}

impl Member {
    pub(super) fn new(cluster: Arc<Cluster>, spec: SubscriptionSpec) -> Self {
        Self {
            cluster,
            spec,
            standing: Standing::Out,
            out_since: Instant::now(),
            assignment: None,
            ready: VecDeque::new(),
            aside: BTreeMap::new(),
            paused: BTreeSet::new(),
            announced: BTreeSet::new(),
            held: BTreeSet::new(),
            dry: false,
            settle_at: Instant::now(),
        }
    }

    /// Makes [`Member::take`] have something to say, if anything happens until then.
    pub(super) fn poll(&mut self, max: usize, until: Instant, wanted: &AtomicBool) -> Result<(), LogError> {
        loop {
            if !self.ready.is_empty() {
                return Ok(());
            }
            self.advance(max, until.saturating_duration_since(Instant::now()).min(SLICE))?;
            if Instant::now() >= until || !wanted.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// One small piece of work, waiting for about `wait` at most.
    fn advance(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        if !matches!(self.standing, Standing::In { .. }) {
            return self.join(wait);
        }
        let Some(assignment) = &self.assignment else { return self.listen(wait) };
        let idle = assignment.restore.as_ref().map_or(wait, |restore| {
            let offsets = (!restore.restored().is_empty()).then(|| assignment.ask_offsets.left());
            restore.waits().into_iter().chain(offsets).fold(wait, Duration::min)
        });
        let wait = if assignment.cursors.is_empty() {
            self.listen(idle)?;
            wait
        } else {
            self.fetch(max, idle)?;
            wait.min(SHORT)
        };
        self.restore(max, wait)?;
        self.look();
        Ok(())
    }

    /// What to say next; at most `max` records. From now on it counts as said.
    pub(super) fn take(&mut self, max: usize) -> Polled {
        let Some(mut next) = self.ready.pop_front() else { return Polled::Idle };
        match &mut next {
            Polled::Records(records) => {
                if records.len() > max {
                    self.ready.push_front(Polled::Records(records.split_off(max)));
                }
                if let Some(assignment) = &mut self.assignment {
                    records.iter().for_each(|r| assignment.cursors.given(&r.topic, r.partition, r.offset));
                }
                self.settle_at = Instant::now() + SETTLE_AFTER;
            }
            Polled::Restoring { partition, records } => {
                if records.len() > max {
                    let (partition, records) = (*partition, records.split_off(max));
                    self.ready.push_front(Polled::Restoring { partition, records });
                }
                self.announced.insert(*partition);
            }
            Polled::Assigned { partition } => {
                self.announced.insert(*partition);
                self.held.insert(*partition);
            }
            Polled::Revoked { .. } | Polled::Idle => {}
        }
        next
    }

    /// Everything held is void.
    fn forget(&mut self) {
        self.assignment = None;
        self.aside.clear();
        self.paused.clear();
        self.held.clear();
        self.ready.retain(|said| matches!(said, Polled::Revoked { .. }));
        let partitions: Vec<u32> = std::mem::take(&mut self.announced).into_iter().collect();
        if !partitions.is_empty() {
            self.ready.push_back(Polled::Revoked { partitions });
        }
    }

    /// Drops everything, clients too. The next poll says so and begins anew.
    pub(super) fn lose(&mut self) {
        self.forget();
        match std::mem::replace(&mut self.standing, Standing::Out) {
            Standing::Out => {}
            Standing::Preparing(producer) => retire(producer),
            Standing::In { producer, consumer } => retire((consumer, producer)),
        }
        self.out_since = Instant::now();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cluster.watch.holds(&self.spec.group, &BTreeSet::new());
    }
}
