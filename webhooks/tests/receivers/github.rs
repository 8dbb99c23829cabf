//! What GitHub's deliveries become.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use events::{EventType, IssueState, Said, topic};
use serde_json::{Value, json};
use webhooks::{Config, Limits, Projects, Provider};

use crate::harness::*;

/// The least that GitHub sends of an opened issue.
pub fn opened() -> Value {
    json!({
        "action": "opened",
        "issue": {
            "number": 12,
            "title": "Login fails",
            "html_url": "https://github.com/Acme/Checkout/issues/12",
            "state": "open",
            "state_reason": null,
            "labels": [{"id": 1, "name": "bug"}, {"id": 2, "name": "P1"}],
            "assignee": {"login": "Maria"},
            "assignees": [{"login": "Maria"}, {"login": "tom"}],
            "milestone": null,
            "created_at": "2026-01-10T08:00:00Z",
            "updated_at": "2026-01-10T08:00:05Z",
        },
        "repository": {"full_name": "Acme/Checkout", "html_url": "https://github.com/Acme/Checkout"},
        "sender": {"login": "Bo"},
    })
}

fn action(action: &str, extra: Value) -> Value {
    let mut payload = opened();
    payload["action"] = json!(action);
    for (key, value) in extra.as_object().unwrap() {
        payload[key] = value.clone();
    }
    payload
}

fn milestone(number: u64, due_on: Value) -> Value {
    json!({"number": number, "title": "v1", "due_on": due_on, "updated_at": "2026-01-11T00:00:00Z",
        "html_url": "https://github.com/Acme/Checkout/milestone/3"})
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn github(payload: &Value) -> events::IssueEvent {
    start().await.event(Provider::Github, "issues", payload).await
}

fn change(event: &events::IssueEvent) -> Value {
    serde_json::to_value(&event.change).unwrap()
}

#[tokio::test]
async fn an_opened_issue() {
    let server = start().await;
    let body = opened().to_string();
    let reply = server.deliver(Provider::Github, "issues", body.as_bytes()).await;
    let event = &server.log.events()[0];
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.json(),
        json!({"event_id": event.event_id, "topic": "issues", "partition": 3, "offset": 0})
    );
    assert_eq!(
        serde_json::to_value(event).unwrap(),
        json!({
            "event_id": events::id::github_event("github.com", Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"), b""),
            "project_id": "alpha",
            "source": "github",
            "type": "issue_opened",
            "issue_ref": "github:acme/checkout#12",
            "repo": "Acme/Checkout",
            "issue_number": 12,
            "title": "Login fails",
            "url": "https://github.com/Acme/Checkout/issues/12",
            "labels": ["bug", "P1"],
            "assignee": "maria",
            "assignees": ["maria", "tom"],
            "priority": "P1",
            "status": "open",
            "state": "open",
            "created_at": "2026-01-10T08:00:00Z",
            "updated_at": "2026-01-10T08:00:05Z",
            "due_at": null,
            "due_milestone": null,
            "actor": "bo",
            "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        })
    );
    let record = &server.log.records(topic::ISSUES)[0];
    assert_eq!(record.key.as_ref(), b"alpha");
    assert_eq!(record.partition, None);
    let header = |name: &str| record.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    assert_eq!(header("payload_hash"), Some(events::id::payload_hash(body.as_bytes())));
    assert_eq!(header("ce_type").as_deref(), Some("breakdown.issue_opened"));
    assert_eq!(header("ce_source").as_deref(), Some("/github/Acme/Checkout"));
    assert!(header("traceparent").is_some());
}

#[tokio::test]
async fn a_redelivery_has_the_same_event_id_and_another_delivery_another() {
    let server = start().await;
    let body = opened().to_string();
    let headers = signed(Provider::Github, "issues", body.as_bytes());
    let id = |reply: Reply| reply.json()["event_id"].as_str().unwrap().to_owned();
    let first = id(server.post("/github/issues", &headers, body.as_bytes()).await);
    assert_eq!(id(server.post("/github/issues", &headers, body.as_bytes()).await), first);
    let other = with(&headers, "x-github-delivery", Some("another"));
    assert_ne!(id(server.post("/github/issues", &other, body.as_bytes()).await), first);
    let none = with(&headers, "x-github-delivery", None);
    let by_body = id(server.post("/github/issues", &none, body.as_bytes()).await);
    assert_eq!(by_body, events::id::github_event("github.com", None, body.as_bytes()));
}

#[tokio::test]
async fn githubs_form_encoding() {
    let server = start().await;
    let mut payload = opened();
    payload["issue"]["title"] = json!("50 % + more & ünïcode");
    let encoded: String = payload.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = format!("payload={encoded}");
    let form = Some("application/x-www-form-urlencoded");
    let headers = with(&signed(Provider::Github, "issues", body.as_bytes()), "content-type", form);
    assert_eq!(server.post("/github/issues", &headers, body.as_bytes()).await.status, 202);
    assert_eq!(server.log.events()[0].title, Said::Value("50 % + more & ünïcode".into()));
}

#[tokio::test]
async fn actions_become_types() {
    let server = start().await;
    for (action_name, expected) in [
        ("opened", EventType::IssueOpened),
        ("closed", EventType::IssueClosed),
        ("reopened", EventType::IssueReopened),
        ("deleted", EventType::IssueDeleted),
        ("transferred", EventType::IssueDeleted),
        ("edited", EventType::IssueUpdated),
        ("pinned", EventType::IssueUpdated),
        ("invented_tomorrow", EventType::IssueUpdated),
    ] {
        let event = server.event(Provider::Github, "issues", &action(action_name, json!({}))).await;
        assert_eq!(event.event_type, expected, "{action_name}");
    }
    for (action_name, expected) in [
        ("created", EventType::IssueCommented),
        ("edited", EventType::IssueUpdated),
        ("deleted", EventType::IssueUpdated),
    ] {
        let payload = action(action_name, json!({"comment": {"id": 1, "body": "hi"}}));
        let event = server.event(Provider::Github, "issue_comment", &payload).await;
        assert_eq!(event.event_type, expected, "{action_name}");
        assert_eq!(event.title, Said::Value("Login fails".into()));
    }
}

#[tokio::test]
async fn what_is_not_an_issue_is_ignored() {
    let server = start().await;
    let mut pull = opened();
    pull["issue"]["pull_request"] = json!({"url": "https://api.github.com/repos/Acme/Checkout/pulls/12"});
    let mut pull_comment = pull.clone();
    pull_comment["comment"] = json!({"id": 1});
    let mut renamed = action(
        "edited",
        json!({"milestone": milestone(3, json!(null)), "changes": {"title": {"from": "v0"}}}),
    );
    let mut created = action("created", json!({"milestone": milestone(3, json!("2026-03-01T08:00:00Z"))}));
    for of_milestone in [&mut renamed, &mut created] {
        of_milestone.as_object_mut().unwrap().remove("issue");
    }
    for (event, payload, why) in [
        ("ping", json!({"zen": "x"}), "ping"),
        ("pull_request", json!({}), "pull_request"),
        ("push", json!({}), "event_not_used"),
        ("issue_dependencies", json!({}), "event_not_used"),
        ("issues", pull, "pull_request"),
        ("issue_comment", pull_comment, "pull_request"),
        ("milestone", renamed, "milestone_due_date_not_moved"),
        ("milestone", created, "milestone_due_date_not_moved"),
    ] {
        let reply = server.deliver(Provider::Github, event, payload.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.json()), (200, json!({ "ignored": why })), "{event}");
    }
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn a_closed_issue_says_why() {
    let mut payload = action("closed", json!({}));
    payload["issue"]["state"] = json!("closed");
    payload["issue"]["state_reason"] = json!("not_planned");
    let event = github(&payload).await;
    assert_eq!(event.state, Said::Value(IssueState::Closed));
    assert_eq!(event.status, Said::Value("not_planned".into()));
    assert_eq!(change(&event), json!({"state": {"old": "open", "new": "closed"}}));
}

#[tokio::test]
async fn what_changed() {
    let server = start().await;
    for (payload, expected) in [
        (action("labeled", json!({"label": {"name": "P1"}})), json!({"labels": {"added": ["P1"]}})),
        (action("unlabeled", json!({"label": {"name": "UX"}})), json!({"labels": {"removed": ["UX"]}})),
        (action("assigned", json!({"assignee": {"login": "Tom"}})), json!({"assignees": {"added": ["tom"]}})),
        (
            action("unassigned", json!({"assignee": {"login": "Al"}})),
            json!({"assignees": {"removed": ["al"]}}),
        ),
        (action("unassigned", json!({"assignee": null})), json!({})),
        (
            action("edited", json!({"changes": {"title": {"from": "Log in"}, "body": {"from": "secret"}}})),
            json!({"title": {"old": "Log in", "new": "Login fails"}}),
        ),
    ] {
        let event = server.event(Provider::Github, "issues", &payload).await;
        assert_eq!(change(&event), expected, "{}", payload["action"]);
    }
}

#[tokio::test]
async fn a_milestone_gives_the_due_date_and_takes_it_away() {
    let server = start().await;
    let mut payload = action("milestoned", json!({"milestone": milestone(3, json!("2026-02-20T08:00:00Z"))}));
    payload["issue"]["milestone"] = payload["milestone"].clone();
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!(event.due_at, Said::Value(at("2026-02-20T23:59:59Z")));
    assert_eq!(event.due_milestone, Said::Value(3));
    assert_eq!(
        change(&event),
        json!({"due_milestone": {"new": 3}, "due_at": {"new": "2026-02-20T23:59:59Z"}})
    );

    // Some payloads still show the milestone that was just removed.
    let expected = json!({
        "due_milestone": {"old": 3, "new": null},
        "due_at": {"old": "2026-02-20T23:59:59Z", "new": null},
    });
    for shown in [json!(null), payload["milestone"].clone()] {
        payload["action"] = json!("demilestoned");
        payload["issue"]["milestone"] = shown;
        let event = server.event(Provider::Github, "issues", &payload).await;
        assert_eq!((event.due_at.clone(), event.due_milestone.clone()), (Said::Null, Said::Null));
        assert_eq!(change(&event), expected);
    }

    // A milestone without a date is followed, since it may get one.
    payload["action"] = json!("milestoned");
    payload["milestone"] = milestone(4, json!(null));
    payload["issue"]["milestone"] = payload["milestone"].clone();
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!((event.due_at, event.due_milestone), (Said::Null, Said::Value(4)));
}

#[tokio::test]
async fn a_milestones_moved_date_is_an_event_of_its_own() {
    let payload = json!({
        "action": "edited",
        "changes": {"due_on": {"from": "2026-02-20T08:00:00Z"}},
        "milestone": milestone(3, json!("2026-02-27T08:00:00Z")),
        "repository": {"full_name": "Acme/Checkout"},
        "sender": {"login": "Bo"},
    });
    let event = start().await.event(Provider::Github, "milestone", &payload).await;
    assert_eq!(event.event_type, EventType::MilestoneUpdated);
    assert_eq!(event.issue_ref, "github:acme/checkout/milestone/3");
    assert_eq!(event.due_at, Said::Value(at("2026-02-27T23:59:59Z")));
    assert_eq!(event.due_milestone, Said::Value(3));
    assert_eq!(event.updated_at, Some(at("2026-01-11T00:00:00Z")));
    assert_eq!(event.title, Said::Nothing);
    assert_eq!(
        change(&event),
        json!({"due_at": {"old": "2026-02-20T23:59:59Z", "new": "2026-02-27T23:59:59Z"}})
    );
}

#[tokio::test]
async fn projects_and_their_days() {
    let mut projects = Projects::new("alpha");
    projects.map_repository("acme/checkout", "shop");
    projects.set_time_zone("shop", Tz::America__Los_Angeles);
    let server = start_with(Config { projects, ..config(Limits::default()) }).await;
    let mut payload = opened();
    payload["issue"]["milestone"] = milestone(3, json!("2026-02-20T08:00:00Z"));
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!(event.project_id, "shop");
    assert_eq!(event.due_at, Said::Value(at("2026-02-21T07:59:59Z")));
    assert_eq!(server.log.records(topic::ISSUES)[0].key.as_ref(), b"shop");
}

#[tokio::test]
async fn issue_fields_come_before_labels_and_milestones() {
    let mut payload = opened();
    payload["issue"]["milestone"] = milestone(3, json!("2026-02-20T08:00:00Z"));
    payload["issue"]["issue_field_values"] = json!([
        {"issue_field_id": 1, "issue_field_name": "Effort", "data_type": "number", "value": 3},
        {"issue_field_id": 2, "issue_field_name": "Priority", "data_type": "single_select", "value": "Urgent",
            "single_select_option": {"id": 9, "name": "Urgent", "color": "red"}},
        {"issue_field_id": 3, "issue_field_name": "Target date", "data_type": "date", "value": "2026-04-01"},
        {"issue_field_id": 4, "issue_field_name": "Due date", "data_type": "date", "value": "2026-03-01"},
    ]);
    let event = github(&payload).await;
    assert_eq!(event.priority, Said::Value("Urgent".into()));
    assert_eq!(event.due_at, Said::Value(at("2026-03-01T23:59:59Z")));
    assert_eq!(event.due_milestone, Said::Null);
}

#[tokio::test]
async fn an_issue_field_that_was_set_or_cleared() {
    let server = start().await;
    let payload = action(
        "field_added",
        json!({
            "issue_field": {"id": 2, "name": "Priority", "field_type": "single_select"},
            "issue_field_value": {"id": 5, "value_id": 9, "option": {"id": 9, "name": "Urgent"}},
            "changes": {"issue_field_value": {"from": {"id": 5, "option": {"id": 8, "name": "Low"}}}},
        }),
    );
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!(event.priority, Said::Value("Urgent".into()));
    assert_eq!(change(&event), json!({"priority": {"old": "Low", "new": "Urgent"}}));

    let mut payload = action(
        "field_removed",
        json!({
            "issue_field": {"id": 4, "name": "Due date", "field_type": "date"},
            "issue_field_value": {"id": 6, "value": "2026-03-01"},
        }),
    );
    payload["issue"]["issue_field_values"] = json!([]);
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!(event.due_at, Said::Null);
    assert_eq!(change(&event), json!({"due_at": {"old": "2026-03-01T23:59:59Z", "new": null}}));
}

/// The event that clears a priority or a due date is about where it came from, or lists the fields.
#[tokio::test]
async fn what_a_field_set_is_not_cleared_by_an_event_about_something_else() {
    let server = start().await;
    let payload = |name: &str, extra: Value| {
        let mut payload = action(name, extra);
        payload["issue"]["labels"] = json!([{"name": "bug"}]);
        payload
    };
    let field =
        |name: &str| json!({"issue_field": {"name": name}, "issue_field_value": {"value": "2026-03-01"}});
    let (kept, none) = (Said::Nothing, Said::Null);
    for (payload, priority, due) in [
        (payload("labeled", json!({"label": {"name": "bug"}})), &kept, &kept),
        (payload("unlabeled", json!({"label": {"name": "ux"}})), &kept, &kept),
        (payload("assigned", json!({"assignee": {"login": "tom"}})), &kept, &kept),
        (payload("closed", json!({})), &kept, &kept),
        (payload("opened", json!({})), &none, &none),
        (payload("unlabeled", json!({"label": {"name": "p0"}})), &none, &kept),
        (payload("demilestoned", json!({"milestone": milestone(3, json!(null))})), &kept, &none),
        (payload("field_removed", field("Priority")), &none, &kept),
        (payload("field_removed", field("Due date")), &kept, &none),
        (payload("field_removed", field("Effort")), &kept, &kept),
        (payload("field_added", field("Effort")), &kept, &kept),
    ] {
        let event = server.event(Provider::Github, "issues", &payload).await;
        assert_eq!(&event.priority, priority, "{payload}");
        assert_eq!(event.due_at.is_nothing(), due.is_nothing(), "{payload}");
        // The milestone is said in any case.
        assert_eq!(event.due_milestone, Said::Null);

        let mut listed = payload;
        listed["issue"]["issue_field_values"] = json!([]);
        let event = server.event(Provider::Github, "issues", &listed).await;
        assert_eq!((event.priority, event.due_at), (Said::Null, Said::Null), "{listed}");
    }

    let mut commented = payload("created", json!({"comment": {"id": 1}}));
    let event = server.event(Provider::Github, "issue_comment", &commented).await;
    assert!(event.priority.is_nothing() && event.due_at.is_nothing());
    commented["issue"]["milestone"] = milestone(3, json!(null));
    let event = server.event(Provider::Github, "issue_comment", &commented).await;
    assert_eq!((event.due_at, event.due_milestone), (Said::Nothing, Said::Value(3)));
    // What labels and the milestone give is said always.
    commented["issue"]["milestone"] = milestone(3, json!("2026-02-20T08:00:00Z"));
    commented["issue"]["labels"] = json!([{"name": "p2"}]);
    let event = server.event(Provider::Github, "issue_comment", &commented).await;
    assert_eq!(event.priority, Said::Value("p2".into()));
    assert_eq!(event.due_at, Said::Value(at("2026-02-20T23:59:59Z")));
}

#[tokio::test]
async fn absent_is_not_said_and_odd_shapes_are_not_said_either() {
    let least = json!({"issue": {"number": 12}, "repository": {"full_name": "acme/checkout"}});
    let event = github(&least).await;
    assert_eq!(event.event_type, EventType::IssueUpdated);
    for said in [
        event.labels.is_nothing(),
        event.assignee.is_nothing(),
        event.due_at.is_nothing(),
        event.title.is_nothing(),
    ] {
        assert!(said);
    }
    assert!(event.priority.is_nothing() && event.state.is_nothing() && event.status.is_nothing());

    let odd = json!({
        "action": 5,
        "issue": {"number": 12, "title": {"a": 1}, "labels": "bug", "assignees": {"login": "x"}, "assignee": ["x"],
            "milestone": "v1", "created_at": "yesterday", "updated_at": 7, "html_url": "javascript:alert(1)",
            "state": true, "issue_field_values": [1, {"issue_field_name": "Priority", "value": {"x": 1}}]},
        "repository": {"full_name": "acme/checkout"}, "sender": "bo", "label": 1, "changes": [],
    });
    let event = github(&odd).await;
    assert!(event.labels.is_nothing() && event.assignee.is_nothing() && event.due_at.is_nothing());
    assert!(event.title.is_nothing() && event.url.is_nothing() && event.state.is_nothing());
    assert_eq!((event.created_at, event.updated_at, event.actor), (None, None, None));
}

#[tokio::test]
async fn without_an_identity_nothing_can_be_read() {
    let server = start().await;
    let without = |pointer: &str, value: Value| {
        let mut payload = opened();
        *payload.pointer_mut(pointer).unwrap() = value;
        payload
    };
    for payload in [
        json!({}),
        json!([]),
        json!(null),
        without("/issue", json!(null)),
        without("/issue/number", json!("12")),
        without("/issue/number", json!(-1)),
        without("/repository", json!(null)),
        without("/repository/full_name", json!("checkout")),
        without("/repository/full_name", json!("a/b/c")),
        without("/repository/full_name", json!("a/b c")),
        without("/repository/full_name", json!("a/b#1")),
    ] {
        let reply = server.deliver(Provider::Github, "issues", payload.to_string().as_bytes()).await;
        assert_eq!(reply.refused(400), "unreadable", "{payload}");
    }
    let body = opened().to_string();
    let mut headers = with(&signed(Provider::Github, "issues", body.as_bytes()), "x-github-event", None);
    assert_eq!(server.post("/github/issues", &headers, body.as_bytes()).await.refused(400), "unreadable");
    headers.extend([("x-github-event".into(), "ping".into()), ("x-github-event".into(), "issues".into())]);
    assert_eq!(server.post("/github/issues", &headers, body.as_bytes()).await.refused(400), "unreadable");
    assert_eq!(server.log.dead_letters().len(), 13);
    assert!(server.log.events().is_empty());
}

#[tokio::test]
async fn what_is_signed_is_not_reread_as_something_else() {
    let receiver = start().await;
    let refused = async |event: &str, payload: Value| {
        let body = serde_json::to_vec(&payload).unwrap();
        receiver.deliver(Provider::Github, event, &body).await.refused(400);
    };
    // The event's name is a header that nobody signed.
    refused("issues", action("deleted", json!({"comment": {"id": 1}}))).await;
    refused("issues", action("deleted", json!({"sub_issue": {"id": 1}}))).await;
    refused("issue_comment", opened()).await;
    refused("milestone", action("edited", json!({"milestone": {"number": 1}, "changes": {"due_on": {}}})))
        .await;
    // Nor is the content type: a title can hold what looks like a form's field.
    let mut payload = opened();
    payload["issue"]["title"] = json!("x&payload=%7B%22action%22%3A%22opened%22%7D&z=");
    let body = serde_json::to_vec(&payload).unwrap();
    let form = Some("application/x-www-form-urlencoded");
    let headers = with(&signed(Provider::Github, "issues", &body), "content-type", form);
    receiver.post(Provider::Github.path(), &headers, &body).await.refused(400);
    assert!(receiver.log.events().is_empty());
}
