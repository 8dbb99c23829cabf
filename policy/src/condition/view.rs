//! What a condition sees.

use std::{borrow::Cow, cell::OnceCell};

use chrono::{DateTime, Utc};
use events::{IssueEvent, IssueState, MAX_TEXT_CHARS, Said};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::field::{FIELDS, Field};
use crate::{
    Acknowledged, Facts, Issue,
    state::{MAX_LIST, MAX_LIST_BYTES},
};

/// `issue`, `event` and `now` for one decision. Every field is there; null when it is unknown or there is none.
#[derive(Debug)]
pub(crate) struct View<'a> {
    project: &'a str,
    issue_ref: &'a str,
    facts: &'a Facts,
    acknowledged: Option<&'a Acknowledged>,
    event: Option<&'a IssueEvent>,
    now: DateTime<Utc>,
    priority: OnceCell<Option<Cow<'a, str>>>,
    labels: Words<'a>,
    assignees: Words<'a>,
    changed: Words<'a>,
    labels_added: Words<'a>,
    labels_removed: Words<'a>,
    lower: OnceCell<Box<Lower<'a>>>,
}

/// What compares with regard to case, in lower case: few conditions ask for it, those that do for each element of a list.
#[derive(Debug, Default)]
struct Lower<'a> {
    texts: [OnceCell<Option<Box<str>>>; FIELDS.len()],
    assignees: Words<'a>,
    changed: Words<'a>,
}

/// A list, made when it is first asked for.
type Words<'a> = OnceCell<Option<List<'a>>>;
/// Most lists are short.
type List<'a> = SmallVec<[Cow<'a, str>; 4]>;

impl<'a> View<'a> {
    /// Without an event, its fields are null: only a rule that reads `event` asks for them, and such a rule is never
    /// evaluated without one.
    pub(crate) fn new(
        project: &'a str,
        issue_ref: &'a str,
        issue: &'a Issue,
        event: Option<&'a IssueEvent>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            project,
            issue_ref,
            facts: &issue.facts,
            acknowledged: issue.acknowledged(),
            event,
            now,
            priority: OnceCell::new(),
            labels: OnceCell::new(),
            assignees: OnceCell::new(),
            changed: OnceCell::new(),
            labels_added: OnceCell::new(),
            labels_removed: OnceCell::new(),
            lower: OnceCell::new(),
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// A field that is a text, in lower case where it compares without regard to case.
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        let said = |text: &'a Said<SmolStr>| text.value().map(SmolStr::as_str);
        match field {
            Field::Ref => Some(self.issue_ref),
            Field::Project => Some(self.project),
            Field::Source => self.facts.source.map(|source| source.as_str()),
            Field::Repo => self.facts.repo.as_deref(),
            Field::Key => self.facts.key.as_deref(),
            Field::Title => said(&self.facts.title),
            Field::Url => said(&self.facts.url),
            Field::Assignee => said(&self.facts.assignee),
            Field::Priority => self.priority.get_or_init(|| said(&self.facts.priority).map(lower)).as_deref(),
            Field::Status => said(&self.facts.status),
            Field::AcknowledgedBy => self.acknowledged?.by.as_deref(),
            Field::State => self.facts.state.value().copied().map(IssueState::as_str),
            Field::EventType => Some(bounded(self.event?.event_type.as_str())),
            Field::EventSource => Some(self.event?.source.as_str()),
            Field::EventActor => self.event?.actor.as_deref().map(bounded),
            _ => None,
        }
    }

    /// A field that is a text, in lower case.
    pub(crate) fn lower_text(&self, field: Field) -> Option<&str> {
        let known = self.lower.get_or_init(Box::default).texts.get(field as usize)?;
        known.get_or_init(|| self.text(field).map(|text| lower(text).into())).as_deref()
    }

    /// A field that is true or false.
    pub(crate) fn flag(&self, field: Field) -> bool {
        match field {
            Field::EventByUs => self.event.is_some_and(|event| event.by_us),
            _ => false,
        }
    }

    /// A field that is a number.
    pub(crate) fn int(&self, field: Field) -> Option<i64> {
        match field {
            Field::Number => self.facts.number.and_then(|number| i64::try_from(number).ok()),
            _ => None,
        }
    }

    /// A field that is a time.
    pub(crate) fn time(&self, field: Field) -> Option<DateTime<Utc>> {
        match field {
            Field::CreatedAt => self.facts.created_at,
            Field::UpdatedAt => self.facts.updated_at,
            Field::DueAt => self.facts.due_at.value().copied(),
            Field::AcknowledgedAt => self.acknowledged.map(|acknowledged| acknowledged.at),
            _ => None,
        }
    }

    /// A field that is a list, its elements in lower case where they compare without regard to case.
    pub(crate) fn list(&self, field: Field) -> Option<&[Cow<'a, str>]> {
        let change = || self.event?.change.get("labels");
        let list = match field {
            Field::Labels => {
                self.labels.get_or_init(|| self.facts.labels.value().map(|list| lower_all(list)))
            }
            Field::Assignees => self.assignees.get_or_init(|| {
                Some(members(self.facts.assignees.value()?.iter()).map(Cow::Borrowed).collect())
            }),
            Field::EventChanged => self
                .changed
                .get_or_init(|| Some(members(self.event?.change.keys()).map(Cow::Borrowed).collect())),
            Field::EventLabelsAdded => self.labels_added.get_or_init(|| {
                self.event?;
                Some(change().map(|change| lower_all(&change.added)).unwrap_or_default())
            }),
            Field::EventLabelsRemoved => self.labels_removed.get_or_init(|| {
                self.event?;
                Some(change().map(|change| lower_all(&change.removed)).unwrap_or_default())
            }),
            _ => return None,
        };
        list.as_deref()
    }

    /// A field that is a list, its elements in lower case.
    pub(crate) fn lower_list(&self, field: Field) -> Option<&[Cow<'a, str>]> {
        let known = self.lower.get_or_init(Box::default);
        let list = match field {
            Field::Assignees => known
                .assignees
                .get_or_init(|| Some(members(self.facts.assignees.value()?.iter()).map(lower).collect())),
            Field::EventChanged => {
                known.changed.get_or_init(|| Some(members(self.event?.change.keys()).map(lower).collect()))
            }
            // Its elements are.
            _ => return self.list(field),
        };
        list.as_deref()
    }
}

fn lower_all(words: &[String]) -> List<'_> {
    members(words.iter()).map(lower).collect()
}

/// Of a list: as many as the facts of an issue would keep, whatever an event has.
fn members<'w>(words: impl Iterator<Item = &'w String>) -> impl Iterator<Item = &'w str> {
    let mut bytes_left = MAX_LIST_BYTES;
    words.take(MAX_LIST).map(|word| bounded(word)).filter(move |word| {
        let fits = bytes_left.checked_sub(word.len());
        bytes_left = fits.unwrap_or(bytes_left);
        fits.is_some()
    })
}

/// A text as long as one can be that is kept.
fn bounded(text: &str) -> &str {
    if text.len() <= MAX_TEXT_CHARS {
        return text;
    }
    text.char_indices().nth(MAX_TEXT_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// In lower case; most words are already.
pub(super) fn lower(word: &str) -> Cow<'_, str> {
    match word.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(word.to_lowercase()),
    }
}
