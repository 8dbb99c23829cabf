//! The executor between a log and a calendar: each test is one conversation.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod answers;
mod crashes;
mod deferring;
mod patience;
mod pauses;
mod replays;
mod resolves;
mod rounds;
mod untouched;
mod world;

use std::time::Duration;

use calendar_mock::{Collection, Fault};
use eventlog::Clock;
use events::{Outcome, Risk};
use serde_json::json;
use world::{World, action};

/// ack, risk in thousandths, attempts, error.
/// Of an error what is said in front of the address.
fn gist(outcome: &Outcome) -> (bool, i64, Option<u32>, Option<&str>) {
    let error = outcome.error.as_deref().map(|error| error.split(" (").next().unwrap_or(error));
    (outcome.ack, outcome.risk_delta.0, outcome.attempts, error)
}

#[tokio::test]
async fn every_action_has_its_effect_and_its_outcome() {
    let world = World::started().await;
    for (n, kind) in ["escalate_owner", "assign_owner", "schedule_unblocker", "post_nudge"].iter().enumerate()
    {
        world.publish(&action(&format!("a-{n}"), kind)).await;
    }
    let mut outcomes = world.outcomes_of(4).await;
    outcomes.sort_by(|a, b| a.action_id.cmp(&b.action_id));
    let risks: Vec<i64> = outcomes.iter().map(|o| o.risk_delta.0).collect();
    assert_eq!(risks, [-300, -100, -200, -50]);
    assert!(outcomes.iter().all(|o| o.ack && o.error.is_none() && o.attempts == Some(1)), "{outcomes:?}");
    assert_eq!(outcomes[2].reference.as_deref(), Some("m-1"));
    assert_eq!(outcomes[2].event_id, events::id::outcome("a-2", 0));

    let meeting = &world.mock.meetings()[0];
    assert_eq!(meeting.idempotency_key.as_deref(), Some("a-2"));
    assert_eq!((meeting.item.title.as_str(), meeting.item.duration_min), ("Unblock: Login fails", 15));
    assert_eq!(meeting.item.participants, ["bo", "team:triage"]);
    let nudges = world.mock.nudges();
    let nudge = nudges.iter().find(|n| n.idempotency_key.as_deref() == Some("a-3")).unwrap();
    assert_eq!(nudge.item.to, "team:triage");
    assert!(nudge.item.message.contains("please look · New issue needs triage · \"Login fails\" · https://"));
    assert_eq!(nudges.len(), 3);

    // The outcome goes on with the trace that the delivery began.
    let record = &world.log.all(events::topic::OUTCOMES)[0];
    assert_eq!(record.key, "alpha");
    assert!(record.header("traceparent").unwrap().contains(&"ab".repeat(16)));
    assert!(world.dead_letters().is_empty());
    assert!(world.state().values().all(|entry| entry["state"] == "done"));
    world.until("nothing is pending", || world.progress.pending() == 0).await;
    assert_eq!(world.progress.partitions(), world::memory_log::PARTITIONS);
    assert_eq!(world.progress.moved_at(), Some(world.clock.now()));
}

#[tokio::test]
async fn an_action_that_stands_on_the_log_again_is_done_already() {
    let mut world = World::started().await;
    let twice = action("a-1", "post_nudge");
    world.publish(&twice).await;
    world.publish(&twice).await;
    world.outcome().await;
    world.publish(&twice).await;
    world.settle().await;
    world.kill().await;
    world.start();
    world.publish(&twice).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
    assert_eq!(world.outcomes().iter().filter(|o| o.action_id.as_deref() == Some("a-1")).count(), 1);

    // After a week the mark is gone.
    world.advance(7 * 24 * 3600 + 1);
    world.until("the mark is gone", || !world.state().contains_key("a-1")).await;
}

#[tokio::test]
async fn an_action_that_no_target_carries_is_refused() {
    let world = World::started().await;
    let mut strange = action("a-1", "post_nudge");
    strange["action"] = json!("launch_rocket");
    world.publish(&strange).await;
    let outcome = world.outcome().await;
    assert_eq!(gist(&outcome), (false, 100, Some(0), Some("no target carries this action")));
    assert_eq!(outcome.action.unwrap().as_str(), "launch_rocket");
    assert_eq!(world.dead_letters().len(), 1);
}

#[tokio::test]
async fn the_metrics_say_what_happened() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // This test's runtime has one thread, so everything it starts reports here.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = World::started().await;
    world.mock.inject(Fault::status(500).on(Collection::Nudges));
    world.publish(&action("a-1", "post_nudge")).await;
    world.publish(&action("a-1", "post_nudge")).await;
    world.publish(&action("a-2", "schedule_unblocker")).await;
    world.publish_raw("alpha", b"nothing".to_vec()).await;
    let mut strange = action("a-3", "post_nudge");
    strange["action"] = json!("launch\"rocket");
    world.publish(&strange).await;
    world.outcomes_of(3).await;
    world.until("it was counted", || handle.render().contains("action=\"post_nudge\"")).await;
    let metrics = handle.render();
    for line in [
        "breakdown_attempts_total{target=\"notification\",verdict=\"retry\"} 1",
        "breakdown_attempts_total{target=\"notification\",verdict=\"done\"} 1",
        "breakdown_attempts_total{target=\"calendar\",verdict=\"done\"} 1",
        "breakdown_attempt_seconds_count{target=\"notification\"} 2",
        "breakdown_pending{target=\"calendar\"} 0",
        "breakdown_deferred{target=\"calendar\"} 0",
        "breakdown_breaker_state{target=\"notification\"} 0",
        "breakdown_outcomes_total{action=\"post_nudge\",ack=\"true\"} 1",
        "breakdown_outcomes_total{action=\"other\",ack=\"false\"} 1",
        "breakdown_duplicate_actions_total 1",
        "breakdown_executor_dead_letters_total{reason=\"unreadable\"} 1",
        "breakdown_executor_dead_letters_total{reason=\"undeliverable\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_the_partition_moves_on() {
    let world = World::started().await;
    let huge = {
        let mut huge = action("a-0", "post_nudge");
        huge["params"]["title"] = json!("x".repeat(300 * 1024));
        huge.to_string()
    };
    let with_id = |id: &str| {
        let mut action = action("a-0", "post_nudge");
        action["event_id"] = json!(id);
        action.to_string()
    };
    let deep = "[".repeat(100_000);
    let unreadable = [
        String::new(),
        "secret-of-a-stranger".into(),
        "{}".into(),
        "[\"a\"]".into(),
        deep,
        huge,
        with_id(""),
        with_id("a\r\nx-evil: 1"),
        with_id(&"a".repeat(129)),
    ];
    for value in &unreadable {
        world.publish_raw("alpha", value.clone().into_bytes()).await;
    }
    world.publish_raw("alpha", vec![0xff, 0xfe]).await;
    world.publish_raw("beta", action("a-2", "post_nudge").to_string().into_bytes()).await;
    world.publish(&action("a-1", "post_nudge")).await;

    world.until("all is read", || world.dead_letters().len() == unreadable.len() + 2).await;
    assert!(world.outcome().await.ack);
    let letters = world.dead_letters();
    let reasons = |reason: &str| letters.iter().filter(|l| l.reason == reason).count();
    assert_eq!((reasons("unreadable"), reasons("wrong_key")), (unreadable.len() + 1, 1));
    assert!(letters.iter().all(|l| !l.detail.contains("secret")), "the detail repeats nothing");
    assert_eq!(world.mock.nudges().len(), 1);
}

#[tokio::test]
async fn told_to_stop_it_ends_what_runs_and_begins_nothing() {
    let mut world = World::new().await;
    world.config.limits.concurrency = 1;
    world.config.limits.attempt_timeout = Duration::from_secs(10);
    world.start();
    world.mock.inject(Fault::delay(Duration::from_millis(200)));
    world.publish(&action("a-1", "post_nudge")).await;
    world.publish(&action("a-2", "post_nudge")).await;
    world.until("the first runs", || world.mock.faults().is_empty()).await;
    world.until("both are pending", || world.state().len() == 2).await;
    world.stop().await;
    assert_eq!(world.outcomes_of(1).await[0].attempts, Some(1));
    assert_eq!(world.mock.nudges().len(), 1);
    world.start();
    world.outcomes_of(2).await;
    assert_eq!(world.mock.nudges().len(), 2);
}

#[tokio::test]
async fn no_more_are_pending_than_may_be_and_all_are_done() {
    let mut world = World::new().await;
    world.config.pending_max = 20;
    world.config.batch_max = 10;
    world.config.limits.concurrency = 4;
    world.config.limits.attempt_timeout = Duration::from_secs(15);
    world.start();
    world.mock.inject(Fault::delay(Duration::from_millis(20)).times(200));
    for n in 0..200 {
        world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    let states = |state: &str| world.state().values().filter(|s| s["state"] == state).count();
    world.until("some are deferred", || states("deferred") > 0).await;
    world
        .until("all are done", || {
            assert!(states("pending") <= 20);
            world.outcomes().len() == 200
        })
        .await;
    assert!(world.log.paused().is_empty());
    assert_eq!(world.mock.nudges().len(), 200);
    let risk: Risk = world.outcomes().iter().map(|o| o.risk_delta).sum();
    assert_eq!(risk, Risk(-50 * 200));
}

#[tokio::test]
async fn a_base_that_is_no_web_address_is_refused() {
    let mut world = World::new().await;
    world.config.calendar_api_base = "ftp://example.test/".parse().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let log = std::sync::Arc::new(world.log.clone());
    let ended =
        executor::run(log, world.clock.clone(), world.config.clone(), world.progress.clone(), stop).await;
    assert!(ended.unwrap_err().to_string().contains("CALENDAR_API_BASE"));
}

#[tokio::test]
async fn a_start_is_progress_soon_however_long_the_log_is_waited_for() {
    let mut world = World::new().await;
    world.config.idle_wait = Duration::from_secs(600);
    world.start();
    world.until("it moves", || world.progress.moved_at() == Some(world.clock.now())).await;
    assert_eq!(world.progress.partitions(), world::memory_log::PARTITIONS);
    // And so after what came of an action.
    world.publish(&action("a-1", "post_nudge")).await;
    world.outcome().await;
    world.advance(1);
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("it moves again", || world.progress.moved_at() == Some(world.clock.now())).await;
}
