//! Another policy takes over while the gateway runs.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use chrono::TimeDelta;
use events::{Action, PolicyChange, topic};
use gateway::Policies;
use serde_json::json;

use crate::world::{POLICY, World, at, load};

/// Only the label is another.
fn other() -> String {
    POLICY.replace("\"frontend\" in", "\"backend\" in")
}

fn backend() -> serde_json::Value {
    json!({"labels": ["backend"]})
}

/// Which policy decided each action, by its cause.
async fn deciders(world: &World) -> BTreeMap<String, String> {
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    actions.into_iter().map(|action| (action.cause.unwrap(), action.policy_hash.unwrap())).collect()
}

#[tokio::test]
async fn a_change_between_two_events_decides_from_the_second_on_and_fires_nothing_itself() {
    let mut world = World::new().await;
    let first = world.changes(1).await;
    assert!(first.iter().all(|change| change.clock == Some(at("1970-01-01T00:00:00Z"))));
    let placed = world.say("e-1", backend()).await;
    assert_eq!(world.until_actions(1).await, ["post_nudge team:triage"]);
    world.turn(TimeDelta::minutes(5));
    world.policy(&other());
    let changes = world.changes(2).await;
    for change in &changes {
        assert_eq!(change.policy_hash, load(&other()).hash());
        assert_eq!(change.policy, other());
        assert_eq!(change.at, at("2026-03-02T09:05:00Z"));
        let decided = u64::from(change.partition == placed.partition);
        assert_eq!(change.offsets, [("issues".into(), decided), ("outcomes".into(), 0)].into());
        let clock = if decided == 1 { "2026-03-02T09:00:00Z" } else { "1970-01-01T00:00:00Z" };
        assert_eq!(change.clock, Some(at(clock)), "the partition's own time");
    }

    // The rule decides the issue since the change, silently: it does not come to decide it by the next event.
    let deciding = &world.state("[\"alpha\",\"issue\"").await.into_values().next().unwrap()["deciding"];
    assert_eq!(deciding, &json!({"frontend-to-alice": null}));
    world.turn(TimeDelta::minutes(20));
    world.say("e-2", json!({"type": "issue_updated", "labels": ["backend", "ui"]})).await;
    world.say("e-3", json!({"issue_ref": "github:a/b#2", "labels": ["backend"]})).await;
    assert_eq!(world.until_actions(2).await[1], "assign_owner owner:alice");
    let expected = [("e-1", load(POLICY)), ("e-3", load(&other()))];
    let expected = expected.map(|(cause, ruleset)| (cause.to_owned(), ruleset.hash().to_owned()));
    assert_eq!(deciders(&world).await, expected.into());

    // Neither a restart nor the death of the process is a change.
    world.stop().await;
    world.start();
    world.say("e-4", json!({"issue_ref": "github:a/b#3", "labels": ["backend"]})).await;
    world.until_actions(3).await;
    world.crash().await;
    world.start();
    world.say("e-5", json!({"issue_ref": "github:a/b#4", "labels": ["backend"]})).await;
    world.until_actions(4).await;
    world.changes(2).await;
    assert_eq!(deciders(&world).await["e-5"], load(&other()).hash());
}

#[tokio::test]
async fn events_after_a_change_are_decided_by_it_also_while_the_log_is_quiet() {
    let mut world = World::idle(POLICY, None).await.patient();
    world.start();
    world.changes(1).await;
    // Nothing but the change itself wakes the gateway.
    for n in 0..20 {
        let text = if n % 2 == 0 { other() } else { POLICY.to_owned() };
        world.policy(&text);
        world.say(&format!("e-{n}"), json!({"issue_ref": format!("github:a/b#{n}")})).await;
        world.until_actions(n + 1).await;
        assert_eq!(deciders(&world).await[&format!("e-{n}")], load(&text).hash(), "event {n}");
    }
}

/// A policy that is as long as a policy may be where the log keeps it.
pub fn longest() -> String {
    let text = format!("{POLICY}\n# {}", "\"".repeat(policy::MAX_JSON_BYTES / 2));
    let over = serde_json::to_string(&text).unwrap().len() - policy::MAX_JSON_BYTES;
    let text = text[..text.len() - over.div_ceil(2)].to_owned();
    assert!(policy::load(&format!("{text}\"")).is_err());
    text
}

#[tokio::test]
async fn the_longest_policy_fits_into_a_record_of_four_mebibytes() {
    let world = World::new().await;
    world.changes(1).await;
    world.policy(&longest());
    let changes = world.changes(2).await;
    assert!(changes.iter().all(|change| change.policy == longest()));
    for record in world.records(topic::POLICIES).await {
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(record.value.unwrap().len() + record.key.len() + headers < 4 * 1024 * 1024 - 4096);
    }
}

#[tokio::test]
async fn a_timer_of_a_rule_that_is_no_more_does_nothing_and_one_of_a_new_rule_is_set() {
    let world = World::new().await;
    world.say("e-1", json!({"labels": ["frontend"], "due_at": "2026-03-02T17:00:00Z"})).await;
    world.until_actions(1).await;
    let renamed = POLICY
        .replace("id: deadline\n", "id: day-before\n")
        .replace("at: issue.due_at", "at: issue.due_at - duration(\"2h\")");
    let renamed = renamed.replace("issue.due_at <= now", "issue.due_at - duration(\"2h\") <= now");
    assert_ne!(load(&renamed).rule("day-before").map(|rule| rule.id()), None);
    world.policy(&renamed);
    world.changes(2).await;
    world.turn(TimeDelta::hours(7));
    assert_eq!(world.until_actions(2).await[1], "schedule_unblocker team:triage");
    world.turn(TimeDelta::hours(2));
    world.say("e-2", json!({"issue_ref": "github:a/b#2"})).await;
    world.until_actions(3).await;
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    let rules: Vec<_> = actions.iter().map(|action| action.rule.as_deref().unwrap()).collect();
    assert_eq!(rules, ["frontend-to-alice", "day-before", "triage-new"], "nothing at the due date itself");
    assert_eq!(actions[1].evaluated_at, Some(at("2026-03-02T15:00:00Z")));
    assert_eq!(actions[1].policy_hash.as_deref(), Some(load(&renamed).hash()));
}

#[tokio::test]
async fn what_a_rule_did_follows_its_id_through_a_change() {
    let world = World::new().await;
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    world.until_actions(1).await;
    // Another label, and so the rule no longer decides the issue.
    world.policy(&other());
    world.changes(2).await;
    world.turn(TimeDelta::minutes(1));
    world.say("e-2", json!({"type": "issue_updated", "labels": ["backend"]})).await;
    world.say("e-3", json!({"issue_ref": "github:a/b#2"})).await;
    assert_eq!(
        world.until_actions(2).await,
        ["assign_owner owner:alice", "post_nudge team:triage"],
        "within the cooldown"
    );
}

#[tokio::test]
async fn a_change_while_steps_fail_is_made_once() {
    for (before, after) in [(1, 0), (0, 1), (3, 0), (1, 2)] {
        let world = World::new().await;
        world.changes(1).await;
        world.log.fail_before.store(before, SeqCst);
        world.log.fail_after.store(after, SeqCst);
        world.policy(&other());
        world.say("e-1", backend()).await;
        assert_eq!(world.until_actions(1).await, ["assign_owner owner:alice"]);
        world.settle().await;
        let changes = world.changes(2).await;
        assert!(changes.iter().all(|change| change.policy_hash == load(&other()).hash()));
        assert_eq!(world.log.fail_before.load(SeqCst) + world.log.fail_after.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn of_two_changes_the_last_one_counts() {
    let world = World::new().await;
    world.changes(1).await;
    let last = POLICY.replace("owner:alice", "owner:bo");
    for n in 0..5 {
        world.policy(&other());
        world.policy(&last);
        world
            .say(&format!("e-{n}"), json!({"issue_ref": format!("github:a/b#{n}"), "labels": ["frontend"]}))
            .await;
        assert_eq!(world.until_actions(n + 1).await[n], "assign_owner owner:bo");
        world.policy(POLICY);
    }
    // Each record follows one of another policy: nothing changes to what it is.
    let changes: Vec<PolicyChange> = world.read(topic::POLICIES).await;
    let mut in_force = BTreeMap::new();
    for change in changes {
        assert_ne!(in_force.insert(change.partition, change.policy_hash.clone()), Some(change.policy_hash));
    }
}

#[tokio::test]
async fn a_change_while_a_partition_is_restored_waits_for_it() {
    let mut world = World::new().await;
    world.say("e-1", backend()).await;
    world.until_actions(1).await;
    world.stop().await;
    let (policies, next) = (world.policies.clone(), load(&other()));
    let change = move || policies.send_modify(|policies: &mut Policies| policies.policy = next);
    *world.log.when_restoring.lock().unwrap() = Some(Box::new(change));
    world.start();
    world.changes(2).await;
    assert!(world.log.when_restoring.lock().unwrap().is_none(), "nothing was restored");
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["backend"]})).await;
    assert_eq!(world.until_actions(2).await, ["post_nudge team:triage", "assign_owner owner:alice"]);
}

#[tokio::test]
async fn a_crash_anywhere_in_a_change_leaves_each_partition_changed_once() {
    let mut world = World::new().await;
    world.changes(1).await;
    for round in 0..12_u32 {
        let text = if round % 2 == 0 { other() } else { POLICY.to_owned() };
        world.policy(&text);
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        world.crash().await;
        world.start();
        world.changes(round as usize + 2).await;
    }
}
