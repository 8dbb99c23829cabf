//! What an answer means.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Verdict,
    http::{MAX_RETRY_AFTER, Reply},
};

/// How long to stay away when a limit was met and no header says (their own advice).
const UNSAID: Duration = Duration::from_secs(5);

/// A page of comments.
#[derive(Debug, Deserialize)]
pub(super) struct Comments {
    pub(super) comments: Vec<Comment>,
    #[serde(default)]
    pub(super) total: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    pub(super) id: String,
    #[serde(default)]
    pub(super) body: Value,
    /// `None` where nobody signed in wrote it.
    #[serde(default)]
    author: Option<Account>,
}

impl Comment {
    pub(super) fn is_by(&self, account: &Account) -> bool {
        self.author.as_ref().is_some_and(|author| author.is(account))
    }
}

/// Somebody, by the names that stay: Cloud's accountId; Data Center's key, which outlives a renaming, and the user name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

impl Account {
    fn names(&self) -> [Option<&str>; 3] {
        [&self.account_id, &self.key, &self.name].map(|name| name.as_deref().filter(|name| !name.is_empty()))
    }

    /// What people call it: the accountId, or the user name.
    pub(super) fn name(&self) -> Option<&str> {
        let [account_id, key, name] = self.names();
        account_id.or(name).or(key)
    }

    /// Whether this is the same account: by the first kind of name that both have.
    fn is(&self, other: &Self) -> bool {
        let mut both = self.names().into_iter().zip(other.names()).filter_map(|(one, other)| one.zip(other));
        both.next().is_some_and(|(one, other)| one == other)
    }
}

/// What can be done with an issue now.
#[derive(Debug, Deserialize)]
pub(super) struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Transition {
    id: String,
    name: String,
    to: Named,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Transitions {
    /// The transition of this name, else the first that leads to a status of this name.
    pub(super) fn to(&self, name: &str) -> Option<&str> {
        let is = |found: &str| found.trim().to_lowercase() == name.trim().to_lowercase();
        let by_name = self.transitions.iter().find(|transition| is(&transition.name));
        let by_status = || self.transitions.iter().find(|transition| is(&transition.to.name));
        by_name.or_else(by_status).map(|transition| transition.id.as_str())
    }
}

/// An issue, of which only its status is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    fields: Fields,
}

#[derive(Debug, Deserialize)]
struct Fields {
    status: Named,
}

impl Issue {
    pub(super) fn status(&self) -> &str {
        &self.fields.status.name
    }
}

/// What a status other than success means.
pub(super) fn refused(reply: &Reply) -> Verdict {
    match reply.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => reply.reject("base is not the site's own address"),
        400 => reply.reject("this was not acceptable to the issue's project"),
        401 => reply.reject("the token is not valid (any more)"),
        403 => reply.reject("this account may not do that, or has to pass a CAPTCHA first"),
        404 => reply.reject("moved, deleted, or not visible to this account"),
        410 => reply.reject("the issue was deleted"),
        429 => limited(reply),
        _ => reply.refused(),
    }
}

/// All of Cloud's limits (the hour's points, a second's requests, the writes to one issue) and Data Center's come as 429. `Retry-After`
/// says when to come back; Cloud says by `X-RateLimit-Reset`, too, when the limit's window ends, in ISO 8601, some without seconds.
fn limited(reply: &Reply) -> Verdict {
    let ends = reply.header("x-ratelimit-reset").and_then(|text| events::provider_instant(text.trim()));
    // A second more: the window may end within the one that is named.
    let until = ends.and_then(|ends| (ends + TimeDelta::seconds(1) - reply.their_now()).to_std().ok());
    let wait = reply.retry_after().or(until).unwrap_or(UNSAID).min(MAX_RETRY_AFTER);
    match reply.header("ratelimit-reason") {
        Some("jira-per-issue-on-write") => reply.retry(Some(wait), "too many changes of one issue"),
        Some("jira-quota-global-based" | "jira-quota-tenant-based") => {
            reply.retry(Some(wait), "the hour's rate limit")
        }
        _ => reply.retry(Some(wait), "a rate limit"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_known_by_the_name_that_stays() {
        let is = |one: Value, other: Value| {
            let [one, other]: [Account; 2] =
                [one, other].map(|one| serde_json::from_value(one).expect("an account"));
            (one.is(&other), other.is(&one))
        };
        let (yes, no) = ((true, true), (false, false));
        let cloud = json!({ "accountId": "5b", "key": "", "name": "", "displayName": "Bot" });
        assert_eq!(is(cloud.clone(), json!({ "accountId": "5b", "name": "other" })), yes);
        assert_eq!(is(cloud.clone(), json!({ "accountId": "5c", "displayName": "Bot" })), no);
        let server = json!({ "key": "JIRAUSER10100", "name": "bot" });
        assert_eq!(is(server.clone(), json!({ "key": "JIRAUSER10100", "name": "renamed" })), yes);
        // Another took the name that we had.
        assert_eq!(is(server.clone(), json!({ "key": "JIRAUSER10200", "name": "bot" })), no);
        assert_eq!(is(server.clone(), json!({ "name": "bot" })), yes);
        // Who says nothing is nobody, and not the same one.
        assert_eq!(is(server, cloud.clone()), no);
        assert_eq!(is(json!({ "key": "", "name": null }), json!({ "key": "" })), no);
    }
}
