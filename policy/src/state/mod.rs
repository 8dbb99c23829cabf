//! The state of one partition: what its decisions have added up to.
//!
//! Everything is an entry under a key; [`State::apply`] sets and removes entries, and the changelog holds the same ones,
//! so that what is restored equals what was there. Key: a JSON array of project, kind, identity; value: JSON.
//!
//! | kind | identity | value |
//! |---|---|---|
//! | `issue` | issue_ref | [`Issue`] |
//! | `project` | – | [`Project`]: risk |
//! | `member` | name | [`Member`]: how many open issues are assigned to them by us |
//! | `milestone` | milestone ref | [`Milestone`]: what was last said of it |
//! | `outcome` | outcome id | [`Seen`] |
//! | `seen` | instant in Unix milliseconds, and `-` and a number where it brought many (and no project) | [`SeenEvent`]s |
//! | `clock`, `policy` | – (and no project) | the greatest instant decided, the policy's hash |
//! | `consumed` | topic (and no project) | the offset of the next record |
//!
//! Indices (timers, milestones' open issues, what is to be forgotten when) follow from the entries and are
//! kept up by the same function that sets one.

mod entry;
mod index;
mod issue;
mod key;
mod latest;
mod merge;
mod open;
mod packed;
mod project;
mod seen;
mod shared;

use chrono::{DateTime, Utc};
pub use entry::{Entry, StateError};
use hashbrown::{HashMap, hash_map};
use index::Indices;
pub use issue::{Acknowledged, Acted, Facts, Firing, Issue, Timer, TimerKind};
pub(crate) use issue::{IssueTimer, MAX_LIST, MAX_LIST_BYTES};
use key::KeyRef;
pub use key::{Key, Kind};
pub(crate) use latest::Latest;
pub(crate) use merge::{Recency, as_of, clean, merge, move_due};
pub(crate) use open::OpenAction;
pub(crate) use project::{CLOSED_AFTER, MAX_CONTRIBUTIONS, SEEN_AFTER};
pub use project::{Contribution, Member, Milestone, Project, Seen};
pub use seen::SeenEvent;
use seen::SeenEvents;
pub use shared::Shared;
use smol_str::SmolStr;

use crate::Decision;

/// The state of one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    entries: HashMap<Key, Entry>,
    /// The entries of the kind `seen`.
    seen: SeenEvents,
    indices: Indices,
    /// How many entries each project has, so that one without outcomes is named too.
    projects: HashMap<SmolStr, usize>,
}

/// What a project without outcomes is.
static NO_OUTCOMES: Project = Project::EMPTY;

impl State {
    /// Takes in one record of the changelog. A record without value deletes.
    ///
    /// # Errors
    /// [`StateError`] when the record is not one that this version wrote; the state is unchanged then.
    pub fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let key = Key::from_bytes(key)?;
        let entry = value.map(|value| Entry::from_bytes(key.kind, value)).transpose()?;
        if key.kind == Kind::Seen {
            if !SeenEvents::is_key(&key) {
                return Err(StateError::Key);
            }
            // The record has all that is to be there.
            self.put(key.clone(), None);
        }
        self.put(key, entry);
        Ok(())
    }

    /// Takes a decision in.
    pub fn apply(&mut self, decision: Decision) {
        for (key, entry) in decision.changes {
            self.put(key, entry);
        }
    }

    /// The changelog's key and value of an entry as it is now; no value when there is none.
    pub fn entry(&self, key: &Key) -> (Vec<u8>, Option<Vec<u8>>) {
        let value = match key.kind {
            Kind::Seen => self.seen.get(key).and_then(|events| serde_json::to_vec(&events).ok()),
            _ => self.entries.get(key).map(Entry::to_bytes),
        };
        (key.to_bytes(), value)
    }

    /// Takes over from `other` which events were counted: the same for every policy that decides the same events.
    pub fn share_seen(&mut self, other: &Self) {
        self.seen = other.seen.clone();
    }

    /// What a policy on trial begins with beside this one: what is known. Offsets are the partition's, and outcomes are of what was
    /// done: neither is its own.
    pub fn for_trial(&self) -> Self {
        let mut state = self.clone();
        let foreign = [Kind::Consumed, Kind::Project, Kind::Outcome];
        for key in self.keys().filter(|key| foreign.contains(&key.kind)) {
            state.put(key, None);
        }
        state
    }

    /// The keys of every entry, in no order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.keys().cloned().chain(self.seen.keys())
    }

    /// The timer that is due first. Timers that are due together are ordered by project, issue, rule and kind.
    pub fn next_timer(&self) -> Option<Timer> {
        self.indices.timers.first().cloned()
    }

    /// Every timer, in that order.
    pub fn timers(&self) -> impl Iterator<Item = &Timer> {
        self.indices.timers.iter()
    }

    /// When [`State::next_timer`] is due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.indices.timers.first().map(|timer| timer.due_at)
    }

    /// The greatest instant at which an event or a timer was decided. A decision's `now` is never before it.
    pub fn clock(&self) -> Option<DateTime<Utc>> {
        self.indices.clock
    }

    /// `now`, or the clock where that is later.
    pub(crate) fn not_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.clock().map_or(now, |clock| clock.max(now))
    }

    /// The offset of the next record of `topic` that is to be decided; 0 where none was.
    pub fn consumed(&self, topic: &str) -> u64 {
        match self.get("", Kind::Consumed, topic) {
            Some(Entry::Consumed(next)) => *next,
            _ => 0,
        }
    }

    /// Notes the offset of the next record of `topic`; returns the key of what changed.
    pub fn set_consumed(&mut self, topic: &str, next: u64) -> Key {
        let key = Key::consumed(topic);
        self.put(key.clone(), Some(Entry::Consumed(next)));
        key
    }

    /// The hash of the policy in force; none before the first [`crate::switch_policy`].
    pub fn policy_hash(&self) -> Option<&str> {
        match self.get("", Kind::Policy, "") {
            Some(Entry::Policy(hash)) => Some(hash),
            _ => None,
        }
    }

    /// Every project of which anything is known, by name.
    pub fn projects(&self) -> impl Iterator<Item = (&str, &Project)> {
        let mut names: Vec<_> = self.projects.keys().map(SmolStr::as_str).collect();
        names.sort_unstable();
        names.into_iter().map(|name| (name, self.project(name).unwrap_or(&NO_OUTCOMES)))
    }

    /// A project; none when nothing is known of it.
    pub fn project(&self, project: &str) -> Option<&Project> {
        match self.get(project, Kind::Project, "") {
            Some(Entry::Project(project)) => Some(project),
            _ => self.projects.contains_key(project).then_some(&NO_OUTCOMES),
        }
    }

    /// An issue; none when no event named it.
    pub fn issue(&self, project: &str, issue_ref: &str) -> Option<&Issue> {
        self.issue_entry(project, issue_ref).map(|(_, issue)| issue)
    }

    /// An issue under its key.
    pub(crate) fn issue_entry(&self, project: &str, issue_ref: &str) -> Option<(&Key, &Issue)> {
        let name = KeyRef { project, kind: Kind::Issue, identity: issue_ref };
        match self.entries.get_key_value(&name) {
            Some((key, Entry::Issue(issue))) => Some((key, issue)),
            _ => None,
        }
    }

    /// Every issue, with its project and issue_ref, in no order.
    pub fn issues(&self) -> impl Iterator<Item = (&str, &str, &Issue)> {
        self.entries.iter().filter_map(|(key, entry)| match entry {
            Entry::Issue(issue) => Some((key.project.as_str(), key.identity.as_str(), &**issue)),
            _ => None,
        })
    }

    pub(crate) fn member(&self, project: &str, name: &str) -> Member {
        match self.get(project, Kind::Member, name) {
            Some(Entry::Member(member)) => *member,
            _ => Member::default(),
        }
    }

    pub(crate) fn milestone(&self, project: &str, milestone: &str) -> Option<&Milestone> {
        match self.get(project, Kind::Milestone, milestone) {
            Some(Entry::Milestone(milestone)) => Some(milestone),
            _ => None,
        }
    }

    /// The open issues whose due date follows a milestone.
    pub(crate) fn milestone_issues(&self, project: &str, milestone: &str) -> impl Iterator<Item = &str> {
        self.indices.milestone_issues(project, milestone)
    }

    /// The event that brought this one's id or payload, when it was seen within seven days before `now`.
    pub(crate) fn seen(&self, event: &SeenEvent, now: DateTime<Utc>) -> Option<SmolStr> {
        self.seen.recent(event, now)
    }

    /// The key of the entry to which an event that is seen now is added.
    pub(crate) fn seen_key(&self, now: DateTime<Utc>) -> Key {
        self.seen.next_key(now)
    }

    pub(crate) fn outcome_seen(&self, project: &str, id: &str, now: DateTime<Utc>) -> bool {
        match self.get(project, Kind::Outcome, id) {
            Some(Entry::Outcome(seen)) => seen.at + SEEN_AFTER > now,
            _ => false,
        }
    }

    /// Keys whose time to be forgotten has come: events that were seen, then others, each oldest first.
    pub(crate) fn due_to_forget(&self, now: DateTime<Utc>) -> impl Iterator<Item = Key> {
        let others = self.indices.forgets.iter().take_while(move |(at, _)| *at <= now);
        self.seen.due_to_forget(now).chain(others.map(|(_, key)| key.clone()))
    }

    fn get(&self, project: &str, kind: Kind, identity: &str) -> Option<&Entry> {
        self.entries.get(&KeyRef { project, kind, identity })
    }

    fn put(&mut self, key: Key, mut entry: Option<Entry>) {
        if let Some(Entry::Issue(issue)) = &mut entry {
            issue.fit();
        }
        if key.kind == Kind::Seen {
            return self.put_seen(&key, entry);
        }
        match (self.entries.entry(key), entry) {
            (hash_map::Entry::Occupied(mut known), Some(entry)) => {
                self.indices.update(known.key(), Some(known.get()), Some(&entry));
                known.insert(entry);
            }
            (hash_map::Entry::Occupied(known), None) => {
                self.indices.update(known.key(), Some(known.get()), None);
                let (key, _) = known.remove_entry();
                self.uncount(key.project);
            }
            (hash_map::Entry::Vacant(place), Some(entry)) => {
                self.indices.update(place.key(), None, Some(&entry));
                let project = place.key().project.clone();
                place.insert(entry);
                self.count(&project);
            }
            (hash_map::Entry::Vacant(_), None) => {}
        }
    }

    fn put_seen(&mut self, key: &Key, entry: Option<Entry>) {
        match entry {
            Some(Entry::Seen(events)) => {
                for event in events {
                    let project = event.project().clone();
                    if self.seen.add(key, event) {
                        self.count(&project);
                    }
                }
            }
            _ => {
                let gone: Vec<_> = self.seen.remove(key).collect();
                gone.into_iter().for_each(|event| self.uncount(event.project().clone()));
            }
        }
    }

    fn count(&mut self, project: &SmolStr) {
        if !project.is_empty() {
            *self.projects.entry_ref(project).or_default() += 1;
        }
    }

    fn uncount(&mut self, project: SmolStr) {
        if let hash_map::Entry::Occupied(mut count) = self.projects.entry(project) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
