//! What is sent: which issue, and text that Markdown leaves alone.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use events::{Action, Recipients};

use crate::{message::Message, targets::marker::marker};

/// The longest name of an owner or repository, in bytes.
const NAME_MAX: usize = 100;
/// How much their clock may be behind ours.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// An issue, as paths name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) owner: String,
    pub(super) repo: String,
    pub(super) number: String,
}

impl Issue {
    /// From `github:owner/repo#12`.
    pub(super) fn of(action: &Action) -> Option<Self> {
        let (path, number) = action.issue_ref.as_deref()?.strip_prefix("github:")?.split_once('#')?;
        let (owner, repo) = path.split_once('/')?;
        let is_name = |name: &str| {
            (1..=NAME_MAX).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                && !name.bytes().all(|b| b == b'.')
        };
        let number: u64 = number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
        (is_name(owner) && is_name(repo)).then(|| Self {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            number: number.to_string(),
        })
    }

    /// The path of something of the issue.
    pub(super) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["repos", &self.owner, &self.repo, "issues", &self.number];
        path.extend(rest);
        path
    }
}

/// The people's logins, and the names of those who have none in the policy.
pub(crate) fn logins(to: &Recipients) -> (Vec<String>, Vec<String>) {
    let (mut logins, mut without) = (Vec::new(), Vec::new());
    for person in &to.people {
        match person.github.as_ref().filter(|login| is_login(login)) {
            Some(login) if logins.contains(login) => {}
            Some(login) => logins.push(login.clone()),
            None => without.push(person.name.clone()),
        }
    }
    (logins, without)
}

pub(super) fn is_login(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The first line of a comment of ours: shown to nobody, and found by a retry.
pub(super) fn hidden(action_id: &str) -> String {
    format!("<!-- {} -->", marker(action_id))
}

/// A comment: the people it concerns are mentioned; all else is code, in which nothing is a mention, a reference or a link.
pub(super) fn comment(action: &Action) -> Option<String> {
    let message = Message::of(action)?;
    let mentions: Vec<String> = logins(&Recipients::of(action).unwrap_or_default())
        .0
        .iter()
        .take(10)
        .map(|login| format!("@{login}"))
        .collect();
    let said = [&message.what, &message.why].map(|text| code(text));
    let said = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ");
    let mentioned = if mentions.is_empty() { said } else { format!("{} {said}", mentions.join(" ")) };
    Some(format!("{}\n{mentioned}\n", hidden(&action.event_id)))
}

/// `text`, one line of it, as a span of code: fenced by more backticks than it has in a row.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    format!("{fence} {text} {fence}")
}

/// What comments are asked for: those since the action was.
pub(super) fn since(asked_at: DateTime<Utc>) -> String {
    let since = asked_at.checked_sub_signed(SKEW).unwrap_or(asked_at);
    since.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_does_not_leave_its_fence() {
        assert_eq!(code("@all see #1"), "` @all see #1 `");
        assert_eq!(code("a `b` ``c"), "``` a `b` ``c ```");
        assert_eq!(code("``"), "``` `` ```");
        assert_eq!(code(""), "");
    }

    #[test]
    fn an_issue_is_named_by_plain_words() {
        let issue = |issue_ref: &str| {
            let action = serde_json::json!({
                "event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "owner:bo",
                "rationale": "", "source_ref": "", "issue_ref": issue_ref,
            });
            Issue::of(&serde_json::from_value(action).expect("an action"))
        };
        let path = |issue: Option<Issue>| issue.map(|issue| issue.path(&["comments"]).join("/"));
        assert_eq!(path(issue("github:o/r.js#012")), Some("repos/o/r.js/issues/12/comments".into()));
        for bad in [
            "github:o/r#",
            "github:o/r#x",
            "github:o/r#+1",
            "github:../r#1",
            "github:o/..#1",
            "github:o/a/b#1",
            "github:o/r%2F#1",
            "github:o/#1",
            "jira:h/K-1",
            "github:o/r?x#1",
            "",
        ] {
            assert_eq!(issue(bad), None, "{bad}");
        }
    }
}
