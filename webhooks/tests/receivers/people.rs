//! Who did something: we, or somebody else.

use serde_json::{Value, json};
use webhooks::{Accounts, Config, Limits, Provider};

use crate::{github::opened, harness::*};

/// A Jira issue that `user` changed.
fn changed_by(user: &Value) -> Value {
    json!({
        "webhookEvent": "jira:issue_updated",
        "user": user,
        "issue": {"key": "OPS-7", "self": "https://acme.atlassian.net/rest/api/2/issue/1", "fields": {"summary": "s"}},
    })
}

#[tokio::test]
async fn what_our_own_accounts_did_is_by_us() {
    let accounts = Accounts::new(["breakdown[bot]"], ["5b10:us", "ops-bot"]);
    let server = start_with(Config { accounts, ..config(Limits::default()) }).await;
    for (login, by_us) in [("Breakdown[bot]", true), ("breakdown", false), ("5b10:us", false)] {
        let mut payload = opened();
        payload["sender"]["login"] = json!(login);
        let event = server.event(Provider::Github, "issues", &payload).await;
        assert_eq!(event.by_us, by_us, "{login}");
    }
    let mut nobody = opened();
    nobody.as_object_mut().unwrap().remove("sender");
    assert!(!server.event(Provider::Github, "issues", &nobody).await.by_us);
    for (user, by_us) in [
        (json!({"accountId": "5b10:us", "displayName": "Mia"}), true),
        (json!({"name": "ops-bot", "key": "JIRAUSER1"}), true),
        (json!({"accountId": "5b10:aa", "displayName": "5b10:us"}), false),
        (json!(null), false),
    ] {
        let event = server.event(Provider::Jira, "", &changed_by(&user)).await;
        assert_eq!(event.by_us, by_us, "{user}");
    }
    let written = server.log.records(events::topic::ISSUES)[0].value.clone().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap()["by_us"], true);
}

#[tokio::test]
async fn without_accounts_nothing_is_by_us() {
    let event = start().await.event(Provider::Github, "issues", &opened()).await;
    assert!(!event.by_us);
    assert!(serde_json::to_value(&event).unwrap().get("by_us").is_none());
}
