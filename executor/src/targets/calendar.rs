//! Meetings, over `POST {CALENDAR_API_BASE}/meetings` `{title, participants[], start_at, duration_min}` (201 with `id`,
//! `Idempotency-Key` honoured).

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use eventlog::Clock;
use events::{Action, ActionKind, Unsent};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::{Attempt, Config, ExecutorError, Target, Verdict, http::Api, plain_text::one_line};

pub(crate) const NAME: &str = "calendar";
const TITLE_MAX: usize = 256;
const NAME_MAX: usize = 128;
const PARTICIPANTS_MAX: usize = 50;
const DEFAULT_DURATION_MIN: u64 = 15;

/// Books meetings.
pub(crate) struct Calendar {
    api: Api,
}

impl Calendar {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ExecutorError> {
        let place = config.calendar_place();
        Ok(Self { api: Api::new(NAME, &place, config.limits.attempt_timeout, clock)? })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Meeting {
    title: String,
    participants: Vec<String>,
    start_at: DateTime<Utc>,
    duration_min: u64,
}

/// The meeting that an action asks for; the same for every attempt.
fn meeting(action: &Action, asked_at: DateTime<Utc>) -> Result<Meeting, &'static str> {
    let issue = action.params.get("title").and_then(Value::as_str).unwrap_or_default();
    let title = match one_line(issue, TITLE_MAX).as_str() {
        "" => match &action.issue_ref {
            Some(issue_ref) => one_line(&format!("Unblock {issue_ref}"), TITLE_MAX),
            None => "Unblock".to_owned(),
        },
        issue => one_line(&format!("Unblock: {issue}"), TITLE_MAX),
    };
    let start_at = match action.params.get("start_at") {
        None | Some(Value::Null) => next_quarter(asked_at).ok_or("the action's time is out of range")?,
        Some(Value::String(text)) => {
            DateTime::parse_from_rfc3339(text).map_err(|_| "params.start_at is not RFC 3339")?.to_utc()
        }
        Some(_) => return Err("params.start_at is not RFC 3339"),
    };
    let duration_min = match action.params.get("duration_min") {
        None | Some(Value::Null) => DEFAULT_DURATION_MIN,
        Some(value) => value
            .as_u64()
            .filter(|minutes| (1..=1440).contains(minutes))
            .ok_or("params.duration_min is not between 1 and 1440")?,
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
    Ok(Meeting { title, participants, start_at, duration_min })
}

/// The same at a later time, where it would have begun before it was `asked` for: the action was redriven.
fn later(meeting: &Meeting, asked_at: DateTime<Utc>) -> Option<Meeting> {
    let start_at = next_quarter(asked_at).filter(|_| meeting.start_at < asked_at)?;
    Some(Meeting { start_at, ..meeting.clone() })
}

/// The next full quarter hour at least five minutes after `instant`.
fn next_quarter(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let earliest = instant.checked_add_signed(TimeDelta::minutes(5))?;
    earliest.duration_round_up(TimeDelta::minutes(15)).ok()
}

#[async_trait]
impl Target for Calendar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        *kind == ActionKind::ScheduleUnblocker
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        Ok(vec![self.api.unsent(Method::POST, meeting(&attempt.action, attempt.asked_at)?)])
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let (key, asked_at) = (&attempt.action.event_id, attempt.asked_at);
        let meeting = match meeting(&attempt.action, asked_at) {
            Ok(meeting) => meeting,
            Err(reason) => return Verdict::Reject { reason: reason.to_owned() },
        };
        let book = async |meeting| self.api.post(self.api.url(&["meetings"]), key, &meeting).await;
        if let Some(later) = later(&meeting, asked_at) {
            match book(later).await {
                // The key may belong to the meeting as it was first asked for: then it was booked, and nobody heard.
                Verdict::Reject { .. } => {}
                verdict => return verdict,
            }
        }
        book(meeting).await
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
