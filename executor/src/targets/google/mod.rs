//! Google Calendar: meetings, at the earliest time at which everybody can, and their end when the issue is closed.
//!
//! Idempotent by the event's id, which is the action's: before anything is booked the event is looked for, so that a retry,
//! also after a crash or a redrive, finds its own, and does not take it for somebody being busy. An event that was cancelled
//! meanwhile, by a person too, is not made again. A calendar that Google does not answer for is not free.

mod config;
mod introduction;
mod request;
mod response;
mod token;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub(crate) use config::Config;
use events::{ActionKind, Unsent};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use secrecy::ExposeSecret;

use self::{
    response::{Event, FreeBusy, Unknown},
    token::Token,
};
use super::{
    Opening, Refused,
    meeting::{Booked, Calendars, Meetings, Period, Put, Wanted},
};
use crate::{
    Attempt, Introduction, Verdict,
    http::{Api, ONE, PAGE, Reply},
};

/// Why a calendar's busy times are not known.
const UNSEEN: &str = "Google does not say when they are busy: there is no such calendar, or it is not shared with this account";

/// The calendars that the account sees.
pub(crate) struct Google {
    api: Api,
    token: Token,
    calendar: String,
    send_updates: &'static str,
}

impl Google {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Meetings<Self>, Refused> {
        let token = Token::open(config, opening);
        let calendar = config.calendar.trim().to_owned();
        if calendar.bytes().all(|b| b == b'.') || calendar.chars().any(char::is_control) {
            opening.refuse("calendar", "write the calendar's id, or primary");
        }
        let (api, token) = (opening.api("base", &config.base, config.allow_private)?, token?);
        let here = Self { api, token, calendar, send_updates: config.send_updates.word() };
        Ok(Meetings::new(here, config.horizon_days))
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.api.name) }
    }

    /// The place of our calendar's events, or of one of them.
    fn place(&self, id: Option<&str>) -> Url {
        let mut path = vec!["calendars", &*self.calendar, "events"];
        path.extend(id);
        self.api.url(&path)
    }

    /// A request about our calendar's events, or one of them.
    fn events(&self, method: Method, id: Option<&str>) -> RequestBuilder {
        let mut url = self.place(id);
        if method != Method::GET {
            url.query_pairs_mut().append_pair("sendUpdates", self.send_updates);
        }
        self.api.request(method, url)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        let bearer = self.token.get().await?;
        let reply = self.api.send(request.bearer_auth(bearer.token.expose_secret())).await?;
        if reply.status() == StatusCode::UNAUTHORIZED && self.token.refused(&bearer).await {
            return Err(reply.retry(None, "the account's token is not valid any more; another is asked for"));
        }
        Ok(reply)
    }

    /// A reply that is no success is a verdict.
    async fn call(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        let reply = self.ask(request).await?;
        if reply.status().is_success() { Ok(reply) } else { Err(response::refused(reply).await) }
    }
}

#[async_trait]
impl Calendars for Google {
    type Name = String;
    type Booked = Event;

    fn api(&self) -> &Api {
        &self.api
    }

    fn to_be_free(&self, wanted: &Wanted) -> Result<Vec<String>, String> {
        Ok(wanted.calendars().into_iter().map(ToOwned::to_owned).collect())
    }

    async fn busy(&self, wanted: &Wanted, calendars: &[String]) -> Result<Vec<Period>, Verdict> {
        let mut busy = Vec::new();
        for (calendars, query) in request::queries(wanted, calendars) {
            let request = self.api.request(Method::POST, self.api.url(&["freeBusy"])).json(&query);
            let reply = self.call(request).await?;
            let unsure = reply.retry(None, "without saying when everybody is busy");
            let answer: FreeBusy = reply.readable(PAGE).await?;
            busy.extend(answer.busy(calendars).map_err(|unknown| match unknown {
                Unknown::Never(calendar) => self.reject(&format!("{}: {UNSEEN}", wanted.whose(&calendar))),
                Unknown::Now(_) => unsure,
            })?);
        }
        Ok(busy)
    }

    async fn find(&self, action_id: &str) -> Result<Option<Event>, Verdict> {
        let reply = self.ask(self.events(Method::GET, Some(&request::id(action_id)))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => {
                let event: Event = reply.readable(ONE).await?;
                match event.is_of(action_id) {
                    true => Ok(Some(event)),
                    false => Err(self.reject("another event has the id of this meeting")),
                }
            }
            _ => Err(response::refused(reply).await),
        }
    }

    async fn put(&self, wanted: &Wanted, attempt: &Attempt, start: DateTime<Utc>) -> Result<Put, Verdict> {
        let action_id = &attempt.action.event_id;
        let event = request::event(wanted, action_id, start);
        let reply = self.ask(self.events(Method::POST, None).json(&event)).await?;
        match reply.status() {
            // It is booked, whatever the rest of the answer looks like.
            status if status.is_success() => {
                let event: Option<Event> = reply.json(ONE).await;
                Ok(Put::Made(event.map_or_else(|| request::id(action_id), |event| event.reference())))
            }
            StatusCode::CONFLICT => {
                Ok(Put::Taken(reply.reject("the meeting was booked, and is gone for good")))
            }
            _ => Err(response::refused(reply).await),
        }
    }

    async fn cancel(&self, action_id: &str, _: Event, _: &Attempt) -> Result<(), Verdict> {
        let reply = self.ask(self.events(Method::DELETE, Some(&request::id(action_id)))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(response::refused(reply).await),
        }
    }

    fn unbooked(
        &self,
        wanted: &Wanted,
        calendars: &[String],
        attempt: &Attempt,
        start: DateTime<Utc>,
    ) -> Vec<Unsent> {
        let queries = request::queries(wanted, calendars).into_iter();
        let free_busy = self.api.url(&["freeBusy"]);
        let asked = queries.map(|(_, query)| self.api.unsent(Method::POST, &free_busy, query));
        let event = request::event(wanted, &attempt.action.event_id, start);
        asked.chain([self.api.unsent(Method::POST, &self.place(None), event)]).collect()
    }

    fn uncancelled(&self, action_id: &str) -> Unsent {
        self.api.unsent(Method::DELETE, &self.place(Some(&request::id(action_id))), ())
    }

    async fn introduced(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        self.role(kinds).await
    }
}
