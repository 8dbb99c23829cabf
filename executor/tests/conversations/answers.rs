//! What a target's answers mean, also odd ones, and when they come late.

use std::time::Duration;

use calendar_mock::{CalendarMock, Fault};
use eventlog::Clock;
use events::{Origin, Original};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    gist,
    world::{World, action},
};

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
