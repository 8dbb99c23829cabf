//! What of a delivery is a person's answer to what was done: an event of its own, beside the one that the delivery is.
//!
//! | `through` | what was done |
//! |---|---|
//! | `comment` | a new comment whose first line is one of the configured words; on GitHub of an owner, member or collaborator, or of an assignee: in a public repository everybody may comment |
//! | `assignment` | somebody took the issue: who did it is among those whom it assigned |
//! | `status` | the issue moved on: closed, or in Jira a status of the category *in progress* or *done* |
//! | `pagerduty` | the page was acknowledged (`pagerduty/`) |
//!
//! What we, an App or another bot did is no answer, nor is what nobody is said to have done.

use events::{AcknowledgedThrough, EventType, IssueEvent};

/// Which comments acknowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    comments: Vec<String>,
}

impl Default for Answers {
    /// `/ack`.
    fn default() -> Self {
        Self::new(["/ack"])
    }
}

impl Answers {
    /// Comments whose first line is one of `words`, but for white space around it. Without words, none.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self { comments: words.into_iter().map(Into::into).collect() }
    }

    fn are_given_by(&self, comment: &str) -> bool {
        let first = comment.trim_start().lines().next().unwrap_or_default().trim_end();
        self.comments.iter().any(|word| word == first)
    }
}

/// What a payload says of its event that the event does not.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Aside<'a> {
    /// The text of a comment.
    pub(crate) comment: Option<&'a str>,
    /// The issue moved on.
    pub(crate) moved_on: bool,
    /// No person did it.
    pub(crate) by_machine: bool,
}

/// Through what an event's actor has answered, if so.
pub(crate) fn answer(event: &IssueEvent, aside: Aside<'_>, answers: &Answers) -> Option<AcknowledgedThrough> {
    let actor = event.actor.as_deref().filter(|_| !event.by_us && !aside.by_machine)?;
    let comment = aside.comment.filter(|_| event.event_type == EventType::IssueCommented);
    if comment.is_some_and(|comment| answers.are_given_by(comment)) {
        return Some(AcknowledgedThrough::Comment);
    }
    let assigned = event.change.get("assignees").map_or(&[][..], |change| &change.added);
    if assigned.iter().any(|name| name == actor) {
        return Some(AcknowledgedThrough::Assignment);
    }
    aside.moved_on.then_some(AcknowledgedThrough::Status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_word_and_nothing_else() {
        let answers = Answers::new(["/ack", "👍"]);
        for given in ["/ack", " /ack \r\nI am on it", "\n\n👍", "/ack\n/nack"] {
            assert!(answers.are_given_by(given), "{given}");
        }
        for not in ["", "/ackno", "/ack now", "see /ack", "> /ack", "/ACK", "ok\n/ack"] {
            assert!(!answers.are_given_by(not), "{not}");
        }
        assert!(!Answers::new([""; 0]).are_given_by("/ack"));
    }
}
