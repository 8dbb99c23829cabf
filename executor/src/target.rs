//! What carries an action into the world.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::{Action, ActionKind, Unsent};

use crate::Introduction;

/// One action on its way to a target.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What is to be done. Its id is the idempotency key.
    pub action: Arc<Action>,
    /// The instant for which the action was decided, or at the latest when the log took it. The same for every
    /// attempt, so whatever is computed from it stays the same too.
    pub asked_at: DateTime<Utc>,
}

impl Attempt {
    /// The earliest instant at which an attempt of the action can have been made: of a redriven one, before it was asked
    /// for again. Where a target looks for what it did before, it looks from here.
    pub fn possible_since(&self) -> DateTime<Utc> {
        self.action.evaluated_at.map_or(self.asked_at, |at| at.min(self.asked_at))
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The effect is there, now or since an earlier attempt.
    Done {
        /// What was made, by the target's own name for it.
        reference: Option<String>,
    },
    /// Not now, perhaps later. It may have been done all the same: the next attempt carries the same key.
    Retry {
        /// When the target wants to be asked again, at the earliest: it can lengthen our own wait, not shorten it. `None`: it did
        /// not say.
        after: Option<Duration>,
        /// What went wrong, in our words.
        reason: String,
    },
    /// Never like this.
    Reject {
        /// Why, in our words.
        reason: String,
    },
}

/// What carries actions into the world: one outside API, one file or folder under `targets/`, all of one shape
/// (configuration, request, response to verdict, tests).
///
/// - **An attempt is one try**: no waiting, no retrying, no timing out of its own. The stack around it does that, the
///   same for every target.
/// - **The action id is the idempotency key** of the request, in whatever way the API takes one. The same attempt
///   always sends the same request: nothing of the clock, nothing random. Only a meeting's start is never past: its target
///   looks for its own before it books.
/// - **A verdict, not an error.** What the API said is judged here, and only here. `Reject` is final; in doubt it is
///   `Retry`.
/// - **Dropped at any await** (a timeout, a stop): whether the effect is there is then unknown, as after a crash.
/// - **Text is data.** Titles and names come from strangers; a target neutralises whatever its API would take for
///   markup. Reasons are ours: nothing of an answer's body, no credential, no url with one.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// Its name in metrics, reasons and state: lower case, no spaces, never changed.
    fn name(&self) -> &'static str;

    /// Whether it carries this kind of action. The first target that does gets it.
    fn carries(&self, kind: &ActionKind) -> bool;

    /// What the API behind it limits by itself, where that is less than all of it: the channel or repository that an
    /// action goes to. Attempts of one lane are [`Self::lane_every`] apart, and hold up no other lane.
    fn lane(&self, _action: &Action) -> Option<String> {
        None
    }

    /// How far apart attempts of one lane are. Zero: lanes have no limit of their own.
    fn lane_every(&self) -> Duration {
        Duration::ZERO
    }

    /// What nobody else may be at while this is attempted: the calendars of a meeting, say, between asking who is free and booking.
    /// Attempts that share one take turns.
    fn alone_at(&self, _attempt: &Attempt) -> Vec<String> {
        Vec::new()
    }

    /// What an attempt would send, for a dry run: nothing is touched, not even looked at. `Err`: why it would be refused.
    fn rehearse(&self, _attempt: &Attempt) -> Result<Vec<Unsent>, String> {
        Ok(Vec::new())
    }

    /// Who we are there and what we may do, by a call that changes nothing and is made like every other; or why that cannot be known.
    /// What is missing is told for these kinds of action.
    async fn introduce(&self, _kinds: &[ActionKind]) -> Introduction {
        Introduction::default()
    }

    /// Tries once.
    async fn attempt(&self, attempt: &Attempt) -> Verdict;
}
