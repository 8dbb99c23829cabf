//! GitHub: assignees, labels and comments of an issue.
//!
//! Assigning and labelling are idempotent. A comment is not: it carries its action's id, unseen, and before one is written
//! those since the action was asked for are looked through, so a retry, also after a crash or a redrive, finds its own: one with the id
//! whose author we are.
//!
//! One action a second and repository: GitHub wants what it makes known to people a second apart.

mod config;
mod introduction;
mod request;
mod response;
mod token;

use std::time::Duration;

use async_trait::async_trait;
pub(crate) use config::Config;
use events::{Action, ActionKind, Recipients, Unsent};
pub(crate) use request::logins;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;

use self::{
    request::Issue,
    response::{Assigned, Comment, Problem},
    token::{App, Token},
};
use super::{Opening, Refused, ourselves::Ourselves};
use crate::{
    Attempt, Introduction, Target, Verdict,
    form::TOKEN,
    http::{Api, ONE, PAGE, Reply},
};

/// Comments of a page: so many of the longest fit what is read.
const PAGE_SIZE: usize = 30;
/// Pages that are looked through.
const PAGES_MAX: usize = 20;

/// Acts on issues.
pub(crate) struct Github {
    api: Api,
    token: Token,
    /// The id of the account that writes our comments.
    ourselves: Ourselves<u64>,
    comment: bool,
    label: Option<String>,
}

/// What every request says of itself.
fn headers(request: RequestBuilder) -> RequestBuilder {
    request.header("accept", "application/vnd.github+json").header("x-github-api-version", "2022-11-28")
}

impl Github {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        let no_key = || opening.refuse("app.private_key", "this is no RSA key in PEM, as GitHub gives it");
        let token = match (&config.token, &config.app) {
            (Some(token), None) => opening.formed("token", token, &TOKEN).map(Token::Personal),
            (None, Some(app)) => opening
                .secret("app.private_key", &app.private_key)
                .and_then(|key| App::new(app, &key).map(Token::App).ok_or_else(no_key)),
            _ => Err(opening.refuse("token", "GitHub needs a token or an app, and not both")),
        };
        let (api, token) = (opening.api("base", &config.base, config.allow_private)?, token?);
        let label = Some(config.label.trim().to_owned()).filter(|label| !label.is_empty());
        Ok(Self { api, token, ourselves: Ourselves::default(), comment: config.comment, label })
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.api.name) }
    }

    /// A reply that is no success is a verdict.
    async fn call(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        let reply = self.ask(request).await?;
        if reply.status().is_success() { Ok(reply) } else { Err(response::refused(reply).await) }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        let bearer = self.token.get(&self.api).await?;
        let reply = self.api.send(headers(request).bearer_auth(bearer.token.expose_secret())).await?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            self.ourselves.forget();
            if self.token.refused(&bearer).await {
                return Err(
                    reply.retry(None, "the installation's token is not valid any more; another is asked for")
                );
            }
        }
        Ok(reply)
    }

    async fn assign(&self, action: &Action, issue: &Issue) -> Result<(), Verdict> {
        let (logins, without) = logins(&Recipients::of(action).unwrap_or_default());
        if logins.is_empty() {
            let whom = if without.is_empty() { "nobody".to_owned() } else { without.join(", ") };
            return Err(self.reject(&crate::plain_text::one_line(
                &format!("{whom}: no github login in the policy; there is nobody to assign"),
                512,
            )));
        }
        let url = self.api.url(&issue.path(&["assignees"]));
        let request = self.api.request(Method::POST, url).json(&json!({ "assignees": logins }));
        let assigned: Assigned = self.call(request).await?.readable(PAGE).await?;
        match assigned.missing(&logins).as_slice() {
            [] => Ok(()),
            missing => Err(self.reject(&format!(
                "{} cannot be assigned: who has no push access to {}/{} is left out without a word",
                missing.join(", "),
                issue.owner,
                issue.repo,
            ))),
        }
    }

    async fn add_label(&self, issue: &Issue) -> Result<(), Verdict> {
        let Some(label) = &self.label else { return Ok(()) };
        let url = self.api.url(&issue.path(&["labels"]));
        self.call(self.api.request(Method::POST, url).json(&json!({ "labels": [label] }))).await.map(drop)
    }

    async fn remove_label(&self, issue: &Issue) -> Result<(), Verdict> {
        let Some(label) = &self.label else { return Ok(()) };
        let url = self.api.url(&issue.path(&["labels", label]));
        let reply = self.ask(self.api.request(Method::DELETE, url)).await?;
        // The issue is deleted, and its labels with it.
        if reply.status() == StatusCode::GONE {
            return Ok(());
        }
        if reply.status() == StatusCode::NOT_FOUND {
            let refused = reply.reject("moved, deleted, or not visible to this account");
            let problem: Problem = reply.json(ONE).await.unwrap_or_default();
            return if problem.message == "Label does not exist" { Ok(()) } else { Err(refused) };
        }
        if reply.status().is_success() { Ok(()) } else { Err(response::refused(reply).await) }
    }

    /// The comment of an earlier attempt.
    async fn written(&self, attempt: &Attempt, issue: &Issue) -> Result<Option<String>, Verdict> {
        let hidden = request::hidden(&attempt.action.event_id);
        for page in 1..=PAGES_MAX {
            let mut url = self.api.url(&issue.path(&["comments"]));
            url.query_pairs_mut()
                .append_pair("since", &request::since(attempt.possible_since()))
                .append_pair("per_page", &PAGE_SIZE.to_string())
                .append_pair("page", &page.to_string());
            let comments: Vec<Comment> =
                self.call(self.api.request(Method::GET, url)).await?.readable(PAGE).await?;
            let marked =
                |comment: &&Comment| comment.body.as_deref().is_some_and(|body| body.starts_with(&hidden));
            let marked = comments.iter().filter(marked);
            let own =
                self.ourselves.first(marked, |comment, account| comment.is_by(*account), self.account());
            if let Some(comment) = own.await? {
                return Ok(Some(comment.reference()));
            }
            if comments.len() < PAGE_SIZE {
                break;
            }
        }
        Ok(None)
    }

    async fn write(&self, attempt: &Attempt, issue: &Issue) -> Result<Option<String>, Verdict> {
        let Some(body) = request::comment(&attempt.action) else { return Ok(None) };
        if let Some(reference) = self.written(attempt, issue).await? {
            return Ok(Some(reference));
        }
        let url = self.api.url(&issue.path(&["comments"]));
        let request = self.api.request(Method::POST, url).json(&json!({ "body": body }));
        // It is written, whatever the rest of the answer looks like.
        let comment: Option<Comment> = self.call(request).await?.json(PAGE).await;
        Ok(comment.map(|comment| comment.reference()))
    }

    async fn try_once(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let action = &attempt.action;
        let issue = Issue::of(action).ok_or_else(|| self.reject("the action is about no issue of GitHub"))?;
        match action.action {
            ActionKind::AssignOwner => self.assign(action, &issue).await?,
            ActionKind::EscalateOwner => self.add_label(&issue).await?,
            ActionKind::Resolve => {
                self.remove_label(&issue).await?;
                return Ok(Verdict::Done { reference: None });
            }
            _ => {}
        }
        let reference = match self.comment || action.action == ActionKind::PostNudge {
            true => self.write(attempt, &issue).await?,
            false => None,
        };
        Ok(Verdict::Done { reference })
    }
}

#[async_trait]
impl Target for Github {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        matches!(
            kind,
            ActionKind::AssignOwner | ActionKind::EscalateOwner | ActionKind::PostNudge | ActionKind::Resolve
        )
    }

    fn lane(&self, action: &Action) -> Option<String> {
        Issue::of(action).map(|issue| format!("{}/{}", issue.owner, issue.repo).to_ascii_lowercase())
    }

    fn lane_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let action = &attempt.action;
        let issue = Issue::of(action).ok_or("the action is about no issue of GitHub")?;
        let url = |rest: &[&str]| self.api.url(&issue.path(rest));
        let mut unsent = Vec::new();
        match (&action.action, &self.label) {
            (ActionKind::AssignOwner, _) => {
                let logins = logins(&Recipients::of(action).unwrap_or_default()).0;
                unsent.push(self.api.unsent(
                    Method::POST,
                    &url(&["assignees"]),
                    json!({ "assignees": logins }),
                ));
            }
            (ActionKind::EscalateOwner, Some(label)) => {
                unsent.push(self.api.unsent(Method::POST, &url(&["labels"]), json!({ "labels": [label] })));
            }
            (ActionKind::Resolve, label) => {
                let unsent = |label: &String| self.api.unsent(Method::DELETE, &url(&["labels", label]), ());
                return Ok(label.iter().map(unsent).collect());
            }
            _ => {}
        }
        if self.comment || action.action == ActionKind::PostNudge {
            let body = request::comment(action).ok_or("there is nothing to say")?;
            unsent.push(self.api.unsent(Method::POST, &url(&["comments"]), json!({ "body": body })));
        }
        Ok(unsent)
    }

    async fn introduce(&self, _: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced()).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        self.try_once(attempt).await.unwrap_or_else(|verdict| verdict)
    }
}
