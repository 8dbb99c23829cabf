//! The world at the other end: it keeps what was made under which key, and fails when told to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use events::ActionKind;
use executor::{Attempt, Target, Verdict};

use crate::{
    sabotage::Sabotage,
    schedule::{CallFault, Role},
    shared::{Doomed, Shared},
};

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Books meetings, and takes them back.
    Calendar,
    /// Calls people: each issue is one alert there.
    Pager,
    /// Tells people all the rest.
    Notification,
}

impl Api {
    pub const ALL: [Self; 3] = [Self::Calendar, Self::Pager, Self::Notification];
}

/// One of the APIs, as one executor calls it.
pub struct FakeTarget {
    pub shared: Arc<Shared>,
    pub role: Role,
    pub api: Api,
}

#[async_trait]
impl Target for FakeTarget {
    fn name(&self) -> &'static str {
        match self.api {
            Api::Calendar => "calendar",
            Api::Pager => "pager",
            Api::Notification => "notification",
        }
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        let own = match kind {
            ActionKind::Resolve => return self.api != Api::Notification,
            ActionKind::ScheduleUnblocker => Api::Calendar,
            ActionKind::EscalateOwner | ActionKind::Acknowledge => Api::Pager,
            _ => Api::Notification,
        };
        self.api == own
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        self.shared.watch(|witness| witness.begins(self.role, &attempt.action));
        self.shared.pass(self.role).await;
        let action = &attempt.action;
        let (call, fault) = self.shared.lock().next_call(&action.event_id);
        self.shared.trace(|| format!("{} calls for {}, {fault:?}, call {call}", self.role, action.event_id));
        let key = match self.shared.is(Sabotage::NewKeys) {
            true => format!("{}-{call}", action.event_id),
            false => action.event_id.clone(),
        };
        self.shared.watch(|witness| witness.called(attempt));
        self.shared.dawdle(self.role).await;
        let retry = |after| Verdict::Retry { after, reason: "made to fail".into() };
        match fault {
            Some(CallFault::Fails) => return retry(None),
            Some(CallFault::Later(seconds)) => return retry(Some(Duration::from_secs(seconds))),
            Some(CallFault::Rejects | CallFault::RejectsTwice) => {
                self.shared.watch(|witness| witness.refused_page(attempt));
                return Verdict::Reject { reason: "made to refuse".into() };
            }
            Some(CallFault::Hangs) => std::future::pending().await,
            _ => {}
        }
        let nothing = self.shared.is(Sabotage::DoesNothing);
        let made =
            if nothing { None } else { Some(self.shared.watch(|witness| witness.made(&key, attempt))) };
        if self.api == Api::Pager && !nothing {
            self.page(attempt);
        }
        match fault {
            Some(CallFault::DoneThenFails) => return retry(None),
            Some(CallFault::DoneThenHangs) => std::future::pending().await,
            Some(CallFault::DoneThenKill) => {
                self.shared.doom(Doomed::Member(self.role));
                std::future::pending().await
            }
            _ => {}
        }
        self.shared.dawdle(self.role).await;
        Verdict::Done { reference: made }
    }
}

impl FakeTarget {
    /// The pager does it.
    fn page(&self, attempt: &Attempt) {
        let follows_up = attempt.action.action.follows_up();
        if !follows_up || !self.shared.is(Sabotage::DeafPager) {
            self.shared.watch(|witness| witness.paged(attempt));
        }
    }
}
