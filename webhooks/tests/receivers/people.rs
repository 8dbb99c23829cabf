//! Who did something: we, or somebody else; and whether that is an answer.

use eventlog::{LogError, ManualClock};
use events::{AcknowledgedThrough, EventType, NoAnswer, topic};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use webhooks::{Accounts, Answers, Config, Limits, Provider, Spool, SpoolLimits};

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
    let written = server.log.records(topic::ISSUES)[0].value.clone().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap()["by_us"], true);
}

#[tokio::test]
async fn without_accounts_nothing_is_by_us() {
    let event = start().await.event(Provider::Github, "issues", &opened()).await;
    assert!(!event.by_us);
    assert!(serde_json::to_value(&event).unwrap().get("by_us").is_none());
}

fn person(login: &str) -> Value {
    json!({"login": login, "type": "User"})
}

/// A new comment at GitHub.
fn comment(body: &str, sender: Value) -> Value {
    let mut payload = opened();
    payload["action"] = json!("created");
    payload["comment"] = json!({"id": 1, "body": body, "user": sender, "author_association": "MEMBER"});
    payload["sender"] = sender;
    payload
}

/// Through what the delivery is an answer, and the event of which it is one.
async fn answered(
    server: &Receiver,
    provider: Provider,
    event: &str,
    payload: &Value,
) -> Option<AcknowledgedThrough> {
    let before = server.log.len();
    let reply = server.deliver(provider, event, payload.to_string().as_bytes()).await;
    assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
    let events = server.log.events().split_off(before);
    assert_eq!(reply.json()["event_id"], events[0].event_id);
    assert_ne!(events[0].event_type, EventType::IssueAcknowledged);
    assert!(events[0].through.is_none());
    let answer = events.get(1)?;
    assert_eq!((events.len(), &events[0].no_answer), (2, &None));
    assert_eq!(*answer, events[0].acknowledgement(answer.through.clone().unwrap()));
    answer.through.clone()
}

/// In a public repository everybody may comment.
#[tokio::test]
async fn a_strangers_comment_is_no_answer_unless_the_issue_is_theirs() {
    let server = start().await;
    for (association, who, answers) in [
        (json!("NONE"), "kim", false),
        (json!("CONTRIBUTOR"), "kim", false),
        (json!("member"), "kim", false),
        (json!(null), "kim", false),
        (json!("NONE"), "Maria", true),
        (json!("COLLABORATOR"), "kim", true),
        (json!("OWNER"), "kim", true),
    ] {
        let mut said = comment("/ack", person(who));
        said["comment"]["author_association"] = association.clone();
        let through = answered(&server, Provider::Github, "issue_comment", &said).await;
        assert_eq!(through.is_some(), answers, "{association} {who}");
    }
}

#[tokio::test]
async fn a_comment_that_is_the_agreed_word_is_an_answer() {
    let server = start().await;
    let said = comment("/ack\r\n\r\nI am on it.", person("Kim"));
    let through = answered(&server, Provider::Github, "issue_comment", &said).await;
    assert_eq!(through, Some(AcknowledgedThrough::Comment));
    let events = server.log.events();
    let answer = &events[1];
    assert_eq!((answer.event_type.as_str(), answer.actor.as_deref()), ("issue_acknowledged", Some("kim")));
    assert_eq!((&answer.issue_ref, &answer.project_id), (&events[0].issue_ref, &events[0].project_id));
    assert_eq!((answer.updated_at, &answer.delivery_id), (events[0].updated_at, &events[0].delivery_id));
    assert!(answer.event_id.starts_with("gh-") && answer.event_id != events[0].event_id);
    assert!(answer.title.is_nothing() && answer.state.is_nothing() && answer.change.is_empty());
    // The hash that tells a replay under another id is one of its own.
    let hash = |place: usize| {
        let records = server.log.records(topic::ISSUES);
        records[place].headers.iter().find(|(name, _)| name == "payload_hash").unwrap().1.clone()
    };
    assert_ne!(hash(0), hash(1));
    // The same delivery again has the same two; under another id two others, with the same two hashes.
    answered(&server, Provider::Github, "issue_comment", &said).await;
    let body = said.to_string();
    let headers = with(
        &signed(Provider::Github, "issue_comment", body.as_bytes()),
        "x-github-delivery",
        Some("another"),
    );
    assert_eq!(server.post(Provider::Github.path(), &headers, body.as_bytes()).await.status, 202);
    let events = server.log.events();
    assert_eq!(events[..2], events[2..4]);
    assert!(events[4].event_id != events[0].event_id && events[5].event_id != events[1].event_id);
    assert_eq!((hash(4), hash(5)), (hash(0), hash(1)));
}

#[tokio::test]
async fn which_words_are_agreed_is_configured() {
    let answers = Answers::new(["👍", "on it"]);
    let server = start_with(Config { answers, ..config(Limits::default()) }).await;
    for (body, answers) in [("👍", true), ("On it\n", true), ("/ack", false), ("on it!", false)] {
        let through =
            answered(&server, Provider::Github, "issue_comment", &comment(body, person("kim"))).await;
        assert_eq!(through.is_some(), answers, "{body}");
    }
}

#[tokio::test]
async fn what_is_no_answer() {
    let accounts = Accounts::new(["us"], [""; 0]);
    let server = start_with(Config { accounts, ..config(Limits::default()) }).await;
    let mut edited = comment("/ack", person("kim"));
    edited["action"] = json!("edited");
    let mut by_nobody = comment("/ack", person("kim"));
    by_nobody.as_object_mut().unwrap().remove("sender");
    let bot = json!({"login": "ci[bot]", "type": "Bot"});
    let mut no_text = comment("/ack", person("kim"));
    no_text["comment"]["body"] = json!(["/ack"]);
    for payload in [
        comment("what does /ack do?", person("kim")),
        comment("> /ack\n", person("kim")),
        comment("", person("kim")),
        comment("/ack", bot),
        comment("/ack", person("us")),
        edited,
        by_nobody,
        no_text,
    ] {
        let through = answered(&server, Provider::Github, "issue_comment", &payload).await;
        assert_eq!(through, None, "{payload}");
    }
}

/// The text is not kept, so the event says what there was to say of it.
#[tokio::test]
async fn a_comment_that_looks_like_an_answer_says_why_it_is_none() {
    let accounts = Accounts::new(["us"], [""; 0]);
    let server = start_with(Config { accounts, ..config(Limits::default()) }).await;
    let of = |action: &str, body: &str, association: &str, sender: Value| {
        let mut payload = comment(body, sender);
        payload["action"] = json!(action);
        payload["comment"]["author_association"] = json!(association);
        payload
    };
    let bot = json!({"login": "ci[bot]", "type": "Bot"});
    let mut unsaid = of("created", "/ack", "MEMBER", person("kim"));
    unsaid.as_object_mut().unwrap().remove("sender");
    for (payload, why) in [
        (of("created", "> /ack", "MEMBER", person("kim")), Some(NoAnswer::Quoted)),
        (of("created", "```\n/ACK now\n```", "MEMBER", person("kim")), Some(NoAnswer::InCode)),
        (of("created", "see /ack", "NONE", person("kim")), Some(NoAnswer::WithinLine)),
        (of("created", "/ack", "NONE", person("kim")), Some(NoAnswer::Stranger)),
        (of("edited", "/ack", "MEMBER", person("kim")), Some(NoAnswer::NotNew)),
        (of("created", "/ack", "MEMBER", bot.clone()), Some(NoAnswer::Machine)),
        (of("created", "/ack", "MEMBER", person("us")), Some(NoAnswer::Ours)),
        (unsaid, Some(NoAnswer::Nobody)),
        // Those who only write of it, and those who do not.
        (of("created", "Reply with /ack", "MEMBER", bot), None),
        (of("created", "Reply with /ack", "MEMBER", person("us")), None),
        (of("created", "and?", "MEMBER", person("kim")), None),
    ] {
        let event = server.event(Provider::Github, "issue_comment", &payload).await;
        assert_eq!(event.no_answer, why, "{payload}");
        let written = serde_json::to_value(&event).unwrap();
        assert_eq!(written.get("no_answer").is_some(), why.is_some());
        assert!(!written.to_string().contains("/ack"), "nothing of the text is kept: {written}");
    }
    assert!(server.log.events().iter().all(|event| event.event_type != EventType::IssueAcknowledged));
}

#[tokio::test]
async fn the_word_counts_in_any_case_at_the_beginning_of_any_line() {
    let server = start().await;
    for body in ["/ACK", "/ack I am on it", "Thanks!\r\n\r\n/Ack", "> what is this?\r\n\r\n/ack"] {
        let through =
            answered(&server, Provider::Github, "issue_comment", &comment(body, person("kim"))).await;
        assert_eq!(through, Some(AcknowledgedThrough::Comment), "{body}");
    }
}

#[tokio::test]
async fn taking_an_issue_or_closing_it_is_an_answer() {
    let server = start().await;
    let happened = |action: &str, more: Value, sender: Value| {
        let mut payload = opened();
        payload["action"] = json!(action);
        payload["sender"] = sender;
        for (key, value) in more.as_object().unwrap() {
            payload[key] = value.clone();
        }
        payload
    };
    let assigned = json!({"assignee": {"login": "Maria"}});
    let bot = json!({"login": "maria", "type": "Bot"});
    for (action, more, sender, through) in [
        ("assigned", assigned.clone(), person("maria"), Some(AcknowledgedThrough::Assignment)),
        ("assigned", assigned.clone(), person("tom"), None),
        ("assigned", assigned.clone(), bot.clone(), None),
        ("unassigned", assigned, person("maria"), None),
        ("closed", json!({}), person("tom"), Some(AcknowledgedThrough::Status)),
        ("closed", json!({}), bot, None),
        ("reopened", json!({}), person("tom"), None),
        ("labeled", json!({"label": {"name": "bug"}}), person("tom"), None),
        // Who opens an issue has not answered anything.
        ("opened", json!({}), person("maria"), None),
    ] {
        let payload = happened(action, more, sender);
        assert_eq!(answered(&server, Provider::Github, "issues", &payload).await, through, "{payload}");
    }
}

#[tokio::test]
async fn answers_in_jira() {
    let server = start().await;
    let kim = json!({"accountId": "5b10:kim", "accountType": "atlassian"});
    let app = json!({"accountId": "5b10:app", "accountType": "app"});
    // Of a service desk: who may comment, and do no more.
    let customer = json!({"accountId": "qm:kit", "accountType": "customer"});
    let said = |user: &Value, body: &str| {
        let mut payload = changed_by(&json!(null));
        payload["webhookEvent"] = json!("comment_created");
        payload["comment"] = json!({"author": user, "updateAuthor": user, "body": body,
            "created": "2026-01-09T10:00:00.000+0000", "updated": "2026-01-09T10:00:00.000+0000"});
        payload.as_object_mut().unwrap().remove("user");
        payload
    };
    let mut edited = said(&kim, "/ack");
    edited["webhookEvent"] = json!("comment_updated");
    // Data Center tells of a comment with the issue's update.
    let mut with_update = said(&kim, "/ack");
    with_update["webhookEvent"] = json!("jira:issue_updated");
    with_update["issue_event_type_name"] = json!("issue_commented");
    with_update["user"] = kim.clone();
    let moved = |user: &Value, category: &str, field: &str| {
        let mut payload = changed_by(user);
        payload["issue"]["fields"]["status"] = json!({"name": "x", "statusCategory": {"key": category}});
        payload["changelog"] =
            json!({"items": [{"field": field, "fieldId": field, "fromString": "a", "toString": "b"}]});
        payload
    };
    let assigned = |user: &Value, to: &str| {
        let mut payload = changed_by(user);
        payload["issue"]["fields"]["assignee"] = json!({"accountId": to});
        payload["changelog"] = json!({"items": [{"field": "assignee", "fieldId": "assignee", "from": null, "to": to,
            "tmpToAccountId": to}]});
        payload
    };
    let (comment, assignment, status) =
        (AcknowledgedThrough::Comment, AcknowledgedThrough::Assignment, AcknowledgedThrough::Status);
    for (payload, through) in [
        (said(&kim, "/ack"), Some(comment.clone())),
        (with_update, Some(comment)),
        (edited, None),
        (said(&app, "/ack"), None),
        (said(&customer, "/ack"), None),
        (said(&kim, "and?"), None),
        (assigned(&kim, "5b10:kim"), Some(assignment)),
        (assigned(&kim, "5b10:tom"), None),
        (assigned(&app, "5b10:app"), None),
        (moved(&kim, "indeterminate", "status"), Some(status.clone())),
        (moved(&kim, "done", "status"), Some(status)),
        (moved(&kim, "new", "status"), None),
        (moved(&kim, "indeterminate", "summary"), None),
        (moved(&app, "indeterminate", "status"), None),
    ] {
        assert_eq!(answered(&server, Provider::Jira, "", &payload).await, through, "{payload}");
    }
}

#[tokio::test]
async fn both_events_go_through_the_spool_or_neither() {
    let dir = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(MemoryLog::default());
    log.fail(Some(LogError::Unavailable("down".into())));
    let clock = std::sync::Arc::new(ManualClock::new("2026-02-02T10:00:00Z".parse().unwrap()));
    let said = comment("/ack", person("kim")).to_string();
    // One more byte than the first would need.
    let limits = SpoolLimits { max_bytes: 1_800, slow_after: PATIENCE, ..SpoolLimits::default() };
    let spool = Spool::open(log.clone(), dir.path(), limits, clock).await.unwrap();
    let server = start_on(config(Limits::default()), log, spool.clone()).await;
    let reply = server.deliver(Provider::Github, "issues", opened().to_string().as_bytes()).await;
    assert_eq!((reply.status, spool.report().records), (202, 1));
    let reply = server.deliver(Provider::Github, "issue_comment", said.as_bytes()).await;
    assert_eq!((reply.refused(503), spool.report().records), ("unavailable".to_owned(), 1));

    server.log.fail(None);
    let stop = CancellationToken::new();
    let forward = tokio::spawn(spool.clone().forward(stop.clone()));
    let direct = async {
        while spool.report().spooling {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, direct).await.unwrap();
    server.log.fail(Some(LogError::Unavailable("down".into())));
    let reply = server.deliver(Provider::Github, "issue_comment", said.as_bytes()).await;
    assert_eq!((reply.status, spool.report().records), (202, 2), "{:?}", spool.report());
    server.log.fail(None);
    let both = async {
        while server.log.events().len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    let kinds: Vec<_> = server.log.events().into_iter().map(|event| event.event_type).collect();
    assert_eq!(kinds[1..], [EventType::IssueCommented, EventType::IssueAcknowledged]);
    stop.cancel();
    forward.await.unwrap().unwrap();
}
