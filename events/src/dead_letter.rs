//! `dead-letters`: what could not be read or delivered, kept so that a person can look and send it again.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Message, Redrive, id, topic};

/// How much of an original is kept.
pub const MAX_ORIGINAL_BYTES: usize = 512 * 1024;

/// Where a dead letter came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// A record on the log.
    Record {
        /// Its topic.
        topic: String,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
    },
    /// A signed webhook delivery.
    Delivery {
        /// `github` or `jira`.
        provider: String,
        /// The provider's delivery id, where it sent one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivery_id: Option<String>,
        /// The event that the provider named beside the payload; Jira names it inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
    },
    /// An event that a receiver took while the broker was away, and that the broker then did not take. The original is the event.
    Spooled {
        /// `github` or `jira`.
        provider: String,
        /// The provider's delivery id, where it sent one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivery_id: Option<String>,
        /// The payload hash of the delivery: BLAKE3 of its body, 64 hex digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload_hash: Option<String>,
    },
}

impl Origin {
    /// The topic on which the original stood, or was to stand.
    pub fn topic(&self) -> &str {
        match self {
            Self::Record { topic, .. } => topic,
            Self::Delivery { .. } | Self::Spooled { .. } => topic::ISSUES,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Record { topic, partition, offset } => format!("{topic}/{partition}/{offset}"),
            Self::Delivery { provider, delivery_id, .. } | Self::Spooled { provider, delivery_id, .. } => {
                format!("{provider}:{}", delivery_id.as_deref().unwrap_or_default())
            }
        }
    }
}

/// The original's first [`MAX_ORIGINAL_BYTES`]: as text where they are UTF-8 without control characters, else base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "encoding", content = "data", rename_all = "snake_case")]
pub enum Original {
    /// As it was.
    Utf8(String),
    /// RFC 4648, standard alphabet, padded.
    Base64(String),
}

impl Original {
    /// The bytes; `None` where they are not base64.
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Utf8(text) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Base64(text) => STANDARD.decode(text).ok().map(Cow::Owned),
        }
    }
}

/// Something that could not be read or delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Derived id: `d-` and 32 hex digits.
    pub event_id: String,
    /// Where it came from.
    pub origin: Origin,
    /// The project, where one is known; also the record's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Why it is here, one of a few words: `unreadable`, `wrong_key`, `undeliverable`, ….
    pub reason: String,
    /// What exactly was wrong; never the original's own text.
    pub detail: String,
    /// When it was put here.
    pub at: DateTime<Utc>,
    /// How often the original had been redriven by then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
    /// The original, at most its first 512 KiB.
    pub original: Original,
    /// The original's length in bytes.
    pub original_length: u64,
    /// SHA-256 of the whole original, 64 hex digits.
    pub original_sha256: String,
}

impl DeadLetter {
    /// A dead letter for `original`.
    pub fn new(
        origin: Origin,
        project_id: Option<String>,
        reason: &str,
        detail: impl Into<String>,
        at: DateTime<Utc>,
        original: &[u8],
    ) -> Self {
        let original_sha256 = id::sha256(original);
        let kept = &original[..original.len().min(MAX_ORIGINAL_BYTES)];
        let plain = std::str::from_utf8(kept)
            .ok()
            // JSON writes a control character as six bytes; base64 bounds the record's size.
            .filter(|text| !text.bytes().any(|b| b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t')));
        Self {
            event_id: id::dead_letter(&origin.name(), &original_sha256),
            origin,
            project_id,
            reason: reason.to_owned(),
            detail: detail.into(),
            at,
            round: 0,
            original: match plain {
                Some(text) => Original::Utf8(text.to_owned()),
                None => Original::Base64(STANDARD.encode(kept)),
            },
            original_length: original.len() as u64,
            original_sha256,
        }
    }

    /// The same, of an original that had been `redriven` when it ended here. The id is derived from the letter before, so that a redrive
    /// that was made twice ends in one letter.
    pub fn after(self, redriven: Option<&Redrive>) -> Self {
        match redriven {
            None => self,
            Some(Redrive { round, letter, .. }) => {
                Self { event_id: id::dead_letter(letter, &self.original_sha256), round: *round, ..self }
            }
        }
    }

    /// The whole original, where the letter holds it.
    pub fn whole_original(&self) -> Option<Cow<'_, [u8]>> {
        self.original.bytes().filter(|bytes| id::sha256(bytes) == self.original_sha256)
    }

    /// The message on `dead-letters`.
    pub fn to_message(&self) -> serde_json::Result<Message> {
        Ok(Message::new(
            topic::DEAD_LETTERS,
            self.project_id.as_deref().unwrap_or_default(),
            (&self.event_id, "dead_letter", "/breakdown"),
            Some(self.at),
            id::traceparent(&self.event_id, &self.event_id),
            serde_json::to_vec(self)?,
        ))
    }
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(round: &u32) -> bool {
    *round == 0
}
