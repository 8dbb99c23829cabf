//! The sample files: deliveries become the events that the sample policy acts upon, and the issue events keep to the schema.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use events::{EventType, IssueEvent, Said};
use rstest::rstest;
use serde_json::{Value, json};
use webhooks::Provider;

use crate::harness::*;

fn sample(name: &str) -> (PathBuf, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

async fn delivered(provider: Provider, name: &str) -> IssueEvent {
    let (_, body) = sample(&format!("deliveries/{name}.json"));
    let server = start().await;
    let reply = server.deliver(provider, "issues", &body).await;
    assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
    server.log.events().pop().unwrap()
}

fn labels(event: &IssueEvent) -> &[String] {
    event.labels.value().unwrap()
}

#[tokio::test]
async fn a_p0_bug_was_opened() {
    let event = delivered(Provider::Github, "github-issue-opened-p0").await;
    assert_eq!(event.event_type, EventType::IssueOpened);
    assert_eq!(event.issue_ref, "github:acme/checkout#101");
    assert_eq!(labels(&event), ["bug", "p0"]);
    assert_eq!(event.priority, Said::Value("p0".into()));
    assert_eq!(event.actor.as_deref(), Some("jonas-reuter"));
}

#[tokio::test]
async fn an_issue_was_labeled_frontend() {
    let event = delivered(Provider::Github, "github-issue-labeled-frontend").await;
    assert_eq!(event.event_type, EventType::IssueUpdated);
    assert_eq!(labels(&event), ["frontend"]);
    assert_eq!(event.change["labels"].added, ["frontend"]);
    // The payload does not list the issue's fields, so that no label is a priority says nothing.
    assert_eq!(event.priority, Said::Nothing);
}

#[tokio::test]
async fn an_issue_was_opened_for_triage() {
    let event = delivered(Provider::Github, "github-issue-opened-triage").await;
    assert_eq!(event.event_type, EventType::IssueOpened);
    assert!(labels(&event).is_empty());
    assert_eq!((event.assignee, event.due_at), (Said::Null, Said::Null));
}

#[tokio::test]
async fn an_overdue_issue_was_created() {
    let event = delivered(Provider::Jira, "jira-issue-created-overdue").await;
    assert_eq!(event.event_type, EventType::IssueCreated);
    assert_eq!(event.issue_ref, "jira:acme.atlassian.net/OPS-7");
    assert_eq!(event.url, Said::Value("https://acme.atlassian.net/browse/OPS-7".into()));
    assert_eq!(event.assignee, Said::Value("5f8c1d2e9a4b3c0071e6d5aa".into()));
    assert_eq!(event.due_at, Said::Value("2026-01-15T23:59:59Z".parse::<DateTime<Utc>>().unwrap()));
    assert!(!labels(&event).iter().any(|label| label == "bug" || label == "frontend"));
}

#[rstest]
#[case("issue_bug_p0")]
#[case("issue_frontend")]
#[case("issue_jira_overdue")]
#[case("issue_triage")]
fn the_issue_events_keep_to_the_schema(#[case] name: &str) {
    let (path, text) = sample(&format!("{name}.json"));
    let mut value: Value = serde_json::from_slice(&text).unwrap();
    // `publish` derives these two where a file lacks them.
    let object = value.as_object_mut().unwrap();
    object.entry("event_id").or_insert(json!("p-0123456789abcdef0123456789abcdef"));
    if !object.contains_key("issue_ref") {
        let number = object["issue_number"].as_u64().unwrap();
        let issue_ref = events::issue_ref_of_github(object["repo"].as_str().unwrap(), number);
        object.insert("issue_ref".into(), json!(issue_ref));
    }
    let (_, schema) = events::schema::all().into_iter().find(|(topic, _)| *topic == "issues").unwrap();
    let validator = jsonschema::validator_for(&serde_json::to_value(schema).unwrap()).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    let event: IssueEvent = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(event.project_id, "alpha");
    // Nothing stands there under a name that is not read.
    assert_eq!(serde_json::to_value(&event).unwrap(), value);
}

#[test]
fn one_sample_leaves_its_ids_to_publish() {
    let (_, text) = sample("issue_bug_p0.json");
    let value: Value = serde_json::from_slice(&text).unwrap();
    assert!(value.get("event_id").is_none() && value.get("issue_ref").is_none());
}
