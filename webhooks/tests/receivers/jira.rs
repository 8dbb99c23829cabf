//! What Jira's deliveries become.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use events::{EventType, IssueEvent, IssueState, Said};
use rstest::rstest;
use serde_json::{Value, json};
use webhooks::{Config, Limits, Projects, Provider};

use crate::harness::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The least that Jira Cloud sends of an updated issue.
fn updated(items: Value) -> Value {
    json!({
        "timestamp": 1_768_000_000_000_i64,
        "webhookEvent": "jira:issue_updated",
        "issue_event_type_name": "issue_generic",
        "user": {"accountId": "5b10:aa", "displayName": "Mia"},
        "issue": {
            "id": "10001",
            "self": "https://Acme.atlassian.net/rest/api/2/issue/10001",
            "key": "OPS-7",
            "fields": {
                "summary": "Renew the certificate",
                "labels": ["ops", "tls"],
                "assignee": {"accountId": "5b10:bb", "displayName": "Ned"},
                "priority": {"id": "2", "name": "High"},
                "status": {"name": "In Progress", "statusCategory": {"key": "indeterminate"}},
                "resolution": null,
                "duedate": "2026-01-15",
                "created": "2026-01-05T14:12:08.211+0100",
                "updated": "2026-01-09T10:00:00.500-0800",
            },
        },
        "changelog": {"id": "1", "items": items},
    })
}

fn item(field: &str, from: Value, from_text: Value, to: Value, to_text: Value) -> Value {
    json!({"field": field, "fieldId": field, "from": from, "fromString": from_text, "to": to, "toString": to_text})
}

fn status(from: &str, to: &str) -> Value {
    item("status", json!("1"), json!(from), json!("2"), json!(to))
}

async fn jira(payload: &Value) -> IssueEvent {
    start().await.event(Provider::Jira, "", payload).await
}

fn change(event: &IssueEvent) -> Value {
    serde_json::to_value(&event.change).unwrap()
}

#[tokio::test]
async fn an_updated_issue_of_cloud() {
    let event = jira(&updated(json!([]))).await;
    assert_eq!(
        serde_json::to_value(&event).unwrap(),
        json!({
            "event_id":
                events::id::jira_event("acme.atlassian.net", Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"), b""),
            "project_id": "alpha",
            "source": "jira",
            "type": "issue_updated",
            "issue_ref": "jira:acme.atlassian.net/OPS-7",
            "issue_key": "OPS-7",
            "title": "Renew the certificate",
            "url": "https://Acme.atlassian.net/browse/OPS-7",
            "labels": ["ops", "tls"],
            "assignee": "5b10:bb",
            "assignees": ["5b10:bb"],
            "priority": "High",
            "status": "In Progress",
            "state": "open",
            "created_at": "2026-01-05T13:12:08.211Z",
            "updated_at": "2026-01-09T18:00:00.500Z",
            "due_at": "2026-01-15T23:59:59Z",
            "actor": "5b10:aa",
            "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        })
    );
}

#[tokio::test]
async fn data_center_below_a_path_with_names_and_without_event_types() {
    let mut payload = updated(json!([{"field": "assignee", "from": "ned", "to": "mia"}]));
    payload.as_object_mut().unwrap().remove("issue_event_type_name");
    payload["issue"]["self"] = json!("http://jira.acme.example:8080/tracker/rest/api/2/issue/10001");
    payload["issue"]["fields"]["assignee"] = json!({"name": "mia", "key": "JIRAUSER10100"});
    payload["user"] = json!({"key": "JIRAUSER10101"});
    let event = jira(&payload).await;
    assert_eq!(event.issue_ref, "jira:jira.acme.example:8080/OPS-7");
    assert_eq!(event.url, Said::Value("http://jira.acme.example:8080/tracker/browse/OPS-7".into()));
    assert_eq!(event.assignee, Said::Value("mia".into()));
    assert_eq!(event.assignees, Said::Value(vec!["mia".into()]));
    assert_eq!(event.actor.as_deref(), Some("JIRAUSER10101"));
    assert_eq!(event.event_type, EventType::IssueUpdated);
    assert_eq!(change(&event), json!({"assignees": {"added": ["mia"], "removed": ["ned"]}}));
}

#[rstest]
#[case::created("jira:issue_created", EventType::IssueCreated)]
#[case::updated("jira:issue_updated", EventType::IssueUpdated)]
#[case::deleted("jira:issue_deleted", EventType::IssueDeleted)]
#[case::commented("comment_created", EventType::IssueCommented)]
#[case::comment_edited("comment_updated", EventType::IssueUpdated)]
#[case::comment_deleted("comment_deleted", EventType::IssueUpdated)]
#[tokio::test]
async fn events_become_types(#[case] name: &str, #[case] expected: EventType) {
    let mut payload = updated(json!([]));
    payload["webhookEvent"] = json!(name);
    assert_eq!(jira(&payload).await.event_type, expected);
}

#[rstest]
#[case::done(json!([status("To Do", "Done")]), "done", EventType::IssueClosed)]
#[case::started(json!([status("To Do", "Doing")]), "indeterminate", EventType::IssueUpdated)]
#[case::reopened(
    json!([item("resolution", json!("1"), json!("Done"), json!(null), json!(null)), status("Done", "To Do")]),
    "new",
    EventType::IssueReopened
)]
#[case::edited_while_done(json!([item("summary", json!(null), json!("a"), json!(null), json!("b"))]), "done", EventType::IssueUpdated)]
#[tokio::test]
async fn closed_is_the_category_done(
    #[case] items: Value,
    #[case] category: &str,
    #[case] expected: EventType,
) {
    let mut payload = updated(items);
    payload["issue"]["fields"]["status"]["statusCategory"]["key"] = json!(category);
    let event = jira(&payload).await;
    assert_eq!(event.event_type, expected);
    let closed = category == "done";
    assert_eq!(event.state, Said::Value(if closed { IssueState::Closed } else { IssueState::Open }));
}

#[tokio::test]
async fn what_changed() {
    let mut projects = Projects::new("alpha");
    projects.map_jira("OPS", "run");
    projects.set_time_zone("run", Tz::Europe__Berlin);
    let server = start_with(Config { projects, ..config(Limits::default()) }).await;
    let items = json!([
        item("labels", json!(null), json!("ops old"), json!(null), json!("ops  tls")),
        item("duedate", json!("2026-01-10"), json!("2026-01-10 00:00:00.0"), json!("2026-01-15"), json!("x")),
        item("summary", json!(null), json!("Before"), json!(null), json!("Renew the certificate")),
        item("priority", json!("4"), json!("Low"), json!("2"), json!("High")),
        status("To Do", "In Progress"),
        {"field": "assignee", "fieldId": "assignee", "from": null, "to": "ned", "tmpToAccountId": "5b10:bb"},
        item("customfield_1", json!(null), json!("a"), json!(null), json!("b")),
    ]);
    let event = server.event(Provider::Jira, "", &updated(items)).await;
    assert_eq!(event.project_id, "run");
    assert_eq!(event.due_at, Said::Value(at("2026-01-15T22:59:59Z")));
    assert_eq!(
        change(&event),
        json!({
            "assignees": {"added": ["5b10:bb"]},
            "due_at": {"old": "2026-01-10T22:59:59Z", "new": "2026-01-15T22:59:59Z"},
            "labels": {"added": ["tls"], "removed": ["old"]},
            "priority": {"old": "Low", "new": "High"},
            "status": {"old": "To Do", "new": "In Progress"},
            "title": {"old": "Before", "new": "Renew the certificate"},
        })
    );
}

#[tokio::test]
async fn who_was_added_is_named_as_the_issue_names_them() {
    let mut payload = updated(json!([{"field": "assignee", "from": null, "to": "ned"}]));
    payload["issue"]["fields"]["assignee"]["name"] = json!("ned");
    assert_eq!(change(&jira(&payload).await), json!({"assignees": {"added": ["5b10:bb"]}}));
}

#[tokio::test]
async fn null_means_none() {
    let mut payload =
        updated(json!([item("duedate", json!("2026-01-15"), json!("x"), json!(null), json!(null))]));
    let fields = &mut payload["issue"]["fields"];
    for field in ["assignee", "priority", "duedate"] {
        fields[field] = json!(null);
    }
    fields["labels"] = json!([]);
    let event = jira(&payload).await;
    assert_eq!((event.assignee, event.assignees), (Said::Null, Said::Value(vec![])));
    assert_eq!((event.priority, event.due_at), (Said::Null, Said::Null));
    assert_eq!(event.labels, Said::Value(vec![]));
    assert_eq!(event.change["due_at"].new, Said::Null);
}

fn comment(name: &str) -> Value {
    json!({
        "timestamp": 1_768_000_000_000_i64,
        "webhookEvent": name,
        "comment": {
            "self": "https://acme.atlassian.net/rest/api/2/issue/10001/comment/5",
            "author": {"accountId": "5b10:aa"},
            "updateAuthor": {"accountId": "5b10:cc"},
            "created": "2026-01-09T10:00:00.000+0000",
            "updated": "2026-01-09T11:00:00.000+0000",
        },
        "issue": {"id": "10001", "self": "https://acme.atlassian.net/rest/api/2/issue/10001", "key": "OPS-7"},
    })
}

#[tokio::test]
async fn a_comment_without_fields_says_only_that_there_was_one() {
    let event = jira(&comment("comment_created")).await;
    assert_eq!(event.event_type, EventType::IssueCommented);
    assert!(event.title.is_nothing() && event.labels.is_nothing() && event.assignee.is_nothing());
    assert!(event.due_at.is_nothing() && event.state.is_nothing());
    assert_eq!(event.updated_at, Some(at("2026-01-09T11:00:00Z")));
    assert_eq!(event.actor.as_deref(), Some("5b10:cc"));
    // What was deleted was deleted when the delivery says, not when the comment was last edited.
    let event = jira(&comment("comment_deleted")).await;
    assert_eq!(event.updated_at, Some(at("2026-01-09T23:06:40Z")));
}

#[tokio::test]
async fn a_deletion_is_later_than_the_last_update() {
    let mut payload = updated(json!([]));
    payload["webhookEvent"] = json!("jira:issue_deleted");
    assert_eq!(jira(&payload).await.updated_at, Some(at("2026-01-09T23:06:40Z")));
}

#[tokio::test]
async fn data_center_says_comments_as_updates() {
    let mut payload = updated(json!([]));
    payload["comment"] = comment("")["comment"].clone();
    payload["issue_event_type_name"] = json!("issue_commented");
    assert_eq!(jira(&payload).await.event_type, EventType::IssueCommented);
    payload["issue_event_type_name"] = json!("issue_comment_edited");
    assert_eq!(jira(&payload).await.event_type, EventType::IssueUpdated);
    // An old server, which says neither: a comment that was never edited is new.
    let object = payload.as_object_mut().unwrap();
    object.remove("issue_event_type_name");
    object.remove("changelog");
    assert_eq!(jira(&payload).await.event_type, EventType::IssueUpdated);
    payload["comment"]["updated"] = payload["comment"]["created"].clone();
    assert_eq!(jira(&payload).await.event_type, EventType::IssueCommented);
}

#[tokio::test]
async fn what_is_not_an_issue_is_ignored() {
    let server = start().await;
    let mut alone = comment("comment_created");
    alone.as_object_mut().unwrap().remove("issue");
    for (payload, why) in [
        (json!({"webhookEvent": "sprint_started"}), "event_not_used"),
        (json!({"webhookEvent": "jira:version_released", "version": {}}), "event_not_used"),
        (alone, "comment_without_issue"),
    ] {
        let reply = server.deliver(Provider::Jira, "", payload.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.json()), (200, json!({ "ignored": why })));
    }
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn without_an_identity_nothing_can_be_read() {
    let server = start().await;
    let with = |pointer: &str, value: Value| {
        let mut payload = updated(json!([]));
        *payload.pointer_mut(pointer).unwrap() = value;
        payload
    };
    for payload in [
        json!({}),
        with("/webhookEvent", json!(null)),
        with("/issue", json!(null)),
        with("/issue/key", json!("OPS")),
        with("/issue/key", json!("OPS-x")),
        with("/issue/key", json!("O/../S-1")),
        with("/issue/key", json!("-1")),
        with("/issue/self", json!("file:///etc/passwd")),
        with("/issue/self", json!(null)),
    ] {
        let reply = server.deliver(Provider::Jira, "", payload.to_string().as_bytes()).await;
        assert_eq!(reply.refused(400), "unreadable", "{payload}");
    }
    assert_eq!(server.log.dead_letters().len(), 9);
    assert!(server.log.events().is_empty());
}
