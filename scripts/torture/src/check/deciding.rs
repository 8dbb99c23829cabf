//! From `issues` to `actions`.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::{Action, Earlier};

use super::repeated;
use crate::{
    evidence::Evidence,
    foretold::{self, FORETOLD, arrived},
    refolded::differing,
};

/// Letters by the event ids under which they, and the answers that lie in them, stand on `issues`.
fn letters(evidence: &Evidence) -> HashMap<String, usize> {
    let answers = evidence.answers().into_iter().map(|(id, letter)| (id, letter.number));
    let arrived = arrived(evidence);
    let arrived =
        arrived.into_iter().flat_map(|(letter, ids)| ids.into_iter().map(move |id| (id.to_owned(), letter)));
    answers.chain(arrived).collect()
}

fn rule(action: &Action) -> &str {
    action.rule.as_deref().unwrap_or_default()
}

/// However often and under however many ids a letter came: each rule acts on it once. A date that comes is a cause of its own,
/// once for each issue.
pub(super) fn counted_twice(evidence: &Evidence) -> Vec<String> {
    let letters = letters(evidence);
    // Of one id that stands there twice the next checker tells.
    let actions: BTreeMap<&str, &Action> =
        evidence.actions.iter().map(|placed| (placed.value.event_id.as_str(), &placed.value)).collect();
    let named = actions.into_values().map(|action| {
        let rule = rule(action);
        // A letter that closes takes back all that a rule left open, and one that answers acknowledges it: each once.
        if let Some(of) = Earlier::of(action) {
            return format!("{} {}", action.action, of.action_id);
        }
        match action.cause.as_deref().and_then(|cause| letters.get(cause)) {
            Some(letter) if rule != "waiting" => format!("letter {letter}: {rule} {}", action.action),
            _ => format!("{}: {rule} {}", action.issue_ref.as_deref().unwrap_or_default(), action.action),
        }
    });
    repeated(named).into_iter().map(|(what, count)| format!("{what}, {count} times")).collect()
}

/// An action stands on the log once.
pub(super) fn duplicate_action(evidence: &Evidence) -> Vec<String> {
    // A redrive that broke off may be made again: an action stands there once as it was decided, then as often as it likes.
    let ids = evidence.actions.iter().map(|placed| &placed.value.event_id);
    repeated(ids).into_iter().map(|(id, count)| format!("{id} stands there {count} times")).collect()
}

/// By the table of what should follow, and by the fold of the log.
pub(super) fn missing_action(evidence: &Evidence) -> Vec<String> {
    let letters = letters(evidence);
    let mut there: HashSet<(usize, &str, &str)> = HashSet::new();
    let mut ids: HashSet<&str> = HashSet::new();
    for action in evidence.actions.iter().map(|placed| &placed.value) {
        ids.insert(&action.event_id);
        if let Some(letter) = action.cause.as_deref().and_then(|cause| letters.get(cause)) {
            there.insert((*letter, rule(action), action.action.as_str()));
        }
    }
    let mut missing = Vec::new();
    for letter in arrived(evidence).into_keys().map(|number| &evidence.post.letters[number]) {
        for (rule, action) in foretold::of(letter) {
            if !there.contains(&(letter.number, rule, action)) {
                missing.push(format!("letter {}: {rule} {action}", letter.number));
            }
        }
    }
    for action in evidence.redecided.iter().filter(|action| !ids.contains(action.event_id.as_str())) {
        missing.push(format!("the fold decides {} ({})", action.event_id, rule(action)));
    }
    missing
}

/// By the table of what should follow, and by the fold of the log: which also says who and when.
pub(super) fn unexpected_action(evidence: &Evidence) -> Vec<String> {
    let letters = letters(evidence);
    let redecided: HashMap<&str, &Action> =
        evidence.redecided.iter().map(|action| (action.event_id.as_str(), action)).collect();
    let mut unexpected = Vec::new();
    for action in evidence.actions.iter().map(|placed| &placed.value) {
        let id = &action.event_id;
        match redecided.get(id.as_str()) {
            None => unexpected.push(format!("the fold does not decide {id} ({})", rule(action))),
            Some(decided) if *decided != action => {
                unexpected.push(format!("the fold decides {id} otherwise: {decided:?}, not {action:?}"));
            }
            Some(_) => {}
        }
        // What is acknowledged or taken back is the fold's to say.
        if !FORETOLD.contains(&rule(action)) || action.action.follows_up() {
            continue;
        }
        let letter = action.cause.as_deref().and_then(|cause| letters.get(cause));
        let foretold = letter.is_some_and(|letter| {
            foretold::of(&evidence.post.letters[*letter]).contains(&(rule(action), action.action.as_str()))
        });
        if !foretold {
            unexpected.push(format!("{id} ({}) does not follow from what was sent", rule(action)));
        }
    }
    unexpected
}

/// What the gateways keep is what the log comes to.
pub(super) fn other_state(evidence: &Evidence) -> Vec<String> {
    let partitions: std::collections::BTreeSet<_> =
        evidence.states.keys().chain(evidence.refolded.keys()).collect();
    let nothing = policy::State::default();
    let mut wrong = Vec::new();
    for partition in partitions {
        let kept = evidence.states.get(partition).unwrap_or(&nothing);
        let folded = evidence.refolded.get(partition).unwrap_or(&nothing);
        let differing = differing(kept, folded);
        wrong.extend(differing.into_iter().map(|key| format!("partition {partition}, {key}")));
    }
    wrong
}
