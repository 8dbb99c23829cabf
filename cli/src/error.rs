//! How a command fails: what it says, and the exit code.

use std::fmt;

use eventlog::LogError;

use crate::commands::inert;

/// Why a command did not do what was asked. Printed as `error: …` on standard error.
#[derive(Debug)]
pub struct Failure {
    /// 1: what was asked for does not hold; 2: wrong usage or configuration.
    pub code: u8,
    message: String,
}

impl Failure {
    /// Wrong usage or configuration (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: plain(&message.into()) }
    }

    /// The same, in the colours that the text has. Whatever it quotes must be inert already.
    pub(crate) fn usage_in_colours(message: String) -> Self {
        Self { code: 2, message }
    }

    /// What was asked for does not hold (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, message: plain(&message.into()) }
    }
}

/// Names of files and words of others stand in messages: nothing of them moves the terminal.
fn plain(message: &str) -> String {
    message.split('\n').map(inert).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            // A data directory in use, wrong credentials, other partitions: configuration.
            LogError::Refused(why) => Self::usage(why),
            LogError::Unavailable(why) | LogError::Lost(why) | LogError::Unfit(why) => Self::failed(why),
        }
    }
}
