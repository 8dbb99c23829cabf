//! One file a command; each prints for a person, or JSON for a program.

pub(crate) mod deliver;
pub(crate) mod issue;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod tail;
pub(crate) mod topics;

use std::time::Duration;

use eventlog::{Log, Record};

use crate::error::Failure;

/// Longest wait for the next records while reading to the end.
const READ_WAIT: Duration = Duration::from_millis(500);

/// Every record that stands on `topic` now, in offset order per partition.
pub(crate) async fn read_all(
    log: &dyn Log,
    topic: &str,
    mut each: impl FnMut(Record),
) -> Result<(), Failure> {
    let from = starts(log, topic, |bounds| bounds.first).await?;
    let mut reader = log.read(topic, &from).await?;
    loop {
        let done = reader.at_end().await?;
        let records = reader.next(if done { Duration::ZERO } else { READ_WAIT }).await?;
        if records.is_empty() && done {
            return Ok(());
        }
        records.into_iter().for_each(&mut each);
    }
}

/// For each partition of `topic`, where `place` says to begin.
pub(crate) async fn starts(
    log: &dyn Log,
    topic: &str,
    place: impl Fn(eventlog::Bounds) -> u64,
) -> Result<Vec<(u32, u64)>, Failure> {
    let topics = log.topics().await?;
    let Some(info) = topics.iter().find(|info| info.name == topic) else {
        let names: Vec<_> = topics.iter().map(|info| info.name.as_str()).collect();
        return Err(Failure::failed(format!(
            "topic {topic:?} is not on this log; there are: {}",
            if names.is_empty() {
                "none yet (run `breakdown serve` or `breakdown publish`)".into()
            } else {
                names.join(", ")
            }
        )));
    };
    Ok((0_u32..).zip(info.partitions.iter().map(|bounds| place(*bounds))).collect())
}
