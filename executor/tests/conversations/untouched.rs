//! What ends without a call: what is too old, and what is only rehearsed.

use calendar_mock::Fault;
use serde_json::json;

use crate::{
    gist,
    world::{World, action},
};

#[tokio::test]
async fn an_old_action_is_expired_without_a_call() {
    let world = World::started().await;
    let mut old = action("a-1", "post_nudge");
    old["evaluated_at"] = json!("2026-03-01T09:59:59Z");
    world.publish(&old).await;
    assert_eq!(gist(&world.outcome().await), (false, 0, Some(0), Some("expired")));
    let mut fresh = action("a-2", "post_nudge");
    fresh["evaluated_at"] = json!("2026-03-01T10:00:00Z");
    world.publish(&fresh).await;
    assert!(world.outcomes_of(2).await[1].ack);
    assert_eq!(world.mock.nudges().len(), 1);
    assert!(world.dead_letters().is_empty());
}

#[tokio::test]
async fn a_parked_action_expires_over_a_long_outage() {
    let mut world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("120"));
    world.publish(&action("a-1", "post_nudge")).await;
    world.parked_until("a-1").await;
    world.kill().await;
    world.advance(25 * 3600);
    world.start();
    assert_eq!(gist(&world.outcome().await), (false, 0, Some(1), Some("expired")));
    assert!(world.mock.nudges().is_empty());
}

#[tokio::test]
async fn a_dry_run_touches_nothing() {
    let mut world = World::new().await;
    world.config.dry_run = true;
    world.start();
    for kind in ["escalate_owner", "assign_owner", "schedule_unblocker", "post_nudge"] {
        world.publish(&action(&format!("a-{kind}"), kind)).await;
    }
    let outcomes = world.outcomes_of(4).await;
    assert!(outcomes.iter().all(|o| gist(o) == (false, 0, Some(0), Some("dry_run"))), "{outcomes:?}");
    assert!(world.mock.nudges().is_empty() && world.mock.meetings().is_empty());
    assert!(world.dead_letters().is_empty());
}

#[tokio::test]
async fn what_was_parked_is_not_touched_by_a_dry_run() {
    let mut world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("120"));
    world.publish(&action("a-1", "post_nudge")).await;
    world.parked_until("a-1").await;
    world.stop().await;
    world.config.dry_run = true;
    world.start();
    world.advance(200);
    assert_eq!(gist(&world.outcome().await), (false, 0, Some(1), Some("dry_run")));
    assert!(world.mock.nudges().is_empty());
}
