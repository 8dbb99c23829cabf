//! A calendar and notification API that keeps what it is sent, and fails on request.
//!
//! It stands in for the real thing in tests, in demonstrations and in `breakdown serve` without `CALENDAR_API_BASE`.
//! Under [`BASE`]:
//!
//! | route | answer |
//! |---|---|
//! | `POST /meetings` `{title, participants[], start_at, duration_min}` | 201, the meeting with its `id` |
//! | `POST /nudges` `{to, message}` | 201, the nudge with its `id` |
//! | `GET /meetings`, `GET /nudges` | 200, everything kept, oldest first, each with its `idempotency_key` |
//! | `GET /meetings/{id}`, `GET /nudges/{id}` | 200, one of them |
//! | `GET /meetings?idempotency_key=KEY` | 200, the one that was made with this key, in a list |
//! | `DELETE /meetings/{id}` | 204; 404 where there is none (any more) |
//! | `PUT /calendars/{id}` | 204, sets up a calendar of Google's |
//! | `GET`, `PUT`, `POST`, `DELETE /faults` | shows, replaces, extends, clears the [`Fault`]s to come |
//!
//! Google's Calendar API v3 is served under [`google::BASE`], and meets the same faults.
//!
//! Outside both, `GET /health`, `/health/live` and `/health/ready`.
//!
//! `Idempotency-Key` is honoured as draft-ietf-httpapi-idempotency-key-header says: the same key with the same body
//! gets the first answer again and makes nothing; with another body 422; while the first request still runs 409.
//! Refusals are `application/problem+json` and repeat nothing of the input. What is kept is bounded: past the capacity
//! the oldest leaves, and its key with it.

mod body;
mod fault;
pub mod google;
mod meeting;
mod nudge;
mod problem;
mod refusal;
mod routes;
mod server;
mod store;

use std::sync::{Arc, Mutex, MutexGuard};

pub use fault::{Fault, Kind};
pub use meeting::Meeting;
pub use nudge::Nudge;
pub use routes::router;
pub use server::serve;
use store::Store;
pub use store::{Collection, Stored};

/// The path under which the API is served.
pub const BASE: &str = "/api";

/// How many meetings, and how many nudges, are kept unless told otherwise.
pub const DEFAULT_CAPACITY: usize = 100_000;

/// The state of one calendar: cheap to clone, every clone is the same calendar.
#[derive(Debug, Clone)]
pub struct CalendarMock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    meetings: Store<Meeting>,
    nudges: Store<Nudge>,
    google: google::Calendars,
    faults: Vec<Fault>,
}

impl Default for CalendarMock {
    fn default() -> Self {
        Self::new()
    }
}

impl CalendarMock {
    /// An empty calendar that keeps [`DEFAULT_CAPACITY`] of each.
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// An empty calendar that keeps the newest `capacity` (at least 1) meetings, and as many nudges.
    pub fn with_capacity(capacity: usize) -> Self {
        let (meetings, nudges) = (Store::new("m", capacity), Store::new("n", capacity));
        Self(Arc::new(Mutex::new(State { meetings, nudges, google: Default::default(), faults: Vec::new() })))
    }

    /// Every meeting kept, oldest first.
    pub fn meetings(&self) -> Vec<Stored<Meeting>> {
        self.lock().meetings.list()
    }

    /// Every nudge kept, oldest first.
    pub fn nudges(&self) -> Vec<Stored<Nudge>> {
        self.lock().nudges.list()
    }

    /// Lets `fault` befall the requests to come, after the faults that are already waiting.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// The faults that still wait for a request.
    pub fn faults(&self) -> Vec<Fault> {
        self.lock().faults.clone()
    }

    /// Forgets the faults that still wait.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code runs under the lock that could leave the state half changed.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
