//! Each target and a fake of the API behind it: conversations, and one suite that all of them hold.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, dead_code)]

mod acknowledges;
mod caldav;
mod calendar;
mod every;
mod fake;
mod github;
mod google;
mod introductions;
mod jira;
mod pagerduty;
mod routes;
mod slack;
mod webhook;
#[path = "../conversations/world/mod.rs"]
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eventlog::{Clock, ManualClock};
use executor::{Attempt, Config, ExecutorError, Target, TargetConfig, Verdict};
use fake::{pagerduty as pd, receiver};
use serde_json::{Value, json};

const APP_KEY: &str = include_str!("app.pem");

/// What stands in the environment of every test.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SLACK_TOKEN" => "xoxb-1",
        "PD_PLATFORM" => pd::PLATFORM,
        "PD_TRIAGE" => pd::TRIAGE,
        "GITHUB_TOKEN" => "ghp_1",
        "GITHUB_APP_KEY" => APP_KEY,
        "JIRA_TOKEN" => "atl-1",
        "JIRA_PAT" => "pat-1",
        "GOOGLE_TOKEN" => fake::google::TOKEN,
        "DAV_PASSWORD" => "breakdown",
        "OLD_DAV_PASSWORD" => "before",
        "HOOK_SECRET" => receiver::KEY,
        "NEXT_HOOK_SECRET" => receiver::NEXT_KEY,
        _ => return None,
    };
    Some(value.to_owned())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()))
}

/// A table `[targets.NAME]` of the configuration.
pub fn table(mut said: Value) -> Result<TargetConfig, String> {
    let kind = said.as_object_mut().unwrap().remove("kind").unwrap();
    let read = TargetConfig::read(kind.as_str().unwrap(), said).ok_or("there is no such kind")?;
    read.map_err(|error| error.to_string())
}

/// The target that such a table opens.
fn try_open(name: &str, said: Value, clock: &Arc<ManualClock>) -> Result<Arc<dyn Target>, ExecutorError> {
    let target = table(said).expect("a table of a target");
    let mut config = Config::new("http://127.0.0.1:9/api".parse().unwrap());
    config.limits.attempt_timeout = Duration::from_secs(2);
    // Whatever all of them carry but those that only book meetings.
    let meets = ["caldav", "google-calendar"].contains(&target.kind());
    let action = if meets { "schedule_unblocker" } else { "escalate_owner" }.to_owned();
    let targets = vec![name.to_owned()];
    config.routes = vec![executor::Route {
        project: None,
        action,
        targets,
        otherwise: Vec::new(),
        mode: executor::Mode::Live,
    }];
    let clock: Arc<dyn Clock> = clock.clone();
    executor::open(&BTreeMap::from([(name.to_owned(), target)]), &config, &environment, &clock)
        .map(|mut targets| targets.remove(0))
}

fn open(name: &str, said: Value, clock: &Arc<ManualClock>) -> Arc<dyn Target> {
    try_open(name, said, clock).expect("a target")
}

/// An action for Alice, of the team triage, as the gateway writes it.
fn action(id: &str, kind: &str) -> Value {
    let mut action = world::action(id, kind);
    action["params"]["to"] = json!({
        "people": [{
            "name": "alice", "github": "alice", "jira": "5b10a2844c20165700ede21g", "slack": "U0ALICE",
            "pagerduty": "platform",
        }],
        "team": { "name": "triage", "slack": "C0TRIAGE", "pagerduty": "triage" },
    });
    action
}

/// A meeting with Alice and Bo, of the team triage, who all have a calendar.
fn meeting(id: &str, calendars: [&str; 3]) -> Value {
    let mut action = world::action(id, "schedule_unblocker");
    let person = |name: &str, calendar: &str| {
        json!({ "name": name, "calendar": calendar, "email": format!("{name}@acme.test"),
                "hours": "09:00-17:30", "time_zone": "Europe/Berlin" })
    };
    let [alice, bo, team] = calendars;
    action["params"]["to"] = json!({
        "people": [person("alice", alice), person("bo", bo)], "team": { "name": "triage", "calendar": team },
    });
    action
}

/// The issue is closed, a minute after the meeting was asked for: what came of an action is to be undone.
fn resolve(id: &str, of: &Value) -> Value {
    let mut action = of.clone();
    action["event_id"] = json!(id);
    action["action"] = json!("resolve");
    action["evaluated_at"] = json!("2026-03-02T10:00:58Z");
    action["params"]["of"] = json!({ "action": of["action"], "action_id": of["event_id"] });
    action
}

/// One attempt.
async fn attempt(target: &Arc<dyn Target>, action: &Value) -> Verdict {
    attempt_later(target, action, chrono::TimeDelta::zero()).await
}

/// One attempt of an action that was redriven so long after it was decided.
async fn attempt_later(target: &Arc<dyn Target>, action: &Value, later: chrono::TimeDelta) -> Verdict {
    let action: events::Action = serde_json::from_value(action.clone()).unwrap();
    let asked_at = action.evaluated_at.unwrap() + later;
    target.attempt(&Attempt { action: Arc::new(action), asked_at }).await
}

/// Actions that an executor hands to the target all at once, once all have their outcome.
async fn carried_at_once(target: &Arc<dyn Target>, actions: &[Value]) -> Vec<events::Outcome> {
    let mut world = world::World::with_base("http://127.0.0.1:9", calendar_mock::CalendarMock::new());
    world.config.limits.attempt_timeout = Duration::from_secs(10);
    for action in actions {
        world.publish(action).await;
    }
    world.start_with(vec![target.clone()]);
    world.outcomes_of(actions.len()).await
}

#[track_caller]
fn reference(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Done { reference } => reference.as_deref(),
        other => panic!("{other:?}"),
    }
}

/// Why it was refused.
#[track_caller]
fn rejected(verdict: Verdict) -> String {
    match verdict {
        Verdict::Reject { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// Seconds after which it is to be tried again, and why.
#[track_caller]
fn later(verdict: Verdict) -> (Option<u64>, String) {
    match verdict {
        Verdict::Retry { after, reason } => (after.map(|after| after.as_secs()), reason),
        other => panic!("{other:?}"),
    }
}

/// What a stranger writes into a title.
const HOSTILE: &str = "<!channel> <@U0BO> @channel @bo {color:red} [~admin] `x` \r\nATTENDEE:mailto:x@y\u{202e}\u{7} <https://evil.test|click> **b** #1 & ]]>";

#[test]
fn a_configuration_that_cannot_work_is_refused_before_anything_runs() {
    let (clock, base) = (clock(), "http://127.0.0.1:9");
    let token = json!({ "env": "SLACK_TOKEN" });
    for (name, said, why) in [
        ("slack", json!({ "kind": "slack" }), "targets.slack.token: Slack needs a token"),
        ("slack", json!({ "kind": "slack", "token": { "env": "NONE" } }), "the variable NONE is not set"),
        ("slack", json!({ "kind": "slack", "token": token, "channel": "#general" }), "targets.slack.channel"),
        ("slack", json!({ "kind": "slack", "token": token, "base": "http://slack.com/api" }), "https"),
        ("slack", json!({ "kind": "slack", "token": token, "base": "https://10.0.0.1/" }), "allow_private"),
        ("slack", json!({ "kind": "slack", "webhook_url": token }), "targets.slack.webhook_url"),
        ("Slack", json!({ "kind": "slack", "token": token }), "lower-case"),
        ("calendar", json!({ "kind": "slack", "token": token }), "choose another"),
        ("pd", json!({ "kind": "pagerduty", "services": {}, "service": "x" }), "targets.pd.service"),
        ("gh", json!({ "kind": "github" }), "targets.gh.token: GitHub needs"),
        (
            "gh",
            json!({ "kind": "github", "app": { "id": "1", "installation": 1, "private_key": token } }),
            "no RSA key",
        ),
        ("j", json!({ "kind": "jira", "base": base, "edition": "cloud", "token": token }), "targets.j.user"),
        (
            "j",
            json!({ "kind": "jira", "base": base, "edition": "data-center", "token": token, "label": "a b" }),
            "targets.j.label",
        ),
        (
            "j",
            json!({ "kind": "jira", "base": base, "edition": "data-center", "token": token,
                    "transitions": { "dance": "x" } }),
            "targets.j.transitions.dance",
        ),
        ("g", json!({ "kind": "google-calendar" }), "targets.g.service_account: Google needs"),
        ("g", json!({ "kind": "google-calendar", "service_account": token }), "no key of a service account"),
        ("g", json!({ "kind": "google-calendar", "token": token, "calendar": ".." }), "targets.g.calendar"),
        (
            "pd",
            json!({ "kind": "pagerduty", "services": { "triage": { "env": "JIRA_TOKEN" } } }),
            "targets.pd.services.triage: this is no integration key of Events API v2",
        ),
        (
            "slack",
            json!({ "kind": "slack", "token": { "env": "JIRA_TOKEN" } }),
            "targets.slack.token: this is no bot's token, which begins with xoxb-",
        ),
        (
            "gh",
            json!({ "kind": "github", "token": { "env": "GITHUB_APP_KEY" } }),
            "targets.gh.token: this is no token",
        ),
        (
            "dav",
            json!({ "kind": "caldav", "base": base, "user": "b", "password": token, "calendar": "/../x" }),
            "targets.dav.calendar",
        ),
        (
            "dav",
            json!({ "kind": "caldav", "base": base, "user": "b", "password": token, "calendar": "/t/m",
                    "organizer": "x@y\r\nATTENDEE:z" }),
            "targets.dav.organizer",
        ),
        ("hook", json!({ "kind": "webhook", "url": base, "secret": token }), "whsec_"),
        ("hook", json!({ "kind": "webhook", "url": "xoxb-1", "secret": token }), "targets.hook.url"),
    ] {
        let error = try_open(name, said, &clock).err().expect("refused").to_string();
        assert!(error.contains(why), "{error}");
        for secret in ["xoxb-1", "atl-1", "PRIVATE KEY"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
    let limited = |limits: Value| json!({ "kind": "slack", "token": token, "limits": limits });
    for (said, why) in [
        (json!({ "kind": "fax" }), "no such kind"),
        (json!({ "kind": "slack", "token": token, "colour": "red" }), "colour"),
        (json!({ "kind": "slack", "token": "xoxb-1" }), "expected a map"),
        (limited(json!({ "burst": 1 })), "burst"),
        (limited(json!({ "concurrency": -1 })), "a whole number from 1 to 256"),
        (limited(json!({ "per_second": 10_001 })), "a whole number from 1 to 10000"),
        (limited(json!({ "per_second": 0.5 })), "a whole number from 1 to 10000"),
        (limited(json!({ "timeout_seconds": 0 })), "a whole number from 1 to 60"),
        (
            json!({ "kind": "google-calendar", "token": token, "horizon_days": 61 }),
            "a whole number from 1 to 60",
        ),
    ] {
        let error = table(said.clone()).expect_err("refused");
        assert!(error.contains(why), "{said}: {error}");
    }
    for kind in TargetConfig::KINDS {
        match TargetConfig::read(kind, json!({})).expect("such a kind") {
            Ok(table) => assert_eq!(table.kind(), kind),
            Err(error) => assert!(error.to_string().starts_with("missing field"), "{kind}: {error}"),
        }
    }
}

/// Whoever mends one thing is not told of the next one only then.
#[test]
fn all_that_is_wrong_is_told_at_once_and_the_rest_is_opened() {
    let (clock, base) = (clock(), "http://127.0.0.1:9");
    let missing = |name: &str| json!({ "env": name });
    let named = [
        (
            "audit",
            json!({ "kind": "webhook", "url": "no address", "secret": missing("A"), "other_secret": missing("B") }),
        ),
        (
            "chat",
            json!({ "kind": "slack", "token": missing("C"), "channel": "#all", "base": "http://slack.com" }),
        ),
        ("code", json!({ "kind": "github", "token": { "env": "GITHUB_TOKEN" } })),
        (
            "dav",
            json!({ "kind": "caldav", "base": base, "user": "", "password": missing("D"), "calendar": "/c/",
                    "organizer": "x" }),
        ),
        ("google", json!({ "kind": "google-calendar", "token": missing("E"), "calendar": ".." })),
        (
            "pager",
            json!({ "kind": "pagerduty", "services": { "a": missing("F"), "b": missing("G") }, "service": "c" }),
        ),
        (
            "tracker",
            json!({ "kind": "jira", "base": base, "edition": "cloud", "token": missing("H"), "label": "a b",
                    "transitions": { "dance": "x" } }),
        ),
        ("unused", json!({ "kind": "github", "token": { "env": "GITHUB_TOKEN" } })),
    ];
    let named = named.map(|(name, said)| (name.to_owned(), table(said).unwrap()));
    let mut config = Config::new("http://127.0.0.1:9/api".parse().unwrap());
    let lead = ["audit", "chat", "code", "pager", "tracker"];
    config.routes = vec![
        routes::route(None, "escalate_owner", &lead),
        routes::route(None, "asign_owner", &["code", "code"]),
        routes::route(None, "schedule_unblocker", &["google", "dav", "code", "fax"]),
        routes::route(None, "resolve", &["code"]),
    ];
    let clock: Arc<dyn Clock> = clock;
    let opened = executor::open_each(&named.clone().into(), &config, &environment, &clock);
    let names: Vec<&str> = opened.targets.iter().map(|target| target.name()).collect();
    assert_eq!(names, ["code", "unused", "calendar", "notification"], "what can be opened is");
    let whose: Vec<(Option<&str>, &str)> =
        opened.faults.iter().map(|fault| (fault.target.as_deref(), fault.what.as_str())).collect();
    let expected = [
        (Some("audit"), "targets.audit.secret: the variable A is not set"),
        (Some("audit"), "targets.audit.other_secret: the variable B is not set"),
        (Some("audit"), "targets.audit.url: this is no web address, or one with a user in it"),
        (Some("chat"), "targets.chat.channel: write the channel's id, C…, not its name"),
        (Some("chat"), "targets.chat.token: the variable C is not set"),
        (
            Some("chat"),
            "targets.chat.base: write an https address; http is for this machine, and for private networks with allow_private = true",
        ),
        (Some("dav"), "targets.dav.user: a user's name has no colon"),
        (Some("dav"), "targets.dav.organizer: write a mail address"),
        (Some("dav"), "targets.dav.password: the variable D is not set"),
        (Some("google"), "targets.google.token: the variable E is not set"),
        (Some("google"), "targets.google.calendar: write the calendar's id, or primary"),
        (Some("pager"), "targets.pager.services.a: the variable F is not set"),
        (Some("pager"), "targets.pager.services.b: the variable G is not set"),
        (Some("pager"), "targets.pager.service: this is the name of none of its services"),
        (
            Some("tracker"),
            "targets.tracker.user: Jira Cloud wants the mail address to which the token belongs",
        ),
        (Some("tracker"), "targets.tracker.label: a label of Jira has no spaces"),
        (
            Some("tracker"),
            "targets.tracker.transitions.dance: Jira carries no such action; write one of assign_owner, escalate_owner, post_nudge, resolve",
        ),
        (Some("tracker"), "targets.tracker.token: the variable H is not set"),
        (Some("unused"), "targets.unused: no route names it; say in [[routes]] which actions it carries"),
        (
            None,
            "routes: number 2 (asign_owner): there is no such action; write one of assign_owner, post_nudge, schedule_unblocker, escalate_owner",
        ),
        (None, "routes: number 2 (asign_owner): code is named twice"),
        (None, "routes: number 3 (schedule_unblocker): code does not carry this action"),
        (None, "routes: number 3 (schedule_unblocker): there is no [targets.fax]"),
        (
            None,
            "routes: number 4 (resolve): it goes where the action went that it is about; take the route away",
        ),
    ];
    assert_eq!(whose, expected);
    let error = executor::open(&named.into(), &config, &environment, &clock).err().unwrap().to_string();
    assert_eq!(error.lines().collect::<Vec<_>>(), expected.map(|(_, what)| what));
}
