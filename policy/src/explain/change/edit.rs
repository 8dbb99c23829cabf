//! One edit of what the rules saw: how it is made, and how it is told.

use chrono::{DateTime, Utc};
use events::{EventType, FieldChange, IssueState, Said, Source};
use smol_str::SmolStr;

use super::{Change, ChangeKind, named, span::Times};
use crate::{
    Acknowledged,
    condition::field::{Field, Type},
    decide::{Occasion, Sight},
    explain::{
        reads::Read,
        shown::{self, Shown},
    },
    state::{MAX_LIST, Shared},
};

/// The words of a value that stands for any.
pub(super) const ANY: &str = "any";

/// What something becomes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum New {
    Null,
    Text(String),
    Flag(bool),
    Number(i64),
    Time(DateTime<Utc>),
    /// A list with this member.
    With(String),
    /// A list without it, whatever its case where that does not count.
    Without(String),
    /// A list of so many members.
    Count(usize),
}

/// One edit.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) what: Read,
    pub(super) new: New,
    /// Said instead of the value, where many values do: `that contains "crash"`.
    pub(super) words: Option<String>,
    /// The times that do as well.
    pub(super) range: Option<Times>,
}

impl Edit {
    pub(super) fn new(what: Read, new: New) -> Self {
        Self { what, new, words: None, range: None }
    }

    pub(super) fn key(&self) -> (String, New) {
        let what = match self.what {
            Read::Field(field) => field.to_string(),
            Read::Now => "now".into(),
        };
        (what, self.new.clone())
    }

    /// How far-fetched it is: what people change often is light, what an issue is stays.
    pub(super) fn weight(&self) -> usize {
        match self.what {
            Read::Now => 2,
            Read::Field(field) => match field {
                Field::Labels
                | Field::Assignee
                | Field::Assignees
                | Field::Priority
                | Field::Status
                | Field::Title
                | Field::DueAt => 0,
                Field::State | Field::AcknowledgedAt | Field::AcknowledgedBy => 1,
                Field::UpdatedAt => 2,
                field if field.is_of_event() => 1,
                _ => 3,
            },
        }
    }

    /// Whether it can be made after these: what was set stays; texts and lists can be changed in several ways at once.
    pub(super) fn goes_with(&self, earlier: &[Self]) -> bool {
        let is_part =
            |edit: &Self| edit.words.is_some() || matches!(edit.new, New::With(_) | New::Without(_));
        earlier
            .iter()
            .filter(|edit| edit.what == self.what)
            .all(|edit| is_part(edit) && is_part(self) && edit.new != self.new && !edit.undoes(self))
    }

    fn undoes(&self, other: &Self) -> bool {
        match (&self.new, &other.new) {
            (New::With(a), New::Without(b)) | (New::Without(a), New::With(b)) => {
                a.to_lowercase() == b.to_lowercase()
            }
            _ => false,
        }
    }

    /// A changed copy; none where it cannot be so.
    pub(super) fn apply(&self, sight: &Sight) -> Option<Sight> {
        let mut sight = sight.clone();
        match (self.what, &self.new) {
            // A timer is decided at its own instant.
            (Read::Now, New::Time(at)) if sight.occasion != Occasion::Timer => sight.now = *at,
            (Read::Now, _) => return None,
            (Read::Field(field), new) if field.is_of_event() => set_event(&mut sight, field, new)?,
            (Read::Field(field), new) => set_fact(&mut sight, field, new)?,
        }
        Some(sight)
    }

    /// As it is told.
    pub(super) fn told(&self) -> Change {
        let (kind, value) = match &self.new {
            New::Null => (ChangeKind::Set, Shown::Null),
            New::Text(text) => (ChangeKind::Set, Shown::Text(shown::cut(text))),
            New::Flag(flag) => (ChangeKind::Set, Shown::Flag(*flag)),
            New::Number(number) => (ChangeKind::Set, Shown::Number(*number)),
            New::Time(at) => (ChangeKind::Set, Shown::Time(*at)),
            New::With(member) => (ChangeKind::Add, Shown::Text(shown::cut(member))),
            New::Without(member) => (ChangeKind::Remove, Shown::Text(shown::cut(member))),
            New::Count(count) => {
                (ChangeKind::Count, Shown::Number(i64::try_from(*count).unwrap_or(i64::MAX)))
            }
        };
        Change { field: self.key().0, kind, value, times: self.range, says: self.says() }
    }

    fn says(&self) -> String {
        let Read::Field(field) = self.what else {
            return match (&self.range, &self.new) {
                (Some(range), _) => range.of_now(),
                (None, New::Time(at)) => format!("at {}", shown::time(*at)),
                _ => String::new(),
            };
        };
        let name = match field {
            field if field.is_of_event() || field == Field::Title => field.to_string(),
            field => field.spec().name.to_owned(),
        };
        match self.words.as_deref() {
            Some(ANY) => return format!("with any {name}"),
            Some(words) => return format!("with {name} {words}"),
            None => {}
        }
        match (field, &self.new) {
            (Field::Labels, New::With(label)) => format!("with label {}", named(label)),
            (Field::Labels, New::Without(label)) => format!("without label {}", named(label)),
            (Field::EventLabelsAdded, New::With(label)) => {
                format!("with label {} added by the event", named(label))
            }
            (Field::EventLabelsAdded, New::Without(label)) => {
                format!("without label {} added by the event", named(label))
            }
            (Field::EventLabelsRemoved, New::With(label)) => {
                format!("with label {} removed by the event", named(label))
            }
            (Field::EventLabelsRemoved, New::Without(label)) => {
                format!("without label {} removed by the event", named(label))
            }
            (Field::EventChanged, New::With(name)) => format!("with {} changed by the event", named(name)),
            (Field::EventChanged, New::Without(name)) => {
                format!("without {} changed by the event", named(name))
            }
            (Field::Assignees, New::With(name)) => format!("with {} among the assignees", named(name)),
            (Field::Assignees, New::Without(name)) => format!("without {} among the assignees", named(name)),
            (Field::Labels, New::Count(1)) => "with one label".into(),
            (_, New::Count(count)) => format!("with {count} {name}"),
            (Field::Priority | Field::Status, New::Text(text)) => format!("at {name} {}", named(text)),
            (Field::Assignee, New::Text(who)) => format!("assigned to {}", named(who)),
            (Field::State, New::Text(state)) => format!("if the issue were {}", named(state)),
            (Field::Project, New::Text(project)) => format!("in project {}", named(project)),
            (Field::Repo, New::Text(repo)) => format!("in repo {}", named(repo)),
            (Field::EventType, New::Text(word)) => format!("for event.type {}", named(word)),
            (Field::EventActor, New::Text(who)) => format!("for an event by {}", named(who)),
            (_, New::Flag(true)) => "if our own account had done it".into(),
            (_, New::Flag(false)) => "if somebody else had done it".into(),
            (Field::AcknowledgedAt, New::Null) => "if nobody had acknowledged it".into(),
            (Field::AcknowledgedBy, New::Text(who)) => format!("if {} had acknowledged it", named(who)),
            (_, New::Null) => format!("without {name}"),
            (_, New::Time(at)) => match &self.range {
                Some(range) => format!("with {name} {}", range.of_field()),
                None => format!("with {name} {}", shown::time(*at)),
            },
            (_, New::Number(number)) => format!("with {name} {number}"),
            (_, New::Text(text)) => format!("with {name} {}", shown::quoted(text)),
            (_, New::With(member)) => format!("with {} in {name}", named(member)),
            (_, New::Without(member)) => format!("without {} in {name}", named(member)),
        }
    }
}

/// A value that stands for any.
pub(super) fn any(field: Field, now: DateTime<Utc>) -> New {
    let spec = field.spec();
    match (spec.value_type, spec.values) {
        _ if spec.is_list => New::Count(0),
        (_, Some(values)) => New::Text(values.first().copied().unwrap_or_default().to_owned()),
        (Type::Text, _) => New::Text("anything".into()),
        (Type::Int, _) => New::Number(1),
        (Type::Time, _) => New::Time(now),
        (Type::Bool, _) => New::Flag(true),
        (Type::Duration, _) => New::Null,
    }
}

fn said<T>(new: &New, value: impl FnOnce(&str) -> Option<T>) -> Option<Said<T>> {
    match new {
        New::Null => Some(Said::Null),
        New::Text(text) => value(text).map(Said::Value),
        _ => None,
    }
}

fn owned(text: &str) -> Option<SmolStr> {
    Some(text.into())
}

fn set_fact(sight: &mut Sight, field: Field, new: &New) -> Option<()> {
    if matches!(field, Field::AcknowledgedAt | Field::AcknowledgedBy) {
        let known = sight.issue.acknowledged().cloned();
        let nobody = || Acknowledged { at: sight.now, by: None, through: None, acted_at: None };
        let acknowledged = match (field, new) {
            (Field::AcknowledgedAt, New::Null) => None,
            (Field::AcknowledgedAt, New::Time(at)) => {
                Some(Acknowledged { at: *at, ..known.unwrap_or_else(nobody) })
            }
            (Field::AcknowledgedBy, New::Null) => known.map(|known| Acknowledged { by: None, ..known }),
            (Field::AcknowledgedBy, New::Text(who)) => {
                Some(Acknowledged { by: owned(who), ..known.unwrap_or_else(nobody) })
            }
            _ => return None,
        };
        sight.issue.set_acknowledged(acknowledged);
        return Some(());
    }
    let facts = &mut *sight.issue.facts;
    let time = |new: &New| match new {
        New::Null => Some(None),
        New::Time(at) => Some(Some(*at)),
        _ => None,
    };
    let text = |new: &New| match new {
        New::Null => Some(None),
        New::Text(text) => Some(Some(text.clone())),
        _ => None,
    };
    match field {
        Field::Ref => sight.issue_ref = text(new)??,
        Field::Project => sight.project = text(new)??,
        Field::Source => facts.source = source(text(new)?.as_deref()),
        Field::Repo => facts.repo = text(new)?.map(SmolStr::from),
        Field::Key => facts.key = text(new)?.map(SmolStr::from),
        Field::Number => {
            facts.number = match new {
                New::Null => None,
                New::Number(number) => Some(u64::try_from(*number).ok()?),
                _ => return None,
            }
        }
        Field::Title => facts.title = said(new, owned)?,
        Field::Url => facts.url = said(new, owned)?,
        Field::Priority => facts.priority = said(new, owned)?,
        Field::Status => facts.status = said(new, owned)?,
        Field::Labels => facts.labels = list(known(&facts.labels), new, false, "label-")?,
        Field::Assignees => {
            facts.assignees = list(known(&facts.assignees), new, true, "person-")?;
            facts.assignee =
                Said::of(facts.assignees.value().and_then(|names| names.first().map(SmolStr::from)));
        }
        Field::Assignee => {
            // The first of the assignees.
            let mut others = facts.assignees.value().map(|names| names.to_vec()).unwrap_or_default();
            facts.assignee = said(new, owned)?;
            match facts.assignee.value() {
                Some(name) => {
                    others.retain(|other| other != name);
                    others.insert(0, name.to_string());
                }
                None => others.clear(),
            }
            facts.assignees = Said::Value(others.into());
        }
        Field::State => facts.state = said(new, state)?,
        Field::CreatedAt => facts.created_at = time(new)?,
        Field::UpdatedAt => facts.updated_at = time(new)?,
        Field::DueAt => facts.due_at = Said::of(time(new)?),
        _ => return None,
    }
    // What became open has no close to count from.
    if field == Field::State && sight.issue.is_open() {
        sight.issue.closed_at = None;
    }
    Some(())
}

fn source(word: Option<&str>) -> Option<Source> {
    [Source::Github, Source::Jira].into_iter().find(|source| Some(source.as_str()) == word)
}

fn state(word: &str) -> Option<IssueState> {
    [IssueState::Open, IssueState::Closed].into_iter().find(|state| state.as_str() == word)
}

fn set_event(sight: &mut Sight, field: Field, new: &New) -> Option<()> {
    let event = sight.event.as_mut()?;
    match (field, new) {
        (Field::EventType, New::Text(word)) => {
            event.event_type = EventType::from(word.as_str());
            // As such an event would leave the issue.
            match event.event_type {
                EventType::IssueClosed => sight.issue.facts.state = Said::Value(IssueState::Closed),
                EventType::IssueReopened => sight.issue.facts.state = Said::Value(IssueState::Open),
                EventType::IssueAcknowledged if sight.issue.acknowledged().is_none() => {
                    let by = event.actor.as_deref().map(SmolStr::from);
                    sight.issue.acknowledge(sight.now, by, None);
                }
                EventType::IssueDeleted => {
                    sight.issue.facts.state = Said::Value(IssueState::Closed);
                    sight.issue.deleted = true;
                }
                _ => {}
            }
        }
        (Field::EventSource, New::Text(word)) => event.source = source(Some(word))?,
        (Field::EventActor, New::Null) => event.actor = None,
        (Field::EventActor, New::Text(who)) => event.actor = Some(who.clone()),
        (Field::EventByUs, New::Flag(flag)) => event.by_us = *flag,
        (Field::EventChanged, New::With(name)) => {
            event.change.entry(name.clone()).or_default();
        }
        (Field::EventChanged, New::Without(name)) => {
            event.change.remove(name)?;
        }
        (Field::EventChanged, New::Count(count)) => {
            while event.change.len() > *count {
                event.change.pop_last();
            }
            let more = count.checked_sub(event.change.len())?;
            (0..more.min(MAX_LIST)).for_each(|n| {
                event.change.insert(format!("field-{n}"), FieldChange::default());
            });
        }
        (Field::EventLabelsAdded | Field::EventLabelsRemoved, new) => {
            let change = event.change.entry("labels".into()).or_default();
            let is_added = field == Field::EventLabelsAdded;
            let members = if is_added { &mut change.added } else { &mut change.removed };
            let known = std::mem::take(members);
            if let Said::Value(list) = list(Some(&known), new, false, "label-")? {
                *members = list.to_vec();
            }
            // What was added is there, what was removed is not.
            if let New::With(label) = new {
                let labels = &sight.issue.facts.labels;
                let new = if is_added { New::With(label.clone()) } else { New::Without(label.clone()) };
                if let Some(labels) = list(self::known(labels), &new, false, "label-") {
                    sight.issue.facts.labels = labels;
                }
            }
        }
        _ => return None,
    }
    Some(())
}

fn known(list: &Said<Shared<Vec<String>>>) -> Option<&Vec<String>> {
    list.value().map(|list| &**list)
}

/// A changed list; none where nothing would change, or it cannot be so.
fn list(
    known: Option<&Vec<String>>,
    new: &New,
    case_counts: bool,
    filler: &str,
) -> Option<Said<Shared<Vec<String>>>> {
    let mut members = known.cloned().unwrap_or_default();
    let same = |a: &str, b: &str| a == b || (!case_counts && a.to_lowercase() == b.to_lowercase());
    match new {
        New::Null => return Some(Said::Null),
        New::With(member) if members.len() < MAX_LIST => {
            if members.iter().any(|other| same(other, member)) {
                return None;
            }
            members.push(member.clone());
        }
        New::Without(member) => {
            let before = members.len();
            members.retain(|other| !same(other, member));
            if members.len() == before {
                return None;
            }
        }
        New::Count(count) if *count <= MAX_LIST => {
            members.truncate(*count);
            let mut n = 0;
            while members.len() < *count {
                n += 1;
                let member = format!("{filler}{n}");
                if !members.iter().any(|other| same(other, &member)) {
                    members.push(member);
                }
            }
        }
        _ => return None,
    }
    Some(Said::Value(members.into()))
}
