//! Dead letters that are redriven: each test is one conversation.

use std::time::Duration;

use crate::world::{World, action};
use calendar_mock::Fault;
use eventlog::{Log, NewRecord};
use events::{DeadLetter, Outcome, Risk, id, topic};
use serde_json::json;

/// ack, risk in thousandths, id, what it supersedes.
fn gist(outcome: &Outcome) -> (bool, i64, &str, Option<&str>) {
    (outcome.ack, outcome.risk_delta.0, &outcome.event_id, outcome.supersedes.as_deref())
}

fn o(round: u32) -> String {
    id::outcome("a-1", round)
}

/// Answers that fail an action at once: all quick attempts, and a wait longer than we are willing to try.
fn hopeless() -> Fault {
    Fault::status(503).retry_after("3600")
}

/// A world in which `a-1` has failed, and its letter.
async fn failed() -> (World, DeadLetter) {
    let world = World::started().await;
    world.mock.inject(hopeless());
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(gist(&world.outcome().await), (false, 100, &*o(0), None));
    let letter = world.dead_letters().remove(0);
    assert_eq!(letter.round, 0);
    (world, letter)
}

#[tokio::test]
async fn a_redriven_action_is_done_and_its_outcome_replaces_the_first() {
    let (mut world, letter) = failed().await;
    world.redrive(&letter).await;
    let outcomes = world.outcomes_of(2).await;
    assert_eq!(gist(&outcomes[1]), (true, -150, &*o(1), Some(&*o(0))));
    assert_eq!(world.mock.nudges()[0].idempotency_key.as_deref(), Some("a-1"));

    // Redriven once more by somebody who does not know, also after a restart, it is done already.
    world.redrive(&letter).await;
    world.settle().await;
    world.kill().await;
    world.start();
    world.redrive(&letter).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
    assert_eq!(world.outcomes().iter().filter(|o| o.action_id.as_deref() == Some("a-1")).count(), 2);
    assert_eq!(world.dead_letters().len(), 1);
}

#[tokio::test]
async fn what_fails_again_is_a_letter_again_and_the_risk_stays_exact() {
    let (world, mut letter) = failed().await;
    for round in 1..=3 {
        world.mock.inject(hopeless());
        world.redrive(&letter).await;
        let outcomes = world.outcomes_of(round as usize + 1).await;
        assert_eq!(gist(&outcomes[round as usize]), (false, 0, &*o(round), Some(&*o(round - 1))));
        let letters = world.dead_letters();
        assert_eq!(letters.len(), round as usize + 1, "it does not redrive itself");
        let next = letters.into_iter().next_back().unwrap();
        assert_eq!((next.round, &next.original_sha256), (round, &letter.original_sha256));
        assert_ne!(next.event_id, letter.event_id);
        letter = next;
    }
    world.redrive(&letter).await;
    let outcomes = world.outcomes_of(5).await;
    assert_eq!(gist(&outcomes[4]), (true, -150, &*o(4), Some(&*o(3))));
    assert_eq!(
        outcomes.iter().map(|o| o.risk_delta).sum::<Risk>(),
        Risk(-50),
        "as if it had been done at once"
    );
}

#[tokio::test]
async fn it_expires_by_the_day_on_which_it_was_redriven() {
    let (mut world, letter) = failed().await;
    world.advance(3 * 24 * 3600);
    world.redrive(&letter).await;
    assert_eq!(gist(&world.outcomes_of(2).await[1]), (true, -150, &*o(1), Some(&*o(0))));

    // And is not done a day after that, either.
    world.mock.inject(hopeless());
    let mut other = action("a-2", "post_nudge");
    other["evaluated_at"] = json!("2026-03-05T10:00:00Z");
    world.publish(&other).await;
    world.outcomes_of(3).await;
    let letter = world.dead_letters().remove(1);
    world.stop().await;
    world.redrive(&letter).await;
    world.advance(24 * 3600 + 1);
    world.start();
    let last = world.outcomes_of(4).await.remove(3);
    assert_eq!(
        (last.risk_delta.0, last.error.as_deref()),
        (-100, Some("expired")),
        "it adds nothing any more"
    );
    assert_eq!(last.supersedes, Some(id::outcome("a-2", 0)));
}

#[tokio::test]
async fn killed_between_its_call_and_its_outcome() {
    let (mut world, letter) = failed().await;
    world.mock.inject(Fault::delay(Duration::from_millis(200)));
    world.redrive(&letter).await;
    world.until("it is pending", || world.state()["a-1"]["state"] == "pending").await;
    assert_eq!(world.state()["a-1"]["supersedes"]["outcome"], o(0));
    world.log.hold_commits(true);
    world.until("the message is sent", || world.mock.nudges().len() == 1).await;
    world.kill().await;
    world.log.hold_commits(false);
    world.start();
    assert_eq!(gist(&world.outcomes_of(2).await[1]), (true, -150, &*o(1), Some(&*o(0))));
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1, "one effect");
}

#[tokio::test]
async fn killed_before_it_is_pending() {
    let (mut world, letter) = failed().await;
    world.log.hold_commits(true);
    world.redrive(&letter).await;
    world.until("the step is on its way", || world.log.commits_waiting() == 1).await;
    world.kill().await;
    world.log.hold_commits(false);
    world.start();
    assert_eq!(gist(&world.outcomes_of(2).await[1]), (true, -150, &*o(1), Some(&*o(0))));
}

#[tokio::test]
async fn a_target_that_did_the_work_before_it_failed_recognises_it() {
    let world = World::started().await;
    world.mock.inject(Fault::status(503).retry_after("3600").after_work());
    world.publish(&action("a-1", "schedule_unblocker")).await;
    assert!(!world.outcome().await.ack);
    world.redrive(&world.dead_letters()[0]).await;
    let outcomes = world.outcomes_of(2).await;
    assert_eq!(gist(&outcomes[1]), (true, -300, &*o(1), Some(&*o(0))));
    assert_eq!(outcomes[1].reference.as_deref(), Some("m-1"));
    assert_eq!(world.mock.meetings().len(), 1);
}

#[tokio::test]
async fn a_meeting_that_was_not_booked_in_time_is_booked_for_later() {
    // Whether or not it was booked unheard.
    for booked in [false, true] {
        let fault = Fault::status(503).retry_after("3600");
        let world = World::started().await;
        world.mock.inject(if booked { fault.after_work() } else { fault });
        world.publish(&action("a-1", "schedule_unblocker")).await;
        assert!(!world.outcome().await.ack);
        world.advance(3 * 3600);
        world.redrive(&world.dead_letters()[0]).await;
        assert!(world.outcomes_of(2).await[1].ack);
        let meetings = world.mock.meetings();
        let starts: Vec<_> = meetings.iter().map(|meeting| meeting.item.start_at).collect();
        let start = if booked { "2026-03-02T10:15:00Z" } else { "2026-03-02T13:15:00Z" };
        assert_eq!(starts, [start.parse::<chrono::DateTime<chrono::Utc>>().unwrap()]);
    }
}

#[tokio::test]
async fn when_the_mark_is_forgotten_the_letter_remembers() {
    let (world, letter) = failed().await;
    world.advance(7 * 24 * 3600 + 1);
    world.until("the mark is gone", || !world.state().contains_key("a-1")).await;
    world.redrive(&letter).await;
    assert_eq!(gist(&world.outcomes_of(2).await[1]), (true, -150, &*o(1), Some(&*o(0))));
    world.redrive(&letter).await;
    world.settle().await;
    assert_eq!(world.mock.nudges().len(), 1);
}

#[tokio::test]
async fn an_old_mark_that_leaves_does_not_take_what_is_tried_again_with_it() {
    let (mut world, letter) = failed().await;
    // Its mark is as old and stands behind that of a-1, so they are looked at in one go.
    world.publish(&action("a-0", "post_nudge")).await;
    world.outcomes_of(2).await;
    world.advance(7 * 24 * 3600 - 10);
    world.mock.inject(Fault::status(429).retry_after("120"));
    world.redrive(&letter).await;
    let parked = || world.state()["a-1"]["state"] == "pending" && world.state()["a-1"]["parkings"] == 1;
    world.until("it is parked", parked).await;
    world.advance(70);
    world.until("old marks leave", || !world.state().contains_key("a-0")).await;
    assert!(parked());
    world.kill().await;
    world.start();
    world.advance(100);
    assert_eq!(gist(&world.outcomes_of(3).await[2]), (true, -150, &*o(1), Some(&*o(0))));
}

#[tokio::test]
async fn what_cannot_be_read_is_one_letter_a_round_however_often_it_is_redriven() {
    let world = World::started().await;
    world.publish_raw("alpha", b"secret".to_vec()).await;
    world.until("it is a letter", || world.dead_letters().len() == 1).await;
    let first = world.dead_letters().remove(0);
    world.redrive(&first).await;
    world.redrive(&first).await;
    world.until("it is one again", || world.dead_letters().len() == 3).await;
    let letters = world.dead_letters();
    assert_eq!((letters[1].round, &letters[1].event_id), (1, &letters[2].event_id));
    assert_ne!(letters[1].event_id, first.event_id);

    // It had no outcome, so there is none to replace once it can be read.
    let mut readable = letters[1].clone();
    readable.original = events::Original::Utf8(action("a-1", "post_nudge").to_string());
    readable.original_sha256 = id::sha256(action("a-1", "post_nudge").to_string().as_bytes());
    world.redrive(&readable).await;
    assert_eq!(gist(&world.outcome().await), (true, -50, &*o(2), None));
}

#[tokio::test]
async fn headers_that_make_no_sense_redrive_nothing() {
    let (world, _) = failed().await;
    for (round, of) in [("x", "d-1"), ("0", "d-1"), ("-1", "d-1"), ("1", ""), ("99999999999", "d-1")] {
        let record = NewRecord {
            topic: topic::ACTIONS.into(),
            partition: None,
            key: "alpha".into(),
            value: Some(action("a-1", "post_nudge").to_string().into()),
            headers: vec![("redrive".into(), round.into()), ("redrive_of".into(), of.into())],
        };
        world.log.append(vec![record]).await.unwrap();
    }
    world.settle().await;
    assert!(world.mock.nudges().is_empty());
    assert_eq!(world.outcomes().iter().filter(|o| o.action_id.as_deref() == Some("a-1")).count(), 1);
}
