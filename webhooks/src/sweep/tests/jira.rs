//! Conversations with Jira.

use std::time::Duration;

use chrono::TimeDelta;
use events::{EventType, IssueEvent, topic};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    fake_jira::{EMAIL, FakeJira, Fault, Issue, TOKEN},
    world::{TokioClock, World},
};
use crate::{
    Provider,
    sweep::{JiraSweep, SweepConfig, SweepReport},
};

const EVERY: Duration = Duration::from_secs(300);
const AFTER: Duration = Duration::from_secs(90 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// A world that has looked for the first time.
async fn world_of(cloud: bool, after: Duration) -> (World, FakeJira) {
    let clock = TokioClock::new();
    let jira = FakeJira::new(clock.clone(), cloud);
    let config = SweepConfig {
        github: None,
        jira: Some(JiraSweep {
            api_base: "https://example.atlassian.net".parse().unwrap(),
            email: cloud.then(|| EMAIL.to_owned()),
            token: TOKEN.into(),
            projects: vec!["OPS".into(), "WEB".into()],
            after,
        }),
        every: EVERY,
    };
    let mut world = World::new(clock, config, jira.router()).await;
    fine(&world.sweep().await);
    (world, jira)
}

async fn world() -> (World, FakeJira) {
    world_of(true, AFTER).await
}

fn fine(report: &SweepReport) {
    assert_eq!(report.trouble, None);
}

impl World {
    /// A webhook about an issue arrives.
    async fn hears(&self, event: &str, id: &str, issue: &Issue) {
        let payload = json!({"webhookEvent": event, "timestamp": 1, "issue": FakeJira::shown(issue)});
        assert_eq!(self.deliver(Provider::Jira, "", id, &payload.to_string()).await, 202);
    }

    /// So much time passes, and sweeps come when they are due.
    async fn goes_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() + EVERY <= until {
            fine(&self.sweep_later().await);
        }
    }

    fn swept(&self) -> Vec<IssueEvent> {
        self.events().into_iter().filter(|event| event.swept).collect()
    }

    fn swept_keys(&self) -> Vec<String> {
        self.swept().into_iter().filter_map(|event| event.issue_key).collect()
    }
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn a_change_that_never_arrived_becomes_an_event_once(#[values(true, false)] cloud: bool) {
    let (mut world, jira) = world_of(cloud, AFTER).await;
    sleep(MINUTE).await;
    let known = jira.creates("OPS-1");
    world.hears("jira:issue_created", "w-1", &known).await;
    jira.creates("OPS-2");
    let lost = jira.creates("WEB-1");
    jira.creates("OTHER-1");
    world.goes_on(AFTER - MINUTE).await;
    assert_eq!(world.swept_keys(), Vec::<String>::new(), "Jira may yet send it by itself");
    world.goes_on(15 * MINUTE).await;
    let swept = world.swept();
    assert_eq!(world.swept_keys(), ["OPS-2", "WEB-1"]);
    let event = &swept[1];
    assert_eq!(event.event_type, EventType::IssueCreated, "the log has nothing of it");
    assert_eq!(
        (event.issue_ref.as_str(), event.updated_at),
        ("jira:example.atlassian.net/WEB-1", Some(lost.updated))
    );
    assert_eq!((event.delivery_id.as_ref(), event.title.value().unwrap().as_str()), (None, "about WEB-1"));
    assert!(event.event_id.starts_with("jr-") && event.change.is_empty());

    // Changed afterwards, twice; neither arrives.
    jira.changes("WEB-1", "once");
    sleep(MINUTE).await;
    jira.changes("WEB-1", "twice");
    world.goes_on(AFTER + 30 * MINUTE).await;
    let last = world.swept().pop().unwrap();
    assert_eq!((last.event_type, last.title.value().unwrap().as_str()), (EventType::IssueUpdated, "twice"));
    let count = world.swept().len();
    world.restart();
    fine(&world.sweep().await);
    world.goes_on(AFTER).await;
    assert_eq!((count, world.swept().len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_told_is_left_alone() {
    let (mut world, jira) = world().await;
    sleep(MINUTE).await;
    let issue = jira.creates("OPS-1");
    world.hears("jira:issue_created", "w-1", &issue).await;
    sleep(MINUTE).await;
    let changed = jira.changes("OPS-1", "b");
    // An older one that was late does not hide it.
    world.hears("jira:issue_updated", "w-2", &changed).await;
    world.hears("jira:issue_updated", "w-0", &issue).await;
    world.goes_on(3 * AFTER).await;
    assert_eq!(world.swept(), vec![]);
    // Known, and changed by something of which there is no webhook: an update that repeats what is known.
    jira.touches("OPS-1");
    world.goes_on(2 * AFTER).await;
    let swept = world.swept();
    assert_eq!((swept.len(), swept[0].event_type.clone()), (1, EventType::IssueUpdated));
}

#[tokio::test(start_paused = true)]
async fn what_was_before_the_first_sweep_is_not_caught_up_on() {
    let clock = TokioClock::new();
    let jira = FakeJira::new(clock.clone(), true);
    jira.creates("OPS-1");
    sleep(2 * AFTER).await;
    jira.creates("OPS-2");
    sleep(MINUTE).await;
    let config = SweepConfig {
        github: None,
        jira: Some(JiraSweep {
            api_base: "https://example.atlassian.net".parse().unwrap(),
            email: Some(EMAIL.into()),
            token: TOKEN.into(),
            projects: vec![],
            after: AFTER,
        }),
        every: EVERY,
    };
    let mut world = World::new(clock, config, jira.router()).await;
    fine(&world.sweep().await);
    assert!(jira.asked().is_empty());
    sleep(MINUTE).await;
    jira.creates("OTHER-1");
    world.goes_on(2 * AFTER).await;
    assert_eq!(world.swept_keys(), ["OTHER-1"]);
    let asked = jira.asked();
    assert_eq!(
        asked.last().unwrap()["jql"].as_str().unwrap().split(" AND ").count(),
        2,
        "all projects: {asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_ours_of_weeks_is_caught_up_on() {
    let (mut world, jira) = world().await;
    sleep(MINUTE).await;
    for day in 0..20 {
        jira.creates(&format!("OPS-{day}"));
        sleep(Duration::from_secs(86_400)).await;
    }
    world.restart();
    fine(&world.sweep().await);
    assert_eq!(world.swept().len(), 20);
    assert!(world.swept().iter().all(|event| event.event_type == EventType::IssueCreated));
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn many_pages_are_read_to_their_end(
    #[values(true, false)] cloud: bool,
    #[values(100, 30)] page: usize,
) {
    let (mut world, jira) = world_of(cloud, AFTER).await;
    jira.gives_pages_of(page);
    sleep(MINUTE).await;
    for number in 0..1_003 {
        jira.creates(&format!("OPS-{number}"));
        if number % 7 == 0 {
            sleep(Duration::from_secs(1)).await;
        }
    }
    world.restart();
    sleep(2 * AFTER).await;
    fine(&world.sweep().await);
    let mut keys = world.swept_keys();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), world.swept().len()), (1_003, 1_003));
    assert!(world.swept().is_sorted_by_key(|event| event.updated_at), "oldest first");
    fine(&world.sweep_later().await);
    assert_eq!(world.swept().len(), 1_003);
}

#[tokio::test(start_paused = true)]
async fn issues_that_change_while_they_are_counted_hide_no_other() {
    // As many as a page overlaps by, more than that, a whole page, and several times.
    for (moves, page) in [(9, 2), (30, 2), (100, 2), (100, 3), (250, 4)] {
        let (mut world, jira) = world_of(false, Duration::ZERO).await;
        sleep(MINUTE).await;
        for number in 0..450 {
            jira.creates(&format!("OPS-{number:03}"));
        }
        sleep(MINUTE).await;
        jira.asked();
        let keys: Vec<_> = (0..moves).map(|number| format!("OPS-{number:03}")).collect();
        jira.changes_before_page(page, &keys.iter().map(String::as_str).collect::<Vec<_>>());
        sleep(20 * MINUTE).await;
        fine(&world.sweep().await);
        let mut keys = world.swept_keys();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 450, "{moves} before page {page}");
        let pages = jira.asked().len();
        assert!(pages < 30, "{pages}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_differs_by_minutes_hides_nothing() {
    for minutes in [-8, -1, 1, 8] {
        let (mut world, jira) = world().await;
        jira.is_ahead(TimeDelta::minutes(minutes));
        sleep(10 * MINUTE).await;
        for number in 0..40 {
            jira.creates(&format!("OPS-{number}"));
            fine(&world.sweep().await);
            world.goes_on(Duration::from_secs(411)).await;
        }
        world.goes_on(2 * AFTER).await;
        assert_eq!(world.swept().len(), 40, "{minutes} minutes");
    }
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn a_clock_of_ours_that_jumps_ahead_and_back_hides_nothing(
    #[values(true, false)] cloud: bool,
    #[values(true, false)] dated: bool,
) {
    let (mut world, jira) = world_of(cloud, AFTER).await;
    jira.says_the_time(dated);
    world.goes_on(2 * AFTER).await;
    jira.creates("OPS-1");
    let jump = TimeDelta::minutes(200);
    world.clock.is_ahead(jump);
    jira.is_ahead(-jump);
    fine(&world.sweep_later().await);
    world.clock.is_ahead(TimeDelta::zero());
    jira.is_ahead(TimeDelta::zero());
    if dated {
        // Away until that time has come: the cursor is still where it was.
        sleep(3 * AFTER).await;
    }
    fine(&world.sweep_later().await);
    jira.creates("OPS-2");
    jira.asked();
    world.goes_on(3 * AFTER).await;
    assert_eq!(world.swept_keys(), ["OPS-1", "OPS-2"]);
    assert!(jira.asked().iter().all(|asked| !asked["jql"].as_str().unwrap().contains("--")));
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn a_clock_of_ours_that_is_hours_behind_hides_nothing(#[values(true, false)] cloud: bool) {
    let (mut world, jira) = world_of(cloud, AFTER).await;
    let (behind, outage) = (TimeDelta::hours(3), Duration::from_secs(36_000));
    world.goes_on(2 * AFTER).await;
    jira.creates("OPS-1");
    sleep(outage).await;
    world.clock.is_ahead(-behind);
    jira.is_ahead(behind);
    fine(&world.sweep().await);
    assert_eq!(world.swept_keys(), ["OPS-1"], "it fell behind meanwhile");
    jira.creates("OPS-2");
    sleep(outage).await;
    fine(&world.sweep().await);
    assert_eq!(world.swept_keys(), ["OPS-1", "OPS-2"], "it is behind still");
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_repeats_nothing() {
    let (mut world, jira) = world().await;
    sleep(MINUTE).await;
    for number in 0..300 {
        jira.creates(&format!("OPS-{number}"));
    }
    sleep(2 * AFTER).await;
    world.log.fail_after(topic::ISSUES, 120);
    assert!(world.sweep().await.trouble.unwrap().contains("could not take in"));
    world.log.recover();
    world.log.fail_after(topic::SWEEPS, 0);
    world.restart();
    assert!(world.sweep().await.trouble.unwrap().contains("disk is full"));
    world.log.recover();
    world.restart();
    fine(&world.sweep().await);
    assert_eq!(world.swept().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn limits_and_troubles_are_told_apart() {
    let (mut world, jira) = world().await;
    sleep(2 * AFTER).await;
    jira.fault(Fault::Says(429, vec![("retry-after", "40")], "{}"));
    let began = Instant::now();
    fine(&world.sweep().await);
    assert_eq!(began.elapsed().as_secs(), 40);
    // When a limit ends is said to the minute, whatever is left of others.
    sleep(EVERY).await;
    let ends_at = jira.now() + TimeDelta::minutes(5);
    let ends_at: &'static str = ends_at.format("%Y-%m-%dT%H:%MZ").to_string().leak();
    jira.fault(Fault::Says(429, vec![("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", ends_at)], "{}"));
    let began = Instant::now();
    fine(&world.sweep().await);
    assert!((240..=302).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let named = "jira example.atlassian.net: Jira ";
    for (fault, says) in [
        (
            Fault::Says(401, vec![], ""),
            "answered 401: the token is wrong, expired or revoked: set another in JIRA_TOKEN",
        ),
        (
            Fault::Says(
                200,
                vec![("x-seraph-loginreason", "AUTHENTICATED_FAILED")],
                "{\"issues\":[],\"isLast\":true}",
            ),
            "answered 401",
        ),
        (Fault::Says(403, vec![], "{}"), "answered 403: the account may not search"),
        (
            Fault::Says(400, vec![], "{\"errorMessages\":[\"secret\"]}"),
            "answered 400: it does not take the search: one of the keys",
        ),
        (
            Fault::Says(404, vec![], "{}"),
            "answered 404: there is no search: check jira.api_base; on Cloud set jira.email",
        ),
        (Fault::Says(302, vec![("location", "https://elsewhere.example.com")], ""), "answered 302"),
    ] {
        jira.fault(fault);
        let trouble = world.sweep_later().await.trouble.unwrap();
        assert!(trouble.starts_with(named) && trouble.contains(says), "{trouble}");
        assert!(!trouble.contains("secret") && !trouble.contains("elsewhere"), "{trouble}");
    }
    for (fault, says) in
        [(Fault::Says(503, vec![], "{}"), "answered 503"), (Fault::Hangs, "did not answer within 60 s")]
    {
        (0..3).for_each(|_| jira.fault(fault.clone()));
        assert_eq!(world.sweep_later().await.trouble.unwrap(), format!("{named}{says}"));
    }
    jira.fault(Fault::Says(200, vec![], "<html>"));
    assert!(world.sweep_later().await.trouble.unwrap().contains("the answer is no page of issues"));
    jira.fault(Fault::None);
    fine(&world.sweep_later().await);
}

#[tokio::test(start_paused = true)]
async fn an_issue_that_cannot_be_read_holds_up_no_other() {
    let (mut world, jira) = world().await;
    sleep(MINUTE).await;
    let issue = jira.creates("OPS-1");
    sleep(2 * AFTER).await;
    let odd: [Value; 5] = [
        json!(1),
        json!({}),
        json!({"key": "../x", "fields": {"updated": "2026-11-20T10:01:00.000+0000"}}),
        json!({"key": "OPS-2", "self": "javascript:x", "fields": {"updated": "2026-11-20T10:01:00.000+0000"}}),
        json!({"key": "OPS-3", "fields": {"updated": "soon"}}),
    ];
    let mut issues = odd.to_vec();
    issues.push(FakeJira::shown(&issue));
    let body = json!({"issues": issues, "isLast": true}).to_string();
    jira.fault(Fault::Says(200, vec![], Box::leak(body.into_boxed_str())));
    fine(&world.sweep().await);
    assert_eq!(world.swept_keys(), ["OPS-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_query_asks_for_minutes_and_for_what_is_mapped() {
    let (mut world, jira) = world().await;
    sleep(2 * AFTER).await;
    fine(&world.sweep().await);
    let asked = jira.asked();
    assert_eq!(
        asked[0]["jql"],
        "project in (\"OPS\", \"WEB\") AND updated >= -191m AND updated <= -90m ORDER BY updated ASC, key ASC"
    );
    assert_eq!(asked[0]["fields"][7], "updated");
}
