//! What is made of whatever stands on the executor's topics. For fuzzing, not for use.

use eventlog::Record;
use events::{Action, ActionKind};

use crate::{ExecutorError, accept, partition::Partition, pauses};

/// Takes in records of `executor-state`, in their order; how many actions are pending then.
///
/// # Errors
/// When a record is not one that this version wrote.
pub fn restored(changelog: &[Record]) -> Result<usize, ExecutorError> {
    let mut partition = Partition::default();
    for record in changelog {
        partition.restore(record, target, |by| (by == "notification").then_some(0))?;
    }
    Ok(partition.pending().len())
}

/// Reads a record of `actions`; false when it becomes a dead letter.
pub fn accepts(record: &Record) -> bool {
    accept::read(record, record.timestamp, target).is_ok()
}

/// Reads a record of `control`; false when it becomes a dead letter.
pub fn hears(record: &Record) -> bool {
    pauses::read(record, record.timestamp).is_ok()
}

fn target(action: &Action) -> Option<usize> {
    (action.action == ActionKind::PostNudge).then_some(0)
}
