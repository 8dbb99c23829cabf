//! Payloads that are signed right and mean harm, or nothing.

use events::{Said, id};
use proptest::prelude::*;
use serde_json::{Value, json};
use webhooks::Provider;

use crate::{github::opened, harness::*};

fn with_title(title: &str) -> Vec<u8> {
    opened().to_string().replace("\"Login fails\"", title).into_bytes()
}

#[tokio::test]
async fn texts_that_are_not_the_json_we_read() {
    let server = start().await;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut invalid_utf8 = with_title("\"x\"");
    let at = invalid_utf8.windows(3).position(|window| window == b"\"x\"").unwrap();
    invalid_utf8[at + 1] = 0xff;
    let bodies = [
        invalid_utf8,
        with_title(&deep(200)),
        with_title("\"a\",\"title\":\"b\""),
        [opened().to_string().into_bytes(), b" {}".to_vec()].concat(),
        b"".to_vec(),
        b"\"".to_vec(),
        deep(200).into_bytes(),
        deep(100_000).into_bytes(),
        "{\"issue\":".repeat(100_000).into_bytes(),
    ];
    for body in &bodies {
        let reply = server.deliver(Provider::Github, "issues", body).await;
        assert_eq!(reply.refused(400), "unreadable");
    }
    let letters = server.log.dead_letters();
    assert_eq!(letters.len(), bodies.len());
    for (letter, body) in letters.iter().zip(&bodies) {
        assert_eq!(letter.original_sha256, id::sha256(body));
        assert_eq!(letter.original_length, body.len() as u64);
    }
    assert!(server.log.events().is_empty());
}

#[tokio::test]
async fn nul_is_stored_as_the_replacement_character() {
    let server = start().await;
    assert_eq!(server.deliver(Provider::Github, "issues", &with_title("\"a\\u0000b\"")).await.status, 202);
    assert_eq!(server.log.events()[0].title, Said::Value("a\u{FFFD}b".into()));
    let value = server.log.records("issues")[0].value.clone().unwrap();
    assert!(!String::from_utf8_lossy(&value).contains("u0000"));
}

#[tokio::test]
async fn events_stay_small_whatever_was_sent() {
    let server = start().await;
    let long = "é".repeat(4_000);
    let mut payload = opened();
    payload["action"] = json!("labeled");
    payload["label"] = json!({ "name": long });
    payload["issue"]["title"] = json!(long);
    payload["issue"]["labels"] = json!(vec![json!({ "name": long }); 1000]);
    payload["issue"]["assignees"] = json!(vec![json!({ "login": long }); 1000]);
    payload["issue"]["html_url"] = json!(format!("https://github.com/{long}"));
    payload["issue"]["state_reason"] = json!(long);
    payload["sender"]["login"] = json!(long);
    let event = server.event(Provider::Github, "issues", &payload).await;
    assert_eq!(event.title.value().unwrap().chars().count(), events::MAX_TEXT_CHARS);
    assert_eq!(event.labels.value().unwrap().len(), 100);
    let value = server.log.records("issues")[0].value.clone().unwrap();
    assert!(value.len() < 512 * 1024, "{}", value.len());
}

/// Any JSON, of the keys that are read and others.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "2026-01-15",
            "2026-01-15T10:00:00Z",
            "+262142-12-31",
            "acme/checkout",
            "OPS-7",
            "jira:issue_updated",
            "comment_created",
            "https://acme.atlassian.net/rest/api/2/issue/1",
            "labeled",
            "demilestoned",
            "milestoned",
            "edited",
            "field_added",
            "Priority",
            "Due date",
            "status",
            "labels",
            "duedate",
            "assignee",
            "done",
            "p0",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "action",
        "issue",
        "number",
        "title",
        "labels",
        "name",
        "assignee",
        "assignees",
        "login",
        "milestone",
        "due_on",
        "repository",
        "full_name",
        "html_url",
        "sender",
        "changes",
        "from",
        "issue_field",
        "issue_field_values",
        "value",
        "option",
        "issue_field_value",
        "issue_field_name",
        "state",
        "updated_at",
        "pull_request",
        "label",
        "webhookEvent",
        "timestamp",
        "user",
        "comment",
        "changelog",
        "items",
        "field",
        "fieldId",
        "fromString",
        "to",
        "toString",
        "key",
        "self",
        "fields",
        "summary",
        "priority",
        "status",
        "statusCategory",
        "duedate",
        "updated",
        "accountId",
        "other",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 200, 12, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..12)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Lays `over` upon `base`, so that most payloads have an identity and reach everything behind it.
fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(key) {
                    Some(present) if present.is_object() => overlay(present, value),
                    Some(_) if ["number", "full_name", "key", "self"].contains(&key.as_str()) => {}
                    _ => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[test]
fn no_json_brings_a_receiver_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(start());
    let jira = json!({
        "webhookEvent": "jira:issue_updated",
        "issue": {"key": "OPS-7", "self": "https://acme.atlassian.net/rest/api/2/issue/1", "fields": {}},
        "changelog": {"items": []},
    });
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..Default::default() });
    runner
        .run(&any_json(), |value| {
            let mut cases = vec![(Provider::Jira, "", value.clone())];
            for event in ["issues", "issue_comment", "milestone"] {
                cases.push((Provider::Github, event, value.clone()));
                let mut payload = opened();
                if event == "issue_comment" {
                    payload["comment"] = json!({});
                }
                overlay(&mut payload, &value);
                cases.push((Provider::Github, event, payload));
            }
            let mut payload = jira.clone();
            overlay(&mut payload, &value);
            cases.push((Provider::Jira, "", payload));
            for (provider, event, payload) in cases {
                let reply = runtime.block_on(server.deliver(provider, event, payload.to_string().as_bytes()));
                prop_assert!(matches!(reply.status, 200 | 202 | 400), "{}: {payload}", reply.status);
            }
            Ok(())
        })
        .unwrap();
    let events = server.log.events().len();
    assert!(events > 150, "many payloads laid over a real one are events, of some 1,200: {events}");
}

#[test]
fn no_bytes_bring_a_receiver_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(start());
    let good = opened().to_string().into_bytes();
    let strategy = (0..good.len(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..64));
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..Default::default() });
    runner
        .run(&strategy, |(at, byte, bytes)| {
            let mut changed = good.clone();
            changed[at] = byte;
            for body in [&changed, &bytes] {
                for provider in Provider::ALL {
                    let reply = runtime.block_on(server.deliver(provider, "issues", body));
                    prop_assert!(matches!(reply.status, 200 | 202 | 400), "{}", reply.status);
                }
            }
            Ok(())
        })
        .unwrap();
}
