//! What an answer means.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use super::request::PROPERTY;
use crate::{
    Verdict,
    http::{ONE, Reply},
    plain_text::web_url,
    targets::meeting::{Booked, Period},
};

/// An event, as far as we look at one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    id: String,
    #[serde(default)]
    status: String,
    html_link: Option<String>,
    start: Option<Moment>,
    #[serde(default)]
    extended_properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    #[serde(default)]
    private: BTreeMap<String, String>,
}

/// An instant, or a whole day.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Moment {
    date_time: Option<DateTime<Utc>>,
    date: Option<NaiveDate>,
}

impl Event {
    pub(super) fn is_of(&self, action_id: &str) -> bool {
        self.extended_properties.private.get(PROPERTY).is_some_and(|id| id == action_id)
    }
}

impl Booked for Event {
    fn reference(&self) -> String {
        let link = self.html_link.as_deref().and_then(web_url).filter(|url| url.len() <= 256);
        link.unwrap_or_else(|| crate::plain_text::one_line(&self.id, 256))
    }

    fn is_cancelled(&self) -> bool {
        self.status == "cancelled"
    }

    fn begins_at(&self) -> Option<DateTime<Utc>> {
        let start = self.start.as_ref()?;
        start.date_time.or_else(|| Some(start.date?.and_time(NaiveTime::MIN).and_utc()))
    }
}

/// The answer to a free/busy query.
#[derive(Debug, Deserialize)]
pub(super) struct FreeBusy {
    calendars: BTreeMap<String, Calendar>,
}

#[derive(Debug, Deserialize)]
struct Calendar {
    #[serde(default)]
    errors: Vec<Problem>,
    busy: Option<Vec<Period>>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(default)]
    reason: String,
}

/// Why it is not known when everybody is busy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Of this calendar never: it is not there, or not shared with us.
    Never(String),
    /// Of this calendar not now.
    Now(String),
}

impl FreeBusy {
    /// When any of `calendars` is busy. One with errors, or that is not answered for, is not free.
    pub(super) fn busy<S: AsRef<str>>(self, calendars: &[S]) -> Result<Vec<Period>, Unknown> {
        let of = |id: &str| self.calendars.get(id);
        let calendars = || calendars.iter().map(AsRef::as_ref);
        let lasting = |id: &&str| of(id).is_some_and(|c| c.errors.iter().any(|e| e.reason == "notFound"));
        if let Some(id) = calendars().find(lasting) {
            return Err(Unknown::Never(id.to_owned()));
        }
        let mut busy = Vec::new();
        for id in calendars() {
            match of(id) {
                Some(Calendar { errors, busy: Some(periods) }) if errors.is_empty() => busy.extend(periods),
                _ => return Err(Unknown::Now(id.to_owned())),
            }
        }
        Ok(busy)
    }
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default)]
    errors: Vec<Problem>,
}

/// Reasons of a 403 that pass: limits.
const PASSING: [&str; 6] = [
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "backendError",
    "internalError",
];

/// Reasons of a 403 that stay, and what to do about them.
const LASTING: [(&str, &str); 4] = [
    (
        "forbiddenForServiceAccounts",
        "a service account invites nobody by itself: delegate the domain's authority to it, and set subject",
    ),
    ("insufficientPermissions", "the token lacks a scope: calendar.events and calendar.freebusy"),
    ("accessNotConfigured", "switch the Calendar API on in the account's project"),
    ("requiredAccessLevel", "share the calendar with this account so that it may make changes to events"),
];

/// What a status other than success means.
pub(super) async fn refused(reply: Reply) -> Verdict {
    match reply.status().as_u16() {
        401 => reply.reject("the token is not valid (any more)"),
        403 => forbidden(reply).await,
        404 => reply.reject("there is no such calendar, or this account does not see it"),
        410 => reply.reject("it was deleted"),
        400 => reply.reject("this was not acceptable"),
        _ => reply.refused(),
    }
}

/// Limits come as 403 as well as 429.
async fn forbidden(reply: Reply) -> Verdict {
    let after = reply.retry_after();
    let limit = reply.retry(after, "a rate limit");
    let (unclear, other) = (reply.retry(after, ""), reply.reject("this account may not do that"));
    let lasting = LASTING.map(|(reason, meaning)| (reason, reply.reject(meaning)));
    let Some(Refusal { error }) = reply.json(ONE).await else { return unclear };
    let says = |reason: &str| error.errors.iter().any(|problem| problem.reason == reason);
    if PASSING.into_iter().any(says) {
        return limit;
    }
    lasting.into_iter().find(|(reason, _)| says(reason)).map_or(other, |(_, verdict)| verdict)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn busy(calendars: Value) -> Result<usize, Unknown> {
        let answer: FreeBusy = serde_json::from_value(json!({ "calendars": calendars })).expect("an answer");
        answer.busy(&["a", "b"]).map(|busy| busy.len())
    }

    #[test]
    fn what_is_not_answered_for_is_not_free() {
        let fine =
            json!({ "busy": [{ "start": "2026-03-02T11:00:00+01:00", "end": "2026-03-02T10:30:00Z" }] });
        assert_eq!(busy(json!({ "a": fine, "b": { "busy": [] } })), Ok(1));
        let error =
            |reason: &str| json!({ "errors": [{ "domain": "global", "reason": reason }], "busy": [] });
        for (b, expected) in [
            (error("notFound"), Unknown::Never("b".into())),
            (error("internalError"), Unknown::Now("b".into())),
            (error("a new word"), Unknown::Now("b".into())),
            (json!({}), Unknown::Now("b".into())),
        ] {
            assert_eq!(busy(json!({ "a": fine, "b": b })), Err(expected));
        }
        assert_eq!(busy(json!({ "a": fine })), Err(Unknown::Now("b".into())));
        assert_eq!(
            busy(json!({ "a": error("internalError"), "b": error("notFound") })),
            Err(Unknown::Never("b".into()))
        );
    }
}
