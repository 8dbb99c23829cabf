//! The checkers. Each looks at the evidence and says what is wrong, a line a case; what none of them says is right.

mod acting;
mod arriving;
mod deciding;
#[cfg(test)]
mod tests;

use crate::evidence::Evidence;

/// What a checker looks for.
pub(crate) struct Checker {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What it means when it finds something.
    pub(crate) means: &'static str,
    /// Finds it.
    pub(crate) find: fn(&Evidence) -> Vec<String>,
}

/// Every checker, in the order of the table.
pub(crate) const CHECKERS: [Checker; 18] = [
    Checker { name: "lost-write", means: "answered 2xx, and not on issues", find: arriving::lost_write },
    Checker { name: "refused-signed", means: "signed right, and refused", find: arriving::refused_signed },
    Checker {
        name: "never-accepted",
        means: "signed right, and never answered 2xx",
        find: arriving::never_accepted,
    },
    Checker {
        name: "acted-on-refused",
        means: "a forgery answered 2xx, on the log, or acted on",
        find: arriving::acted_on_refused,
    },
    Checker {
        name: "unreadable",
        means: "a dead letter, or a record of no form",
        find: arriving::unreadable,
    },
    Checker {
        name: "out-of-order",
        means: "a project's history in another order",
        find: arriving::out_of_order,
    },
    Checker {
        name: "counted-twice",
        means: "one letter had its actions twice",
        find: deciding::counted_twice,
    },
    Checker {
        name: "duplicate-action",
        means: "an action twice on actions",
        find: deciding::duplicate_action,
    },
    Checker {
        name: "missing-action",
        means: "should have followed, and did not",
        find: deciding::missing_action,
    },
    Checker {
        name: "unexpected-action",
        means: "should not have followed, or not like this",
        find: deciding::unexpected_action,
    },
    Checker {
        name: "other-state",
        means: "the state is not the fold of the log",
        find: deciding::other_state,
    },
    Checker {
        name: "missing-outcome",
        means: "an action, or a round of it, without outcome",
        find: acting::missing_outcome,
    },
    Checker {
        name: "duplicate-outcome",
        means: "an action, or a round of it, with two",
        find: acting::duplicate_outcome,
    },
    Checker {
        name: "failed-outcome",
        means: "given up, and not redriven to its end",
        find: acting::failed_outcome,
    },
    Checker {
        name: "missing-effect",
        means: "an outcome says done, and nothing was made",
        find: acting::missing_effect,
    },
    Checker { name: "duplicate-effect", means: "made twice for one action", find: acting::duplicate_effect },
    Checker { name: "groundless-effect", means: "made without an action", find: acting::groundless_effect },
    Checker { name: "unseen", means: "risk is not the sum of the outcomes", find: acting::unseen },
];

/// Things that are there more than once, with how often.
fn repeated<T: Ord>(things: impl IntoIterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for thing in things {
        *counts.entry(thing).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).collect()
}
