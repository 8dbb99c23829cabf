//! The log without a thread of its own, for simulations: it writes when it is told to, with the end that it is told, and reads where
//! it is asked. So whoever runs everything else on one thread, too, decides the order in which things happen.
//!
//! Everything else is the log as it is: the same transactions, the same file, the same groups.

use std::{path::Path, sync::Arc};

pub use super::writer::Fate;
use super::{
    EmbeddedLog,
    writer::{Job, StepJob, Work},
};
use crate::{Clock, LogError, NewRecord, Position};

/// Does the writer's work. When it is dropped nothing is written any more.
pub struct Hand(Work);

/// Records that were committed.
#[derive(Debug, Clone)]
pub struct Written {
    /// The group whose step it was; `None` for an append.
    pub group: Option<String>,
    /// The partitions that the step decided for.
    pub partitions: Vec<u32>,
    /// What was written, and where it stands.
    pub records: Vec<(NewRecord, Position)>,
}

impl EmbeddedLog {
    /// Holds the directory, as [`EmbeddedLog::hold`] does, and leaves the writing to the hand.
    ///
    /// # Errors
    /// As there.
    pub fn hold_by_hand(
        directory: impl AsRef<Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Hand), LogError> {
        let (log, work) = Self::assemble(directory.as_ref(), clock, true, true)?;
        Ok((log, Hand(work)))
    }
}

impl Hand {
    /// Waits until something is to be written; false when nothing ever will be.
    pub async fn asked(&mut self) -> bool {
        self.0.asked().await
    }

    /// Writes all that waits, in one transaction, and returns what was committed of it, also where nobody will be told.
    pub fn write(&mut self, fate: Fate) -> Vec<Written> {
        let mut written = Vec::new();
        self.0.write(fate, &mut |job, answer| {
            let Ok(done) = answer else { return };
            let (group, partitions, append) = match job {
                Job::Append(append) => (None, Vec::new(), append),
                Job::Step(StepJob { group, claims, append, .. }) => {
                    (Some(group.clone()), claims.iter().map(|claim| claim.partition).collect(), append)
                }
                _ => return,
            };
            let records = append.iter().cloned().zip(done.positions.iter().copied()).collect();
            written.push(Written { group, partitions, records });
        });
        written
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hand").finish_non_exhaustive()
    }
}
