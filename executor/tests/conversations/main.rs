//! The executor between a log and a calendar: each test is one conversation.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod crashes;
mod giving_up;
mod pauses;
mod replays;
mod resolves;
mod rounds;
mod world;

use std::time::Duration;

use calendar_mock::{CalendarMock, Collection, Fault};
use eventlog::Clock;
use events::{Origin, Original, Outcome, Risk};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};
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
async fn a_partition_waits_while_too_much_is_pending() {
    let mut world = World::new().await;
    world.config.pending_max = 20;
    world.config.batch_max = 10;
    world.config.limits.concurrency = 4;
    world.start();
    world.mock.inject(Fault::delay(Duration::from_millis(20)).times(200));
    for n in 0..200 {
        world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    world.until("it is paused", || !world.log.paused().is_empty()).await;
    let pending = || world.state().values().filter(|s| s["state"] == "pending").count();
    world
        .until("all are done", || {
            assert!(pending() < 20 + 10);
            world.outcomes().len() == 200
        })
        .await;
    world.until("it goes on", || world.log.paused().is_empty()).await;
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
