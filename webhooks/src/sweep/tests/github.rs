//! Conversations with GitHub.

use std::{sync::Arc, time::Duration};

use axum::Router;
use chrono::{DateTime, Utc};
use eventlog::Clock;
use events::{IssueEvent, id, topic};
use tokio::time::{Instant, sleep};

use super::{
    fake_github::{A_WHILE, FakeGithub, Fault, TOKEN, opened, pull_request_comment},
    world::{TokioClock, World, deliver, round},
};
use crate::{
    Provider,
    sweep::{AppKey, GithubHook, GithubSweep, SweepConfig, SweepReport, cursor::Cursor},
};

const EVERY: Duration = Duration::from_secs(300);

async fn world() -> (World, FakeGithub) {
    let clock = TokioClock::new();
    let github = FakeGithub::new(clock.clone());
    let hook = GithubHook::Repository { repository: "acme/checkout".into(), id: 12 };
    let config = SweepConfig {
        github: Some(GithubSweep {
            api_base: "https://api.github.com".parse().unwrap(),
            token: Some(TOKEN.into()),
            app: None,
            hooks: vec![hook],
        }),
        jira: None,
        every: EVERY,
    };
    let world = World::new(clock, config, github.router()).await;
    github.sends_to(&world.receivers);
    (world, github)
}

impl World {
    /// A webhook that arrived.
    async fn arrives(&self, github: &FakeGithub, event: &str, guid: &str, payload: &str) {
        let status = self.deliver(Provider::Github, event, guid, payload).await;
        github.sent(event, guid, payload, status);
    }

    /// How far the last cursor says that it was swept.
    fn swept_to(&self) -> DateTime<Utc> {
        let last = self.log.all(topic::SWEEPS).pop().unwrap();
        serde_json::from_slice::<Cursor>(last.value.as_deref().unwrap()).unwrap().swept_to
    }

    /// The delivery ids on the log, in order.
    fn told(&self) -> Vec<String> {
        self.events().into_iter().filter_map(|event| event.delivery_id).collect()
    }
}

fn fine(report: &SweepReport) {
    assert_eq!(report.trouble, None);
}

fn hash_of(event: &IssueEvent, world: &World) -> Option<String> {
    let records = world.log.all(topic::ISSUES);
    let record = records.iter().find(|record| record.header("ce_id") == Some(&event.event_id)).unwrap();
    record.header("payload_hash").map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn what_did_not_arrive_is_taken_in_oldest_first_and_once() {
    let (mut world, github) = world().await;
    world.arrives(&github, "issues", "d-1", &opened(1)).await;
    for (guid, status) in [("d-2", 502), ("d-3", 0), ("d-4", 401)] {
        sleep(A_WHILE).await;
        github.sent("issues", guid, &opened(2), status);
    }
    // Something in front of us said that all is well.
    github.sent("issues", "d-5", &opened(5), 200);
    github.sent("push", "d-6", "{}", 502);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1", "d-2", "d-3", "d-4", "d-5"]);
    let asked = github.asked();
    assert_eq!(asked.len(), 5, "one list and four payloads: {asked:?}");

    world.log.records_read();
    for _ in 0..3 {
        fine(&world.sweep_later().await);
    }
    world.restart();
    fine(&world.sweep().await);
    assert_eq!(world.told().len(), 5);
    assert_eq!(github.asked().len(), 4, "lists only");
}

#[tokio::test(start_paused = true)]
async fn the_same_delivery_by_webhook_and_by_sweep_is_the_same_event() {
    let (mut world, github) = world().await;
    // By sweep first, by webhook afterwards.
    let first = github.sent("issues", "d-1", &opened(1), 502);
    fine(&world.sweep().await);
    world.deliver(Provider::Github, "issues", &first.guid, &first.payload).await;
    // By webhook, though GitHub thinks that it failed; also across a restart.
    world.deliver(Provider::Github, "issues", "d-2", &opened(2)).await;
    github.sent("issues", "d-2", &opened(2), 504);
    world.restart();
    fine(&world.sweep().await);
    let events = world.events();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0], events[1]);
    assert_eq!(events[0].event_id, id::github_event("github.com", Some("d-1"), b""));
    let hashes: Vec<_> =
        world.log.all(topic::ISSUES).iter().map(|it| it.header("payload_hash").unwrap().to_owned()).collect();
    assert_eq!(hashes[0], hashes[1], "the very bytes that were signed");
    assert_eq!(hashes[0], id::payload_hash(first.payload.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn only_bytes_that_were_signed_have_a_hash() {
    let (mut world, github) = world().await;
    github.indents();
    github.sent("issues", "d-1", &opened(1), 502);
    fine(&world.sweep().await);
    github.sent("issues", "d-2", &opened(2), 502);
    // Signed with a secret that is ours no longer, which is why it was refused; or signed by nobody.
    github.change(|delivery| {
        if delivery.guid == "d-2" {
            delivery.signature = Some(format!("sha256={}", "0".repeat(64)));
        }
    });
    github.sent("issues", "d-3", &opened(3), 401);
    github.change(|delivery| {
        if delivery.guid == "d-3" {
            delivery.signature = None;
        }
    });
    fine(&world.sweep_later().await);
    let events = world.events();
    assert_eq!(world.told(), ["d-1", "d-2", "d-3"]);
    assert_eq!(
        hash_of(&events[0], &world),
        Some(id::payload_hash(opened(1).as_bytes())),
        "without the indents"
    );
    assert_eq!((hash_of(&events[1], &world), hash_of(&events[2], &world)), (None, None));
    assert_eq!(events[0].title.value().unwrap(), "Über \"alles\" \\ kaputt");
}

#[tokio::test(start_paused = true)]
async fn lists_of_many_pages_are_read_to_their_end() {
    let (mut world, github) = world().await;
    for number in 0..734 {
        let guid = format!("d-{number}");
        match number % 7 {
            0 => _ = github.sent("issues", &guid, &opened(number), 502),
            _ => world.arrives(&github, "issues", &guid, &opened(number)).await,
        }
        sleep(Duration::from_secs(10)).await;
    }
    fine(&world.sweep().await);
    let mut told = world.told();
    assert_eq!(told.len(), 734);
    let swept: Vec<_> = told[734 - 105..].to_vec();
    assert_eq!(swept, (0..105).map(|place| format!("d-{}", place * 7)).collect::<Vec<_>>(), "oldest first");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 734);
    assert_eq!(github.asked().iter().filter(|asked| asked.contains("per_page")).count(), 8);

    // Most of it is past now.
    world.log.records_read();
    sleep(Duration::from_secs(3_600)).await;
    fine(&world.sweep().await);
    assert_eq!(world.log.records_read(), 2, "cursors: nothing is looked for");
    github.sent("issues", "d-late", &opened(1), 502);
    github.asked();
    fine(&world.sweep_later().await);
    assert_eq!(github.asked().len(), 3, "two pages, the second of which is old, and a payload");
    let read = world.log.records_read();
    assert_eq!(world.told().last().unwrap(), "d-late");
    assert!((1..500).contains(&read), "{read} of 734 events: the last hour and a bit");
}

#[tokio::test(start_paused = true)]
async fn after_a_long_time_three_days_can_be_caught_up_on() {
    let (mut world, github) = world().await;
    world.arrives(&github, "issues", "d-1", &opened(1)).await;
    fine(&world.sweep().await);
    github.sent("issues", "d-lost", &opened(2), 502);
    sleep(Duration::from_secs(4 * 86_400)).await;
    github.sent("issues", "d-2", &opened(3), 502);
    sleep(Duration::from_secs(2 * 86_400)).await;
    github.sent("issues", "d-3", &opened(4), 502);
    world.restart();
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1", "d-2", "d-3"], "d-lost is older than what GitHub keeps");
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_it_is_swept_counts_once() {
    let (mut world, github) = world().await;
    // Answered by us when it has been listed as failed: the log is read after the list.
    let listed = github.sent("issues", "d-1", &opened(1), 502);
    github.meanwhile("/deliveries", listed);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1"]);
    assert_eq!(github.asked().len(), 1, "nothing was missing");
    // Later still, while its payload is fetched: it stands there twice, under one id.
    let fetched = github.sent("issues", "d-2", &opened(2), 502);
    github.meanwhile(&fetched.id.to_string(), fetched.clone());
    fine(&world.sweep_later().await);
    let events = world.events();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1], events[2]);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_or_cannot_be_read_is_looked_at_once() {
    let (mut world, github) = world().await;
    github.sent("issue_comment", "d-1", &pull_request_comment(), 502);
    github.sent("issues", "d-2", "[1]", 400);
    github.sent("issues", "d-3", &opened(3), 502);
    // A delivery that is a dead letter already.
    assert_eq!(world.deliver(Provider::Github, "issues", "d-4", "{").await, 400);
    github.sent("issues", "d-4", "{}", 400);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-3"]);
    assert_eq!(world.log.all(topic::DEAD_LETTERS).len(), 2);
    assert_eq!(github.asked().len(), 4);
    fine(&world.sweep_later().await);
    assert_eq!(github.asked().len(), 1, "what was looked at need not be again");
    assert_eq!(world.log.all(topic::DEAD_LETTERS).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_keeps_its_id() {
    let (mut world, github) = world().await;
    world.arrives(&github, "issues", "d-1", &opened(1)).await;
    fine(&world.sweep().await);
    sleep(Duration::from_secs(7_200)).await;
    fine(&world.sweep().await);
    // A person sends it again, hours later, and we are away.
    let mut again = github.sent("issues", "d-1", &opened(1), 502);
    again.redelivery = true;
    fine(&world.sweep().await);
    let events = world.events();
    assert!(events.iter().all(|event| *event == events[0]), "the same event, however often");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_fetched_is_asked_for_again() {
    let (mut world, github) = world().await;
    github.keeps_no_payloads(true);
    let lost = github.sent("issues", "d-1", &opened(1), 502);
    fine(&world.sweep().await);
    let asked = github.asked();
    assert!(
        asked[2].starts_with("POST") && asked[2].ends_with(&format!("/{}/attempts", lost.id)),
        "{asked:?}"
    );
    assert_eq!(world.told(), ["d-1"], "it came by webhook");
    fine(&world.sweep_later().await);
    assert_eq!(github.asked().len(), 1);

    // Without the right to ask, a person has to.
    github.keeps_no_payloads(false);
    github.sent("issues", "d-2", &opened(2), 502);
    github.sent("issues", "d-3", &opened(3), 502);
    fine(&world.sweep_later().await);
    fine(&world.sweep_later().await);
    let posts = github.asked().iter().filter(|asked| asked.starts_with("POST")).count();
    assert_eq!(
        (world.told().len(), posts),
        (1, 2),
        "one that is lost holds up no other, and is asked for once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_that_fails_again_is_asked_for_until_it_comes_or_is_lost() {
    let (mut world, github) = world().await;
    let posts = || github.asked().iter().filter(|asked| asked.starts_with("POST")).count();
    let hour = Duration::from_secs(3_600);
    github.keeps_no_payloads(true);
    github.sends_to(&Router::new().fallback(|| async { http::StatusCode::BAD_GATEWAY }));
    let made = github.sent("issues", "d-1", &opened(1), 502);
    fine(&world.sweep().await);
    for _ in 0..5 {
        world.arrives(&github, "issues", &format!("d-{}", world.told().len() + 2), &opened(2)).await;
        fine(&world.sweep_later().await);
    }
    assert_eq!((posts(), world.swept_to() <= made.at), (1, true), "not more than once an hour");
    sleep(hour).await;
    fine(&world.sweep().await);
    assert_eq!((posts(), world.swept_to() <= made.at), (1, true));
    github.sends_to(&world.receivers);
    sleep(hour).await;
    world.restart();
    fine(&world.sweep().await);
    assert_eq!((posts(), world.told().last().map(String::as_str)), (1, Some("d-1")));
    fine(&world.sweep_later().await);
    assert!(world.swept_to() > made.at);

    // One that never comes is given up while a person can still ask for it.
    github.sends_to(&Router::new().fallback(|| async { http::StatusCode::BAD_GATEWAY }));
    let made = github.sent("issues", "d-lost", &opened(1), 502);
    for _ in 0..59 {
        sleep(hour).await;
        fine(&world.sweep().await);
        assert!(world.swept_to() <= made.at);
    }
    assert_eq!(posts(), 59);
    sleep(hour).await;
    for _ in 0..60 {
        fine(&world.sweep_later().await);
        assert!(world.swept_to() > made.at);
    }
    assert_eq!(posts(), 0, "it is lost, once");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_is_asked_for_again() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    github.fault(Fault::None);
    github.fault(Fault::TooLong);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1"], "it came by webhook");
}

#[tokio::test(start_paused = true)]
async fn limits_of_requests_are_kept() {
    let (mut world, github) = world().await;
    for number in 1..=4 {
        github.sent("issues", &format!("d-{number}"), &opened(number), 502);
    }
    // 10:00; the hour is over in 3,600 s, and three requests are left.
    github.limit(3);
    let began = Instant::now();
    let report = world.sweep().await;
    fine(&report);
    assert_eq!(world.told().len(), 4);
    assert_eq!(github.asked().len(), 5);
    let took = began.elapsed().as_secs();
    assert!((3_600..3_700 * 3).contains(&took), "{took} s");

    github.limit(5_000);
    fine(&world.sweep_later().await);
    let waits = [
        (Fault::Says(403, vec![("retry-after", "90".into())], "{}"), 90),
        (Fault::Says(429, vec![("retry-after", "120".into())], "{}"), 120),
        (Fault::Says(403, vec![], r#"{"message":"You have exceeded a secondary rate limit."}"#), 60),
        (Fault::Says(429, vec![], "{}"), 60),
        (Fault::Says(503, vec![("retry-after", "7".into())], "{}"), 7),
        (Fault::Says(429, vec![("retry-after", "999999".into())], "{}"), 3_600),
    ];
    for (fault, seconds) in waits {
        github.fault(fault);
        let began = Instant::now();
        fine(&world.sweep_later().await);
        assert_eq!(began.elapsed(), EVERY + Duration::from_secs(seconds));
    }
    // With no end in sight it is left, for a while.
    (0..20).for_each(|_| github.fault(Fault::Says(429, vec![], "{}")));
    github.asked();
    let trouble = world.sweep_later().await.trouble.unwrap();
    assert_eq!(trouble, "github acme/checkout#12: GitHub keeps answering 429: its limit of requests");
    assert_eq!(github.asked().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_then_left_for_later() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    github.fault(Fault::Status(502));
    github.fault(Fault::Hangs);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1"]);

    for (fault, says) in [
        (Fault::Status(500), "GitHub answered 500"),
        (Fault::Hangs, "GitHub did not answer within 60 s"),
        (Fault::Garbage, "the answer is not a list of deliveries: check github.api_base"),
        (Fault::TooLong, "GitHub answered more than is read"),
    ] {
        (0..3).for_each(|_| github.fault(fault.clone()));
        github.sent("issues", "d-2", &opened(2), 502);
        let trouble = world.sweep_later().await.trouble.unwrap();
        assert_eq!(trouble, format!("github acme/checkout#12: {says}"));
        assert!(!trouble.contains("html"), "{trouble}");
        github.fault_no_more();
    }
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-1", "d-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_garbled_delivery_is_not_passed_over() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    github.fault(Fault::None);
    github.fault(Fault::Garbage);
    assert!(world.sweep().await.trouble.unwrap().contains("the answer is not a delivery"));
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_longer_than_was_asked_for_is_not_believed() {
    let (mut world, github) = world().await;
    let long = format!("[{}]", ["{}"; 101].join(","));
    github.fault(Fault::Says(200, vec![], String::leak(long)));
    let trouble = world.sweep().await.trouble.unwrap();
    assert!(trouble.contains("a page of deliveries of the length"), "{trouble}");
    github.fault_no_more();
    fine(&world.sweep_later().await);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_not_served_holds_up_no_other() {
    let (mut world, github) = world().await;
    let bad = github.sent("issues", "d-bad", &opened(1), 502);
    let mut told = vec![];
    for (fault, times, says) in [
        (Fault::Status(500), 3, "GitHub answered 500"),
        (Fault::Hangs, 3, "GitHub did not answer within 60 s"),
        (Fault::Garbage, 1, "the answer is not a delivery: check github.api_base"),
        (Fault::Status(451), 1, "GitHub answered 451"),
    ] {
        sleep(A_WHILE).await;
        let guid = format!("d-{says}").replace([' ', ':'], "-");
        github.sent("issues", &guid, &opened(2), 502);
        told.push(guid);
        github.fault(Fault::None);
        (0..times).for_each(|_| github.fault(fault.clone()));
        let trouble = world.sweep().await.trouble.unwrap();
        assert!(trouble.contains(says) && trouble.contains(&bad.id.to_string()), "{trouble}");
        assert_eq!(world.told(), told);
        assert!(world.swept_to() <= bad.at);
        sleep(Duration::from_secs(7_200)).await;
        world.restart();
    }
    // All of it away is another matter.
    github.asked();
    github.fault(Fault::None);
    (0..6).for_each(|_| github.fault(Fault::Status(500)));
    github.sent("issues", "d-last", &opened(3), 502);
    assert_eq!(world.sweep().await.trouble.unwrap(), "github acme/checkout#12: GitHub answered 500");
    assert_eq!(github.asked().len(), 7, "a list, a delivery, and whether it is all of it");
    fine(&world.sweep_later().await);
    told.extend(["d-bad".to_owned(), "d-last".to_owned()]);
    assert_eq!(world.told(), told, "each once");
    assert!(world.swept_to() > bad.at);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_told_from_a_hook_that_is_gone() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    sleep(A_WHILE).await;
    github.sent("issues", "d-2", &opened(2), 502);
    [Fault::None, Fault::Status(404), Fault::Status(404)].into_iter().for_each(|fault| github.fault(fault));
    let trouble = world.sweep().await.trouble.unwrap();
    assert!(
        trouble.contains("answered 404: there is no such hook, or the token may not see it"),
        "{trouble}"
    );
    assert_eq!((world.told().len(), world.log.all(topic::SWEEPS).len()), (0, 0), "nothing was passed over");
    // This one alone.
    [Fault::None, Fault::Status(404)].into_iter().for_each(|fault| github.fault(fault));
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-2"]);
    github.asked();
    fine(&world.sweep_later().await);
    assert_eq!(github.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_hides_nothing() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    github.change(|delivery| delivery.at += chrono::TimeDelta::days(1));
    fine(&world.sweep().await);
    assert!(world.swept_to() <= world.clock.now());
    sleep(A_WHILE).await;
    github.sent("issues", "d-2", &opened(2), 502);
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-1", "d-2"]);
    // A cursor that was written under a clock of ours that was ahead.
    let name = "github:api.github.com/repos/acme/checkout/hooks/12/deliveries";
    let ahead = world.clock.now() + chrono::TimeDelta::days(1);
    let cursor = Cursor { swept_to: ahead, began_at: ahead, ..Cursor::default() };
    cursor.save(&world.log, name, ahead).await.unwrap();
    sleep(A_WHILE).await;
    github.sent("issues", "d-3", &opened(3), 502);
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-1", "d-2", "d-3"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_to_do_is_said() {
    let (mut world, github) = world().await;
    github.revoke_token();
    github.sent("issues", "d-1", &opened(1), 502);
    let trouble = world.sweep().await.trouble.unwrap();
    assert!(trouble.contains("answered 401: the token is wrong, expired or revoked"), "{trouble}");
    assert!(!trouble.contains(TOKEN) && !trouble.contains("credentials"), "{trouble}");
    let since = world.sweep_later().await.troubled_since.unwrap();
    assert_eq!(world.sweep_later().await.troubled_since, Some(since), "since when it is so");
    github.accept_token();
    for (status, says) in [
        (
            403,
            "answered 403: the token may not list deliveries: it needs the repository permission \"Webhooks\"",
        ),
        (404, "answered 404: there is no such hook, or the token may not see it"),
        (301, "answered 301: it has moved: write its present name in [[github.hooks]]"),
        (422, "answered 422: that is nothing that its deliveries should be answered with"),
    ] {
        github.fault(Fault::Status(status));
        let trouble = world.sweep_later().await.trouble.unwrap();
        assert!(
            trouble.starts_with("github acme/checkout#12: GitHub ") && trouble.contains(says),
            "{trouble}"
        );
    }
    fine(&world.sweep_later().await);
    assert_eq!(world.told(), ["d-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_taking_in_and_the_cursor_loses_and_repeats_nothing() {
    let (mut world, github) = world().await;
    for number in 0..250 {
        github.sent("issues", &format!("d-{number}"), &opened(number), 502);
        sleep(Duration::from_secs(10)).await;
    }
    // It gets as far as 130, then the disk is full; the cursor was written once.
    world.log.fail_after(topic::ISSUES, 130);
    assert!(world.sweep().await.trouble.unwrap().contains("could not take in"));
    assert_eq!((world.told().len(), world.log.all(topic::SWEEPS).len()), (130, 1));
    world.log.recover();
    // Then it gets to the end, and dies before the last cursor.
    world.log.fail_after(topic::SWEEPS, 0);
    github.asked();
    world.restart();
    // The first hundred are past; of those that the cursor has not passed the log knows.
    assert!(world.sweep().await.trouble.unwrap().contains("disk is full"));
    world.log.recover();
    world.restart();
    fine(&world.sweep().await);
    let mut told = world.told();
    assert_eq!(told.len(), 250, "each once");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 250);
}

#[tokio::test(start_paused = true)]
async fn several_receivers_sweep_in_turns_and_together_do_no_harm() {
    let (mut world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    let (mut second, mut third) = (world.another(), world.another());
    fine(&world.sweep().await);
    fine(&round(&mut second).await);
    fine(&round(&mut third).await);
    assert_eq!(github.asked().len(), 4, "each looks at its start");
    sleep(EVERY).await;
    fine(&round(&mut second).await);
    sleep(EVERY / 2).await;
    fine(&round(&mut third).await);
    fine(&world.sweep().await);
    assert_eq!(github.asked().len(), 1, "then whoever comes first");
    // At the very same time.
    github.sent("issues", "d-2", &opened(2), 502);
    sleep(EVERY).await;
    tokio::join!(round(&mut second), round(&mut third));
    let events = world.events();
    assert!(
        events.len() >= 2 && events.iter().skip(1).all(|event| event.delivery_id.as_deref() == Some("d-2"))
    );
}

#[tokio::test(start_paused = true)]
async fn it_runs_at_the_start_and_every_so_often_until_told_to_stop() {
    let (world, github) = world().await;
    github.sent("issues", "d-1", &opened(1), 502);
    let stop = tokio_util::sync::CancellationToken::new();
    let sweeper = world.another();
    let running = tokio::spawn(sweeper.run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.told(), ["d-1"]);
    github.sent("issues", "d-2", &opened(2), 502);
    sleep(EVERY - Duration::from_secs(2)).await;
    assert_eq!(world.told(), ["d-1"]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.told(), ["d-1", "d-2"]);
    // What failed is tried again sooner, and a hanging request does not hold up the end.
    (0..3).for_each(|_| github.fault(Fault::Status(502)));
    github.sent("issues", "d-3", &opened(3), 502);
    sleep(EVERY + Duration::from_secs(70)).await;
    assert_eq!(world.told(), ["d-1", "d-2", "d-3"]);
    github.fault(Fault::Hangs);
    sleep(EVERY).await;
    stop.cancel();
    let began = Instant::now();
    running.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_hook_that_is_refused_holds_up_no_other() {
    let clock = TokioClock::new();
    let github = FakeGithub::new(clock.clone());
    let hook = |id| GithubHook::Repository { repository: "acme/checkout".into(), id };
    let config = SweepConfig {
        github: Some(GithubSweep {
            api_base: "https://api.github.com".parse().unwrap(),
            token: Some(TOKEN.into()),
            app: None,
            hooks: vec![hook(11), hook(12), GithubHook::Organisation { organisation: "acme".into(), id: 3 }],
        }),
        jira: None,
        every: EVERY,
    };
    let mut world = World::new(clock, config, github.router()).await;
    github.sent("issues", "d-1", &opened(1), 502);
    world.sweep().await;
    assert_eq!(world.told(), ["d-1"]);
    let reports = world.reports();
    let troubled: Vec<_> = reports.iter().map(|(name, it)| (name.as_str(), it.trouble.is_some())).collect();
    assert_eq!(
        troubled,
        [("github acme#3", true), ("github acme/checkout#11", true), ("github acme/checkout#12", false)]
    );
    assert!(reports["github acme#3"].trouble.as_ref().unwrap().contains("admin:org_hook"));
    assert!(github.asked().contains(&"GET /orgs/acme/hooks/3/deliveries?per_page=100".into()));
}

#[tokio::test(start_paused = true)]
async fn an_app_makes_its_tokens_itself() {
    let clock = TokioClock::new();
    let github = FakeGithub::of_app(clock.clone());
    let config = SweepConfig {
        github: Some(GithubSweep {
            api_base: "https://api.github.com".parse().unwrap(),
            token: None,
            app: Some(AppKey::new("12345", include_bytes!("app.pem")).unwrap()),
            hooks: vec![GithubHook::App],
        }),
        jira: None,
        every: EVERY,
    };
    let mut world = World::new(clock, config, github.router()).await;
    github.sent("issues", "d-1", &opened(1), 502);
    fine(&world.sweep().await);
    // Long after the first one has expired.
    sleep(Duration::from_secs(86_400)).await;
    github.sent("issues", "d-2", &opened(2), 502);
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1", "d-2"]);
}

#[tokio::test(start_paused = true)]
async fn no_hook_without_a_login() {
    let (world, github) = world().await;
    for (hook, needs) in [
        (GithubHook::App, "app_id and private_key_file"),
        (GithubHook::Repository { repository: "o/r".into(), id: 1 }, "a token (GITHUB_TOKEN)"),
    ] {
        let config = SweepConfig {
            github: Some(GithubSweep {
                api_base: "https://api.github.com".parse().unwrap(),
                token: None,
                app: None,
                hooks: vec![hook],
            }),
            jira: None,
            every: EVERY,
        };
        let log: Arc<dyn eventlog::Log> = Arc::new(world.log.clone());
        let made =
            crate::Sweeper::new(&config, super::world::receivers(), log.clone(), log, world.clock.clone());
        assert!(made.err().unwrap().to_string().ends_with(needs));
    }
    drop(github);
}

#[tokio::test(start_paused = true)]
async fn receiving_goes_on_while_a_sweep_waits() {
    let (world, github) = world().await;
    github.fault(Fault::Hangs);
    let mut sweeper = world.another();
    let sweeping = tokio::spawn(async move { round(&mut sweeper).await });
    tokio::task::yield_now().await;
    for number in 0..50 {
        let (guid, payload) = (format!("d-{number}"), opened(number));
        assert_eq!(deliver(&world.receivers, Provider::Github, "issues", &guid, &payload).await, 202);
    }
    assert!(!sweeping.is_finished());
    fine(&sweeping.await.unwrap());
}

/// In real time: the spool's disk is not one of these fakes.
#[tokio::test]
async fn while_deliveries_wait_in_the_spool_the_log_is_not_believed() {
    let clock = TokioClock::new();
    let github = FakeGithub::new(clock.clone());
    let dir = tempfile::tempdir().unwrap();
    let (mut world, _) = world().await;
    let broker: Arc<dyn eventlog::Log> = Arc::new(world.log.clone());
    let spool = crate::Spool::open(broker.clone(), dir.path(), crate::SpoolLimits::default(), clock.clone());
    let spool = spool.await.unwrap();
    let receivers = crate::routes(Arc::new(super::world::receivers()), spool.clone(), clock.clone());
    world.spools(spool.clone(), &github.router());
    // The broker is away, and a delivery is on the disk.
    world.log.fail_after(topic::ISSUES, 0);
    assert_eq!(deliver(&receivers, Provider::Github, "issues", "d-1", &opened(1)).await, 202);
    github.sent("issues", "d-1", &opened(1), 504);
    let trouble = world.sweep().await.trouble.unwrap();
    assert!(trouble.starts_with("deliveries wait in the spool"), "{trouble}");
    assert_eq!(world.told().len(), 0);
    // It is back.
    world.log.recover();
    let stop = tokio_util::sync::CancellationToken::new();
    let forwarding = tokio::spawn(spool.clone().forward(stop.clone()));
    while spool.report().spooling {
        sleep(Duration::from_millis(10)).await;
    }
    fine(&world.sweep().await);
    assert_eq!(world.told(), ["d-1"], "it was there, and is not taken in again");
    stop.cancel();
    forwarding.await.unwrap().unwrap();
}
