//! Conversations with a gateway on a real log: events in, time turned by hand, actions out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod faulty_log;
mod live;
mod readiness;
mod shadow;
mod trial;
mod world;

use std::sync::atomic::Ordering::SeqCst;

use chrono::TimeDelta;
use events::{Action, DeadLetter, PolicyChange, topic};
use serde_json::json;
use world::{POLICY, World, at};

#[tokio::test]
async fn the_four_samples_give_the_four_actions() {
    let world = World::new().await;
    world.say("e-1", json!({"issue_ref": "github:a/b#1", "labels": ["Bug", "P0"]})).await;
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
    world
        .say(
            "e-3",
            json!({"issue_ref": "github:a/b#3", "assignee": "maria", "due_at": "2026-01-15T23:59:59Z"}),
        )
        .await;
    world.say("e-4", json!({"issue_ref": "github:a/b#4"})).await;
    world.settle().await;
    assert_eq!(
        world.actions().await,
        [
            "escalate_owner team:platform",
            "assign_owner owner:alice",
            "schedule_unblocker owner:maria",
            "post_nudge team:triage"
        ]
    );
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    assert_eq!(actions[0].cause.as_deref(), Some("e-1"));
    assert_eq!(actions[0].event_id, events::id::action("e-1", "github:a/b#1", "escalate-p0-bug", 0));
    assert_eq!(actions[0].policy_hash.as_deref(), Some(policy::load(POLICY).unwrap().hash()));
}

#[tokio::test]
async fn a_due_date_passes_without_any_webhook() {
    let world = World::new().await;
    world
        .say("e-1", json!({"assignee": "maria", "due_at": "2026-03-02T17:00:00Z", "labels": ["frontend"]}))
        .await;
    assert_eq!(world.until_actions(1).await, ["assign_owner owner:alice"]);
    world.turn(TimeDelta::hours(7));
    world.settle().await;
    assert_eq!(world.actions().await.len(), 1, "an hour before the date nothing happens");
    world.turn(TimeDelta::hours(1) + TimeDelta::seconds(1));
    assert_eq!(world.until_actions(2).await[1], "schedule_unblocker owner:maria");
    let unblocker = world.read::<Action>(topic::ACTIONS).await.pop().unwrap();
    assert_eq!(unblocker.evaluated_at, Some(at("2026-03-02T17:00:00Z")), "a timer's now is its due time");
    assert!(unblocker.cause.unwrap().starts_with("t-"));
    assert_eq!(unblocker.params["start_at"], json!("2026-03-02T17:15:00Z"));
}

#[tokio::test]
async fn a_due_date_that_passed_during_an_outage_is_met_on_return() {
    let mut world = World::new().await;
    world
        .say("e-1", json!({"assignee": "maria", "due_at": "2026-03-02T17:00:00Z", "labels": ["frontend"]}))
        .await;
    world.until_actions(1).await;
    world.crash().await;
    world.turn(TimeDelta::hours(9));
    world.start();
    assert_eq!(world.until_actions(2).await[1], "schedule_unblocker owner:maria");
}

#[tokio::test]
async fn a_timer_is_not_lost_when_the_log_does_not_answer_for_another_partition() {
    let world = World::new().await;
    // Two projects on two partitions, the first of them partition 0.
    let on = |wanted: fn(u32) -> bool| {
        let names = (0..).map(|n| format!("project-{n}"));
        names.clone().find(|name| wanted(eventlog::partition_of(name.as_bytes(), 4))).unwrap()
    };
    let projects = [on(|partition| partition == 0), on(|partition| partition == 3)];
    for (n, project) in projects.iter().enumerate() {
        let due = json!({"project_id": project, "type": "issue_updated", "due_at": "2026-03-02T17:00:00Z"});
        world.say(&format!("e-{n}"), due).await;
    }
    world.settle().await;
    world.log.fail_asking.store(3, SeqCst);
    world.turn(TimeDelta::hours(9));
    assert_eq!(world.until_actions(2).await, ["schedule_unblocker team:triage"; 2]);
    assert_eq!(world.log.fail_asking.load(SeqCst), 0, "the log did not answer");
}

#[tokio::test]
async fn a_timer_goes_before_a_later_record_and_after_an_earlier_one() {
    let mut world = World::new().await;
    world
        .say("e-1", json!({"assignee": "maria", "due_at": "2026-03-02T17:00:00Z", "labels": ["frontend"]}))
        .await;
    world.until_actions(1).await;
    world.stop().await;
    // While nobody decides: closed an hour before the date, and another issue opened after it.
    world.turn(TimeDelta::hours(7));
    world.say("e-2", json!({"type": "issue_closed", "state": "closed"})).await;
    world.turn(TimeDelta::hours(2));
    world.say("e-3", json!({"issue_ref": "github:a/b#2", "due_at": "2026-03-02T17:00:00Z"})).await;
    world.start();
    world.settle().await;
    assert_eq!(
        world.actions().await,
        ["assign_owner owner:alice", "schedule_unblocker team:triage"],
        "the closed issue's date fires nothing; the second issue was overdue when it came"
    );
}

#[tokio::test]
async fn an_event_counts_once_however_often_it_stands_on_the_log() {
    let mut world = World::new().await;
    let opened = json!({"issue_ref": "github:a/b#4"});
    world.say_with("e-1", opened.clone(), Some("hash-1")).await;
    world.say_with("e-1", opened.clone(), Some("hash-1")).await;
    world.settle().await;
    world.crash().await;
    world.start();
    world.say_with("e-1", opened.clone(), Some("hash-1")).await;
    world.say_with("e-forged", opened, Some("hash-1")).await;
    world.settle().await;
    assert_eq!(world.actions().await, ["post_nudge team:triage"]);
}

#[tokio::test]
async fn a_step_that_fails_before_or_after_it_was_made_gives_each_action_once() {
    let world = World::new().await;
    for round in 0..12 {
        world.log.fail_before.store(round % 3, SeqCst);
        world.log.fail_after.store(round % 2, SeqCst);
        world.say(&format!("e-{round}"), json!({"issue_ref": format!("github:a/b#{round}")})).await;
        world.until_actions(round as usize + 1).await;
        world.settle().await;
        let left = (world.log.fail_before.load(SeqCst), world.log.fail_after.load(SeqCst));
        // Settling may need no further step when the last failure was after the fact.
        assert_eq!(left, (0, 0), "every failure was met");
    }
    let mut ids: Vec<_> =
        world.read::<Action>(topic::ACTIONS).await.into_iter().map(|a| a.event_id).collect();
    assert_eq!(ids.len(), 12);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12, "no action stands twice");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_the_partition_moves_on() {
    let world = World::new().await;
    let bad = world.append(topic::ISSUES, "alpha", b"{\"event_id\": 7}".to_vec(), vec![]).await;
    let beta = br#"{"event_id":"e","project_id":"beta","source":"github","type":"issue_opened","issue_ref":"github:a/b#1"}"#;
    world.append(topic::ISSUES, "alpha", beta.to_vec(), vec![]).await;
    world.append(topic::OUTCOMES, "alpha", b"\xff\xfe".to_vec(), vec![]).await;
    world.say(&"e".repeat(513), json!({})).await;
    world.say("e-1", json!({})).await;
    world.settle().await;
    assert_eq!(world.actions().await, ["post_nudge team:triage"]);
    let letters: Vec<DeadLetter> = world.read(topic::DEAD_LETTERS).await;
    let mut reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["unreadable", "unreadable", "unreadable", "wrong_key"]);
    let origin =
        events::Origin::Record { topic: "issues".into(), partition: bad.partition, offset: bad.offset };
    assert!(letters.iter().any(|letter| letter.origin == origin));
}

#[tokio::test]
async fn risk_is_the_sum_of_outcomes_each_counted_once() {
    let mut world = World::new().await;
    world.say("e-1", json!({})).await;
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
    world.until_actions(2).await;
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    let first = world.outcome(&actions[0], -50).await;
    world.outcome(&actions[0], -50).await;
    world.outcome(&actions[1], 100).await;
    world.settle().await;
    for restarted in [false, true] {
        if restarted {
            world.crash().await;
            world.start();
        }
        world.until("the risk is known", async || !world.view.projects().is_empty()).await;
        let projects = world.view.projects();
        assert_eq!(projects.len(), 1);
        let json = serde_json::to_value(&projects[0]).unwrap();
        assert_eq!(json["project_id"], "alpha");
        assert_eq!(json["risk"], json!(0.05));
        assert!(json.to_string().contains(&first.event_id), "each part is traceable to its outcome: {json}");
    }
}

#[tokio::test]
async fn another_policy_at_the_start_is_recorded_and_fires_nothing() {
    let mut world = World::new().await;
    world.say("e-1", json!({"labels": ["backend"]})).await;
    world.until_actions(1).await;
    world.stop().await;
    world.policy(&POLICY.replace("\"frontend\" in", "\"backend\" in"));
    world.start();
    world.until("the change is recorded", async || world.records(topic::POLICIES).await.len() == 8).await;
    world.settle().await;
    assert_eq!(world.actions().await, ["post_nudge team:triage"], "the new policy fires nothing by itself");
    let changes: Vec<PolicyChange> = world.read(topic::POLICIES).await;
    let latest = changes.iter().filter(|change| change.policy.contains("\"backend\" in"));
    assert_eq!(latest.clone().map(|change| change.offsets["issues"]).sum::<u64>(), 1);
    assert_eq!(latest.count(), 4, "one record a partition");
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["backend"]})).await;
    assert_eq!(world.until_actions(2).await[1], "assign_owner owner:alice");
    world.stop().await;
    world.start();
    world.say("e-3", json!({"issue_ref": "github:a/b#3"})).await;
    world.until_actions(3).await;
    assert_eq!(world.records(topic::POLICIES).await.len(), 8, "the same policy is no change");
}
