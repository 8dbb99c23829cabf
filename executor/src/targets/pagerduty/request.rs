//! What is sent: an event of the Events API v2.

use events::{Action, ActionKind, Recipients, Risk};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{message::Message, plain_text::one_line};

/// The longest summary, in characters.
const SUMMARY_MAX: usize = 1024;
/// The longest dedup_key, in bytes.
const DEDUP_MAX: usize = 255;

/// An event. Its fields are bounded, to a few KiB in all; 512 KB are taken.
#[derive(Debug, Serialize)]
pub(super) struct Event<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Value>,
    client: &'static str,
}

#[derive(Debug, Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    group: String,
    class: String,
    custom_details: Value,
}

/// What an action is to PagerDuty.
pub(super) fn event_action(kind: &ActionKind) -> Option<&'static str> {
    match kind {
        ActionKind::Acknowledge => Some("acknowledge"),
        ActionKind::Resolve => Some("resolve"),
        ActionKind::Other(_) => None,
        _ => Some("trigger"),
    }
}

/// The service whose people are paged: the team's, else that of the first person with one, else `fallback`.
pub(crate) fn service(to: &Recipients, fallback: Option<&str>) -> Option<String> {
    let team = to.team.as_ref().and_then(|team| team.pagerduty.as_deref());
    let person = || to.people.iter().find_map(|person| person.pagerduty.as_deref());
    team.or_else(person).or(fallback).map(ToOwned::to_owned)
}

/// The issue, by the one name that trigger, acknowledge and resolve have in common.
pub(super) fn dedup_key(action: &Action) -> Option<String> {
    let issue = action.issue_ref.as_deref().filter(|issue| !issue.is_empty())?;
    // It is shown as the alert's key: nothing in it acts.
    let plain = issue.len() <= DEDUP_MAX && one_line(issue, DEDUP_MAX) == issue;
    Some(if plain { issue.to_owned() } else { hex::encode(Sha256::digest(issue)) })
}

/// By the issue's priority where the action says it, else by the risk that the action takes away.
pub(super) fn severity(action: &Action) -> &'static str {
    let said = action.params.get("priority").and_then(Value::as_str).unwrap_or_default();
    match said.to_lowercase().as_str() {
        "p0" | "blocker" | "highest" | "critical" => "critical",
        "p1" | "high" | "major" => "error",
        "p2" | "medium" => "warning",
        "p3" | "p4" | "low" | "lowest" | "minor" | "trivial" => "info",
        _ => match -Risk::of_done(&action.action).0 {
            300.. => "critical",
            200.. => "error",
            100.. => "warning",
            _ => "info",
        },
    }
}

/// `None` for an action that is none of PagerDuty's.
pub(super) fn event<'a>(action: &Action, routing_key: &'a str, dedup_key: String) -> Option<Event<'a>> {
    let event_action = event_action(&action.action)?;
    let message = Message::of(action);
    let triggers = event_action == "trigger";
    let links = message.as_ref().and_then(|message| message.url.clone()).filter(|_| triggers);
    let payload = message.filter(|_| triggers).map(|message| Payload {
        summary: one_line(&[message.subject(), message.what.clone()].join(" · "), SUMMARY_MAX),
        source: message.issue.clone(),
        severity: severity(action),
        component: action.rule.as_deref().map(|rule| one_line(rule, 128)),
        group: one_line(&action.project_id, 128),
        class: action.action.as_str().to_owned(),
        custom_details: json!({
            "why": message.why, "title": message.title, "issue": message.issue,
            "action": one_line(&action.event_id, 128),
        }),
    });
    let links = links.into_iter().map(|url| json!({ "href": url, "text": "the issue" })).collect();
    Some(Event { routing_key, event_action, dedup_key, payload, links, client: "Breakdown" })
}
