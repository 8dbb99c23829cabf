//! Why the executor ended by itself.

use eventlog::LogError;

/// Why the executor ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Something in the configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// The log refused something that it will never accept.
    #[error("the executor cannot go on with the log: {0}")]
    Log(#[source] LogError),
    /// State on the log cannot be read. Its action's offset is committed: going on without it, the action would never
    /// be carried out and never have an outcome.
    #[error(
        "partition {partition}: the state on topic executor-state at offset {offset} cannot be read: {error}; it was \
         written by another version of breakdown: run that version"
    )]
    State {
        /// The partition.
        partition: u32,
        /// Offset of the changelog record.
        offset: u64,
        /// What was wrong with it, in our words.
        error: String,
    },
    /// A message could not be written as JSON.
    #[error("a message of the executor could not be written: {0}")]
    Write(#[source] serde_json::Error),
}
