//! A dead letter's original, put on its topic again: what the record says of it in its headers, and what `dead-letters` keeps of it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Action, DeadLetter, Message, id, topic};

/// The longest id that is believed, in bytes; ours have 34.
const MAX_BYTES: usize = 128;
/// How often an original has been redriven, this time included.
const ROUND: &str = "redrive";
/// The letter that was redriven.
const LETTER: &str = "redrive_of";
/// The outcome that the next one replaces.
const SUPERSEDES: &str = "supersedes";

/// What a redriven record says of itself, in headers beside those of the original: `redrive` (the round), `redrive_of` (the letter) and,
/// where the original has an outcome already, `supersedes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// How often the original has been redriven, this time included: 1 at least.
    pub round: u32,
    /// The dead letter (`d-…`) that was redriven.
    pub letter: String,
    /// The outcome (`o-…`) that the next one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
}

impl Redrive {
    /// What the record of a letter's original says when it is put on its topic again; `value` is the original.
    pub fn of(letter: &DeadLetter, value: Option<&[u8]>) -> Self {
        // What failed has an outcome; what was never read has none.
        let failed = letter.reason == "undeliverable" && letter.origin.topic() == topic::ACTIONS;
        let action = value.filter(|_| failed).and_then(|value| serde_json::from_slice::<Action>(value).ok());
        Self {
            round: letter.round.saturating_add(1),
            letter: letter.event_id.clone(),
            supersedes: action.map(|action| id::outcome(&action.event_id, letter.round)),
        }
    }

    /// Reads it from a record's headers; `None` for a record that was not redriven, or does not say soundly that it was.
    pub fn from_headers<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        let round = header(ROUND)?.parse().ok().filter(|round| *round > 0)?;
        let letter = header(LETTER).filter(|id| is_plain(id))?.to_owned();
        let supersedes = header(SUPERSEDES).filter(|id| is_plain(id)).map(str::to_owned);
        Some(Self { round, letter, supersedes })
    }

    /// The headers of the redriven record: those of the original, and what this says in place of what an earlier one said.
    pub fn headers<'h>(
        &self,
        original: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Vec<(String, String)> {
        let own = [ROUND, LETTER, SUPERSEDES];
        let kept = original.into_iter().filter(|(name, _)| !own.contains(name));
        let mut headers: Vec<_> = kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.push((ROUND.to_owned(), self.round.to_string()));
        headers.push((LETTER.to_owned(), self.letter.clone()));
        headers.extend(self.supersedes.clone().map(|outcome| (SUPERSEDES.to_owned(), outcome)));
        headers
    }
}

fn is_plain(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What became of a letter that was redriven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Redone {
    /// It stands on a topic again.
    Appended {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// By now it says nothing that is used.
    Ignored {
        /// Why, in one word.
        why: String,
    },
}

/// A note on `dead-letters`, under the letter's key and so behind it: the letter was redriven, and is open no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redriven {
    /// Derived id: `n-` and 32 hex digits.
    pub event_id: String,
    /// The letter (`d-…`).
    pub letter_id: String,
    /// The project, where one is known; also the record's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// How often the original has been redriven, this time included.
    pub round: u32,
    /// What became of it.
    pub became: Redone,
    /// When.
    pub at: DateTime<Utc>,
}

impl Redriven {
    /// The note on `letter`.
    pub fn of(letter: &DeadLetter, became: Redone, at: DateTime<Utc>) -> Self {
        Self {
            event_id: id::redriven(&letter.event_id),
            letter_id: letter.event_id.clone(),
            project_id: letter.project_id.clone(),
            round: letter.round.saturating_add(1),
            became,
            at,
        }
    }

    /// The message on `dead-letters`.
    pub fn to_message(&self) -> serde_json::Result<Message> {
        Ok(Message::new(
            topic::DEAD_LETTERS,
            self.project_id.as_deref().unwrap_or_default(),
            (&self.event_id, "redriven", "/breakdown"),
            Some(self.at),
            id::traceparent(&self.letter_id, &self.event_id),
            serde_json::to_vec(self)?,
        ))
    }
}

/// Whatever stands on `dead-letters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Letter {
    /// Something that could not be read or delivered.
    Dead(Box<DeadLetter>),
    /// What became of one.
    Redriven(Redriven),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_into_headers_is_read_from_them() {
        let first = Redrive { round: 1, letter: "d-1".into(), supersedes: Some("o-1".into()) };
        let headers = first.headers([("ce_id", "a-1"), ("traceparent", "00")]);
        let read = |headers: &[(String, String)]| {
            let map: BTreeMap<&str, &str> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(map.len(), headers.len(), "a header stands there twice");
            Redrive::from_headers(|name| map.get(name).copied())
        };
        assert_eq!(read(&headers), Some(first));
        // The next round says its own, and nothing of the one before.
        let second = Redrive { round: 2, letter: "d-2".into(), supersedes: None };
        let again = second.headers(headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        assert_eq!(read(&again), Some(second));
        assert!(again.contains(&("ce_id".to_owned(), "a-1".to_owned())));
    }

    #[test]
    fn headers_of_strangers_are_not_believed() {
        let long = "d".repeat(MAX_BYTES + 1);
        for (round, letter) in [
            ("0", "d-1"),
            ("-1", "d-1"),
            ("x", "d-1"),
            ("4294967296", "d-1"),
            ("1", ""),
            ("1", "d 1"),
            ("1", &long),
        ] {
            let header = |name: &str| match name {
                ROUND => Some(round),
                LETTER => Some(letter),
                _ => None,
            };
            assert_eq!(Redrive::from_headers(header), None, "{round} {letter}");
        }
        let header = |name: &str| match name {
            ROUND => Some("1"),
            LETTER => Some("d-1"),
            _ => Some("o\n1"),
        };
        assert_eq!(Redrive::from_headers(header).unwrap().supersedes, None);
    }
}
