//! What is sent: a free/busy query, an event.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::targets::meeting::{Wanted, is_address};

/// As many calendars as one free/busy query takes.
const CALENDARS_MAX: usize = 50;

/// Where an event of ours says, unseen by people, of which action it is.
pub(super) const PROPERTY: &str = "breakdown";

/// The event's id, of the same action always the same: 64 of the letters that base32hex has, as Google wants it.
pub(super) fn id(action_id: &str) -> String {
    hex::encode(Sha256::digest(action_id))
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// When who is busy: the calendars of one query, and the query.
pub(super) fn queries<'a>(wanted: &Wanted, calendars: &'a [String]) -> Vec<(&'a [String], Value)> {
    let query = |some: &'a [String]| {
        let items: Vec<Value> = some.iter().map(|id| json!({ "id": id })).collect();
        let query = json!({
            "timeMin": instant(wanted.from), "timeMax": instant(wanted.until), "items": items,
            "calendarExpansionMax": items.len(),
        });
        (some, query)
    };
    calendars.chunks(CALENDARS_MAX).map(query).collect()
}

/// An event, as it is inserted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    id: String,
    summary: String,
    description: String,
    start: Value,
    end: Value,
    attendees: Vec<Value>,
    extended_properties: Value,
}

pub(super) fn event(wanted: &Wanted, action_id: &str, start: DateTime<Utc>) -> Event {
    // The description is HTML to Google, the summary is not.
    let about = wanted.about.iter().chain(&wanted.url).map(|line| html(line));
    // Of a group, its calendar's address; of a person, theirs, or the calendar's, which is the same for most.
    let mut addresses: Vec<&str> = Vec::new();
    for guest in &wanted.guests {
        let address = guest.email.as_deref().unwrap_or(&guest.calendar);
        if is_address(address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Event {
        id: id(action_id),
        summary: wanted.title.clone(),
        description: about.collect::<Vec<_>>().join("\n"),
        start: json!({ "dateTime": instant(start) }),
        end: json!({ "dateTime": instant(wanted.end(start)) }),
        attendees: addresses.into_iter().map(|email| json!({ "email": email })).collect(),
        extended_properties: json!({ "private": { PROPERTY: action_id } }),
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_base32hex() {
        let id = id("a-0123");
        assert!(
            (5..=1024).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v')),
            "{id}"
        );
        assert_ne!(id, super::id("a-0124"));
    }

    #[test]
    fn a_description_is_no_markup() {
        assert_eq!(html("<a href=x>&"), "&lt;a href=x&gt;&amp;");
    }
}
