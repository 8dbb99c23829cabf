//! The one thread that writes, and its group commit.
//!
//! Whatever waits is taken together, written in one transaction and answered together: one sync to disk serves all.
//! A request that is wrong in itself (an unknown topic, a fenced step) is found out before it writes anything, and the
//! others go on; when the transaction fails, all of it is rolled back and every request in it is told so.
//!
//! Whoever opened the log [by hand](super::by_hand) has the thread's work done when it says so, and no thread is started.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    append::Page,
    coordinator::{Claim, Committing, Coordinator, Seat},
    database,
    directory::{Places, write_ahead},
    room::{self, Room},
    tidy::{self, Piece},
};
use crate::{Clock, LogError, NewRecord, Position, TopicSpec};

/// How many requests may wait; more wait in their callers.
const QUEUE: usize = 1_024;
/// What one transaction holds at most, beyond its first request: requests, and bytes of their records.
const GROUP_REQUESTS: usize = 1_024;
const GROUP_BYTES: usize = 8 << 20;
/// How long another process that writes is waited for in all.
const BUSY_FOR: Duration = Duration::from_secs(30);
/// Beyond this the write-ahead log is cut back, for which readers are waited for briefly: under steady load there may
/// never be a moment without one, and it would grow for ever.
const WAL_BYTES: u64 = 64 << 20;

/// What the writer does for somebody.
pub(super) enum Job {
    /// Creates the topics that are missing.
    CreateTopics(Vec<TopicSpec>),
    /// Appends records.
    Append(Vec<NewRecord>),
    /// Makes a step.
    Step(StepJob),
    /// Removes a piece of what is kept no longer.
    Tidy,
    /// Writes what proves that the disk takes something.
    Prove,
    /// Lets the file grow to so many pages; to play a full disk.
    #[cfg(test)]
    LimitPages(u32),
}

/// A step of a subscription.
pub(super) struct StepJob {
    pub(super) group: String,
    pub(super) seat: Seat,
    pub(super) claims: Vec<Claim>,
    /// Topic id, partition and the offset of the next record, of everything consumed.
    pub(super) consumed: Vec<(i64, u32, u64)>,
    pub(super) append: Vec<NewRecord>,
}

/// What became of a job that was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Where the records of an append or a step stand, in the order given.
    pub(super) positions: Vec<Position>,
    /// What was removed.
    pub(super) piece: Piece,
}

pub(super) type Answer = Result<Done, LogError>;

pub(super) struct Request {
    job: Job,
    answer: oneshot::Sender<Answer>,
}

/// What is to become of a transaction. Nobody but who writes by hand asks for anything but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is committed.
    Made,
    /// It fails, and nothing of it is written.
    RolledBack,
    /// It is committed, and whoever asked is told that this is not known.
    Unknown,
}

impl Request {
    fn bytes(&self) -> usize {
        match &self.job {
            Job::Append(records) | Job::Step(StepJob { append: records, .. }) => {
                records.iter().map(super::append::size).sum()
            }
            _ => 0,
        }
    }
}

/// The thread's other end. Dropping it waits until the thread has written what was asked for and closed the file.
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread works with.
pub(super) struct WriterParts {
    pub(super) file: PathBuf,
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) changes: watch::Sender<u64>,
    pub(super) places: Arc<Places>,
    pub(super) room: Arc<Room>,
    /// The data directory's lock: kept until nothing can be written any more, so that the next holder restores after us.
    pub(super) lock: Option<File>,
}

impl Writer {
    /// A writer, and the work that is to be done for it.
    pub(super) fn new(parts: WriterParts) -> (Self, Work) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { requests: Some(sender), thread: Mutex::default() }, Work::new(parts, receiver))
    }

    /// Has a thread do the work.
    pub(super) fn start(&self, mut work: Work) -> Result<(), LogError> {
        let thread =
            std::thread::Builder::new().name("eventlog-write".into()).spawn(move || work.run()).map_err(
                |error| LogError::Unavailable(format!("cannot start the log's writer: {error}; try again")),
            )?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Has `job` done; the answer comes when it is on disk, or has failed.
    pub(super) async fn run(&self, job: Job) -> Answer {
        let stopped =
            || LogError::Unavailable("the log's writer has stopped; start the program again".into());
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(stopped)?;
        requests.send(Request { job, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// What the thread does.
pub(super) struct Work {
    parts: WriterParts,
    requests: mpsc::Receiver<Request>,
    /// What is written next, together.
    group: Vec<Request>,
    /// Size of the write-ahead log beyond which it is next cut back.
    cut_beyond: u64,
    #[cfg(test)]
    page_limit: Option<u32>,
}

impl Work {
    fn new(parts: WriterParts, requests: mpsc::Receiver<Request>) -> Self {
        Self {
            parts,
            requests,
            group: Vec::new(),
            cut_beyond: WAL_BYTES,
            #[cfg(test)]
            page_limit: None,
        }
    }

    fn run(&mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            self.group.push(first);
            self.write(Fate::Made, &mut |_, _| ());
        }
    }

    /// Waits until something is to be written; false when nothing ever will be.
    pub(super) async fn asked(&mut self) -> bool {
        if self.group.is_empty() {
            self.group.extend(self.requests.recv().await);
        }
        !self.group.is_empty()
    }

    /// Writes what waits. `made` is told of what was written before whoever asked for it is.
    pub(super) fn write(&mut self, fate: Fate, made: &mut dyn FnMut(&Job, &Answer)) {
        let mut bytes: usize = self.group.iter().map(Request::bytes).sum();
        while self.group.len() < GROUP_REQUESTS && bytes < GROUP_BYTES {
            let Ok(next) = self.requests.try_recv() else { break };
            bytes += next.bytes();
            self.group.push(next);
        }
        let mut group = std::mem::take(&mut self.group);
        if !group.is_empty() {
            self.commit(&mut group, fate, made);
        }
        self.group = group;
    }

    fn commit(&mut self, group: &mut Vec<Request>, fate: Fate, made: &mut dyn FnMut(&Job, &Answer)) {
        let began = Instant::now();
        let mut committing = Vec::new();
        let answers = self.transact(group, &mut committing, fate, made);
        // Partitions may move again before anybody is answered: the transaction has ended either way.
        drop(committing);
        let mut shrank = false;
        if answers.is_ok() || fate == Fate::Unknown {
            self.parts.changes.send_modify(|count| *count += 1);
        }
        match answers {
            Ok(answers) => {
                metrics::histogram!("eventlog_commit_seconds").record(began.elapsed());
                let records: usize = answers.iter().flatten().map(|done| done.positions.len()).sum();
                metrics::counter!("eventlog_appended_records_total").increment(records as u64);
                // The file itself becomes shorter only with what is written back to it.
                shrank = answers.iter().flatten().any(|Done { piece, .. }| piece.shrank && !piece.more);
                for (request, answer) in group.drain(..).zip(answers) {
                    // Whoever asked may be gone.
                    let _ = request.answer.send(answer);
                }
            }
            Err(error) => {
                self.parts.room.refused();
                tracing::warn!(%error, requests = group.len(), "a transaction failed and was rolled back");
                metrics::counter!("eventlog_failed_commits_total").increment(1);
                for request in group.drain(..) {
                    let _ = request.answer.send(Err(error.clone()));
                }
                self.reopen();
            }
        }
        self.cut_wal(shrank);
    }

    fn transact(
        &mut self,
        group: &[Request],
        committing: &mut Vec<Committing>,
        fate: Fate,
        made: &mut dyn FnMut(&Job, &Answer),
    ) -> Result<Vec<Answer>, LogError> {
        let WriterParts { file, connection, clock, coordinator, places, room, .. } = &mut self.parts;
        places.check()?;
        let file = file.clone();
        let failed =
            |doing: &'static str| move |error: &rusqlite::Error| database::failure(&file, doing, error);
        let writing = failed.clone()("cannot write to the log; nothing was written");
        let transaction = begin(connection).map_err(|error| writing(&error))?;
        let before = transaction.total_changes();
        let now = clock.now().timestamp_millis();
        let mut page = Page::new(&transaction, now);
        let mut answers = Vec::with_capacity(group.len());
        for request in group {
            let mut piece = Piece::default();
            let answer = match &request.job {
                Job::CreateTopics(topics) => page.create_topics(topics),
                Job::Append(records) => page.append(records),
                Job::Step(step) => match page.resolve(&step.append) {
                    Ok(Ok(places)) => match coordinator.begin_commit(&step.group, step.seat, &step.claims) {
                        Ok(guard) => {
                            committing.push(guard);
                            page.consume(&step.group, &step.consumed)
                                .and_then(|()| page.write(&step.append, &places).map(Ok))
                        }
                        Err(lost) => Ok(Err(lost)),
                    },
                    Ok(Err(refused)) => Ok(Err(refused)),
                    Err(error) => Err(error),
                },
                Job::Prove => room::prove(&transaction).map(|()| Ok(Vec::new())),
                Job::Tidy => tidy::piece(&transaction, now).map(|done| {
                    piece = done;
                    Ok(Vec::new())
                }),
                #[cfg(test)]
                Job::LimitPages(pages) => {
                    self.page_limit = Some(*pages);
                    limit_pages(&transaction, self.page_limit).map(|()| Ok(Vec::new()))
                }
            };
            let answer = answer.map_err(|error| writing(&error))?;
            answers.push(answer.map(|positions| Done { positions, piece }));
        }
        page.finish().map_err(|error| writing(&error))?;
        let unclear = failed("cannot commit to the log; it is not known whether the records were written");
        let wrote = transaction.total_changes() > before;
        if fate == Fate::RolledBack {
            return Err(writing(&played(rusqlite::ffi::SQLITE_FULL)));
        }
        transaction.commit().map_err(|error| unclear(&error))?;
        group.iter().zip(&answers).for_each(|(request, answer)| made(&request.job, answer));
        if fate == Fate::Unknown {
            return Err(unclear(&played(rusqlite::ffi::SQLITE_IOERR)));
        }
        // A transaction that changed nothing asked nothing of the disk.
        if wrote {
            room.took();
        }
        Ok(answers)
    }

    /// After an error nothing that the connection remembers is trusted.
    fn reopen(&mut self) {
        if self.parts.places.check().is_err() {
            // What stands in the place of the one that is gone is not ours.
            return;
        }
        match database::open(&self.parts.file, false, self.parts.lock.is_some()) {
            Ok(connection) => {
                #[cfg(test)]
                let _ = limit_pages(&connection, self.page_limit);
                self.parts.connection = connection;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot open the log again; going on with the old connection")
            }
        }
    }

    /// Cuts the write-ahead log back where it is too long, or at once.
    fn cut_wal(&mut self, at_once: bool) {
        let size = std::fs::metadata(write_ahead(&self.parts.file)).map_or(0, |metadata| metadata.len());
        if size <= self.cut_beyond && !at_once {
            if size <= WAL_BYTES {
                self.cut_beyond = WAL_BYTES;
            }
            return;
        }
        let connection = &self.parts.connection;
        let cut = connection
            .busy_timeout(Duration::from_millis(200))
            .and_then(|()| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
            })
            .is_ok_and(|busy| busy == 0);
        let _ = connection.busy_timeout(database::BUSY);
        // Somebody reads for long: again when as much again has come.
        self.cut_beyond = if cut { WAL_BYTES } else { size + WAL_BYTES };
    }
}

#[cfg(test)]
fn limit_pages(connection: &Connection, limit: Option<u32>) -> rusqlite::Result<()> {
    limit.map_or(Ok(()), |pages| connection.pragma_update(None, "max_page_count", pages))
}

/// An error of SQLite's that did not happen.
fn played(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

/// Begins a transaction; another process that writes is waited for.
fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    let give_up = Instant::now() + BUSY_FOR;
    loop {
        // `unchecked`, since the borrow of a checked one would outlive the loop; the connection is ours alone.
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error) if database::is_busy(&error) && Instant::now() < give_up => {}
            result => return result,
        }
    }
}
