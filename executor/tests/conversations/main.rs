//! The executor between a log and a calendar: each test is one conversation.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod deferring;
mod pauses;
mod replays;
mod resolves;
mod rounds;
mod world;

use std::time::Duration;

use calendar_mock::{CalendarMock, Collection, Fault};
use chrono::{DateTime, Utc};
use eventlog::Clock;
use events::{Origin, Original, Outcome, Risk};
use executor::ExecutorError;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};
use world::{World, action, memory_log::CommitFault};

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
async fn a_busy_target_says_when_and_is_believed() {
    let world = World::started().await;
    world.mock.inject(Fault::status(429).retry_after("60"));
    world.publish(&action("a-1", "post_nudge")).await;
    let due = world.parked_until("a-1").await;
    let wait = (due - world.clock.now()).num_seconds();
    assert!((60..=75).contains(&wait), "{wait}");
    world.advance(59);
    world.settle().await;
    assert!(world.mock.nudges().is_empty(), "not before its time");
    world.advance(wait - 59 + 1);
    world.until("it is done", || world.mock.nudges().len() == 1).await;
    let outcomes = world.outcomes_of(2).await;
    assert_eq!(gist(&outcomes[1]), (true, -50, Some(2), None));
}

#[tokio::test]
async fn a_short_wait_is_not_parked() {
    let world = World::started().await;
    world.mock.inject(Fault::status(503).times(2));
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(gist(&world.outcome().await), (true, -50, Some(3), None));
    assert_eq!(world.state()["a-1"]["state"], "done");
    assert!(world.log.all(events::topic::EXECUTOR_STATE).len() == 2, "pending, done; nothing between");
}

#[tokio::test]
async fn a_request_that_hangs_or_breaks_off_is_made_again_and_counts_once() {
    for fault in [
        Fault::hang(),
        Fault::hang().after_work(),
        Fault::close(),
        Fault::close().after_work(),
        Fault::status(500).after_work(),
    ] {
        let world = World::started().await;
        world.mock.inject(fault.clone());
        world.publish(&action("a-1", "schedule_unblocker")).await;
        assert_eq!(gist(&world.outcome().await), (true, -200, Some(2), None), "{fault:?}");
        assert_eq!(world.mock.meetings().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_garbage_is_an_answer() {
    let long = vec![b'['; 200_000];
    let bodies: [&[u8]; 6] = [b"", b"\xff\xfe", b"{\"id\":", b"[1]", b"{\"id\":{\"id\":1}}", &long];
    for body in bodies {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(201).set_body_bytes(body);
        Mock::given(any()).respond_with(answer).expect(1).mount(&server).await;
        let mut world = World::with_base(&server.uri(), CalendarMock::new());
        world.start();
        world.publish(&action("a-1", "post_nudge")).await;
        let outcome = world.outcome().await;
        assert_eq!(gist(&outcome), (true, -50, Some(1), None));
        assert_eq!(outcome.reference, None);
    }
}

/// Answers every connection with the head of a 201, `late`, and then with a body that comes byte by byte (every 10 ms) and
/// has no end, or never comes.
async fn endless(late: Duration, drips: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                tokio::time::sleep(late).await;
                let head = b"HTTP/1.1 201 Created\r\ncontent-length: 60000\r\n\r\n{\"id\":\"";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    sent = if drips { stream.write_all(b"x").await } else { Ok(()) };
                }
            });
        }
    });
    base
}

#[tokio::test]
async fn done_is_done_however_slowly_the_rest_of_the_answer_comes() {
    let (patient, late) = (Duration::from_secs(3), Duration::from_millis(1500));
    for (attempt_timeout, late) in [(Duration::from_secs(3600), Duration::ZERO), (patient, late)] {
        for drips in [false, true] {
            let mut world = World::with_base(&endless(late, drips).await, CalendarMock::new());
            world.config.limits.attempt_timeout = attempt_timeout;
            world.start();
            world.publish(&action("a-1", "post_nudge")).await;
            let outcome = world.outcome().await;
            assert_eq!(gist(&outcome), (true, -50, Some(1), None), "{attempt_timeout:?} {drips}");
            assert_eq!(outcome.reference, None);
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_at_the_last_moment_says_that_it_is_done() {
    // The body's own second would end after the attempt's.
    let mut world = World::with_base(&endless(Duration::from_millis(900), true).await, CalendarMock::new());
    world.config.limits.attempt_timeout = Duration::from_millis(1500);
    world.start();
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(gist(&world.outcome().await), (true, -50, Some(1), None));
}

#[tokio::test]
async fn a_reference_is_kept_inert() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "id": "m\r\n7\u{202e}" }));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let mut world = World::with_base(&server.uri(), CalendarMock::new());
    world.start();
    world.publish(&action("a-1", "post_nudge")).await;
    assert_eq!(world.outcome().await.reference.as_deref(), Some("m 7"));
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter() {
    for status in [301, 400, 401, 404, 410, 422] {
        let server = MockServer::start().await;
        let location = format!("{}/elsewhere", server.uri());
        let answer = ResponseTemplate::new(status).insert_header("location", location);
        Mock::given(any()).respond_with(answer).expect(1).mount(&server).await;
        let mut world = World::with_base(&server.uri(), CalendarMock::new());
        world.start();
        let refused = action("a-1", "post_nudge");
        world.publish(&refused).await;
        let reason = format!("notification answered {status} ({}, CALENDAR_API_BASE)", server.address());
        let outcome = world.outcome().await;
        assert_eq!((outcome.attempts, outcome.error.as_ref()), (Some(1), Some(&reason)));

        let letters = world.dead_letters();
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!(letter.reason, "undeliverable");
        assert_eq!(letter.detail, format!("rejected after 1 attempt: {reason}"));
        assert_eq!(letter.project_id.as_deref(), Some("alpha"));
        let record = &world.log.all(events::topic::ACTIONS)[0];
        let origin = Origin::Record { topic: "actions".into(), partition: record.partition, offset: 0 };
        assert_eq!(letter.origin, origin);
        assert_eq!(letter.original, Original::Utf8(refused.to_string()));
    }
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
async fn a_log_that_takes_no_step_does_not_make_a_flood_of_calls() {
    let mut world = World::new().await;
    world.config.step_wait = Duration::from_millis(40);
    world.mock.inject(Fault::delay(Duration::from_millis(20)));
    world.start();
    world.publish(&action("a-1", "schedule_unblocker")).await;
    world.until("it is pending", || world.state().contains_key("a-1")).await;
    world.log.fail_commits(true);
    let began = std::time::Instant::now();
    world.until("steps fail", || world.log.commits_failed() >= 4).await;
    // Each beginning calls the target again: between them lie 40, 80 and 160 ms.
    assert!(began.elapsed() >= Duration::from_millis(280), "{:?}", began.elapsed());
    world.log.fail_commits(false);
    world.outcome().await;
    assert_eq!(world.mock.meetings().len(), 1);
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
    let own = executor::OwnLimits { concurrency: Some(1), ..executor::OwnLimits::default() };
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
