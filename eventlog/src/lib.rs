//! Durable, ordered topics of opaque bytes: one contract, two backends.
//!
//! ```text
//!  append ──► topic ┬ partition 0:  0 1 2 3 4 …      a record's key chooses its partition (murmur2, as Java and rpk do),
//!                   └ partition 1:  0 1 2 …          so one key is one ordered history
//!
//!                 ┌─────────── one member of a group ───────────┐
//!  inputs ──poll──►  restore ► assigned ► records ► records …   │
//!                 │     ▲                     │                 │
//!                 │  changelog            commit(step)          │
//!                 └─────┬─────────────────────┼─────────────────┘
//!                       └──── state ◄─────────┴────► other topics, and the group's offsets: all or nothing
//! ```
//!
//! What both backends promise is written at [`Log`], [`Subscription`] and [`Reader`], and held by one suite
//! (`tests/contract`). [`embedded`] keeps a data directory on one machine; `kafka` speaks to Redpanda or any other
//! broker with the Kafka API.

mod auditor;
mod clock;
pub mod embedded;
mod error;
mod headers;
mod holding;
#[cfg(feature = "kafka")]
pub mod kafka;
mod meters;
mod partitioner;
mod record;

use std::time::Duration;

use async_trait::async_trait;
pub use auditor::{Auditor, Overdue};
pub use clock::{Clock, ManualClock};
pub use error::LogError;
pub use headers::Headers;
pub use holding::{Holding, Phase};
pub use meters::describe_metrics;
pub use partitioner::partition_of;
pub use record::{NewRecord, Position, Record};

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it has; fixed when it is created.
    pub partitions: u32,
    /// Which of its records are kept.
    pub keep: Keep,
}

/// Which records of a topic are kept. The embedded log lets it be said anew for a topic that exists; on a broker it is set
/// when the topic is made, and later with the broker's own tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Of each key the newest (a changelog). An older one may be removed at any time.
    Newest,
    /// All, until one of the limits is passed; then the oldest of a partition go first. A record may outlive its
    /// limit by a while. The embedded log also keeps what a group that has committed there has yet to consume.
    Until {
        /// How long after it was appended; `None`: for ever.
        age: Option<Duration>,
        /// Bytes of keys, values and headers in one partition; `None`: any number.
        bytes: Option<u64>,
    },
}

impl Keep {
    /// Every record, for ever.
    pub const ALL: Self = Self::Until { age: None, bytes: None };
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Per partition, in order: the first offset that is kept, and the offset that the next record will get.
    pub partitions: Vec<Bounds>,
}

/// The ends of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// First offset that is kept.
    pub first: u64,
    /// Offset of the next record.
    pub end: u64,
}

/// How far a group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Offset of the next record that the group will be given.
    pub committed: u64,
    /// Offset of the partition's next record.
    pub end: u64,
}

impl GroupOffset {
    /// How many offsets lie between the group and the end.
    pub fn lag(&self) -> u64 {
        self.end.saturating_sub(self.committed)
    }
}

/// Something that a member of this process waits for, and that will not come by itself: a transaction stays undecided, so
/// nothing behind it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The group of the member.
    pub group: String,
    /// Its partition that does not go on.
    pub partition: u32,
    /// The topic in whose partition of that number something is undecided: an input, the changelog, or where the brokers
    /// keep the group's offsets (there the partition has another number).
    pub topic: String,
    /// The first offset that is undecided, where it is known.
    pub from: Option<u64>,
    /// For how long this has been so.
    pub waiting: Duration,
}

/// What a group consumes, and where its members keep their state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// The consumer group.
    pub group: String,
    /// Input topics. All have the same number of partitions, and a member that holds partition *p* of one holds
    /// partition *p* of all.
    pub inputs: Vec<String>,
    /// A compacted topic with as many partitions as the inputs. Whatever a step for partition *p* keeps goes to
    /// partition *p* of it, and comes back before anything of partition *p* is given to the next holder.
    pub changelog: String,
}

/// Durable, ordered topics.
///
/// - **Append is durable on return.** When [`Log::append`] returns positions, the records survive the death of the
///   process and of the machine (embedded: synced to disk; Kafka: acks=all from an idempotent producer). When it
///   returns an error, each record may or may not have been written: the caller appends again and readers recognise
///   doubles by their ids.
/// - **Order per key.** Records of one key go to one partition; two appends of which the second began after the
///   first returned stand in that order. Offsets of a partition grow; they need not be without gaps (transaction
///   markers, compaction, retention).
/// - **Stamped on append.** A record's timestamp is the log's clock at append, and never less than that of the
///   record before it in its partition (Kafka: as good as the broker's clock).
/// - **Committed only.** No reader ever sees a record of a step that did not commit.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Creates the topics that are missing. A topic that exists with another number of partitions is
    /// [`LogError::Refused`].
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Appends records and returns where each one stands, in the order given.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError>;

    /// Whether an append would be taken now, found out without appending a record; the error says what stands against it.
    /// Where nothing better is known, a log that tells of its topics takes records (Kafka: unless the last append of this
    /// process failed, less than a minute ago).
    async fn writable(&self) -> Result<(), LogError> {
        self.topics().await.map(drop)
    }

    /// Every topic, by name.
    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError>;

    /// How far each group has come, by group, topic and partition.
    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError>;

    /// How far one group has come, by topic and partition.
    async fn group(&self, name: &str) -> Result<Vec<GroupOffset>, LogError> {
        Ok(self.groups().await?.into_iter().filter(|at| at.group == name).collect())
    }

    /// Reads one topic, outside any group, from the given `(partition, offset)` pairs on; partitions that are not
    /// named are not read. An offset before the first kept one reads from the first, one past the end waits there.
    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError>;

    /// Joins a group. The embedded log grants this only to the process that holds the data directory.
    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError>;

    /// What members of this process have waited for too long, though the log answers. Asks nobody. The embedded log decides
    /// each step before the next: there it is nothing, always.
    fn stuck(&self) -> Vec<Stuck> {
        Vec::new()
    }
}

/// Reads one topic outside any group.
#[async_trait]
pub trait Reader: Send {
    /// The next records, in offset order per partition; empty when none came within `max_wait`.
    async fn next(&mut self, max_wait: Duration) -> Result<Vec<Record>, LogError>;

    /// True when every record that was committed before this call has been returned by [`Reader::next`].
    async fn at_end(&mut self) -> Result<bool, LogError>;
}

/// What [`Subscription::poll`] found.
#[derive(Debug)]
pub enum Polled {
    /// Part of the changelog of a partition that this member is about to hold, oldest first. A record without value
    /// deletes its key. Comes any number of times before the partition's [`Polled::Assigned`].
    Restoring {
        /// The partition.
        partition: u32,
        /// Records of the changelog's partition.
        records: Vec<Record>,
    },
    /// The partition's changelog has been given whole, and the member now holds the partition.
    Assigned {
        /// The partition.
        partition: u32,
    },
    /// These partitions are held no more; everything kept in memory for them is void. Also said for a partition
    /// whose restoring was broken off.
    Revoked {
        /// The partitions.
        partitions: Vec<u32>,
    },
    /// Records of input topics, of partitions that are held, where they are not paused; in offset order per topic and partition.
    Records(Vec<Record>),
    /// Nothing came within the wait.
    Idle,
}

/// One atomic step.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The partitions that this step decides for. Everything that [`Subscription::poll`] has returned of their
    /// inputs counts as consumed by this step. A step may name a partition of which nothing was polled (a timer):
    /// that it is still held is checked all the same.
    pub partitions: Vec<u32>,
    /// What the step appends: changelog records with their explicit partition, messages by key.
    pub append: Vec<NewRecord>,
}

/// Membership in a consumer group, with state.
///
/// - **Partitions are shared** among the group's members; when one dies, is stopped for longer than the session, or is
///   dropped, others take over.
/// - **Restore first.** Of a newly held partition, `poll` gives the whole changelog as of the last committed step of
///   any former holder, then `Assigned`, then records from the group's committed offsets on (from the first kept
///   record where there are none).
/// - **One step, all or nothing.** [`Subscription::commit`] makes the consumed offsets and everything appended visible
///   together, or not at all, also when the process dies at any point in it. It fails when another member holds any of
///   the step's partitions by now. After an error it is not known whether the step was made: all partitions
///   are lost, the member rejoins by itself, `poll` says `Revoked` and later restores. Retriable faults are retried
///   inside.
/// - One caller: `poll` and `commit` take turns. Both may be cancelled (the future dropped); a cancelled commit counts as
///   an error.
#[async_trait]
pub trait Subscription: Send {
    /// Waits up to `max_wait` for something to happen; returns at most `max_records` records.
    ///
    /// [`LogError::Unavailable`] means that the log cannot be reached now: call again.
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError>;

    /// Makes one step.
    async fn commit(&mut self, step: Step) -> Result<(), LogError>;

    /// True when every record of `topic`'s `partition` that was committed before this call has been returned by `poll`.
    /// Asks the log, so a member that is cut off gets an error, not an old answer.
    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError>;

    /// Stops (`true`) or lets (`false`) records of an input's held partition come; other inputs go on. What `poll` returned already stays
    /// returned. Asks nobody, so a log that does not answer is no reason to fail: [`LogError::Lost`] is, where the partition is not held.
    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError>;
}
