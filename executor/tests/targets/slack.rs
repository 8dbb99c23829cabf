use serde_json::json;

use super::{
    HOSTILE, action, attempt, clock,
    fake::{Fault, inert, slack::Slack},
    later, open, reference, rejected,
};

fn said(slack: &Slack) -> serde_json::Value {
    json!({ "kind": "slack", "token": { "env": "SLACK_TOKEN" }, "base": format!("{}/api", slack.base) })
}

#[tokio::test]
async fn a_team_is_told_in_its_channel_and_people_in_person() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let done = attempt(&target, &action("a-1", "escalate_owner")).await;
    assert_eq!(reference(&done), Some("C0TRIAGE:1772445600.000001"));
    let text = "team:triage is needed now · New issue needs triage · \"Login fails\" · https://github.com/o/r/issues/1";
    assert_eq!(slack.texts(), [("C0TRIAGE".into(), text.into())]);

    let mut to_people = action("a-2", "assign_owner");
    to_people["params"]["to"] = json!({ "people": [
        { "name": "alice", "slack": "U0ALICE" }, { "name": "bo", "slack": "U0BO" }, { "name": "eve" },
    ] });
    let done = attempt(&target, &to_people).await;
    assert_eq!(reference(&done), Some("D0ALICE:1772445600.000002 D0BO:1772445600.000003"));
    assert_eq!(slack.texts()[1].0, "D0ALICE");
}

#[tokio::test]
async fn nobody_to_tell_is_refused_unless_there_is_a_channel_for_them() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let mut nobody = action("a-1", "post_nudge");
    nobody["params"]["to"] =
        json!({ "people": [{ "name": "eve" }, { "name": "mal", "slack": "<!channel>" }] });
    let reason = rejected(attempt(&target, &nobody).await);
    assert!(reason.contains("has a Slack id"), "{reason}");
    let mut with_channel = said(&slack);
    with_channel["channel"] = json!("C0ALL");
    let target = open("slack", with_channel, &clock());
    assert_eq!(reference(&attempt(&target, &nobody).await), Some("C0ALL:1772445600.000001"));
}

#[tokio::test]
async fn one_of_two_people_was_told_before_it_broke() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let mut both = action("a-1", "post_nudge");
    both["params"]["to"] = json!({ "people": [
        { "name": "alice", "slack": "U0ALICE" }, { "name": "bo", "slack": "U0BO" },
    ] });
    let gone = slack.state.lock().unwrap().members.remove("U0BO").unwrap();
    assert!(rejected(attempt(&target, &both).await).contains("user_not_found: there is no such member"));
    slack.state.lock().unwrap().members.insert("U0BO".into(), gone);
    assert!(reference(&attempt(&target, &both).await).is_some());
    let told: Vec<String> = slack.texts().into_iter().map(|(channel, _)| channel).collect();
    assert_eq!(told, ["D0ALICE", "D0BO"], "nobody twice");
}

#[tokio::test]
async fn an_error_that_passes_is_waited_for_and_one_that_stays_is_said() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let nudge = action("a-1", "post_nudge");
    for (error, after) in [("ratelimited", Some(7)), ("internal_error", None), ("brand_new_error", None)] {
        let fault = Fault::status(200).body(json!({ "ok": false, "error": error }));
        let fault = after.map_or(fault.clone(), |after| fault.header("retry-after", after));
        slack.way.fault("chat.postMessage", fault);
        assert_eq!(later(attempt(&target, &nudge).await).0, after, "{error}");
    }
    for (error, hint) in
        [("not_in_channel", "invite the app"), ("is_archived", "archived"), ("missing_scope", "history")]
    {
        slack.way.fault("chat.postMessage", Fault::status(200).body(json!({ "ok": false, "error": error })));
        let reason = rejected(attempt(&target, &nudge).await);
        assert!(reason.contains(error) && reason.contains(hint), "{reason}");
    }
    slack.state.lock().unwrap().token = "xoxb-2".into();
    assert!(rejected(attempt(&target, &nudge).await).contains("token_revoked: the token was revoked"));
    assert!(slack.texts().is_empty());
}

#[tokio::test]
async fn a_message_among_many_is_found_again() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let first = attempt(&target, &action("a-0", "post_nudge")).await;
    for n in 1..9 {
        attempt(&target, &action(&format!("a-{n}"), "post_nudge")).await;
    }
    assert_eq!(attempt(&target, &action("a-0", "post_nudge")).await, first);
    assert_eq!(slack.texts().len(), 9);
    // Without history, a retry posts again: that is what the option says.
    let mut blind = said(&slack);
    blind["history"] = json!(false);
    attempt(&open("slack", blind, &clock()), &action("a-0", "post_nudge")).await;
    assert_eq!(slack.texts().len(), 10);
}

/// Every app may write metadata of every kind, and the id of what a timer makes can be worked out.
#[tokio::test]
async fn a_message_with_our_metadata_by_another_app_is_none_of_ours() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let nudge = action("a-1", "post_nudge");
    let metadata = json!({ "event_type": "breakdown_action", "event_payload": { "id": "a-1" } });
    let forged = |by: serde_json::Value| {
        let mut message = json!({ "text": "nothing to see", "metadata": metadata });
        message.as_object_mut().unwrap().extend(by.as_object().unwrap().clone());
        message
    };
    slack.post("C0TRIAGE", forged(json!({ "user": "U0EVIL", "bot_id": "B0EVIL", "app_id": "A0EVIL" })));
    // An app that gave itself our name, and one that says nothing.
    slack.post("C0TRIAGE", forged(json!({ "bot_id": "B0EVIL", "username": "breakdown" })));
    slack.post("C0TRIAGE", forged(json!({})));
    let asked = || slack.way.calls().iter().filter(|call| call.ends_with("auth.test")).count();
    // Ours is made, and the answer lost with the process.
    slack.way.fault("chat.postMessage", Fault::BrokenAfter);
    later(attempt(&target, &nudge).await);
    let target = open("slack", said(&slack), &clock());
    slack.way.fault("auth.test", Fault::status(429).header("retry-after", 7));
    assert_eq!(later(attempt(&target, &nudge).await).0, Some(7));
    slack.way.fault("auth.test", Fault::status(200).body(json!({ "ok": false, "error": "invalid_auth" })));
    assert!(rejected(attempt(&target, &nudge).await).contains("the token is not valid"));
    slack.way.fault("auth.test", Fault::status(200).body(json!({ "ok": true, "user_id": "" })));
    assert!(later(attempt(&target, &nudge).await).1.contains("without saying who we are"));
    for _ in 0..2 {
        assert_eq!(reference(&attempt(&target, &nudge).await), Some("C0TRIAGE:1772445600.000004"));
    }
    assert_eq!((slack.texts().len(), asked()), (4, 5));
    attempt(&target, &action("a-2", "post_nudge")).await;
    assert_eq!((slack.texts().len(), asked()), (5, 5), "nobody is asked where there is nothing to judge");
}

#[tokio::test]
async fn text_is_data() {
    let slack = Slack::start().await;
    let target = open("slack", said(&slack), &clock());
    let mut hostile = action("a-1", "post_nudge");
    hostile["params"]["title"] = json!(HOSTILE);
    hostile["rationale"] = json!(HOSTILE.repeat(50));
    hostile["source_ref"] = json!("https://evil.test/<!channel>?a&b");
    assert!(reference(&attempt(&target, &hostile).await).is_some());
    let (_, _, message) = slack.state.lock().unwrap().messages[0].clone();
    for text in [&message["text"], &message["blocks"][0]["text"]["text"]] {
        let text = text.as_str().unwrap();
        inert(text);
        assert!(
            !text.contains(['<', '>', '\n']) && text.contains("&lt;!channel&gt; &lt;@U0BO&gt;"),
            "{text}"
        );
        let entities = text.matches('&').count();
        let known =
            ["&amp;", "&lt;", "&gt;"].iter().map(|entity| text.matches(entity).count()).sum::<usize>();
        assert_eq!(entities, known, "{text}");
    }
    assert_eq!(message["blocks"][0]["text"]["type"], "plain_text");
    for (key, value) in [
        ("mrkdwn", json!(false)),
        ("parse", json!("none")),
        ("link_names", json!(false)),
        ("unfurl_links", json!(false)),
        ("unfurl_media", json!(false)),
    ] {
        assert_eq!(message[key], value, "{key}");
    }
}

#[tokio::test]
async fn an_incoming_webhook_is_enough_for_one_channel() {
    let slack = Slack::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}/services/T0/B0/secret\n", slack.base)).unwrap();
    let target = open("slack", json!({ "kind": "slack", "webhook_url": { "file": file.path() } }), &clock());
    let mut anybody = action("a-1", "post_nudge");
    anybody["params"]["title"] = json!(HOSTILE);
    assert_eq!(reference(&attempt(&target, &anybody).await), None);
    let message = slack.state.lock().unwrap().hooked[0].clone();
    let text = message["text"].as_str().unwrap();
    inert(text);
    assert!(!text.contains('<') && message.get("channel").is_none() && message.get("metadata").is_none());
    for (status, body, why) in [
        (404, "no_service", "gone"),
        (403, "action_prohibited", "gone"),
        (410, "channel_is_archived", "archived"),
    ] {
        slack.way.fault("/services", Fault::Answer(status, vec![], body.into()));
        let reason = rejected(attempt(&target, &anybody).await);
        assert!(reason.contains(why) && !reason.contains("secret"), "{reason}");
    }
    slack
        .way
        .fault("/services", Fault::Answer(429, vec![("retry-after", "9".into())], "rate_limited".into()));
    assert_eq!(later(attempt(&target, &anybody).await).0, Some(9));
}
