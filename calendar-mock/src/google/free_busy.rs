//! Who is busy when.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{Busy, Calendars, Error};

/// As many calendars as one query takes.
const CALENDARS_MAX: usize = 50;

fn instant(asked: &Map<String, Value>, name: &str) -> Result<DateTime<Utc>, Error> {
    let text = asked.get(name).and_then(Value::as_str).ok_or_else(|| Error::named(400, "required"))?;
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| Error::named(400, "badRequest"))
}

pub(super) fn answer(google: &Calendars, asked: &Map<String, Value>) -> Result<Value, Error> {
    let (from, until) = (instant(asked, "timeMin")?, instant(asked, "timeMax")?);
    if from >= until {
        return Err(Error::named(400, "timeRangeEmpty"));
    }
    let items = asked.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let max = asked.get("calendarExpansionMax").and_then(Value::as_u64);
    let max =
        max.map_or(CALENDARS_MAX, |max| usize::try_from(max).unwrap_or(CALENDARS_MAX).min(CALENDARS_MAX));
    let mut calendars = Map::new();
    for item in items {
        let id = item["id"].as_str().ok_or_else(|| Error::named(400, "required"))?;
        let error = match google.calendars.get(id) {
            _ if items.len() > max => Some("tooManyCalendarsRequested"),
            None => Some("notFound"),
            Some(calendar) => calendar.error.as_deref(),
        };
        let told = match error {
            Some(reason) => json!({ "errors": [{ "domain": "global", "reason": reason }], "busy": [] }),
            None => json!({ "busy": busy(google, id, Busy { start: from, end: until }) }),
        };
        calendars.insert(id.to_owned(), told);
    }
    let told = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    Ok(json!({
        "kind": "calendar#freeBusy", "timeMin": told(from), "timeMax": told(until), "calendars": calendars,
    }))
}

/// In order, none overlapping, cut to what was asked for.
fn busy(google: &Calendars, id: &str, asked: Busy) -> Vec<Busy> {
    let mut busy = Vec::new();
    for (calendar, of) in &google.calendars {
        let events = of.events.values().filter(|event| event.is_busy());
        let here = events.filter(|event| calendar == id || event.has_guest(id));
        busy.extend(here.filter_map(super::Event::span));
        if calendar == id {
            busy.extend(&of.busy);
        }
    }
    busy.retain(|period| period.start < asked.end && asked.start < period.end);
    busy.sort_unstable();
    let mut joined: Vec<Busy> = Vec::new();
    for period in busy {
        let period = Busy { start: period.start.max(asked.start), end: period.end.min(asked.end) };
        match joined.last_mut().filter(|last| period.start <= last.end) {
            Some(last) => last.end = last.end.max(period.end),
            None => joined.push(period),
        }
    }
    joined
}
