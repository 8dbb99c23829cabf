//! Messages to a person or team, over `POST {CALENDAR_API_BASE}/nudges` `{to, message}` (201 with `id`,
//! `Idempotency-Key` honoured). Carries nudges; also assignments and escalations until trackers are targets themselves.

use std::sync::Arc;

use async_trait::async_trait;
use eventlog::Clock;
use events::{Action, ActionKind};
use reqwest::{Client, Url};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Attempt, Config, ExecutorError, Target, Verdict,
    http::{http_client, post, under},
    plain_text::{one_line, web_url},
};

const NAME_MAX: usize = 128;
const TITLE_MAX: usize = 256;
const RATIONALE_MAX: usize = 1024;

/// Sends messages.
pub(crate) struct Notification {
    client: Client,
    url: Url,
    clock: Arc<dyn Clock>,
}

impl Notification {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ExecutorError> {
        let client = http_client(&config.calendar_api_base, config.limits.attempt_timeout)?;
        Ok(Self { client, url: under(&config.calendar_api_base, "nudges")?, clock })
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
    let what = match &action.action {
        ActionKind::AssignOwner => format!("{to} is to own this"),
        ActionKind::EscalateOwner => format!("{to} is needed now"),
        ActionKind::PostNudge => format!("{to} please look"),
        ActionKind::ScheduleUnblocker | ActionKind::Other(_) => return Err("this is no message"),
    };
    let issue = action.params.get("title").and_then(Value::as_str).unwrap_or_default();
    let issue = match one_line(issue, TITLE_MAX) {
        title if title.is_empty() => one_line(action.issue_ref.as_deref().unwrap_or_default(), TITLE_MAX),
        title => format!("\"{title}\""),
    };
    let why = one_line(&action.rationale, RATIONALE_MAX);
    let parts = [what, why, issue, web_url(&action.source_ref).unwrap_or_default()];
    let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(Nudge { to, message: said.join(" · ") })
}

#[async_trait]
impl Target for Notification {
    fn name(&self) -> &'static str {
        "notification"
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        matches!(kind, ActionKind::PostNudge | ActionKind::AssignOwner | ActionKind::EscalateOwner)
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let action = &attempt.action;
        match nudge(action) {
            Ok(nudge) => {
                let (url, now) = (self.url.clone(), self.clock.now());
                post(&self.client, self.name(), url, &action.event_id, &nudge, now).await
            }
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
