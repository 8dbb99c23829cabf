//! What a policy on trial costs production: nothing that it waits for.

use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst};

use chrono::TimeDelta;
use eventlog::{Log, NewRecord};
use events::{Action, topic};
use serde_json::{Value, json};

use crate::{
    shadow::{CANDIDATE, rules},
    world::{PARTITIONS, POLICY, World, load},
};

/// The most records of a step that writes what a shadow begins with.
const BOUND: u32 = 500;
/// What says that a shadow stands.
const STANDS: &str = "shadow:[\"\",\"policy\"";

impl World {
    async fn until_shadow_stands(&self, text: &str) {
        let hash = json!(load(text).hash());
        let stands = async || {
            let state = self.state(STANDS).await;
            state.len() == PARTITIONS as usize && state.values().all(|value| *value == hash)
        };
        self.until("the shadow stands", stands).await;
    }

    /// Issues as `gateway-state` has them under keys that begin so, by key.
    async fn issues(&self, prefix: &str) -> Vec<(String, Value)> {
        let state = self.state(&format!("{prefix}[\"alpha\",\"issue\"")).await;
        state.into_iter().map(|((_, key), value)| (key[prefix.len()..].to_owned(), value)).collect()
    }
}

fn facts(issues: Vec<(String, Value)>) -> Vec<(String, Value)> {
    issues.into_iter().map(|(key, mut issue)| (key, issue["facts"].take())).collect()
}

#[tokio::test]
async fn a_shadow_is_written_in_bounded_steps_and_begins_anew_after_a_crash_between_them() {
    const ISSUES: usize = 3000;
    let mut world = World::new().await;
    let at = world.open_issues(1, ISSUES, json!({"labels": ["frontend"]})).await[0].partition;
    world.settle().await;
    // Three partitions have one step each; so this is after two to five of the seven that the fourth needs.
    world.log.stall_shadow_after.store(5, SeqCst);
    world.shadow(Some(CANDIDATE));
    world.until("it stalls", async || world.log.stalled.load(SeqCst)).await;
    let written = world.issues("shadow:").await.len();
    assert!((1..ISSUES).contains(&written), "{written}");
    assert!(world.state(STANDS).await.keys().all(|(partition, _)| *partition != at));
    assert!(world.log.largest_of_shadow.load(SeqCst) <= BOUND);
    world.crash().await;
    // What is known of an issue changes before it begins anew; another is gone on without.
    world.shadow(None);
    world.start();
    world.say("e-1", json!({"issue_ref": "github:a/b#7", "type": "issue_closed", "state": "closed"})).await;
    world.settle().await;
    world.shadow(Some(CANDIDATE));
    world.until_shadow_stands(CANDIDATE).await;
    assert!(world.log.largest_of_shadow.load(SeqCst) <= BOUND);
    let (own, production) = (world.issues("shadow:").await, world.issues("").await);
    assert_eq!(own.len(), ISSUES);
    assert!(own.iter().all(|(_, issue)| issue["deciding"].get("frontend-to-alice").is_none()));
    assert_eq!(facts(own), facts(production));
    assert!(world.shadow_actions().await.is_empty(), "it fires nothing by itself");
    assert!(world.state("shadow:").await.keys().all(|(_, key)| !key.contains("\"seen\"")));

    // It recognises what was counted before it began, also after a restart, and where something younger came between.
    world.turn(TimeDelta::minutes(1));
    let younger = json!({"issue_ref": "github:a/b#8", "labels": ["frontend"], "type": "issue_updated"});
    world.say("younger", younger).await;
    world.settle().await;
    world.crash().await;
    world.start();
    world.turn(TimeDelta::minutes(1));
    world.open_issues(8, 1, json!({"labels": ["frontend"], "type": "issue_commented"})).await;
    world.say("e-2", json!({"issue_ref": "github:a/b#9", "type": "issue_commented"})).await;
    world.settle().await;
    let actions = world.until_shadow_actions(1).await;
    assert_eq!(actions.iter().map(|action| action.cause.as_deref()).collect::<Vec<_>>(), [Some("e-2")]);

    // And is deleted in such steps, after it was said that it stands no more; a crash between them leaves nothing behind.
    world.log.stall_shadow_after.store(5, SeqCst);
    world.shadow(None);
    world.until("it stalls", async || world.log.stalled.load(SeqCst)).await;
    assert!((1..ISSUES).contains(&world.issues("shadow:").await.len()));
    assert!(world.state(STANDS).await.is_empty());
    assert!(world.log.largest_of_shadow.load(SeqCst) <= BOUND);
    world.crash().await;
    world.start();
    world.until("it is gone", async || world.state("shadow:").await.is_empty()).await;
    assert!(world.log.largest_of_shadow.load(SeqCst) <= BOUND);
}

#[tokio::test]
async fn a_shadow_goes_on_while_it_is_written() {
    let world = World::new().await;
    world.open_issues(1, 2500, json!({"labels": ["frontend"]})).await;
    world.settle().await;
    world.turn(TimeDelta::minutes(1));
    world.shadow(Some(CANDIDATE));
    for n in 0..20 {
        let issue = format!("github:a/b#{}", 1 + 120 * n);
        world.say(&format!("c-{n}"), json!({"issue_ref": issue, "type": "issue_commented"})).await;
    }
    world.until_shadow_stands(CANDIDATE).await;
    world.say("c-20", json!({"issue_ref": "github:a/b#2401", "type": "issue_commented"})).await;
    world.settle().await;
    // Those that came after it began, each once; and what it wrote is what it is.
    let actions = world.shadow_actions().await;
    let causes: BTreeSet<_> = actions.iter().map(|action| action.cause.clone()).collect();
    assert_eq!(causes.len(), actions.len());
    assert!(causes.contains(&Some("c-20".to_owned())));
    let fired = world.issues("shadow:").await.into_iter();
    let fired = fired.filter(|(_, issue)| issue["fired"].get("every-comment").is_some()).count();
    assert_eq!(fired, actions.len());
    let mut world = world;
    world.crash().await;
    world.start();
    world.say("last", json!({"issue_ref": "github:a/b#2401", "type": "issue_commented"})).await;
    world.settle().await;
    assert_eq!(world.shadow_actions().await.len(), actions.len(), "within the cooldown");
}

#[tokio::test]
async fn a_shadow_whose_steps_fail_is_given_up_and_production_goes_on() {
    for refused in [false, true] {
        let mut world = World::new().await;
        world.changes(1).await;
        let fault = if refused { &world.log.refuse_shadow } else { &world.log.fail_shadow };
        fault.store(u32::MAX, SeqCst);
        world.shadow(Some(CANDIDATE));
        world.say("e-1", json!({"labels": ["frontend"]})).await;
        assert_eq!(world.until_actions(1).await, ["assign_owner owner:alice"]);
        world.until("it is given up", async || world.in_force.given_up().is_some()).await;
        let tries = u32::MAX - fault.load(SeqCst);
        assert_eq!(tries, if refused { 1 } else { 4 });
        let given_up = world.in_force.given_up().unwrap();
        assert_eq!(given_up.hash, load(CANDIDATE).hash());
        assert!(given_up.why.contains("because of the shadow"), "{}", given_up.why);
        let all = || (0..PARTITIONS).collect::<Vec<_>>();
        world
            .until("production goes on", async || {
                world.in_force.policy() == [(load(POLICY).hash().to_owned(), all())].into()
            })
            .await;
        assert_eq!(world.in_force.shadow(), [].into());
        world.say("e-2", json!({"issue_ref": "github:a/b#2"})).await;
        assert_eq!(world.until_actions(2).await[1], "post_nudge team:triage");
        world.settle().await;
        assert_eq!(u32::MAX - fault.load(SeqCst), tries, "it is not tried again");
        assert!(world.shadow_actions().await.is_empty());
        world.changes(1).await;

        // Another candidate is; and after a start the same one, too.
        fault.store(0, SeqCst);
        let next = CANDIDATE.replace("Somebody said something", "Somebody spoke");
        world.shadow(Some(&next));
        world.until_shadow_stands(&next).await;
        assert_eq!(world.in_force.given_up(), None);
        assert_eq!(world.in_force.shadow(), [(load(&next).hash().to_owned(), all())].into());
        world.shadow(Some(CANDIDATE));
        world.until_shadow_stands(CANDIDATE).await;

        // One that stood and is given up has missed something: it begins anew.
        world.say("e-3", json!({"issue_ref": "github:a/b#3", "labels": ["frontend"]})).await;
        let actions = world.until_shadow_actions(1).await;
        assert_eq!(rules(&actions), ["every-six-hours"]);
        let fault = if refused { &world.log.refuse_shadow } else { &world.log.fail_shadow };
        fault.store(u32::MAX, SeqCst);
        world.say("e-4", json!({"issue_ref": "github:a/b#4", "labels": ["frontend"]})).await;
        assert_eq!(world.until_actions(4).await[3], "assign_owner owner:alice");
        world.until("no shadow stands", async || world.state(STANDS).await.is_empty()).await;
        fault.store(0, SeqCst);
        world.stop().await;
        world.start();
        world.until_shadow_stands(CANDIDATE).await;
        let own = world.issues("shadow:").await;
        assert!(own.iter().all(|(_, issue)| issue["fired"].get("every-six-hours").is_none()), "{own:?}");
        world.turn(TimeDelta::hours(7));
        world.say("e-5", json!({"issue_ref": "github:a/b#5", "type": "issue_commented"})).await;
        let actions = world.until_shadow_actions(2).await;
        assert_eq!(rules(&actions), ["every-six-hours", "every-comment"], "no repeat of what it forgot");
    }
}

#[tokio::test]
async fn a_log_that_takes_no_step_at_all_is_no_reason_to_give_a_shadow_up() {
    let world = World::with(POLICY, Some(CANDIDATE)).await;
    world.until_shadow_stands(CANDIDATE).await;
    world.log.fail_before.store(7, SeqCst);
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    assert_eq!(rules(&world.until_shadow_actions(1).await), ["every-six-hours"]);
    assert_eq!(world.log.fail_before.load(SeqCst), 0);
    assert_eq!(world.in_force.given_up(), None);
    let actions: Vec<Action> = world.read(topic::ACTIONS).await;
    assert_eq!(actions.len(), 1);
}

#[tokio::test]
async fn records_of_a_shadow_that_cannot_be_read_are_dropped_and_it_begins_anew() {
    let mut world = World::with(POLICY, Some(CANDIDATE)).await;
    let at = world.say("e-1", json!({"issue_ref": "github:a/b#1", "labels": ["frontend"]})).await.partition;
    world.until_shadow_actions(1).await;
    world.until_shadow_stands(CANDIDATE).await;
    world.stop().await;
    let record = |key: &str, value: &'static [u8]| NewRecord {
        topic: topic::GATEWAY_STATE.into(),
        partition: Some(at),
        key: key.to_owned().into(),
        value: Some(value.into()),
        headers: Vec::new(),
    };
    let issue = "shadow:[\"alpha\",\"issue\",\"github:a/b#1\"]";
    let nonsense =
        [record("shadow:nonsense", b"1"), record("shadow:[\"\",\"whim\",\"\"]", b"1"), record(issue, b"7")];
    world.log.append(nonsense.into()).await.unwrap();
    world.start();
    let readable = async || {
        let state = world.state("shadow:").await;
        let keys: Vec<_> =
            state.keys().filter(|(partition, _)| *partition == at).map(|(_, key)| key).collect();
        !keys.iter().any(|key| key.contains("nonsense") || key.contains("whim"))
            && state.get(&(at, issue.into())).is_some_and(|issue| issue.is_object())
    };
    world.until("what cannot be read is gone", readable).await;
    world.until_shadow_stands(CANDIDATE).await;
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
    world.until_actions(2).await;
    assert_eq!(world.until_shadow_actions(2).await.len(), 2);
    world.changes(1).await;
    // And a restart finds nothing to do.
    world.settle().await;
    let records = world.records(topic::GATEWAY_STATE).await.len();
    world.stop().await;
    world.start();
    world.until("it moves", async || world.progress.moved_at().is_some()).await;
    assert_eq!(world.records(topic::GATEWAY_STATE).await.len(), records);
}

#[tokio::test]
async fn a_policy_is_in_force_when_its_step_was_made() {
    let world = World::new().await;
    world.changes(1).await;
    let all: Vec<u32> = (0..PARTITIONS).collect();
    let first = load(POLICY).hash().to_owned();
    world
        .until("it is said", async || world.in_force.policy() == [(first.clone(), all.clone())].into())
        .await;
    world.log.fail_before.store(6, SeqCst);
    let other = POLICY.replace("owner:alice", "owner:bo");
    let hash = load(&other).hash().to_owned();
    world.policy(&other);
    while world.log.fail_before.load(SeqCst) > 0 {
        assert!(!world.in_force.policy().contains_key(&hash));
        tokio::task::yield_now().await;
    }
    world
        .until("it is in force", async || world.in_force.policy() == [(hash.clone(), all.clone())].into())
        .await;
    world.changes(2).await;
}
