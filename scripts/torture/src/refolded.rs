//! The log, decided once more by the policy's own fold: what the gateways should have come to, whoever of them held a partition
//! when, and however often they began anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use chrono::{DateTime, Utc};
use events::{Action, IssueEvent, Outcome};
use policy::{
    Decided, Key, Kind, Repeats, Ruleset, State, fire_timers, switch_policy, take_event, take_outcome,
};

use crate::evidence::Placed;

/// The states of `partitions`, and the actions in the order in which they are decided. Timers up to `until` have fired.
pub(crate) fn refold(
    partitions: impl IntoIterator<Item = u32>,
    issues: &[Placed<IssueEvent>],
    outcomes: &[Placed<Outcome>],
    until: DateTime<Utc>,
    ruleset: &Ruleset,
) -> (BTreeMap<u32, State>, Vec<Action>) {
    let fresh = || {
        // As a gateway does with a partition that nobody has held before.
        let mut state = State::default();
        let switched = switch_policy(&state, DateTime::UNIX_EPOCH, ruleset);
        state.apply(switched);
        state
    };
    let mut states: BTreeMap<u32, State> =
        partitions.into_iter().map(|partition| (partition, fresh())).collect();
    let mut actions = Vec::new();
    let mut sink = |decided: Decided<'_>| {
        actions.extend(decided.decision.actions.iter().cloned());
        Ok::<_, Infallible>(())
    };
    for Placed { partition, at, payload_hash, value, .. } in issues {
        let state = states.entry(*partition).or_insert_with(fresh);
        let Ok(()) =
            take_event(state, value, payload_hash.as_deref(), *at, Repeats::Last, ruleset, &mut sink);
    }
    for state in states.values_mut() {
        let Ok(()) = fire_timers(state, until, usize::MAX, Repeats::Last, ruleset, &mut sink);
    }
    for Placed { partition, at, value, .. } in outcomes {
        let state = states.entry(*partition).or_insert_with(fresh);
        let Ok(()) = take_outcome(state, value, *at, ruleset, &mut sink);
    }
    (states, actions)
}

/// The entries in which two states differ, as text. How far the inputs were consumed is the shell's own and left out.
pub(crate) fn differing(one: &State, other: &State) -> Vec<String> {
    let entries = |state: &State| -> BTreeMap<Key, String> {
        let value = |key: &Key| String::from_utf8_lossy(&state.entry(key).1.unwrap_or_default()).into_owned();
        state
            .keys()
            .filter(|key| key.kind != Kind::Consumed)
            .map(|key| {
                let value = value(&key);
                (key, value)
            })
            .collect()
    };
    let (one, other) = (entries(one), entries(other));
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differing = keys.into_iter().filter(|key| one.get(*key) != other.get(*key));
    differing
        .map(|key| {
            let Key { project, kind, identity } = key;
            format!("{project} {kind:?} {identity}: kept {:?}, folded {:?}", one.get(key), other.get(key))
        })
        .collect()
}
