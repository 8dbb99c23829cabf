//! Normalise → append: the one way by which a payload becomes a record, however it was received.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventlog::{Clock, LogError, NewRecord};
use events::{DeadLetter, Message, Origin, id, topic};
use tokio::time::timeout;

use crate::{
    Appended, Config, Journal, Provider,
    body::Encoding,
    delivery::{Delivery, Reading, Told, Unreadable},
    github, jira, pagerduty,
};

/// Lets payloads onto the log.
#[derive(Clone)]
pub(crate) struct Admission {
    config: Arc<Config>,
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A payload of which it is known that the provider made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) provider: Provider,
    pub(crate) encoding: Encoding,
    /// GitHub's event; the others name theirs in the payload.
    pub(crate) event: Option<&'a str>,
    /// The delivery's id, where there is one.
    pub(crate) id: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// Whether the body has the very bytes that were signed. Only their hash tells that they were sent again under another id.
    pub(crate) signed: bool,
}

/// What became of a payload.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// It is an event, and durable.
    Event { event_id: String, topic: &'static str, place: Appended },
    /// It says nothing that we use; why, in one word.
    Ignored(&'static str),
    /// It cannot be read; it is a dead letter.
    Unreadable,
}

/// The log did not confirm an append. It may have been made all the same.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the log did not confirm an append")]
pub(crate) struct Unconfirmed;

impl Admission {
    pub(crate) fn new(config: Arc<Config>, journal: Journal, clock: Arc<dyn Clock>) -> Self {
        Self { config, journal, clock }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Reads a payload and appends what it says.
    pub(crate) async fn admit(&self, payload: Payload<'_>) -> Result<Admitted, Unconfirmed> {
        match read(payload, &self.config) {
            Ok(Reading::Ignored(why)) => Ok(Admitted::Ignored(why)),
            Ok(Reading::Event(told)) => {
                let hash = payload.signed.then(|| id::payload_hash(payload.body));
                self.append_told(&told, hash.as_deref()).await
            }
            Err(unreadable) => self.bury(payload, &unreadable).await,
        }
    }

    /// Appends an event, and the acknowledgement that lies in it, at once. `payload_hash` is that of the bytes that were signed.
    pub(crate) async fn append_told(
        &self,
        told: &Told,
        payload_hash: Option<&str>,
    ) -> Result<Admitted, Unconfirmed> {
        let event_id = &told.event.event_id;
        let messages = told.messages(payload_hash).map_err(|error| {
            tracing::error!(%error, event_id, "an event cannot be written as JSON");
            Unconfirmed
        })?;
        let place = self.append(messages, event_id).await?;
        Ok(Admitted::Event { event_id: event_id.clone(), topic: topic::ISSUES, place })
    }

    /// Keeps a payload that cannot be read.
    async fn bury(&self, payload: Payload<'_>, why: &Unreadable) -> Result<Admitted, Unconfirmed> {
        let Payload { provider, event, id, body, .. } = payload;
        let origin = Origin::Delivery {
            provider: provider.as_str().to_owned(),
            delivery_id: id.map(str::to_owned),
            event: event.map(str::to_owned),
        };
        let letter = DeadLetter::new(origin, None, "unreadable", why.to_string(), self.clock.now(), body);
        tracing::warn!(%provider, event_id = letter.event_id, %why, "a delivery cannot be read; it is a dead letter");
        let message = letter.to_message().map_err(|_| Unconfirmed)?;
        self.append(vec![message], &letter.event_id).await?;
        Ok(Admitted::Unreadable)
    }

    async fn append(&self, messages: Vec<Message>, event_id: &str) -> Result<Appended, Unconfirmed> {
        let within = self.config.limits.append_timeout;
        let record = |message: Message| NewRecord {
            topic: message.topic.to_owned(),
            partition: None,
            key: Bytes::from(message.key),
            value: Some(Bytes::from(message.value)),
            headers: message.headers,
        };
        let records = messages.into_iter().map(record).collect();
        let appended =
            timeout(within, self.journal.append(records)).await.unwrap_or_else(|_| Err(too_late(within)));
        appended.map_err(|error| {
            tracing::error!(event_id, %error, "the log did not confirm an append");
            Unconfirmed
        })
    }
}

fn too_late(within: Duration) -> LogError {
    LogError::Unavailable(format!(
        "the log did not confirm an append within {within:?}: look at its disk or broker"
    ))
}

/// What a payload says.
pub(crate) fn read(payload: Payload<'_>, config: &Config) -> Result<Reading, Unreadable> {
    let Payload { provider, encoding, event, id, body, .. } = payload;
    let json = encoding.json(body)?;
    let delivery = Delivery { event, id, body, json: &json, config };
    match provider {
        Provider::Github => github::read(&delivery),
        Provider::Jira => jira::read(&delivery),
        Provider::Pagerduty => pagerduty::read(&delivery),
    }
}
