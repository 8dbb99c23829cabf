//! Of logs that `serve` made.

use std::{fs, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    action_of, assert_inert, document, explain,
    program::{Serve, breakdown, run, tail, until},
    publish, rule, sample, write,
};

/// The action of a due date that passed by itself, of the issue github:o/r#2. `last` was made just now.
async fn due_soon(last: &Value, dir: &Path) -> Value {
    let mut now: DateTime<Utc> = last["evaluated_at"].as_str().unwrap().parse().unwrap();
    // On a machine so slow that the date is over before the event is there, the event makes the action: once more, then.
    for lead in [2, 10, 60] {
        let event = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 2,
            "assignee": "kim", "due_at": now + TimeDelta::seconds(lead)});
        let id = publish(&event, dir).await["event_id"].as_str().unwrap().to_owned();
        let action = action_of(|cause| cause.starts_with("t-") || cause == id, dir).await;
        if action["cause"] != id.as_str() {
            return action;
        }
        now = action["evaluated_at"].as_str().unwrap().parse().unwrap();
    }
    panic!("no date passes by itself");
}

#[tokio::test]
async fn actions_and_issues_of_a_server_with_the_policy_of_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let text = fs::read_to_string(sample("policy.yaml")).unwrap();
    let policy = write(path, "policy.yaml", &text);
    let serve = Serve::start(path, |command| command.arg("--policy").arg(&policy)).await;
    let bug = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 1,
        "title": "It \u{1b}[2J\u{202e}burns", "labels": ["bug", "p0"], "url": "https://github.com/o/r/issues/1"});
    let cause = publish(&bug, path).await["event_id"].as_str().unwrap().to_owned();
    let by_event = action_of(|it| it == cause, path).await;
    let by_timer = due_soon(&by_event, path).await;
    serve.stop().await;

    // From here on bugs are no matter, and the rule's place is another.
    let later =
        text.replace("\"bug\" in", "\"crash\" in").replace("version: 1\n", "version: 1\n# Crashes only.\n");
    fs::write(&policy, later).unwrap();
    let serve = Serve::start(path, |command| command.arg("--policy").arg(&policy)).await;
    let crash = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 3,
        "labels": ["crash", "p0"]});
    let cause = publish(&crash, path).await["event_id"].as_str().unwrap().to_owned();
    let after = action_of(|it| it == cause, path).await;
    serve.stop().await;

    let id = |action: &Value| action["event_id"].as_str().unwrap().to_owned();
    let told = document(&[&id(&by_event)], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&by_event, &by_event["policy_hash"]));
    assert_eq!((&told["now"], &told["remarks"]), (&by_event["evaluated_at"], &json!([])));
    assert_eq!(told["about"]["event_id"], by_event["cause"]);
    let fired = rule(&told, "escalate-p0-bug");
    assert_eq!(fired["became"]["actions"][0]["id"], by_event["event_id"]);
    assert_eq!((&fired["line"], &fired["ends_walk"]), (&json!(14), &json!(true)));
    assert!(fired["condition"]["text"].as_str().unwrap().starts_with("\"bug\" in issue.labels"));
    assert_eq!(fired["what_if"]["alternatives"][0][0]["says"], "without label bug");

    let (out, err, code) = explain(&[&id(&by_event)], path).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_inert(&out);
    let head = format!("action {}: escalate_owner for team:platform, about github:o/r#1\n", id(&by_event));
    assert!(out.starts_with(&head), "{out}");
    assert!(out.contains("\n  High-priority bug needs the platform team now\n"), "{out}");
    let (upper, ..) = explain(&[&id(&by_event).to_ascii_uppercase()], path).await;
    assert_eq!(upper, out);

    let told = document(&[&id(&after)], path).await;
    assert_eq!(told["policy_hash"], after["policy_hash"]);
    assert_ne!(after["policy_hash"], by_event["policy_hash"]);
    assert_eq!(rule(&told, "escalate-p0-bug")["line"], 15);

    let told = document(&[&id(&by_timer)], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&by_timer, &by_event["policy_hash"]));
    assert_eq!(
        told["about"],
        json!({"kind": "timer", "id": by_timer["cause"], "rule": "deadline", "reason": "at",
        "issue_ref": "github:o/r#2"})
    );
    assert_eq!((&told["issues"][0]["occasion"], &told["remarks"]), (&json!("timer"), &json!([])));
    assert_eq!(rule(&told, "deadline")["became"]["actions"][0]["target"], "owner:kim");
    let (out, ..) = explain(&[&id(&by_timer)], path).await;
    assert!(out.contains("timer t-") && out.contains("a timer asks only the rule that set it"), "{out}");

    // The event that a webhook would be answered with, and the timer that an action names as its cause.
    let of_event = document(&[by_event["cause"].as_str().unwrap()], path).await;
    let of_its_action = document(&[&id(&by_event)], path).await;
    for field in ["about", "issues", "now", "policy_hash", "remarks", "history"] {
        assert_eq!(of_event[field], of_its_action[field], "{field}");
    }
    assert_eq!(
        (&of_event["record"]["topic"], &of_event["record"]["offset"]),
        (&json!("issues"), &json!(0)),
        "{of_event}"
    );
    assert_eq!(document(&[by_timer["cause"].as_str().unwrap()], path).await, told);
    // A record of it, as `tail --json` prints it, from a file or standard input.
    let (lines, ..) = run(breakdown().args(["tail", "actions", "--json", "--data-dir"]).arg(path)).await;
    let line = lines.lines().find(|line| line.contains(&id(&by_event))).unwrap();
    let line = write(path, "line.json", line).display().to_string();
    assert_eq!(document(&[&line], path).await, of_its_action);
    let (lines, ..) = run(breakdown().args(["tail", "issues", "--json", "--data-dir"]).arg(path)).await;
    let line = write(path, "line.json", lines.lines().next().unwrap()).display().to_string();
    let of_line = document(&[&line, "--policy", &policy.display().to_string()], path).await;
    assert_eq!((&of_line["about"], &of_line["now"]), (&of_event["about"], &of_event["now"]));
    assert!(of_line["remarks"][0].as_str().unwrap().contains("policy explain p-"), "{of_line}");
    // Not decided yet: nobody serves.
    let next = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 3,
        "labels": []});
    let next = document(&[publish(&next, path).await["event_id"].as_str().unwrap()], path).await;
    assert!(next["remarks"][0].as_str().unwrap().contains("has not come to this event yet"), "{next}");
    assert_eq!(next["policy_hash"], after["policy_hash"]);

    // A rule that did not decide; one that there was not.
    let told = document(&[&id(&by_event), "--rule", "frontend-to-alice"], path).await;
    assert_eq!(rule(&told, "frontend-to-alice")["not_asked"]["rule"], "escalate-p0-bug");
    let (out, err, code) = explain(&[&id(&by_event), "--rule", "no\u{1b}[31m"], path).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("has no rule") && err.contains("escalate-p0-bug, frontend-to-alice, deadline"),
        "{err}"
    );
    assert_inert(&err);

    // As it is known now, by the policy that is asked; of the log's own nothing needs to be said.
    let policy = policy.display().to_string();
    let told = document(&["github:o/r#1", "--policy", &policy], path).await;
    assert_eq!((&told["about"]["kind"], &told["remarks"]), (&json!("issue"), &json!([])));
    assert_eq!(rule(&told, "escalate-p0-bug")["verdict"], "does_not_hold");
    assert_eq!(rule(&told, "triage-new")["not_asked"]["why"], "no_event");
    let (out, err, code) = explain(&["github:o/r#1"], path).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(!out.contains("another policy"), "without a name it is the one in force: {out}");
    assert!(
        out.contains("holds, and decides the issue already, fired last at") || out.contains("would fire"),
        "{out}"
    );
    assert_inert(&out);
}

#[tokio::test]
async fn a_policy_on_trial_is_explained_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let text = fs::read_to_string(sample("policy.yaml")).unwrap();
    let candidate = text
        .replace("action: post_nudge, target: \"team:triage\"", "action: assign_owner, target: \"owner:bo\"");
    assert_ne!(text, candidate);
    let (policy, candidate) = (write(path, "policy.yaml", &text), write(path, "candidate.yaml", &candidate));
    let serve =
        Serve::start(path, |command| command.arg("--policy").arg(&policy).arg("--shadow").arg(&candidate))
            .await;
    let opened = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 1});
    let cause = publish(&opened, path).await["event_id"].as_str().unwrap().to_owned();
    let real = action_of(|it| it == cause, path).await;
    let tried = async || tail("actions-shadow", |command| command.arg("--data-dir").arg(path)).await;
    until("the shadow decides, too", async || !tried().await.is_empty()).await;
    let tried = tried().await.remove(0);
    assert_eq!(real["event_id"], tried["event_id"], "one id, two decisions");
    let id = real["event_id"].as_str().unwrap();
    serve.stop().await;

    let told = document(&[id], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&real, &real["policy_hash"]));
    for subject in [id, &cause] {
        let told = document(&[subject, "--topic", "actions-shadow"], path).await;
        assert_eq!(told["policy_hash"], tried["policy_hash"]);
        assert_ne!(told["policy_hash"], real["policy_hash"]);
        let fired = &rule(&told, "triage-new")["became"]["actions"][0];
        assert_eq!((&fired["target"], &fired["id"]), (&json!("owner:bo"), &json!(id)));
        assert!(told["remarks"][0].as_str().unwrap().contains("on trial"), "{told}");
    }

    // Taken away, it has decided nothing; and an action that is only its own is found.
    let only = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 2,
        "labels": ["ours"]});
    let own = text.replace("rules:\n", "rules:\n  - { id: ours, when: '\"ours\" in issue.labels', then: { action: post_nudge, target: \"team:triage\" }, rationale: Ours }\n");
    fs::write(&candidate, own).unwrap();
    let serve =
        Serve::start(path, |command| command.arg("--policy").arg(&policy).arg("--shadow").arg(&candidate))
            .await;
    publish(&only, path).await;
    let mut found = None;
    until("the next candidate decides", async || {
        let all = tail("actions-shadow", |command| command.arg("--data-dir").arg(path)).await;
        found = all.into_iter().find(|action| action["rule"] == "ours");
        found.is_some()
    })
    .await;
    serve.stop().await;
    let found = found.unwrap();
    let told = document(&[found["event_id"].as_str().unwrap()], path).await;
    assert_eq!((&told["action"], &told["record"]["topic"]), (&found, &json!("actions-shadow")));
}
