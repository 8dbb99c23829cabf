//! Another policy takes effect.

use chrono::{DateTime, Utc};

use super::{Decision, Work};
use crate::{Entry, Key, Ruleset, State};

/// Puts a policy in force: its hash is recorded, the deciding rules of every issue are found anew, and timers are set anew.
/// Nothing fires. A value of `at` that lies in the past has had its chance. Last firings, cooldowns and repeats follow the rule's id.
/// No change when the policy is in force already.
///
/// Costs as much as deciding an event for every issue.
pub fn switch_policy(state: &State, now: DateTime<Utc>, ruleset: &Ruleset) -> Decision {
    if state.policy_hash() == Some(ruleset.hash()) {
        return Decision::default();
    }
    let mut work = Work::begin(state, ruleset, super::within_calendar(now));
    work.set(Key::policy(), Entry::Policy(ruleset.hash().to_owned()));
    let mut issues: Vec<_> = state.issues().filter(|(.., issue)| !issue.deleted).collect();
    issues.sort_unstable_by_key(|(project, issue_ref, _)| (*project, *issue_ref));
    for (project, issue_ref, _) in issues {
        let mut subject = work.subject(project, issue_ref);
        let deciding = work.deciding(&subject);
        subject.issue.deciding.set(deciding);
        // None of those that wait is kept.
        subject.issue.timers.set(Vec::new());
        work.schedule(&mut subject, None);
        work.put(subject);
    }
    // Silent: whether a condition errs will be said when an event asks.
    work.decision.notes.clear();
    work.decision
}
