//! The log as it was at one moment, for reading only: whatever a `serve` beside it writes meanwhile is not seen.
//!
//! One read transaction is kept open. While it is, the write-ahead log of the `serve` cannot be cut back.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, config::DbConfig};

use super::{
    database, directory,
    examine::{self, Examined},
    fetch::{self, Batch, Cursor},
};
use crate::{
    GroupOffset, Log, LogError, NewRecord, Position, Reader, Record, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec,
};

/// How many records one batch holds at most; its bytes are bounded as well.
const BATCH_RECORDS: usize = 1_000;

/// The log of a data directory at one moment. Clones share the moment. As a [`Log`] it reads only: whatever writes or joins is
/// [`LogError::Refused`].
#[derive(Clone)]
pub struct Snapshot {
    file: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

impl Snapshot {
    /// Takes a snapshot. Blocks briefly; writes nothing, and leaves the file as it is also where nobody else has it open.
    ///
    /// # Errors
    /// [`LogError::Refused`]: there is no log, its file was taken away, it is damaged beyond opening, of another program or of another version, or its
    /// write-ahead log was taken away under a process that has it open.
    pub fn take(directory: impl AsRef<Path>) -> Result<Self, LogError> {
        let file = directory.as_ref().join(database::FILE);
        if !directory::find(directory.as_ref(), false)? {
            return Err(LogError::Refused(format!(
                "there is no log in {}: name its directory with --data-dir",
                directory.as_ref().display()
            )));
        }
        let wal = directory::write_ahead(&file);
        let index = file.with_extension("db-shm");
        if index.exists() && !wal.exists() {
            return Err(LogError::Refused(format!(
                "{} is gone, and {} is there: somebody removed the write-ahead log, and with it what was acknowledged last; put it \
                 back before anything is started",
                wal.display(),
                index.display()
            )));
        }
        let failed = |error| database::failure(&file, database::OPENING, &error);
        let connection = database::open_for_reading(&file).map_err(failed)?;
        // The last one to close would write the WAL into the file: nothing is to change here.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        // The first read fixes the moment.
        match database::check(&connection, &file)? {
            database::SCHEMA_VERSION => {}
            0 => {
                return Err(LogError::Refused(format!(
                    "{} is empty: nothing was ever written to this log",
                    file.display()
                )));
            }
            older => {
                return Err(LogError::Refused(format!(
                    "{} was written by an older breakdown (schema {older}): `breakdown serve` of this version brings it up to date",
                    file.display()
                )));
            }
        }
        Ok(Self { file, connection: Arc::new(Mutex::new(connection)) })
    }

    /// Looks whether the file is whole and agrees with itself. Reads all of it; memory is bounded.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the program is stopping.
    pub async fn examine(&self) -> Result<Vec<Examined>, LogError> {
        self.run("cannot examine the log", |connection| Ok(examine::all(connection))).await
    }

    async fn run<T, F>(&self, doing: &'static str, work: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let Self { file, connection } = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| database::failure(&file, doing, &error))
        });
        task.await.map_err(|_| LogError::Unavailable(format!("{doing}: the program is stopping")))?
    }

    fn only_reads<T>(&self) -> Result<T, LogError> {
        Err(LogError::Refused(format!("{} was opened for reading only", self.file.display())))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("file", &self.file).finish_non_exhaustive()
    }
}

#[async_trait]
impl Log for Snapshot {
    async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        self.only_reads()
    }

    async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.only_reads()
    }

    async fn writable(&self) -> Result<(), LogError> {
        self.only_reads()
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.run("cannot list the topics", fetch::topics).await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.run("cannot list the groups", fetch::groups).await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let wanted = topic.to_owned();
        let found = self.run("cannot look up the topic", move |c| fetch::topic(c, &wanted)).await?;
        let topic = Arc::new(found.ok_or_else(|| fetch::unknown_topic(topic))?);
        if let Some((partition, _)) = from.iter().find(|(partition, _)| *partition >= topic.partitions) {
            return Err(fetch::unknown_partition(&topic, *partition));
        }
        let cursor = |(partition, offset): &(u32, u64)| Cursor {
            topic: Arc::clone(&topic),
            partition: *partition,
            // SQLite counts to 2^63 - 1.
            position: (*offset).min(i64::MAX as u64),
        };
        let cursors = from.iter().map(cursor).collect();
        Ok(Box::new(SnapshotReader { snapshot: self.clone(), cursors, first: 0, drained: false }))
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        self.only_reads()
    }
}

struct SnapshotReader {
    snapshot: Snapshot,
    cursors: Vec<Cursor>,
    /// The cursor that reads first.
    first: usize,
    drained: bool,
}

#[async_trait]
impl Reader for SnapshotReader {
    /// Never waits: nothing is to come.
    async fn next(&mut self, _: Duration) -> Result<Vec<Record>, LogError> {
        while !self.drained {
            let (cursors, first) = (self.cursors.clone(), self.first);
            let batch = move |connection: &_| fetch::batch(connection, cursors, first, BATCH_RECORDS);
            let Batch { records, cursors, drained } =
                self.snapshot.run("cannot read the topic", batch).await?;
            (self.cursors, self.drained) = (cursors, drained);
            self.first = self.first.wrapping_add(1) % self.cursors.len().max(1);
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }

    async fn at_end(&mut self) -> Result<bool, LogError> {
        let cursors = self.cursors.clone();
        let more = move |connection: &_| {
            cursors.iter().try_fold(false, |more, cursor| Ok(more || fetch::has_more(connection, cursor)?))
        };
        let more = self.snapshot.run("cannot read the topic", more).await?;
        self.drained &= !more;
        Ok(!more)
    }
}
