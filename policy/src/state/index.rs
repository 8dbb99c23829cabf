//! What follows from the entries, kept so that a decision need not look at all of them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{CLOSED_AFTER, Entry, Key, Kind, SEEN_AFTER, Seen, Timer};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Indices {
    /// Every timer of every issue.
    pub(super) timers: BTreeSet<Timer>,
    /// When which entry is to be forgotten.
    pub(super) forgets: BTreeSet<(DateTime<Utc>, Key)>,
    /// Project, milestone, issue: open issues whose due date follows a milestone.
    milestones: BTreeSet<(String, String, String)>,
    /// Project, payload hash, instant, event.
    payloads: BTreeSet<(String, String, DateTime<Utc>, String)>,
}

impl Indices {
    pub(super) fn milestone_issues(&self, project: &str, milestone: &str) -> impl Iterator<Item = &str> {
        let from = (project.to_owned(), milestone.to_owned(), String::new());
        let (project, milestone) = (from.0.clone(), from.1.clone());
        self.milestones
            .range(from..)
            .take_while(move |(p, m, _)| *p == project && *m == milestone)
            .map(|(_, _, issue)| issue.as_str())
    }

    /// The last event that brought a payload of this hash.
    pub(super) fn event_of_payload(&self, project: &str, hash: &str) -> Option<&str> {
        let from = (project.to_owned(), hash.to_owned(), DateTime::<Utc>::MIN_UTC, String::new());
        let same = self.payloads.range(from..).take_while(|(p, h, ..)| p == project && h == hash);
        same.last().map(|(_, _, _, id)| id.as_str())
    }

    pub(super) fn add(&mut self, key: &Key, entry: &Entry) {
        self.forgets.extend(forget_at(entry).map(|at| (at, key.clone())));
        match entry {
            Entry::Issue(issue) => {
                self.timers.extend(issue.timers(&key.project, &key.identity));
                self.milestones.extend(milestone_of(key, entry));
            }
            Entry::Seen(seen) if key.kind == Kind::Seen => self.payloads.extend(payload_of(key, seen)),
            _ => {}
        }
    }

    /// Takes out what followed from `old` and does not follow from `new`, which has been added.
    pub(super) fn remove(&mut self, key: &Key, old: &Entry, new: Option<&Entry>) {
        let forgotten = forget_at(old);
        if forgotten != new.and_then(forget_at) {
            forgotten.into_iter().for_each(|at| _ = self.forgets.remove(&(at, key.clone())));
        }
        match old {
            Entry::Issue(issue) => {
                let kept = match new {
                    Some(Entry::Issue(new)) => Some(new),
                    _ => None,
                };
                for timer in issue.timers(&key.project, &key.identity) {
                    if !kept.is_some_and(|new| new.has(&timer)) {
                        self.timers.remove(&timer);
                    }
                }
                let milestone = milestone_of(key, old);
                if milestone != new.and_then(|new| milestone_of(key, new)) {
                    milestone.into_iter().for_each(|milestone| _ = self.milestones.remove(&milestone));
                }
            }
            Entry::Seen(seen) if key.kind == Kind::Seen && new != Some(old) => {
                payload_of(key, seen).into_iter().for_each(|payload| _ = self.payloads.remove(&payload));
            }
            _ => {}
        }
    }
}

fn forget_at(entry: &Entry) -> Option<DateTime<Utc>> {
    match entry {
        Entry::Seen(seen) => Some(seen.at + SEEN_AFTER),
        Entry::Issue(issue) => issue.closed_at.map(|at| at + CLOSED_AFTER),
        _ => None,
    }
}

fn milestone_of(key: &Key, entry: &Entry) -> Option<(String, String, String)> {
    let Entry::Issue(issue) = entry else { return None };
    let milestone = issue.milestone(&key.identity).filter(|_| issue.is_open())?;
    Some((key.project.clone(), milestone, key.identity.clone()))
}

fn payload_of(key: &Key, seen: &Seen) -> Option<(String, String, DateTime<Utc>, String)> {
    let hash = seen.payload_hash.clone()?;
    Some((key.project.clone(), hash, seen.at, key.identity.clone()))
}
