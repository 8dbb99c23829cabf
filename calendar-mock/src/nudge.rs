//! Nudges: short messages to somebody.

use serde::{Deserialize, Serialize};

use crate::body::{Checked, text};

/// A short message to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    /// To whom: 1 to 256 characters.
    pub to: String,
    /// What: 1 to 8,192 characters.
    pub message: String,
}

impl Checked for Nudge {
    const SHAPE: &'static str = "a nudge is {to, message}";

    fn problem(&self) -> Option<&'static str> {
        if !text(&self.to, 256) {
            return Some("to must have 1 to 256 characters");
        }
        (!text(&self.message, 8192)).then_some("message must have 1 to 8192 characters")
    }
}
