//! What a condition sees.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, Value};
use chrono::{DateTime, Utc};
use events::{IssueEvent, IssueState, Said};

use crate::{Issue, state::MAX_LIST};

/// The function that brings a value to lower case; no condition can name it.
pub(super) const TO_LOWER: &str = "@lower";

/// Building the standard library costs more than an evaluation.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// `issue`, `event` and `now` for one evaluation. Every field is there; null when it is unknown or there is none.
pub(crate) struct View(Context<'static, 'static>);

impl View {
    pub(crate) fn new(
        project: &str,
        issue_ref: &str,
        issue: &Issue,
        event: Option<&IssueEvent>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut context = Context::with_env(ENV.clone());
        context.add_variable_from_value("issue", issue_map(project, issue_ref, issue));
        // Only a rule that reads `event` asks for it, and such a rule is never evaluated without one.
        if let Some(event) = event {
            context.add_variable_from_value("event", event_map(event));
        }
        context.add_variable_from_value("now", time(now));
        // The name cannot be taken: the standard library has none that begins with `@lower`.
        let _ = context.add_function(TO_LOWER, lower);
        Self(context)
    }

    pub(super) fn context(&self) -> &Context<'static, 'static> {
        &self.0
    }
}

fn issue_map(project: &str, issue_ref: &str, issue: &Issue) -> HashMap<&'static str, Value> {
    let facts = &issue.facts;
    HashMap::from([
        ("ref", issue_ref.into()),
        ("project", project.into()),
        ("source", facts.source.map(|source| source.as_str()).into()),
        ("repo", facts.repo.clone().into()),
        ("number", facts.number.and_then(|number| i64::try_from(number).ok()).map(Value::Int).into()),
        ("key", facts.key.clone().into()),
        ("title", text(&facts.title)),
        ("url", text(&facts.url)),
        ("labels", facts.labels.value().map(|labels| lower_list(labels)).into()),
        ("assignee", text(&facts.assignee)),
        ("assignees", facts.assignees.value().map(|names| list(names)).into()),
        ("priority", facts.priority.value().map(|word| word.to_lowercase()).into()),
        ("status", text(&facts.status)),
        ("state", facts.state.value().copied().map(IssueState::as_str).into()),
        ("created_at", facts.created_at.map(time).into()),
        ("updated_at", facts.updated_at.map(time).into()),
        ("due_at", facts.due_at.value().copied().map(time).into()),
    ])
}

fn event_map(event: &IssueEvent) -> HashMap<&'static str, Value> {
    let labels = event.change.get("labels");
    let changed: Vec<&str> = event.change.keys().take(MAX_LIST).map(String::as_str).collect();
    HashMap::from([
        ("type", event.event_type.as_str().into()),
        ("source", event.source.as_str().into()),
        ("actor", event.actor.clone().into()),
        ("changed", changed.into()),
        ("labels_added", lower_list(labels.map_or(&[][..], |labels| &labels.added))),
        ("labels_removed", lower_list(labels.map_or(&[][..], |labels| &labels.removed))),
    ])
}

fn text(said: &Said<String>) -> Value {
    said.value().cloned().into()
}

fn list(words: &[String]) -> Value {
    words.iter().map(String::as_str).collect::<Vec<_>>().into()
}

fn lower_list(words: &[String]) -> Value {
    words.iter().take(MAX_LIST).map(|word| word.to_lowercase()).collect::<Vec<_>>().into()
}

fn time(time: DateTime<Utc>) -> Value {
    Value::Timestamp(time.fixed_offset())
}

/// A string, or a list's strings, in lower case; anything else as it is.
fn lower(value: Value) -> Value {
    match value {
        Value::String(text) => text.to_lowercase().into(),
        Value::List(list) => list.iter().cloned().map(lower).collect::<Vec<_>>().into(),
        other => other,
    }
}
