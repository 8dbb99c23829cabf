//! What an answer means.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use crate::{
    Verdict,
    http::{MAX_RETRY_AFTER, ONE, Reply},
    plain_text::web_url,
};

/// How long to stay away when a limit was met and no header says (their own advice).
const UNSAID: Duration = Duration::from_secs(60);

/// An issue, after people were assigned.
#[derive(Debug, Deserialize)]
pub(super) struct Assigned {
    assignees: Vec<Account>,
}

#[derive(Debug, Deserialize)]
struct Account {
    login: String,
}

impl Assigned {
    /// Those of `logins` who are not among the assignees: GitHub leaves out without a word who may not push.
    pub(super) fn missing(&self, logins: &[String]) -> Vec<String> {
        let has =
            |login: &String| self.assignees.iter().any(|account| account.login.eq_ignore_ascii_case(login));
        logins.iter().filter(|login| !has(login)).cloned().collect()
    }
}

/// A comment.
#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    id: u64,
    #[serde(default)]
    pub(super) body: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
    /// `None` where the account is no more.
    #[serde(default)]
    user: Option<Author>,
}

/// Who wrote it: of an App its bot.
#[derive(Debug, Deserialize)]
struct Author {
    id: u64,
}

impl Comment {
    /// Whether the account of this id wrote it. A login may be renamed, and be another's then.
    pub(super) fn is_by(&self, account: u64) -> bool {
        self.user.as_ref().is_some_and(|author| author.id == account)
    }

    pub(super) fn reference(&self) -> String {
        self.html_url
            .as_deref()
            .and_then(web_url)
            .filter(|url| url.len() <= 256)
            .unwrap_or(self.id.to_string())
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) message: String,
}

/// What a status other than success means.
pub(super) async fn refused(reply: Reply) -> Verdict {
    match reply.status().as_u16() {
        301 | 302 | 307 | 308 => reply.reject("the repository or issue has moved"),
        401 => reply.reject("the token is not valid (any more)"),
        403 | 429 => limited(reply).await,
        404 => reply.reject("moved, deleted, or not visible to this account"),
        410 => reply.reject("the issue was deleted, or the repository has issues switched off"),
        422 => reply.reject("this was not acceptable; is the issue locked, or the name wrong?"),
        _ => reply.refused(),
    }
}

/// Primary and secondary limits come as 403 as well as 429.
async fn limited(reply: Reply) -> Verdict {
    if let Some(after) = reply.retry_after() {
        return reply.retry(Some(after), "a rate limit");
    }
    if reply.header("x-ratelimit-remaining") == Some("0") {
        let reset = reply.header("x-ratelimit-reset").and_then(|reset| reset.parse().ok());
        let reset = reset.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        // A second more: what they count in whole seconds may still be running.
        let wait = reset.and_then(|reset| (reset - reply.their_now()).to_std().ok()).unwrap_or_default();
        let wait = (wait + Duration::from_secs(1)).min(MAX_RETRY_AFTER);
        return reply.retry(Some(wait), "the hour's rate limit");
    }
    if reply.status().as_u16() == 429 {
        return reply.retry(Some(UNSAID), "a rate limit");
    }
    let (limit, refused) =
        (reply.retry(Some(UNSAID), "a secondary rate limit"), reply.reject("this account may not do that"));
    let problem: Problem = reply.json(ONE).await.unwrap_or_default();
    let message = problem.message.to_lowercase();
    if message.contains("rate limit") || message.contains("abuse detection") { limit } else { refused }
}
