//! What every target holds, whatever the API behind it.

use std::{sync::Arc, time::Duration};

use calendar_mock::CalendarMock;
use chrono::TimeDelta;
use eventlog::ManualClock;
use executor::{Target, Verdict};
use serde_json::{Value, json};

use super::{
    action, attempt, attempt_later, clock,
    fake::{
        Fault, Way, caldav::Caldav, github::Github, google, google::Google, jira::Jira, pagerduty::Pagerduty,
        receiver::Receiver, slack::Slack,
    },
    meeting, open,
    world::World,
};

/// A target, and how to look at what it did.
struct Subject {
    name: &'static str,
    said: Value,
    clock: Arc<ManualClock>,
    way: Way,
    /// The call that has the effect.
    call: &'static str,
    action: Value,
    effects: Box<dyn Fn() -> usize + Send + Sync>,
}

impl Subject {
    fn open(&self) -> Arc<dyn Target> {
        open(self.name, self.said.clone(), &self.clock)
    }

    fn effects(&self) -> usize {
        (self.effects)()
    }
}

async fn subjects() -> Vec<Subject> {
    let clock = clock();
    let slack = Slack::start().await;
    let pagerduty = Pagerduty::start().await;
    let github = Github::start(clock.clone()).await;
    let (cloud, server) = (Jira::start(true).await, Jira::start(false).await);
    let receiver = Receiver::start().await;
    let (calendar, dav) = (Google::start(clock.clone()).await, Caldav::start().await);
    let of_jira = |jira: &Jira, kind: &str| {
        let mut action = action("a-1", kind);
        action["issue_ref"] = json!(format!("jira:{}/OPS-7", jira.host()));
        action
    };
    vec![
        Subject {
            name: "slack",
            said: json!({ "kind": "slack", "token": { "env": "SLACK_TOKEN" }, "base": format!("{}/api", slack.base) }),
            clock: clock.clone(),
            way: slack.way.clone(),
            call: "POST /api/chat.postMessage",
            action: action("a-1", "post_nudge"),
            effects: Box::new(move || slack.texts().len()),
        },
        Subject {
            name: "pagerduty",
            said: json!({ "kind": "pagerduty", "base": pagerduty.base, "services": { "triage": { "env": "PD_TRIAGE" } } }),
            clock: clock.clone(),
            way: pagerduty.way.clone(),
            call: "POST /v2/enqueue",
            action: action("a-1", "escalate_owner"),
            effects: Box::new(move || pagerduty.alerts().len()),
        },
        Subject {
            name: "github",
            said: json!({ "kind": "github", "token": { "env": "GITHUB_TOKEN" }, "base": github.base }),
            clock: clock.clone(),
            way: github.way.clone(),
            call: "POST /repos/o/r/issues/1/comments",
            action: action("a-1", "assign_owner"),
            effects: Box::new(move || github.issue().comments.len()),
        },
        Subject {
            name: "jira-cloud",
            said: json!({ "kind": "jira", "base": cloud.base, "edition": "cloud", "user": "bot@acme.test",
                          "token": { "env": "JIRA_TOKEN" } }),
            clock: clock.clone(),
            way: cloud.way.clone(),
            call: "POST /rest/api/3/issue/OPS-7/comment",
            action: of_jira(&cloud, "assign_owner"),
            effects: Box::new(move || cloud.issue().comments.len()),
        },
        Subject {
            name: "jira-server",
            said: json!({ "kind": "jira", "base": server.base, "edition": "data-center", "token": { "env": "JIRA_PAT" } }),
            clock: clock.clone(),
            way: server.way.clone(),
            call: "POST /rest/api/2/issue/OPS-7/comment",
            action: of_jira(&server, "escalate_owner"),
            effects: Box::new(move || server.issue().comments.len()),
        },
        Subject {
            name: "google",
            said: json!({ "kind": "google-calendar", "token": { "env": "GOOGLE_TOKEN" }, "base": calendar.base }),
            clock: clock.clone(),
            way: calendar.way.clone(),
            call: "POST /calendar/v3/calendars/primary/events",
            action: meeting("a-1", google::CALENDARS),
            effects: Box::new(move || calendar.mock.events("primary").len()),
        },
        Subject {
            name: "dav",
            said: json!({ "kind": "caldav", "base": dav.base, "user": "breakdown", "password": { "env": "DAV_PASSWORD" },
                          "calendar": "/team/meetings" }),
            clock: clock.clone(),
            way: dav.way.clone(),
            call: "PUT /team/meetings",
            action: meeting("a-1", ["/alice/calendar", "/bo/calendar/", "/team/meetings/"]),
            effects: Box::new(move || dav.objects().len()),
        },
        Subject {
            name: "hook",
            said: json!({ "kind": "webhook", "url": format!("{}/hook", receiver.base), "secret": { "env": "HOOK_SECRET" } }),
            clock: clock.clone(),
            way: receiver.way.clone(),
            call: "POST /hook",
            action: action("a-1", "post_nudge"),
            effects: Box::new(move || receiver.taken().len()),
        },
    ]
}

fn done(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Done { .. })
}

#[tokio::test]
async fn the_same_attempt_again_has_one_effect() {
    for subject in subjects().await {
        let target = subject.open();
        let first = attempt(&target, &subject.action).await;
        assert!(done(&first) && subject.effects() == 1, "{}: {first:?}", subject.name);
        let again = attempt(&target, &subject.action).await;
        assert_eq!((&again, subject.effects()), (&first, 1), "{}", subject.name);
        // Also when it is redriven, days later.
        subject.clock.advance(TimeDelta::days(3));
        let redriven = attempt_later(&target, &subject.action, TimeDelta::days(3)).await;
        assert_eq!((&redriven, subject.effects()), (&first, 1), "{}", subject.name);
        let mut other = subject.action.clone();
        other["event_id"] = json!("a-2");
        assert!(done(&attempt(&target, &other).await), "{}", subject.name);
        let expected = if subject.name == "pagerduty" { 1 } else { 2 };
        assert_eq!(subject.effects(), expected, "{}: another action is another effect", subject.name);
    }
}

#[tokio::test]
async fn a_busy_api_says_when_and_a_broken_one_is_asked_again() {
    for subject in subjects().await {
        let target = subject.open();
        subject.way.fault(subject.call, Fault::status(429).header("retry-after", 30));
        subject.way.fault(subject.call, Fault::status(503));
        match attempt(&target, &subject.action).await {
            Verdict::Retry { after, reason } => {
                assert_eq!(after, Some(Duration::from_secs(30)), "{}", subject.name);
                assert!(reason.starts_with(&format!("{} answered 429", subject.name)), "{reason}");
            }
            other => panic!("{}: {other:?}", subject.name),
        }
        let broken = attempt(&target, &subject.action).await;
        match broken {
            Verdict::Retry { after: None, reason } => {
                assert!(reason.starts_with(&format!("{} answered 503 (", subject.name)), "{reason}");
            }
            other => panic!("{}: {other:?}", subject.name),
        }
        assert_eq!(subject.effects(), 0, "{}", subject.name);
        assert!(done(&attempt(&target, &subject.action).await), "{}", subject.name);
        assert_eq!(subject.effects(), 1, "{}", subject.name);
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_or_garbage_makes_no_second_effect() {
    for fault in [Fault::HangAfter, Fault::BrokenAfter, Fault::GarbageAfter, Fault::Hang] {
        for subject in subjects().await {
            let target = subject.open();
            subject.way.fault(subject.call, fault.clone());
            let first = attempt(&target, &subject.action).await;
            assert!(!matches!(first, Verdict::Reject { .. }), "{} {fault:?}: {first:?}", subject.name);
            let again = attempt(&target, &subject.action).await;
            assert!(done(&again), "{} {fault:?}: {again:?}", subject.name);
            assert_eq!(subject.effects(), 1, "{} {fault:?}", subject.name);
        }
    }
}

#[tokio::test]
async fn every_call_may_fail_for_itself() {
    for subject in subjects().await {
        // Whichever calls an attempt consists of: each breaks off once, after its work.
        let target = subject.open();
        assert!(done(&attempt(&target, &subject.action).await));
        let calls = subject.way.calls();
        for fault in [Fault::BrokenAfter, Fault::GarbageAfter] {
            let mut other = subject.action.clone();
            other["event_id"] = json!(format!("a-{}", subject.effects() + 100));
            let before = subject.effects();
            calls.iter().for_each(|call| subject.way.fault(call, fault.clone()));
            let mut verdicts = Vec::new();
            while verdicts.len() <= 2 * calls.len() && !verdicts.last().is_some_and(done) {
                verdicts.push(attempt(&target, &other).await);
            }
            assert!(verdicts.last().is_some_and(done), "{} {fault:?}: {verdicts:?}", subject.name);
            let expected = before + usize::from(subject.name != "pagerduty");
            assert_eq!(subject.effects(), expected, "{} {fault:?}: {verdicts:?}", subject.name);
            // The faults that were not met are for nobody.
            while !matches!(attempt(&target, &other).await, Verdict::Done { .. }) {}
        }
    }
}

#[tokio::test]
async fn what_is_moved_gone_or_refused_is_final() {
    for status in [301, 401, 404, 410] {
        for subject in subjects().await {
            let target = subject.open();
            let fault = Fault::status(status).header("location", "http://127.0.0.1:9/elsewhere");
            subject.way.fault(subject.call, fault);
            match attempt(&target, &subject.action).await {
                Verdict::Reject { reason } => {
                    let expected = format!("{} answered {status}", subject.name);
                    assert!(reason.starts_with(&expected), "{reason}");
                }
                other => panic!("{} {status}: {other:?}", subject.name),
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_an_answer_is_echoed() {
    for status in [200, 400, 403, 422, 500] {
        for subject in subjects().await {
            let target = subject.open();
            let body = json!({ "ok": false, "error": "c4n4ry", "message": "c4n4ry", "status": "c4n4ry" });
            subject.way.fault(subject.call, Fault::status(status).body(body));
            let verdict = attempt(&target, &subject.action).await;
            assert!(!format!("{verdict:?}").contains("c4n4ry"), "{verdict:?}");
        }
    }
}

#[tokio::test]
async fn nobody_at_home_is_asked_again() {
    for subject in subjects().await {
        let mut said = subject.said.clone();
        let key = if subject.name == "hook" { "url" } else { "base" };
        said[key] = json!("http://127.0.0.1:9/");
        let target = open(subject.name, said, &subject.clock);
        let mut action = subject.action.clone();
        if subject.name.starts_with("jira") {
            action["issue_ref"] = json!("jira:127.0.0.1:9/OPS-7");
        }
        // Whatever it stands under, it is the address that was refused, and no secret in its path.
        let reason = format!(
            "{} could not be reached (127.0.0.1:9, targets.{}.{key}): connection refused",
            subject.name, subject.name
        );
        assert_eq!(attempt(&target, &action).await, Verdict::Retry { after: None, reason });
    }
}

/// The whole executor around the target: its stack ends an attempt that hangs, a crash leaves the action pending.
#[tokio::test]
async fn a_hang_and_a_crash_after_the_call_leave_one_effect_and_one_outcome() {
    for subject in subjects().await {
        let mut world = World::with_base("http://127.0.0.1:9/api", CalendarMock::new());
        // Longer than any wait: only a kill ends it.
        world.config.limits.attempt_timeout = Duration::from_secs(60);
        subject.way.fault(subject.call, Fault::HangAfter);
        world.start_with(vec![subject.open()]);
        world.publish(&subject.action).await;
        world.until("the call has its effect", || subject.effects() == 1).await;
        world.kill().await;
        assert!(world.outcomes().is_empty());

        world.config.limits.attempt_timeout = Duration::from_millis(1500);
        let effect = subject.call;
        subject.way.fault(effect.split_once(' ').unwrap().1, Fault::Hang);
        world.start_with(vec![subject.open()]);
        let outcome = world.outcome().await;
        assert!(outcome.ack, "{}: {outcome:?}", subject.name);
        assert_eq!(subject.effects(), 1, "{}", subject.name);
        assert!(world.dead_letters().is_empty());
    }
}

#[tokio::test]
async fn a_rehearsal_says_what_an_attempt_sends_and_sends_nothing() {
    for subject in subjects().await {
        let target = subject.open();
        let action: events::Action = serde_json::from_value(subject.action.clone()).unwrap();
        let asked_at = action.evaluated_at.unwrap();
        let unsent = target.rehearse(&executor::Attempt { action: Arc::new(action), asked_at }).unwrap();
        assert!(subject.way.seen().is_empty(), "{}", subject.name);
        assert!(done(&attempt(&target, &subject.action).await));
        let sent: Vec<_> = subject.way.seen().into_iter().filter(|seen| seen.method != "GET").collect();
        for (one, seen) in unsent.iter().zip(&sent) {
            let base = one.path.as_deref().map(|path| seen.path.strip_suffix(path));
            assert_ne!(base, Some(None), "{}: {one:?} {seen:?}", subject.name);
        }
        let sent = sent.into_iter();
        let sent: Vec<(String, Value)> = sent.map(|seen| (seen.method.to_string(), seen.told())).collect();
        let mut said: Vec<(String, Value)> = unsent.into_iter().map(|one| (one.method, one.body)).collect();
        if subject.name == "pagerduty" {
            assert_eq!(said[0].1["routing_key"], "…");
            said[0].1["routing_key"] = sent[0].1["routing_key"].clone();
        }
        assert_eq!(said, sent, "{}", subject.name);
    }
}
