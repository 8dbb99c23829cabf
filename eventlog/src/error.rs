//! Failures, by what the caller can do about them.

/// Why a log could not do what was asked. The text says what failed, on what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Not now: the broker cannot be reached, the disk is full, the wait ran out. The same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The partitions of a subscription are lost: it rejoins by itself.
    #[error("{0}")]
    Lost(String),
    /// Never like this: an unknown topic, a data directory in use, wrong credentials.
    #[error("{0}")]
    Refused(String),
    /// Never this record, whatever is done about the log: it is too large, or not what its topic takes.
    #[error("{0}")]
    Unfit(String),
}
