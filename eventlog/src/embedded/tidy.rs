//! Removing what is kept no longer, and giving its space back.
//!
//! Both are done in small pieces, each a part of one of the writer's transactions, so that appends and steps go on in
//! between. The oldest records of a partition go first and only from its front, which keeps its offsets gapless from
//! the first kept one on. What a group has yet to consume stays, whatever its age.

use rusqlite::{Transaction, params};

/// How many records one piece removes at most.
const RECORDS: u64 = 500;
/// How many free pages one piece cuts off the file's end at most.
const PAGES: i64 = 500;
/// So many free pages are left for what comes next: 16 MiB.
const SPARE_PAGES: i64 = 4_096;

/// What one piece did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// How many records were removed.
    pub(super) records: u64,
    /// Their keys, values and headers, in bytes.
    pub(super) bytes: u64,
    /// Whether pages were cut off the file's end.
    pub(super) shrank: bool,
    /// True when there is more to do.
    pub(super) more: bool,
}

/// A partition with limits.
struct Limited {
    topic: i64,
    partition: u32,
    first: u64,
    bytes: u64,
    /// What was appended before this instant goes; Unix milliseconds.
    before: Option<i64>,
    max_bytes: Option<u64>,
    /// What stands from this offset on stays.
    consumed: u64,
}

/// Removes a piece of what is beyond its topic's limits at `now` (Unix milliseconds); nothing more of that being left, gives
/// a piece of the free space back.
pub(super) fn piece(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<Piece> {
    let mut piece = Piece::default();
    for partition in limited(transaction, now)? {
        if piece.records == RECORDS {
            break;
        }
        remove(transaction, &partition, &mut piece)?;
    }
    (piece.shrank, piece.more) = if piece.records > 0 { (false, true) } else { shrink(transaction)? };
    Ok(piece)
}

fn limited(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<Vec<Limited>> {
    let mut statement = transaction.prepare_cached(
        "SELECT t.id, p.partition, p.first_offset, p.bytes, t.retention_ms, t.retention_bytes,
             min(p.end_offset, coalesce((SELECT min(committed) FROM group_offsets g
                                         WHERE g.topic = t.id AND g.partition = p.partition), p.end_offset))
         FROM topics t JOIN partitions p ON p.topic = t.id
         WHERE NOT t.compacted AND (t.retention_ms IS NOT NULL OR t.retention_bytes < p.bytes)
             AND p.first_offset < p.end_offset",
    )?;
    let rows = statement.query_map((), |row| {
        let age: Option<i64> = row.get(4)?;
        Ok(Limited {
            topic: row.get(0)?,
            partition: row.get(1)?,
            first: row.get(2)?,
            bytes: row.get(3)?,
            before: age.map(|age| now.saturating_sub(age)),
            max_bytes: row.get(5)?,
            consumed: row.get(6)?,
        })
    })?;
    rows.collect()
}

fn remove(transaction: &Transaction<'_>, partition: &Limited, piece: &mut Piece) -> rusqlite::Result<()> {
    let Limited { topic, partition: number, first, bytes, before, max_bytes, consumed } = *partition;
    let mut oldest = transaction.prepare_cached(
        "SELECT id, offset, timestamp,
             octet_length(key) + coalesce(octet_length(value), 0) + coalesce(octet_length(headers), 0)
         FROM records WHERE topic = ? AND partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM records WHERE id = ?")?;
    let mut rows = oldest.query(params![topic, number, first, consumed, RECORDS - piece.records])?;
    let (mut left, mut kept_from) = (bytes, first);
    while let Some(row) = rows.next()? {
        let (id, offset, appended, size): (i64, u64, i64, u64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let too_old = before.is_some_and(|before| appended < before);
        let too_much = max_bytes.is_some_and(|max| left > max);
        if !too_old && !too_much {
            break;
        }
        delete.execute([id])?;
        left = left.saturating_sub(size);
        kept_from = offset + 1;
        piece.records += 1;
        piece.bytes += size;
    }
    if kept_from > first {
        transaction
            .prepare_cached(
                "UPDATE partitions SET first_offset = ?, bytes = ? WHERE topic = ? AND partition = ?",
            )?
            .execute(params![kept_from, left, topic, number])?;
    }
    Ok(())
}

/// Whether something was given back, and whether there is more.
fn shrink(transaction: &Transaction<'_>) -> rusqlite::Result<(bool, bool)> {
    let free = |transaction: &Transaction<'_>| {
        transaction.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0))
    };
    let before = free(transaction)?;
    if before <= SPARE_PAGES {
        return Ok((false, false));
    }
    let pages = PAGES.min(before - SPARE_PAGES);
    let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut steps = vacuum.query(())?;
    while steps.next()?.is_some() {}
    // A file that cannot shrink (another database's settings) must not be tried for ever.
    let after = free(transaction)?;
    Ok((after < before, after < before && after > SPARE_PAGES))
}
