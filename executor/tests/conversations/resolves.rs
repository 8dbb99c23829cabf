//! What takes back a page or a meeting: each test is one conversation.

use std::time::Duration;

use calendar_mock::Fault;
use eventlog::Clock;
use events::{Outcome, id};
use executor::{Mode, Route};
use serde_json::{Value, json};

use crate::world::{World, action};

const OVERTAKEN: &str = "not taken back: a later page took its place";

fn page(id: &str) -> Value {
    action(id, "escalate_owner")
}

/// What takes an earlier action back, as the gateway writes it.
fn resolve(id: &str, of: &str, kind: &str) -> Value {
    let mut resolve = action(id, "resolve");
    resolve["params"]["of"] = json!({ "action": kind, "action_id": of });
    resolve
}

fn at(mut action: Value, evaluated_at: &str) -> Value {
    action["evaluated_at"] = json!(evaluated_at);
    action
}

fn hopeless() -> Fault {
    Fault::status(503).retry_after("3600")
}

/// Whom it was about, ack, error.
fn gist(outcome: &Outcome) -> (&str, bool, Option<&str>) {
    (outcome.action_id.as_deref().unwrap(), outcome.ack, outcome.error.as_deref())
}

/// Of the messages sent, in their order, which took something back.
fn took_back(world: &World) -> Vec<bool> {
    world.mock.nudges().iter().map(|nudge| nudge.item.message.contains("is needed no more")).collect()
}

#[tokio::test]
async fn a_late_resolve_leaves_the_page_that_came_after_it_alone() {
    for restarted in [false, true] {
        let mut world = World::started().await;
        world.publish(&page("a-1")).await;
        world.outcome().await;
        world.mock.inject(Fault::status(429).retry_after("60"));
        world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
        world.parked_until("a-2").await;
        if restarted {
            world.kill().await;
        }
        world.publish(&page("a-3")).await;
        if restarted {
            world.start();
        }
        let outcomes = world.outcomes_of(3).await;
        assert_eq!(gist(&outcomes[1]), ("a-2", true, Some(OVERTAKEN)));
        assert_eq!((outcomes[1].attempts, outcomes[1].risk_delta.0), (Some(1), 0));
        assert_eq!(gist(&outcomes[2]), ("a-3", true, None));
        world.advance(200);
        world.settle().await;
        assert_eq!(took_back(&world), [false, false]);
        assert!(world.dead_letters().is_empty());

        // The later page is taken back by its own.
        world.publish(&resolve("a-4", "a-3", "escalate_owner")).await;
        assert_eq!(gist(&world.outcomes_of(5).await[4]), ("a-4", true, None));
        assert_eq!(took_back(&world), [false, false, true]);
    }
}

#[tokio::test]
async fn what_a_pause_held_back_is_overtaken_as_well_and_in_one_batch() {
    let mut world = World::started().await;
    world.publish(&page("a-1")).await;
    world.outcome().await;
    world.say(Some("alpha"), true).await;
    world.until("it is paused", || world.progress.paused().contains_key("alpha")).await;
    world.stop().await;
    world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    world.publish(&page("a-3")).await;
    world.start();
    assert_eq!(gist(&world.outcomes_of(2).await[1]), ("a-2", true, Some(OVERTAKEN)));
    world.say(Some("alpha"), false).await;
    assert_eq!(gist(&world.outcomes_of(3).await[2]), ("a-3", true, None));
    assert_eq!(took_back(&world), [false, false]);
}

#[tokio::test]
async fn a_page_waits_for_the_call_that_takes_the_earlier_one_back() {
    let world = World::started().await;
    world.publish(&page("a-1")).await;
    world.outcome().await;
    world.mock.inject(Fault::delay(Duration::from_millis(150)));
    world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    world.until("it is pending", || world.state().contains_key("a-2")).await;
    world.publish(&page("a-3")).await;
    let outcomes = world.outcomes_of(3).await;
    assert_eq!((gist(&outcomes[1]).0, gist(&outcomes[2])), ("a-2", ("a-3", true, None)));
    assert_eq!(took_back(&world).last(), Some(&false), "the later page is the last word");
}

#[tokio::test]
async fn a_redriven_resolve_leaves_a_later_page_alone_and_takes_back_an_earlier_one() {
    // When the page was decided, and what becomes of the resolve of 10:00.
    for (decided, overtaken) in [("2026-03-02T10:00:01Z", true), ("2026-03-02T09:59:59Z", false)] {
        let mut world = World::started().await;
        world.publish(&page("a-1")).await;
        world.outcome().await;
        world.mock.inject(hopeless());
        let late = resolve("a-2", "a-1", "escalate_owner");
        world.publish(&at(late, "2026-03-02T10:00:00Z")).await;
        assert!(!world.outcomes_of(2).await[1].ack);
        world.publish(&at(page("a-3"), decided)).await;
        world.outcomes_of(3).await;
        world.kill().await;
        world.start();
        world.redrive(&world.dead_letters()[0]).await;
        let outcomes = world.outcomes_of(4).await;
        assert_eq!(gist(&outcomes[3]), ("a-2", true, Some(OVERTAKEN).filter(|_| overtaken)));
        assert_eq!(took_back(&world).contains(&true), !overtaken);
    }
}

#[tokio::test]
async fn other_issues_pages_refused_pages_and_meetings_overtake_nothing() {
    let world = World::started().await;
    world.publish(&page("a-1")).await;
    world.publish(&action("a-2", "schedule_unblocker")).await;
    world.outcomes_of(2).await;
    world.mock.inject(Fault::status(429).retry_after("60"));
    world.publish(&resolve("a-3", "a-1", "escalate_owner")).await;
    let due = world.parked_until("a-3").await;
    let mut other = page("a-4");
    other["issue_ref"] = json!("github:o/r#2");
    world.publish(&other).await;
    world.publish(&at(page("a-5"), "2026-02-27T10:00:00Z")).await;
    let outcomes = world.outcomes_of(4).await;
    assert!(outcomes.iter().any(|outcome| gist(outcome) == ("a-5", false, Some("expired"))));
    world.advance((due - world.clock.now()).num_seconds() + 1);
    assert_eq!(gist(&world.outcomes_of(5).await[4]), ("a-3", true, None));

    // A meeting is known by itself, whoever was called since.
    world.publish(&page("a-6")).await;
    world.publish(&resolve("a-7", "a-2", "schedule_unblocker")).await;
    let outcomes = world.outcomes_of(7).await;
    let back = outcomes.iter().find(|outcome| gist(outcome).0 == "a-7").unwrap();
    assert_ne!((back.attempts, back.error.as_deref()), (Some(0), Some(OVERTAKEN)));
}

#[tokio::test]
async fn what_was_taken_back_is_not_done_again_by_a_redrive() {
    for kind in ["escalate_owner", "schedule_unblocker"] {
        for in_one_batch in [false, true] {
            let mut world = World::started().await;
            world.mock.inject(hopeless());
            world.publish(&action("a-1", kind)).await;
            assert!(!world.outcome().await.ack);
            let letter = world.dead_letters().remove(0);
            if in_one_batch {
                world.stop().await;
            }
            world.publish(&resolve("a-2", "a-1", kind)).await;
            if !in_one_batch {
                world.outcomes_of(2).await;
                world.kill().await;
            }
            world.redrive(&letter).await;
            world.start();
            let outcomes = world.outcomes_of(3).await;
            let again = outcomes.iter().find(|outcome| outcome.event_id == id::outcome("a-1", 1)).unwrap();
            assert_eq!(gist(again), ("a-1", false, Some(Outcome::WITHDRAWN)));
            assert_eq!((again.attempts, again.risk_delta.0), (Some(0), -100), "it is no failure any more");
            assert_eq!(again.supersedes, Some(id::outcome("a-1", 0)));
            let back = outcomes.iter().find(|outcome| gist(outcome).0 == "a-2").unwrap();
            assert!(back.attempts != Some(0), "what it may have left is taken back all the same: {back:?}");
            // That is the letter's end: there is none again, and whoever redrives it once more changes nothing.
            world.redrive(&letter).await;
            world.settle().await;
            assert_eq!((world.outcomes().len(), world.dead_letters().len()), (4, 1));
            assert!(!took_back(&world).contains(&false), "nobody is called");
            assert!(world.mock.meetings().is_empty());
        }
    }
}

/// What the first round of a page left is still there after a second that left nothing, and is taken back.
#[tokio::test]
async fn what_an_earlier_round_left_is_taken_back_whatever_the_last_did() {
    let mut world = World::started().await;
    world.mock.inject(hopeless().after_work());
    world.publish(&page("a-1")).await;
    assert!(!world.outcome().await.ack);
    assert_eq!(world.mock.nudges().len(), 1, "somebody was called");
    world.mock.inject(Fault::status(400));
    world.redrive(&world.dead_letters()[0]).await;
    let again = world.outcomes_of(2).await.remove(1);
    assert_eq!((again.ack, again.attempts), (false, Some(1)), "refused");
    world.kill().await;
    world.start();
    world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    let back = world.outcomes_of(3).await.remove(2);
    assert_eq!((gist(&back), back.attempts), (("a-2", true, None), Some(1)));
    assert_eq!(took_back(&world), [false, true]);
}

/// A page that is still tried is not given up for a later one. Where it calls people when that was taken back long ago, it is taken back
/// itself.
#[tokio::test]
async fn a_page_that_comes_through_after_all_is_taken_back_after_all() {
    for restarted in [false, true] {
        let mut world = World::started().await;
        world.mock.inject(Fault::status(429).retry_after("600"));
        world.publish(&page("a-1")).await;
        let due = world.parked_until("a-1").await;
        // Closed, and reopened: people are called anew, at once; and closed again.
        world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
        world.publish(&page("a-3")).await;
        assert_eq!(gist(&world.outcome().await), ("a-3", true, None));
        world.publish(&resolve("a-4", "a-3", "escalate_owner")).await;
        assert_eq!(gist(&world.outcomes_of(2).await[1]), ("a-4", true, None));
        if restarted {
            world.kill().await;
            world.start();
        }
        world.advance((due - world.clock.now()).num_seconds() + 1);
        let outcomes = world.outcomes_of(4).await;
        assert_eq!(gist(&outcomes[2]), ("a-1", true, None));
        assert_eq!(gist(&outcomes[3]), ("a-2", true, None));
        assert_eq!(took_back(&world), [false, true, false, true], "{restarted}");
    }
}

/// The same, while the later page is open: that one's alert is the same.
#[tokio::test]
async fn a_page_that_comes_through_beside_a_later_one_is_taken_back_with_that() {
    let world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("600"));
    world.publish(&page("a-1")).await;
    let due = world.parked_until("a-1").await;
    world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    world.publish(&page("a-3")).await;
    world.outcome().await;
    world.advance((due - world.clock.now()).num_seconds() + 1);
    let outcomes = world.outcomes_of(3).await;
    assert_eq!(gist(&outcomes[1]), ("a-1", true, None));
    assert_eq!(gist(&outcomes[2]), ("a-2", true, Some(OVERTAKEN)));
    assert_eq!(took_back(&world), [false, false]);
}

/// A later page took the place of an earlier one, which so stayed open, and then called nobody itself: what takes it back closes that.
#[tokio::test]
async fn what_made_way_for_a_page_that_failed_is_taken_back_with_it() {
    for restarted in [false, true] {
        let mut world = World::started().await;
        world.publish(&page("a-1")).await;
        world.outcome().await;
        world.mock.inject(Fault::status(429).retry_after("60"));
        world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
        world.parked_until("a-2").await;
        world.mock.inject(Fault::status(400));
        world.publish(&page("a-3")).await;
        let outcomes = world.outcomes_of(3).await;
        assert_eq!(gist(&outcomes[1]), ("a-2", true, Some(OVERTAKEN)));
        assert_eq!((outcomes[2].ack, outcomes[2].attempts), (false, Some(1)), "it called nobody");
        if restarted {
            world.kill().await;
            world.start();
        }
        world.publish(&resolve("a-4", "a-3", "escalate_owner")).await;
        let back = world.outcomes_of(4).await.remove(3);
        assert_eq!((gist(&back), back.attempts), (("a-4", true, None), Some(1)), "{restarted}");
        assert_eq!(took_back(&world), [false, true]);
    }
}

/// What took back a later page that had called people took back what had made way for it, too: after that nothing is open.
#[tokio::test]
async fn what_made_way_is_taken_back_once() {
    for restarted in [false, true] {
        let mut world = World::started().await;
        world.publish(&page("a-1")).await;
        world.outcome().await;
        world.mock.inject(Fault::status(429).retry_after("60"));
        world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
        world.parked_until("a-2").await;
        world.publish(&page("a-3")).await;
        assert_eq!(gist(&world.outcomes_of(3).await[1]), ("a-2", true, Some(OVERTAKEN)));
        world.publish(&resolve("a-4", "a-3", "escalate_owner")).await;
        world.outcomes_of(4).await;
        world.mock.inject(Fault::status(400));
        world.publish(&page("a-5")).await;
        assert!(!world.outcomes_of(5).await[4].ack, "it called nobody");
        if restarted {
            world.kill().await;
            world.start();
        }
        world.publish(&resolve("a-6", "a-5", "escalate_owner")).await;
        let back = world.outcomes_of(6).await.remove(5);
        assert_eq!((gist(&back), back.attempts), (("a-6", true, None), Some(0)), "{restarted}");
    }
}

/// A page that was redriven for nothing called nobody anew: what takes a later one back is not to leave that open for its sake.
#[tokio::test]
async fn a_page_that_was_withdrawn_takes_no_later_ones_place() {
    for restarted in [false, true] {
        let mut world = World::started().await;
        world.mock.inject(hopeless().after_work());
        world.publish(&at(page("a-1"), "2026-03-02T09:50:00Z")).await;
        assert!(!world.outcome().await.ack);
        let letter = world.dead_letters().remove(0);
        world.publish(&at(page("a-2"), "2026-03-02T09:51:00Z")).await;
        world.outcomes_of(2).await;
        // Closed: the first is taken back, and for the second the tool is down.
        world.publish(&at(resolve("a-3", "a-1", "escalate_owner"), "2026-03-02T09:52:00Z")).await;
        world.outcomes_of(3).await;
        world.mock.inject(Fault::status(429).retry_after("60"));
        world.publish(&at(resolve("a-4", "a-2", "escalate_owner"), "2026-03-02T09:52:00Z")).await;
        let due = world.parked_until("a-4").await;
        world.redrive(&letter).await;
        assert_eq!(gist(&world.outcomes_of(4).await[3]), ("a-1", false, Some(Outcome::WITHDRAWN)));
        if restarted {
            world.kill().await;
            world.start();
        }
        world.advance((due - world.clock.now()).num_seconds() + 1);
        assert_eq!(gist(&world.outcomes_of(5).await[4]), ("a-4", true, None), "{restarted}");
        assert_eq!(took_back(&world).last(), Some(&true));
    }
}

#[tokio::test]
async fn a_dry_run_rehearses_what_takes_back_as_well() {
    for of_all in [true, false] {
        let mut world = World::new().await;
        world.config.dry_run = of_all;
        if !of_all {
            world.config.routes = vec![Route {
                project: None,
                action: "escalate_owner".to_owned(),
                targets: vec!["notification".to_owned()],
                otherwise: Vec::new(),
                mode: Mode::DryRun,
            }];
        }
        world.start();
        world.publish(&page("a-1")).await;
        world.outcome().await;
        world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
        let outcome = world.outcomes_of(2).await.remove(1);
        assert_eq!(gist(&outcome), ("a-2", false, Some("dry_run")));
        let [carried] = outcome.carried.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((carried.by.as_str(), carried.unsent.len()), ("notification", 1));
        assert!(carried.unsent[0].body.to_string().contains("is needed no more"), "{carried:?}");
        assert!(world.mock.nudges().is_empty() && world.dead_letters().is_empty());
    }
}
