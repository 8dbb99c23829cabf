//! One policy's course through a partition's inputs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::{IssueEvent, Message, Outcome, topic};
use metrics::counter;
use policy::{
    Decided, Decision, Input, Kind, Note, Repeats, Ruleset, State, fire_timers, take_event, take_outcome,
};
use tracing::{debug, info, warn};

use crate::{GatewayError, batch::Batch};

/// Whose decisions they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The policy in force: onto `actions`.
    Production,
    /// The policy on trial: onto `actions-shadow`, counted apart, its state under keys of its own.
    Shadow,
}

/// What goes before a shadow's keys on `gateway-state`. The others' are JSON arrays.
const SHADOW_PREFIX: &[u8] = b"shadow:";

impl Lane {
    /// The key on `gateway-state`.
    pub(crate) fn prefixed(self, key: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Production => key,
            Self::Shadow => [SHADOW_PREFIX, &key].concat(),
        }
    }

    /// Whether its entries of this kind are on `gateway-state`. Which events were counted is the same for both policies.
    pub(crate) fn keeps(self, kind: Kind) -> bool {
        match self {
            Self::Production => true,
            Self::Shadow => kind != Kind::Seen,
        }
    }

    /// Whose entry a record of `gateway-state` is, and its key among theirs.
    pub(crate) fn of(key: &[u8]) -> (Self, &[u8]) {
        match key.strip_prefix(SHADOW_PREFIX) {
            Some(key) => (Self::Shadow, key),
            None => (Self::Production, key),
        }
    }
}

/// Whether a record of `gateway-state` is of a policy on trial; [`policy::State::restore`] takes the others.
pub fn is_of_shadow(key: &[u8]) -> bool {
    matches!(Lane::of(key), (Lane::Shadow, _))
}

/// A state, and the policy by which it goes on. The two belong together: nothing else decides it.
pub(crate) struct Course {
    pub(crate) partition: u32,
    pub(crate) lane: Lane,
    pub(crate) state: State,
    pub(crate) ruleset: Arc<Ruleset>,
}

impl Course {
    pub(crate) fn next_timer_at(&self) -> Option<DateTime<Utc>> {
        self.state.next_timer().map(|timer| timer.due_at)
    }

    /// Takes an event in, after every timer that was due by then.
    pub(crate) fn take_event(
        &mut self,
        event: &IssueEvent,
        payload_hash: Option<&str>,
        now: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        let Self { partition, lane, state, ruleset } = self;
        let mut sink = |decided: Decided<'_>| write(*partition, *lane, &decided, batch);
        take_event(state, event, payload_hash, now, Repeats::Last, ruleset, &mut sink)
    }

    pub(crate) fn take_outcome(
        &mut self,
        outcome: &Outcome,
        now: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        let Self { partition, lane, state, ruleset } = self;
        let mut sink = |decided: Decided<'_>| write(*partition, *lane, &decided, batch);
        take_outcome(state, outcome, now, ruleset, &mut sink)
    }

    /// Decides the timers due at or before `until`, at most `limit`.
    pub(crate) fn fire(
        &mut self,
        until: DateTime<Utc>,
        limit: usize,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        let Self { partition, lane, state, ruleset } = self;
        let mut sink = |decided: Decided<'_>| write(*partition, *lane, &decided, batch);
        fire_timers(state, until, limit, Repeats::Last, ruleset, &mut sink)
    }
}

/// Writes what is decided into the batch.
fn write(partition: u32, lane: Lane, decided: &Decided<'_>, batch: &mut Batch) -> Result<(), GatewayError> {
    let Decision { notes, actions, .. } = decided.decision;
    batch.decides_for(partition);
    batch.changes(partition, lane, decided.decision.keys());
    if let (Lane::Production, Input::Timer(_)) = (lane, decided.input) {
        counter!("breakdown_timers_total").increment(1);
    }
    let (noted, counted) = match lane {
        Lane::Production => ("breakdown_notes_total", "breakdown_decided_actions_total"),
        Lane::Shadow => ("breakdown_shadow_notes_total", "breakdown_shadow_actions_total"),
    };
    for note in notes {
        counter!(noted, "note" => note.name()).increment(note.count());
        debug!(partition, ?lane, ?note, "noted");
        if let (Lane::Production, Note::Capped { rule, issue_ref, until, is_first, .. }) = (lane, note) {
            counter!("breakdown_capped_actions_total").increment(1);
            if *is_first {
                warn!(
                    issue = issue_ref, rule, %until,
                    "an issue has had its actions of this hour; no more are made for it until then (limits.actions_per_issue)"
                );
            }
        }
    }
    for action in actions {
        let rule = action.rule.clone().unwrap_or_default();
        counter!(counted, "action" => action.action.to_string(), "rule" => rule).increment(1);
        let message = action.to_message()?;
        match lane {
            Lane::Production => {
                info!(
                    action = %action.action, target = action.target, rule = action.rule, issue = action.issue_ref,
                    id = action.event_id, "decided"
                );
                batch.says(message);
            }
            Lane::Shadow => {
                debug!(
                    action = %action.action, target = action.target, rule = action.rule, issue = action.issue_ref,
                    id = action.event_id, "decided by the shadow"
                );
                batch.says(Message { topic: topic::ACTIONS_SHADOW, ..message });
            }
        }
    }
    Ok(())
}
