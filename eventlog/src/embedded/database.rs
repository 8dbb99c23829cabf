//! The file: its pragmas, its schema, and what its errors mean.
//!
//! `records` has an integer primary key and finds a place by a unique index: as WITHOUT ROWID, records of a kilobyte
//! take four times the space. `partitions` keeps each partition's ends and last timestamp, so that they outlive the
//! records; and how many bytes are kept, so that nobody counts them. `newest` names, for each key of a compacted topic, the row that holds its value, so that the one it replaces
//! goes in the same transaction; a key that was deleted has no row at all. `group_offsets` holds, per group, the offset
//! of the next record.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::room;
use crate::LogError;

/// The file's name in the data directory.
pub(super) const FILE: &str = "log.db";
/// Marks the file as ours ("BrkD"), so that a foreign database is never written to.
const APPLICATION_ID: i32 = 0x4272_6b44;
/// Version of the schema below; [`migrate`] brings an older one here.
pub(super) const SCHEMA_VERSION: i32 = 2;
/// How long one attempt waits for another process that writes.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// What is done when the file is opened.
pub(super) const OPENING: &str = "cannot open the log";
/// With less than this free not even the WAL and its index can be made beside the file.
const LEAST_BYTES: u64 = 128 << 10;
/// What the write-ahead log takes between two checkpoints, twice over: so much should be free.
const ROOM_BYTES: u64 = 32 << 20;

/// What version 1 lacked. Its files could not shrink either: `VACUUM` makes them so.
const FROM_1: &str = "
    ALTER TABLE topics ADD COLUMN retention_bytes INTEGER;
    ALTER TABLE partitions ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE partitions SET bytes = coalesce((
        SELECT sum(octet_length(key) + coalesce(octet_length(value), 0) + coalesce(octet_length(headers), 0))
        FROM records r WHERE r.topic = partitions.topic AND r.partition = partitions.partition), 0);
";

const SCHEMA: &str = "
    CREATE TABLE topics (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        retention_ms INTEGER, -- NULL: for ever
        retention_bytes INTEGER -- of one partition; NULL: any number
    ) STRICT;
    CREATE TABLE partitions (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        first_offset INTEGER NOT NULL DEFAULT 0,
        end_offset INTEGER NOT NULL DEFAULT 0,
        last_timestamp INTEGER NOT NULL DEFAULT 0, -- Unix milliseconds
        bytes INTEGER NOT NULL DEFAULT 0, -- of keys, values and headers that are kept
        PRIMARY KEY (topic, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        timestamp INTEGER NOT NULL, -- Unix milliseconds
        key BLOB NOT NULL,
        value BLOB,
        headers TEXT, -- JSON [[name, value], …]; NULL for none
        UNIQUE (topic, partition, offset)
    ) STRICT;
    CREATE TABLE newest (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        key BLOB NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (topic, partition, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE group_offsets (
        name TEXT NOT NULL,
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        committed INTEGER NOT NULL,
        PRIMARY KEY (name, topic, partition)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the file for writing; makes it only where `make` says that there is none, and the schema in it where it is empty. An
/// older schema is brought up to date for whoever holds the directory; beside a `serve`, which may be older than we are, that
/// is refused.
pub(super) fn open(file: &Path, make: bool, held: bool) -> Result<Connection, LogError> {
    let failed = |error| failure(file, OPENING, &error);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, make);
    let mut connection = Connection::open_with_flags(file, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    check(&connection, file)?;
    // Only has a meaning before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "incremental").map_err(failed)?;
    // Two processes that turn a new file into a WAL at once: SQLite tells the second one that it is busy, without waiting.
    let mut attempts = 0;
    loop {
        attempts += 1;
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => break,
            Ok(mode) => {
                return Err(LogError::Refused(format!(
                    "cannot open the log: the file system of {} has no shared memory (journal mode {mode}); choose a \
                     data directory on a local disk",
                    file.display()
                )));
            }
            Err(error) if is_busy(&error) && attempts < 100 => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(failed(error)),
        }
    }
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    // 16 MiB between checkpoints: each one costs two syncs more.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000).map_err(failed)?;
    match check(&connection, file)? {
        SCHEMA_VERSION => return Ok(connection),
        0 => {}
        older => return migrate(connection, file, older, held),
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if check(&transaction, file)? == 0 {
        transaction.execute_batch(SCHEMA).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(connection)
}

fn migrate(mut connection: Connection, file: &Path, from: i32, held: bool) -> Result<Connection, LogError> {
    let failed = |error| failure(file, "cannot bring the log's schema up to date; it is as it was", &error);
    if !held {
        return Err(LogError::Refused(format!(
            "{} was written by an older breakdown (schema {from}, this one writes {SCHEMA_VERSION}): start `breakdown serve` of \
             this version on it, which brings it up to date",
            file.display()
        )));
    }
    tracing::info!(file = %file.display(), from, to = SCHEMA_VERSION, "bringing the log's schema up to date");
    // Cannot be part of a transaction. Broken off, it is done again: the version changes last.
    connection.execute_batch("VACUUM").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    transaction.execute_batch(FROM_1).map_err(failed)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}

/// Opens the file, which exists, for reading only.
pub(super) fn open_for_reading(file: &Path) -> rusqlite::Result<Connection> {
    // SQLite needs write access to the WAL's index even to read; `query_only` keeps us from more.
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -1_024)?; // KiB
    Ok(connection)
}

/// The schema's version; 0 for a file that is still empty. Refuses what is not ours, and what is newer than we are.
pub(super) fn check(connection: &Connection, file: &Path) -> Result<i32, LogError> {
    let read = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
            .map_err(|error| failure(file, OPENING, &error))
    };
    // Another may make the schema meanwhile, in one step: whatever was there when the tables were counted is there for what is read next.
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0));
    let tables = tables.map_err(|error| failure(file, OPENING, &error))?;
    let (version, application) = (read("user_version")?, read("application_id")?);
    let empty = version == 0 && application == 0 && tables == 0;
    if !empty && application != APPLICATION_ID {
        return Err(LogError::Refused(format!(
            "cannot open the log: {} is a database of another program; choose another data directory",
            file.display()
        )));
    }
    if version > SCHEMA_VERSION {
        return Err(LogError::Refused(format!(
            "cannot open the log: {} was written by a newer breakdown (schema {version}, this one knows {SCHEMA_VERSION}); \
             use that version, or another data directory",
            file.display()
        )));
    }
    Ok(version)
}

/// True when another process holds the lock that was asked for.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn no_space(doing: &str, file: &dyn std::fmt::Display, free: Option<u64>) -> LogError {
    let then = if doing == OPENING { "then start again" } else { "and writing goes on by itself" };
    let free = free.map_or(String::new(), |free| format!(" ({} KiB are free on its disk)", free / 1_024));
    LogError::Unavailable(format!(
        "{doing}: no space left for {file}{free}; free at least {} MiB there, {then}",
        ROOM_BYTES >> 20
    ))
}

/// What an error of SQLite means to the caller.
pub(super) fn failure(file: &Path, doing: &str, error: &rusqlite::Error) -> LogError {
    let free = room::free_bytes(file.parent().unwrap_or(file));
    let file = file.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => no_space(doing, &file, free),
        // SQLite says nothing more of files beside the database (the WAL's index) that cannot be made or grow.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
            if free.is_some_and(|free| free < LEAST_BYTES) =>
        {
            no_space(doing, &file, free)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LogError::Unavailable(format!(
            "{doing}: another process has been writing to {file} for too long; try again when it is done"
        )),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => LogError::Refused(format!(
            "{doing}: {file} is damaged, or not a log ({error}); restore it from a backup, or choose another data directory"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => LogError::Refused(format!(
            "{doing}: {file} cannot be opened for writing ({error}); check its permissions and those of its directory"
        )),
        Some(_) => LogError::Unavailable(format!(
            "{doing}: {file}: {error}; check the disk and the file's permissions, then try again"
        )),
        // Not SQLite's word but rusqlite's: a column that does not hold what we wrote.
        None => LogError::Refused(format!("{doing}: {file} is damaged ({error}); restore it from a backup")),
    }
}
