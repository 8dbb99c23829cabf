//! Meetings, over `POST {CALENDAR_API_BASE}/meetings` `{title, participants[], start_at, duration_min}` (201 with `id`,
//! `Idempotency-Key` honoured); and their end, over `GET …/meetings?idempotency_key=KEY` and `DELETE …/meetings/{id}`
//! (204; 404 and 410: it is gone already).

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use eventlog::Clock;
use events::{Action, ActionKind, Unsent};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::meeting;
use crate::{
    Attempt, Config, ExecutorError, Introduction, Target, Verdict,
    http::{Api, PAGE, referring},
    plain_text::one_line,
};

pub(crate) const NAME: &str = "calendar";
const NAME_MAX: usize = 128;
const PARTICIPANTS_MAX: usize = 50;

/// Books meetings, and cancels them.
pub(crate) struct Calendar {
    api: Api,
}

impl Calendar {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ExecutorError> {
        let place = config.calendar_place();
        Ok(Self { api: Api::new(NAME, &place, config.limits.attempt_timeout, clock)? })
    }

    async fn book(&self, attempt: &Attempt) -> Verdict {
        let (key, asked_at) = (&attempt.action.event_id, attempt.asked_at);
        let meeting = match meeting(&attempt.action, asked_at) {
            Ok(meeting) => meeting,
            Err(reason) => return Verdict::Reject { reason: reason.to_owned() },
        };
        let book = async |meeting| self.api.post(self.api.url(&["meetings"]), key, &meeting).await;
        if let Some(later) = later(&meeting, meeting::present(attempt, self.api.now())) {
            // It may be booked already, and nobody heard.
            match self.find(key).await {
                Ok(Some(made)) => return Verdict::Done { reference: made.reference() },
                Ok(None) | Err(Verdict::Reject { .. }) => {}
                Err(verdict) => return verdict,
            }
            match book(later).await {
                // An API that lists nothing, and to which the key is the meeting's as it was first asked for.
                Verdict::Reject { .. } => {}
                verdict => return verdict,
            }
        }
        book(meeting).await
    }

    /// The API has no accounts: that it lists what was booked is all that there is to know.
    async fn introduced(&self) -> Result<Introduction, Verdict> {
        let reply = self.api.send(self.api.request(Method::GET, self.api.url(&["meetings"]))).await?;
        match reply.status().is_success() {
            true => Ok(Introduction::default().may(["read meetings"])),
            false => Err(reply.refused()),
        }
    }

    /// The meeting that was made with this key.
    async fn find(&self, key: &str) -> Result<Option<Made>, Verdict> {
        let mut url = self.api.url(&["meetings"]);
        url.query_pairs_mut().append_pair("idempotency_key", key);
        let reply = self.api.send(self.api.request(Method::GET, url)).await?;
        if !reply.status().is_success() {
            return Err(reply.refused());
        }
        let made: Vec<Made> = reply.readable(PAGE).await?;
        Ok(made.into_iter().find(|made| made.idempotency_key.as_deref() == Some(key)))
    }

    async fn cancel(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let Some(key) = meeting::resolved(&attempt.action) else {
            return Ok(Verdict::Done { reference: None });
        };
        let Some(made) = self.find(&key).await? else { return Ok(Verdict::Done { reference: None }) };
        let reference = made.reference();
        let Made { id, start_at, .. } = made;
        if start_at <= meeting::present(attempt, self.api.now()) {
            return Ok(Verdict::Done { reference: reference.as_deref().map(meeting::stays) });
        }
        if id.bytes().all(|b| b == b'.') {
            return Err(Verdict::Reject {
                reason: format!("{NAME}: the meeting has no id that can be named"),
            });
        }
        let reply = self.api.send(self.api.request(Method::DELETE, self.api.url(&["meetings", &id]))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Verdict::Done { reference }),
            status if status.is_success() => Ok(Verdict::Done { reference }),
            _ => Err(reply.refused()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Meeting {
    title: String,
    participants: Vec<String>,
    start_at: DateTime<Utc>,
    duration_min: u64,
}

/// A meeting that was made, as far as we look at one.
#[derive(Debug, Deserialize)]
struct Made {
    id: String,
    idempotency_key: Option<String>,
    start_at: DateTime<Utc>,
}

impl Made {
    fn reference(&self) -> Option<String> {
        referring(&self.id.as_str().into())
    }
}

/// The meeting that an action asks for; the same for every attempt.
fn meeting(action: &Action, asked_at: DateTime<Utc>) -> Result<Meeting, &'static str> {
    let start_at = match action.params.get("start_at") {
        None | Some(Value::Null) => {
            meeting::next_quarter(asked_at).ok_or("the action's time is out of range")?
        }
        Some(Value::String(text)) => {
            DateTime::parse_from_rfc3339(text).map_err(|_| "params.start_at is not RFC 3339")?.to_utc()
        }
        Some(_) => return Err("params.start_at is not RFC 3339"),
    };
    let named = action.params.get("participants").and_then(Value::as_array);
    let mut participants: Vec<String> = Vec::new();
    for name in named.into_iter().flatten().filter_map(Value::as_str).take(PARTICIPANTS_MAX) {
        let name = one_line(name, NAME_MAX);
        if !name.is_empty() && !participants.contains(&name) {
            participants.push(name);
        }
    }
    if participants.is_empty() {
        participants.push(one_line(&action.target, NAME_MAX));
    }
    Ok(Meeting {
        title: meeting::title(action),
        participants,
        start_at,
        duration_min: meeting::minutes(action)?,
    })
}

/// The same at a later time, where it would have begun before `now`: the action was redriven, or waited.
fn later(meeting: &Meeting, now: DateTime<Utc>) -> Option<Meeting> {
    let start_at = meeting::next_quarter(now).filter(|_| meeting.start_at < now)?;
    Some(Meeting { start_at, ..meeting.clone() })
}

#[async_trait]
impl Target for Calendar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        meeting::carries(kind)
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let action = &attempt.action;
        if action.action == ActionKind::Resolve {
            // Which one it is would have to be asked.
            let one = |_| self.api.unsent(Method::DELETE, &self.api.url(&["meetings", "…"]), ());
            return Ok(meeting::resolved(action).map(one).into_iter().collect());
        }
        Ok(vec![self.api.unsent(
            Method::POST,
            &self.api.url(&["meetings"]),
            meeting(action, attempt.asked_at)?,
        )])
    }

    async fn introduce(&self, _: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced()).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        match attempt.action.action {
            ActionKind::Resolve => self.cancel(attempt).await.unwrap_or_else(|verdict| verdict),
            _ => self.book(attempt).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(params: Value) -> Action {
        serde_json::from_value(json!({
            "event_id": "a-1", "project_id": "alpha", "action": "schedule_unblocker", "target": "owner:bo",
            "rationale": "r", "source_ref": "", "issue_ref": "github:o/r#1", "params": params,
        }))
        .expect("an action")
    }

    fn asked_at() -> DateTime<Utc> {
        "2026-03-02T10:09:59.5Z".parse().expect("an instant")
    }

    #[test]
    fn an_action_says_all_of_its_meeting() {
        let action = action(json!({
            "title": "Login\r\nATTENDEE:x", "start_at": "2026-03-02T11:00:00+01:00", "duration_min": 30,
            "participants": ["bo", "team:triage", "bo", 7, "\u{202e}", "eve\nBCC: all"],
        }));
        let expected = Meeting {
            title: "Unblock: Login ATTENDEE:x".into(),
            participants: vec!["bo".into(), "team:triage".into(), "eve BCC: all".into()],
            start_at: "2026-03-02T10:00:00Z".parse().expect("an instant"),
            duration_min: 30,
        };
        assert_eq!(meeting(&action, asked_at()), Ok(expected));
    }

    #[test]
    fn what_is_not_said_has_a_default_that_does_not_move() {
        let expected = Meeting {
            title: "Unblock github:o/r#1".into(),
            participants: vec!["owner:bo".into()],
            start_at: "2026-03-02T10:15:00Z".parse().expect("an instant"),
            duration_min: 15,
        };
        assert_eq!(meeting(&action(json!({})), asked_at()), Ok(expected));
        let at_the_quarter = "2026-03-02T10:10:00Z".parse().expect("an instant");
        assert_eq!(
            meeting(&action(json!({})), at_the_quarter).map(|m| m.start_at),
            Ok("2026-03-02T10:15:00Z".parse().expect("an instant"))
        );
        let just_after = "2026-03-02T10:10:00.001Z".parse().expect("an instant");
        assert_eq!(
            meeting(&action(json!({})), just_after).map(|m| m.start_at),
            Ok("2026-03-02T10:30:00Z".parse().expect("an instant"))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for params in [
            json!({ "start_at": "tomorrow" }),
            json!({ "start_at": 5 }),
            json!({ "duration_min": 0 }),
            json!({ "duration_min": -5 }),
            json!({ "duration_min": "15" }),
        ] {
            assert!(meeting(&action(params.clone()), asked_at()).is_err(), "{params}");
        }
        assert!(meeting(&action(json!({})), DateTime::<Utc>::MAX_UTC).is_err());
    }
}
