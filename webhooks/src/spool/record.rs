//! Records as they stand in the spool: with their topic, and their partition where they name one, as first headers.

use bytes::Bytes;
use eventlog::{NewRecord, Record};

use super::TOPIC;

/// The header with the topic.
const FOR_TOPIC: &str = "spool_topic";
/// The header with the partition.
const FOR_PARTITION: &str = "spool_partition";
/// What JSON adds to the name and value of a header, `["",""],`.
const HEADER_MARKS: usize = 8;

/// The record as it is spooled.
pub(super) fn wrap(record: &NewRecord) -> NewRecord {
    let mut headers = vec![(FOR_TOPIC.to_owned(), record.topic.clone())];
    headers.extend(record.partition.map(|partition| (FOR_PARTITION.to_owned(), partition.to_string())));
    headers.extend_from_slice(&record.headers);
    NewRecord { topic: TOPIC.to_owned(), partition: Some(0), headers, ..record.clone() }
}

/// The record as it came; `None` for one that [`wrap`] did not make.
pub(super) fn unwrap(record: &Record) -> Option<NewRecord> {
    let mut headers = record.headers.iter().peekable();
    let (_, topic) = headers.next().filter(|(name, _)| *name == FOR_TOPIC)?;
    let partition = headers.next_if(|(name, _)| *name == FOR_PARTITION);
    Some(NewRecord {
        topic: topic.to_owned(),
        partition: partition.map(|(_, number)| number.parse()).transpose().ok()?,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    })
}

/// How many bytes a wrapped record takes; what the disk counts, but for what JSON escapes.
pub(super) fn size(record: &NewRecord) -> u64 {
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    bytes(&record.key, record.value.as_ref(), headers)
}

/// How many records these are, and how many bytes they take together.
pub(super) fn sizes(records: &[NewRecord]) -> (u64, u64) {
    (records.len() as u64, records.iter().map(size).sum())
}

/// The same of one that was read back.
pub(super) fn size_read(record: &Record) -> u64 {
    bytes(&record.key, record.value.as_ref(), record.headers.iter())
}

fn bytes<'h>(key: &Bytes, value: Option<&Bytes>, headers: impl Iterator<Item = (&'h str, &'h str)>) -> u64 {
    let headers: usize = headers.map(|(name, value)| name.len() + value.len() + HEADER_MARKS).sum();
    (key.len() + value.map_or(0, Bytes::len) + headers + 1) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_out_as_it_went_in(
            topic in "[a-z-]{1,20}",
            partition in proptest::option::of(any::<u32>()),
            key in "[a-z]{0,9}",
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
            headers in proptest::collection::vec(
                (prop_oneof![Just(FOR_TOPIC.to_owned()), Just(FOR_PARTITION.to_owned()), "[a-z_]{0,9}"], "[ -~]{0,9}"), 0..4),
        ) {
            let record = NewRecord { topic, partition, key: key.into(), value: value.map(Bytes::from), headers };
            // A name that is ours would be taken for ours where the record has no partition.
            prop_assume!(record.partition.is_some()
                || record.headers.first().is_none_or(|(name, _)| name != FOR_PARTITION));
            let NewRecord { topic, partition, key, value, headers } = wrap(&record);
            prop_assert_eq!((topic.as_str(), partition), (TOPIC, Some(0)));
            let timestamp = "2026-02-02T10:00:00Z".parse().unwrap();
            let headers = headers.iter().map(|(name, value)| (name, value)).collect();
            let read = Record { topic, partition: 0, offset: 7, timestamp, key, value, headers };
            prop_assert_eq!(size(&wrap(&record)), size_read(&read));
            prop_assert_eq!(unwrap(&read), Some(record));
        }
    }
}
