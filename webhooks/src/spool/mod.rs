//! Deliveries wait on this machine's disk while the broker is away.
//!
//! ```text
//!  append ──► state ┬ direct ───► the broker                           202 with partition and offset
//!                   │   │ fails, or says nothing for two seconds
//!                   │   ▼
//!                   └ spooling ─► writer ─► disk (an embedded log) ──► 202, spooled
//!                                             │
//!                                             └─► forwarder ─► the broker, in order; until nothing is left
//! ```
//!
//! What holds:
//! - **Nothing acknowledged is lost.** A delivery is acknowledged when the broker or the disk has it. How far forwarding has
//!   come is committed after the broker acknowledged, so what was under way at a crash is forwarded again: the same
//!   event id, which counts once.
//! - **In order.** While anything waits, whatever comes next goes behind it. With the first failure every delivery that is not
//!   answered yet goes onto the disk too, in the order in which they came, and before any later one. Direct delivery begins again only
//!   when nothing waits; what comes while the last few are forwarded is held for that moment. So for two deliveries of which the second came after the first was answered, the first
//!   occurrence of the one stands before that of the other.
//! - **A late arrival is a double.** An append that was given up on may still reach the broker, at any time: the delivery then stands
//!   there twice. Since its copy on the disk is ahead of all that came later, its first occurrence is where it
//!   belongs. Forwarding waits until no such append is under way, so that this is seldom seen.
//! - **Bounded.** Beyond [`SpoolLimits::max_bytes`], and when the disk takes nothing, a delivery is refused, unless the broker takes
//!   it after all.
//! - **One record holds up no other.** What a broker will never take ([`LogError::Unfit`]) becomes a dead letter; if it
//!   does not take that either, it is set aside in the spool. Any other refusal (rights, a missing topic) is about the broker: all
//!   waits until somebody has mended it.
//!
//! What does not: a batch that breaks at the client's own timeout may have its later records written and not its first, which
//! then come after them. Batches begin with one record and grow, and after any failure it is one again, so this
//! takes a broker that hangs in the middle of a drain. And the timestamp of a forwarded record, which is `now` to the policy, is
//! that of its arrival at the broker: when it happened stands in the event (`updated_at`), which decides what is late.
//!
//! Metrics (`metrics` facade):
//!
//! | name | meaning |
//! |---|---|
//! | `breakdown_spool_records`, `breakdown_spool_bytes` | what waits |
//! | `breakdown_spool_oldest_seconds` | how long the oldest of it has waited |
//! | `breakdown_spooled_total` | deliveries that were acknowledged from the disk |
//! | `breakdown_forwarded_total` | records that the broker then took |
//! | `breakdown_spool_unfit_total` | records that it will never take |

mod forward;
mod record;
mod state;
mod unfit;
mod writer;

use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::{
    Clock, Keep, Log, LogError, NewRecord, Position, TopicSpec,
    embedded::{Backlog, EmbeddedLog},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::state::{Mode, Shared, State, Unanswered, Waiting};

/// The spool's place in the data directory.
const DIRECTORY: &str = "spool";
/// What waits.
const TOPIC: &str = "spool";
/// What can never be forwarded, not even as a dead letter.
const UNFIT: &str = "unfit";
/// A group needs a changelog; forwarding keeps no state but its position.
const CHANGELOG: &str = "spool-state";
/// Who consumes [`TOPIC`].
const GROUP: &str = "forwarder";

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// On the log.
    At(Position),
    /// On this machine's disk, on its way to the log.
    Spooled,
}

impl Appended {
    /// Where the first of some records stands.
    pub(crate) fn first_of(positions: &[Position]) -> Result<Self, LogError> {
        let first = positions.first().map(|position| Self::At(*position));
        first.ok_or_else(|| LogError::Unavailable("the log took records and said no position".into()))
    }
}

/// When deliveries are spooled, and how many.
#[derive(Debug, Clone)]
pub struct SpoolLimits {
    /// How much may wait: bytes of keys, values and headers. The files take up to 100 MiB more.
    pub max_bytes: u64,
    /// How long the broker may take for an append before it counts as away.
    pub slow_after: Duration,
    /// How long the broker is left alone after it failed; twice as long each time, up to sixteen times.
    pub retry_after: Duration,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            slow_after: Duration::from_secs(2),
            retry_after: Duration::from_millis(125),
        }
    }
}

/// How a spool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolReport {
    /// Whether deliveries go onto the disk.
    pub spooling: bool,
    /// How many records wait.
    pub records: u64,
    /// Their keys, values and headers, in bytes.
    pub bytes: u64,
    /// When the oldest of them came.
    pub oldest: Option<DateTime<Utc>>,
    /// Whether it has no room below its limit for what came last. Whether the disk takes something: [`Spool::writable`].
    pub full: bool,
}

/// What a spool directory holds, as another process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolContents {
    /// What waits.
    pub waiting: Backlog,
    /// What can never be forwarded.
    pub unfit: Backlog,
}

/// Appends to a broker or, while it is away, to the disk. Clones share everything.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    /// To the writer, which ends with the last clone.
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Spool {
    /// Topic of its log on which records wait.
    pub const TOPIC: &'static str = TOPIC;
    /// Topic of what can never be forwarded, not even as a dead letter.
    pub const UNFIT: &'static str = UNFIT;
    /// The group whose offset says what was forwarded.
    pub const GROUP: &'static str = GROUP;

    /// Where the spool of a data directory is.
    pub fn directory(data_dir: &Path) -> PathBuf {
        data_dir.join(DIRECTORY)
    }

    /// Opens the spool in `data_dir` and holds it, until it is dropped. Somebody has to run [`Spool::forward`].
    ///
    /// # Errors
    /// [`LogError::Refused`] where another process holds it, or it is damaged; [`LogError::Unavailable`] where the disk is full.
    pub async fn open(
        broker: Arc<dyn Log>,
        data_dir: &Path,
        limits: SpoolLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LogError> {
        let disk = EmbeddedLog::hold(Self::directory(data_dir), clock.clone())?;
        let topic = |name: &str, keep| TopicSpec { name: name.to_owned(), partitions: 1, keep };
        // What was forwarded need not be kept; what was not is kept, since tidying begins with the first commit.
        let spent = Keep::Until { age: None, bytes: Some(0) };
        disk.create_topics(&[topic(TOPIC, spent), topic(UNFIT, Keep::ALL), topic(CHANGELOG, Keep::Newest)])
            .await?;
        let backlog = disk.backlog(GROUP, TOPIC).await?;
        if backlog.records > 0 {
            tracing::warn!(
                records = backlog.records,
                bytes = backlog.bytes,
                "deliveries wait in the spool to be forwarded"
            );
        }
        let shared = Arc::new(Shared::new(broker, disk, limits, clock, State::new(backlog)));
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(writer::write(shared.clone(), waiting));
        Ok(Self { shared, queue })
    }

    /// What the spool in `data_dir` holds, also while a `serve` has it open; `None` where there is none.
    ///
    /// # Errors
    /// Those of [`EmbeddedLog::open`].
    pub async fn look(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Option<SpoolContents>, LogError> {
        let directory = Self::directory(data_dir);
        if !directory.is_dir() {
            return Ok(None);
        }
        let disk = EmbeddedLog::open(directory, clock)?;
        let (waiting, unfit) = (disk.backlog(GROUP, TOPIC).await?, disk.backlog(GROUP, UNFIT).await?);
        Ok(Some(SpoolContents { waiting, unfit }))
    }

    /// Appends `records`, a delivery's, together, and returns when they are durable somewhere: where the first one is. Dropping the future does
    /// not take them back.
    ///
    /// # Errors
    /// What the broker says of a record that it will never take; otherwise neither broker nor disk took it in time, though
    /// either may have it.
    pub async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { records, answer };
        {
            let mut state = self.shared.lock();
            match state.mode() {
                Mode::Direct => {
                    // Goes on when whoever asked is gone: it must be known when no append is under way any more.
                    let records = waiting.records.clone();
                    let number = state.begin(waiting);
                    tokio::spawn(self.clone().append_direct(number, records));
                }
                Mode::Closing => state.hold(waiting),
                Mode::Spooling => {
                    if let Some(waiting) = self.put(&mut state, waiting) {
                        self.refuse(waiting);
                    }
                }
            }
        }
        answered.await.unwrap_or_else(|_| Err(LogError::Unavailable("the program is shutting down".into())))
    }

    /// How it is now.
    pub fn report(&self) -> SpoolReport {
        self.shared.lock().report(self.shared.limits.max_bytes)
    }

    /// Whether it would take a delivery: it has room below its limit, and the disk takes what is written.
    ///
    /// # Errors
    /// What stands against it.
    pub async fn writable(&self) -> Result<(), LogError> {
        if self.report().full {
            return Err(self.full());
        }
        self.shared.disk.writable().await
    }

    async fn append_direct(self, number: u64, records: Vec<NewRecord>) {
        let slow_after = self.shared.limits.slow_after;
        let mut append = pin!(self.shared.broker.append(records));
        let result = match timeout(slow_after, &mut append).await {
            Ok(result) => result,
            Err(_) => {
                self.turn_to_disk(&format_args!("it did not confirm a record within {slow_after:?}"));
                append.await
            }
        };
        if let Err(error @ (LogError::Unavailable(_) | LogError::Lost(_) | LogError::Refused(_))) = &result {
            self.turn_to_disk(error);
        }
        let (unanswered, last) = self.shared.lock().end(number);
        if last {
            self.shared.settled.notify_one();
        }
        match (unanswered, result) {
            (Some(waiting), result) => {
                let appended = result.and_then(|positions| Appended::first_of(&positions));
                // Whoever asked may be gone.
                let _ = waiting.answer.send(appended);
            }
            (None, Ok(_)) => {
                tracing::debug!("a spooled record reached the broker late; it will be there twice")
            }
            (None, Err(_)) => {}
        }
    }

    /// From here on deliveries go onto the disk, those first that nobody has confirmed. Where it is full, those that the broker was
    /// given wait on for it.
    fn turn_to_disk(&self, why: &dyn std::fmt::Display) {
        let mut state = self.shared.lock();
        let (unanswered, news) = state.turn_to_disk();
        for (number, Unanswered { waiting, given }) in unanswered {
            match self.put(&mut state, waiting) {
                None => {}
                Some(waiting) if given => state.put_back(number, Unanswered { waiting, given }),
                Some(waiting) => self.refuse(waiting),
            }
        }
        drop(state);
        if news {
            tracing::warn!(%why, "the broker is away: deliveries are spooled");
        }
    }

    /// What was held goes onto the disk after all.
    fn let_go(&self, why: &dyn std::fmt::Display) {
        if self.shared.lock().mode() == Mode::Closing {
            self.turn_to_disk(why);
        }
    }

    /// Deliveries go to the broker from here on, if nothing was admitted to the disk since it was said to be drained.
    fn turn_to_broker(&self, admitted: u64) {
        let Some(held) = self.shared.lock().turn_to_broker(admitted) else { return };
        for (number, records) in held {
            tokio::spawn(self.clone().append_direct(number, records));
        }
        tracing::info!("all that was spooled is forwarded: deliveries go to the broker again");
    }

    /// Hands a delivery's records to the writer; returns them where there is no room for all of them.
    fn put(&self, state: &mut State, waiting: Waiting) -> Option<Waiting> {
        let records: Vec<_> = waiting.records.iter().map(record::wrap).collect();
        let (count, bytes) = record::sizes(&records);
        if !state.admit(count, bytes, self.shared.limits.max_bytes, self.shared.clock.now()) {
            return Some(waiting);
        }
        // The writer lives as long as this sender; while a runtime ends, whoever asked is told so.
        let _ = self.queue.send(Waiting { records, answer: waiting.answer });
        None
    }

    fn refuse(&self, waiting: Waiting) {
        // Whoever asked may be gone.
        let _ = waiting.answer.send(Err(self.full()));
    }

    fn full(&self) -> LogError {
        LogError::Unavailable(format!(
            "the broker is away and the spool is full ([log] spool_max_bytes = {}): bring the broker back, or allow more",
            self.shared.limits.max_bytes
        ))
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("report", &self.report()).finish_non_exhaustive()
    }
}
