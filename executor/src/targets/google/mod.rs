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
use chrono::TimeDelta;
pub(crate) use config::Config;
use events::{ActionKind, Unsent};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;

use self::{
    response::{Event, FreeBusy, Unknown},
    token::Token,
};
use super::{
    Opening,
    meeting::{self, Period, Wanted},
};
use crate::{
    Attempt, ExecutorError, Introduction, Target, Verdict,
    http::{Api, ONE, PAGE, Reply},
};

/// Why a calendar's busy times are not known.
const UNSEEN: &str = "Google does not say when they are busy: there is no such calendar, or it is not shared with this account";

/// Books meetings, and cancels them.
pub(crate) struct Google {
    api: Api,
    token: Token,
    calendar: String,
    send_updates: &'static str,
    horizon: TimeDelta,
}

impl Google {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, ExecutorError> {
        let token = Token::open(config, opening)?;
        let horizon =
            meeting::horizon(config.horizon_days).map_err(|what| opening.refuse("horizon_days", &what))?;
        let calendar = config.calendar.trim().to_owned();
        if calendar.bytes().all(|b| b == b'.') || calendar.chars().any(char::is_control) {
            return Err(opening.refuse("calendar", "write the calendar's id, or primary"));
        }
        let api = opening.api("base", &config.base, config.allow_private)?;
        Ok(Self { api, token, calendar, send_updates: config.send_updates.word(), horizon })
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.api.name) }
    }

    fn wanted(&self, attempt: &Attempt) -> Result<Wanted, String> {
        Wanted::of(attempt, self.api.now(), self.horizon)
    }

    /// A request about our calendar's events, or one of them.
    fn events(&self, method: Method, id: Option<&str>) -> RequestBuilder {
        let mut path = vec!["calendars", &*self.calendar, "events"];
        path.extend(id);
        let mut url = self.api.url(&path);
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

    async fn find(&self, id: &str) -> Result<Option<Event>, Verdict> {
        let reply = self.ask(self.events(Method::GET, Some(id))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => reply.readable(ONE).await.map(Some),
            _ => Err(response::refused(reply).await),
        }
    }

    /// The event, where it is this action's.
    fn own(&self, event: Event, action_id: &str) -> Result<Event, Verdict> {
        match event.is_of(action_id) {
            true => Ok(event),
            false => Err(self.reject("another event has the id of this meeting")),
        }
    }

    async fn busy(&self, wanted: &Wanted) -> Result<Vec<Period>, Verdict> {
        let mut busy = Vec::new();
        for (calendars, query) in request::queries(wanted, &wanted.calendars()) {
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

    async fn book(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let action_id = &attempt.action.event_id;
        let wanted = self.wanted(attempt).map_err(|reason| self.reject(&reason))?;
        let id = request::id(action_id);
        if let Some(event) = self.find(&id).await? {
            let reference = self.own(event, action_id)?.reference();
            return Ok(Verdict::Done { reference: Some(reference) });
        }
        let start = wanted.start(self.busy(&wanted).await?).map_err(|reason| self.reject(&reason))?;
        let event = request::event(&wanted, action_id, start);
        let reply = self.ask(self.events(Method::POST, None).json(&event)).await?;
        match reply.status() {
            // It is booked, whatever the rest of the answer looks like.
            status if status.is_success() => {
                let event: Option<Event> = reply.json(ONE).await;
                Ok(Verdict::Done { reference: Some(event.map_or(id, |event| event.reference())) })
            }
            StatusCode::CONFLICT => {
                let gone = reply.reject("the meeting was booked, and is gone for good");
                match self.find(&id).await? {
                    Some(event) => {
                        let reference = self.own(event, action_id)?.reference();
                        Ok(Verdict::Done { reference: Some(reference) })
                    }
                    None => Err(gone),
                }
            }
            _ => Err(response::refused(reply).await),
        }
    }

    async fn cancel(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let Some(action_id) = meeting::resolved(&attempt.action) else {
            return Ok(Verdict::Done { reference: None });
        };
        let id = request::id(action_id);
        let Some(event) = self.find(&id).await? else { return Ok(Verdict::Done { reference: None }) };
        let event = self.own(event, action_id)?;
        let reference = event.reference();
        if event.is_cancelled() {
            return Ok(Verdict::Done { reference: Some(reference) });
        }
        if event.begins_at().is_some_and(|at| at <= meeting::present(attempt, self.api.now())) {
            return Ok(Verdict::Done { reference: Some(meeting::stays(&reference)) });
        }
        let reply = self.ask(self.events(Method::DELETE, Some(&id))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Verdict::Done { reference: Some(reference) }),
            status if status.is_success() => Ok(Verdict::Done { reference: Some(reference) }),
            _ => Err(response::refused(reply).await),
        }
    }
}

#[async_trait]
impl Target for Google {
    fn name(&self) -> &'static str {
        self.api.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        meeting::carries(kind)
    }

    fn alone_at(&self, attempt: &Attempt) -> Vec<String> {
        let wanted = self.wanted(attempt).ok().filter(|_| !meeting::is_resolve(&attempt.action.action));
        wanted.iter().flat_map(|wanted| wanted.calendars()).map(str::to_owned).collect()
    }

    /// As if everybody were free: who is not is for the calendar to say.
    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        let action = &attempt.action;
        if meeting::is_resolve(&action.action) {
            let one = |_| self.api.unsent(Method::DELETE, ());
            return Ok(meeting::resolved(action).map(one).into_iter().collect());
        }
        let wanted = self.wanted(attempt)?;
        let event = request::event(&wanted, &action.event_id, wanted.start(Vec::new())?);
        let calendars = wanted.calendars();
        let queries = request::queries(&wanted, &calendars).into_iter().map(|(_, query)| query);
        let mut unsent: Vec<Unsent> = queries.map(|query| self.api.unsent(Method::POST, query)).collect();
        unsent.push(self.api.unsent(Method::POST, event));
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
