//! What no decision can look at any more.

use chrono::{DateTime, Utc};

use super::Decision;
use crate::{Entry, Issue, Kind, State, state::CLOSED_AFTER};

/// How many entries one call forgets.
const MAX_FORGOTTEN: usize = 1000;

/// Forgets ids that were seen more than seven days ago and the facts of issues that were closed more than 90 days ago, at most a thousand
/// a call. When and how often this is called changes no decision: [`super::decide`] does not look at what is due to be forgotten.
pub fn expire(state: &State, now: DateTime<Utc>) -> Decision {
    let now = super::within_calendar(now);
    let mut decision = Decision::default();
    for key in state.due_to_forget(now).take(MAX_FORGOTTEN) {
        let left = match key.kind {
            Kind::Issue => {
                let issue = state.issue(&key.project, &key.identity).map(Issue::forgotten);
                issue.map(|issue| Entry::Issue(Box::new(issue)))
            }
            _ => None,
        };
        decision.changes.set(key, left);
    }
    decision
}

/// Whether a closed issue counts as forgotten.
pub(super) fn is_forgotten(issue: &Issue, now: DateTime<Utc>) -> bool {
    issue.closed_at.is_some_and(|at| at + CLOSED_AFTER <= now)
}
