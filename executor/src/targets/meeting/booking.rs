//! Booking a meeting and cancelling it: in one order, whoever keeps the calendars.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use events::{ActionKind, Unsent};

use super::{DEFAULT_HORIZON_DAYS, HorizonDays, Period, Wanted, carries, present, resolved, stays};
use crate::{Attempt, Introduction, Target, Verdict, http::Api};

/// Where calendars are kept, and what is particular about it.
#[async_trait]
pub(in crate::targets) trait Calendars: Send + Sync + 'static {
    /// What a calendar is called there.
    type Name: AsRef<str> + Send + Sync;
    /// A meeting of ours.
    type Booked: Booked + Send;

    fn api(&self) -> &Api;

    /// Every calendar that is to be free. `Err`: one that cannot be there, and whose it is.
    fn to_be_free(&self, wanted: &Wanted) -> Result<Vec<Self::Name>, String>;

    /// When any of these is busy. One that is not answered for is not free.
    async fn busy(&self, wanted: &Wanted, calendars: &[Self::Name]) -> Result<Vec<Period>, Verdict>;

    /// An action's meeting, cancelled ones too; refused where what stands in its place is another.
    async fn find(&self, action_id: &str) -> Result<Option<Self::Booked>, Verdict>;

    /// Puts a meeting in its place, unless something stands there.
    async fn put(&self, wanted: &Wanted, attempt: &Attempt, start: DateTime<Utc>) -> Result<Put, Verdict>;

    /// Cancels an action's meeting, for what this attempt says.
    async fn cancel(&self, action_id: &str, booked: Self::Booked, attempt: &Attempt) -> Result<(), Verdict>;

    /// What would be sent to book one, as if everybody were free: who is not is for the calendars to say.
    fn unbooked(
        &self,
        wanted: &Wanted,
        calendars: &[Self::Name],
        attempt: &Attempt,
        start: DateTime<Utc>,
    ) -> Vec<Unsent>;

    /// What would be sent to cancel an action's meeting.
    fn uncancelled(&self, action_id: &str) -> Unsent;

    async fn introduced(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict>;
}

/// A meeting that is in its place.
pub(in crate::targets) trait Booked {
    /// What the calendars call it.
    fn reference(&self) -> String;

    /// Whether it was called off.
    fn is_cancelled(&self) -> bool;

    /// When it begins, wherever somebody has moved it.
    fn begins_at(&self) -> Option<DateTime<Utc>>;
}

/// What came of putting a meeting in its place.
pub(in crate::targets) enum Put {
    /// It is there, under this reference.
    Made(String),
    /// Something was there before; what it means where that cannot be found.
    Taken(Verdict),
}

/// Books meetings at the earliest time at which everybody can, and cancels them.
pub(in crate::targets) struct Meetings<C> {
    calendars: C,
    horizon: TimeDelta,
}

fn done(reference: Option<String>) -> Verdict {
    Verdict::Done { reference }
}

impl<C: Calendars> Meetings<C> {
    pub(in crate::targets) fn new(calendars: C, horizon_days: Option<HorizonDays>) -> Self {
        let days = horizon_days.map_or(DEFAULT_HORIZON_DAYS, HorizonDays::get);
        Self { calendars, horizon: TimeDelta::days(days.into()) }
    }

    fn wanted(&self, attempt: &Attempt) -> Result<(Wanted, Vec<C::Name>), String> {
        let wanted = Wanted::of(attempt, self.calendars.api().now(), self.horizon)?;
        let to_be_free = self.calendars.to_be_free(&wanted)?;
        Ok((wanted, to_be_free))
    }

    fn reject(&self, reason: &str) -> Verdict {
        Verdict::Reject { reason: format!("{}: {reason}", self.calendars.api().name) }
    }

    async fn book(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let action_id = &attempt.action.event_id;
        let (wanted, to_be_free) = self.wanted(attempt).map_err(|reason| self.reject(&reason))?;
        if let Some(booked) = self.calendars.find(action_id).await? {
            return Ok(done(Some(booked.reference())));
        }
        let busy = self.calendars.busy(&wanted, &to_be_free).await?;
        let start = wanted.start(busy).map_err(|reason| self.reject(&reason))?;
        match self.calendars.put(&wanted, attempt, start).await? {
            Put::Made(reference) => Ok(done(Some(reference))),
            Put::Taken(gone) => match self.calendars.find(action_id).await? {
                Some(booked) => Ok(done(Some(booked.reference()))),
                None => Err(gone),
            },
        }
    }

    async fn cancel(&self, attempt: &Attempt) -> Result<Verdict, Verdict> {
        let Some(action_id) = resolved(&attempt.action) else { return Ok(done(None)) };
        let Some(booked) = self.calendars.find(&action_id).await? else { return Ok(done(None)) };
        let reference = booked.reference();
        if booked.is_cancelled() {
            return Ok(done(Some(reference)));
        }
        if booked.begins_at().is_some_and(|at| at <= present(attempt, self.calendars.api().now())) {
            return Ok(done(Some(stays(&reference))));
        }
        self.calendars.cancel(&action_id, booked, attempt).await?;
        Ok(done(Some(reference)))
    }
}

#[async_trait]
impl<C: Calendars> Target for Meetings<C> {
    fn name(&self) -> &'static str {
        self.calendars.api().name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        carries(kind)
    }

    fn alone_at(&self, attempt: &Attempt) -> Vec<String> {
        let wanted = self.wanted(attempt).ok().filter(|_| attempt.action.action != ActionKind::Resolve);
        let to_be_free = wanted.into_iter().flat_map(|(_, to_be_free)| to_be_free);
        to_be_free.map(|name| name.as_ref().to_owned()).collect()
    }

    fn rehearse(&self, attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        if attempt.action.action == ActionKind::Resolve {
            let one = |action_id: String| self.calendars.uncancelled(&action_id);
            return Ok(resolved(&attempt.action).map(one).into_iter().collect());
        }
        let (wanted, to_be_free) = self.wanted(attempt)?;
        let start = wanted.start(Vec::new())?;
        Ok(self.calendars.unbooked(&wanted, &to_be_free, attempt, start))
    }

    async fn introduce(&self, kinds: &[ActionKind]) -> Introduction {
        Introduction::at(self.calendars.api(), self.calendars.introduced(kinds)).await
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let done = match attempt.action.action {
            ActionKind::Resolve => self.cancel(attempt).await,
            _ => self.book(attempt).await,
        };
        done.unwrap_or_else(|verdict| verdict)
    }
}
