//! Slack: messages to a team's channel, or to the people themselves.
//!
//! `chat.postMessage` has no idempotency key. Each message carries its action's id in its metadata, and before posting the
//! channel's history since the action was asked for is looked through: a retry, also one after a crash or a redrive, finds
//! what an earlier attempt posted, among the 2,000 newest messages. Every app may write such metadata, so a message with the id is
//! ours only where our bot posted it. What remains: two attempts at the same instant, which the executor does not make. An incoming
//! webhook shows no history, so there a retry may post twice.
//!
//! One message a second and channel, as Slack asks.

mod config;
mod introduction;
mod request;
mod response;

use std::time::Duration;

use async_trait::async_trait;
pub(crate) use config::Config;
use events::{Action, ActionKind, Recipients, Unsent};
pub(crate) use request::addresses;
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use self::{
    request::{Address, Post},
    response::{Account, Answer, Posted},
};
use super::{Opening, Refused, ourselves::Ourselves};
use crate::{Attempt, Introduction, Target, Verdict, form::SLACK_TOKEN, http::Api};

/// Pages of history that are looked through.
const PAGES_MAX: usize = 10;

/// Why there is no message.
const NOBODY: &str = "nobody whom this concerns has a Slack id in the policy, and channel is not set";

/// Sends messages.
pub(crate) struct Slack {
    api: Api,
    channel: Option<String>,
    way: Way,
    /// Who posts our messages.
    ourselves: Ourselves<Account>,
}

enum Way {
    Bot { token: SecretString, history: bool },
    Hook,
}

impl Slack {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        let channel = config.channel.clone();
        if channel.as_deref().is_some_and(|id| !request::is_id(id)) {
            opening.refuse("channel", "write the channel's id, C…, not its name");
        }
        let (api, way) = match (&config.token, &config.webhook_url) {
            (Some(token), None) => {
                let token = opening.formed("token", token, &SLACK_TOKEN);
                let api = opening.api("base", &config.base, config.allow_private)?;
                (api, Way::Bot { token: token?, history: config.history })
            }
            (None, Some(url)) => {
                let url = opening.secret("webhook_url", url)?;
                (opening.api("webhook_url", url.expose_secret(), config.allow_private)?, Way::Hook)
            }
            _ => return Err(opening.refuse("token", "Slack needs a token or a webhook_url, and not both")),
        };
        Ok(Self { api, channel, way, ourselves: Ourselves::default() })
    }

    fn addresses(&self, action: &Action) -> Vec<Address> {
        addresses(&Recipients::of(action).unwrap_or_default(), self.channel.as_deref())
    }

    async fn call(&self, token: &SecretString, request: RequestBuilder) -> Result<Answer, Verdict> {
        response::answer(self.api.send(self.signed(token, request)).await?).await
    }

    fn signed(&self, token: &SecretString, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(token.expose_secret())
    }

    /// The channel's id: of a member that of the conversation with them.
    async fn channel(&self, token: &SecretString, address: &Address) -> Result<String, Verdict> {
        let Address::Member(member) = address else { return Ok(address.id().to_owned()) };
        let request = self.api.request(Method::POST, self.api.url(&["conversations.open"]));
        let answer = self.call(token, request.json(&json!({ "users": member }))).await?;
        let channel = answer.channel["id"].as_str().filter(|id| request::is_id(id));
        channel.map(ToOwned::to_owned).ok_or_else(|| Verdict::Retry {
            after: None,
            reason: format!("{} named no conversation with a member", self.api.name),
        })
    }

    /// The message of an earlier attempt.
    async fn posted(
        &self,
        token: &SecretString,
        channel: &str,
        attempt: &Attempt,
    ) -> Result<Option<String>, Verdict> {
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let mut url = self.api.url(&["conversations.history"]);
            url.query_pairs_mut().extend_pairs(request::history(channel, attempt.possible_since(), &cursor));
            let answer = self.call(token, self.api.request(Method::GET, url)).await?;
            cursor = answer.next_cursor();
            let id = &attempt.action.event_id;
            let marked = answer.messages.into_iter().filter(|message| request::is_of(&message.metadata, id));
            let own = self.ourselves.first(marked, Posted::is_by, self.account(token));
            if let Some(message) = own.await? {
                return Ok(Some(message.ts.unwrap_or_default()));
            }
            if cursor.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    async fn post(
        &self,
        token: &SecretString,
        history: bool,
        attempt: &Attempt,
        text: &str,
        address: &Address,
    ) -> Result<String, Verdict> {
        let channel = self.channel(token, address).await?;
        if history && let Some(ts) = self.posted(token, &channel, attempt).await? {
            return Ok(format!("{channel}:{ts}"));
        }
        let post = Post::new(Some(&channel), text, &attempt.action.event_id);
        let request = self.api.request(Method::POST, self.api.url(&["chat.postMessage"])).json(&post);
        let answer = self.call(token, request).await?;
        Ok(format!("{channel}:{}", answer.ts.unwrap_or_default()))
    }

    async fn try_once(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let reject = |reason: &str| Verdict::Reject { reason: format!("{}: {reason}", self.api.name) };
        let text = request::text(&attempt.action).ok_or_else(|| reject("this action is no message"))?;
        let (token, history) = match &self.way {
            Way::Bot { token, history } => (token, *history),
            Way::Hook => {
                let post = Post::new(None, &text, &attempt.action.event_id);
                let request = self.api.request(Method::POST, self.api.base()).json(&post);
                return Ok(response::hook(&self.api.send(request).await?));
            }
        };
        let addresses = self.addresses(&attempt.action);
        if addresses.is_empty() {
            return Err(reject(NOBODY));
        }
        let mut posted = Vec::new();
        for address in &addresses {
            posted.push(self.post(token, history, attempt, &text, address).await?);
        }
        Ok(Verdict::Done { reference: crate::http::referring(&posted.join(" ").into()) })
    }
}

#[async_trait]
impl Target for Slack {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        // Whoever answered did so where people look; nobody needs to be told of it once more.
        ActionKind::KNOWN.contains(&kind.as_str()) && *kind != ActionKind::Acknowledge
    }

    fn lane(&self, action: &Action) -> Option<String> {
        match self.way {
            Way::Hook => Some(String::new()),
            Way::Bot { .. } => self.addresses(action).first().map(|to| to.id().to_owned()),
        }
    }

    fn lane_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let text = request::text(&attempt.action).ok_or("this action is no message")?;
        let id = &attempt.action.event_id;
        let post = |url, channel| self.api.unsent(Method::POST, &url, Post::new(channel, &text, id));
        if matches!(self.way, Way::Hook) {
            return Ok(vec![post(self.api.base(), None)]);
        }
        let url = self.api.url(&["chat.postMessage"]);
        match self.addresses(&attempt.action).as_slice() {
            [] => Err(NOBODY.to_owned()),
            addresses => Ok(addresses.iter().map(|address| post(url.clone(), Some(address.id()))).collect()),
        }
    }

    async fn introduce(&self, kinds: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced(kinds)).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        self.try_once(attempt).await.unwrap_or_else(|verdict| verdict)
    }
}
