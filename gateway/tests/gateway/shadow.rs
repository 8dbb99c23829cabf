//! A second policy decides the same inputs onto `actions-shadow`.

use std::sync::atomic::Ordering::SeqCst;

use chrono::TimeDelta;
use events::{Action, topic};
use serde_json::{Value, json};

use crate::world::{POLICY, World, at, load};

/// Rules of other ids than the sample's: what they did and wait for is theirs alone.
pub const CANDIDATE: &str = r#"
version: 1
teams:
  triage: { members: [alice, bo, cleo] }
rules:
  - id: every-six-hours
    when: '"frontend" in issue.labels'
    then: { action: assign_owner, target: "team:triage" }
    repeat: 6h
    rationale: Somebody of the team takes it
  - id: two-hours-before
    at: issue.due_at - duration("2h")
    when: 'issue.due_at != null && issue.due_at - duration("2h") <= now'
    then: { action: schedule_unblocker, target: [assignee, "team:triage"], duration: 30m }
    rationale: Two hours are left
    continue: true
  - id: every-comment
    when: 'event.type == "issue_commented"'
    then: { action: post_nudge, target: "team:triage" }
    cooldown: 1h
    rationale: Somebody said something
"#;

/// A history with all that has a memory: rotation, repeats, dates, cooldowns, duplicates, milestones, outcomes.
async fn tell(world: &World, from: usize, to: usize) {
    for n in from..to {
        let issue = format!("github:a/b#{}", n % 7);
        let fields = match n % 9 {
            0 | 5 => json!({"issue_ref": issue, "labels": ["frontend"]}),
            1 => json!({"issue_ref": issue, "due_at": world_time(n), "labels": ["bug", "p0"]}),
            2 | 6 => json!({"issue_ref": issue, "type": "issue_commented"}),
            3 => {
                json!({"issue_ref": issue, "type": "issue_updated", "labels": ["frontend"], "assignee": "maria"})
            }
            4 => json!({"issue_ref": issue, "type": "issue_closed", "state": "closed"}),
            7 => json!({"issue_ref": issue, "type": "issue_reopened", "labels": ["overdue", "frontend"]}),
            _ => json!({"issue_ref": issue, "project_id": "beta", "labels": ["frontend"]}),
        };
        world.say_with(&format!("e-{n}"), fields.clone(), Some(&format!("h-{n}"))).await;
        if n % 4 == 0 {
            world.say_with(&format!("e-again-{n}"), fields, Some(&format!("h-{n}"))).await;
        }
        if n % 10 == 3 {
            world.append(topic::ISSUES, "alpha", b"not an event".to_vec(), vec![]).await;
        }
        world.settle().await;
        // Nothing is missed: at each turn at most one repeat of a rule is due.
        for _ in 0..3 {
            world.turn(TimeDelta::minutes(47));
            let now = eventlog::Clock::now(&*world.clock);
            let quiet = async || world.next_timer().await.is_none_or(|due| due > now - gateway::END_MARGIN);
            world.until("timers fire", quiet).await;
        }
    }
}

fn world_time(n: usize) -> Value {
    json!(at("2026-03-02T12:00:00Z") + TimeDelta::hours(2 * n as i64))
}

impl World {
    /// When the first timer of all is due, as the changelog says.
    async fn next_timer(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        let state = self.state("").await;
        let timers = state.values().filter_map(|value| value.get("timers")?.as_array().cloned()).flatten();
        timers.map(|timer| at(timer["due_at"].as_str().unwrap())).min()
    }

    pub async fn shadow_actions(&self) -> Vec<Action> {
        self.read(topic::ACTIONS_SHADOW).await
    }

    pub async fn until_shadow_actions(&self, count: usize) -> Vec<Action> {
        self.until("shadow actions appear", async || self.shadow_actions().await.len() >= count).await;
        self.shadow_actions().await
    }
}

/// Everything of an action, by partition.
fn sorted(mut actions: Vec<Action>) -> Vec<Action> {
    actions.sort_by(|a, b| {
        (&a.project_id, a.evaluated_at, &a.event_id).cmp(&(&b.project_id, b.evaluated_at, &b.event_id))
    });
    actions
}

pub fn rules(actions: &[Action]) -> Vec<&str> {
    actions.iter().map(|action| action.rule.as_deref().unwrap()).collect()
}

#[tokio::test]
async fn a_shadow_decides_what_the_candidate_alone_would_decide_and_leaves_production_alone() {
    let mut both = World::with(POLICY, Some(CANDIDATE)).await;
    let policy = World::new().await;
    let candidate = World::with(CANDIDATE, None).await;
    tell(&both, 0, 20).await;
    // A crash, a stop and a step that fails in the middle of it change nothing.
    both.crash().await;
    both.start();
    tell(&both, 20, 30).await;
    both.stop().await;
    both.start();
    both.log.fail_before.store(2, SeqCst);
    both.log.fail_after.store(1, SeqCst);
    tell(&both, 30, 45).await;
    tell(&policy, 0, 45).await;
    tell(&candidate, 0, 45).await;

    let alone = sorted(candidate.read(topic::ACTIONS).await);
    for rule in ["every-six-hours", "two-hours-before", "every-comment"] {
        assert!(rules(&alone).contains(&rule), "the history does not try {rule}");
    }
    assert!(alone.iter().filter(|action| action.cause.as_deref().unwrap().starts_with("t-")).count() > 10);
    assert_eq!(sorted(both.shadow_actions().await), alone);
    let hash = load(CANDIDATE).hash().to_owned();
    assert!(alone.iter().all(|action| action.policy_hash.as_ref() == Some(&hash)));
    assert_eq!(sorted(both.read(topic::ACTIONS).await), sorted(policy.read(topic::ACTIONS).await));
    both.changes(1).await;
    // Production's state is what it is without a shadow, and the shadow's is what it would be in production.
    assert_eq!(both.state("[").await, policy.state("[").await);
    let shadow = both.state("shadow:").await;
    let shadow: Vec<_> =
        shadow.iter().map(|((p, key), value)| (*p, &key["shadow:".len()..], value)).collect();
    let own = candidate.state("[").await;
    let foreign = |key: &str| ["\"consumed\"", "\"seen\""].iter().any(|kind| key.contains(kind));
    let own = own.iter().filter(|((_, key), _)| !foreign(key));
    let own: Vec<_> = own.map(|((p, key), value)| (*p, key.as_str(), value)).collect();
    assert_eq!(shadow, own);
}

#[tokio::test]
async fn outcomes_are_of_what_was_done_and_no_shadow_has_any() {
    let world = World::with(POLICY, Some(CANDIDATE)).await;
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    world.until_actions(1).await;
    let action = world.read::<Action>(topic::ACTIONS).await.remove(0);
    world.outcome(&action, -100).await;
    world.settle().await;
    assert_eq!(world.view.projects()[0].project.outcomes, 1);
    let keys = world.state("shadow:").await;
    assert!(
        keys.keys().all(|(_, key)| !key.contains("outcome")
            && !key.contains("\"project\"")
            && !key.contains("consumed")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_shadow_outlives_the_process_with_its_own_repeats_and_cooldowns() {
    let mut world = World::with(POLICY, Some(CANDIDATE)).await;
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    world.say("e-2", json!({"type": "issue_commented", "issue_ref": "github:a/b#2"})).await;
    assert_eq!(rules(&world.until_shadow_actions(2).await), ["every-six-hours", "every-comment"]);
    world.crash().await;
    world.turn(TimeDelta::minutes(59));
    world.start();
    world.say("e-3", json!({"type": "issue_commented", "issue_ref": "github:a/b#2"})).await;
    world.settle().await;
    assert_eq!(world.shadow_actions().await.len(), 2, "within the cooldown of an hour");
    world.turn(TimeDelta::minutes(2));
    world.say("e-4", json!({"type": "issue_commented", "issue_ref": "github:a/b#2"})).await;
    assert_eq!(rules(&world.until_shadow_actions(3).await)[2], "every-comment");
    world.crash().await;
    world.turn(TimeDelta::hours(5));
    world.start();
    let repeated = world.until_shadow_actions(4).await.remove(3);
    assert_eq!(repeated.rule.as_deref(), Some("every-six-hours"));
    assert_eq!(repeated.evaluated_at, Some(at("2026-03-02T15:00:00Z")), "six hours after it fired");
    assert_eq!(repeated.target, "owner:bo", "whoever was not picked the first time");
}

#[tokio::test]
async fn a_shadow_begins_as_if_it_took_over_now_and_fires_nothing_by_itself() {
    let world = World::new().await;
    world.say("e-1", json!({"labels": ["frontend"], "due_at": "2026-03-02T17:00:00Z"})).await;
    world.until_actions(1).await;
    world.shadow(Some(CANDIDATE));
    world.say("e-2", json!({"type": "issue_updated", "labels": ["frontend", "ui"]})).await;
    world.settle().await;
    let begun = async || world.state("shadow:").await.len() >= 4;
    world.until("the shadow begins", begun).await;
    assert!(world.shadow_actions().await.is_empty(), "the rule has decided the issue since the beginning");
    world.turn(TimeDelta::hours(6) + TimeDelta::seconds(2));
    let actions = world.until_shadow_actions(1).await;
    assert_eq!(
        rules(&actions),
        ["two-hours-before"],
        "no repeat of what never fired; the date's timer is set"
    );
    assert_eq!(actions[0].evaluated_at, Some(at("2026-03-02T15:00:00Z")));
    world.changes(1).await;
}

#[tokio::test]
async fn a_changed_candidate_begins_anew_and_nothing_of_the_old_one_is_left() {
    let mut world = World::with(POLICY, Some(CANDIDATE)).await;
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    world.until_shadow_actions(1).await;
    let next =
        CANDIDATE.replace("every-six-hours", "every-twelve-hours").replace("repeat: 6h", "repeat: 12h");
    let in_force = |text: &str| {
        let hash = json!(load(text).hash());
        async move |world: &World| {
            let state = world.state("shadow:[\"\",\"policy\"").await;
            state.len() == 4 && state.values().all(|value| *value == hash)
        }
    };
    // While it runs.
    world.shadow(Some(&next));
    let hash = in_force(&next);
    world.until("the other begins", async || hash(&world).await).await;
    let state = format!("{:?}", world.state("shadow:").await);
    assert!(!state.contains("every-six-hours"), "forked from production, which never had that rule: {state}");
    world.turn(TimeDelta::hours(7));
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
    let actions = world.until_shadow_actions(2).await;
    assert_eq!(
        rules(&actions),
        ["every-six-hours", "every-twelve-hours"],
        "no repeat of the old one's firing"
    );
    // While nobody decides.
    world.stop().await;
    world.shadow(Some(CANDIDATE));
    world.start();
    let hash = in_force(CANDIDATE);
    world.until("the first begins again", async || hash(&world).await).await;
    let state = format!("{:?}", world.state("shadow:").await);
    assert!(!state.contains("every-twelve-hours"), "{state}");
    world.changes(1).await;
}

#[tokio::test]
async fn a_shadow_that_is_taken_away_leaves_nothing() {
    for running in [true, false] {
        let mut world = World::with(POLICY, Some(CANDIDATE)).await;
        world.say("e-1", json!({"labels": ["frontend"]})).await;
        world.until_shadow_actions(1).await;
        let production = world.state("[").await;
        if !running {
            world.stop().await;
        }
        world.shadow(None);
        if !running {
            world.start();
        }
        world.until("its state is deleted", async || world.state("shadow:").await.is_empty()).await;
        assert_eq!(world.state("[").await, production);
        world.turn(TimeDelta::hours(7));
        world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
        world.until_actions(2).await;
        assert_eq!(world.shadow_actions().await.len(), 1);
        // And a restart finds nothing to do.
        let records = world.records(topic::GATEWAY_STATE).await.len();
        world.stop().await;
        world.start();
        world.until("it moves", async || world.progress.moved_at().is_some()).await;
        assert_eq!(world.records(topic::GATEWAY_STATE).await.len(), records);
    }
}

#[tokio::test]
async fn policy_and_shadow_change_places_in_one_step_a_partition() {
    let world = World::with(POLICY, Some(CANDIDATE)).await;
    world.say("e-1", json!({"labels": ["frontend"]})).await;
    world.until_shadow_actions(1).await;
    world.until_actions(1).await;
    world.policies.send_modify(|policies| {
        (policies.policy, policies.shadow) = (load(CANDIDATE), Some(load(POLICY)));
    });
    world.changes(2).await;
    world.turn(TimeDelta::minutes(30));
    world.say("e-2", json!({"issue_ref": "github:a/b#2", "labels": ["frontend"]})).await;
    assert_eq!(world.until_actions(2).await[1], "assign_owner owner:bo", "Alice has one already");
    let shadow = world.until_shadow_actions(2).await;
    assert_eq!(rules(&shadow), ["every-six-hours", "frontend-to-alice"]);
    // One cause, one issue, one rule: one id, and the hash tells who decided.
    assert_eq!(shadow[1].policy_hash.as_deref(), Some(load(POLICY).hash()));
}
