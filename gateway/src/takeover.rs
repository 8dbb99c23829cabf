//! How a policy takes over: silently, in one step a partition, before its first decision.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{PolicyChange, topic};
use policy::{Decision, Kind, Ruleset, State, switch_policy};
use tracing::info;

use crate::{
    GatewayError, Policies,
    batch::Batch,
    course::{Course, Lane},
    partition::Partition,
};

/// A partition that is being restored: nothing is decided for it.
#[derive(Default)]
pub(crate) struct Restoring {
    production: State,
    shadow: State,
}

impl Restoring {
    /// Takes one record of the changelog back.
    pub(crate) fn take(&mut self, record: &Record) -> Result<(), GatewayError> {
        let (lane, key) = Lane::of(&record.key);
        let state = match lane {
            Lane::Production => &mut self.production,
            Lane::Shadow => &mut self.shadow,
        };
        state.restore(key, record.value.as_deref()).map_err(|error| GatewayError::State {
            partition: record.partition,
            offset: record.offset,
            error,
        })
    }

    /// The state is whole. Where other policies decided last, these take over.
    pub(crate) fn assigned(
        self,
        number: u32,
        policies: &Policies,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<Partition, GatewayError> {
        let ruleset = policies.policy.clone();
        let mut production =
            Course { partition: number, lane: Lane::Production, state: self.production, ruleset };
        if put_in_force(&mut production, wall, batch)? {
            info!(partition = number, policy = production.ruleset.hash(), "policy takes effect");
        }
        let shadow = on_trial(self.shadow, &production, policies.shadow.as_ref(), batch);
        Ok(Partition { number, production, shadow })
    }
}

impl Partition {
    /// Whether these are the policies that decide it.
    pub(crate) fn follows(&self, policies: &Policies) -> bool {
        let on_trial = self.shadow.as_ref().map(|shadow| shadow.ruleset.hash());
        self.production.ruleset.hash() == policies.policy.hash()
            && on_trial == policies.shadow.as_ref().map(|candidate| candidate.hash())
    }

    /// Lets these policies take over.
    pub(crate) fn follow(
        &mut self,
        policies: &Policies,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        self.production.ruleset = policies.policy.clone();
        put_in_force(&mut self.production, wall, batch)?;
        let old = self.shadow.take().map(|shadow| shadow.state).unwrap_or_default();
        self.shadow = on_trial(old, &self.production, policies.shadow.as_ref(), batch);
        Ok(())
    }
}

/// Lets the course's policy take over, and says so on `policies`; false where it decided the state last.
fn put_in_force(course: &mut Course, wall: DateTime<Utc>, batch: &mut Batch) -> Result<bool, GatewayError> {
    let ruleset = course.ruleset.clone();
    if course.state.policy_hash() == Some(ruleset.hash()) {
        return Ok(false);
    }
    let decision = switch(&course.state, &ruleset);
    batch.decides_for(course.partition);
    batch.changes(course.partition, course.lane, decision.keys());
    course.state.apply(decision);
    let inputs = [topic::ISSUES, topic::OUTCOMES];
    batch.says(
        PolicyChange {
            partition: course.partition,
            policy_hash: ruleset.hash().to_owned(),
            offsets: inputs.map(|input| (input.to_owned(), course.state.consumed(input))).into(),
            at: wall,
            clock: course.state.clock(),
            policy: ruleset.text().to_owned(),
        }
        .to_message()?,
    );
    Ok(true)
}

/// A candidate that was on trial goes on from `old`, its state; another begins as if it took over now from the policy in force. What
/// is left of the old is deleted.
fn on_trial(
    old: State,
    production: &Course,
    candidate: Option<&Arc<Ruleset>>,
    batch: &mut Batch,
) -> Option<Course> {
    let partition = production.partition;
    let course = |state, ruleset: &Arc<Ruleset>| Course {
        partition,
        lane: Lane::Shadow,
        state,
        ruleset: ruleset.clone(),
    };
    if let Some(candidate) = candidate
        && old.policy_hash() == Some(candidate.hash())
    {
        return Some(course(old, candidate));
    }
    let mut left = old.keys().peekable();
    if left.peek().is_some() {
        batch.decides_for(partition);
        batch.changes(partition, Lane::Shadow, left);
    }
    let candidate = candidate?;
    let mut state = production.state.clone();
    // Offsets are the partition's, and outcomes are of what was done: neither is a candidate's.
    let kinds = [Kind::Consumed, Kind::Project, Kind::Outcome];
    let foreign = state.keys().filter(|key| kinds.contains(&key.kind)).map(|key| (key, None));
    let foreign = Decision { changes: foreign.collect(), ..Decision::default() };
    state.apply(foreign);
    let decision = switch(&state, candidate);
    state.apply(decision);
    batch.decides_for(partition);
    batch.changes(partition, Lane::Shadow, state.keys());
    info!(partition, shadow = candidate.hash(), "a shadow begins");
    Some(course(state, candidate))
}

/// At the partition's own time, not the wall's: what is still unread on the log keeps its order with the timers.
fn switch(state: &State, ruleset: &Ruleset) -> Decision {
    switch_policy(state, state.clock().unwrap_or(DateTime::UNIX_EPOCH), ruleset)
}
