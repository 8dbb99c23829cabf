//! Records, as they are appended and as they are read.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::Headers;

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic.
    pub topic: String,
    /// The partition; `None` lets the key choose ([`crate::partition_of`]).
    pub partition: Option<u32>,
    /// The key.
    pub key: Bytes,
    /// The value; `None` deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// Header names and values, in order.
    pub headers: Vec<(String, String)>,
}

/// Where an appended record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
    /// When the log took it, in whole milliseconds.
    pub timestamp: DateTime<Utc>,
    /// The key; empty where there is none.
    pub key: Bytes,
    /// The value; `None` deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers. Values that are not UTF-8 are read with U+FFFD.
    pub headers: Headers,
}

impl Record {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}
