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
    /// A message could not be written as JSON.
    #[error("a message of the executor could not be written: {0}")]
    Write(#[source] serde_json::Error),
}
