//! Messages to a person or team, over `POST {CALENDAR_API_BASE}/nudges` `{to, message}` (201 with `id`,
//! `Idempotency-Key` honoured). Carries nudges; also assignments and escalations, and says when these
//! are needed no more, where no route leads to a tool.

use std::sync::Arc;

use async_trait::async_trait;
use eventlog::Clock;
use events::{Action, ActionKind, Unsent};
use reqwest::Method;
use serde::Serialize;

use crate::{
    Attempt, Config, ExecutorError, Introduction, Target, Verdict, http::Api, message::Message,
    plain_text::one_line,
};

pub(crate) const NAME: &str = "notification";
const NAME_MAX: usize = 128;

/// Sends messages.
pub(crate) struct Notification {
    api: Api,
}

impl Notification {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ExecutorError> {
        let place = config.calendar_place();
        Ok(Self { api: Api::new(NAME, &place, config.limits.attempt_timeout, clock)? })
    }

    /// The API has no accounts: that it lists what was said is all that there is to know.
    async fn introduced(&self) -> Result<Introduction, Verdict> {
        let reply = self.api.send(self.api.request(Method::GET, self.api.url(&["nudges"]))).await?;
        match reply.status().is_success() {
            true => Ok(Introduction::default().may(["read nudges"])),
            false => Err(reply.refused()),
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Nudge {
    to: String,
    message: String,
}

/// Who is told what, and why: one line of plain text.
fn nudge(action: &Action) -> Result<Nudge, &'static str> {
    let to = one_line(&action.target, NAME_MAX);
    if to.is_empty() {
        return Err("the action names no target");
    }
    let message = Message::of(action).ok_or("this is no message")?.line();
    Ok(Nudge { to, message })
}

#[async_trait]
impl Target for Notification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        matches!(
            kind,
            ActionKind::PostNudge | ActionKind::AssignOwner | ActionKind::EscalateOwner | ActionKind::Resolve
        )
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        Ok(vec![self.api.unsent(Method::POST, &self.api.url(&["nudges"]), nudge(&attempt.action)?)])
    }

    async fn introduce(&self, _: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced()).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let action = &attempt.action;
        match nudge(action) {
            Ok(nudge) => self.api.post(self.api.url(&["nudges"]), &action.event_id, &nudge).await,
            Err(reason) => Verdict::Reject { reason: reason.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(kind: &str, title: &str, url: &str) -> Action {
        serde_json::from_value(json!({
            "event_id": "a-1", "project_id": "alpha", "action": kind, "target": "team:triage",
            "rationale": "New issue\nneeds triage", "source_ref": url, "issue_ref": "github:o/r#1",
            "params": { "title": title },
        }))
        .expect("an action")
    }

    #[test]
    fn a_message_says_who_what_why_and_where() {
        let url = "https://github.com/o/r/issues/1";
        for (kind, message) in [
            (
                "post_nudge",
                "team:triage please look · New issue needs triage · \"Login\" · https://github.com/o/r/issues/1",
            ),
            (
                "assign_owner",
                "team:triage is to own this · New issue needs triage · \"Login\" · https://github.com/o/r/issues/1",
            ),
            (
                "escalate_owner",
                "team:triage is needed now · New issue needs triage · \"Login\" · https://github.com/o/r/issues/1",
            ),
        ] {
            let nudge = nudge(&action(kind, "Login", url)).expect("a nudge");
            assert_eq!((nudge.to.as_str(), nudge.message.as_str()), ("team:triage", message));
        }
    }

    #[test]
    fn strangers_text_stays_inert_and_bounded() {
        let message = nudge(&action("post_nudge", "x\r\nBcc: all\u{202e}\u{7}", "javascript:alert(1)"))
            .expect("a nudge")
            .message;
        assert!(message.ends_with("\"x Bcc: all\""), "{message}");
        let long = nudge(&action("post_nudge", &"x".repeat(100_000), "")).expect("a nudge").message;
        assert!(long.chars().count() < 2000);
        let untitled = nudge(&action("post_nudge", "", "")).expect("a nudge").message;
        assert!(untitled.ends_with("needs triage · github:o/r#1"), "{untitled}");
    }
}
