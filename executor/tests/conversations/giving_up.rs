//! How long a target is tried, and when it is given up: each test is one conversation.

use std::time::Duration;

use calendar_mock::Fault;
use chrono::{DateTime, Utc};
use eventlog::Clock;

use crate::{
    gist,
    world::{World, action},
};

#[tokio::test]
async fn an_action_is_given_up_after_a_quarter_of_an_hour() {
    let mut world = World::new().await;
    world.config.limits.quick_attempts = 1;
    world.start();
    world.mock.inject(Fault::status(500).times(1000));
    world.publish(&action("a-1", "post_nudge")).await;
    let begun = world.clock.now();
    let dues = followed(&world, "a-1").await;
    let deadline = begun + chrono::TimeDelta::minutes(15);
    assert_eq!(dues.last(), Some(&deadline), "the last attempt is made when the time is up");
    assert!(dues.is_sorted() && (8..=14).contains(&dues.len()), "{dues:?}");
    let attempts = dues.len() as u32 + 1;
    assert_eq!(gist(&world.outcome().await), (false, 100, Some(attempts), Some("notification answered 500")));
    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].detail.starts_with("given up after"), "{}", letters[0].detail);
}

#[tokio::test]
async fn a_target_that_asks_for_too_long_a_wait_is_given_up_at_once() {
    let world = World::started().await;
    world.mock.inject(Fault::status(503).retry_after("3600"));
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(gist(&world.outcome().await), (false, 100, Some(1), Some("notification answered 503")));
}

/// Every instant at which an action was due again, until it has its outcome; the clock is turned to each.
async fn followed(world: &World, id: &str) -> Vec<DateTime<Utc>> {
    let mut dues: Vec<DateTime<Utc>> = Vec::new();
    while world.outcomes().is_empty() {
        let due = world.parked_until(id).await;
        if dues.last() != Some(&due) {
            dues.push(due);
            world.clock.advance(due - world.clock.now());
        }
        let again = || !world.outcomes().is_empty() || world.state()[id]["parkings"] != dues.len();
        world.until("the attempt was made", again).await;
    }
    dues
}

#[tokio::test]
async fn a_target_that_says_at_once_is_asked_no_sooner_than_one_that_says_nothing() {
    for now in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let world = World::started().await;
        let begun = world.clock.now();
        world.mock.inject(Fault::status(503).retry_after(now).times(1000));
        world.publish(&action("a-1", "post_nudge")).await;
        let dues = followed(&world, "a-1").await;
        let at: Vec<_> = dues.iter().map(|due| (*due - begun).num_seconds()).collect();
        assert!(
            (5..=6).contains(&at[0]) && (15..=18).contains(&at[1]) && (35..=43).contains(&at[2]),
            "{at:?}"
        );
        assert_eq!(at.last(), Some(&900), "the last attempt is made when the time is up");
        let calls = 3 * (dues.len() as u32 + 1);
        let error = Some("notification answered 503");
        assert_eq!(gist(&world.outcome().await), (false, 100, Some(calls), error), "{now}");
    }
}

#[tokio::test]
async fn the_breakers_wait_leaves_time_for_a_last_attempt() {
    // Not that it was left alone, but why.
    let answered = Some("notification answered 500");
    // The second breaker is still open when the time is up.
    for (open, end) in [(30, (true, -50, Some(2), None)), (60, (false, 100, Some(1), answered))] {
        let mut world = World::new().await;
        world.config.limits.quick_attempts = 1;
        world.config.limits.breaker_failures = 1;
        world.config.limits.breaker_open = Duration::from_secs(open);
        world.config.give_up_after = Duration::from_secs(30);
        world.start();
        let begun = world.clock.now();
        world.mock.inject(Fault::status(500));
        world.publish(&action("a-1", "post_nudge")).await;
        let dues = followed(&world, "a-1").await;
        let at: Vec<_> = dues.iter().map(|due| (*due - begun).num_seconds()).collect();
        assert!(matches!(at[..], [5..=6, 30]), "held back once, until the time is up: {at:?}");
        assert_eq!(gist(&world.outcome().await), end);
    }
}
