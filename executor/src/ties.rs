//! Which actions of a partition belong together: what follows up which (acknowledges it, takes it back), and who was called about an issue
//! when.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use events::{ActionKind, Earlier};
use serde::{Deserialize, Serialize};

use crate::state::Pending;

/// What an action is to others, also once it has its outcome.
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
}

impl Tie {
    pub(crate) fn of(pending: &Pending) -> Option<Self> {
        if let Some(of) = Earlier::taken_back_by(&pending.action) {
            return Some(Self::TakesBack(of.action_id));
        }
        let issue = pending.action.issue_ref.clone();
        let issue = issue.filter(|_| pending.action.action == ActionKind::EscalateOwner)?;
        Some(Self::Page { issue, offset: pending.entry.offset, decided_at: decided_at(pending) })
    }
}

/// The action that a pending one is to acknowledge. That is nothing to anybody once it has its outcome.
fn acknowledged(pending: &Pending) -> Option<String> {
    Earlier::of(&pending.action)
        .filter(|_| pending.action.action == ActionKind::Acknowledge)
        .map(|of| of.action_id)
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
    /// What is taken back, and what takes it back; how many say so: what is redriven and deferred has the mark of its earlier round, too,
    /// and each of the two goes when its time comes.
    resolves: BTreeMap<Pair, usize>,
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
                *self.resolves.entry((of.as_str().into(), id.clone())).or_default() += 1;
            }
        }
    }

    /// The action is pending.
    pub(crate) fn bind_pending(&mut self, id: &Arc<str>, pending: &Pending) {
        if let Some(tie) = Tie::of(pending) {
            self.bind(id, &tie);
        }
        if let Some(of) = acknowledged(pending) {
            self.acknowledges.insert((of.into(), id.clone()));
        }
    }

    /// The action is pending no more.
    pub(crate) fn unbind_pending(&mut self, id: &str, pending: &Pending) {
        if let Some(tie) = Tie::of(pending) {
            self.unbind(id, &tie);
        }
        if let Some(of) = acknowledged(pending) {
            self.acknowledges.remove(&(of.into(), id.into()));
        }
    }

    pub(crate) fn unbind(&mut self, id: &str, tie: &Tie) {
        match tie {
            Tie::Page { issue, .. } => {
                self.pages.remove(&(issue.as_str().into(), id.into()));
            }
            Tie::TakesBack(of) => {
                if let Entry::Occupied(mut said) = self.resolves.entry((of.as_str().into(), id.into())) {
                    *said.get_mut() -= 1;
                    if *said.get() == 0 {
                        said.remove();
                    }
                }
            }
        }
    }

    /// What takes this action back, pending or done.
    pub(crate) fn takers<'t>(&'t self, id: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
        let from = self.resolves.range((Arc::from(id), Arc::from(""))..);
        from.take_while(move |((of, _), _)| **of == *id).map(|((_, taker), _)| taker)
    }

    /// What takes this action back or acknowledges it, and may have waited for its end.
    pub(crate) fn followers<'t>(&'t self, id: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
        let from = self.acknowledges.range((Arc::from(id), Arc::from(""))..);
        self.takers(id).chain(from.take_while(move |(of, _)| **of == *id).map(|(_, follower)| follower))
    }

    /// The pages of an issue: the record's offset, and when it was decided.
    pub(crate) fn pages<'t>(
        &'t self,
        issue: &'t str,
    ) -> impl Iterator<Item = (&'t Arc<str>, u64, DateTime<Utc>)> {
        let from = self.pages.range((Arc::from(issue), Arc::from(""))..);
        let of_issue = from.take_while(move |((about, _), _)| **about == *issue);
        of_issue.map(|((_, page), (offset, decided_at))| (page, *offset, *decided_at))
    }

    /// Whether people have been called about the issue anew since this was decided, which follows up an earlier page of it, and that is
    /// not taken back yet. A tool that knows alerts by their issue would have it close, or acknowledge, the newer one.
    pub(crate) fn is_overtaken(&self, follower: &Pending) -> bool {
        let Some((issue, of)) = page_of(follower) else { return false };
        let since = decided_at(follower);
        // What was redriven stands on the log anew, behind everything, whenever it was decided. And clocks differ: of what was decided at
        // about the same time the log tells which came first.
        let is_later = |offset: u64, at: DateTime<Utc>| {
            at >= since && (follower.entry.redrive.is_some() || offset > follower.entry.offset)
        };
        self.pages(issue).any(|(page, offset, at)| {
            **page != *of.action_id && is_later(offset, at) && self.takers(page).next().is_none()
        })
    }
}

/// The issue whose page an action takes back or acknowledges, and that page.
pub(crate) fn page_of(pending: &Pending) -> Option<(&str, Earlier)> {
    let of = Earlier::of(&pending.action).filter(|of| of.action == ActionKind::EscalateOwner)?;
    Some((pending.action.issue_ref.as_deref()?, of))
}
