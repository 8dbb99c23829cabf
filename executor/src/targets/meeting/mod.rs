//! What the targets that book meetings have in common: what a meeting is about, who comes, and when all of them can.

mod booking;
mod hours;
mod slot;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use events::{Action, ActionKind, Earlier, Recipients};
use serde_json::Value;

use self::hours::Hours;
pub(super) use self::{
    booking::{Booked, Calendars, Meetings, Put},
    slot::Period,
};
use crate::{Attempt, Within, message::Message, plain_text::one_line};

const TITLE_MAX: usize = 256;
const NAMES_MAX: usize = 512;
const DEFAULT_DURATION_MIN: u64 = 15;
/// The 50 people whom an action names at most, and their team's own calendar.
const GUESTS_MAX: usize = 51;
/// How far ahead a meeting is looked for, in days.
pub(super) type HorizonDays = Within<1, 60>;
/// The same, where nobody says.
const DEFAULT_HORIZON_DAYS: u32 = 7;

/// The meeting's title.
pub(super) fn title(action: &Action) -> String {
    let issue = action.params.get("title").and_then(Value::as_str).unwrap_or_default();
    match one_line(issue, TITLE_MAX).as_str() {
        "" => match &action.issue_ref {
            Some(issue_ref) => one_line(&format!("Unblock {issue_ref}"), TITLE_MAX),
            None => "Unblock".to_owned(),
        },
        issue => one_line(&format!("Unblock: {issue}"), TITLE_MAX),
    }
}

/// How long it lasts, in minutes: 1 to 1,440.
pub(super) fn minutes(action: &Action) -> Result<u64, &'static str> {
    match action.params.get("duration_min") {
        None | Some(Value::Null) => Ok(DEFAULT_DURATION_MIN),
        Some(value) => value
            .as_u64()
            .filter(|minutes| (1..=1440).contains(minutes))
            .ok_or("params.duration_min is not between 1 and 1440"),
    }
}

/// The next full quarter hour at least five minutes after `instant`.
pub(super) fn next_quarter(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    quarter(instant.checked_add_signed(TimeDelta::minutes(5))?)
}

/// `instant`, or the next full quarter hour.
fn quarter(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instant.duration_round_up(TimeDelta::minutes(15)).ok()
}

/// Whether a target that books meetings carries this kind of action.
pub(super) fn carries(kind: &ActionKind) -> bool {
    matches!(kind, ActionKind::ScheduleUnblocker | ActionKind::Resolve)
}

/// The id of the action whose meeting a `resolve` is to cancel; `None` where what it resolves was no meeting.
pub(super) fn resolved(action: &Action) -> Option<String> {
    let of = Earlier::taken_back_by(action).filter(|of| of.action == ActionKind::ScheduleUnblocker)?;
    Some(of.action_id).filter(|id| !id.is_empty())
}

/// What counts as the present for an attempt: `now`, or where our clock is behind the one that dated the action, its date. After a
/// pause or an outage an attempt is made long after it was asked for; nobody meets in the past.
pub(super) fn present(attempt: &Attempt, now: DateTime<Utc>) -> DateTime<Utc> {
    attempt.asked_at.max(now)
}

/// What becomes of a reference where the meeting had begun when it was to be cancelled.
pub(super) fn stays(reference: &str) -> String {
    format!("{reference} (had begun, stays)")
}

/// Somebody, or a team, who is to be free.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// The name that rules use, in one plain line.
    pub(super) name: String,
    /// As the calendar server knows it.
    pub(super) calendar: String,
    /// For an invitation; only what is a plain address.
    pub(super) email: Option<String>,
    /// `None`: at any time.
    hours: Option<Hours>,
}

/// The meeting that an action asks for; the same for every attempt, but for its start, which depends on who is free, and is never past.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) title: String,
    /// What it is about, in lines of plain text.
    pub(super) about: Vec<String>,
    /// The issue's address.
    pub(super) url: Option<String>,
    /// The people, and the team's own calendar.
    pub(super) guests: Vec<Guest>,
    /// The first instant at which it may begin.
    pub(super) from: DateTime<Utc>,
    /// The last at which it may end.
    pub(super) until: DateTime<Utc>,
    length: TimeDelta,
}

impl Wanted {
    /// `Err`: why there is no such meeting, and whose calendar is missing.
    pub(super) fn of(attempt: &Attempt, now: DateTime<Utc>, horizon: TimeDelta) -> Result<Self, String> {
        let action = &attempt.action;
        let length = TimeDelta::minutes(minutes(action)?.cast_signed());
        let range = "the action's time is out of range";
        let from = next_quarter(present(attempt, now)).ok_or(range)?;
        let until = from.checked_add_signed(horizon).ok_or(range)?;
        let message = Message::of(action).ok_or("this is no meeting")?;
        let about = [message.what, message.why].into_iter().filter(|line| !line.is_empty()).collect();
        let guests = guests(Recipients::of(action).unwrap_or_default())?;
        Ok(Self { title: title(action), about, url: message.url, guests, from, until, length })
    }

    /// Each calendar that is to be free, once.
    pub(super) fn calendars(&self) -> Vec<&str> {
        let mut calendars: Vec<&str> = Vec::new();
        for guest in &self.guests {
            if !calendars.contains(&guest.calendar.as_str()) {
                calendars.push(&guest.calendar);
            }
        }
        calendars
    }

    /// Those whose calendar this is, for people.
    pub(super) fn whose(&self, calendar: &str) -> String {
        names(self.guests.iter().filter(|guest| guest.calendar == calendar).map(|guest| guest.name.as_str()))
    }

    /// When it begins: the earliest quarter of an hour at which all are at work and none of them is busy.
    pub(super) fn start(&self, busy: Vec<Period>) -> Result<DateTime<Utc>, String> {
        let hours: Vec<&Hours> = self.guests.iter().filter_map(|guest| guest.hours.as_ref()).collect();
        slot::earliest(self.from, self.until, self.length, &hours, busy).ok_or_else(|| {
            let (minutes, who) =
                (self.length.num_minutes(), names(self.guests.iter().map(|g| g.name.as_str())));
            format!(
                "there are no {minutes} minutes within {} days at which all are free and at work: {who}",
                (self.until - self.from).num_days(),
            )
        })
    }

    /// When it ends.
    pub(super) fn end(&self, start: DateTime<Utc>) -> DateTime<Utc> {
        start.checked_add_signed(self.length).unwrap_or(start)
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    one_line(&names.collect::<Vec<_>>().join(", "), NAMES_MAX)
}

fn said(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

/// Whether nobody can be met: somebody has no calendar, or there is none at all.
pub(super) fn is_without_calendar(to: &Recipients) -> bool {
    let team = to.team.as_ref().is_some_and(|team| said(&team.calendar).is_some());
    to.people.iter().any(|person| said(&person.calendar).is_none()) || (to.people.is_empty() && !team)
}

fn guests(to: Recipients) -> Result<Vec<Guest>, String> {
    let (mut guests, mut without, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for person in to.people {
        let name = one_line(&person.name, 128);
        let hours = said(&person.hours).map(|hours| Hours::read(&hours, person.time_zone.as_deref()));
        match (said(&person.calendar), hours) {
            (None, _) => without.push(name),
            (_, Some(None)) => unclear.push(name),
            (Some(calendar), hours) => {
                let email = person.email.filter(|email| is_address(email));
                guests.push(Guest { name, calendar, email, hours: hours.flatten() });
            }
        }
    }
    let names = |who: &[String]| names(who.iter().map(String::as_str));
    if !without.is_empty() {
        return Err(format!(
            "{}: no calendar in the policy, so nobody knows when they are free",
            names(&without)
        ));
    }
    if !unclear.is_empty() {
        let form = "hours or time_zone in the policy cannot be read; write 09:00-17:30 and Europe/Berlin";
        return Err(format!("{}: {form}", names(&unclear)));
    }
    if let Some(team) = to.team
        && let Some(calendar) = said(&team.calendar)
    {
        let name = one_line(&format!("team:{}", team.name), 128);
        guests.push(Guest { name, calendar, email: None, hours: None });
    }
    match guests.len() {
        0 => Err("nobody whom this concerns has a calendar in the policy".to_owned()),
        1..=GUESTS_MAX => Ok(guests),
        many => Err(format!("{many} calendars are more than the {GUESTS_MAX} that one meeting may have")),
    }
}

/// Whether this is a mail address that means nothing else in a calendar.
pub(super) fn is_address(text: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '\'' | '#' | '=' | '/');
    text.len() <= 254
        && text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && name.chars().all(plain) && host.chars().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn wanted(to: Value) -> Result<Wanted, String> {
        wanted_at("2026-03-02T09:59:59Z", to)
    }

    /// So it is asked for at 10:00:01, and attempted then.
    fn wanted_at(now: &str, to: Value) -> Result<Wanted, String> {
        let action = serde_json::from_value(json!({
            "event_id": "a-1", "project_id": "alpha", "action": "schedule_unblocker", "target": "team:triage",
            "rationale": "Stuck", "source_ref": "https://x.test/1", "params": { "title": "Login", "to": to, "duration_min": 30 },
        }));
        let asked_at = "2026-03-02T10:00:01Z".parse().expect("an instant");
        let attempt = Attempt { action: Arc::new(action.expect("an action")), asked_at };
        Wanted::of(&attempt, now.parse().expect("an instant"), TimeDelta::days(7))
    }

    #[test]
    fn nobody_meets_in_the_past() {
        let to = json!({ "people": [{ "name": "bo", "calendar": "bo@x.test" }] });
        for (now, from) in [
            ("2026-03-02T08:00:00Z", "2026-03-02T10:15:00Z"),
            ("2026-03-02T10:12:00Z", "2026-03-02T10:30:00Z"),
            ("2026-03-03T09:00:00Z", "2026-03-03T09:15:00Z"),
        ] {
            let wanted = wanted_at(now, to.clone()).expect("a meeting");
            assert_eq!(wanted.from, from.parse::<DateTime<Utc>>().expect("an instant"));
            assert_eq!(wanted.until - wanted.from, TimeDelta::days(7));
        }
    }

    #[test]
    fn all_whom_it_concerns_have_a_calendar_or_nothing_is_booked() {
        let bo =
            json!({ "name": "bo", "calendar": "bo@x.test", "email": "bo@x.test", "hours": "09:00-17:00" });
        let whole = wanted(json!({ "people": [bo], "team": { "name": "triage", "calendar": "t@x.test" } }));
        let whole = whole.expect("a meeting");
        assert_eq!(whole.calendars(), ["bo@x.test", "t@x.test"]);
        assert_eq!(whole.whose("t@x.test"), "team:triage");
        assert_eq!(whole.start(Vec::new()), Ok("2026-03-02T10:15:00Z".parse().expect("an instant")));
        assert_eq!(whole.about, ["team:triage please meet about this", "Stuck"]);
        for (to, why) in [
            (
                json!({ "people": [bo, { "name": "al" }, { "name": "cy\r\n", "calendar": " " }] }),
                "al, cy: no calendar",
            ),
            (json!({ "people": [{ "name": "bo", "calendar": "c", "hours": "nine to five" }] }), "bo: hours"),
            (
                json!({ "people": [{ "name": "bo", "calendar": "c", "hours": "09:00-17:00", "time_zone": "Mars" }] }),
                "bo: hours or time_zone",
            ),
            (json!({ "people": [], "team": { "name": "triage" } }), "nobody"),
            (json!({ "people": vec![bo.clone(); 52] }), "52 calendars"),
            (json!("alice"), "nobody"),
        ] {
            let refused = wanted(to).expect_err("refused");
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn a_resolve_says_which_meeting() {
        let of = |of: Value| -> Action {
            serde_json::from_value(json!({
                "event_id": "a-2", "project_id": "alpha", "action": "resolve", "target": "team:triage",
                "rationale": "", "source_ref": "", "params": { "of": of },
            }))
            .expect("an action")
        };
        let meeting = of(json!({ "action": "schedule_unblocker", "action_id": "a-1" }));
        assert_eq!(resolved(&meeting).as_deref(), Some("a-1"));
        for other in [
            json!({ "action": "escalate_owner", "action_id": "a-1" }),
            json!({ "action": "schedule_unblocker", "action_id": "" }),
            json!({ "action_id": "a-1" }),
            json!(null),
        ] {
            assert_eq!(resolved(&of(other)), None);
        }
    }
}
