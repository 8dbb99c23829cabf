use serde_json::{Value, json};

use super::{
    HOSTILE, attempt, clock,
    fake::{
        Fault, inert,
        jira::{Jira, US},
    },
    later, open, reference, rejected,
};

fn said(jira: &Jira, cloud: bool) -> Value {
    match cloud {
        true => json!({ "kind": "jira", "base": jira.base, "edition": "cloud", "user": "bot@acme.test",
                        "token": { "env": "JIRA_TOKEN" } }),
        false => {
            json!({ "kind": "jira", "base": jira.base, "edition": "data-center", "token": { "env": "JIRA_PAT" } })
        }
    }
}

fn action(jira: &Jira, id: &str, kind: &str, account: &str) -> Value {
    let mut action = super::action(id, kind);
    action["issue_ref"] = json!(format!("jira:{}/OPS-7", jira.host()));
    action["params"]["to"]["people"] = json!([{ "name": "alice", "jira": account }]);
    action
}

const ALICE: &str = "5b10a2844c20165700ede21g";

#[tokio::test]
async fn an_issue_of_cloud_gets_its_owner_and_the_reason() {
    let jira = Jira::start(true).await;
    let target = open("jira", said(&jira, true), &clock());
    assert_eq!(reference(&attempt(&target, &action(&jira, "a-1", "assign_owner", ALICE)).await), Some("0"));
    let issue = jira.issue();
    assert_eq!(issue.assignee.as_deref(), Some(ALICE));
    assert_eq!(
        issue.comments[0].body,
        json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [
            { "type": "mention", "attrs": { "id": ALICE } },
            { "type": "text", "text": " " },
            { "type": "text", "text": "team:triage is to own this · New issue needs triage" },
        ] },
        { "type": "paragraph", "content": [{ "type": "text", "text": "breakdown:a-1" }] },
    ] })
    );
}

#[tokio::test]
async fn an_issue_of_data_center_too_by_user_name_and_in_wiki_text() {
    let jira = Jira::start(false).await;
    let target = open("jira", said(&jira, false), &clock());
    assert!(reference(&attempt(&target, &action(&jira, "a-1", "assign_owner", "bo")).await).is_some());
    let issue = jira.issue();
    assert_eq!(issue.assignee.as_deref(), Some("bo"));
    let body = "[~bo] team&#58;triage is to own this · New issue needs triage\n\n{{breakdown:a-1}}";
    assert_eq!((issue.comments.len(), &issue.comments[0].body), (1, &json!(body)));
}

#[tokio::test]
async fn who_cannot_be_assigned_is_named() {
    for (cloud, stranger) in [(true, "5b10000000000000"), (false, "mallory")] {
        let jira = Jira::start(cloud).await;
        let target = open("jira", said(&jira, cloud), &clock());
        let reason = rejected(attempt(&target, &action(&jira, "a-1", "assign_owner", stranger)).await);
        assert!(reason.contains(&format!("{stranger} cannot be assigned there")), "{reason}");
        assert!(jira.issue().comments.is_empty());
        let nobody = action(&jira, "a-2", "assign_owner", "no account\n");
        assert!(rejected(attempt(&target, &nobody).await).contains("alice: no jira account in the policy"));
    }
}

#[tokio::test]
async fn a_transition_is_made_once_and_by_either_name() {
    let jira = Jira::start(true).await;
    let mut moving = said(&jira, true);
    moving["transitions"] =
        json!({ "assign_owner": "in progress", "resolve": "Close", "post_nudge": "Reopen" });
    let target = open("jira", moving, &clock());
    let made = || (jira.issue().status, jira.issue().transitions_made);
    let assign = action(&jira, "a-1", "assign_owner", ALICE);
    for _ in 0..2 {
        assert!(reference(&attempt(&target, &assign).await).is_some());
        assert_eq!(made(), ("In Progress".into(), 1));
    }
    // It is made, and the answer lost.
    jira.way.fault("POST /rest/api/3/issue/OPS-7/transitions", Fault::BrokenAfter);
    let resolve = action(&jira, "a-2", "resolve", ALICE);
    assert!(matches!(attempt(&target, &resolve).await, executor::Verdict::Retry { .. }));
    assert_eq!(made(), ("Done".into(), 2));
    let reason = rejected(attempt(&target, &action(&jira, "a-3", "assign_owner", ALICE)).await);
    assert!(reason.contains("OPS-7 has no transition \"in progress\""), "{reason}");
}

#[tokio::test]
async fn an_escalated_issue_bears_a_label_until_it_is_resolved() {
    for cloud in [true, false] {
        let jira = Jira::start(cloud).await;
        let target = open("jira", said(&jira, cloud), &clock());
        attempt(&target, &action(&jira, "a-1", "escalate_owner", "bo")).await;
        assert_eq!((jira.issue().labels, jira.issue().comments.len()), (vec!["escalated".to_owned()], 1));
        for _ in 0..2 {
            assert_eq!(reference(&attempt(&target, &action(&jira, "a-2", "resolve", "bo")).await), None);
            assert!(jira.issue().labels.is_empty());
        }
    }
}

#[tokio::test]
async fn a_comment_is_found_among_many() {
    for cloud in [true, false] {
        let jira = Jira::start(cloud).await;
        let target = open("jira", said(&jira, cloud), &clock());
        let nudge = action(&jira, "a-1", "post_nudge", "bo");
        let first = attempt(&target, &nudge).await;
        (0..120).for_each(|_| jira.comment(Some("mallory"), json!("somebody says breakdown:a-2")));
        assert_eq!(attempt(&target, &nudge).await, first);
        assert_eq!(jira.issue().comments.len(), 121);
        attempt(&target, &action(&jira, "a-2", "post_nudge", "bo")).await;
        assert_eq!(jira.issue().comments.len(), 122);
    }
}

/// The marker is no secret: the id of what a timer makes can be worked out, and every comment shows its own.
#[tokio::test]
async fn a_marker_that_a_stranger_left_is_none_of_ours() {
    for cloud in [true, false] {
        let (jira, mute) = (Jira::start(cloud).await, Jira::start(cloud).await);
        let target = open("jira", said(&jira, cloud), &clock());
        let nudge = action(&jira, "a-1", "post_nudge", "bo");
        // Written as we would write it: on another site it is.
        let elsewhere = open("jira", said(&mute, cloud), &clock());
        attempt(&elsewhere, &action(&mute, "a-1", "post_nudge", "bo")).await;
        let forged = mute.issue().comments[0].body.clone();
        for by in [Some("mallory"), None] {
            jira.comment(by, forged.clone());
        }
        let comment = format!("POST /rest/api/{}/issue/OPS-7/comment", if cloud { 3 } else { 2 });
        jira.way.fault(&comment, Fault::BrokenAfter);
        later(attempt(&target, &nudge).await);
        jira.comment(Some("mallory"), forged.clone());
        // Ours is made, and the answer lost with the process.
        let target = open("jira", said(&jira, cloud), &clock());
        for _ in 0..2 {
            assert_eq!(reference(&attempt(&target, &nudge).await), Some("2"));
        }
        let by: Vec<Option<&str>> = jira.issue().comments.iter().map(|comment| comment.by).collect();
        assert_eq!(by, [Some("mallory"), None, Some(US), Some("mallory")]);
        let asked = || jira.way.calls().iter().filter(|call| call.ends_with("/myself")).count();
        assert_eq!(asked(), 2, "once by each of the two processes");
        attempt(&target, &action(&jira, "a-2", "post_nudge", "bo")).await;
        assert_eq!(asked(), 2, "nobody left its marker");
    }
}

#[tokio::test]
async fn who_we_are_is_a_call_like_any_other() {
    for cloud in [true, false] {
        let jira = Jira::start(cloud).await;
        let target = open("jira", said(&jira, cloud), &clock());
        let nudge = action(&jira, "a-1", "post_nudge", "bo");
        let first = attempt(&target, &nudge).await;
        jira.way.fault("/myself", Fault::status(429).header("retry-after", 7));
        assert_eq!(later(attempt(&target, &nudge).await).0, Some(7));
        jira.way.fault("/myself", Fault::GarbageAfter);
        assert!(later(attempt(&target, &nudge).await).1.contains("cannot be read"));
        jira.way.fault("/myself", Fault::status(200).body(json!({ "displayName": "nobody", "name": "" })));
        assert!(later(attempt(&target, &nudge).await).1.contains("without saying who we are"));
        jira.way.fault("/myself", Fault::status(403));
        rejected(attempt(&target, &nudge).await);
        assert_eq!(attempt(&target, &nudge).await, first);
        // A credential that is refused may be another's by now: it is asked again, by the next who has to know.
        let asked = || jira.way.calls().iter().filter(|call| call.ends_with("/myself")).count();
        let before = asked();
        jira.way.fault("/comment", Fault::status(401));
        rejected(attempt(&target, &nudge).await);
        for _ in 0..2 {
            assert_eq!(attempt(&target, &nudge).await, first);
        }
        assert_eq!((asked(), jira.issue().comments.len()), (before + 1, 1));
    }
}

#[tokio::test]
async fn its_rate_limits_are_obeyed() {
    let jira = Jira::start(true).await;
    let target = open("jira", said(&jira, true), &clock());
    let nudge = action(&jira, "a-1", "post_nudge", ALICE);
    let limit = |reason: &str| {
        let date = "Mon, 02 Mar 2026 10:00:00 GMT";
        Fault::status(429)
            .header("date", date)
            .header("ratelimit-reason", reason)
            .header("x-ratelimit-remaining", 0)
    };
    let (of_issue, hour) = (limit("jira-per-issue-on-write"), limit("jira-quota-tenant-based"));
    for (fault, after, why) in [
        (of_issue.clone().header("retry-after", 2), 2, "too many changes of one issue"),
        (of_issue.header("x-ratelimit-reset", "2026-03-02T10:00:29Z"), 30, "too many changes of one issue"),
        // The header that says how long is the one to go by.
        (
            hour.clone().header("retry-after", 1847).header("x-ratelimit-reset", "2026-03-02T11:00Z"),
            1847,
            "the hour's",
        ),
        (hour.clone().header("x-ratelimit-reset", "2026-03-02T11:00Z"), 3601, "the hour's rate limit"),
        (hour.clone().header("x-ratelimit-reset", "2036-03-02T11:00Z"), 86_400, "the hour's rate limit"),
        (hour.header("x-ratelimit-reset", "2026-03-02T09:00Z"), 5, "the hour's rate limit"),
        (limit("a new word"), 5, "a rate limit"),
        (Fault::status(503).header("retry-after", 9), 9, "answered 503"),
    ] {
        jira.way.fault("POST", fault);
        let (wait, reason) = later(attempt(&target, &nudge).await);
        assert!(wait == Some(after) && reason.contains(why), "{wait:?} {reason}");
    }
    assert!(jira.issue().comments.is_empty());
}

#[test]
fn an_issue_is_a_lane_of_its_own() {
    let said = json!({ "kind": "jira", "base": "https://acme.atlassian.net", "edition": "cloud", "user": "bot@acme.test",
                       "token": { "env": "JIRA_TOKEN" } });
    let target = open("jira", said, &clock());
    let lane = |issue: &str| {
        let mut action = super::action("a-1", "post_nudge");
        action["issue_ref"] = json!(issue);
        target.lane(&serde_json::from_value(action).unwrap())
    };
    assert_eq!(target.lane_every(), std::time::Duration::from_secs(1));
    assert_eq!(lane("jira:acme.atlassian.net/OPS-7"), lane("jira:Acme.Atlassian.net/ops-7"));
    assert_ne!(lane("jira:acme.atlassian.net/OPS-7"), lane("jira:acme.atlassian.net/OPS-8"));
    assert!(lane("jira:acme.atlassian.net/OPS-7").is_some() && lane("jira:other.test/OPS-7").is_none());
}

#[tokio::test]
async fn another_site_or_a_revoked_token_is_refused() {
    let jira = Jira::start(true).await;
    let target = open("jira", said(&jira, true), &clock());
    let mut elsewhere = action(&jira, "a-1", "post_nudge", ALICE);
    elsewhere["issue_ref"] = json!("jira:other.atlassian.net/OPS-7");
    assert!(rejected(attempt(&target, &elsewhere).await).contains("no issue of this site"));
    let mut named = said(&jira, true);
    named["host"] = json!("other.atlassian.net");
    assert!(reference(&attempt(&open("jira", named, &clock()), &elsewhere).await).is_some());
    let mut missing = action(&jira, "a-1", "post_nudge", ALICE);
    missing["issue_ref"] = json!(format!("jira:{}/OPS-8", jira.host()));
    assert!(rejected(attempt(&target, &missing).await).contains("not visible"));
    jira.state.lock().unwrap().authorization = "Basic other".into();
    assert!(
        rejected(attempt(&target, &action(&jira, "a-2", "post_nudge", ALICE)).await)
            .contains("token is not valid")
    );
}

#[tokio::test]
async fn text_is_data() {
    for cloud in [true, false] {
        let jira = Jira::start(cloud).await;
        let target = open("jira", said(&jira, cloud), &clock());
        let mut hostile = action(&jira, "{quote}", "post_nudge", "bo|x]");
        hostile["rationale"] = json!(HOSTILE);
        assert!(reference(&attempt(&target, &hostile).await).is_some());
        let body = jira.issue().comments[0].body.clone();
        match &body {
            Value::String(wiki) => {
                inert(wiki);
                let said = wiki.lines().next().unwrap();
                assert!(!said.contains(['{', '}', '[', ']', '*', '|', '@', '<']), "{said}");
            }
            document => {
                let line = document["content"][0]["content"].as_array().unwrap();
                assert_eq!(line.len(), 1, "text, and no mention of nobody");
                assert_eq!(line[0]["type"], "text");
                inert(line[0]["text"].as_str().unwrap());
            }
        }
    }
}
