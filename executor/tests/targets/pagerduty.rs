use serde_json::{Value, json};

use super::{
    HOSTILE, action, attempt, clock,
    fake::{
        Fault, inert,
        pagerduty::{PLATFORM, Pagerduty, TRIAGE},
    },
    later, open, reference, rejected,
};

fn said(pagerduty: &Pagerduty) -> Value {
    json!({ "kind": "pagerduty", "base": pagerduty.base, "services": {
        "platform": { "env": "PD_PLATFORM" }, "triage": { "env": "PD_TRIAGE" },
    } })
}

#[tokio::test]
async fn an_issue_is_one_alert_from_trigger_to_resolve() {
    let pagerduty = Pagerduty::start().await;
    let target = open("pd", said(&pagerduty), &clock());
    assert_eq!(reference(&attempt(&target, &action("a-1", "escalate_owner")).await), Some("github:o/r#1"));
    // It is escalated again, some hours later: the same alert.
    attempt(&target, &action("a-2", "escalate_owner")).await;
    let [((key, dedup), alert)] = &pagerduty.alerts()[..] else { panic!() };
    assert_eq!((key.as_str(), dedup.as_str()), (TRIAGE, "github:o/r#1"));
    assert_eq!((alert.status, alert.triggers), ("triggered", 2));
    let payload = &alert.last["payload"];
    assert_eq!(payload["summary"], "\"Login fails\" · team:triage is needed now");
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("github:o/r#1")));
    assert_eq!(payload["custom_details"]["why"], "New issue needs triage");
    assert_eq!(
        alert.last["links"],
        json!([{ "href": "https://github.com/o/r/issues/1", "text": "the issue" }])
    );

    for (kind, status) in [("acknowledge", "acknowledged"), ("resolve", "resolved"), ("resolve", "resolved")]
    {
        assert!(reference(&attempt(&target, &action("a-3", kind)).await).is_some());
        assert_eq!(pagerduty.alerts()[0].1.status, status);
    }
    assert_eq!(pagerduty.alerts().len(), 1);
}

#[tokio::test]
async fn severity_follows_the_priority_and_else_the_risk() {
    let pagerduty = Pagerduty::start().await;
    let target = open("pd", said(&pagerduty), &clock());
    for (kind, priority, severity) in [
        ("escalate_owner", Value::Null, "critical"),
        ("schedule_unblocker", Value::Null, "error"),
        ("assign_owner", Value::Null, "warning"),
        ("post_nudge", Value::Null, "info"),
        ("post_nudge", json!("P0"), "critical"),
        ("escalate_owner", json!("High"), "error"),
        ("escalate_owner", json!("Lowest"), "info"),
        ("escalate_owner", json!("no such"), "critical"),
    ] {
        let mut action = action("a-1", kind);
        action["params"]["priority"] = priority;
        attempt(&target, &action).await;
        assert_eq!(pagerduty.alerts()[0].1.last["payload"]["severity"], severity, "{kind}");
    }
}

#[tokio::test]
async fn who_is_paged_has_a_service_that_is_configured() {
    let pagerduty = Pagerduty::start().await;
    let target = open("pd", said(&pagerduty), &clock());
    let mut to_person = action("a-1", "escalate_owner");
    to_person["params"]["to"]["team"] = Value::Null;
    attempt(&target, &to_person).await;
    assert_eq!(pagerduty.alerts()[0].0.0, PLATFORM);
    let mut unknown = action("a-2", "escalate_owner");
    unknown["params"]["to"]["team"]["pagerduty"] = json!("moon");
    assert!(rejected(attempt(&target, &unknown).await).contains("none of those in the configuration"));
    let mut nobody = action("a-3", "escalate_owner");
    nobody["params"]["to"] = json!({ "people": [{ "name": "eve" }] });
    assert!(rejected(attempt(&target, &nobody).await).contains("service is not set"));
    let mut with_service = said(&pagerduty);
    with_service["service"] = json!("triage");
    attempt(&open("pd", with_service, &clock()), &nobody).await;
    assert_eq!(pagerduty.alerts()[1].0.0, TRIAGE);
    let mut no_issue = action("a-4", "escalate_owner");
    no_issue["issue_ref"] = Value::Null;
    assert!(rejected(attempt(&target, &no_issue).await).contains("names no issue"));
}

#[tokio::test]
async fn what_is_not_valid_stays_so_and_too_much_passes() {
    let pagerduty = Pagerduty::start().await;
    let target = open("pd", said(&pagerduty), &clock());
    let page = action("a-1", "escalate_owner");
    pagerduty.way.fault("enqueue", Fault::status(429));
    let (after, reason) = later(attempt(&target, &page).await);
    assert!(after.is_none() && reason.starts_with("pd answered 429 ("), "{reason}");
    pagerduty.state.lock().unwrap().revoked = true;
    assert!(rejected(attempt(&target, &page).await).contains("routing key"));
}

#[tokio::test]
async fn text_is_data_and_bounded() {
    let pagerduty = Pagerduty::start().await;
    let target = open("pd", said(&pagerduty), &clock());
    let mut hostile = action("a-1\u{2067}\n", "escalate_owner");
    hostile["project_id"] = json!("alpha\u{202e}");
    hostile["rule"] = json!("rule\u{2066}\r");
    hostile["target"] = json!("team:tri\u{202b}age");
    hostile["params"]["title"] = json!(HOSTILE.repeat(1000));
    hostile["rationale"] = json!(HOSTILE.repeat(1000));
    hostile["source_ref"] = json!("javascript:alert(1)");
    hostile["issue_ref"] = json!(format!("github:o/r\u{202e}\n{}#1", "x".repeat(300)));
    assert!(reference(&attempt(&target, &hostile).await).is_some_and(|key| key.len() == 64));
    let event = pagerduty.alerts()[0].1.last.clone();
    assert!(event.to_string().len() < 8 * 1024 && event.get("links").is_none());
    for key in ["summary", "source", "component", "group", "class"] {
        inert(event["payload"][key].as_str().unwrap());
    }
    event["payload"]["custom_details"]
        .as_object()
        .unwrap()
        .values()
        .for_each(|text| inert(text.as_str().unwrap()));
    // Short enough to be the alert's key as it is, were it not for what turns its letters round.
    hostile["issue_ref"] = json!("github:o/r\u{202e}#1");
    let turned = attempt(&target, &hostile).await;
    assert!(reference(&turned).is_some_and(|key| key.len() == 64));
    inert(&pagerduty.alerts()[1].0.1);
}
