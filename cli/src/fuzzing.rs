//! Readers of files that are not ours. For fuzzing, not for use.

use chrono::{DateTime, Utc};

use crate::history;

/// Reads a history, as `policy backtest --events` does; how many events it has, or why it cannot be read.
pub fn history(text: &[u8], latest: DateTime<Utc>) -> Result<usize, String> {
    let mut events = 0;
    history::read_file(text, "history", latest, |happened| {
        assert!(happened.timestamp <= latest, "a history is of the past");
        events += 1;
    })
    .map(|_| events)
    .map_err(|failure| failure.to_string())
}
