//! An event into an issue's facts; the rules of it stand at [`Issue`].

use std::cmp::Ordering;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, MAX_TEXT_CHARS, Said, clean_text};
use litemap::LiteMap;
use smol_str::SmolStr;

use super::{Facts, Issue, Latest, MAX_LIST, MAX_LIST_BYTES, Milestone, SeenEvent, Shared};

/// How far ahead of the log's time a provider's clock is believed.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);

/// Whether an event is younger than what was known of its issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recency {
    /// Younger, of the same instant, or the first.
    Current,
    /// Older by `updated_at`.
    Late,
}

/// The instant as of which an event speaks.
pub(crate) fn as_of(event: &IssueEvent, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let opening = matches!(event.event_type, EventType::IssueOpened | EventType::IssueCreated);
    let said = event.updated_at.or(event.created_at.filter(|_| opening)).filter(is_plausible)?;
    Some(if said > now + MAX_AHEAD { now } else { said })
}

/// Merges an issue's event. `milestone` is what is known of the milestone that the event names.
pub(crate) fn merge(
    issue: &mut Issue,
    event: &IssueEvent,
    seen: &SeenEvent,
    milestone: Option<&Milestone>,
    now: DateTime<Utc>,
) -> Recency {
    // When somebody answered is not when the issue was changed.
    let changes = event.event_type != EventType::IssueAcknowledged;
    let at = as_of(event, now).filter(|_| changes);
    let before = issue.facts.updated_at;
    let order = match (at, before) {
        (Some(at), Some(before)) => at.cmp(&before),
        _ => Ordering::Greater,
    };
    let facts = &mut *issue.facts;
    facts.updated_at = before.max(at);

    facts.source = Some(event.source);
    facts.created_at = facts.created_at.or(event.created_at.filter(is_plausible));
    if order.is_ge() || facts.repo.is_none() {
        replace(&mut facts.repo, event.repo.as_deref());
    }
    facts.number = event.issue_number.or(facts.number);
    replace(&mut facts.key, event.issue_key.as_deref());

    let mut due = Said::Nothing;
    match event.due_at {
        Said::Value(at) if !is_plausible(&at) => {}
        ref said => due = said.clone(),
    }
    let mut merge = Merge { at, before, after: facts.updated_at, as_of: &mut facts.as_of };
    let change = |field: &str| event.change.get(field);
    merge.text("title", &mut facts.title, &event.title, change("title").is_some());
    merge.text("url", &mut facts.url, &event.url, change("url").is_some());
    merge.text("priority", &mut facts.priority, &event.priority, change("priority").is_some());
    merge.text("status", &mut facts.status, &event.status, change("status").is_some());
    merge.list("labels", &mut facts.labels, &event.labels, change("labels"));
    let people = change("assignees").or(change("assignee"));
    merge.list("assignees", &mut facts.assignees, &event.assignees, people);
    merge.text("assignee", &mut facts.assignee, &event.assignee, people.is_some());
    let moved = change("due_at").is_some() || change("due_milestone").is_some();
    merge.value("due_at", &mut facts.due_at, &due, moved, Clone::clone);
    merge.value("due_milestone", &mut facts.due_milestone, &event.due_milestone, moved, Clone::clone);
    let turned = change("state").is_some()
        || matches!(event.event_type, EventType::IssueClosed | EventType::IssueReopened);
    merge.value("state", &mut facts.state, &state_of(event), turned, Clone::clone);
    agree_on_assignee(facts, event, people, order);
    if let Some(milestone) = milestone {
        follow(facts, event, at, milestone);
    }

    if before != issue.facts.updated_at {
        issue.latest = Latest::default();
    }
    if at.is_none() || at == issue.facts.updated_at {
        issue.latest.note(seen);
    }
    if order == Ordering::Less { Recency::Late } else { Recency::Current }
}

/// Whether a milestone's event is news to an issue, and if so the issue's new due date.
pub(crate) fn move_due(issue: &mut Issue, due_at: &Said<DateTime<Utc>>, at: Option<DateTime<Utc>>) -> bool {
    let facts = &issue.facts;
    let known = facts.as_of.get("due_at").copied().or(facts.updated_at);
    if !facts.due_at.is_nothing() && at.is_some() && at < known {
        return false;
    }
    let due_at = match due_at {
        Said::Value(at) if !is_plausible(at) => return false,
        due_at => due_at.clone(),
    };
    let facts = &mut *issue.facts;
    facts.due_at = due_at;
    match at {
        Some(at) if Some(at) != facts.updated_at => _ = facts.as_of.insert(SmolStr::new_static("due_at"), at),
        _ => _ = facts.as_of.remove("due_at"),
    }
    true
}

struct Merge<'a> {
    /// The event's instant.
    at: Option<DateTime<Utc>>,
    /// The issue's `updated_at` before and after this event.
    before: Option<DateTime<Utc>>,
    after: Option<DateTime<Utc>>,
    as_of: &'a mut LiteMap<SmolStr, DateTime<Utc>>,
}

impl Merge<'_> {
    fn text(&mut self, field: &'static str, known: &mut Said<SmolStr>, said: &Said<String>, changed: bool) {
        self.value(field, known, said, changed, |text| clean(text));
    }

    /// `clean` makes of a value that is said the one that is kept; what is kept is clean.
    fn value<K: PartialEq<S>, S>(
        &mut self,
        field: &'static str,
        known: &mut Said<K>,
        said: &Said<S>,
        changed: bool,
        clean: impl FnOnce(&S) -> K,
    ) {
        if self.takes(field, known, said, changed) {
            // Most events say most of what is known once more.
            if !is_same(known, said) {
                *known = map(said, clean);
            }
            self.taken(field);
        }
    }

    fn list(
        &mut self,
        field: &'static str,
        known: &mut Said<Shared<Vec<String>>>,
        said: &Said<Vec<String>>,
        change: Option<&FieldChange>,
    ) {
        let same_instant = self.at.is_some() && self.at == self.known_at(field);
        let members = change.filter(|change| !change.added.is_empty() || !change.removed.is_empty());
        if let (true, Said::Value(list), Some(change)) = (same_instant, &mut *known, members) {
            list.retain(|member| !change.removed.contains(member));
            let added = clean_list(&change.added);
            added.into_iter().for_each(|member| push_new(list, member));
            return;
        }
        // "There are none" is a list without members; that keeps `in` and `exists` from erring.
        let none = Said::Value(Vec::new());
        let said = if *said == Said::Null { &none } else { said };
        self.value(field, known, said, change.is_some(), |list| clean_list(list).into());
    }

    /// The instant as of which a field is known.
    fn known_at(&self, field: &str) -> Option<DateTime<Utc>> {
        self.as_of.get(field).copied().or(self.before)
    }

    fn takes<K, S>(&mut self, field: &'static str, known: &Said<K>, said: &Said<S>, changed: bool) -> bool {
        if said.is_nothing() {
            if !known.is_nothing() && self.after != self.before {
                let known_at = self.known_at(field).unwrap_or(DateTime::UNIX_EPOCH);
                self.as_of.insert(SmolStr::new_static(field), known_at);
            }
            return false;
        }
        let takes = known.is_nothing()
            || match (self.at, self.known_at(field)) {
                (Some(at), Some(known_at)) => at > known_at || (at == known_at && changed),
                _ => true,
            };
        if !takes && self.after != self.before {
            // Known from a still younger source (a milestone's own event): stays as of then.
            let known_at = self.known_at(field).unwrap_or(DateTime::UNIX_EPOCH);
            self.as_of.insert(SmolStr::new_static(field), known_at);
        }
        takes
    }

    fn taken(&mut self, field: &'static str) {
        match self.at {
            Some(at) if Some(at) != self.after => _ = self.as_of.insert(SmolStr::new_static(field), at),
            _ => _ = self.as_of.remove(field),
        }
    }
}

/// One of `assignee` and `assignees` may be all that an event says.
fn agree_on_assignee(facts: &mut Facts, event: &IssueEvent, change: Option<&FieldChange>, order: Ordering) {
    let by_members = order == Ordering::Equal && change.is_some();
    if event.assignee.is_nothing() || by_members {
        if let Said::Value(names) = &facts.assignees
            && !event.assignees.is_nothing()
        {
            facts.assignee = Said::of(names.first().map(SmolStr::from));
            match facts.as_of.get("assignees").copied() {
                Some(at) => _ = facts.as_of.insert(SmolStr::new_static("assignee"), at),
                None => _ = facts.as_of.remove("assignee"),
            }
        }
    } else if event.assignees.is_nothing() {
        let same = match (&facts.assignee, &facts.assignees) {
            (Said::Value(name), Said::Value(names)) => names.iter().any(|known| known == name),
            (Said::Null, Said::Value(names)) => names.is_empty(),
            _ => false,
        };
        if !same {
            facts.assignees = Said::Value(
                facts.assignee.value().map(SmolStr::to_string).into_iter().collect::<Vec<_>>().into(),
            );
            match facts.as_of.get("assignee").copied() {
                Some(at) => _ = facts.as_of.insert(SmolStr::new_static("assignees"), at),
                None => _ = facts.as_of.remove("assignees"),
            }
        }
    }
}

/// An issue that entered a milestone before the milestone moved, as told by an event that came after.
fn follow(facts: &mut Facts, event: &IssueEvent, at: Option<DateTime<Utc>>, milestone: &Milestone) {
    let known_at = facts.as_of.get("due_at").copied().or(facts.updated_at);
    let spoke = !event.due_at.is_nothing() || !event.due_milestone.is_nothing();
    if spoke && facts.due_milestone == event.due_milestone && at.is_some() && milestone.updated_at > known_at
    {
        facts.due_at = Said::of(milestone.due_at);
        if let Some(at) = milestone.updated_at {
            facts.as_of.insert(SmolStr::new_static("due_at"), at);
        }
    }
}

fn state_of(event: &IssueEvent) -> Said<IssueState> {
    if !event.state.is_nothing() {
        return event.state.clone();
    }
    match event.event_type {
        EventType::IssueOpened | EventType::IssueCreated | EventType::IssueReopened => {
            Said::Value(IssueState::Open)
        }
        EventType::IssueClosed => Said::Value(IssueState::Closed),
        _ => Said::Nothing,
    }
}

/// Takes a text where there is one.
fn replace(known: &mut Option<SmolStr>, said: Option<&str>) {
    if let Some(said) = said.filter(|said| known.as_deref() != Some(said)) {
        *known = Some(clean(said));
    }
}

fn map<T, U>(said: &Said<T>, f: impl FnOnce(&T) -> U) -> Said<U> {
    match said {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::Value(value) => Said::Value(f(value)),
    }
}

/// As [`clean_text`]; most texts are clean.
pub(crate) fn clean(text: &str) -> SmolStr {
    match text.len() <= MAX_TEXT_CHARS && !text.contains('\0') {
        true => SmolStr::new(text),
        false => clean_text(text).into(),
    }
}

fn is_same<K: PartialEq<S>, S>(known: &Said<K>, said: &Said<S>) -> bool {
    match (known, said) {
        (Said::Nothing, Said::Nothing) | (Said::Null, Said::Null) => true,
        (Said::Value(known), Said::Value(said)) => known == said,
        _ => false,
    }
}

fn clean_list(list: &[String]) -> Vec<String> {
    let mut clean = Vec::new();
    list.iter().take(MAX_LIST).for_each(|member| push_new(&mut clean, clean_text(member)));
    clean
}

fn push_new(list: &mut Vec<String>, member: String) {
    let bytes = || list.iter().map(String::len).sum::<usize>() + member.len();
    if list.len() < MAX_LIST && bytes() <= MAX_LIST_BYTES && !list.contains(&member) {
        list.push(member);
    }
}

fn is_plausible(at: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}
