//! What a provider's folder is given, and what it gives back.

use events::{AcknowledgedThrough, IssueEvent, Message, id};

use crate::Config;

/// One delivery, verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// GitHub's event; the others name theirs in the payload.
    pub(crate) event: Option<&'a str>,
    /// The provider's id, where it sent one.
    pub(crate) id: Option<&'a str>,
    /// The raw bytes.
    pub(crate) body: &'a [u8],
    /// The JSON text in them.
    pub(crate) json: &'a str,
    /// Which project what belongs to, and who we are.
    pub(crate) config: &'a Config,
}

/// What a delivery says.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Something of an issue.
    Event(Box<Told>),
    /// Nothing that we use; why, in one word.
    Ignored(&'static str),
}

/// What a delivery says of an issue.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) event: IssueEvent,
    /// Through what it is also a person's answer, if so.
    pub(crate) answer: Option<AcknowledgedThrough>,
}

impl Told {
    /// The messages on `issues`, the event's first. `payload_hash` is that of the bytes that were signed.
    pub(crate) fn messages(&self, payload_hash: Option<&str>) -> serde_json::Result<Vec<Message>> {
        let mut messages = vec![self.event.to_message(payload_hash)?];
        if let Some(through) = &self.answer {
            let hash = payload_hash.map(id::acknowledgement_hash);
            messages.push(self.event.acknowledgement(through.clone()).to_message(hash.as_deref())?);
        }
        Ok(messages)
    }
}

impl From<IssueEvent> for Told {
    fn from(event: IssueEvent) -> Self {
        Self { event, answer: None }
    }
}

/// Why a payload could not be read; never its own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(std::borrow::Cow<'static, str>);

impl Unreadable {
    pub(crate) const fn because(why: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(why))
    }
}

impl From<serde_json::Error> for Unreadable {
    /// Says where and of which kind: serde's own words may quote the payload.
    fn from(error: serde_json::Error) -> Self {
        let kind = match error.classify() {
            serde_json::error::Category::Data => "a field that is read stands there twice",
            serde_json::error::Category::Eof => "the JSON ends early",
            _ => "this is not JSON, or it is nested too deeply",
        };
        Self(format!("{kind} (line {}, column {})", error.line(), error.column()).into())
    }
}
