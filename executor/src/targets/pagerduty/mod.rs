//! PagerDuty, Events API v2: one alert an issue, triggered, acknowledged and resolved.
//!
//! Idempotent by `dedup_key`, which is the reference: another trigger while the alert is open adds to it, and what is
//! resolved already stays so. A trigger that is repeated after somebody resolved the alert by hand opens another.

mod config;
mod introduction;
mod request;
mod response;

use std::collections::BTreeMap;

use async_trait::async_trait;
pub(crate) use config::Config;
use events::{Action, ActionKind, Recipients, Unsent};
pub(crate) use request::service;
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::{Opening, Refused};
use crate::{Attempt, Introduction, Target, Verdict, form::ROUTING_KEY, http::Api};

/// Why there is no event.
const NO_EVENT: &str = "this action is no event";

/// Pages people.
pub(crate) struct Pagerduty {
    api: Api,
    services: BTreeMap<String, SecretString>,
    service: Option<String>,
}

impl Pagerduty {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        let mut services = BTreeMap::new();
        for (name, credential) in &config.services {
            if let Ok(key) = opening.formed(&format!("services.{name}"), credential, &ROUTING_KEY) {
                services.insert(name.clone(), key);
            }
        }
        if let Some(name) = &config.service
            && !config.services.contains_key(name)
        {
            opening.refuse("service", "this is the name of none of its services");
        }
        let api = opening.api("base", &config.base, config.allow_private)?;
        Ok(Self { api, services, service: config.service.clone() })
    }

    fn enqueue(&self) -> Url {
        self.api.url(&["v2", "enqueue"])
    }

    /// The service's routing key, and the alert's name.
    fn addressed(&self, action: &Action) -> Result<(&SecretString, String), &'static str> {
        let to = Recipients::of(action).unwrap_or_default();
        let service = service(&to, self.service.as_deref())
            .ok_or("nobody whom this concerns has a service in the policy, and service is not set")?;
        let routing_key = self
            .services
            .get(&service)
            .ok_or("the service that the policy names is none of those in the configuration")?;
        Ok((routing_key, request::dedup_key(action).ok_or("the action names no issue")?))
    }
}

#[async_trait]
impl Target for Pagerduty {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        request::event_action(kind).is_some()
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let (_, dedup_key) = self.addressed(&attempt.action)?;
        let event = request::event(&attempt.action, "…", dedup_key).ok_or(NO_EVENT)?;
        Ok(vec![self.api.unsent(Method::POST, &self.enqueue(), event)])
    }

    async fn introduce(&self, _: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced()).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let (action, name) = (&attempt.action, self.api.name);
        let event = self.addressed(action).and_then(|(routing_key, dedup_key)| {
            request::event(action, routing_key.expose_secret(), dedup_key).ok_or(NO_EVENT)
        });
        match event {
            Ok(event) => {
                match self.api.send(self.api.request(Method::POST, self.enqueue()).json(&event)).await {
                    Ok(reply) => response::verdict(reply).await,
                    Err(verdict) => verdict,
                }
            }
            Err(reason) => Verdict::Reject { reason: format!("{name}: {reason}") },
        }
    }
}
