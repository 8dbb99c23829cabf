//! From `actions` to the world, to `outcomes` and to the risk.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::Outcome;

use super::repeated;
use crate::evidence::Evidence;

fn outcomes(evidence: &Evidence) -> impl Iterator<Item = &Outcome> {
    evidence.outcomes.iter().map(|placed| &placed.value)
}

/// Every action comes to an end, and nothing else does.
pub(super) fn missing_outcome(evidence: &Evidence) -> Vec<String> {
    let ended: HashSet<&str> =
        outcomes(evidence).filter_map(|outcome| outcome.action_id.as_deref()).collect();
    let actions: HashSet<&str> =
        evidence.actions.iter().map(|placed| placed.value.event_id.as_str()).collect();
    actions.difference(&ended).map(|id| format!("{id} has none")).collect()
}

/// One outcome for each action: nobody redrives here. An outcome of no action is one too many as well.
pub(super) fn duplicate_outcome(evidence: &Evidence) -> Vec<String> {
    let actions: HashSet<&str> =
        evidence.actions.iter().map(|placed| placed.value.event_id.as_str()).collect();
    let twice = repeated(outcomes(evidence).map(|outcome| outcome.action_id.as_deref().unwrap_or_default()));
    let twice = twice.into_iter().map(|(action, count)| format!("{action} has {count}"));
    let strange = outcomes(evidence)
        .filter(|outcome| !outcome.action_id.as_deref().is_some_and(|id| actions.contains(id)));
    twice.chain(strange.map(|outcome| format!("{} is of no action", outcome.event_id))).collect()
}

/// The faults pass long before an action would be given up, so each one is done in the end.
pub(super) fn failed_outcome(evidence: &Evidence) -> Vec<String> {
    let failed = outcomes(evidence).filter(|outcome| !outcome.ack);
    failed
        .map(|outcome| format!("{}: {}", outcome.event_id, outcome.error.as_deref().unwrap_or_default()))
        .collect()
}

/// What an outcome says was made is there.
pub(super) fn missing_effect(evidence: &Evidence) -> Vec<String> {
    let made: HashMap<&str, &str> = evidence
        .effects
        .iter()
        .filter_map(|effect| Some((effect.key.as_deref()?, effect.id.as_str())))
        .collect();
    let mut missing = Vec::new();
    for outcome in outcomes(evidence).filter(|outcome| outcome.ack) {
        let id = outcome.action_id.as_deref().unwrap_or_default();
        match (made.get(id), outcome.reference.as_deref()) {
            (None, _) => missing.push(format!("nothing was made for {id}")),
            (Some(made), Some(told)) if *made != told => {
                missing.push(format!("{made} was made for {id}, and its outcome tells of {told}"));
            }
            _ => {}
        }
    }
    missing
}

/// calendar-mock itself makes nothing twice under one key, so doubles would come under another key or none: they are known by what
/// they say.
pub(super) fn duplicate_effect(evidence: &Evidence) -> Vec<String> {
    let keys = repeated(evidence.effects.iter().filter_map(|effect| effect.key.as_deref()));
    let texts = repeated(evidence.effects.iter().map(|effect| effect.text.as_str()));
    keys.into_iter().chain(texts).map(|(what, count)| format!("{what:?} was made {count} times")).collect()
}

/// Nothing is made but for an action on the log, under its id.
pub(super) fn groundless_effect(evidence: &Evidence) -> Vec<String> {
    let actions: HashSet<&str> =
        evidence.actions.iter().map(|placed| placed.value.event_id.as_str()).collect();
    let grounded = |key: &Option<String>| key.as_deref().is_some_and(|key| actions.contains(key));
    let groundless = evidence.effects.iter().filter(|effect| !grounded(&effect.key));
    groundless.map(|effect| format!("{} with key {:?}", effect.id, effect.key)).collect()
}

/// Every gateway that shows a project shows the sum of its outcomes, and some gateway shows it.
pub(super) fn unseen(evidence: &Evidence) -> Vec<String> {
    let mut sums: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
    let mut counted: HashSet<&str> = HashSet::new();
    // An outcome that stands there twice counts once.
    for outcome in outcomes(evidence).filter(|outcome| counted.insert(&outcome.event_id)) {
        let sum = sums.entry(&outcome.project_id).or_default();
        *sum = (sum.0 + outcome.risk_delta.0, sum.1 + 1);
    }
    let mut unseen = Vec::new();
    for (project, (risk, count)) in &sums {
        if !evidence.shown.iter().any(|shown| shown.project_id == *project) {
            unseen.push(format!("no gateway shows {project}, of {count} outcomes and risk {risk}"));
        }
    }
    for shown in &evidence.shown {
        let (risk, count) = sums.get(shown.project_id.as_str()).copied().unwrap_or_default();
        if (shown.risk.0, shown.outcomes) != (risk, count) {
            let project = &shown.project_id;
            let (told, of) = (shown.risk.0, shown.outcomes);
            unseen.push(format!(
                "{project}: a gateway shows risk {told} of {of} outcomes, and it is {risk} of {count}"
            ));
        }
    }
    unseen
}
