//! What an action says to a person, in words: one line of plain text each, bounded, nothing invisible. Whatever a tool
//! takes for markup is still in them; its target makes that inert.

use events::{Action, ActionKind, Earlier};
use serde_json::Value;

use crate::plain_text::{one_line, web_url};

const NAME_MAX: usize = 128;
const TITLE_MAX: usize = 256;
const RATIONALE_MAX: usize = 1024;

/// The parts of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What is asked, and of whom.
    pub(crate) what: String,
    /// The rule's reason; may be empty.
    pub(crate) why: String,
    /// The issue's title; empty where none is known.
    pub(crate) title: String,
    /// The issue's reference; empty where there is none.
    pub(crate) issue: String,
    /// The issue's address.
    pub(crate) url: Option<String>,
}

impl Message {
    /// `None` for an action of which there is nothing to say.
    pub(crate) fn of(action: &Action) -> Option<Self> {
        let to = one_line(&action.target, NAME_MAX);
        let taken_back = Earlier::of(action).map(|of| of.action);
        let what = match &action.action {
            ActionKind::AssignOwner => format!("{to} is to own this"),
            ActionKind::EscalateOwner => format!("{to} is needed now"),
            ActionKind::PostNudge => format!("{to} please look"),
            ActionKind::ScheduleUnblocker => format!("{to} please meet about this"),
            ActionKind::Resolve if taken_back == Some(ActionKind::ScheduleUnblocker) => {
                format!("{to} need not meet any more")
            }
            ActionKind::Resolve => format!("{to} is needed no more"),
            ActionKind::Acknowledge | ActionKind::Other(_) => return None,
        };
        let title = action.params.get("title").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            what,
            why: one_line(&action.rationale, RATIONALE_MAX),
            title: one_line(title, TITLE_MAX),
            issue: one_line(action.issue_ref.as_deref().unwrap_or_default(), TITLE_MAX),
            url: web_url(&action.source_ref),
        })
    }

    /// The issue: its title in quotation marks, else its reference.
    pub(crate) fn subject(&self) -> String {
        if self.title.is_empty() { self.issue.clone() } else { format!("\"{}\"", self.title) }
    }

    /// All of it in one line.
    pub(crate) fn line(&self) -> String {
        let (subject, url) = (self.subject(), self.url.as_deref().unwrap_or_default());
        let parts = [&*self.what, &*self.why, &*subject, url];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }
}
