//! The embedded log: one SQLite file in a data directory, for one machine.
//!
//! ```text
//!  append, commit ──► queue ──► writer thread: one transaction and one sync for all that wait ──► log.db
//!                                    │ committed                                                   │
//!  poll, next ◄── reads ◄────────────┴──── watcher: what other processes committed ◄───────────────┘
//! ```
//!
//! Any number of processes may append to and read from one directory ([`EmbeddedLog::open`]). Groups live in the one
//! process that holds it ([`EmbeddedLog::hold`], a file lock): members share partitions inside it, and a step is fenced
//! there, at the moment at which it is written.

mod append;
#[doc(hidden)]
pub mod by_hand;
mod changes;
mod coordinator;
mod database;
mod directory;
mod examine;
mod fetch;
mod reader;
mod readers;
mod room;
mod snapshot;
mod subscription;
#[cfg(test)]
mod tests;
mod tidy;
mod writer;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub use examine::Examined;
pub use snapshot::Snapshot;
use tokio::time::Instant;

use self::{
    changes::Changes,
    coordinator::Coordinator,
    directory::Places,
    fetch::{Cursor, Topic},
    reader::EmbeddedReader,
    readers::Readers,
    room::Room,
    subscription::EmbeddedSubscription,
    writer::{Done, Job, Work, Writer, WriterParts},
};
use crate::{
    Clock, GroupOffset, Log, LogError, NewRecord, Position, Reader, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};

/// A log in a data directory. Readers and subscriptions keep it open.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

/// What [`EmbeddedLog::tidy`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// How many records.
    pub records: u64,
    /// Their keys, values and headers, in bytes.
    pub bytes: u64,
}

/// What a group has yet to consume of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many records.
    pub records: u64,
    /// Their keys, values and headers, in bytes.
    pub bytes: u64,
    /// When the oldest of them was appended.
    pub oldest: Option<DateTime<Utc>>,
}

struct Shared {
    directory: PathBuf,
    held: bool,
    readers: Arc<Readers>,
    changes: Changes,
    coordinator: Arc<Coordinator>,
    places: Arc<Places>,
    room: Arc<Room>,
    writer: Writer,
}

impl EmbeddedLog {
    /// Opens the log of a data directory to append and read, also while a `serve` holds it. Makes both where they are
    /// missing. Blocks briefly.
    ///
    /// [`LogError::Refused`]: the directory cannot be made; the file was taken away from beside its write-ahead log or its holder; the file is damaged, of another program or of a newer version.
    /// [`LogError::Unavailable`]: the file cannot be opened or written now.
    pub fn open(directory: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Self::start(directory.as_ref(), clock, false)
    }

    /// Opens the log and holds the directory: for `serve`, whose process alone may subscribe. It is held until the log and
    /// everything made from it are dropped, or the process ends.
    ///
    /// [`LogError::Refused`] also where another process holds it; the text says which.
    pub fn hold(directory: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Self::start(directory.as_ref(), clock, true)
    }

    fn start(directory: &Path, clock: Arc<dyn Clock>, hold: bool) -> Result<Self, LogError> {
        let (log, work) = Self::assemble(directory, clock, hold, false)?;
        log.shared.writer.start(work)?;
        Ok(log)
    }

    /// A log whose writer's work is still to be done by somebody.
    fn assemble(
        directory: &Path,
        clock: Arc<dyn Clock>,
        hold: bool,
        by_hand: bool,
    ) -> Result<(Self, Work), LogError> {
        directory::make(directory)?;
        let lock = if hold { Some(directory::lock(directory)?) } else { None };
        let file = directory.join(database::FILE);
        let there = directory::find(directory, hold)?;
        let connection = database::open(&file, !there, hold)?;
        let places = Arc::new(Places::remember(&file, lock.as_ref())?);
        let room = Arc::new(Room::default());
        let changes = Changes::new(file.clone(), by_hand);
        let coordinator = Arc::new(Coordinator::default());
        let (writer, work) = Writer::new(WriterParts {
            file: file.clone(),
            connection,
            clock,
            coordinator: Arc::clone(&coordinator),
            changes: changes.sender(),
            places: Arc::clone(&places),
            room: Arc::clone(&room),
            lock,
        });
        let readers = Arc::new(Readers::new(file, by_hand));
        let shared = Shared {
            directory: directory.to_owned(),
            held: hold,
            readers,
            changes,
            coordinator,
            places,
            room,
            writer,
        };
        Ok((Self { shared: Arc::new(shared) }, work))
    }

    /// Removes what is beyond its topic's limits ([`crate::Keep`]) and gives the space back, in small pieces: appends and steps
    /// go on in between. To be called now and then by whoever holds the directory; broken off, it is gone on with the
    /// next time.
    pub async fn tidy(&self) -> Result<Tidied, LogError> {
        let mut tidied = Tidied::default();
        loop {
            let Done { piece, .. } = self.shared.writer.run(Job::Tidy).await?;
            tidied.records += piece.records;
            tidied.bytes += piece.bytes;
            if !piece.more {
                return Ok(tidied);
            }
        }
    }

    /// What `group` has yet to consume of `topic`: nothing where there is no such topic, all of it where the group never
    /// committed. Looks at every record of it.
    pub async fn backlog(&self, group: &str, topic: &str) -> Result<Backlog, LogError> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        let backlog = move |connection: &_| fetch::backlog(connection, &group, &topic);
        self.shared.readers.run("cannot see what is left to consume", backlog).await
    }

    async fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let wanted = name.to_owned();
        let found =
            self.shared.readers.run("cannot look up the topic", move |c| fetch::topic(c, &wanted)).await?;
        found.map(Arc::new).ok_or_else(|| fetch::unknown_topic(name))
    }
}

/// `max_wait` from now; a year at most, since an instant cannot lie as far ahead as a duration can be long.
fn deadline(max_wait: Duration) -> Instant {
    Instant::now() + max_wait.min(Duration::from_secs(365 * 86_400))
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared { directory, held, .. } = &*self.shared;
        f.debug_struct("EmbeddedLog")
            .field("directory", directory)
            .field("held", held)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.shared.writer.run(Job::CreateTopics(topics.to_vec())).await.map(drop)
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.shared.writer.run(Job::Append(records)).await?.positions)
    }

    async fn writable(&self) -> Result<(), LogError> {
        self.shared.places.check()?;
        if self.shared.room.is_proven(&self.shared.directory) {
            return Ok(());
        }
        self.shared.writer.run(Job::Prove).await.map(drop)
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.shared.readers.run("cannot list the topics", fetch::topics).await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.shared.readers.run("cannot list the groups", fetch::groups).await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let topic = self.topic(topic).await?;
        if let Some((partition, _)) = from.iter().find(|(partition, _)| *partition >= topic.partitions) {
            return Err(fetch::unknown_partition(&topic, *partition));
        }
        let cursor = |(partition, offset): &(u32, u64)| Cursor {
            topic: Arc::clone(&topic),
            partition: *partition,
            // SQLite counts to 2^63 - 1.
            position: (*offset).min(i64::MAX as u64),
        };
        Ok(Box::new(EmbeddedReader::new(Arc::clone(&self.shared), from.iter().map(cursor).collect())))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        if !self.shared.held {
            return Err(LogError::Refused(format!(
                "only the process that holds the data directory {} can join a group; use `breakdown serve`",
                self.shared.directory.display()
            )));
        }
        let changelog = self.topic(&spec.changelog).await?;
        let mut inputs = Vec::with_capacity(spec.inputs.len());
        for name in &spec.inputs {
            inputs.push(self.topic(name).await?);
        }
        let distinct = spec.inputs.iter().collect::<BTreeSet<_>>().len() == inputs.len();
        if inputs.is_empty()
            || !distinct
            || inputs.iter().any(|topic| topic.partitions != changelog.partitions)
        {
            return Err(LogError::Refused(format!(
                "group {} needs distinct inputs, at least one, with as many partitions as its changelog {} ({})",
                spec.group, spec.changelog, changelog.partitions
            )));
        }
        if !changelog.compacted {
            return Err(LogError::Refused(format!(
                "the changelog {} is not a compacted topic",
                spec.changelog
            )));
        }
        let seat = self.shared.coordinator.join(&spec, changelog.partitions)?;
        let log = Arc::clone(&self.shared);
        Ok(Box::new(EmbeddedSubscription::new(log, spec.group, inputs, changelog, seat)))
    }
}
