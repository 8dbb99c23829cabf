//! What happened: the events of `issues`, in the order in which each partition has them, from the log or from a file, and which
//! policies held meanwhile.
//!
//! Nothing is kept in memory but what is being read: a record is handed on, a policy's text is read when it takes effect.

mod course;
mod file;
mod policies;
mod repeats;

use std::{fmt, ops::ControlFlow, time::Duration};

use chrono::{DateTime, Utc};
use eventlog::{Bounds, Log, Reader, Record};
use events::{IssueEvent, Recorded, topic};
use serde::Serialize;

pub(crate) use self::{
    course::{Course, Look, Until},
    file::{Line, read_file},
    policies::{Change, Policies, policies},
    repeats::FiredRepeats,
};
use crate::error::Failure;

/// Longest wait for the next records before asking whether there are any.
const READ_WAIT: Duration = Duration::from_millis(500);
/// How many partitions are named one by one.
const MAX_NAMED: usize = 8;

/// One event, where it stands, and when the log took it.
#[derive(Debug)]
pub(crate) struct Happened {
    /// The partition. Of a file of bare events each project is one, numbered as they appear: order is per project.
    pub(crate) partition: u32,
    /// The offset. Of a bare event: the line, from 1.
    pub(crate) offset: u64,
    /// The log's stamp; in a partition it never goes back.
    pub(crate) timestamp: DateTime<Utc>,
    /// The hash of the delivery's body, where the record says it.
    pub(crate) payload_hash: Option<String>,
    /// The event.
    pub(crate) event: IssueEvent,
}

/// What stood between the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Skipped {
    /// Records of `issues` that a gateway puts aside as dead letters.
    pub(crate) unreadable: u64,
    /// Lines of a file that are records of other topics.
    pub(crate) other_topics: u64,
    /// Events of a file whose stamp was earlier than the one before in their partition, and was raised to it.
    pub(crate) raised: u64,
}

/// One partition of `issues` on its way, from its first record to the end that it had when it was opened.
pub(crate) struct Partition {
    reader: Option<Box<dyn Reader>>,
    end: u64,
    /// What stood between the events so far.
    pub(crate) skipped: Skipped,
}

impl Partition {
    /// `bounds`: of the partition, as they are now.
    pub(crate) async fn open(log: &dyn Log, partition: u32, bounds: Bounds) -> Result<Self, Failure> {
        let reader = match bounds.first < bounds.end {
            true => Some(log.read(topic::ISSUES, &[(partition, bounds.first)]).await?),
            false => None,
        };
        Ok(Self { reader, end: bounds.end, skipped: Skipped::default() })
    }

    /// The next events, in order, perhaps none of them; `None` at the end. Each is read when it is asked for: what one takes in memory is
    /// taken again for the next.
    pub(crate) async fn next(&mut self) -> Result<Option<impl Iterator<Item = Happened>>, Failure> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let records = reader.next(READ_WAIT).await?;
        // What stood before the end is gone (retention), or was no record (a broker's marker).
        let is_over = match records.last() {
            Some(last) => last.offset + 1 >= self.end,
            None => reader.at_end().await?,
        };
        if is_over {
            self.reader = None;
        }
        let Self { end, skipped, .. } = self;
        let records = records.into_iter().filter(|record| record.offset < *end);
        Ok(Some(records.filter_map(|record| {
            let happened = read_record(record);
            skipped.unreadable += u64::from(happened.is_none());
            happened
        })))
    }
}

/// Reads one partition of `issues` from its first record to the end that `bounds` names, in order. `each` may end it.
pub(crate) async fn read_partition(
    log: &dyn Log,
    partition: u32,
    bounds: Bounds,
    mut each: impl FnMut(Happened) -> ControlFlow<()>,
) -> Result<Skipped, Failure> {
    let mut reading = Partition::open(log, partition, bounds).await?;
    while let Some(mut happened) = reading.next().await? {
        if happened.try_for_each(&mut each).is_break() {
            break;
        }
    }
    Ok(reading.skipped)
}

/// Where partitions of a topic begin; JSON: the topic, whether all is kept, and the first offset of each that is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    topic: &'static str,
    /// Whether each begins at its start.
    pub(crate) whole: bool,
    /// Those that do not.
    begins: Vec<Begins>,
    #[serde(skip)]
    partitions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Begins {
    partition: u32,
    first_offset: u64,
}

impl Kept {
    /// Of these partitions.
    pub(crate) fn of(topic: &'static str, partitions: impl IntoIterator<Item = (u32, Bounds)>) -> Self {
        let mut kept = Self { topic, whole: true, begins: Vec::new(), partitions: 0 };
        for (partition, bounds) in partitions {
            kept.partitions += 1;
            if bounds.first > 0 {
                kept.whole = false;
                kept.begins.push(Begins { partition, first_offset: bounds.first });
            }
        }
        kept
    }

    /// What is to be said where something was dropped; a line.
    pub(crate) fn warning(&self) -> Option<String> {
        (!self.whole).then(|| {
            format!(
                "note: {self}: what happened before is gone from the log (retention), and what was known of issues then may be missing \
                 here"
            )
        })
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.begins.iter().take(MAX_NAMED).collect();
        let named =
            named.iter().map(|it| format!("partition {} from offset {} on", it.partition, it.first_offset));
        let mut parts: Vec<_> = named.collect();
        match self.begins.len().saturating_sub(MAX_NAMED) {
            0 if self.begins.len() < self.partitions && !parts.is_empty() => {
                parts.push("the rest from the start".into());
            }
            0 => {}
            more => parts.push(format!("{more} more cut off")),
        }
        match parts.is_empty() {
            true => write!(f, "{} from the start", self.topic),
            false => write!(f, "{} is kept in {}", self.topic, parts.join(", ")),
        }
    }
}

/// A record's event; none where a gateway makes it a dead letter.
pub(crate) fn read_record(record: Record) -> Option<Happened> {
    let event = IssueEvent::from_record(&record.key, record.value.as_deref()?).ok()?;
    let (partition, offset, timestamp) = (record.partition, record.offset, record.timestamp);
    let payload_hash = record.header("payload_hash").map(str::to_owned);
    Some(Happened { partition, offset, timestamp, payload_hash, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_named() {
        let kept = |firsts: &[u64]| {
            let bounds = firsts.iter().map(|first| Bounds { first: *first, end: 900 });
            Kept::of(topic::ISSUES, (0..).zip(bounds))
        };
        assert_eq!(kept(&[0, 0]).warning(), None);
        assert_eq!(kept(&[0, 0]).to_string(), "issues from the start");
        assert_eq!(kept(&[7]).to_string(), "issues is kept in partition 0 from offset 7 on");
        let some = kept(&[0, 5, 0]);
        assert_eq!(
            some.to_string(),
            "issues is kept in partition 1 from offset 5 on, the rest from the start"
        );
        assert!(
            some.warning()
                .is_some_and(|it| it.starts_with("note: issues is kept") && it.contains("retention"))
        );
        assert_eq!(
            serde_json::to_value(&some).unwrap(),
            serde_json::json!({"topic": "issues", "whole": false, "begins": [{"partition": 1, "first_offset": 5}]})
        );
        assert!(kept(&[3; 20]).to_string().ends_with("partition 7 from offset 3 on, 12 more cut off"));
    }
}
