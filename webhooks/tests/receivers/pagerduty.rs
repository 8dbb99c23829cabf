//! What PagerDuty's deliveries become. The payload is PagerDuty's own example of an incident's event, with a key of ours.

use std::path::Path;

use events::{AcknowledgedThrough, EventType, Said, Source, id};
use rstest::rstest;
use serde_json::{Value, json};
use webhooks::{Config, Limits, Projects, Provider, Secrets, sign};

use crate::harness::*;

fn acknowledged() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../samples/deliveries/pagerduty-incident-acknowledged.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn of_incident(key: &str) -> Value {
    let mut payload = acknowledged();
    payload["event"]["data"]["incident_key"] = json!(key);
    payload
}

async fn deliver(server: &Receiver, payload: &Value) -> Reply {
    server.deliver(Provider::Pagerduty, "", payload.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_person_acknowledged_the_page() {
    let mut projects = Projects::new("alpha");
    projects.map_repository("acme/checkout", "shop");
    let server = start_with(Config { projects, ..config(Limits::default()) }).await;
    let event = server.event(Provider::Pagerduty, "", &acknowledged()).await;
    let given = "5ac64822-4adc-4fda-ade0-410becf0de4f";
    assert_eq!(event.event_id, id::pagerduty_event(Some(given), b""));
    assert_eq!(
        (event.event_type, event.through),
        (EventType::IssueAcknowledged, Some(AcknowledgedThrough::Pagerduty))
    );
    assert_eq!((event.source, event.issue_ref.as_str()), (Source::Github, "github:acme/checkout#101"));
    assert_eq!((event.project_id.as_str(), event.issue_number), ("shop", Some(101)));
    assert_eq!(event.actor.as_deref(), Some("Tenex Engineer"));
    assert_eq!(event.updated_at, Some("2026-02-02T09:33:22.169Z".parse().unwrap()));
    assert_eq!(event.delivery_id.as_deref(), Some(given));
    // Of the issue it says nothing else.
    assert_eq!((event.title, event.url, event.state), (Said::Nothing, Said::Nothing, Said::Nothing));
    let headers = &server.log.records(events::topic::ISSUES)[0].headers;
    assert!(headers.contains(&("ce_source".into(), "/github/acme/checkout".into())), "{headers:?}");
}

#[tokio::test]
async fn the_page_of_a_jira_issue() {
    let mut projects = Projects::new("alpha");
    projects.map_jira("OPS", "run");
    let server = start_with(Config { projects, ..config(Limits::default()) }).await;
    let event = server.event(Provider::Pagerduty, "", &of_incident("jira:acme.atlassian.net/OPS-7")).await;
    assert_eq!((event.source, event.issue_key.as_deref()), (Source::Jira, Some("OPS-7")));
    assert_eq!(
        (event.project_id.as_str(), event.issue_ref.as_str()),
        ("run", "jira:acme.atlassian.net/OPS-7")
    );
}

#[tokio::test]
async fn the_same_event_again_is_the_same() {
    let server = start().await;
    let first = deliver(&server, &acknowledged()).await.json();
    let again = deliver(&server, &acknowledged()).await.json();
    assert_eq!(first["event_id"], again["event_id"]);
    let mut other = acknowledged();
    other["event"]["id"] = json!("01BWHFHJBZ");
    assert_ne!(deliver(&server, &other).await.json()["event_id"], first["event_id"]);
    // Without an id of the event, that of the delivery; without either, the payload's.
    other["event"].as_object_mut().unwrap().remove("id");
    let of_delivery = deliver(&server, &other).await.json()["event_id"].clone();
    let body = other.to_string();
    let nameless = with(&signed(Provider::Pagerduty, "", body.as_bytes()), "x-webhook-id", None);
    let of_body = server.post(Provider::Pagerduty.path(), &nameless, body.as_bytes()).await;
    assert_ne!(of_body.json()["event_id"], of_delivery);
}

#[rstest]
#[case::ping("pagey.ping", "ping")]
#[case::another_event("incident.priority_updated", "event_not_used")]
#[case::a_service("service.updated", "event_not_used")]
#[tokio::test]
async fn events_that_are_not_used(#[case] kind: &str, #[case] why: &str) {
    let server = start().await;
    let mut payload = acknowledged();
    payload["event"]["event_type"] = json!(kind);
    payload["event"]["data"] = json!({"message": "Hello from your friend Pagey!", "type": "ping"});
    let reply = deliver(&server, &payload).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"ignored": why})));
    assert_eq!(server.log.len(), 0);
}

#[rstest]
#[case::of_somebody_else(json!("d3640fbd41094207a1c11e58e46b1662"), json!("user_reference"), "incident_not_ours")]
#[case::without_key(json!(null), json!("user_reference"), "incident_not_ours")]
#[case::nearly_ours(json!("github:acme/checkout#0101"), json!("user_reference"), "incident_not_ours")]
#[case::by_our_own_events(json!("github:acme/checkout#101"), json!("inbound_integration_reference"), "not_by_a_person")]
#[case::by_a_service(json!("github:acme/checkout#101"), json!("service_reference"), "not_by_a_person")]
#[tokio::test]
async fn what_is_no_answer_of_a_person_to_us(#[case] key: Value, #[case] agent: Value, #[case] why: &str) {
    let server = start().await;
    let mut payload = acknowledged();
    payload["event"]["data"]["incident_key"] = key;
    payload["event"]["agent"]["type"] = agent;
    assert_eq!(deliver(&server, &payload).await.json(), json!({"ignored": why}));
    payload["event"]["agent"] = json!(null);
    assert_eq!(deliver(&server, &payload).await.status, 200);
    assert_eq!(server.log.len(), 0);
}

#[rstest]
#[case::no_object("[]")]
#[case::no_event("{}")]
#[case::no_type(r#"{"event": {"id": "1"}}"#)]
#[case::no_data(r#"{"event": {"event_type": "incident.acknowledged"}}"#)]
#[case::no_json("{")]
#[tokio::test]
async fn what_is_signed_right_and_cannot_be_read_is_a_dead_letter(#[case] body: &str) {
    let server = start().await;
    let reply = server.deliver(Provider::Pagerduty, "", body.as_bytes()).await;
    assert_eq!(reply.refused(400), "unreadable");
    assert_eq!(server.log.dead_letters().len(), 1);
}

#[tokio::test]
async fn any_of_its_signatures_may_be_right_and_none_else() {
    let server = start().await;
    let body = acknowledged().to_string();
    let good = signed(Provider::Pagerduty, "", body.as_bytes());
    let right = &good.iter().find(|(name, _)| name == "x-pagerduty-signature").unwrap().1;
    let other = Secrets::parse("another").unwrap();
    let wrong = sign(Provider::Pagerduty, &other, "", "d", body.as_bytes());
    let wrong = &wrong.iter().find(|(name, _)| name == "x-pagerduty-signature").unwrap().1;
    let post = async |header: Option<&str>| {
        let headers = with(&good, "x-pagerduty-signature", header);
        server.post(Provider::Pagerduty.path(), &headers, body.as_bytes()).await
    };
    for header in [format!("{wrong},{right}"), format!("{right},{wrong}"), format!("v2=later,{right}")] {
        assert_eq!(post(Some(&header)).await.status, 202, "{header}");
    }
    let before = server.log.len();
    assert_eq!(post(Some(wrong)).await.refused(401), "signature_wrong");
    assert_eq!(post(Some(&format!("{wrong},{wrong}"))).await.refused(401), "signature_wrong");
    assert_eq!(post(None).await.refused(401), "signature_missing");
    for malformed in [right.replace("v1=", "v2="), right.replace("v1=", "sha256="), format!("{right},")] {
        assert_eq!(post(Some(&malformed)).await.refused(401), "signature_malformed", "{malformed}");
    }
    assert_eq!(server.log.len(), before);
    let altered = body.replace("Tenex", "Other");
    let reply = server.post(Provider::Pagerduty.path(), &good, altered.as_bytes()).await;
    assert_eq!(reply.refused(401), "signature_wrong");
}

#[tokio::test]
async fn without_a_secret_there_is_no_receiver() {
    let server = start_with(Config { pagerduty: None, ..config(Limits::default()) }).await;
    assert_eq!(deliver(&server, &acknowledged()).await.refused(404), "not_found");
}
