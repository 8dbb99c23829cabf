//! Google Calendar API v3, as much of it as meetings need, under [`BASE`]: `freeBusy`, and of events `list`, `insert`, `get`, `patch`
//! and `delete`; shapes, ids and refusals as Google's reference has them. Any bearer token will do, none will not.
//!
//! `primary` is there from the beginning; others are made with [`CalendarMock::add_calendar`], or `PUT /api/calendars/{id}`
//! `{"busy": [{"start", "end"}], "error": "internalError"}`, both of which may be left out. An event is busy in its own
//! calendar and in those of its guests that are here. What is deleted stays, cancelled, and keeps its id.
//!
//! There is no clock here, so `created` and `updated` are left out.

mod error;
mod event;
mod free_busy;

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
pub(crate) use error::Error;
pub use event::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    CalendarMock, Collection, body,
    problem::Problem,
    refusal::{self, Refusal},
};

/// The path under which Google's API is served.
pub const BASE: &str = "/calendar/v3";
/// Google's limits, in its own words "calendar usage limits", are not so plain.
const EVENTS_MAX: usize = 100_000;
const CALENDARS_MAX: usize = 10_000;

/// From `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Busy {
    /// Inclusive.
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
}

/// All calendars, by id.
#[derive(Debug)]
pub(crate) struct Calendars {
    calendars: BTreeMap<String, Calendar>,
    events: usize,
}

#[derive(Debug, Default)]
struct Calendar {
    events: BTreeMap<String, Event>,
    busy: Vec<Busy>,
    /// Why it is not known when it is busy.
    error: Option<String>,
}

/// A calendar, as it is set up.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    #[serde(default)]
    busy: Vec<Busy>,
    error: Option<String>,
}

impl Default for Calendars {
    fn default() -> Self {
        Self { calendars: [("primary".to_owned(), Calendar::default())].into(), events: 0 }
    }
}

impl Calendars {
    fn calendar(&mut self, id: &str) -> Result<&mut Calendar, Error> {
        self.calendars.get_mut(id).ok_or(Error::NOT_FOUND)
    }

    fn event(&mut self, (calendar, id): &(String, String)) -> Result<&mut Event, Error> {
        self.calendar(calendar)?.events.get_mut(id).ok_or(Error::NOT_FOUND)
    }

    fn insert(&mut self, calendar: &str, said: Map<String, Value>) -> Result<Event, Error> {
        let number = self.events;
        let known = self.calendar(calendar)?;
        let event = Event::new(calendar, said, number)?;
        if known.events.contains_key(event.id()) {
            return Err(Error::DUPLICATE);
        }
        if number >= EVENTS_MAX {
            return Err(Error::named(403, "quotaExceeded"));
        }
        known.events.insert(event.id().to_owned(), event.clone());
        self.events += 1;
        Ok(event)
    }
}

impl CalendarMock {
    /// Makes a calendar of this id, or makes it anew: when it is busy beside its events.
    pub fn add_calendar(&self, id: &str, busy: Vec<Busy>) {
        let calendar = &mut self.lock().google;
        let calendar = calendar.calendars.entry(id.to_owned()).or_default();
        (calendar.busy, calendar.error) = (busy, None);
    }

    /// From now on it is not known when this calendar is busy, for this reason, in Google's word.
    pub fn break_calendar(&self, id: &str, reason: &str) {
        let calendar = &mut self.lock().google;
        calendar.calendars.entry(id.to_owned()).or_default().error = Some(reason.to_owned());
    }

    /// Every event of a calendar, those that are cancelled too, by id.
    pub fn events(&self, calendar: &str) -> Vec<Event> {
        let google = &self.lock().google;
        google.calendars.get(calendar).into_iter().flat_map(|c| c.events.values().cloned()).collect()
    }
}

pub(crate) fn router() -> Router<CalendarMock> {
    let event = "/calendars/{calendar}/events/{event}";
    Router::new()
        .route("/freeBusy", post(free_busy))
        .route("/calendars/{calendar}/events", get(list).post(insert))
        .route(event, get(one).patch(patch).delete(delete))
        .fallback(async || Error::NOT_FOUND)
}

/// `PUT /api/calendars/{id}`: not Google's.
pub(crate) async fn calendar(
    State(mock): State<CalendarMock>,
    Path(id): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let setting: Setting = body::json(&body::bytes(bytes)?, "a calendar is {busy: [{start, end}], error}")?;
    let calendars = &mut mock.lock().google.calendars;
    if calendars.len() >= CALENDARS_MAX && !calendars.contains_key(&id) {
        return Err(Problem::new(422, "there are too many calendars"));
    }
    let calendar = calendars.entry(id).or_default();
    (calendar.busy, calendar.error) = (setting.busy, setting.error);
    Ok(StatusCode::NO_CONTENT)
}

/// Does the work of a request that may meet a fault.
async fn work<T>(
    mock: &CalendarMock,
    headers: &HeaderMap,
    collection: Collection,
    work: impl FnOnce(&mut Calendars) -> Result<T, Error>,
) -> Result<T, Refusal> {
    Error::unless_authorized(headers)?;
    Ok(refusal::work(mock, collection, Error::of, || work(&mut mock.lock().google)).await??)
}

fn object(bytes: Result<Bytes, BytesRejection>) -> Result<Map<String, Value>, Error> {
    let bytes = bytes.map_err(|_| Error::named(413, "uploadTooLarge"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::named(400, "parseError"))
}

type Asked = Result<Bytes, BytesRejection>;

async fn free_busy(
    State(mock): State<CalendarMock>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let asked = object(asked)?;
    work(&mock, &headers, Collection::FreeBusy, |google| free_busy::answer(google, &asked)).await.map(Json)
}

/// What stands in an address beside the path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    send_updates: Option<String>,
}

impl Parameters {
    fn check(&self) -> Result<(), Error> {
        let known = |word: &String| ["all", "externalOnly", "none"].contains(&word.as_str());
        match self.send_updates.as_ref().is_none_or(known) {
            true => Ok(()),
            false => Err(Error::named(400, "invalidParameter")),
        }
    }
}

async fn insert(
    State(mock): State<CalendarMock>,
    Path(calendar): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Json<Event>, Refusal> {
    parameters.check()?;
    let said = object(asked)?;
    work(&mock, &headers, Collection::Events, |google| google.insert(&calendar, said)).await.map(Json)
}

/// How a list is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    max_results: Option<usize>,
}

/// The first page, as the calendar's owner sees it.
async fn list(
    State(mock): State<CalendarMock>,
    Path(id): Path<String>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let listed = work(&mock, &headers, Collection::Events, |google| {
        let events = google.calendar(&id)?.events.values().filter(|event| !event.is_cancelled());
        let items: Vec<Event> = events.take(listing.max_results.unwrap_or(250).min(2500)).cloned().collect();
        Ok(json!({ "kind": "calendar#events", "summary": id, "accessRole": "owner", "items": items }))
    });
    listed.await.map(Json)
}

async fn one(
    State(mock): State<CalendarMock>,
    Path(of): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Event>, Refusal> {
    Error::unless_authorized(&headers)?;
    Ok(Json(mock.lock().google.event(&of)?.clone()))
}

fn if_match(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::IF_MATCH)?.to_str().ok().filter(|tag| *tag != "*")
}

async fn patch(
    State(mock): State<CalendarMock>,
    Path(of): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Json<Event>, Refusal> {
    parameters.check()?;
    let said = object(asked)?;
    let patched = work(&mock, &headers, Collection::Events, |google| {
        let event = google.event(&of)?;
        event.patch(said, if_match(&headers))?;
        Ok(event.clone())
    });
    patched.await.map(Json)
}

async fn delete(
    State(mock): State<CalendarMock>,
    Path(of): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    parameters.check()?;
    work(&mock, &headers, Collection::Events, |google| google.event(&of)?.cancel(if_match(&headers))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
