//! Which actions of a partition belong together: what follows up which (acknowledges it, takes it back), and who was called about an issue
//! when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use events::{ActionKind, Earlier};
use serde::{Deserialize, Serialize};

use crate::state::Pending;

/// What is remembered of an action for the sake of others, also once it has its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tie {
    /// It calls people about an issue.
    Page {
        issue: String,
        /// Of its record.
        offset: u64,
        decided_at: DateTime<Utc>,
    },
    /// It takes back the action of this id.
    TakesBack(String),
    /// It acknowledges the action of this id. Nothing to anybody once it has its outcome.
    Acknowledges(String),
}

impl Tie {
    pub(crate) fn of(pending: &Pending) -> Option<Self> {
        if let Some(of) = Earlier::of(&pending.action) {
            return Some(match pending.action.action {
                ActionKind::Acknowledge => Self::Acknowledges(of.action_id),
                _ => Self::TakesBack(of.action_id),
            });
        }
        let issue = pending.action.issue_ref.clone();
        let issue = issue.filter(|_| pending.action.action == ActionKind::EscalateOwner)?;
        Some(Self::Page { issue, offset: pending.entry.offset, decided_at: decided_at(pending) })
    }

    /// What is remembered of an action that has its outcome.
    pub(crate) fn lasting(pending: &Pending) -> Option<Self> {
        Self::of(pending).filter(|tie| !matches!(tie, Self::Acknowledges(_)))
    }
}

/// When the gateway decided it, however often it was redriven.
fn decided_at(pending: &Pending) -> DateTime<Utc> {
    pending.action.evaluated_at.unwrap_or(pending.entry.asked_at)
}

/// An issue or action, and an action.
type Pair = (Arc<str>, Arc<str>);

/// The ties of a partition's actions, to be found by what they are tied to.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// What is taken back, and what takes it back.
    resolves: BTreeSet<Pair>,
    /// What is acknowledged, and what is to acknowledge it.
    acknowledges: BTreeSet<Pair>,
    /// Issues and their pages: the record's offset, and when it was decided.
    pages: BTreeMap<Pair, (u64, DateTime<Utc>)>,
}

impl Ties {
    pub(crate) fn bind(&mut self, id: &Arc<str>, tie: &Tie) {
        match tie {
            Tie::Page { issue, offset, decided_at } => {
                self.pages.insert((issue.as_str().into(), id.clone()), (*offset, *decided_at));
            }
            Tie::TakesBack(of) => {
                self.resolves.insert((of.as_str().into(), id.clone()));
            }
            Tie::Acknowledges(of) => {
                self.acknowledges.insert((of.as_str().into(), id.clone()));
            }
        }
    }

    pub(crate) fn unbind(&mut self, id: &str, tie: &Tie) {
        match tie {
            Tie::Page { issue, .. } => {
                self.pages.remove(&(issue.as_str().into(), id.into()));
            }
            Tie::TakesBack(of) => {
                self.resolves.remove(&(of.as_str().into(), id.into()));
            }
            Tie::Acknowledges(of) => {
                self.acknowledges.remove(&(of.as_str().into(), id.into()));
            }
        }
    }

    /// What takes this action back, pending or done.
    pub(crate) fn takers<'t>(&'t self, id: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
        second_of(&self.resolves, id)
    }

    /// What takes this action back or acknowledges it, and may have waited for its end.
    pub(crate) fn followers<'t>(&'t self, id: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
        self.takers(id).chain(second_of(&self.acknowledges, id))
    }

    /// Whether people have been called about the issue anew since this was decided, which follows up an earlier page of it. A
    /// tool that knows alerts by their issue would have it close, or acknowledge, the newer one.
    pub(crate) fn is_overtaken(&self, follower: &Pending) -> bool {
        let Some((issue, of)) = page_of(follower) else { return false };
        let later = |(offset, at): &(u64, DateTime<Utc>)| match follower.entry.redrive {
            None => *offset > follower.entry.offset,
            // Its record was put on the log anew, behind everything.
            Some(_) => *at >= decided_at(follower),
        };
        let from = self.pages.range((Arc::from(issue), Arc::from(""))..);
        let mut pages = from.take_while(|((about, _), _)| **about == *issue);
        pages.any(|((_, page), when)| **page != *of.action_id && later(when))
    }
}

fn second_of<'t>(pairs: &'t BTreeSet<Pair>, first: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
    let from = pairs.range((Arc::from(first), Arc::from(""))..);
    from.take_while(move |(of, _)| **of == *first).map(|(_, second)| second)
}

/// The issue whose page an action takes back or acknowledges, and that page.
pub(crate) fn page_of(pending: &Pending) -> Option<(&str, Earlier)> {
    let of = Earlier::of(&pending.action).filter(|of| of.action == ActionKind::EscalateOwner)?;
    Some((pending.action.issue_ref.as_deref()?, of))
}
