//! Webhooks out, by the Standard Webhooks specification: every action, signed, to one endpoint.
//!
//! Idempotent for whoever looks at `webhook-id`: it is the action's id, the same for every attempt. The timestamp is the
//! attempt's, as the specification wants it: a receiver refuses old ones.
//!
//! An endpoint that answers 410 is disabled: no more is sent, and what was to go there is rejected, with a line in the
//! program's own log. That is kept in memory only: the next start asks again, once.

mod config;
mod request;
mod response;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
pub(crate) use config::Config;
use events::{ActionKind, Unsent};
use reqwest::{Method, header::CONTENT_TYPE};

use self::request::{Key, Payload};
use super::{Opening, Refused};
use crate::{Attempt, Introduction, Target, Verdict, http::Api};

/// Tells one endpoint.
pub(crate) struct Webhook {
    api: Api,
    keys: Vec<Key>,
    disabled: AtomicBool,
}

impl Webhook {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        let mut keys = Vec::new();
        for (key, secret) in
            [("secret", Some(&config.secret)), ("other_secret", config.other_secret.as_ref())]
        {
            let Some(Ok(secret)) = secret.map(|secret| opening.secret(key, secret)) else { continue };
            match Key::parse(&secret) {
                Some(key) => keys.push(key),
                None => {
                    opening.refuse(key, "a secret is whsec_ and base64 of 24 to 64 bytes");
                }
            }
        }
        let api = opening.api("url", &config.url, config.allow_private)?;
        Ok(Self { api, keys, disabled: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Target for Webhook {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, _: &ActionKind) -> bool {
        true
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        Ok(vec![self.api.unsent(
            Method::POST,
            &self.api.base(),
            Payload::new(&attempt.action, attempt.asked_at),
        )])
    }

    /// Whatever is sent there is a webhook to whoever takes it: nothing is.
    async fn introduce(&self, _: &[ActionKind]) -> Introduction {
        let known = Introduction::default()
            .may((self.keys.len() > 1).then_some("sign with two secrets, old and new"))
            .note("the endpoint was not called: every call would be a webhook to it");
        Introduction::at(&self.api, async { Ok(known) }).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let (name, action) = (self.api.name, &attempt.action);
        if self.disabled.load(Ordering::Relaxed) {
            return Verdict::Reject { reason: format!("{name} answered 410 before, and wants no more") };
        }
        let Ok(body) = serde_json::to_vec(&Payload::new(action, attempt.asked_at)) else {
            return Verdict::Reject { reason: format!("the request for {name} could not be written") };
        };
        let timestamp = self.api.now().timestamp();
        let request = self
            .api
            .request(Method::POST, self.api.base())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &action.event_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", request::signatures(&self.keys, &action.event_id, timestamp, &body))
            .body(body);
        match self.api.send(request).await {
            Ok(reply) => {
                if reply.status().as_u16() == 410 && !self.disabled.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        target = name,
                        "the endpoint answered 410: nothing is sent there until the next start"
                    );
                }
                response::verdict(&reply)
            }
            Err(verdict) => verdict,
        }
    }
}
