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
    restore::{Patience, Restore},
    step::{Transaction, Until},
    watch::OFFSETS,
};
use crate::{LogError, NewRecord, Polled, Record, Step, SubscriptionSpec};

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

    /// Brings the clients up, one call at a time.
    fn join(&mut self, wait: Duration) -> Result<(), LogError> {
        let group = &self.spec.group;
        let failed = |error| classify(&format!("join group {group}"), &error);
        match std::mem::replace(&mut self.standing, Standing::Out) {
            Standing::Out => {
                // Unique: a start never waits for, or fences, the one before it. Offsets are guarded by the group.
                let id = format!("{group}-{}", uuid::Uuid::new_v4());
                let producer = self.cluster.config.stepper(&id).create_with_context(Receipts);
                self.standing = Standing::Preparing(Arc::new(producer.map_err(failed)?));
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

    /// Takes one message from the group's consumer, and what the group has to say.
    fn hear(&mut self, wait: Duration) -> Result<Heard, LogError> {
        let Standing::In { consumer, .. } = &self.standing else { return Ok(Heard::Changed) };
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
            Ok(_) if changed => Ok(Heard::Changed),
            Ok(None) => Ok(Heard::Nothing),
            Ok(Some((record, size))) => {
                let cursors = self.assignment.as_mut().map(|assignment| &mut assignment.cursors);
                let awaited =
                    cursors.is_some_and(|c| c.fetched(&record.topic, record.partition, record.offset));
                Ok(if awaited { Heard::Record(record, size) } else { Heard::Nothing })
            }
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                tracing::warn!(%error, group = self.spec.group, "the member cannot go on and rejoins");
                self.lose();
                Ok(Heard::Changed)
            }
            Err(error) => {
                let nothing = if changed { Heard::Changed } else { Heard::Nothing };
                of_consumer(&format!("poll group {}", self.spec.group), &error).map_or(Ok(nothing), Err)
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
        self.cluster.watch.holds(&self.spec.group, &partitions);
        if !partitions.is_empty() {
            let session = self.cluster.config.session_timeout;
            let mut look = Patience::new(session, session);
            look.lose();
            self.assignment = Some(Assignment {
                generation: Arc::new(generation),
                restore: Some(Restore::of(partitions.clone())),
                partitions,
                ask_offsets: Patience::new(OFFSETS_WITHIN, 4 * OFFSETS_WITHIN),
                one_by_one: None,
                cursors: Cursors::default(),
                look,
            });
        }
    }

    /// Looks now and then whether anything that is read here stays undecided.
    fn look(&mut self) {
        let Some(assignment) = &mut self.assignment else { return };
        if !assignment.look.left().is_zero() {
            return;
        }
        let topics: Vec<&str> =
            self.spec.inputs.iter().chain([&self.spec.changelog]).map(String::as_str).collect();
        let (cluster, group) = (&self.cluster, &self.spec.group);
        if let Err(error) = cluster.watch.look(cluster, group, &topics, &assignment.partitions) {
            tracing::debug!(%error, group, "it is not known whether anything stays undecided");
        }
        assignment.look.lose();
    }

    fn restore(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let Some(Assignment { restore: Some(restore), .. }) = &mut self.assignment else { return Ok(()) };
        self.ready.extend(restore.advance(&self.cluster, &self.spec.changelog, max, wait)?);
        self.take_places()
    }

    /// Begins to fetch what is restored from the group's offsets. They are asked for only now: no step of a
    /// former holder that touched the changelog is undecided any more, and for one that did not, the broker makes
    /// readers of committed records wait.
    fn take_places(&mut self) -> Result<(), LogError> {
        let (Standing::In { consumer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Ok(());
        };
        let Some(restore) = &mut assignment.restore else { return Ok(()) };
        if restore.restored().is_empty() || !assignment.ask_offsets.left().is_zero() {
            return Ok(());
        }
        let group = &self.spec.group;
        let failed = |error| classify(&format!("ask for the offsets of group {group}"), &error);
        // The broker answers for all or for none. After one that is undecided the next gets its turn.
        let restored = restore.restored();
        let asked: BTreeSet<u32> = match assignment.one_by_one {
            None => restored.clone(),
            Some(last) => restored.range(last + 1..).chain(restored).copied().take(1).collect(),
        };
        let inputs = &self.spec.inputs;
        let places: Vec<(&str, u32)> =
            inputs.iter().flat_map(|t| asked.iter().map(|p| (t.as_str(), *p))).collect();
        let mut question = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in &places {
            question.add_partition(topic, *partition as i32);
        }
        let committed = match consumer.committed_offsets(question, OFFSETS_WITHIN) {
            Ok(committed) => committed,
            // A step is still undecided, or the coordinator is away; the group is listened to in between.
            Err(error) if error.rdkafka_error_code() == Some(Code::OperationTimedOut) => {
                if let (1, Some(partition)) = (asked.len(), asked.first()) {
                    let (watch, session) = (&self.cluster.watch, self.cluster.config.session_timeout);
                    match self.cluster.answers_for(group, &places) {
                        Ok(()) => watch.undecided(group, *partition, OFFSETS, None, session, Instant::now()),
                        Err(error) => {
                            tracing::debug!(%error, group, "it is not known whether the group's offsets are undecided");
                            watch.unknown(group, *partition, OFFSETS);
                        }
                    }
                }
                assignment.one_by_one = asked.last().copied();
                assignment.ask_offsets.lose();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let firsts = self.cluster.edges(Edge::First, &places)?;
        for ((topic, partition), first) in places.into_iter().zip(firsts) {
            let found = committed.find_partition(topic, partition as i32);
            let offset = match found.as_ref().map(|found| (found.error(), found.offset())) {
                Some((Err(error), _)) => return Err(failed(error)),
                Some((Ok(()), Offset::Offset(offset))) => u64::try_from(offset).ok(),
                _ => None,
            };
            assignment.cursors.begin((topic.to_owned(), partition), offset, first);
        }
        // Partitions that were fetched before go on where they are.
        let mut start = TopicPartitionList::new();
        for ((topic, partition), offset) in assignment.cursors.fetching() {
            let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            start.add_partition_offset(topic, *partition as i32, offset).map_err(failed)?;
        }
        consumer.assign(&start).map_err(failed)?;
        let mut paused = TopicPartitionList::new();
        for (topic, partition) in &self.paused {
            paused.add_partition(topic, *partition as i32);
        }
        if let Err(error) = consumer.pause(&paused) {
            // What would come of them has no bound.
            tracing::warn!(%error, group, "partitions that were paused do not stay so; the member rejoins");
            self.lose();
            return Ok(());
        }
        restore.taken(&asked);
        if restore.is_over() {
            assignment.restore = None;
        }
        assignment.ask_offsets.renew();
        for partition in asked {
            self.cluster.watch.decided(group, partition, OFFSETS);
            self.ready.push_back(Polled::Assigned { partition });
        }
        Ok(())
    }

    /// Fetches records: waits for the first, and takes whatever else is there already.
    fn fetch(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let (mut records, mut bytes, mut left) = (Vec::new(), 0, wait);
        self.dry = false;
        while records.len() < max && bytes < BATCH_BYTES {
            match self.hear(left) {
                Ok(Heard::Record(record, size)) => {
                    (bytes, left) = (bytes + size, Duration::ZERO);
                    match self.paused.iter().find(|place| is_at(&record, place)) {
                        Some(place) => self.aside.entry(place.clone()).or_default().push_back(record),
                        None => records.push(record),
                    }
                }
                Ok(Heard::Changed) => return Ok(()),
                Ok(Heard::Nothing) => {
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
    pub(super) fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let made = self.make(step);
        if made.is_err() {
            self.lose();
        }
        made
    }

    fn make(&mut self, step: Step) -> Result<(), LogError> {
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
        self.transact(step.append, partitions, offsets)
    }

    fn transact(
        &mut self,
        records: Vec<NewRecord>,
        partitions: Vec<u32>,
        offsets: Vec<(Place, u64)>,
    ) -> Result<(), LogError> {
        let (Standing::In { producer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Err(LogError::Lost(format!("this member of {} is not in the group", self.spec.group)));
        };
        // The brokers abort a step that is a session old, and take the partitions of a member that has not polled for three.
        let (began, session) = (Instant::now(), self.cluster.config.session_timeout);
        let until = Until { filled: began + session, committed: began + 2 * session };
        let generation = Arc::clone(&assignment.generation);
        let transaction = Transaction { records, partitions, offsets: offsets.clone(), generation };
        transaction.run(producer, until)?;
        assignment.cursors.committed(&offsets);
        self.settle_at = Instant::now() + SETTLE_AFTER;
        Ok(())
    }

    /// Commits, when there is nothing else to do, that the consumer has passed transaction markers: a group at its end has
    /// no lag. It is a step like any other, also when it fails.
    fn settle(&mut self) {
        let Some(assignment) = &self.assignment else { return };
        let behind = assignment.cursors.behind_markers(&self.seen());
        if !behind.is_empty()
            && let Err(error) = self.transact(Vec::new(), Vec::new(), behind)
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

impl Drop for Member {
    fn drop(&mut self) {
        self.cluster.watch.holds(&self.spec.group, &BTreeSet::new());
    }
}
