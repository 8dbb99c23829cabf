//! The queries that read.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::Backlog;
use crate::{Bounds, GroupOffset, Headers, LogError, Record, TopicInfo};

/// What one batch holds at most, in bytes of keys, values and headers; a single larger record comes alone.
const BATCH_BYTES: usize = 4 << 20;

/// A topic, as its row says; never changed once it was created.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) compacted: bool,
}

/// A place in one partition.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: u32,
    /// The next offset to read.
    pub(super) position: u64,
}

/// What was found.
pub(super) struct Batch {
    /// The records, by cursor.
    pub(super) records: Vec<Record>,
    /// The cursors, in the order given, moved past what was found.
    pub(super) cursors: Vec<Cursor>,
    /// All cursors stand at the end.
    pub(super) drained: bool,
}

/// Where a group begins with a partition that it has just been given.
pub(super) struct Start {
    /// The changelog, from its first record on.
    pub(super) changelog: Cursor,
    /// Each input, from where the group had come.
    pub(super) inputs: Vec<Cursor>,
}

pub(super) fn unknown_topic(name: &str) -> LogError {
    LogError::Refused(format!("there is no topic {name}; `breakdown topics` lists those that there are"))
}

pub(super) fn unknown_partition(topic: &Topic, partition: u32) -> LogError {
    LogError::Refused(format!(
        "topic {} has no partition {partition}; they go from 0 to {}",
        topic.name,
        topic.partitions - 1
    ))
}

pub(super) fn topic(connection: &Connection, name: &str) -> rusqlite::Result<Option<Topic>> {
    connection
        .prepare_cached("SELECT id, name, partitions, compacted FROM topics WHERE name = ?")?
        .query_row([name], |row| {
            Ok(Topic { id: row.get(0)?, name: row.get(1)?, partitions: row.get(2)?, compacted: row.get(3)? })
        })
        .optional()
}

fn bounds(connection: &Connection, topic: &Topic, partition: u32) -> rusqlite::Result<Bounds> {
    connection
        .prepare_cached("SELECT first_offset, end_offset FROM partitions WHERE topic = ? AND partition = ?")?
        .query_row(params![topic.id, partition], |row| Ok(Bounds { first: row.get(0)?, end: row.get(1)? }))
}

/// Reads on from the cursors, beginning with number `first` and going round, so that a busy partition cannot starve the
/// others when the caller moves `first`. Each one gets an equal share of what is left of the batch.
pub(super) fn batch(
    connection: &Connection,
    mut cursors: Vec<Cursor>,
    first: usize,
    max_records: usize,
) -> rusqlite::Result<Batch> {
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut behind = Vec::new();
    for step in 0..cursors.len() {
        let i = (first + step) % cursors.len();
        let end = bounds(connection, &cursors[i].topic, cursors[i].partition)?.end;
        if cursors[i].position < end {
            behind.push((i, end));
        }
    }
    let mut drained = true;
    let count = behind.len();
    for (nth, (i, end)) in behind.into_iter().enumerate() {
        let left = count - nth;
        let share = (max_records - records.len()).div_ceil(left);
        let share_bytes = bytes + (BATCH_BYTES.saturating_sub(bytes)) / left;
        drained &=
            partition(connection, &mut cursors[i], end, share, (&mut bytes, share_bytes), &mut records)?;
    }
    Ok(Batch { records, cursors, drained })
}

/// Reads one partition on, up to `end`; true when it was reached.
fn partition(
    connection: &Connection,
    cursor: &mut Cursor,
    end: u64,
    max_records: usize,
    (bytes, max_bytes): (&mut usize, usize),
    records: &mut Vec<Record>,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT offset, timestamp, key, value, headers FROM records
         WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
    )?;
    let mut rows =
        statement.query(params![cursor.topic.id, cursor.partition, cursor.position, max_records])?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        let size = size(row)?;
        if !records.is_empty() && *bytes + size > max_bytes {
            return Ok(false);
        }
        *bytes += size;
        found += 1;
        let record = record(row, cursor)?;
        cursor.position = record.offset + 1;
        records.push(record);
    }
    if found < max_records {
        // Offsets up to the end may have no record any more (compaction): nothing is to come of them.
        cursor.position = cursor.position.max(end);
    }
    Ok(cursor.position >= end)
}

fn size(row: &Row<'_>) -> rusqlite::Result<usize> {
    let length = |column| {
        row.get_ref(column).map(|value| value.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len))
    };
    Ok(length(2)? + length(3)? + length(4)?)
}

fn record(row: &Row<'_>, cursor: &Cursor) -> rusqlite::Result<Record> {
    let damaged = |column, error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error);
    let headers = match row.get_ref(4)?.as_str_or_null()? {
        None => Headers::default(),
        Some(json) => serde_json::from_str(json).map_err(|error| damaged(4, error.into()))?,
    };
    let timestamp =
        DateTime::from_timestamp_millis(row.get(1)?).ok_or_else(|| damaged(1, "no such time".into()))?;
    Ok(Record {
        topic: cursor.topic.name.clone(),
        partition: cursor.partition,
        offset: row.get(0)?,
        timestamp,
        key: Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?),
        value: row.get_ref(3)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
        headers,
    })
}

/// True when records are left beyond the cursor.
pub(super) fn has_more(connection: &Connection, cursor: &Cursor) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM records WHERE topic = ? AND partition = ? AND offset >= ? LIMIT 1")?
        .exists(params![cursor.topic.id, cursor.partition, cursor.position])
}

/// Where `group` begins with `partition`.
pub(super) fn start(
    connection: &Connection,
    group: &str,
    inputs: &[Arc<Topic>],
    changelog: &Arc<Topic>,
    partition: u32,
) -> rusqlite::Result<Start> {
    let mut committed = connection.prepare_cached(
        "SELECT committed FROM group_offsets WHERE name = ? AND topic = ? AND partition = ?",
    )?;
    let inputs = inputs
        .iter()
        .map(|topic| {
            let first = bounds(connection, topic, partition)?.first;
            let committed: Option<u64> =
                committed.query_row(params![group, topic.id, partition], |row| row.get(0)).optional()?;
            Ok(Cursor {
                topic: Arc::clone(topic),
                partition,
                position: first.max(committed.unwrap_or(first)),
            })
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(Start { changelog: Cursor { topic: Arc::clone(changelog), partition, position: 0 }, inputs })
}

/// Every topic with its ends, by name.
pub(super) fn topics(connection: &Connection) -> rusqlite::Result<Vec<TopicInfo>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, first_offset, end_offset FROM topics JOIN partitions ON topic = id ORDER BY name, partition",
    )?;
    let mut rows = statement.query(())?;
    let mut topics: Vec<TopicInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let bounds = Bounds { first: row.get(1)?, end: row.get(2)? };
        match topics.last_mut() {
            Some(last) if last.name == name => last.partitions.push(bounds),
            _ => topics.push(TopicInfo { name, partitions: vec![bounds] }),
        }
    }
    Ok(topics)
}

/// What `group` has yet to consume of `topic`; all of it, where the group never committed there.
pub(super) fn backlog(connection: &Connection, group: &str, topic: &str) -> rusqlite::Result<Backlog> {
    connection
        .prepare_cached(
            "SELECT count(*),
                 coalesce(sum(octet_length(key) + coalesce(octet_length(value), 0) + coalesce(octet_length(headers), 0)), 0),
                 min(timestamp)
             FROM records r JOIN topics t ON t.id = r.topic
             WHERE t.name = ?2 AND r.offset >= coalesce((SELECT committed FROM group_offsets g
                 WHERE g.name = ?1 AND g.topic = r.topic AND g.partition = r.partition), 0)",
        )?
        .query_row([group, topic], |row| {
            let oldest: Option<i64> = row.get(2)?;
            Ok(Backlog {
                records: row.get(0)?,
                bytes: row.get(1)?,
                oldest: oldest.and_then(DateTime::from_timestamp_millis),
            })
        })
}

/// How far each group has come, by group, topic and partition.
pub(super) fn groups(connection: &Connection) -> rusqlite::Result<Vec<GroupOffset>> {
    let mut statement = connection.prepare_cached(
        "SELECT g.name, t.name, g.partition, max(g.committed, p.first_offset), p.end_offset
         FROM group_offsets g JOIN topics t ON t.id = g.topic
         JOIN partitions p ON p.topic = g.topic AND p.partition = g.partition
         ORDER BY g.name, t.name, g.partition",
    )?;
    let rows = statement.query_map((), |row| {
        Ok(GroupOffset {
            group: row.get(0)?,
            topic: row.get(1)?,
            partition: row.get(2)?,
            committed: row.get(3)?,
            end: row.get(4)?,
        })
    })?;
    rows.collect()
}
