//! Meetings.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::body::{Checked, text};

/// A meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// What it is about: 1 to 1,024 characters.
    pub title: String,
    /// Who is to come: 1 to 100 names of at most 256 characters.
    pub participants: Vec<String>,
    /// When it begins, RFC 3339.
    pub start_at: DateTime<FixedOffset>,
    /// How long it lasts, in minutes: 1 to 1,440.
    pub duration_min: u32,
}

impl Checked for Meeting {
    const SHAPE: &'static str = "a meeting is {title, participants[], start_at (RFC 3339), duration_min}";

    fn problem(&self) -> Option<&'static str> {
        if !text(&self.title, 1024) {
            return Some("title must have 1 to 1024 characters");
        }
        if !(1..=100).contains(&self.participants.len()) {
            return Some("participants must be 1 to 100");
        }
        if !self.participants.iter().all(|name| text(name, 256)) {
            return Some("a participant must have 1 to 256 characters");
        }
        (!(1..=1440).contains(&self.duration_min)).then_some("duration_min must lie between 1 and 1440")
    }
}
