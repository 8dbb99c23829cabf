//! For how long an action is tried, and when again.

use std::time::Duration;

use calendar_mock::{CalendarMock, Collection, Fault};
use chrono::{DateTime, Utc};
use eventlog::Clock;

use tracing::Level;

use crate::{
    gist,
    world::{World, action, logged::Logged},
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

/// Waits until each attempt that was due has ended.
async fn nothing_due(world: &World) {
    let now = world.clock.now();
    let is_due = |entry: &serde_json::Value| {
        let at = entry["next_attempt_at"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap());
        entry["state"] == "pending" && at.is_some_and(|at| at <= now)
    };
    world.until("nothing is due", || !world.state().values().any(is_due)).await;
}

/// Many actions wait for a target that is down: two lines, whatever is tried meanwhile; and one for each action that is given up.
#[tokio::test]
async fn a_target_that_fails_is_told_once_and_once_when_it_is_well() {
    let logged = Logged::here();
    let mut world = World::new().await;
    world.config.limits.quick_attempts = 1;
    world.config.limits.attempt_timeout = Duration::from_secs(10);
    world.config.limits.breaker_failures = 3;
    world.config.limits.breaker_open = Duration::from_secs(30);
    world.config.give_up_after = Duration::from_secs(60);
    world.start();
    world.mock.inject(Fault::status(500).times(1000));
    for n in 0..10 {
        world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    world.until("all are accepted", || world.state().len() == 10).await;
    nothing_due(&world).await;
    // They are given up, after probes that failed.
    for _ in 0..15 {
        world.advance(5);
        nothing_due(&world).await;
    }
    world.outcomes_of(10).await;
    let is_of_retry = |line: &String| line.contains("not done yet");
    let begins = |line: &&String| line.contains("the target keeps failing");
    let warned = logged.at(Level::WARN);
    assert_eq!(warned.iter().filter(begins).count(), 1, "{warned:?}");
    let begun = warned.iter().find(begins).unwrap();
    assert!(begun.contains("target=\"notification\"") && begun.contains("failed=3"), "{begun}");
    assert!(begun.contains("answered 500"), "{begun}");
    assert!(!warned.iter().any(is_of_retry), "{warned:?}");
    assert!(logged.at(Level::DEBUG).iter().filter(|line| is_of_retry(line)).count() >= 10);
    let given_up = |line: &&String| line.contains("could not be carried out; see breakdown dead-letters");
    assert_eq!((warned.iter().filter(given_up).count(), world.dead_letters().len()), (10, 10), "{warned:?}");

    world.mock.clear_faults();
    world.advance(31);
    world.publish(&action("a-last", "post_nudge")).await;
    let outcome = world.outcomes_of(11).await.remove(10);
    assert!(outcome.ack, "{outcome:?}");
    let well = |line: &&String| line.contains("the target answers again");
    let told = logged.at(Level::INFO);
    assert_eq!(told.iter().filter(well).count(), 1, "{told:?}");
    let told = told.iter().find(well).unwrap();
    let calls: usize = world.outcomes().iter().map(|outcome| outcome.attempts.unwrap() as usize).sum();
    assert!(told.contains(&format!("failed={}", calls - 1)), "{told}, of {calls} calls");
    assert!(told.contains("held_back=") && !told.contains("held_back=0"), "{told}");
    assert_eq!(logged.at(Level::WARN).iter().filter(begins).count(), 1);
}

#[tokio::test]
async fn a_parked_retry_outlives_a_restart() {
    let mut world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("120"));
    world.publish(&action("a-1", "post_nudge")).await;
    let due = world.parked_until("a-1").await;
    world.kill().await;
    world.start();
    world.settle().await;
    assert!(world.mock.nudges().is_empty(), "it still waits");
    world.clock.advance(due - world.clock.now());
    let outcomes = world.outcomes_of(2).await;
    assert_eq!(gist(&outcomes[1]), (true, -50, Some(2), None));
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_secs(3600);
    world.config.limits.concurrency = 2;
    world.config.drain_within = Duration::from_millis(50);
    world.start();
    world.mock.inject(Fault::hang().on(Collection::Meetings).times(1000));
    for n in 0..10 {
        world.publish(&action(&format!("a-m{n}"), "schedule_unblocker")).await;
        world.publish(&action(&format!("a-n{n}"), "post_nudge")).await;
    }
    let outcomes = world.outcomes_of(10).await;
    assert!(outcomes.iter().all(|o| o.ack && o.action_id.as_ref().unwrap().starts_with("a-n")));
    assert_eq!(world.mock.faults()[0].times, 998, "and its own attempts are bounded");
    world.stop().await;

    // What hung when it stopped is done after the next start.
    world.mock.clear_faults();
    world.start();
    world.outcomes_of(20).await;
    assert_eq!(world.mock.meetings().len(), 10);
}

#[tokio::test]
async fn a_target_has_limits_of_its_own() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_secs(3600);
    world.config.drain_within = Duration::from_millis(50);
    let own = executor::OwnLimits { concurrency: executor::Within::new(1), ..executor::OwnLimits::default() };
    world.config.own_limits.insert("calendar".to_owned(), own);
    world.start();
    world.mock.inject(Fault::hang().times(1000));
    for n in 0..8 {
        world.publish(&action(&format!("a-m{n}"), "schedule_unblocker")).await;
        world.publish(&action(&format!("a-n{n}"), "post_nudge")).await;
    }
    world.until("all of them hang", || world.mock.faults()[0].times == 1000 - 8 - 1).await;
    world.settle().await;
    assert_eq!(world.mock.faults()[0].times, 1000 - 8 - 1, "one meeting at a time, all messages at once");
}

#[tokio::test]
async fn a_target_that_is_not_there_is_tried_again_later() {
    // The port was free a moment ago, and nobody listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut world = World::with_base(&format!("http://127.0.0.1:{port}/api/"), CalendarMock::new());
    world.start();
    world.publish(&action("a-1", "post_nudge")).await;
    world.parked_until("a-1").await;
    assert_eq!(world.state()["a-1"]["attempts"], 3);
    world.advance(16 * 60);
    let error = format!(
        "notification could not be reached (127.0.0.1:{port}, CALENDAR_API_BASE): connection refused"
    );
    let outcome = world.outcome().await;
    assert_eq!((outcome.attempts, outcome.error), (Some(6), Some(error)));
}

#[tokio::test]
async fn the_breaker_leaves_a_dead_target_alone_and_lets_one_attempt_probe() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut world = World::new().await;
    world.config.limits.quick_attempts = 1;
    world.config.limits.concurrency = 1;
    world.config.limits.breaker_failures = 3;
    world.start();
    world.mock.inject(Fault::status(500).times(4));
    for n in 0..10 {
        world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    let parked = |attempts: u64| {
        let state = world.state();
        state.values().filter(|s| s["parkings"] != 0 && s["attempts"] == attempts).count()
    };
    world.until("it is open", || parked(1) == 3 && parked(0) == 7).await;
    assert_eq!(world.mock.faults()[0].times, 1, "three calls were made, not ten");

    let metrics = handle.render();
    for line in [
        "breakdown_breaker_state{target=\"notification\"} 2",
        "breakdown_breaker_state{target=\"calendar\"} 0",
        "breakdown_breaker_openings_total{target=\"notification\"} 1",
        "breakdown_breaker_rejections_total{target=\"notification\"} 7",
        "breakdown_parked_retries_total{target=\"notification\"} 10",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    // The time is up: one probe goes out, fails, and the rest stays parked.
    world.advance(40);
    let again = || world.state().values().all(|s| s["parkings"] == 2);
    world.until("all were parked again", again).await;
    assert_eq!(world.mock.faults(), [], "one more call");

    // The next probe succeeds, and then everything does.
    world.advance(60);
    world.until("one got through", || !world.outcomes().is_empty()).await;
    world.advance(60);
    world.outcomes_of(10).await;
    assert_eq!(world.mock.nudges().len(), 10);
    assert!(handle.render().contains("breakdown_breaker_state{target=\"notification\"} 0"));
}

#[tokio::test]
async fn an_attempt_that_outlives_the_time_to_give_up_is_told() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_secs(600);
    world.config.limits.concurrency = 1;
    world.mock.inject(Fault::hang().times(1000));
    world.start();
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("it has begun", || world.mock.faults()[0].times == 999).await;
    // This one waits for a permit, and is late through the other.
    world.publish(&action("a-2", "post_nudge")).await;
    world.until("both are pending", || world.progress.pending() == 2).await;
    // A minute past the quarter of an hour is its bound.
    world.advance(16 * 60);
    world.until("it was looked", || world.progress.moved_at() == Some(world.clock.now())).await;
    assert_eq!(world.progress.stalled().actions, 0);
    world.advance(11);
    world.until("it is told", || world.progress.stalled().actions == 1).await;
    let accepted_at = "2026-03-02T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(world.progress.stalled().since, Some(accepted_at + chrono::TimeDelta::minutes(15)));
    // Another process restores it, and attempts it again.
    world.kill().await;
    world.mock.clear_faults();
    world.config.limits.attempt_timeout = Duration::from_millis(300);
    world.start();
    world.outcomes_of(2).await;
    world.advance(11);
    world.until("it is over", || world.progress.stalled().actions == 0).await;
}
