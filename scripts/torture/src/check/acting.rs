//! From `actions` to the world, to `outcomes` and to the risk.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::{Action, ActionKind, Earlier, Outcome, id};

use super::repeated;
use crate::evidence::{Evidence, Placed};

fn outcomes(evidence: &Evidence) -> impl Iterator<Item = &Outcome> {
    evidence.outcomes.iter().map(|placed| &placed.value)
}

/// The outcomes that there have to be: of each action one, and of each round in which it was redriven one more.
fn due(evidence: &Evidence) -> HashMap<String, String> {
    let actions = evidence.actions.iter().chain(&evidence.redriven);
    actions
        .map(|Placed { value, round, .. }| {
            (id::outcome(&value.event_id, *round), format!("{} in round {round}", value.event_id))
        })
        .collect()
}

/// Every action comes to an end in every round.
pub(super) fn missing_outcome(evidence: &Evidence) -> Vec<String> {
    let ended: HashSet<&str> = outcomes(evidence).map(|outcome| outcome.event_id.as_str()).collect();
    let missing = due(evidence).into_iter().filter(|(outcome, _)| !ended.contains(outcome.as_str()));
    missing.map(|(_, action)| format!("{action} has none")).collect()
}

/// One outcome for each action and round. An outcome of neither is one too many as well.
pub(super) fn duplicate_outcome(evidence: &Evidence) -> Vec<String> {
    let due = due(evidence);
    let twice = repeated(outcomes(evidence).map(|outcome| outcome.event_id.as_str()));
    let twice = twice.into_iter().map(|(outcome, count)| format!("{outcome} stands there {count} times"));
    let strange = outcomes(evidence).filter(|outcome| !due.contains_key(&outcome.event_id));
    twice.chain(strange.map(|outcome| format!("{} is of no action", outcome.event_id))).collect()
}

/// The faults pass long before an action would be given up, so each one is done in the end, or withdrawn because its issue was closed.
pub(super) fn failed_outcome(evidence: &Evidence) -> Vec<String> {
    let actions = evidence.actions.iter().map(|placed| &placed.value);
    let taken_back: HashSet<String> =
        actions.filter_map(Earlier::taken_back_by).map(|of| of.action_id).collect();
    let is_taken_back =
        |outcome: &Outcome| outcome.action_id.as_ref().is_some_and(|id| taken_back.contains(id));
    let withdrawn = outcomes(evidence).filter(|outcome| outcome.error.as_deref() == Some(Outcome::WITHDRAWN));
    let failed = crate::evidence::failed(&evidence.outcomes).into_iter();
    failed
        .chain(withdrawn.filter(|outcome| !is_taken_back(outcome)))
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
    // A meeting that was taken back is there no more.
    let done: HashSet<&str> =
        outcomes(evidence).filter(|it| it.ack).filter_map(|it| it.action_id.as_deref()).collect();
    let taken_back: HashSet<String> = evidence
        .actions
        .iter()
        .filter(|placed| done.contains(placed.value.event_id.as_str()))
        .filter_map(|placed| Earlier::taken_back_by(&placed.value))
        .filter(|of| of.action == ActionKind::ScheduleUnblocker)
        .map(|of| of.action_id)
        .collect();
    let mut missing = Vec::new();
    for outcome in outcomes(evidence).filter(|outcome| outcome.ack) {
        let id = outcome.action_id.as_deref().unwrap_or_default();
        match (made.get(id), outcome.reference.as_deref()) {
            // A meeting is taken away, and nothing made; of an answer the calendar and notification API is not told.
            (None, _) if outcome.action.as_ref().is_some_and(ActionKind::follows_up) => {}
            (None, _) if taken_back.contains(id) => {}
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
    // Two pages for one issue are taken back in the same words.
    let taken_back = |placed: &&Placed<Action>| placed.value.action == ActionKind::Resolve;
    let taken_back: HashSet<&str> =
        evidence.actions.iter().filter(taken_back).map(|placed| placed.value.event_id.as_str()).collect();
    let others = evidence
        .effects
        .iter()
        .filter(|effect| !effect.key.as_deref().is_some_and(|key| taken_back.contains(key)));
    let texts = repeated(others.map(|effect| effect.text.as_str()));
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
