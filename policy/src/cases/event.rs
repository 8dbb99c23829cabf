//! An event of a test file: short to write, and as whole as one from a provider.

use chrono::{DateTime, Utc};
use events::{EventType, IssueEvent, IssueState, Said, issue_ref_of_github, issue_ref_of_jira};
use serde_json::{Map, Number, Value};

use crate::{
    diagnostic::{did_you_mean, quoted},
    load::{
        mistake::{Mistake, Report},
        place::Span,
        yaml::{self, Node},
    },
};

const PROJECT: &str = "alpha";
const REPO: &str = "acme/app";
const SITE: &str = "acme.atlassian.net";
const KEY: &str = "APP-1";
const REFS: &str =
    "such as \"github:acme/app#12\", \"jira:acme.atlassian.net/OPS-7\" or \"github:acme/app/milestone/3\"";
/// Whole numbers up to here are exact in YAML's numbers as we read them.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Reads an event's fields. `number` is the step's, from 1; `last` the event whose issue this one is about when it names none.
pub(super) fn read(
    node: &Node,
    number: usize,
    last: Option<&IssueEvent>,
    report: &mut Report<'_>,
) -> Option<IssueEvent> {
    let yaml::Value::Map(entries) = &node.value else {
        report.wrong_kind(node, "`event`", "a map", "such as `{ type: issue_opened, labels: [bug] }`");
        return None;
    };
    let mut fields = Map::new();
    for (name, _, value) in report.entries(entries) {
        fields.insert(name.into_owned(), value_of(value));
    }
    if !fields.contains_key("type") {
        let hint = format!("add `type: issue_opened`; there are {}", EventType::KNOWN.join(", "));
        report.add(Mistake::error(report.head(node), "an event must have `type`").hint(hint));
        return None;
    }
    if let Some(issue) = fields.remove("issue") {
        let at = place_of(node, &["issue"], false, report);
        if fields.contains_key("issue_ref") {
            let mistake = Mistake::error(at, "`issue` and `issue_ref` are the same thing");
            report.add(mistake.hint("take one of them away"));
        }
        if !issue.as_str().is_some_and(is_ref) {
            report.add(Mistake::error(at, "`issue` names no issue").hint(REFS));
            return None;
        }
        fields.insert("issue_ref".into(), issue);
    }
    fill_in_names(&mut fields, number, last);
    match IssueEvent::by_hand(fields) {
        Ok(event) if event.event_type == EventType::MilestoneUpdated && !is_milestone(&event.issue_ref) => {
            let mistake =
                Mistake::error(report.head(node), "this event is about a milestone, and names none");
            report.add(mistake.hint(
                "such as `issue: \"github:acme/app/milestone/3\"`; issues follow it by `due_milestone: 3`",
            ));
            None
        }
        Ok(event) => Some(event),
        Err(wrong) => {
            let path: Vec<&str> = wrong.path.iter().map(String::as_str).collect();
            let message = match path.first() {
                Some(field) if field.ends_with("_at") && !wrong.is_key => format!("`{field}` is no time"),
                Some(field) if !wrong.is_key => format!("`{field}`: {}", wrong.message),
                _ => wrong.message,
            };
            report.add(
                Mistake::error(place_of(node, &path, wrong.is_key, report), message)
                    .maybe_hint(hint(node, &path)),
            );
            None
        }
    }
}

/// Says what a provider's event would say besides. `before` is the time of the step before.
pub(super) fn complete(event: &mut IssueEvent, at: DateTime<Utc>, before: Option<DateTime<Utc>>) {
    // Events of one instant count as changes of the same second; one that says no time is the youngest.
    if event.updated_at.is_none() && before.is_none_or(|before| before < at) {
        event.updated_at = Some(at);
    }
    if !matches!(event.event_type, EventType::IssueOpened | EventType::IssueCreated) {
        return;
    }
    event.created_at = event.created_at.or(Some(at));
    if event.state.is_nothing() {
        event.state = Said::Value(IssueState::Open);
    }
    if event.labels.is_nothing() {
        event.labels = Said::Value(Vec::new());
    }
    if event.assignee.is_nothing() && event.assignees.is_nothing() {
        (event.assignee, event.assignees) = (Said::Null, Said::Value(Vec::new()));
    }
    if event.priority.is_nothing() {
        event.priority = Said::Null;
    }
    if event.due_at.is_nothing() {
        event.due_at = Said::Null;
    }
}

/// Who it is about, by whichever of its names is given.
fn fill_in_names(fields: &mut Map<String, Value>, number: usize, last: Option<&IssueEvent>) {
    let text = |fields: &Map<String, Value>, field: &str| {
        fields.get(field).and_then(Value::as_str).map(str::to_owned)
    };
    let set = |fields: &mut Map<String, Value>, field: &str, value: Value| {
        fields.entry(field).or_insert(value);
    };
    set(fields, "event_id", format!("step-{number}").into());
    let names = ["issue_ref", "repo", "issue_number", "issue_key"];
    let source = text(fields, "source");
    if let Some(last) = last
        && !names.iter().any(|name| fields.contains_key(*name))
        && source.is_none_or(|source| source == last.source.as_str())
    {
        set(fields, "issue_ref", last.issue_ref.clone().into());
        set(fields, "project_id", last.project_id.clone().into());
    }
    set(fields, "project_id", PROJECT.into());
    let known = text(fields, "issue_ref");
    let jira =
        known.as_ref().map_or_else(|| fields.contains_key("issue_key"), |known| known.starts_with("jira:"));
    set(fields, "source", if jira { "jira" } else { "github" }.into());
    // A value of another type is left as it is: it will be refused.
    if text(fields, "source").as_deref() == Some("jira") {
        let key = known.as_ref().and_then(|known| known.rsplit_once('/')).map_or(KEY, |(_, key)| key);
        set(fields, "issue_key", key.into());
        let key = text(fields, "issue_key").unwrap_or_default();
        set(fields, "issue_ref", issue_ref_of_jira(SITE, &key).into());
    } else if !known.as_deref().is_some_and(is_milestone) {
        let named = known.as_ref().and_then(|known| known.strip_prefix("github:")?.rsplit_once('#'));
        let (repo, number) = named.map_or((REPO, Some(1)), |(repo, number)| (repo, number.parse().ok()));
        set(fields, "repo", repo.into());
        set(fields, "issue_number", number.unwrap_or(1_u64).into());
        let repo = text(fields, "repo").unwrap_or_default();
        let number = fields.get("issue_number").and_then(Value::as_u64).unwrap_or_default();
        set(fields, "issue_ref", issue_ref_of_github(&repo, number).into());
    }
}

/// Of the forms that receivers give an issue.
fn is_ref(text: &str) -> bool {
    let (github, jira) = (text.strip_prefix("github:"), text.strip_prefix("jira:"));
    let plain = text.len() <= 512 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let issue = github.and_then(|rest| rest.rsplit_once('#')).is_some_and(|(repo, number)| {
        repo.split('/').filter(|part| !part.is_empty()).count() == 2 && number.parse::<u64>().is_ok()
    });
    let card = jira.and_then(|rest| rest.rsplit_once('/')).is_some_and(|(site, key)| {
        !site.is_empty() && key.rsplit_once('-').is_some_and(|(_, number)| number.parse::<u64>().is_ok())
    });
    plain && (issue || card || is_milestone(text))
}

fn is_milestone(text: &str) -> bool {
    let milestone = text.strip_prefix("github:").and_then(|rest| rest.rsplit_once("/milestone/"));
    milestone.is_some_and(|(repo, number)| !repo.is_empty() && number.parse::<u64>().is_ok())
}

fn hint(event: &Node, path: &[&str]) -> Option<String> {
    match path {
        [field] if !is_field(field) => did_you_mean(field, IssueEvent::field_names().chain(["issue"]))
            .or_else(|| Some("an event's fields are in events/schemas/issues.json".to_owned())),
        ["type"] => {
            let yaml::Value::Text(word) = &member(event, "type")?.1.value else { return None };
            did_you_mean(word, EventType::KNOWN.iter().copied())
        }
        ["change", _, _] => Some("a change has old, new, added and removed".to_owned()),
        [field, ..] if field.ends_with("_at") => {
            Some("such as 2026-01-05T09:00:00Z, or null for none".to_owned())
        }
        [field, ..] => Some(format!("see {} in events/schemas/issues.json", quoted(field))),
        [] => None,
    }
}

fn is_field(name: &str) -> bool {
    IssueEvent::field_names().any(|known| known == name)
}

/// Where a part of a map stands, as near as the path leads: its key or its value.
fn place_of(node: &Node, path: &[&str], is_key: bool, report: &Report<'_>) -> Span {
    let Some((step, rest)) = path.split_first() else { return report.head(node) };
    let next = match &node.value {
        yaml::Value::Map(_) => match member(node, step) {
            Some((key, _)) if rest.is_empty() && is_key => return key.at,
            found => found.map(|(_, value)| value),
        },
        yaml::Value::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    };
    next.map_or_else(|| report.head(node), |next| place_of(next, rest, is_key, report))
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n (Node, Node)> {
    let yaml::Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| matches!(&key.value, yaml::Value::Text(text) if text == name))
}

/// The same as JSON. Keys that are no text are left out.
pub(super) fn value_of(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Bool(truth) => Value::Bool(*truth),
        yaml::Value::Number(number) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE => {
            #[allow(clippy::cast_possible_truncation, reason = "whole, and within what i64 holds")]
            let whole = *number as i64;
            Value::from(whole)
        }
        yaml::Value::Number(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        yaml::Value::Text(text) => Value::String(text.clone()),
        yaml::Value::List(list) => list.iter().map(value_of).collect(),
        yaml::Value::Map(entries) => Value::Object(
            entries
                .iter()
                .filter_map(|(key, value)| match &key.value {
                    yaml::Value::Text(key) => Some((key.clone(), value_of(value))),
                    _ => None,
                })
                .collect(),
        ),
    }
}
