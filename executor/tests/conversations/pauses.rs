//! Effects that an operator pauses: each test is one conversation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::world::{World, action, memory_log::PARTITIONS};
use async_trait::async_trait;
use calendar_mock::{Collection, Fault};
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, ManualClock, partition_of};
use events::{ActionKind, Outcome};
use executor::{Attempt, Target, Verdict};
use serde_json::{Value, json};

const PROJECT: Option<&str> = Some("alpha");

/// An action of another project, in the partition of `alpha`.
fn neighbours(id: &str, kind: &str) -> Value {
    let partition = |project: &str| partition_of(project.as_bytes(), PARTITIONS);
    let name = (0..).map(|n| format!("p{n}")).find(|name| partition(name) == partition("alpha")).unwrap();
    let mut action = action(id, kind);
    action["project_id"] = json!(name);
    action
}

impl World {
    async fn paused(&self, project: Option<&str>) {
        self.say(project, true).await;
        let key = format!("control {}", project.unwrap_or_default());
        self.until("it is paused", || self.state().get(&key).is_some_and(|word| word["state"] == "paused"))
            .await;
        self.until("it is told", || self.progress.paused().contains_key(project.unwrap_or_default())).await;
    }

    async fn pending(&self, count: usize) {
        let pending = || self.state().values().filter(|entry| entry["state"] == "pending").count();
        self.until("actions are pending", || pending() == count).await;
    }

    /// What had an outcome, in that order, but for the last ones of `settle`.
    fn concluded(&self) -> Vec<String> {
        let ids = self.outcomes().into_iter().map(|outcome: Outcome| outcome.action_id.unwrap());
        ids.filter(|id| !id.starts_with("a-last")).collect()
    }
}

#[tokio::test]
async fn a_paused_projects_actions_wait_and_then_have_their_effect_once() {
    let mut world = World::started().await;
    world.paused(PROJECT).await;
    world.publish(&action("a-1", "post_nudge")).await;
    world.publish(&neighbours("a-2", "post_nudge")).await;
    world.until("the other is done", || world.concluded() == ["a-2"]).await;
    world.pending(1).await;
    world.until("it is counted", || (world.progress.pending(), world.progress.held_back()) == (1, 1)).await;

    // A word that was said before changes nothing, and what cannot be read is a letter.
    world.say(PROJECT, true).await;
    world.kill().await;
    world.start();
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
    assert_eq!(world.progress.paused().into_keys().collect::<Vec<_>>(), ["alpha"]);

    world.say(PROJECT, false).await;
    world.until("it is done", || world.concluded().len() == 2).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 2);
    assert!(
        world
            .outcomes()
            .iter()
            .filter(|o| !o.action_id.as_ref().unwrap().starts_with("a-last"))
            .all(|o| o.ack)
    );
    world.until("nothing is held back", || world.progress.held_back() == 0).await;
    assert!(world.progress.paused().is_empty());
}

#[tokio::test]
async fn what_was_said_while_nobody_ran_holds_from_the_start() {
    let mut world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("60"));
    world.publish(&action("a-1", "post_nudge")).await;
    world.parked_until("a-1").await;
    world.kill().await;
    world.publish(&action("a-2", "post_nudge")).await;
    for n in 0..20 {
        // A word behind many.
        world.say(Some(&format!("q{n}")), true).await;
    }
    world.say(None, true).await;
    // Both could go out at once.
    world.advance(120);
    world.config.batch_max = 1;
    world.start();
    world.until("it is paused", || world.progress.held_back() == 2).await;
    world.settle().await;
    assert!(world.mock.nudges().is_empty());
    assert!(world.concluded().is_empty());

    world.kill().await;
    world.say(None, false).await;
    world.start();
    world.until("both are done", || world.concluded().len() == 2).await;
    assert_eq!(world.mock.nudges().len(), 2);
}

#[tokio::test]
async fn a_project_goes_on_when_neither_it_nor_all_are_paused() {
    let world = World::started().await;
    world.paused(None).await;
    world.paused(PROJECT).await;
    world.publish(&action("a-1", "post_nudge")).await;
    world.publish(&neighbours("a-2", "post_nudge")).await;
    world.pending(2).await;
    world.say(None, false).await;
    world.until("the other is done", || world.concluded() == ["a-2"]).await;
    world.settle().await;
    assert_eq!(world.concluded(), ["a-2"]);
    world.say(None, true).await;
    world.say(PROJECT, false).await;
    world.settle().await;
    assert_eq!(world.concluded(), ["a-2"]);
    world.say(None, false).await;
    world.until("both are done", || world.concluded() == ["a-2", "a-1"]).await;
}

#[tokio::test]
async fn they_are_let_go_in_the_order_of_the_log() {
    let mut world = World::new().await;
    world.config.limits.concurrency = 1;
    world.start();
    world.paused(PROJECT).await;
    let ids: Vec<String> = (0..40).map(|n| format!("a-{}", (n * 17) % 40)).collect();
    for id in &ids {
        world.publish(&action(id, "post_nudge")).await;
    }
    world.pending(40).await;
    world.kill().await;
    world.start();
    world.say(PROJECT, false).await;
    world.until("all are done", || world.concluded().len() == 40).await;
    let nudges = world.mock.nudges();
    let keys: Vec<_> = nudges.iter().map(|nudge| nudge.idempotency_key.clone().unwrap()).collect();
    assert_eq!(keys, ids);
}

#[tokio::test]
async fn what_is_held_back_holds_up_nobody() {
    let mut world = World::new().await;
    world.config.pending_max = 10;
    world.config.batch_max = 10;
    world.start();
    world.paused(PROJECT).await;
    for n in 0..50 {
        world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    world.publish(&neighbours("a-50", "post_nudge")).await;
    world.until("the other is done", || world.concluded() == ["a-50"]).await;
    assert!(world.log.paused().is_empty());
    // Let go, they count.
    world.mock.inject(Fault::delay(Duration::from_millis(20)).times(50));
    world.say(PROJECT, false).await;
    world.until("all are done", || world.concluded().len() == 51).await;
    assert_eq!(world.mock.nudges().len(), 51);
}

#[tokio::test]
async fn what_is_held_back_is_bounded_and_the_word_that_lets_it_go_is_heard() {
    let mut world = World::new().await;
    world.config.held_back_max = 20;
    world.config.pending_max = 10;
    world.config.batch_max = 10;
    world.config.limits.concurrency = 1;
    world.start();
    world.paused(PROJECT).await;
    for n in 0..100 {
        world.publish(&action(&format!("a-{n:02}"), "post_nudge")).await;
    }
    for _ in 0..2 {
        world.until("no more is read", || !world.log.paused().is_empty()).await;
        assert!(world.log.paused().iter().all(|(topic, _)| topic == "actions"));
        // Also for the next holder.
        world.kill().await;
        world.start();
        world.until("it is restored", || world.progress.held_back() >= 20).await;
    }
    world.until("no more is read", || !world.log.paused().is_empty()).await;
    let pending = || world.state().values().filter(|entry| entry["state"] == "pending").count();
    assert!((20..60).contains(&pending()), "{}", pending());
    assert!(world.mock.nudges().is_empty());
    world.say(PROJECT, false).await;
    world.until("all are done", || world.concluded().len() == 100).await;
    // One after the other they keep their order, however few of them run at a time.
    let keys = world.mock.nudges().into_iter().map(|nudge| nudge.idempotency_key.unwrap());
    assert!(keys.is_sorted_by(|a, b| a < b));
    world.until("it goes on", || world.log.paused().is_empty()).await;
}

#[tokio::test]
async fn a_word_is_heard_while_a_slow_target_holds_up_the_actions() {
    let mut world = World::new().await;
    world.config.pending_max = 10;
    world.config.batch_max = 5;
    world.config.limits.concurrency = 2;
    world.config.limits.attempt_timeout = Duration::from_secs(3600);
    world.start();
    world.mock.inject(Fault::delay(Duration::from_millis(1500)).times(2));
    for n in 0..30 {
        world.publish(&action(&format!("a-{n:02}"), "post_nudge")).await;
    }
    world.until("some are deferred", || world.progress.deferred() == 20).await;
    world.until("two calls are under way", || world.mock.faults().is_empty()).await;
    world.paused(PROJECT).await;
    // The two calls end, the others that waited for a permit are called off; and all is read.
    world.until("two are done", || world.concluded().len() == 2).await;
    world.until("all are read", || world.progress.held_back() == 28).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 2);
    world.say(PROJECT, false).await;
    world.until("all are done", || world.concluded().len() == 30).await;
    assert_eq!(world.mock.nudges().len(), 30);
}

#[tokio::test]
async fn nothing_begins_between_the_step_that_says_it_is_paused_and_its_end() {
    let mut world = World::new().await;
    world.config.limits.concurrency = 1;
    world.config.limits.attempt_timeout = Duration::from_secs(3600);
    world.start();
    world.mock.inject(Fault::delay(Duration::from_millis(500)));
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("a call is under way", || world.mock.faults().is_empty()).await;
    world.publish(&action("a-2", "post_nudge")).await;
    world.publish(&neighbours("a-3", "post_nudge")).await;
    world.pending(3).await;
    world.log.hold_commits(true);
    world.say(PROJECT, true).await;
    world.until("the step is under way", || world.log.commits_waiting() == 1).await;
    // The next permit goes to the neighbour, though the other waited for it first.
    world.until("two calls were made", || world.mock.nudges().len() == 2).await;
    let keys = world.mock.nudges().into_iter().map(|nudge| nudge.idempotency_key.unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), ["a-1", "a-3"]);
    world.log.hold_commits(false);
    world.until("two are done", || world.concluded().len() == 2).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 2);
    world.say(PROJECT, false).await;
    world.until("all are done", || world.concluded().len() == 3).await;
}

#[tokio::test]
async fn what_fails_while_paused_is_not_tried_again_at_once() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_secs(1);
    world.start();
    world.mock.inject(Fault::hang());
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("a call is under way", || world.mock.faults().is_empty()).await;
    world.paused(PROJECT).await;
    world.until("it was parked", || world.state()["a-1"]["parkings"] == 1).await;
    assert_eq!(world.state()["a-1"]["attempts"], 1);
    assert!(world.mock.nudges().is_empty());
    world.say(PROJECT, false).await;
    world.advance(10);
    world.until("it is done", || world.concluded() == ["a-1"]).await;
}

#[tokio::test]
async fn the_time_to_give_up_begins_when_the_project_is_let_go() {
    let mut world = World::new().await;
    world.config.limits.quick_attempts = 1;
    world.start();
    world.mock.inject(Fault::status(500).on(Collection::Nudges).times(2));
    world.publish(&action("a-1", "post_nudge")).await;
    world.parked_until("a-1").await;
    world.paused(PROJECT).await;
    world.advance(3600);
    world.settle().await;
    assert!(world.concluded().is_empty());
    world.say(PROJECT, false).await;
    world.until("it is tried again", || world.state()["a-1"]["parkings"] == 2).await;
    // Also for the next holder.
    world.kill().await;
    world.start();
    world.advance(14 * 60);
    world.until("it is done", || world.concluded().len() == 1).await;
    assert!(world.outcomes().last().unwrap().ack);

    // It does begin then.
    world.mock.inject(Fault::status(500).on(Collection::Nudges).times(1000));
    let mut last = action("a-2", "post_nudge");
    last["evaluated_at"] = json!("2026-03-02T11:10:00Z");
    world.publish(&last).await;
    world.parked_until("a-2").await;
    world.paused(PROJECT).await;
    world.advance(3600);
    world.say(PROJECT, false).await;
    world.until("it is tried again", || world.state()["a-2"]["parkings"] == 2).await;
    world.kill().await;
    world.start();
    world.advance(15 * 60);
    world.until("it is given up", || world.concluded().len() == 2).await;
    assert_eq!(world.dead_letters().len(), 1);
}

/// Every call takes half a minute of the manual clock; the 33rd, after a quarter of an hour, fails.
struct Slow {
    clock: Arc<ManualClock>,
    calls: AtomicUsize,
    after: Option<Duration>,
}

#[async_trait]
impl Target for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn carries(&self, _: &ActionKind) -> bool {
        true
    }

    async fn attempt(&self, _: &Attempt) -> Verdict {
        self.clock.advance(TimeDelta::seconds(30));
        match self.calls.fetch_add(1, Relaxed) {
            32 => Verdict::Retry { after: self.after, reason: "busy".into() },
            _ => Verdict::Done { reference: None },
        }
    }
}

#[tokio::test]
async fn a_backlog_that_takes_longer_than_the_time_to_give_up_is_done_whole() {
    // It opens the breaker on all that wait; or says itself when to come back.
    for after in [None, Some(Duration::from_secs(60))] {
        let mut world = World::new().await;
        world.config.limits.concurrency = 1;
        world.config.limits.quick_attempts = 1;
        world.config.limits.breaker_failures = 1;
        let slow = Arc::new(Slow { clock: world.clock.clone(), calls: AtomicUsize::new(0), after });
        world.start_with(vec![slow.clone()]);
        world.paused(PROJECT).await;
        for n in 0..40 {
            world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
        }
        world.pending(40).await;
        world.advance(3600);
        let let_go_at = world.clock.now();
        world.say(PROJECT, false).await;
        while world.outcomes().len() < 40 {
            let state = world.state();
            let due = |entry: &Value| entry["next_attempt_at"].as_str()?.parse::<DateTime<Utc>>().ok();
            let due = state.values().filter_map(due).min();
            // Nothing is under way, and everything waits for the clock.
            if let Some(wait) =
                due.map(|due| due - world.clock.now()).filter(|wait| *wait > TimeDelta::zero())
            {
                world.clock.advance(wait);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(world.clock.now() - let_go_at > TimeDelta::minutes(20));
        assert!(world.outcomes().iter().all(|outcome| outcome.ack), "{:?}", world.outcomes());
        assert!(world.dead_letters().is_empty());
        assert_eq!(slow.calls.load(Relaxed), 41);
    }
}

#[tokio::test]
async fn a_call_under_way_that_fails_while_paused_is_not_given_up() {
    let world = World::started().await;
    world.mock.inject(Fault::hang().times(3));
    world.publish(&action("a-1", "post_nudge")).await;
    world
        .until("it is under way", || world.mock.faults().is_empty() || world.mock.faults()[0].times < 3)
        .await;
    world.paused(PROJECT).await;
    world.advance(3600);
    world.until("it was parked", || world.state()["a-1"]["parkings"] == 1).await;
    assert!(world.concluded().is_empty());
    world.say(PROJECT, false).await;
    world.advance(10);
    world.until("it is done", || world.concluded() == ["a-1"]).await;
}

#[tokio::test]
async fn what_is_paused_for_a_day_expires() {
    let world = World::started().await;
    world.paused(PROJECT).await;
    world.publish(&action("a-1", "post_nudge")).await;
    world.pending(1).await;
    world.advance(24 * 3600 - 10);
    world.settle().await;
    assert!(world.concluded().is_empty());
    world.advance(10);
    world.until("it is expired", || world.concluded() == ["a-1"]).await;
    let outcomes = world.outcomes();
    let outcome = outcomes.iter().find(|o| o.action_id.as_deref() == Some("a-1")).unwrap();
    assert_eq!((outcome.error.as_deref(), outcome.risk_delta.0), (Some("expired"), 0));
    assert!(world.mock.nudges().is_empty());
}

#[tokio::test]
async fn a_redriven_action_waits_too() {
    let world = World::started().await;
    world.mock.inject(Fault::status(503).retry_after("3600"));
    world.publish(&action("a-1", "post_nudge")).await;
    world.outcome().await;
    world.paused(PROJECT).await;
    world.redrive(&world.dead_letters()[0]).await;
    world.pending(1).await;
    world.settle().await;
    assert_eq!(world.concluded().len(), 1);
    world.say(PROJECT, false).await;
    world.until("it is done", || world.concluded().len() == 2).await;
    assert_eq!(world.outcomes().last().unwrap().risk_delta.0, -150);
}

#[tokio::test]
async fn words_of_no_form_are_letters_and_old_ones_are_forgotten() {
    let world = World::started().await;
    let said = events::Control::new(Some("beta"), true, "2026-03-02T10:00:00Z".parse().unwrap());
    let said = serde_json::to_vec(&said).unwrap();
    for (key, value) in [("alpha", &b"secret"[..]), ("alpha", &said), ("", b"{}")] {
        world.append_control(key, value).await;
    }
    world.until("they are letters", || world.dead_letters().len() == 3).await;
    let letters = world.dead_letters();
    assert!(letters.iter().all(|letter| !letter.detail.contains("secret")));
    assert!(letters.iter().any(|letter| letter.reason == "wrong_key"));
    assert!(world.progress.paused().is_empty());

    world.paused(PROJECT).await;
    world.say(PROJECT, false).await;
    world.until("it is let go", || world.state()["control alpha"]["state"] == "resumed").await;
    world.advance(7 * 24 * 3600 + 61);
    world.until("that is forgotten", || !world.state().contains_key("control alpha")).await;
    world.paused(PROJECT).await;
    world.advance(7 * 24 * 3600 + 61);
    world.settle().await;
    assert!(world.state().contains_key("control alpha"), "a pause is not");
}

impl World {
    async fn append_control(&self, key: &str, value: &[u8]) {
        let record = eventlog::NewRecord {
            topic: events::topic::CONTROL.into(),
            partition: None,
            key: key.to_owned().into(),
            value: Some(value.to_vec().into()),
            headers: Vec::new(),
        };
        eventlog::Log::append(&self.log, vec![record]).await.unwrap();
    }
}
