//! The group begins with `actions` anew, and what it kept is gone: what has its outcome is not done again.

use calendar_mock::{Collection, Fault};
use eventlog::partition_of;
use events::topic;
use serde_json::json;

use super::{
    gist,
    world::{
        World, action,
        memory_log::{CommitFault, PARTITIONS},
    },
};

#[tokio::test]
async fn what_has_its_outcome_is_not_done_again_when_all_that_was_kept_is_gone() {
    for fault in [None, Some(CommitFault::FailsBefore), Some(CommitFault::FailsAfter)] {
        let mut world = World::started().await;
        world.publish(&action("a-1", "post_nudge")).await;
        world.publish(&action("a-2", "schedule_unblocker")).await;
        world.mock.inject(Fault::status(400).on(Collection::Nudges));
        world.publish(&action("a-3", "post_nudge")).await;
        let before = world.outcomes_of(3).await;
        let (nudges, meetings) = (world.mock.nudges(), world.mock.meetings());
        world.kill().await;

        world.log.lose_group(topic::EXECUTOR_STATE);
        assert!(world.state().is_empty());
        if let Some(fault) = fault {
            world.log.fail_next_commit(fault);
        }
        world.start();
        world.until("all is known again", || world.state().len() == 3).await;
        world.publish(&action("a-1", "post_nudge")).await;
        world.publish(&action("a-4", "post_nudge")).await;
        let after = world.outcomes_of(4).await;
        assert_eq!(after[..3], before, "{fault:?}");
        assert_eq!(after[3].action_id.as_deref(), Some("a-4"));
        assert_eq!((world.mock.nudges().len(), world.mock.meetings()), (nudges.len() + 1, meetings));
        assert!(world.state().values().all(|entry| entry["state"] == "done"), "{:?}", world.state());
    }
}

#[tokio::test]
async fn what_failed_before_can_still_be_redriven_and_counts_as_one() {
    let mut world = World::started().await;
    world.mock.inject(Fault::status(400).on(Collection::Nudges));
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(gist(&world.outcome().await).1, 100);
    let letter = world.dead_letters().remove(0);
    world.kill().await;
    world.log.lose_group(topic::EXECUTOR_STATE);
    world.start();
    world.until("it is known again", || world.state().len() == 1).await;
    world.redrive(&letter).await;
    let outcomes = world.outcomes_of(2).await;
    assert_eq!((outcomes[1].ack, outcomes[1].risk_delta.0), (true, -150));
    assert_eq!(outcomes[1].supersedes.as_deref(), Some(outcomes[0].event_id.as_str()));

    // Both rounds are on the log, and neither is made again.
    world.kill().await;
    world.log.lose_group(topic::EXECUTOR_STATE);
    world.start();
    world.until("it is known again", || world.state().len() == 1).await;
    assert_eq!(world.state()["a-1"]["round"], json!(1));
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
}

#[tokio::test]
async fn a_partition_whose_outcomes_are_awaited_holds_up_no_other_and_misses_nothing() {
    let mut world = World::started().await;
    world.publish(&action("a-1", "post_nudge")).await;
    world.outcome().await;
    world.kill().await;
    // Of another partition nothing is known, and what was said there comes first.
    let partition = |project: &str| partition_of(project.as_bytes(), PARTITIONS);
    let project = (0..).map(|n| format!("p{n}")).find(|name| partition(name) != partition("alpha")).unwrap();
    let mut elsewhere = action("a-2", "post_nudge");
    elsewhere["project_id"] = json!(project);
    world.publish(&elsewhere).await;
    world.say(Some(&project), true).await;
    world.log.hold_reads(true);
    world.start();
    world.publish(&action("a-3", "post_nudge")).await;
    assert_eq!(world.outcomes_of(2).await[1].action_id.as_deref(), Some("a-3"));
    world.settle().await;
    assert!(!world.state().contains_key("a-2") && world.progress.paused().is_empty());
    assert_eq!(world.log.paused().len(), 2, "nothing of it is polled");

    world.log.hold_reads(false);
    world.until("it is held back", || world.progress.held_back() == 1).await;
    assert!(world.log.paused().is_empty());
    world.say(Some(&project), false).await;
    world.until("it is done", || world.mock.nudges().len() == 3).await;
}
