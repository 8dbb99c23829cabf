//! An outcome changes its project's risk, once.

use chrono::{DateTime, Utc};
use events::{Outcome, Risk};

use super::{Decision, Note};
use crate::{Contribution, Entry, Key, Seen, State, state::MAX_CONTRIBUTIONS};

pub(super) fn decide(state: &State, outcome: &Outcome, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision::default();
    let (project_id, id) = (&outcome.project_id, &outcome.event_id);
    if state.outcome_seen(project_id, id, now) {
        decision.notes.push(Note::Duplicate { of: id.clone() });
        return decision;
    }
    let mut project = state.project(project_id).cloned().unwrap_or_default();
    project.risk = Risk(project.risk.0.saturating_add(outcome.risk_delta.0));
    project.outcomes += 1;
    project.failed += u64::from(!outcome.ack);
    project.recent.push_back(Contribution {
        outcome_id: id.clone(),
        action_id: outcome.action_id.clone(),
        risk_delta: outcome.risk_delta,
        ack: outcome.ack,
        at: now,
        supersedes: outcome.supersedes.clone(),
    });
    let over = project.recent.len().saturating_sub(MAX_CONTRIBUTIONS);
    project.recent.drain(..over);
    decision.changes.set(Key::project(project_id), Some(Entry::Project(Box::new(project))));
    let seen = Seen { at: now };
    decision.changes.set(Key::outcome(project_id, id), Some(Entry::Outcome(seen)));
    decision
}
