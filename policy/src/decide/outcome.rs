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
    project.failed += u64::from(outcome.is_failure());
    project.dry_runs += u64::from(outcome.is_dry_run());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dry_run_is_neither_done_nor_failed() {
        let mut state = State::default();
        let mut project = |id: &str, ack: bool, error: Option<&str>| {
            let said =
                json!({"event_id": id, "project_id": "alpha", "risk_delta": 0.0, "ack": ack, "error": error});
            let outcome: Outcome = serde_json::from_value(said).unwrap();
            let decision = decide(&state, &outcome, DateTime::UNIX_EPOCH);
            state.apply(decision);
            let project = state.project("alpha").unwrap();
            (project.outcomes, project.failed, project.dry_runs)
        };
        assert_eq!(project("o-1", true, None), (1, 0, 0));
        assert_eq!(project("o-2", false, Some("dry_run")), (2, 0, 1));
        assert_eq!(project("o-3", false, Some("slack answered 500")), (3, 1, 1));
        assert_eq!(project("o-4", false, Some("expired")), (4, 2, 1));
        assert_eq!(project("o-w", false, Some(Outcome::WITHDRAWN)), (5, 2, 1));
        // Done, though somebody says of it that it was not sent.
        assert_eq!(project("o-5", true, Some("dry_run")), (6, 2, 1));
        // What was kept by a version that did not count them.
        let before: crate::Project =
            serde_json::from_value(json!({"risk": 0.0, "outcomes": 1, "failed": 1, "recent": []})).unwrap();
        assert_eq!(before.dry_runs, 0);
    }
}
