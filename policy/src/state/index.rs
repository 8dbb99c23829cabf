//! What follows from the entries, kept so that a decision need not look at all of them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use smol_str::SmolStr;

use super::{CLOSED_AFTER, Entry, Issue, Key, Kind, SEEN_AFTER, Timer};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Indices {
    /// The greatest instant decided.
    pub(super) clock: Option<DateTime<Utc>>,
    /// Every timer of every issue.
    pub(super) timers: BTreeSet<Timer>,
    /// When which entry is to be forgotten.
    pub(super) forgets: BTreeSet<(DateTime<Utc>, Key)>,
    /// Project, milestone, issue: open issues whose due date follows a milestone.
    milestones: BTreeSet<(SmolStr, SmolStr, SmolStr)>,
}

impl Indices {
    pub(super) fn milestone_issues(&self, project: &str, milestone: &str) -> impl Iterator<Item = &str> {
        let (project, milestone) = (SmolStr::new(project), SmolStr::new(milestone));
        self.milestones
            .range((project.clone(), milestone.clone(), SmolStr::default())..)
            .take_while(move |(p, m, _)| *p == project && *m == milestone)
            .map(|(_, _, issue)| issue.as_str())
    }

    /// Takes in that `key` was `old` and is `new`.
    pub(super) fn update(&mut self, key: &Key, old: Option<&Entry>, new: Option<&Entry>) {
        let [forgotten, forget] = [old, new].map(|entry| entry.and_then(forget_at));
        if forgotten != forget {
            forgotten.into_iter().for_each(|at| _ = self.forgets.remove(&(at, key.clone())));
            self.forgets.extend(forget.map(|at| (at, key.clone())));
        }
        match key.kind {
            Kind::Issue => self.update_issue(key, old.and_then(issue), new.and_then(issue)),
            Kind::Clock => {
                self.clock = match new {
                    Some(Entry::Clock(clock)) => Some(*clock),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    fn update_issue(&mut self, key: &Key, old: Option<&Issue>, new: Option<&Issue>) {
        let (project, issue_ref) = (&key.project, &key.identity);
        if old.map(|old| &old.timers) != new.map(|new| &new.timers) {
            for timer in old.into_iter().flat_map(|old| old.timers.iter()) {
                self.timers.remove(&timer.of(project, issue_ref));
            }
            let set = new.into_iter().flat_map(|new| new.timers.iter());
            self.timers.extend(set.map(|timer| timer.of(project, issue_ref)));
        }
        // Which milestone it is follows from the number and the key.
        let number = |issue: &Issue| issue.facts.due_milestone.value().copied().filter(|_| issue.is_open());
        let [followed, follows] = [old, new].map(|issue| issue.filter(|issue| number(issue).is_some()));
        if followed.and_then(number) != follows.and_then(number) {
            let name = |issue: &Issue| issue.milestone(issue_ref).map(SmolStr::from);
            let [followed, follows] = [followed, follows].map(|issue| issue.and_then(name));
            let entry = |milestone: SmolStr| (project.clone(), milestone, issue_ref.clone());
            followed.into_iter().for_each(|milestone| _ = self.milestones.remove(&entry(milestone)));
            self.milestones.extend(follows.map(entry));
        }
    }
}

fn issue(entry: &Entry) -> Option<&Issue> {
    match entry {
        Entry::Issue(issue) => Some(issue),
        _ => None,
    }
}

fn forget_at(entry: &Entry) -> Option<DateTime<Utc>> {
    match entry {
        Entry::Outcome(seen) => Some(seen.at + SEEN_AFTER),
        Entry::Issue(issue) => issue.closed_at.map(|at| at + CLOSED_AFTER),
        _ => None,
    }
}
