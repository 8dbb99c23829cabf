//! What is killed, fenced, or cannot write, at the worst moment.

use std::time::Duration;

use calendar_mock::Fault;
use eventlog::Clock;
use executor::ExecutorError;
use serde_json::json;

use crate::{
    gist,
    world::{World, action, memory_log::CommitFault},
};

#[tokio::test]
async fn killed_after_the_call_and_before_the_commit() {
    let mut world = World::started().await;
    world.mock.inject(Fault::delay(Duration::from_millis(200)));
    world.publish(&action("a-1", "schedule_unblocker")).await;
    world.until("it is pending", || world.state().contains_key("a-1")).await;
    world.log.hold_commits(true);
    world.until("the meeting is made", || world.mock.meetings().len() == 1).await;
    world.kill().await;
    world.log.hold_commits(false);
    assert!(world.outcomes().is_empty());
    assert_eq!(world.state()["a-1"]["state"], "pending");

    world.start();
    assert_eq!(gist(&world.outcome().await), (true, -200, Some(1), None));
    world.settle().await;
    assert_eq!(world.mock.meetings().len(), 1, "one effect");
}

#[tokio::test]
async fn killed_before_the_first_commit() {
    let mut world = World::new().await;
    world.log.hold_commits(true);
    world.start();
    world.publish(&action("a-1", "schedule_unblocker")).await;
    world.until("the step is on its way", || world.log.commits_waiting() == 1).await;
    world.kill().await;
    assert!(
        world.state().is_empty() && world.mock.meetings().is_empty(),
        "nothing is called before it is pending on the log"
    );
    world.log.hold_commits(false);
    world.start();
    world.outcome().await;
    assert_eq!(world.mock.meetings().len(), 1);
}

#[tokio::test]
async fn a_step_whose_fate_is_unknown_is_found_out_by_restoring() {
    for fault in [CommitFault::FailsBefore, CommitFault::FailsAfter] {
        // The first step, then the second.
        for second in [false, true] {
            let mut world = World::new().await;
            world.mock.inject(Fault::delay(Duration::from_millis(100)));
            if !second {
                world.log.fail_next_commit(fault);
            }
            world.start();
            world.publish(&action("a-1", "schedule_unblocker")).await;
            if second {
                world.until("it is pending", || world.state().contains_key("a-1")).await;
                world.log.fail_next_commit(fault);
            }
            world.outcome().await;
            world.settle().await;
            assert!(!world.log.commits_will_fail());
            assert_eq!(world.mock.meetings().len(), 1, "{fault:?} {second}");
        }
    }
}

#[tokio::test]
async fn while_the_log_takes_no_step_no_target_is_called_anew() {
    let mut world = World::new().await;
    world.config.step_wait = Duration::from_millis(40);
    world.mock.inject(Fault::delay(Duration::from_millis(20)).times(100));
    world.start();
    world.publish(&action("a-1", "schedule_unblocker")).await;
    world.until("it is pending", || world.state().contains_key("a-1")).await;
    world.log.fail_commits(true);
    let began = std::time::Instant::now();
    world.until("steps fail", || world.log.commits_failed() >= 4).await;
    // Between the beginnings lie 40, 80 and 160 ms.
    assert!(began.elapsed() >= Duration::from_millis(280), "{:?}", began.elapsed());
    // What was done cannot be told from what was not, so it is called for once more, when that can be kept.
    let calls = || 100 - world.mock.faults()[0].times;
    assert_eq!(calls(), 1);
    world.log.fail_commits(false);
    world.outcome().await;
    assert_eq!((calls(), world.mock.meetings().len()), (2, 1));
}

#[tokio::test]
async fn state_that_cannot_be_read_is_not_left_out() {
    let pending = |record: &str| {
        let entry = json!({
            "state": "pending", "accepted_at": "2026-03-02T10:00:00Z", "asked_at": "2026-03-02T10:00:00Z", "offset": 0,
            "attempts": 0, "parkings": 0, "next_attempt_at": "2026-03-02T10:00:00Z", "record": record,
        });
        entry.to_string()
    };
    let other = action("a-2", "post_nudge").to_string();
    let unreadable: [(&[u8], String); 6] = [
        (b"a-1", "secret".into()),
        (b"a-1", r#"{"state":"secret"}"#.into()),
        (b"a-1", r#"{"state":"pending","record":"secret"}"#.into()),
        (b"a-1", pending("secret")),
        (b"a-1", pending(&other)),
        (b"\xff", r#"{"state":"done","finished_at":"2026-03-02T10:00:00Z"}"#.into()),
    ];
    for (key, value) in unreadable {
        let mut world = World::new().await;
        world.keep(1, b"a-9", None).await;
        world.keep(1, key, Some(value.as_bytes())).await;
        world.start();
        let error = world.ended().await;
        assert!(matches!(error, ExecutorError::State { partition: 1, offset: 1, .. }), "{value}: {error}");
        let text = error.to_string();
        assert!(text.contains("executor-state at offset 1") && text.contains("run that version"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn while_no_step_can_be_made_nothing_moves() {
    let world = World::started().await;
    world.until("it moves", || world.progress.moved_at() == Some(world.clock.now())).await;
    // The first step, then the second: there, polls are quiet while the attempt runs.
    for (id, second) in [("a-1", false), ("a-2", true)] {
        world.mock.inject(Fault::delay(Duration::from_millis(50)).times(1000));
        world.log.fail_commits(!second);
        world.publish(&action(id, "post_nudge")).await;
        if second {
            world.until("it is pending", || world.state().contains_key(id)).await;
            world.log.fail_commits(true);
        }
        let failed = world.log.commits_failed();
        world.until("a step fails", || world.log.commits_failed() > failed).await;
        world.advance(60);
        let moved_at = world.progress.moved_at().unwrap();
        assert!(moved_at < world.clock.now());
        world.until("steps fail", || world.log.commits_failed() > failed + 5).await;
        assert_eq!(world.progress.moved_at(), Some(moved_at), "second step: {second}");

        world.log.fail_commits(false);
        world.mock.clear_faults();
        world.until("it moves again", || world.progress.moved_at() == Some(world.clock.now())).await;
    }
    world.outcomes_of(2).await;
}

#[tokio::test]
async fn after_a_step_that_failed_a_quiet_log_is_progress_once_steps_are_made_again() {
    // The step was made, whatever was said: nothing is left to do, and so no step of its own accord.
    let world = World::started().await;
    world.mock.inject(Fault::delay(Duration::from_millis(50)));
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("it is pending", || world.state().contains_key("a-1")).await;
    world.log.fail_next_commit(CommitFault::FailsAfter);
    world.outcome().await;
    world.until("it failed", || !world.log.commits_will_fail()).await;
    world.advance(60);
    world.until("it moves", || world.progress.moved_at() == Some(world.clock.now())).await;

    // And where the others have taken over everything, there is nothing to do.
    world.log.fail_commits(true);
    world.publish(&action("a-2", "post_nudge")).await;
    world.until("a step fails", || world.log.commits_failed() > 0).await;
    world.log.move_elsewhere();
    world.until("nothing is held", || world.progress.partitions() == 0).await;
    world.advance(62);
    world.until("it is content", || world.progress.moved_at() == Some(world.clock.now())).await;
}

#[tokio::test]
async fn a_revoked_partition_is_left_to_its_next_holder() {
    let world = World::started().await;
    world.mock.inject(Fault::hang());
    world.publish(&action("a-1", "post_nudge")).await;
    world.until("it hangs", || world.mock.faults().is_empty()).await;
    world.log.revoke();
    assert_eq!(
        gist(&world.outcome().await),
        (true, -50, Some(1), None),
        "the dropped attempt is not counted"
    );
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
}
