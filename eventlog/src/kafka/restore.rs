//! Restoring: the whole changelog of newly held partitions, as of the last committed step of any former holder.
//!
//! The changelog's end is taken after the takeover, and as what is written, not as what is committed: a step of the
//! former holder may be committed although its markers are not yet in the log, and what stands before the first open
//! transaction would end before it. A former holder's step that the group still accepted has all its records before
//! that end. So: wait until everything before the end is decided, then read committed records until there are no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    cluster::{Cluster, Edge},
    reader::{BATCH_BYTES, Committed, Seen},
};
use crate::{LogError, Polled, Record};

/// How often it is asked whether open transactions are decided.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How far restoring has come.
pub(super) enum Restore {
    /// The ends are to be asked for.
    Begun,
    /// Partitions that have a changelog, with its end; something before an end may still be undecided.
    Undecided(Vec<(u32, u64)>),
    /// Partitions of which more is to come.
    Reading { from: Committed, open: BTreeSet<u32> },
    /// Everything has been given.
    Done,
}

impl Restore {
    /// Goes on for about `wait`, and returns what came of it: at most `max` records. After an error it may be called
    /// again.
    pub(super) fn advance(
        &mut self,
        cluster: &Cluster,
        changelog: &str,
        partitions: &BTreeSet<u32>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Polled>, LogError> {
        match self {
            Self::Begun => {
                let places: Vec<_> = partitions.iter().map(|p| (changelog, *p)).collect();
                let firsts = cluster.edges(Edge::First, &places)?;
                let ends = cluster.edges(Edge::End, &places)?;
                let filled = partitions
                    .iter()
                    .zip(firsts.into_iter().zip(ends))
                    .filter(|(_, (first, end))| first < end);
                *self = Self::Undecided(filled.map(|(partition, (_, end))| (*partition, end)).collect());
                Ok(Vec::new())
            }
            Self::Undecided(ends) if ends.is_empty() => {
                *self = Self::Done;
                Ok(Vec::new())
            }
            Self::Undecided(ends) => {
                let places: Vec<_> = ends.iter().map(|(p, _)| (changelog, *p)).collect();
                let stable = cluster.edges(Edge::Stable, &places)?;
                if ends.iter().zip(stable).any(|((_, end), stable)| stable < *end) {
                    std::thread::sleep(wait.min(ASK_EVERY));
                    return Ok(Vec::new());
                }
                let start: Vec<_> = ends.iter().map(|(partition, _)| (*partition, 0)).collect();
                let open = ends.iter().map(|(partition, _)| *partition).collect();
                *self = Self::Reading { from: Committed::open(&cluster.config, changelog, &start)?, open };
                Ok(Vec::new())
            }
            Self::Reading { from, open } => {
                let batches = read(from, open, max, wait)?;
                if open.is_empty() {
                    *self = Self::Done;
                }
                Ok(batches)
            }
            Self::Done => Ok(Vec::new()),
        }
    }
}

/// One batch; partitions whose end was seen leave `open`.
fn read(
    from: &Committed,
    open: &mut BTreeSet<u32>,
    max: usize,
    wait: Duration,
) -> Result<Vec<Polled>, LogError> {
    let mut batches: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    let (mut count, mut bytes, mut left) = (0, 0, wait);
    while count < max && bytes < BATCH_BYTES && !open.is_empty() {
        match from.next(left) {
            Ok(Some(Seen::Record(record, size))) => {
                (count, bytes, left) = (count + 1, bytes + size, Duration::ZERO);
                batches.entry(record.partition).or_default().push(record);
            }
            Ok(Some(Seen::End(partition))) => _ = open.remove(&partition),
            Ok(None) => break,
            Err(error) if count == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(batches.into_iter().map(|(partition, records)| Polled::Restoring { partition, records }).collect())
}
