//! A log in memory that keeps the contract of `eventlog` for one member at a time, and fails when told to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{
    Clock, GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Record, Step, Subscription,
    SubscriptionSpec, TopicInfo, TopicSpec, partition_of,
};
use tokio::sync::{Notify, watch};

pub const PARTITIONS: u32 = 2;

/// What is to happen to the next commit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CommitFault {
    /// It is made, and then said to have failed.
    FailsAfter,
    /// It fails without being made.
    FailsBefore,
}

#[derive(Default)]
struct World {
    records: BTreeMap<(String, u32), Vec<Record>>,
    /// By topic: records before this offset are not given to readers any more.
    first: BTreeMap<String, usize>,
    committed: BTreeMap<(String, u32), u64>,
    /// The member that holds the group, counted up when another joins.
    member: u64,
    faults: VecDeque<CommitFault>,
    commits_fail: bool,
    commits_failed: usize,
    elsewhere: bool,
    paused: BTreeSet<(String, u32)>,
    revoke: bool,
    commits_waiting: usize,
}

/// Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    news: Arc<Notify>,
    /// While true, no commit is made.
    held: Arc<watch::Sender<bool>>,
    /// While true, nobody begins to read.
    reads_held: Arc<watch::Sender<bool>>,
}

impl MemoryLog {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let [held, reads_held] = [(); 2].map(|()| Arc::new(watch::Sender::new(false)));
        Self { world: Arc::default(), clock, news: Arc::default(), held, reads_held }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Commits wait (`true`) or go on (`false`).
    pub fn hold_commits(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// Readers outside the group wait (`true`) or go on (`false`).
    pub fn hold_reads(&self, hold: bool) {
        self.reads_held.send_replace(hold);
    }

    /// Retention has taken what stood on a topic before this offset.
    pub fn remove_before(&self, topic: &str, offset: usize) {
        self.lock().first.insert(topic.to_owned(), offset);
    }

    /// The topic was deleted and made again: its offsets begin with 0, and so does the group.
    pub fn make_anew(&self, topic: &str) {
        let mut world = self.lock();
        world.records.retain(|(known, _), _| known != topic);
        world.committed.retain(|(known, _), _| known != topic);
    }

    /// How many commits wait.
    pub fn commits_waiting(&self) -> usize {
        self.lock().commits_waiting
    }

    pub fn commits_will_fail(&self) -> bool {
        !self.lock().faults.is_empty()
    }

    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.lock().faults.push_back(fault);
    }

    /// From now on every commit fails without being made (`true`), or none does.
    pub fn fail_commits(&self, fail: bool) {
        self.lock().commits_fail = fail;
    }

    /// How many commits failed since they all do.
    pub fn commits_failed(&self) -> usize {
        self.lock().commits_failed
    }

    /// Everything that the group knows is gone: how far it came, and what it kept. The other topics stay.
    pub fn lose_group(&self, changelog: &str) {
        let mut world = self.lock();
        world.committed.clear();
        world.records.retain(|(topic, _), _| topic != changelog);
    }

    /// Takes all partitions away from the member for good: another one has them.
    pub fn move_elsewhere(&self) {
        self.lock().elsewhere = true;
        self.revoke();
    }

    /// Takes all partitions away from the member, which then gets them again.
    pub fn revoke(&self) {
        self.lock().revoke = true;
        self.news.notify_waiters();
    }

    pub fn paused(&self) -> BTreeSet<(String, u32)> {
        self.lock().paused.clone()
    }

    /// Everything on a topic, partition by partition.
    pub fn all(&self, topic: &str) -> Vec<Record> {
        let world = self.lock();
        world
            .records
            .iter()
            .filter(|((t, _), _)| t == topic)
            .flat_map(|(_, records)| records.clone())
            .collect()
    }

    fn write(world: &mut World, clock: &dyn Clock, records: Vec<NewRecord>) -> Vec<Position> {
        let write_one = |new: NewRecord| {
            let partition = new.partition.unwrap_or_else(|| partition_of(&new.key, PARTITIONS));
            let records = world.records.entry((new.topic.clone(), partition)).or_default();
            let offset = records.len() as u64;
            let NewRecord { topic, key, value, headers, .. } = new;
            let headers = headers.into_iter().collect();
            records.push(Record { topic, partition, offset, timestamp: clock.now(), key, value, headers });
            Position { partition, offset }
        };
        records.into_iter().map(write_one).collect()
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        let positions = Self::write(&mut self.lock(), self.clock.as_ref(), records);
        self.news.notify_waiters();
        Ok(positions)
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Err(LogError::Refused("the executor has no business with topics and groups".into()))
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        Err(LogError::Refused("the executor has no business with topics and groups".into()))
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.reads_held.subscribe().wait_for(|held| !held).await.unwrap();
        let from = from.iter().map(|(partition, at)| ((topic.to_owned(), *partition), *at as usize));
        Ok(Box::new(Outside { log: self.clone(), from: from.collect() }))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        let mut world = self.lock();
        world.member += 1;
        world.paused.clear();
        let member = world.member;
        drop(world);
        Ok(Box::new(Member { log: self.clone(), spec, member, ..Member::unassigned() }))
    }
}

/// A reader outside any group.
struct Outside {
    log: MemoryLog,
    from: BTreeMap<(String, u32), usize>,
}

#[async_trait]
impl Reader for Outside {
    async fn next(&mut self, _: Duration) -> Result<Vec<Record>, LogError> {
        let world = self.log.lock();
        let mut next = Vec::new();
        for (place, from) in &mut self.from {
            let records = world.records.get(place).map(Vec::as_slice).unwrap_or_default();
            let first = world.first.get(&place.0).copied().unwrap_or_default();
            next.extend_from_slice(&records[(*from).max(first).min(records.len())..]);
            *from = records.len();
        }
        Ok(next)
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        let world = self.log.lock();
        let end = |place| world.records.get(place).map_or(0, Vec::len);
        Ok(self.from.iter().all(|(place, from)| *from == end(place)))
    }
}

struct Member {
    log: MemoryLog,
    spec: SubscriptionSpec,
    member: u64,
    to_restore: VecDeque<u32>,
    /// How much of its changelog each partition was given.
    restored: BTreeMap<u32, usize>,
    held: BTreeSet<u32>,
    position: BTreeMap<(String, u32), u64>,
    lost: Vec<u32>,
}

impl Member {
    fn unassigned() -> Self {
        let clock = Arc::new(eventlog::ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        Self {
            log: MemoryLog::new(clock),
            spec: SubscriptionSpec { group: String::new(), inputs: Vec::new(), changelog: String::new() },
            member: 0,
            to_restore: (0..PARTITIONS).collect(),
            restored: BTreeMap::new(),
            held: BTreeSet::new(),
            position: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    fn lose(&mut self) {
        self.lost = self.held.iter().copied().chain(self.restored.keys().copied()).collect();
        self.held.clear();
        self.restored.clear();
        self.position.clear();
        self.to_restore = (0..PARTITIONS).collect();
        self.log.lock().paused.clear();
    }

    fn look(&mut self, max: usize) -> Option<Polled> {
        if std::mem::take(&mut self.log.lock().revoke) {
            self.lose();
        }
        if !self.lost.is_empty() {
            return Some(Polled::Revoked { partitions: std::mem::take(&mut self.lost) });
        }
        if self.log.lock().elsewhere {
            return None;
        }
        if let Some(&partition) = self.to_restore.front() {
            let world = self.log.lock();
            let changelog = world.records.get(&(self.spec.changelog.clone(), partition));
            let given = self.restored.entry(partition).or_default();
            let rest = changelog.and_then(|records| records.get(*given..)).unwrap_or_default();
            if !rest.is_empty() {
                let records: Vec<Record> = rest.iter().take(3).cloned().collect();
                *given += records.len();
                return Some(Polled::Restoring { partition, records });
            }
            for topic in &self.spec.inputs {
                let at = world.committed.get(&(topic.clone(), partition)).copied().unwrap_or(0);
                self.position.insert((topic.clone(), partition), at);
            }
            self.to_restore.pop_front();
            self.restored.remove(&partition);
            self.held.insert(partition);
            return Some(Polled::Assigned { partition });
        }
        let world = self.log.lock();
        let mut found = Vec::new();
        for (place, at) in &mut self.position {
            if world.paused.contains(place) {
                continue;
            }
            let records = world.records.get(place).map(Vec::as_slice).unwrap_or_default();
            let fresh = records.get(*at as usize..).unwrap_or_default();
            let taken = fresh.len().min(max - found.len());
            found.extend_from_slice(&fresh[..taken]);
            *at += taken as u64;
        }
        (!found.is_empty()).then_some(Polled::Records(found))
    }
}

#[async_trait]
impl Subscription for Member {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let news = self.log.news.clone();
        let waiting = async {
            loop {
                let notified = news.notified();
                if let Some(polled) = self.look(max_records) {
                    return polled;
                }
                notified.await;
            }
        };
        Ok(tokio::time::timeout(max_wait, waiting).await.unwrap_or(Polled::Idle))
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let mut held = self.log.held.subscribe();
        self.log.lock().commits_waiting += 1;
        held.wait_for(|held| !held).await.unwrap();
        let mut world = self.log.lock();
        world.commits_waiting -= 1;
        let fault = match world.commits_fail {
            true => {
                world.commits_failed += 1;
                Some(CommitFault::FailsBefore)
            }
            false => world.faults.pop_front(),
        };
        let fenced = world.member != self.member || !step.partitions.iter().all(|p| self.held.contains(p));
        if !fenced && fault != Some(CommitFault::FailsBefore) {
            assert!(
                step.append.iter().all(|r| r.partition.is_none_or(|p| step.partitions.contains(&p))),
                "a step may only keep state for partitions that it decides for"
            );
            for (place, at) in self.position.iter().filter(|(place, _)| step.partitions.contains(&place.1)) {
                world.committed.insert(place.clone(), *at);
            }
            MemoryLog::write(&mut world, self.log.clock.as_ref(), step.append);
        }
        drop(world);
        self.log.news.notify_waiters();
        if fenced || fault.is_some() {
            self.lose();
            return Err(LogError::Lost("the partitions were lost".into()));
        }
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        let place = (topic.to_owned(), partition);
        let Some(at) = self.position.get(&place) else {
            return Err(LogError::Lost("the partition is not held".into()));
        };
        let end = self.log.lock().records.get(&place).map_or(0, Vec::len);
        Ok(*at >= end as u64)
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        let mut world = self.log.lock();
        let place = (topic.to_owned(), partition);
        if paused {
            world.paused.insert(place)
        } else {
            world.paused.remove(&place)
        };
        Ok(())
    }
}
