//! Events.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Busy, Error};

/// An event of Google Calendar: what was said of it, and what Google adds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Event(Map<String, Value>);

/// What is the server's to say.
const OURS: [&str; 9] =
    ["kind", "etag", "htmlLink", "creator", "organizer", "sequence", "iCalUID", "created", "updated"];

impl Event {
    pub(super) fn new(calendar: &str, mut said: Map<String, Value>, number: usize) -> Result<Self, Error> {
        OURS.iter().for_each(|field| drop(said.remove(*field)));
        let id = match said.get("id") {
            None | Some(Value::Null) => format!("ev{number:08}"),
            Some(Value::String(id)) if is_id(id) => id.clone(),
            Some(_) => return Err(Error::named(400, "invalid")),
        };
        let mut event = Self(said);
        if let Some(guests) = event.0.get_mut("attendees").and_then(Value::as_array_mut) {
            for guest in guests {
                if !guest["email"].is_string() {
                    return Err(Error::named(400, "invalid"));
                }
                if guest["responseStatus"].is_null() {
                    guest["responseStatus"] = json!("needsAction");
                }
            }
        }
        event.checked()?;
        let added = json!({
            "kind": "calendar#event", "id": id, "iCalUID": format!("{id}@google.com"), "eventType": "default",
            "htmlLink": format!("https://www.google.com/calendar/event?eid={id}"), "sequence": 0,
            "organizer": { "email": calendar, "self": true }, "creator": { "email": calendar, "self": true },
        });
        event.0.extend(added.as_object().cloned().unwrap_or_default());
        event.0.entry("status").or_insert(json!("confirmed"));
        event.stamp();
        Ok(event)
    }

    /// What Google calls it.
    pub fn id(&self) -> &str {
        self.0.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it was deleted, or called off.
    pub fn is_cancelled(&self) -> bool {
        self.0.get("status").is_some_and(|status| status == "cancelled")
    }

    /// As Google shows it.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// From when to when it is; `None` where it says neither an instant nor a day.
    pub(super) fn span(&self) -> Option<Busy> {
        let moment = |name: &str| -> Option<DateTime<Utc>> {
            let said = self.0.get(name)?;
            if let Some(at) = said["dateTime"].as_str() {
                return Some(DateTime::parse_from_rfc3339(at).ok()?.to_utc());
            }
            let date: NaiveDate = said["date"].as_str()?.parse().ok()?;
            Some(date.and_time(NaiveTime::MIN).and_utc())
        };
        Some(Busy { start: moment("start")?, end: moment("end")? })
    }

    /// Whether `address` is to come, and has not said no.
    pub(super) fn has_guest(&self, address: &str) -> bool {
        let guests = self.0.get("attendees").and_then(Value::as_array);
        let comes = |guest: &Value| guest["email"] == address && guest["responseStatus"] != "declined";
        guests.is_some_and(|guests| guests.iter().any(comes))
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.is_cancelled() && self.0.get("transparency").is_none_or(|word| word != "transparent")
    }

    pub(super) fn patch(&mut self, said: Map<String, Value>, if_match: Option<&str>) -> Result<(), Error> {
        self.matches(if_match)?;
        let mut patched = self.clone();
        for (field, value) in said {
            if field == "id" || OURS.contains(&field.as_str()) {
                continue;
            }
            match value {
                Value::Null => drop(patched.0.remove(&field)),
                value => drop(patched.0.insert(field, value)),
            }
        }
        patched.checked()?;
        patched.stamp();
        *self = patched;
        Ok(())
    }

    pub(super) fn cancel(&mut self, if_match: Option<&str>) -> Result<(), Error> {
        if self.is_cancelled() {
            return Err(Error::DELETED);
        }
        self.matches(if_match)?;
        self.0.insert("status".into(), json!("cancelled"));
        self.stamp();
        Ok(())
    }

    fn matches(&self, if_match: Option<&str>) -> Result<(), Error> {
        let matches = if_match.is_none_or(|tag| self.0.get("etag").is_some_and(|own| own == tag));
        if matches { Ok(()) } else { Err(Error::CHANGED) }
    }

    fn checked(&self) -> Result<(), Error> {
        match self.span() {
            None => Err(Error::named(400, "required")),
            Some(span) if span.end < span.start => Err(Error::named(400, "timeRangeEmpty")),
            Some(_) => Ok(()),
        }
    }

    /// Another state of the event has another tag.
    fn stamp(&mut self) {
        let sequence =
            self.0.get("etag").map_or(Some(0), |_| self.0.get("sequence")?.as_u64().map(|n| n + 1));
        let sequence = sequence.unwrap_or_default();
        self.0.insert("sequence".into(), json!(sequence));
        self.0.insert("etag".into(), json!(format!("\"{}\"", sequence + 1)));
    }
}

/// 5 to 1024 of the letters that base32hex has, in lower case.
fn is_id(id: &str) -> bool {
    (5..=1024).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))
}
