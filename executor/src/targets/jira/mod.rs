//! Jira: assignee, label, status and comments of an issue; Cloud (REST API v3) and Data Center (v2).
//!
//! Assigning, labelling and transitions are idempotent: an issue that is where a transition leads stays there. A comment is
//! not: its last line is its action's id, and before one is written the newest are looked through (500), so a retry, also
//! after a crash or a redrive, finds its own: one with the id whose author we are.
//!
//! One action a second and issue: Cloud takes 100 writes to one issue within thirty seconds, of whomever, and an action is three at most.

mod config;
mod introduction;
mod request;
mod response;

use std::time::Duration;

use async_trait::async_trait;
pub(crate) use config::Config;
use events::{Action, ActionKind, Recipients, Unsent};
pub(crate) use request::accounts;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use self::{
    config::Edition,
    response::{Account, Comment, Comments, Issue, Transitions},
};
use super::{Opening, Refused, ourselves::Ourselves};
use crate::{
    Attempt, Introduction, Target, Verdict,
    form::TOKEN,
    http::{Api, ONE, PAGE, Reply},
};

/// Comments of a page.
const PAGE_SIZE: usize = 50;
/// Pages that are looked through.
const PAGES_MAX: usize = 10;

/// Acts on issues.
pub(crate) struct Jira {
    api: Api,
    token: SecretString,
    /// The account that writes our comments.
    ourselves: Ourselves<Account>,
    host: String,
    config: Config,
}

impl Jira {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        if config.edition == Edition::Cloud && config.user.is_none() {
            opening.refuse("user", "Jira Cloud wants the mail address to which the token belongs");
        }
        if config.label.chars().any(char::is_whitespace) {
            opening.refuse("label", "a label of Jira has no spaces");
        }
        for action in config.transitions.keys().filter(|action| !carries(action)) {
            let what = format!("Jira carries no such action; write one of {}", CARRIED.join(", "));
            opening.refuse(&format!("transitions.{action}"), &what);
        }
        let token = opening.formed("token", &config.token, &TOKEN);
        let (api, token) = (opening.api("base", &config.base, config.allow_private)?, token?);
        let host = match (&config.host, api.base().host_str(), api.base().port()) {
            (Some(host), ..) => host.clone(),
            (None, Some(host), None) => host.to_owned(),
            (None, host, Some(port)) => format!("{}:{port}", host.unwrap_or_default()),
            (None, None, None) => String::new(),
        };
        Ok(Self { api, host, token, ourselves: Ourselves::default(), config: config.clone() })
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.api.name) }
    }

    fn rest(&self, rest: &[&str]) -> Url {
        let version = match self.config.edition {
            Edition::Cloud => "3",
            Edition::DataCenter => "2",
        };
        self.api.url(&[&["rest", "api", version], rest].concat())
    }

    fn url(&self, key: &str, rest: &[&str]) -> Url {
        self.rest(&[&["issue", key], rest].concat())
    }

    /// A reply that is no success is a verdict.
    async fn call(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        let token = self.token.expose_secret();
        let request = match &self.config.user {
            Some(user) => request.basic_auth(user, Some(token)),
            None => request.bearer_auth(token),
        };
        // Without it a request with a browser's user agent counts as forged; ours is none, and says so.
        let request = request.header("x-atlassian-token", "no-check").header("accept", "application/json");
        let reply = self.api.send(request).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            self.ourselves.forget();
        }
        if reply.status().is_success() { Ok(reply) } else { Err(response::refused(&reply)) }
    }

    async fn put(&self, url: Url, body: &Value) -> Result<(), Verdict> {
        self.call(self.api.request(Method::PUT, url).json(body)).await.map(drop)
    }

    async fn assign(&self, action: &Action, key: &str) -> Result<(), Verdict> {
        let (accounts, without) = accounts(&Recipients::of(action).unwrap_or_default());
        let Some(account) = accounts.first() else {
            let whom = if without.is_empty() { "nobody".to_owned() } else { without.join(", ") };
            let reason = format!("{whom}: no jira account in the policy; there is nobody to assign");
            return Err(self.reject(&crate::plain_text::one_line(&reason, 512)));
        };
        let assignee = request::assignee(self.config.edition, account);
        match self.put(self.url(key, &["assignee"]), &assignee).await {
            Err(Verdict::Reject { reason }) if reason.contains("answered 400") => {
                Err(Verdict::Reject { reason: format!("{reason}; {account} cannot be assigned there") })
            }
            other => other,
        }
    }

    async fn label(&self, key: &str, change: &str) -> Result<(), Verdict> {
        if self.config.label.is_empty() {
            return Ok(());
        }
        self.put(self.url(key, &[]), &labels(change, &self.config.label)).await
    }

    async fn transition(&self, action: &Action, key: &str) -> Result<(), Verdict> {
        let Some(wanted) = self.config.transitions.get(action.action.as_str()) else { return Ok(()) };
        let mut url = self.url(key, &[]);
        url.query_pairs_mut().append_pair("fields", "status");
        let issue: Issue = self.call(self.api.request(Method::GET, url)).await?.readable(ONE).await?;
        if issue.status().to_lowercase() == wanted.to_lowercase() {
            return Ok(());
        }
        let url = self.url(key, &["transitions"]);
        let found: Transitions =
            self.call(self.api.request(Method::GET, url.clone())).await?.readable(PAGE).await?;
        let Some(id) = found.to(wanted) else {
            return Err(self.reject(&format!("{key} has no transition {wanted:?} from where it is")));
        };
        let body = json!({ "transition": { "id": id } });
        self.call(self.api.request(Method::POST, url).json(&body)).await.map(drop)
    }

    /// The comment of an earlier attempt.
    async fn written(&self, action: &Action, key: &str) -> Result<Option<String>, Verdict> {
        for page in 0..PAGES_MAX {
            let mut url = self.url(key, &["comment"]);
            url.query_pairs_mut()
                .append_pair("orderBy", "-created")
                .append_pair("maxResults", &PAGE_SIZE.to_string())
                .append_pair("startAt", &(page * PAGE_SIZE).to_string());
            let read: Comments = self.call(self.api.request(Method::GET, url)).await?.readable(PAGE).await?;
            let marked = |comment: &&Comment| request::is_of(&comment.body, &action.event_id);
            let marked = read.comments.iter().filter(marked);
            let own = self.ourselves.first(marked, |comment, account| comment.is_by(account), self.account());
            if let Some(comment) = own.await? {
                return Ok(crate::http::referring(&comment.id.as_str().into()));
            }
            if read.comments.is_empty() || ((page + 1) * PAGE_SIZE) as u64 >= read.total {
                break;
            }
        }
        Ok(None)
    }

    async fn write(&self, action: &Action, key: &str) -> Result<Option<String>, Verdict> {
        let Some(body) = request::comment(self.config.edition, action) else { return Ok(None) };
        if let Some(reference) = self.written(action, key).await? {
            return Ok(Some(reference));
        }
        let request = self.api.request(Method::POST, self.url(key, &["comment"]));
        // It is written, whatever the rest of the answer looks like.
        Ok(self.call(request.json(&json!({ "body": body }))).await?.reference("id").await)
    }

    fn says(&self, kind: &ActionKind) -> bool {
        match kind {
            ActionKind::PostNudge => true,
            ActionKind::Acknowledge | ActionKind::Resolve | ActionKind::Other(_) => false,
            _ => self.config.comment,
        }
    }

    async fn try_once(&self, action: &Action) -> Result<Verdict, Verdict> {
        let key = request::key(action, &self.host)
            .ok_or_else(|| self.reject("the action is about no issue of this site"))?;
        match action.action {
            ActionKind::AssignOwner => self.assign(action, &key).await?,
            ActionKind::EscalateOwner => self.label(&key, "add").await?,
            ActionKind::Resolve => match self.label(&key, "remove").await {
                // The issue is deleted, and its label with it.
                Err(Verdict::Reject { reason })
                    if reason.contains("answered 404") || reason.contains("answered 410") =>
                {
                    return Ok(Verdict::Done { reference: None });
                }
                other => other?,
            },
            _ => {}
        }
        self.transition(action, &key).await?;
        Ok(Verdict::Done {
            reference: if self.says(&action.action) { self.write(action, &key).await? } else { None },
        })
    }
}

fn labels(change: &str, label: &str) -> Value {
    json!({ "update": { "labels": [{ change: label }] } })
}

/// What it carries.
const CARRIED: [&str; 4] = ["assign_owner", "escalate_owner", "post_nudge", "resolve"];

fn carries(action: &str) -> bool {
    CARRIED.contains(&action)
}

#[async_trait]
impl Target for Jira {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        carries(kind.as_str())
    }

    fn lane(&self, action: &Action) -> Option<String> {
        request::key(action, &self.host).map(|key| key.to_ascii_uppercase())
    }

    fn lane_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let action = &attempt.action;
        let key = request::key(action, &self.host).ok_or("the action is about no issue of this site")?;
        let url = |rest: &[&str]| self.url(&key, rest);
        let (mut unsent, label) = (Vec::new(), &self.config.label);
        match action.action {
            ActionKind::AssignOwner => {
                let accounts = accounts(&Recipients::of(action).unwrap_or_default()).0;
                let account =
                    accounts.first().ok_or("nobody whom this concerns has an account in the policy")?;
                let assignee = request::assignee(self.config.edition, account);
                unsent.push(self.api.unsent(Method::PUT, &url(&["assignee"]), assignee));
            }
            ActionKind::EscalateOwner => {
                unsent.push(self.api.unsent(Method::PUT, &url(&[]), labels("add", label)));
            }
            ActionKind::Resolve => {
                unsent.push(self.api.unsent(Method::PUT, &url(&[]), labels("remove", label)));
            }
            _ => {}
        }
        if let Some(name) = self.config.transitions.get(action.action.as_str()) {
            let body = json!({ "transition": { "name": name } });
            unsent.push(self.api.unsent(Method::POST, &url(&["transitions"]), body));
        }
        if self.says(&action.action) {
            let body = request::comment(self.config.edition, action).ok_or("there is nothing to say")?;
            unsent.push(self.api.unsent(Method::POST, &url(&["comment"]), json!({ "body": body })));
        }
        Ok(unsent)
    }

    async fn introduce(&self, kinds: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced(kinds)).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        self.try_once(&attempt.action).await.unwrap_or_else(|verdict| verdict)
    }
}
