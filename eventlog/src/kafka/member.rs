//! One member of a group: its clients, what it holds, and what it has to say. Everything here blocks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult},
    producer::Producer as _,
    types::RDKafkaErrorCode as Code,
};

use super::{
    blocking::retire,
    cluster::{Cluster, Edge, PATIENCE},
    cursors::{Cursors, Place},
    failure::{classify, of_consumer, poll_once},
    group::{GroupConsumer, GroupEvent},
    producer::{Producer, Receipts},
    reader::{BATCH_BYTES, SLICE, is_gap, record_of},
    restore::Restore,
    step::Transaction,
};
use crate::{LogError, Polled, Record, Step, SubscriptionSpec};

/// How long a member is idle before it commits that it has passed transaction markers.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

/// How far the member is in.
enum Standing {
    /// It has no clients.
    Out,
    /// Its producer is not yet known to the brokers.
    Preparing(Producer),
    /// It is in the group.
    In { producer: Producer, consumer: GroupConsumer },
}

/// What the group gave it in this generation.
struct Assignment {
    generation: ConsumerGroupMetadata,
    partitions: BTreeSet<u32>,
    /// `None` when it is over, and the consumer fetches.
    restore: Option<Restore>,
    cursors: Cursors,
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
        match &self.assignment {
            Some(Assignment { restore: None, .. }) => self.fetch(max, wait),
            Some(_) => {
                self.listen(Duration::ZERO)?;
                self.restore(max, wait)
            }
            None => self.listen(wait),
        }
    }

    /// Brings the clients up, one call at a time.
    fn join(&mut self, wait: Duration) -> Result<(), LogError> {
        let group = &self.spec.group;
        let failed = |error| classify(&format!("join group {group}"), &error);
        match std::mem::replace(&mut self.standing, Standing::Out) {
            Standing::Out => {
                // Unique: a start never waits for, or fences, the one before it. Offsets are guarded by the group.
                let id = format!("{group}-{}", uuid::Uuid::new_v4());
                let producer = self.cluster.config.stepper(&id).create_with_context(Receipts);
                self.standing = Standing::Preparing(producer.map_err(failed)?);
                Ok(())
            }
            Standing::Preparing(producer) => {
                match producer.init_transactions(wait.max(Duration::from_millis(50))) {
                    Ok(()) => {
                        let consumer = GroupConsumer::join(&self.cluster.config, group, &self.spec.inputs)
                            .map_err(failed)?;
                        self.standing = Standing::In { producer, consumer };
                        Ok(())
                    }
                    Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                        self.standing = Standing::Preparing(producer);
                        match self.out_since.elapsed() > PATIENCE {
                            true => Err(failed(KafkaError::Transaction(error))),
                            false => Ok(()),
                        }
                    }
                    Err(error) => {
                        retire(producer);
                        Err(failed(error))
                    }
                }
            }
            standing => {
                self.standing = standing;
                Ok(())
            }
        }
    }

    /// Takes one message from the group's consumer, and what the group has to say. `None` when nothing came, and when
    /// what is held has changed: what was fetched before is void then.
    fn hear(&mut self, wait: Duration) -> Result<Option<(Record, usize)>, LogError> {
        let Standing::In { consumer, .. } = &self.standing else { return Ok(None) };
        let heard = match poll_once(|wait| consumer.poll(wait), wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(record_of(&message))),
            Some(Err(error)) => Err(error),
        };
        let events = consumer.context().take();
        let changed = !events.is_empty();
        for event in events {
            self.forget();
            if let GroupEvent::Assigned { places, generation } = event {
                self.assign(&places, generation);
            }
        }
        match heard {
            Ok(heard) => Ok(heard.filter(|_| !changed)),
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                tracing::warn!(%error, group = self.spec.group, "the member cannot go on and rejoins");
                self.lose();
                Ok(None)
            }
            Err(error) => {
                of_consumer(&format!("poll group {}", self.spec.group), &error).map_or(Ok(None), Err)
            }
        }
    }

    /// Listens to the group while nothing is fetched.
    fn listen(&mut self, wait: Duration) -> Result<(), LogError> {
        self.hear(wait).map(drop)
    }

    fn assign(&mut self, places: &[Place], generation: ConsumerGroupMetadata) {
        let whole =
            |p: &u32| self.spec.inputs.iter().all(|input| places.iter().any(|(t, q)| t == input && q == p));
        let partitions: BTreeSet<u32> = places.iter().map(|(_, p)| *p).filter(whole).collect();
        if partitions.len() * self.spec.inputs.len() != places.len() {
            tracing::error!(
                group = self.spec.group,
                "a partition was not given with all inputs; it is left alone"
            );
        }
        if !partitions.is_empty() {
            let (restore, cursors) = (Some(Restore::Begun), Cursors::default());
            self.assignment = Some(Assignment { generation, partitions, restore, cursors });
        }
    }

    fn restore(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let Some(Assignment { partitions, restore: Some(restore), .. }) = &mut self.assignment else {
            return Ok(());
        };
        self.ready.extend(restore.advance(&self.cluster, &self.spec.changelog, partitions, max, wait)?);
        match restore {
            Restore::Done => self.take_places(),
            _ => Ok(()),
        }
    }

    /// Everything is restored: begins to fetch from the group's offsets. They are asked for only now: no step of a
    /// former holder that touched the changelog is undecided any more, and for one that did not, the broker makes
    /// readers of committed records wait.
    fn take_places(&mut self) -> Result<(), LogError> {
        let (Standing::In { consumer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Ok(());
        };
        let failed = |error| classify(&format!("ask for the offsets of group {}", self.spec.group), &error);
        let inputs = &self.spec.inputs;
        let places: Vec<(&str, u32)> =
            inputs.iter().flat_map(|t| assignment.partitions.iter().map(|p| (t.as_str(), *p))).collect();
        let mut question = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in &places {
            question.add_partition(topic, *partition as i32);
        }
        let committed = match consumer.committed_offsets(question, Duration::from_secs(1)) {
            Ok(committed) => committed,
            // A step is still undecided; the group is listened to in between.
            Err(error) if error.rdkafka_error_code() == Some(Code::OperationTimedOut) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let firsts = self.cluster.edges(Edge::First, &places)?;
        let mut start = TopicPartitionList::with_capacity(places.len());
        let mut cursors = Cursors::default();
        for ((topic, partition), first) in places.into_iter().zip(firsts) {
            let found = committed.find_partition(topic, partition as i32);
            let offset = match found.as_ref().map(|found| (found.error(), found.offset())) {
                Some((Err(error), _)) => return Err(failed(error)),
                Some((Ok(()), Offset::Offset(offset))) => u64::try_from(offset).ok(),
                _ => None,
            };
            let next = cursors.begin((topic.to_owned(), partition), offset, first);
            let next = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
            start.add_partition_offset(topic, partition as i32, next).map_err(failed)?;
        }
        consumer.assign(&start).map_err(failed)?;
        assignment.cursors = cursors;
        assignment.restore = None;
        self.ready
            .extend(assignment.partitions.iter().map(|partition| Polled::Assigned { partition: *partition }));
        Ok(())
    }

    /// Fetches records: waits for the first, and takes whatever else is there already.
    fn fetch(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let (mut records, mut bytes, mut left) = (Vec::new(), 0, wait);
        self.dry = false;
        while records.len() < max && bytes < BATCH_BYTES {
            match self.hear(left) {
                Ok(Some((record, size))) => {
                    (bytes, left) = (bytes + size, Duration::ZERO);
                    match self.paused.iter().find(|place| is_at(&record, place)) {
                        Some(place) => self.aside.entry(place.clone()).or_default().push_back(record),
                        None => records.push(record),
                    }
                }
                Ok(None) if self.assignment.as_ref().is_none_or(|a| a.restore.is_some()) => return Ok(()),
                Ok(None) => {
                    self.dry = true;
                    break;
                }
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if !records.is_empty() {
            self.ready.push_back(Polled::Records(records));
        } else if Instant::now() >= self.settle_at {
            self.settle_at = Instant::now() + SETTLE_AFTER;
            self.settle();
        }
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

    /// Makes a step. After an error everything is lost.
    pub(super) fn commit(&mut self, step: &Step) -> Result<(), LogError> {
        let made = self.make(step);
        if made.is_err() {
            self.lose();
        }
        made
    }

    fn make(&mut self, step: &Step) -> Result<(), LogError> {
        if step.partitions.is_empty() && step.append.is_empty() {
            return Ok(());
        }
        if let Some(p) = step.partitions.iter().find(|p| !self.held.contains(p)) {
            return Err(LogError::Lost(format!(
                "partition {p} is not held by this member of {}",
                self.spec.group
            )));
        }
        let partitions = self.cluster.route(&step.append).map_err(|error| match error {
            LogError::Refused(why) => LogError::Refused(why),
            other => LogError::Lost(other.to_string()),
        })?;
        let Some(assignment) = &self.assignment else {
            return Err(LogError::Lost(format!(
                "no partition is held by this member of {}",
                self.spec.group
            )));
        };
        let seen = self.seen();
        let chosen: BTreeSet<u32> = step.partitions.iter().copied().collect();
        let places = chosen.iter().flat_map(|p| self.spec.inputs.iter().map(|input| (input.clone(), *p)));
        let offsets: Vec<(Place, u64)> = places
            .filter_map(|place| assignment.cursors.position(&place, &seen).map(|at| (place, at)))
            .collect();
        if offsets.len() != chosen.len() * self.spec.inputs.len() {
            return Err(LogError::Lost("an input partition of the step has no position".to_owned()));
        }
        // Others take over a session after we fall silent; by then a step is better begun anew than insisted on.
        let give_up = Instant::now() + 2 * self.cluster.config.session_timeout;
        self.transact(&step.append, &partitions, &offsets, give_up)
    }

    fn transact(
        &mut self,
        records: &[crate::NewRecord],
        partitions: &[u32],
        offsets: &[(Place, u64)],
        give_up: Instant,
    ) -> Result<(), LogError> {
        let (Standing::In { producer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Err(LogError::Lost(format!("this member of {} is not in the group", self.spec.group)));
        };
        let transaction =
            Transaction { records, partitions, offsets, generation: Some(&assignment.generation) };
        transaction.run(producer, give_up)?;
        assignment.cursors.committed(offsets);
        self.settle_at = Instant::now() + SETTLE_AFTER;
        Ok(())
    }

    /// Commits, when there is nothing else to do, that the consumer has passed transaction markers: a group at its end has
    /// no lag. It is a step like any other, also when it fails.
    fn settle(&mut self) {
        let Some(assignment) = &self.assignment else { return };
        let behind = assignment.cursors.behind_markers(&self.seen());
        if !behind.is_empty()
            && let Err(error) = self.transact(&[], &[], &behind, Instant::now() + SETTLE_AFTER)
        {
            tracing::warn!(%error, "a step that only moves offsets failed");
            self.lose();
        }
    }

    /// Where the consumer stands in each input partition, past records that were given and past markers. Nothing, while
    /// there are records that it has passed and that were not given.
    fn seen(&self) -> BTreeMap<Place, u64> {
        let Standing::In { consumer, .. } = &self.standing else { return BTreeMap::new() };
        let waiting = self.aside.values().any(|records| !records.is_empty());
        if waiting || self.ready.iter().any(|said| matches!(said, Polled::Records(_))) {
            return BTreeMap::new();
        }
        let positions: KafkaResult<TopicPartitionList> = consumer.position();
        let known = |((topic, partition), offset): ((String, i32), Offset)| match offset {
            Offset::Offset(offset) if offset >= 0 => Some(((topic, partition as u32), offset as u64)),
            _ => None,
        };
        positions
            .map_or_else(|_| BTreeMap::new(), |p| p.to_topic_map().into_iter().filter_map(known).collect())
    }

    pub(super) fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        let place = (topic.to_owned(), partition);
        let (true, Some(assignment)) = (self.held.contains(&partition), &self.assignment) else {
            return Err(LogError::Lost(format!(
                "partition {partition} is not held by this member of {}",
                self.spec.group
            )));
        };
        let Some(position) = assignment.cursors.position(&place, &self.seen()) else {
            return Err(LogError::Refused(format!("{topic} is no input of group {}", self.spec.group)));
        };
        let end =
            self.cluster.edges(Edge::End, &[(topic, partition)])?.into_iter().next().unwrap_or(u64::MAX);
        let waiting = self.aside.contains_key(&place)
            || self
                .ready
                .iter()
                .any(|said| matches!(said, Polled::Records(r) if r.iter().any(|r| is_at(r, &place))));
        if waiting || position >= end {
            return Ok(!waiting);
        }
        Ok((self.dry || self.paused.contains(&place))
            && is_gap(&self.cluster, topic, partition, position, end)?)
    }

    pub(super) fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        let (Standing::In { consumer, .. }, true) = (&self.standing, self.held.contains(&partition)) else {
            return Err(LogError::Lost(format!(
                "partition {partition} is not held by this member of {}",
                self.spec.group
            )));
        };
        let mut places = TopicPartitionList::new();
        places.add_partition(topic, partition as i32);
        let failed = |error| classify(&format!("pause {topic} partition {partition}"), &error);
        let place = (topic.to_owned(), partition);
        if paused {
            consumer.pause(&places).map_err(failed)?;
            for said in &mut self.ready {
                if let Polled::Records(records) = said {
                    let (stopped, go_on) =
                        std::mem::take(records).into_iter().partition(|record| is_at(record, &place));
                    *records = go_on;
                    let stopped: Vec<Record> = stopped;
                    self.aside.entry(place.clone()).or_default().extend(stopped);
                }
            }
            self.ready.retain(|said| !matches!(said, Polled::Records(records) if records.is_empty()));
            self.aside.retain(|_, records| !records.is_empty());
            self.paused.insert(place);
        } else {
            self.paused.remove(&place);
            if let Some(records) = self.aside.remove(&place) {
                self.ready.push_front(Polled::Records(records.into()));
            }
            consumer.resume(&places).map_err(failed)?;
        }
        Ok(())
    }
}
