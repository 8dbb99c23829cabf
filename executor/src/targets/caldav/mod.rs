//! CalDAV (RFC 4791): meetings, at the earliest time at which everybody can, and their end when the issue is closed.
//!
//! Idempotent by the object's path, which is the action's: before anything is booked the object is looked for, and it is put
//! only where there is none (`If-None-Match`), so that a retry, also after a crash or a redrive, finds its own. A meeting that
//! is cancelled stays where it is, with the status CANCELLED: everybody sees what became of it, it takes no time, and whoever would
//! book it again finds it. A server that sends invitations (RFC 6638) tells everybody.
//!
//! The calendar of the meetings must be free, too: a server that invites nobody shows them in no other.

mod config;
mod ical;
mod introduction;
mod request;
mod response;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub(crate) use config::Config;
use events::{ActionKind, Unsent};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{
    Method, RequestBuilder, StatusCode, Url,
    header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
};
use secrecy::{ExposeSecret, SecretString};

use self::response::Found;
use super::{
    Opening, Refused,
    meeting::{self, Calendars, Meetings, Period, Put, Wanted},
};
use crate::{
    Attempt, Introduction, Verdict,
    http::{Api, Reply},
    plain_text::one_line,
};

/// Calendars that are asked at the same time.
const AT_ONCE: usize = 8;
const ICALENDAR: &str = "text/calendar; charset=utf-8";

/// The calendars of a server.
pub(crate) struct Caldav {
    api: Api,
    user: String,
    password: SecretString,
    calendar: Url,
    organizer: Option<String>,
}

impl Caldav {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Meetings<Self>, Refused> {
        if config.user.is_empty() || config.user.chars().any(|c| c.is_control() || c == ':') {
            opening.refuse("user", "a user's name has no colon");
        }
        let organizer = config.organizer.clone();
        if organizer.as_deref().is_some_and(|address| !meeting::is_address(address)) {
            opening.refuse("organizer", "write a mail address");
        }
        let password = opening.secret("password", &config.password);
        let api = opening.api("base", &config.base, config.allow_private)?;
        let calendar = request::collection(&api.base(), &config.calendar).ok_or_else(|| {
            opening.refuse("calendar", "write the calendar's path below base, such as /team/meetings/")
        })?;
        let here = Self { api, user: config.user.clone(), password: password?, calendar, organizer };
        Ok(Meetings::new(here, config.horizon_days))
    }

    async fn call(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        self.api.send(request.basic_auth(&self.user, Some(self.password.expose_secret()))).await
    }

    fn meeting(&self, wanted: &Wanted, attempt: &Attempt, start: DateTime<Utc>) -> String {
        let action_id = &attempt.action.event_id;
        request::meeting(wanted, action_id, attempt.asked_at, start, self.organizer.as_deref())
    }

    /// The place of an action's meeting.
    fn place(&self, action_id: &str) -> Url {
        request::object(&self.calendar, &request::id(action_id))
    }

    /// When one calendar is busy.
    async fn busy_of(&self, wanted: &Wanted, calendar: &Url) -> Result<Vec<Period>, Verdict> {
        let request = self.api.request(report(), calendar.clone()).header("depth", "1");
        let request =
            request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(request::query(wanted));
        let reply = self.call(request).await?;
        if reply.status() != StatusCode::OK {
            let whose = |path: &&str| request::collection(&self.api.base(), path).as_ref() == Some(calendar);
            let path = wanted.calendars().into_iter().find(whose);
            let whose = path.map_or("the meetings' own".to_owned(), |path| wanted.whose(path));
            return Err(response::refused(&reply, &one_line(&format!("free/busy calendar of {whose}"), 512)));
        }
        let unclear = reply.retry(None, "without saying when somebody is busy");
        response::calendar(reply).await?.busy().ok_or(unclear)
    }
}

fn report() -> Method {
    Method::from_bytes(b"REPORT").unwrap_or(Method::OPTIONS)
}

#[async_trait]
impl Calendars for Caldav {
    type Name = Url;
    type Booked = Found;

    fn api(&self) -> &Api {
        &self.api
    }

    /// Ours last.
    fn to_be_free(&self, wanted: &Wanted) -> Result<Vec<Url>, String> {
        let mut calendars: Vec<Url> = Vec::new();
        for path in wanted.calendars() {
            let url = request::collection(&self.api.base(), path).ok_or_else(|| {
                format!("{}: the calendar in the policy is no path on the server", wanted.whose(path))
            })?;
            calendars.push(url);
        }
        if !calendars.contains(&self.calendar) {
            calendars.push(self.calendar.clone());
        }
        Ok(calendars)
    }

    async fn busy(&self, wanted: &Wanted, calendars: &[Url]) -> Result<Vec<Period>, Verdict> {
        let asked: Vec<_> = calendars.iter().map(|calendar| self.busy_of(wanted, calendar)).collect();
        let busy: Vec<Vec<Period>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(busy.concat())
    }

    async fn find(&self, action_id: &str) -> Result<Option<Found>, Verdict> {
        let url = self.place(action_id);
        let reply = self.call(self.api.request(Method::GET, url.clone())).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => {
                let found = Found::read(&url, reply).await?;
                match found.object.uid() == Some(&request::uid(action_id)) {
                    true => Ok(Some(found)),
                    false => Err(Verdict::Reject {
                        reason: format!("{}: another meeting stands at the place of this one", self.api.name),
                    }),
                }
            }
            _ => Err(response::refused(&reply, "such meeting")),
        }
    }

    async fn put(&self, wanted: &Wanted, attempt: &Attempt, start: DateTime<Utc>) -> Result<Put, Verdict> {
        let url = self.place(&attempt.action.event_id);
        let request = self.api.request(Method::PUT, url.clone()).header(IF_NONE_MATCH, "*");
        let request = request.header(CONTENT_TYPE, ICALENDAR).body(self.meeting(wanted, attempt, start));
        let reply = self.call(request).await?;
        match reply.status() {
            status if status.is_success() => Ok(Put::Made(response::reference(&url))),
            StatusCode::PRECONDITION_FAILED => {
                Ok(Put::Taken(reply.retry(None, "it was there, and is gone again")))
            }
            _ => Err(response::refused(&reply, "calendar for the meetings")),
        }
    }

    async fn cancel(&self, action_id: &str, found: Found, attempt: &Attempt) -> Result<(), Verdict> {
        let request = self.api.request(Method::PUT, self.place(action_id)).header(IF_MATCH, found.tag());
        let cancelled = found.object.cancelled(attempt.asked_at);
        let reply = self.call(request.header(CONTENT_TYPE, ICALENDAR).body(cancelled)).await?;
        match reply.status() {
            // Somebody has just deleted it.
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            StatusCode::PRECONDITION_FAILED => Err(reply.retry(None, "somebody changes the meeting")),
            status if status.is_success() => Ok(()),
            _ => Err(response::refused(&reply, "meeting to change")),
        }
    }

    fn unbooked(
        &self,
        wanted: &Wanted,
        calendars: &[Url],
        attempt: &Attempt,
        start: DateTime<Utc>,
    ) -> Vec<Unsent> {
        let asked = calendars.iter().map(|url| self.api.unsent(report(), url, request::query(wanted)));
        let place = self.place(&attempt.action.event_id);
        let put = self.api.unsent(Method::PUT, &place, self.meeting(wanted, attempt, start));
        asked.chain([put]).collect()
    }

    fn uncancelled(&self, action_id: &str) -> Unsent {
        self.api.unsent(Method::PUT, &self.place(action_id), "STATUS:CANCELLED")
    }

    async fn introduced(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        self.properties(kinds).await
    }
}
