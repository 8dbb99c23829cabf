//! What of a delivery is a person's answer to what was done: an event of its own, beside the one that the delivery is.
//!
//! | `through` | what was done |
//! |---|---|
//! | `comment` | a new comment with a line that begins with one of the configured words (`comment.rs`); on GitHub of an owner, member or collaborator, or of an assignee: in a public repository everybody may comment |
//! | `assignment` | somebody took the issue: who did it is among those whom it assigned |
//! | `status` | the issue moved on: closed, or in Jira a status of the category *in progress* or *done* |
//! | `pagerduty` | the page was acknowledged (`pagerduty/`) |
//!
//! What we, an App or another bot did is no answer, nor is what nobody is said to have done. Of a comment that looks like an answer and is
//! none the delivery's own event says why ([`events::NoAnswer`]): its text is not kept, so nobody could tell later.

use events::{AcknowledgedThrough, EventType, IssueEvent, NoAnswer};

use crate::{comment::says, delivery::Told};

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
    /// Comments of which a line begins with one of `words`, in whatever case; one that does not begin with `/` must be the whole line. Blank
    /// words are none. Without words, no comment.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.into().trim().to_owned());
        Self { comments: words.filter(|word| !word.is_empty()).collect() }
    }
}

/// What a payload says of its event that the event does not.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Aside<'a> {
    /// The text of a comment.
    pub(crate) comment: Option<&'a str>,
    /// Who wrote it may not answer for the team.
    pub(crate) by_stranger: bool,
    /// The issue moved on.
    pub(crate) moved_on: bool,
    /// No person did it.
    pub(crate) by_machine: bool,
}

/// An event, with the answer of its actor that lies in it, or with why its comment is none.
pub(crate) fn told(mut event: IssueEvent, aside: Aside<'_>, answers: &Answers) -> Told {
    let nobody = match &event.actor {
        _ if event.by_us => Some(NoAnswer::Ours),
        None => Some(NoAnswer::Nobody),
        Some(_) => Some(NoAnswer::Machine).filter(|_| aside.by_machine),
    };
    let comment = aside.comment.and_then(|comment| says(&answers.comments, comment));
    let comment = match (comment, &nobody) {
        (Some(Ok(())), Some(nobody)) => Some(Err(nobody.clone())),
        // What a machine writes of the word is no attempt to say it.
        (Some(Err(_)), Some(NoAnswer::Ours | NoAnswer::Machine)) => None,
        (Some(Ok(())), None) if event.event_type != EventType::IssueCommented => Some(Err(NoAnswer::NotNew)),
        (Some(Ok(())), None) if aside.by_stranger => Some(Err(NoAnswer::Stranger)),
        (comment, _) => comment,
    };
    let answer = match comment {
        Some(Ok(())) => Some(AcknowledgedThrough::Comment),
        _ if nobody.is_some() => None,
        _ => by_deed(&event, aside),
    };
    event.no_answer = comment.and_then(Result::err).filter(|_| answer.is_none());
    Told { event, answer }
}

/// Through what somebody answered without a word.
fn by_deed(event: &IssueEvent, aside: Aside<'_>) -> Option<AcknowledgedThrough> {
    let assigned = event.change.get("assignees").map_or(&[][..], |change| &change.added);
    if assigned.iter().any(|name| Some(name) == event.actor.as_ref()) {
        return Some(AcknowledgedThrough::Assignment);
    }
    aside.moved_on.then_some(AcknowledgedThrough::Status)
}
