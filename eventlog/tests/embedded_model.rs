//! The embedded log against a model of it that fits on a page, over random histories.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use eventlog::{
    Keep, Log, ManualClock, NewRecord, Polled, Record, Step, Subscription, SubscriptionSpec, TopicSpec,
    embedded::EmbeddedLog,
};
use proptest::prelude::*;

const PARTITIONS: u32 = 3;
const TOPICS: [&str; 3] = ["in", "out", "state"];
/// What is kept of `in` and `out`: milliseconds, and bytes of one partition.
const AGE: u64 = 3_000;
const BYTES: u64 = 12;

#[derive(Debug, Clone)]
enum Operation {
    /// Appends to `in` or `out`: (topic, partition, key, value).
    Append(Vec<(usize, u32, u8, u8)>),
    /// Polls up to so many records, then makes a step of these partitions with these changes of state
    /// (partition, key, value; none deletes) and so many records to `out`.
    Step { poll: usize, partitions: BTreeSet<u32>, state: Vec<(u32, u8, Option<u8>)>, out: usize },
    /// Removes what is kept no longer.
    Tidy,
    /// Turns the clock by so many milliseconds.
    Turn(i64),
    /// Reads a partition of a topic from an offset on.
    Read(usize, u32, u64),
    /// Drops the member; another restores.
    Rejoin,
    /// A step that cannot be made, and the recovery from it.
    Fail,
    /// Closes and opens everything.
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        4 => prop::collection::vec((0..2_usize, partition.clone(), 0..4_u8, any::<u8>()), 0..6)
            .prop_map(Operation::Append),
        5 => (
            0..8_usize,
            prop::collection::btree_set(partition.clone(), 0..=3),
            prop::collection::vec((partition.clone(), 0..4_u8, prop::option::of(any::<u8>())), 0..6),
            0..3_usize,
        )
            .prop_map(|(poll, partitions, state, out)| Operation::Step { poll, partitions, state, out }),
        2 => Just(Operation::Tidy),
        1 => (-5_000..5_000_i64).prop_map(Operation::Turn),
        3 => (0..3_usize, partition, 0..20_u64).prop_map(|(t, p, from)| Operation::Read(t, p, from)),
        1 => Just(Operation::Rejoin),
        1 => Just(Operation::Fail),
        1 => Just(Operation::Restart),
    ]
}

/// Key, value and timestamp (Unix milliseconds) of a record.
type Content = (Vec<u8>, Option<Vec<u8>>, i64);

/// What must stand on the log.
#[derive(Default)]
struct Model {
    /// Per topic and partition: all records ever, by offset. A deleted or replaced record of `state` is taken out.
    records: BTreeMap<(usize, u32), BTreeMap<u64, Content>>,
    ends: BTreeMap<(usize, u32), (u64, i64)>,
    firsts: BTreeMap<(usize, u32), u64>,
    committed: BTreeMap<u32, u64>,
    /// Where the present member is.
    polled: BTreeMap<u32, u64>,
}

impl Model {
    fn append(&mut self, topic: usize, partition: u32, key: &[u8], value: Option<&[u8]>, now: i64) -> u64 {
        let (end, last) = self.ends.entry((topic, partition)).or_default();
        let offset = *end;
        *end += 1;
        *last = now.max(*last);
        let records = self.records.entry((topic, partition)).or_default();
        if TOPICS[topic] == "state" {
            records.retain(|_, (k, ..)| k != key);
        }
        if TOPICS[topic] != "state" || value.is_some() {
            records.insert(offset, (key.to_vec(), value.map(<[u8]>::to_vec), *last));
        }
        offset
    }

    fn first(&self, topic: usize, partition: u32) -> u64 {
        self.firsts.get(&(topic, partition)).copied().unwrap_or(0)
    }

    /// Where the present member reads on.
    fn polled(&self, partition: u32) -> u64 {
        self.polled.get(&partition).copied().unwrap_or(0).max(self.first(0, partition))
    }

    /// How many records, and how many bytes of them, are kept no longer.
    fn tidy(&mut self, now: i64) -> (u64, u64) {
        let (mut removed, mut removed_bytes) = (0, 0);
        for ((topic, partition), records) in &mut self.records {
            if TOPICS[*topic] == "state" {
                continue;
            }
            let size = |(key, value, _): &Content| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            let mut bytes: u64 = records.values().map(size).sum();
            let committed = self.committed.get(partition).filter(|_| TOPICS[*topic] == "in");
            let before = now - AGE as i64;
            while let Some(oldest) = records.first_entry() {
                let unread = committed.is_some_and(|committed| oldest.key() >= committed);
                if unread || (oldest.get().2 >= before && bytes <= BYTES) {
                    break;
                }
                self.firsts.insert((*topic, *partition), oldest.key() + 1);
                let size = size(&oldest.remove());
                bytes -= size;
                removed += 1;
                removed_bytes += size;
            }
        }
        (removed, removed_bytes)
    }
}

struct World {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    log: Option<EmbeddedLog>,
    member: Option<Box<dyn Subscription>>,
    model: Model,
}

fn plain(record: &Record) -> (u64, Content) {
    let value = record.value.as_ref().map(|value| value.to_vec());
    (record.offset, (record.key.to_vec(), value, record.timestamp.timestamp_millis()))
}

fn new_record(topic: usize, partition: u32, key: &[u8], value: Option<&[u8]>) -> NewRecord {
    NewRecord {
        topic: TOPICS[topic].into(),
        partition: Some(partition),
        key: Bytes::copy_from_slice(key),
        value: value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
    }
}

impl World {
    fn log(&self) -> &EmbeddedLog {
        self.log.as_ref().unwrap()
    }

    fn member(&mut self) -> &mut dyn Subscription {
        &mut **self.member.as_mut().unwrap()
    }

    fn now(&self) -> i64 {
        eventlog::Clock::now(&*self.clock).timestamp_millis()
    }

    async fn open(&mut self) {
        let log = EmbeddedLog::hold(self.directory.path(), self.clock.clone()).unwrap();
        let spec = |name: &&str| TopicSpec {
            name: (*name).into(),
            partitions: PARTITIONS,
            keep: match *name {
                "state" => Keep::Newest,
                _ => Keep::Until { age: Some(Duration::from_millis(AGE)), bytes: Some(BYTES) },
            },
        };
        log.create_topics(&TOPICS.iter().map(spec).collect::<Vec<_>>()).await.unwrap();
        self.log = Some(log);
        self.join().await;
    }

    async fn join(&mut self) {
        let spec =
            SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() };
        self.member = Some(self.log().subscribe(spec).await.unwrap());
        self.restore().await;
    }

    /// Restores every partition, which must give the model's state.
    async fn restore(&mut self) {
        let mut restored = BTreeMap::<u32, BTreeMap<_, _>>::new();
        let mut assigned = BTreeSet::new();
        while assigned.len() < PARTITIONS as usize {
            match self.member().poll(2, Duration::from_secs(5)).await.unwrap() {
                Polled::Restoring { partition, records } => {
                    restored.entry(partition).or_default().extend(records.iter().map(plain));
                }
                Polled::Assigned { partition } => assert!(assigned.insert(partition)),
                Polled::Revoked { .. } => {}
                other => panic!("{other:?} before everything was assigned"),
            }
        }
        for p in 0..PARTITIONS {
            let expected = self.model.records.get(&(2, p)).cloned().unwrap_or_default();
            assert_eq!(restored.remove(&p).unwrap_or_default(), expected, "state of partition {p}");
        }
        self.model.polled = self.model.committed.clone();
    }

    async fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Append(records) => {
                let now = self.now();
                let new = records.iter().map(|(t, p, k, v)| new_record(*t, *p, &[*k], Some(&[*v]))).collect();
                let positions = self.log().append(new).await.unwrap();
                let expected: Vec<_> = records
                    .iter()
                    .map(|(t, p, k, v)| (*p, self.model.append(*t, *p, &[*k], Some(&[*v]), now)))
                    .collect();
                assert_eq!(positions.iter().map(|p| (p.partition, p.offset)).collect::<Vec<_>>(), expected);
            }
            Operation::Step { poll, partitions, state, out } => {
                if poll > 0 {
                    self.poll(poll).await;
                }
                let now = self.now();
                let state: Vec<_> = state.into_iter().filter(|(p, ..)| partitions.contains(p)).collect();
                let mut append: Vec<_> = state
                    .iter()
                    .map(|(p, k, v)| new_record(2, *p, &[*k], v.as_ref().map(std::slice::from_ref)))
                    .collect();
                append.extend((0..out).map(|i| new_record(1, i as u32, b"out", Some(&[i as u8]))));
                let step = Step { partitions: partitions.iter().copied().collect(), append };
                self.member().commit(step).await.unwrap();
                for (p, k, v) in &state {
                    self.model.append(2, *p, &[*k], v.as_ref().map(std::slice::from_ref), now);
                }
                for i in 0..out {
                    self.model.append(1, i as u32, b"out", Some(&[i as u8]), now);
                }
                for p in partitions {
                    self.model.committed.insert(p, self.model.polled(p));
                }
            }
            Operation::Tidy => {
                let tidied = self.log().tidy().await.unwrap();
                assert_eq!((tidied.records, tidied.bytes), self.model.tidy(self.now()));
            }
            Operation::Turn(by) => self.clock.advance(TimeDelta::milliseconds(by)),
            Operation::Read(t, p, from) => {
                let mut reader = self.log().read(TOPICS[t], &[(p, from)]).await.unwrap();
                let mut found = BTreeMap::new();
                while !reader.at_end().await.unwrap() {
                    found.extend(reader.next(Duration::from_secs(5)).await.unwrap().iter().map(plain));
                }
                let mut expected = self.model.records.get(&(t, p)).cloned().unwrap_or_default();
                expected.retain(|offset, _| *offset >= from);
                assert_eq!(found, expected, "{} {p} from {from}", TOPICS[t]);
            }
            Operation::Rejoin => {
                self.member = None;
                self.join().await;
            }
            Operation::Fail => {
                let append = vec![
                    new_record(1, 0, b"never", Some(b"seen")),
                    new_record(2, 0, &[0], None),
                    NewRecord { topic: "nowhere".into(), ..new_record(0, 0, b"k", None) },
                ];
                self.member().commit(Step { partitions: vec![0, 1, 2], append }).await.unwrap_err();
                self.restore().await;
            }
            Operation::Restart => {
                self.member = None;
                self.log = None;
                self.open().await;
            }
        }
        self.check().await;
    }

    async fn poll(&mut self, max: usize) {
        let waiting: u64 = (0..PARTITIONS)
            .map(|p| {
                let end = self.model.ends.get(&(0, p)).map_or(0, |(end, _)| *end);
                end - self.model.polled(p)
            })
            .sum();
        match self.member().poll(max, Duration::ZERO).await.unwrap() {
            Polled::Idle => assert_eq!(waiting, 0, "idle with records to come"),
            Polled::Records(records) => {
                assert!(!records.is_empty() && records.len() <= max && records.len() as u64 <= waiting);
                for record in records {
                    let polled = self.model.polled(record.partition);
                    let (offset, what) = plain(&record);
                    assert_eq!(offset, polled);
                    assert_eq!(what, self.model.records[&(0, record.partition)][&offset]);
                    self.model.polled.insert(record.partition, polled + 1);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What can be asked without reading.
    async fn check(&mut self) {
        for topic in self.log().topics().await.unwrap() {
            let t = TOPICS.iter().position(|name| *name == topic.name).unwrap();
            for (p, bounds) in topic.partitions.iter().enumerate() {
                let end = self.model.ends.get(&(t, p as u32)).map_or(0, |(end, _)| *end);
                assert_eq!(
                    (bounds.first, bounds.end),
                    (self.model.first(t, p as u32), end),
                    "{} {p}",
                    topic.name
                );
            }
        }
        let groups = self.log().groups().await.unwrap();
        let committed: BTreeMap<_, _> =
            groups.iter().map(|offset| (offset.partition, offset.committed)).collect();
        let expected: BTreeMap<_, _> = self
            .model
            .committed
            .iter()
            .map(|(p, committed)| (*p, (*committed).max(self.model.first(0, *p))))
            .collect();
        assert_eq!(committed, expected);
        for p in 0..PARTITIONS {
            let end = self.model.ends.get(&(0, p)).map_or(0, |(end, _)| *end);
            let expected = self.model.polled(p) == end;
            assert_eq!(self.member().caught_up("in", p).await.unwrap(), expected, "partition {p}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_its_model(operations in prop::collection::vec(operation(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World {
                directory: tempfile::tempdir().unwrap(),
                clock: Arc::new(ManualClock::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap())),
                log: None,
                member: None,
                model: Model::default(),
            };
            world.open().await;
            for operation in operations {
                world.run(operation).await;
            }
        });
    }
}
