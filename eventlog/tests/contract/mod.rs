//! The contract of `eventlog::Log`, as cases that every backend runs.
//!
//! A backend implements [`Backend`] and says `contract!(ItsType);` in its own test file, after
//! `#[macro_use] mod contract;`. Each case then is a test by name. A case makes topics and groups of its own, with names
//! that no other case or run uses, so that all may share one broker. Nothing here assumes offsets without gaps or exact
//! timestamps, and everything that may take time is polled for until [`Backend::PATIENCE`] is over.
#![allow(unreachable_pub, dead_code)] // each test file takes what it needs

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{
    Keep, Log, LogError, ManualClock, NewRecord, Polled, Record, Step, Subscription, SubscriptionSpec,
    TopicSpec,
};
use tokio::time::Instant;

pub mod appending;
pub mod fencing;
pub mod killing;
pub mod membership;
pub mod reading;
pub mod stepping;

/// What the suite needs of a backend.
#[async_trait]
pub trait Backend: Sized + Send + Sync + 'static {
    /// How long a condition may take to come true. A rebalance on a broker takes 3 to 10 s.
    const PATIENCE: Duration;
    /// How often the kill cases kill: each kill costs a session timeout on a broker.
    const KILLS: usize;

    /// A place for one case (embedded: a fresh data directory, which nothing holds yet). An error says why the
    /// backend cannot run here; the case then says by name that it was skipped.
    async fn start() -> Result<Self, String>;

    /// A handle as `serve` has it: it may subscribe. A case drops the one it has, with its subscriptions and readers,
    /// before it asks for another.
    async fn serve(&self) -> Arc<dyn Log>;

    /// A handle as a CLI command beside `serve` has it: it appends and reads.
    async fn beside(&self) -> Arc<dyn Log>;

    /// The clock that stamps records, where the test can turn it.
    fn clock(&self) -> Option<Arc<ManualClock>> {
        None
    }

    /// Environment by which a child process finds the same place.
    fn child_env(&self) -> Vec<(&'static str, String)>;

    /// The same place, in the child process.
    fn in_child() -> Self;
}

/// Makes every case a test of `$backend`.
macro_rules! contract {
    ($backend:ty) => {
        contract! { $backend;
            appending: positions_come_in_the_order_given, keys_choose_their_partition, explicit_partitions_are_kept,
                every_part_of_a_record_survives, an_empty_append_is_nothing, sequential_appends_keep_order_per_key,
                concurrent_appends_keep_order_per_key, large_records_survive, oversized_records_are_refused,
                unknown_topics_are_refused, timestamps_never_go_back;
            reading: from_any_offset, past_the_end_waits_there, only_named_partitions, the_end_is_told_truthfully,
                waits_for_what_is_appended_later, large_topics_come_in_batches, unknown_places_are_refused,
                topics_are_listed_with_their_ends, partition_mismatch_is_refused;
            membership: one_member_gets_everything, two_members_share_and_one_takes_over, inputs_are_copartitioned,
                offsets_survive_a_restart, uncommitted_records_come_again, paused_partitions_say_nothing,
                caught_up_is_true_only_at_the_end, groups_tell_the_lag, groups_do_not_disturb_each_other,
                a_cancelled_poll_loses_nothing;
            stepping: a_step_is_visible_whole, state_is_restored_with_tombstones, takeover_right_after_a_commit,
                large_state_is_restored_in_batches, a_failed_step_leaves_nothing, a_cancelled_commit_is_all_or_nothing,
                a_step_may_name_a_partition_of_which_nothing_came, an_empty_step_is_nothing;
            fencing: a_stalled_member_cannot_commit, a_stalled_member_cannot_commit_a_timer_step;
            killing: acknowledged_appends_survive_kill, steps_survive_kill_whole, another_process_reads_what_serve_appends,
                another_process_appends_what_serve_consumes;
        }

        /// Runs what a case wants to run in another process, and to kill.
        #[test]
        #[ignore = "the child process of the `killing` cases; does nothing by itself"]
        fn child_process() {
            contract::killing::child::<$backend>();
        }
    };
    ($backend:ty; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(case) = crate::contract::Case::<$backend>::begin(stringify!($case)).await {
                        crate::contract::$module::$case(case).await;
                    }
                }
            )+
        })+
    };
}

/// One case on one backend.
pub struct Case<B> {
    pub backend: B,
    tag: String,
}

impl<B: Backend> Case<B> {
    /// Starts the backend; `None` where it cannot run here.
    pub async fn begin(name: &str) -> Option<Self> {
        match B::start().await {
            Ok(backend) => {
                Some(Self { backend, tag: format!("{name}-{:016x}", RandomState::new().hash_one(name)) })
            }
            Err(why) => {
                eprintln!("skipped: {name}: {why}");
                None
            }
        }
    }

    /// The same case, in its child process.
    fn resumed(tag: String) -> Self {
        Self { backend: B::in_child(), tag }
    }

    /// `what` under a name that only this case uses.
    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.tag)
    }

    /// Creates topics `in`, `also-in`, `out`, `more-out` and the changelog `state` of this case.
    pub async fn create(&self, log: &dyn Log, partitions: u32) {
        let specs: Vec<_> =
            [("in", false), ("also-in", false), ("out", false), ("more-out", false), ("state", true)]
                .into_iter()
                .map(|(name, compacted)| TopicSpec {
                    name: self.name(name),
                    partitions,
                    keep: if compacted { Keep::Newest } else { Keep::ALL },
                })
                .collect();
        log.create_topics(&specs).await.unwrap();
    }

    /// A group that consumes `in`, with its state in `state`.
    pub fn group(&self) -> SubscriptionSpec {
        SubscriptionSpec {
            group: self.name("group"),
            inputs: vec![self.name("in")],
            changelog: self.name("state"),
        }
    }

    /// A member of [`Case::group`].
    pub async fn member(&self, log: &dyn Log) -> Member {
        Member::join(log, self.group()).await.patient(B::PATIENCE)
    }

    /// A record for a topic of this case; the key chooses the partition.
    pub fn record(&self, topic: &str, key: &str, value: &str) -> NewRecord {
        NewRecord {
            topic: self.name(topic),
            partition: None,
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        }
    }

    /// A record for an explicit partition; no value deletes the key.
    pub fn record_in(&self, topic: &str, partition: u32, key: &str, value: Option<&str>) -> NewRecord {
        NewRecord {
            partition: Some(partition),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            ..self.record(topic, key, "")
        }
    }

    /// Everything that now stands on a topic of this case, in offset order per partition.
    pub async fn all(&self, log: &dyn Log, topic: &str, partitions: u32) -> Vec<Record> {
        let from: Vec<_> = (0..partitions).map(|p| (p, 0)).collect();
        let mut reader = log.read(&self.name(topic), &from).await.unwrap();
        let give_up = Instant::now() + B::PATIENCE;
        let mut all = Vec::new();
        loop {
            let end = reader.at_end().await.unwrap();
            if end {
                break all;
            }
            all.extend(reader.next(Duration::from_millis(200)).await.unwrap());
            assert!(
                Instant::now() < give_up,
                "the end of {topic} was not reached; {} records so far",
                all.len()
            );
        }
    }

    /// Reads on until `reader` has given `count` records in all.
    pub async fn take(&self, reader: &mut dyn eventlog::Reader, count: usize) -> Vec<Record> {
        let give_up = Instant::now() + B::PATIENCE;
        let mut all = Vec::new();
        while all.len() < count {
            assert!(Instant::now() < give_up, "waited for {count} records, got {}", all.len());
            all.extend(reader.next(Duration::from_millis(200)).await.unwrap());
        }
        all
    }
}

/// A member of a group, driven by a test. It checks at every poll what holds at every poll: restore before assigned
/// before records, offsets in order, nothing of partitions that are not held.
pub struct Member {
    subscription: Box<dyn Subscription>,
    patience: Duration,
    restoring: BTreeSet<u32>,
    last: BTreeMap<(String, u32), u64>,
    /// Partitions held.
    pub held: BTreeSet<u32>,
    /// Inputs and partitions paused.
    pub paused: BTreeSet<(String, u32)>,
    /// Per partition, what the changelog says: the newest value per key.
    pub state: BTreeMap<u32, BTreeMap<String, String>>,
    /// Input records, in the order in which they came.
    pub records: Vec<Record>,
    /// How often `Revoked` was said.
    pub revocations: usize,
    /// The most records that one poll returned.
    pub largest_batch: usize,
    /// How many `Restoring` came.
    pub restore_batches: usize,
}

impl Member {
    pub async fn join(log: &dyn Log, spec: SubscriptionSpec) -> Self {
        Self {
            subscription: log.subscribe(spec).await.unwrap(),
            patience: Duration::from_secs(60),
            restoring: BTreeSet::new(),
            last: BTreeMap::new(),
            held: BTreeSet::new(),
            paused: BTreeSet::new(),
            state: BTreeMap::new(),
            records: Vec::new(),
            revocations: 0,
            largest_batch: 0,
            restore_batches: 0,
        }
    }

    fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One poll of at most `max` records.
    pub async fn poll(&mut self, max: usize, wait: Duration) {
        match self.subscription.poll(max, wait).await {
            Ok(Polled::Restoring { partition, records }) => {
                assert!(
                    !self.held.contains(&partition),
                    "partition {partition} is restored while it is held"
                );
                assert!(
                    !records.is_empty() && records.len() <= max,
                    "{} records restored at once",
                    records.len()
                );
                if self.restoring.insert(partition) {
                    self.state.remove(&partition);
                }
                self.restore_batches += 1;
                let state = self.state.entry(partition).or_default();
                for record in records {
                    assert_eq!(record.partition, partition);
                    let key = String::from_utf8(record.key.to_vec()).unwrap();
                    match record.value {
                        Some(value) => state.insert(key, String::from_utf8(value.to_vec()).unwrap()),
                        None => state.remove(&key),
                    };
                }
            }
            Ok(Polled::Assigned { partition }) => {
                assert!(self.held.insert(partition), "partition {partition} is assigned twice");
                self.restoring.remove(&partition);
                self.paused.retain(|(_, paused)| *paused != partition);
                self.state.entry(partition).or_default();
                self.last.retain(|(_, p), _| *p != partition);
            }
            Ok(Polled::Revoked { partitions }) => {
                assert!(!partitions.is_empty(), "Revoked names no partition");
                self.revocations += 1;
                for p in partitions {
                    assert!(self.held.remove(&p) | self.restoring.remove(&p), "partition {p} was not held");
                    self.state.remove(&p);
                }
            }
            Ok(Polled::Records(records)) => {
                assert!(
                    !records.is_empty() && records.len() <= max,
                    "{} records at once, at most {max}",
                    records.len()
                );
                self.largest_batch = self.largest_batch.max(records.len());
                for record in &records {
                    let p = record.partition;
                    assert!(self.held.contains(&p), "a record of partition {p}, which is not held");
                    let place = (record.topic.clone(), p);
                    assert!(!self.paused.contains(&place), "a record of {place:?}, which is paused");
                    let before = self.last.insert((record.topic.clone(), p), record.offset);
                    assert!(before.is_none_or(|b| b < record.offset), "{before:?}, then {}", record.offset);
                }
                self.records.extend(records);
            }
            Ok(Polled::Idle) | Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }

    /// Polls until `done`.
    pub async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + self.patience;
        while !done(self) {
            assert!(
                Instant::now() < give_up,
                "waited for {what}; held {:?}, restoring {:?}, {} records",
                self.held,
                self.restoring,
                self.records.len()
            );
            self.poll(100, Duration::from_millis(100)).await;
        }
    }

    /// Polls until `count` partitions are held.
    pub async fn until_held(&mut self, count: usize) {
        self.until(&format!("{count} partitions"), |m| m.held.len() == count).await;
    }

    /// Polls until `count` input records came in all.
    pub async fn until_records(&mut self, count: usize) {
        self.until(&format!("{count} records"), |m| m.records.len() >= count).await;
    }

    /// Polls `self` and `other` by turns until `done`.
    pub async fn until_with(&mut self, other: &mut Self, what: &str, done: impl Fn(&Self, &Self) -> bool) {
        let give_up = Instant::now() + self.patience;
        while !done(self, other) {
            assert!(Instant::now() < give_up, "waited for {what}; held {:?} and {:?}", self.held, other.held);
            self.poll(100, Duration::from_millis(50)).await;
            other.poll(100, Duration::from_millis(50)).await;
        }
    }

    pub async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        self.subscription.commit(step).await
    }

    /// Commits everything that is held, with nothing appended.
    pub async fn commit_held(&mut self) {
        let partitions = self.held.iter().copied().collect();
        self.commit(Step { partitions, append: Vec::new() }).await.unwrap();
    }

    pub async fn pause(&mut self, topic: &str, partition: u32, paused: bool) {
        self.subscription.pause(topic, partition, paused).await.unwrap();
        if paused {
            self.paused.insert((topic.to_owned(), partition))
        } else {
            self.paused.remove(&(topic.to_owned(), partition))
        };
    }

    pub async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        self.subscription.caught_up(topic, partition).await
    }

    /// Values of the input records that came, as text.
    pub fn values(&self) -> Vec<String> {
        self.records.iter().map(text).collect()
    }
}

/// A record's value as text; empty where there is none.
pub fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
}

/// A key that belongs to `partition` among `partitions`.
pub fn key_for(partition: u32, partitions: u32) -> String {
    (0..)
        .map(|i| format!("key-{i}"))
        .find(|key| eventlog::partition_of(key.as_bytes(), partitions) == partition)
        .unwrap()
}
