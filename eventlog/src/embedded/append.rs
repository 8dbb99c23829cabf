//! What is written inside one transaction.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::fetch::{self, Topic};
use crate::{Keep, LogError, NewRecord, Position, TopicSpec, partition_of};

/// The largest record, in bytes of key, value and headers. A broker takes less by default.
const RECORD_BYTES: usize = 16 << 20;
/// The longest topic name, as Kafka has it.
const NAME_CHARS: usize = 249;

/// How many bytes of key, value and headers a record brings.
pub(super) fn size(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.len() + record.value.as_ref().map_or(0, |value| value.len()) + headers
}

/// Where a record goes: index into [`Page::topics`], partition.
pub(super) type Place = (usize, u32);

/// One transaction: SQLite's errors end it; an inner error is one request's own, and nothing was written for it.
pub(super) struct Page<'c> {
    transaction: &'c Transaction<'c>,
    /// Unix milliseconds.
    now: i64,
    topics: Vec<Topic>,
    ends: HashMap<(i64, u32), End>,
}

/// A partition's end, as this transaction moves it.
struct End {
    offset: u64,
    last_timestamp: i64,
    /// By how much the bytes that it keeps grow.
    grown: i64,
}

impl End {
    /// Takes the next offset; with the timestamp of the record there.
    fn next(&mut self) -> (u64, i64) {
        let offset = self.offset;
        self.offset += 1;
        (offset, self.last_timestamp)
    }
}

type Outcome<T> = rusqlite::Result<Result<T, LogError>>;

impl<'c> Page<'c> {
    pub(super) fn new(transaction: &'c Transaction<'c>, now: i64) -> Self {
        Self { transaction, now, topics: Vec::new(), ends: HashMap::new() }
    }

    pub(super) fn append(&mut self, records: &[NewRecord]) -> Outcome<Vec<Position>> {
        match self.resolve(records)? {
            Ok(places) => self.write(records, &places).map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Says where each record goes, or why one of them cannot be taken. Writes nothing.
    pub(super) fn resolve(&mut self, records: &[NewRecord]) -> Outcome<Vec<Place>> {
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let Some(index) = self.topic(&record.topic)? else {
                return Ok(Err(fetch::unknown_topic(&record.topic)));
            };
            let topic = &self.topics[index];
            let partition = record.partition.unwrap_or_else(|| partition_of(&record.key, topic.partitions));
            if partition >= topic.partitions {
                return Ok(Err(fetch::unknown_partition(topic, partition)));
            }
            let size = size(record);
            if size > RECORD_BYTES {
                return Ok(Err(LogError::Unfit(format!(
                    "a record for {} has {size} bytes; the log takes at most {RECORD_BYTES}",
                    topic.name
                ))));
            }
            places.push((index, partition));
        }
        Ok(Ok(places))
    }

    /// Writes records to places that [`Page::resolve`] gave.
    pub(super) fn write(
        &mut self,
        records: &[NewRecord],
        places: &[Place],
    ) -> rusqlite::Result<Vec<Position>> {
        records.iter().zip(places).map(|(record, place)| self.write_one(record, *place)).collect()
    }

    fn write_one(&mut self, record: &NewRecord, (topic, partition): Place) -> rusqlite::Result<Position> {
        let Topic { id: topic, compacted, .. } = self.topics[topic];
        let removed = if compacted { self.remove_older(topic, partition, &record.key)? } else { 0 };
        let end = self.end(topic, partition)?;
        let (offset, timestamp) = end.next();
        end.grown -= removed;
        if compacted && record.value.is_none() {
            // With the older record gone there is nothing left that a deletion would have to say.
            return Ok(Position { partition, offset });
        }
        let headers = if record.headers.is_empty() {
            None
        } else {
            let json = serde_json::to_string(&record.headers);
            Some(json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?)
        };
        let bytes = record.key.len()
            + record.value.as_ref().map_or(0, |value| value.len())
            + headers.as_ref().map_or(0, String::len);
        end.grown += i64::try_from(bytes).unwrap_or(i64::MAX);
        let row = self
            .transaction
            .prepare_cached(
                "INSERT INTO records (topic, partition, offset, timestamp, key, value, headers)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .insert(params![
                topic,
                partition,
                offset,
                timestamp,
                &record.key[..],
                record.value.as_deref(),
                headers
            ])?;
        if compacted {
            self.transaction
                .prepare_cached("INSERT INTO newest (topic, partition, key, record) VALUES (?, ?, ?, ?)")?
                .execute(params![topic, partition, &record.key[..], row])?;
        }
        Ok(Position { partition, offset })
    }

    fn end(&mut self, topic: i64, partition: u32) -> rusqlite::Result<&mut End> {
        Ok(match self.ends.entry((topic, partition)) {
            std::collections::hash_map::Entry::Occupied(end) => end.into_mut(),
            std::collections::hash_map::Entry::Vacant(end) => end.insert(
                self.transaction
                    .prepare_cached(
                        "SELECT end_offset, last_timestamp FROM partitions WHERE topic = ? AND partition = ?",
                    )?
                    .query_row(params![topic, partition], |row| {
                        let last: i64 = row.get(1)?;
                        // A record's timestamp never goes back.
                        Ok(End { offset: row.get(0)?, last_timestamp: last.max(self.now), grown: 0 })
                    })?,
            ),
        })
    }

    /// Removes what stood under the key; says how many bytes that were.
    fn remove_older(&self, topic: i64, partition: u32, key: &[u8]) -> rusqlite::Result<i64> {
        let older: Option<i64> = self
            .transaction
            .prepare_cached(
                "DELETE FROM newest WHERE topic = ? AND partition = ? AND key = ? RETURNING record",
            )?
            .query_row(params![topic, partition, key], |row| row.get(0))
            .optional()?;
        let Some(older) = older else { return Ok(0) };
        self.transaction
            .prepare_cached(
                "DELETE FROM records WHERE id = ? RETURNING octet_length(key) + coalesce(octet_length(value), 0)
                     + coalesce(octet_length(headers), 0)",
            )?
            .query_row([older], |row| row.get(0))
    }

    /// Keeps how far a group has come.
    pub(super) fn consume(&self, group: &str, consumed: &[(i64, u32, u64)]) -> rusqlite::Result<()> {
        let mut upsert = self.transaction.prepare_cached(
            "INSERT INTO group_offsets (name, topic, partition, committed) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET committed = excluded.committed",
        )?;
        for (topic, partition, position) in consumed {
            upsert.execute(params![group, topic, partition, position])?;
        }
        Ok(())
    }

    pub(super) fn create_topics(&mut self, specs: &[TopicSpec]) -> Outcome<Vec<Position>> {
        let mut missing: Vec<&TopicSpec> = Vec::new();
        for spec in specs {
            let known = match self.topic(&spec.name)? {
                Some(index) => Some(self.topics[index].partitions),
                None => missing.iter().find(|other| other.name == spec.name).map(|other| other.partitions),
            };
            match known {
                Some(partitions) if partitions == spec.partitions => self.keep(spec)?,
                Some(partitions) => {
                    return Ok(Err(LogError::Refused(format!(
                        "topic {} has {partitions} partitions, not {}; the number is fixed when a topic is created: \
                         configure {partitions}, or begin with another data directory",
                        spec.name, spec.partitions
                    ))));
                }
                None if spec.partitions == 0 || spec.name.is_empty() || spec.name.len() > NAME_CHARS => {
                    return Ok(Err(LogError::Refused(format!(
                        "a topic needs at least one partition and a name of 1 to {NAME_CHARS} bytes"
                    ))));
                }
                None => missing.push(spec),
            }
        }
        for spec in missing {
            let topic = self
                .transaction
                .prepare_cached("INSERT INTO topics (name, partitions, compacted) VALUES (?, ?, ?)")?
                .insert(params![spec.name, spec.partitions, spec.keep == Keep::Newest])?;
            self.keep(spec)?;
            let mut insert =
                self.transaction.prepare_cached("INSERT INTO partitions (topic, partition) VALUES (?, ?)")?;
            for partition in 0..spec.partitions {
                insert.execute(params![topic, partition])?;
            }
        }
        Ok(Ok(Vec::new()))
    }

    /// Notes what is kept of a topic; whether only the newest is was said once and for all.
    fn keep(&self, spec: &TopicSpec) -> rusqlite::Result<()> {
        let Keep::Until { age, bytes } = spec.keep else { return Ok(()) };
        let age = age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let bytes = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        self.transaction
            .prepare_cached(
                "UPDATE topics SET retention_ms = ?1, retention_bytes = ?2 WHERE name = ?3
                 AND (retention_ms IS NOT ?1 OR retention_bytes IS NOT ?2)",
            )?
            .execute(params![age, bytes, spec.name])
            .map(drop)
    }

    /// Index of a topic in [`Page::topics`]; a transaction names few.
    fn topic(&mut self, name: &str) -> rusqlite::Result<Option<usize>> {
        if let Some(index) = self.topics.iter().position(|topic| topic.name == name) {
            return Ok(Some(index));
        }
        let found = fetch::topic(self.transaction, name)?;
        Ok(found.map(|topic| {
            self.topics.push(topic);
            self.topics.len() - 1
        }))
    }

    /// Writes the ends that moved.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        let mut update = self.transaction.prepare_cached(
            "UPDATE partitions SET end_offset = ?, last_timestamp = ?, bytes = bytes + ?
             WHERE topic = ? AND partition = ?",
        )?;
        for ((topic, partition), end) in self.ends {
            update.execute(params![end.offset, end.last_timestamp, end.grown, topic, partition])?;
        }
        Ok(())
    }
}
