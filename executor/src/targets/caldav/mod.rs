//! CalDAV (RFC 4791): meetings, at the earliest time at which everybody can, and their end when the issue is closed.
//!
//! Idempotent by the object's path, which is the action's: before anything is booked the object is looked for, and it is put
//! only where there is none (`If-None-Match`), so that a retry, also after a crash or a redrive, finds its own. A meeting that
//! is cancelled is deleted, as RFC 6638 has it: a server that sends invitations tells everybody; nothing of it remains.
//!
//! The calendar of the meetings must be free, too: a server that invites nobody shows them in no other.

mod config;
mod ical;
mod introduction;
mod request;
mod response;

use async_trait::async_trait;
use chrono::TimeDelta;
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
    Opening,
    meeting::{self, Period, Wanted},
};
use crate::{
    Attempt, ExecutorError, Introduction, Target, Verdict,
    http::{Api, Reply},
    plain_text::one_line,
};

/// Calendars that are asked at the same time.
const AT_ONCE: usize = 8;
const ICALENDAR: &str = "text/calendar; charset=utf-8";

/// Books meetings, and cancels them.
pub(crate) struct Caldav {
    api: Api,
    user: String,
    password: SecretString,
    calendar: Url,
    organizer: Option<String>,
    horizon: TimeDelta,
}

impl Caldav {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, ExecutorError> {
        let api = opening.api("base", &config.base, config.allow_private)?;
        let horizon =
            meeting::horizon(config.horizon_days).map_err(|what| opening.refuse("horizon_days", &what))?;
        let calendar = request::collection(&api.base(), &config.calendar).ok_or_else(|| {
            opening.refuse("calendar", "write the calendar's path below base, such as /team/meetings/")
        })?;
        if config.user.is_empty() || config.user.chars().any(|c| c.is_control() || c == ':') {
            return Err(opening.refuse("user", "a user's name has no colon"));
        }
        let organizer = config.organizer.clone();
        if organizer.as_deref().is_some_and(|address| !meeting::is_address(address)) {
            return Err(opening.refuse("organizer", "write a mail address"));
        }
        let password = opening.secret("password", &config.password)?;
        Ok(Self { api, user: config.user.clone(), password, calendar, organizer, horizon })
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.api.name) }
    }

    async fn call(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        self.api.send(request.basic_auth(&self.user, Some(self.password.expose_secret()))).await
    }

    /// The meeting, and every calendar that is to be free for it, ours last.
    fn wanted(&self, attempt: &Attempt) -> Result<(Wanted, Vec<Url>), String> {
        let wanted = Wanted::of(attempt, self.api.now(), self.horizon)?;
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
        Ok((wanted, calendars))
    }

    fn put(&self, wanted: &Wanted, attempt: &Attempt, busy: Vec<Period>) -> Result<String, String> {
        let start = wanted.start(busy)?;
        let action_id = &attempt.action.event_id;
        Ok(request::meeting(wanted, action_id, attempt.asked_at, start, self.organizer.as_deref()))
    }

    /// An action's meeting; refused where what stands there is another.
    async fn find(&self, url: &Url, action_id: &str) -> Result<Option<Found>, Verdict> {
        let reply = self.call(self.api.request(Method::GET, url.clone())).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => {
                let found = response::object(reply).await?;
                match found.object.uid() == Some(&request::uid(action_id)) {
                    true => Ok(Some(found)),
                    false => Err(self.reject("another meeting stands at the place of this one")),
                }
            }
            _ => Err(response::refused(&reply, "such meeting")),
        }
    }

    /// When one calendar is busy.
    async fn busy(&self, wanted: &Wanted, calendar: Url) -> Result<Vec<Period>, Verdict> {
        let report = Method::from_bytes(b"REPORT").unwrap_or(Method::OPTIONS);
        let request = self.api.request(report, calendar.clone()).header("depth", "1");
        let request =
            request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(request::query(wanted));
        let reply = self.call(request).await?;
        if reply.status() != StatusCode::OK {
            let whose = |path: &&str| request::collection(&self.api.base(), path).as_ref() == Some(&calendar);
            let path = wanted.calendars().into_iter().find(whose);
            let whose = path.map_or("the meetings' own".to_owned(), |path| wanted.whose(path));
            return Err(response::refused(&reply, &one_line(&format!("free/busy calendar of {whose}"), 512)));
        }
        let unclear = reply.retry(None, "without saying when somebody is busy");
        response::calendar(reply).await?.busy().ok_or(unclear)
    }

    async fn book(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let action_id = &attempt.action.event_id;
        let (wanted, calendars) = self.wanted(attempt).map_err(|reason| self.reject(&reason))?;
        let url = request::object(&self.calendar, &request::id(action_id));
        let done = Ok(Verdict::Done { reference: Some(one_line(url.path(), 256)) });
        if self.find(&url, action_id).await?.is_some() {
            return done;
        }
        let asked = stream::iter(calendars.into_iter().map(|calendar| self.busy(&wanted, calendar)));
        let busy: Vec<Vec<Period>> = asked.buffered(AT_ONCE).try_collect().await?;
        let meeting = self.put(&wanted, attempt, busy.concat()).map_err(|reason| self.reject(&reason))?;
        let request = self.api.request(Method::PUT, url.clone()).header(IF_NONE_MATCH, "*");
        let reply = self.call(request.header(CONTENT_TYPE, ICALENDAR).body(meeting)).await?;
        match reply.status() {
            status if status.is_success() => done,
            StatusCode::PRECONDITION_FAILED => {
                let gone = reply.retry(None, "it was there, and is gone again");
                self.find(&url, action_id).await?.ok_or(gone).and(done)
            }
            _ => Err(response::refused(&reply, "calendar for the meetings")),
        }
    }

    async fn cancel(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let Some(action_id) = meeting::resolved(&attempt.action) else {
            return Ok(Verdict::Done { reference: None });
        };
        let url = request::object(&self.calendar, &request::id(action_id));
        let reference = one_line(url.path(), 256);
        let Some(found) = self.find(&url, action_id).await? else {
            return Ok(Verdict::Done { reference: Some(reference) });
        };
        if found.object.begins_at().is_some_and(|at| at <= meeting::present(attempt, self.api.now())) {
            return Ok(Verdict::Done { reference: Some(meeting::stays(&reference)) });
        }
        let mut request = self.api.request(Method::DELETE, url);
        if let Some(etag) = found.etag {
            request = request.header(IF_MATCH, etag);
        }
        let reply = self.call(request).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Verdict::Done { reference: Some(reference) }),
            StatusCode::PRECONDITION_FAILED => Err(reply.retry(None, "somebody changes the meeting")),
            status if status.is_success() => Ok(Verdict::Done { reference: Some(reference) }),
            _ => Err(response::refused(&reply, "meeting to delete")),
        }
    }
}

#[async_trait]
impl Target for Caldav {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        meeting::carries(kind)
    }

    fn alone_at(&self, attempt: &Attempt) -> Vec<String> {
        let wanted = self.wanted(attempt).ok().filter(|_| !meeting::is_resolve(&attempt.action.action));
        wanted.into_iter().flat_map(|(_, calendars)| calendars).map(String::from).collect()
    }

    /// As if everybody were free: who is not is for the server to say.
    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let action = &attempt.action;
        if meeting::is_resolve(&action.action) {
            let one = |_| self.api.unsent(Method::DELETE, ());
            return Ok(meeting::resolved(action).map(one).into_iter().collect());
        }
        let (wanted, calendars) = self.wanted(attempt)?;
        let report = Method::from_bytes(b"REPORT").unwrap_or(Method::OPTIONS);
        let asked = calendars.iter().map(|_| self.api.unsent(report.clone(), request::query(&wanted)));
        let mut unsent: Vec<Unsent> = asked.collect();
        unsent.push(self.api.unsent(Method::PUT, self.put(&wanted, attempt, Vec::new())?));
        Ok(unsent)
    }

    async fn introduce(&self, kinds: &[ActionKind]) -> Introduction {
        Introduction::at(&self.api, self.introduced(kinds)).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let done = match meeting::is_resolve(&attempt.action.action) {
            true => self.cancel(attempt).await,
            false => self.book(attempt).await,
        };
        done.unwrap_or_else(|verdict| verdict)
    }
}
