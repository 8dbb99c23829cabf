//! What should follow from each letter, told from the letters alone: a table of the rules of `policy.yaml` that read `event`, written
//! down a second time and without the policy's code.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    evidence::Evidence,
    letters::{Happening, Letter},
};

/// The rules that are foretold.
pub(crate) const FORETOLD: [&str; 4] = ["opened", "commented", "closed", "reopened"];

/// Rule and action of everything that should follow from a letter, if it is news.
pub(crate) fn of(letter: &Letter) -> &'static [(&'static str, &'static str)] {
    match letter.happening {
        Happening::Opened => &[("opened", "assign_owner")],
        Happening::Commented if letter.open => {
            &[("commented", "post_nudge"), ("commented", "schedule_unblocker")]
        }
        Happening::Closed => &[("closed", "post_nudge")],
        Happening::Reopened => &[("reopened", "escalate_owner")],
        Happening::Commented | Happening::Labelled(_) => &[],
    }
}

/// The letters that stand on `issues`, each with all the event ids under which it stands there.
pub(crate) fn arrived(evidence: &Evidence) -> BTreeMap<usize, BTreeSet<&str>> {
    let mut arrived: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for placed in &evidence.issues {
        if let Some(letter) = evidence.letter(&placed.value) {
            arrived.entry(letter.number).or_default().insert(&placed.value.event_id);
        }
    }
    arrived
}
