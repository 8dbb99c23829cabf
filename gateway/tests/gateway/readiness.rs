//! Progress is what readiness is made of: it must come soon, and must not come while steps fail.

use std::sync::atomic::Ordering::SeqCst;

use chrono::TimeDelta;
use eventlog::Clock;
use serde_json::json;

use crate::world::{PARTITIONS, POLICY, World, at};

#[tokio::test]
async fn a_start_is_progress_soon_however_long_the_log_is_waited_for() {
    let mut world = World::idle(POLICY, None).await.patient();
    world.start();
    world.changes(1).await;
    // The second start finds everything as it was: it makes no step.
    world.stop().await;
    world.start();
    world.until("it moves", async || world.progress.moved_at().is_some()).await;
    assert_eq!(world.progress.partitions(), 4);
    // And so after each batch.
    world.turn(TimeDelta::seconds(20));
    world.say("e-1", json!({})).await;
    world.until("it moves again", async || world.progress.moved_at() == Some(world.clock.now())).await;
}

#[tokio::test]
async fn while_a_step_keeps_failing_a_quiet_log_is_no_progress() {
    let world = World::new().await;
    world.changes(1).await;
    // The one poll under way may still be quiet: whatever it gave, the event is in the next.
    world.log.fail_before.store(1_000, SeqCst);
    world.say("e-1", json!({})).await;
    world.until("a step fails", async || world.log.fail_before.load(SeqCst) < 1_000).await;
    let moved_at = world.progress.moved_at();
    for failures in 2..5 {
        world.turn(TimeDelta::seconds(5));
        world.until("steps fail", async || world.log.fail_before.load(SeqCst) <= 1_000 - failures).await;
        assert_eq!(world.progress.moved_at(), moved_at, "after {failures} failures");
    }
    world.log.fail_before.store(0, SeqCst);
    world.until_actions(1).await;
    world.until("it moves", async || world.progress.moved_at() == Some(world.clock.now())).await;
}

#[tokio::test]
async fn after_a_step_that_failed_a_quiet_log_is_progress_in_a_while() {
    let world = World::new().await;
    world.changes(1).await;
    world.log.fail_after.store(1, SeqCst);
    world.say("e-1", json!({})).await;
    world.until("the step fails", async || world.log.fail_after.load(SeqCst) == 0).await;
    // It was made all the same, so nothing is left to decide.
    let moved_at = world.progress.moved_at();
    world.until("the partitions are back", async || world.progress.partitions() == 4).await;
    world.turn(TimeDelta::seconds(9));
    // What the second poll from now on finds has an end of its own before the third begins.
    let quiet = world.log.quiet.load(SeqCst);
    world.until("the log is quiet", async || world.log.quiet.load(SeqCst) >= quiet + 3).await;
    assert_eq!(world.progress.moved_at(), moved_at);
    world.turn(TimeDelta::seconds(2));
    world.until("it moves", async || world.progress.moved_at() == Some(world.clock.now())).await;
}

#[tokio::test]
async fn a_timer_that_nothing_stands_before_and_nobody_decides_is_told() {
    let world = World::new().await;
    world.changes(1).await;
    world.say("e-1", json!({"due_at": "2026-03-02T10:00:00Z", "assignee": "bo"})).await;
    world.until_actions(1).await;
    // The log says that it is quiet, and that there is more: one of the two is wrong.
    world.log.endless.store(true, SeqCst);
    world.turn(TimeDelta::minutes(61));
    world.until("it was looked", async || world.log.quiet.load(SeqCst) > 0).await;
    assert_eq!(world.progress.stalled().timers, 0, "a minute is its bound");
    world.turn(TimeDelta::seconds(11));
    world.until("it is told", async || world.progress.stalled().timers == 1).await;
    let stalled = world.progress.stalled();
    assert_eq!(
        (stalled.rule.as_deref(), stalled.since),
        (Some("deadline"), Some(at("2026-03-02T10:00:00Z")))
    );
    world.log.endless.store(false, SeqCst);
    world.until_actions(2).await;
    world.turn(TimeDelta::seconds(11));
    world.until("it is over", async || world.progress.stalled().timers == 0).await;
}

#[tokio::test]
async fn what_comes_due_while_the_log_cannot_be_polled_is_not_overdue() {
    let world = World::new().await;
    world.changes(1).await;
    for (n, hour) in [(1, 10), (2, 11)] {
        let issue = format!("github:acme/checkout#{n}");
        let due_at = format!("2026-03-02T{hour}:00:00Z");
        world.say(&format!("e-{n}"), json!({"issue_ref": issue, "due_at": due_at, "assignee": "bo"})).await;
    }
    world.until_actions(2).await;
    // The first timer is decided: the log has said that nothing stands before it.
    world.turn(TimeDelta::minutes(61));
    world.until_actions(3).await;
    const MANY: u32 = 1_000_000;
    world.log.fail_polls.store(MANY, SeqCst);
    let failed = || MANY - world.log.fail_polls.load(SeqCst);
    world.until("polls fail", async || failed() > 0).await;
    // The second comes due meanwhile, and passes its bound; it is looked before each poll.
    world.turn(TimeDelta::minutes(70));
    let before = failed();
    world.until("it was looked", async || failed() >= before + 2).await;
    assert_eq!(world.progress.stalled().timers, 0);
    world.log.fail_polls.store(0, SeqCst);
    world.until_actions(4).await;
}

#[tokio::test]
async fn while_the_log_does_not_say_where_it_ends_no_timer_is_overdue() {
    let world = World::new().await;
    world.changes(1).await;
    // The log does not answer for any partition but the first.
    let project = ["beta", "gamma", "delta", "epsilon"]
        .into_iter()
        .find(|name| eventlog::partition_of(name.as_bytes(), PARTITIONS) > 0)
        .unwrap();
    let event = json!({"project_id": project, "due_at": "2026-03-02T10:00:00Z", "assignee": "bo"});
    world.say("e-1", event).await;
    world.until_actions(1).await;
    world.log.fail_asking.store(1_000_000, SeqCst);
    world.turn(TimeDelta::hours(2));
    let (asked, quiet) = (world.log.fail_asking.load(SeqCst), world.log.quiet.load(SeqCst));
    world.until("it was asked in vain", async || world.log.fail_asking.load(SeqCst) + 3 <= asked).await;
    world.until("it was looked", async || world.log.quiet.load(SeqCst) > quiet).await;
    assert_eq!((world.progress.stalled().timers, world.actions().await.len()), (0, 1));
    world.log.fail_asking.store(0, SeqCst);
    world.until_actions(2).await;
}
