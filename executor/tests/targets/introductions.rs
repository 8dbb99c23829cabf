//! Who we are at each target, and what is told when that cannot be known.

use std::time::Duration;

use axum::{
    Router, body::Bytes, extract::State, http::StatusCode, http::request::Parts, response::IntoResponse,
};
use calendar_mock::CalendarMock;
use events::ActionKind;
use executor::Introduction;
use serde_json::{Value, json};

use super::{
    HOSTILE, clock,
    fake::{
        Fault, Way, github::Github, inert, jira::Jira, pagerduty::Pagerduty, receiver::Receiver, slack::Slack,
    },
    open,
    world::World,
};

async fn introduced(name: &str, said: &Value, kinds: &[&str]) -> Introduction {
    let kinds: Vec<ActionKind> = kinds.iter().map(|kind| ActionKind::from(*kind)).collect();
    open(name, said.clone(), &clock()).introduce(&kinds).await
}

#[track_caller]
fn missing(introduction: &Introduction, what: &str) {
    assert!(!introduction.holds(), "{introduction:?}");
    let [missing] = &introduction.missing[..] else { panic!("{introduction:?}") };
    assert!(missing.contains(what), "{missing}");
}

/// Whatever goes wrong is told in our words, in time, and without what is secret.
async fn troubles(name: &str, said: &Value, way: &Way, call: &str) {
    let hostile = json!({ "ok": false, "error": HOSTILE, "message": HOSTILE, "login": HOSTILE.repeat(5000) });
    let faults = [
        ("did not answer in time", Fault::Hang),
        ("in a form that cannot be read", Fault::GarbageAfter),
        ("answered 503", Fault::status(503)),
        ("answered 302", Fault::status(302).header("location", "http://169.254.169.254/")),
        ("answered 429", Fault::status(429).body(hostile)),
        ("in a form that cannot be read", Fault::Answer(200, Vec::new(), "x".repeat(9 << 20))),
    ];
    for (why, fault) in faults {
        way.fault(call, fault);
        let introduction =
            tokio::time::timeout(Duration::from_secs(20), introduced(name, said, &["assign_owner"]));
        let introduction = introduction.await.expect("it ends");
        let trouble = introduction.trouble.as_deref().unwrap_or_else(|| panic!("{name}: {why}"));
        assert!(trouble.contains(why) && trouble.starts_with(name), "{trouble}");
        assert!(!introduction.holds() && introduction.who.is_none());
        let at = introduction.at.expect("a place");
        assert_eq!(at.addresses[0].address.to_string(), "127.0.0.1");
        inert(trouble);
        for secret in ["xoxb-1", "ghp_1", "atl-1", "ya29", "evil"] {
            assert!(!trouble.contains(secret), "{trouble}");
        }
        way.forget_faults();
    }
}

#[tokio::test]
async fn github_says_who_the_token_is_and_whether_it_reaches_issues() {
    let github = Github::start(clock()).await;
    let said = json!({ "kind": "github", "token": { "env": "GITHUB_TOKEN" }, "base": github.base });
    let known = introduced("github", &said, &["assign_owner"]).await;
    assert!(known.holds(), "{known:?}");
    assert_eq!(
        (known.who.as_deref(), &known.may[..]),
        (Some("breakdown-bot"), &["notifications".into(), "repo".into()][..])
    );
    github.state.lock().unwrap().scopes = Some(String::new());
    missing(&introduced("github", &said, &["assign_owner"]).await, "the scope repo");
    github.state.lock().unwrap().scopes = Some("public_repo".into());
    let known = introduced("github", &said, &["assign_owner"]).await;
    assert!(known.holds() && known.notes[0].contains("private"), "{known:?}");
    github.state.lock().unwrap().scopes = None;
    let known = introduced("github", &said, &["assign_owner"]).await;
    assert!(known.holds() && known.notes[0].contains("does not tell"), "{known:?}");
    troubles("github", &said, &github.way, "GET /user").await;
    github.state.lock().unwrap().tokens.clear();
    let trouble = introduced("github", &said, &["assign_owner"]).await.trouble.unwrap();
    assert!(trouble.contains("401") && trouble.contains("not valid"), "{trouble}");
    assert!(github.way.calls().iter().all(|call| call == "GET /user"), "nothing is changed");
}

#[tokio::test]
async fn github_says_which_app_it_is_and_what_its_installation_may_do() {
    let github = Github::start(clock()).await;
    let app = |id: &str, installation: u64| {
        json!({ "kind": "github", "base": github.base, "app": {
            "id": id, "installation": installation, "private_key": { "env": "GITHUB_APP_KEY" },
        } })
    };
    let known = introduced("github", &app("Iv1.app", 42), &["post_nudge"]).await;
    assert!(known.holds() && known.may.contains(&"issues: write".to_owned()), "{known:?}");
    assert_eq!(known.who.as_deref(), Some("the App breakdown, installed by acme"));
    github.state.lock().unwrap().issues_permission = "read".into();
    missing(&introduced("github", &app("Iv1.app", 42), &["post_nudge"]).await, "may not write issues");
    for (said, why) in
        [(app("Iv1.app", 7), "no such installation"), (app("Iv1.other", 42), "do not belong together")]
    {
        let trouble = introduced("github", &said, &["post_nudge"]).await.trouble.unwrap();
        assert!(trouble.contains(why), "{trouble}");
    }
}

#[tokio::test]
async fn jira_says_who_we_are_and_which_permissions_the_actions_lack() {
    for cloud in [true, false] {
        let jira = Jira::start(cloud).await;
        let said = match cloud {
            true => json!({ "kind": "jira", "base": jira.base, "edition": "cloud", "user": "bot@acme.test",
                            "token": { "env": "JIRA_TOKEN" }, "transitions": { "escalate_owner": "Start progress" } }),
            false => {
                json!({ "kind": "jira", "base": jira.base, "edition": "data-center", "token": { "env": "JIRA_PAT" } })
            }
        };
        let known = introduced("jira", &said, &["assign_owner", "escalate_owner"]).await;
        assert!(known.holds(), "{known:?}");
        assert_eq!(known.who.as_deref(), Some("Breakdown (5b-bot)"));
        let transitions = known.may.contains(&"TRANSITION_ISSUES".to_owned());
        assert!(transitions == cloud && known.may.contains(&"ASSIGN_ISSUES".to_owned()), "{known:?}");
        jira.state.lock().unwrap().denied = vec!["ASSIGN_ISSUES".into()];
        missing(&introduced("jira", &said, &["assign_owner"]).await, "ASSIGN_ISSUES, for assign_owner");
        assert!(introduced("jira", &said, &["post_nudge"]).await.holds(), "a nudge needs no assigning");
        troubles("jira", &said, &jira.way, "/myself").await;
        troubles("jira", &said, &jira.way, "/mypermissions").await;
        jira.state.lock().unwrap().authorization = "Basic revoked".into();
        let trouble = introduced("jira", &said, &["assign_owner"]).await.trouble.unwrap();
        assert!(trouble.contains("the token is not valid"), "{trouble}");
        assert!(jira.way.calls().iter().all(|call| call.starts_with("GET ")));
    }
}

#[tokio::test]
async fn slack_says_who_the_bot_is_and_which_scopes_it_lacks() {
    let slack = Slack::start().await;
    let said =
        json!({ "kind": "slack", "token": { "env": "SLACK_TOKEN" }, "base": format!("{}/api", slack.base) });
    let known = introduced("slack", &said, &["assign_owner", "post_nudge"]).await;
    assert!(known.holds() && known.may.len() == 4, "{known:?}");
    assert_eq!(known.who.as_deref(), Some("breakdown in the workspace Acme"));
    slack.state.lock().unwrap().scopes = "im:write,channels:history,im:history".into();
    missing(&introduced("slack", &said, &["post_nudge"]).await, "chat:write");
    slack.state.lock().unwrap().scopes = "chat:write,groups:history,im:history".into();
    missing(&introduced("slack", &said, &["assign_owner"]).await, "im:write, for assign_owner");
    assert!(introduced("slack", &said, &["escalate_owner"]).await.holds(), "a channel is enough for a team");
    slack.state.lock().unwrap().scopes = "chat:write,im:write".into();
    missing(&introduced("slack", &said, &["post_nudge"]).await, "channels:history");
    let mut blind = said.clone();
    blind["history"] = json!(false);
    assert!(introduced("slack", &blind, &["post_nudge"]).await.holds());
    troubles_of_slack(&said, &slack).await;
    slack.state.lock().unwrap().token = "xoxb-2".into();
    let trouble = introduced("slack", &said, &["post_nudge"]).await.trouble.unwrap();
    assert!(trouble.contains("the token was revoked"), "{trouble}");
    assert!(slack.way.calls().iter().all(|call| call == "POST /api/auth.test"));
}

async fn troubles_of_slack(said: &Value, slack: &Slack) {
    troubles("slack", said, &slack.way, "auth.test").await;
    slack.way.fault("auth.test", Fault::status(200).body(json!({ "ok": false, "error": HOSTILE })));
    let trouble = introduced("slack", said, &["post_nudge"]).await.trouble.unwrap();
    assert!(trouble.contains("not known here"), "{trouble}");
    inert(&trouble);
    let who = json!({ "ok": true, "user": HOSTILE.repeat(100), "team": "\u{202e}\r\nteam" });
    slack.way.fault(
        "auth.test",
        Fault::status(200)
            .body(who)
            .header("x-oauth-scopes", "chat:write,im:write,channels:history,".repeat(90)),
    );
    let known = introduced("slack", said, &["post_nudge"]).await;
    let who = known.who.unwrap();
    inert(&who);
    assert!(who.chars().count() <= 128 && !who.contains('\n') && known.may.len() <= 32, "{who}");
}

#[tokio::test]
async fn what_cannot_be_asked_without_an_effect_is_looked_at_only() {
    let (slack, pagerduty, receiver) =
        (Slack::start().await, Pagerduty::start().await, Receiver::start().await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}/services/T0/B0/secret\n", slack.base)).unwrap();
    let hook = json!({ "kind": "slack", "webhook_url": { "file": file.path() } });
    let known = introduced("slack", &hook, &["post_nudge"]).await;
    assert!(known.holds() && known.notes[0].contains("not called"), "{known:?}");
    assert!(slack.way.calls().is_empty() && !format!("{known:?}").contains("secret"));

    let pager = json!({ "kind": "pagerduty", "base": pagerduty.base, "services": { "triage": { "env": "PD_TRIAGE" } } });
    let known = introduced("pagerduty", &pager, &["escalate_owner"]).await;
    assert!(
        known.holds() && known.who.is_none() && known.notes[1].contains("answered with 405"),
        "{known:?}"
    );
    assert_eq!(pagerduty.way.calls(), ["GET /v2/enqueue"]);
    assert!(pagerduty.alerts().is_empty());
    pagerduty.way.fault("enqueue", Fault::Hang);
    let trouble = introduced("pagerduty", &pager, &["escalate_owner"]).await.trouble.unwrap();
    assert!(trouble.contains("did not answer in time"), "{trouble}");

    let url = format!("{}/hook", receiver.base);
    let audit = json!({ "kind": "webhook", "url": url, "secret": { "env": "HOOK_SECRET" } });
    let known = introduced("hook", &audit, &["post_nudge"]).await;
    assert!(known.holds() && known.notes[0].contains("not called"), "{known:?}");
    assert!(receiver.way.calls().is_empty());
}

#[tokio::test]
async fn an_address_that_is_refused_is_told_and_not_called() {
    // localhost is this machine, and a host of https is not to be.
    let said = json!({ "kind": "webhook", "url": "https://localhost.localdomain.invalid/hook", "secret": { "env": "HOOK_SECRET" } });
    let known = introduced("hook", &said, &["post_nudge"]).await;
    assert_eq!(
        known.trouble.as_deref(),
        Some("localhost.localdomain.invalid:443: its name cannot be resolved")
    );
    // What this machine calls itself resolves, and to nothing that https may reach.
    let said =
        json!({ "kind": "webhook", "url": "https://ip6-localhost/hook", "secret": { "env": "HOOK_SECRET" } });
    let known = introduced("hook", &said, &["post_nudge"]).await;
    let at = known.at.clone().expect("a place");
    if !at.addresses.is_empty() {
        assert!(at.addresses.iter().all(|address| address.refused), "{at:?}");
        assert!(known.trouble.as_deref().is_some_and(|why| why.contains("allow_private")), "{known:?}");
    }
}

#[tokio::test]
async fn google_says_what_we_are_of_the_calendar() {
    let way = Way::default();
    let base = way.serve(calendar_mock::router(CalendarMock::new())).await;
    let said = json!({ "kind": "google-calendar", "token": { "env": "GOOGLE_TOKEN" }, "base": format!("{base}/calendar/v3") });
    let meet = ["schedule_unblocker", "resolve"];
    let known = introduced("google", &said, &meet).await;
    assert!(known.holds() && known.may == ["owner of the calendar"], "{known:?}");
    assert_eq!(known.who.as_deref(), Some("the owner of the token, with the calendar primary"));
    way.fault("/events", Fault::status(200).body(json!({ "summary": HOSTILE, "accessRole": "reader" })));
    let known = introduced("google", &said, &meet).await;
    missing(&known, "we are reader of the calendar: share it");
    inert(&known.who.unwrap());
    let errors = json!({ "calendars": { "primary": { "errors": [{ "reason": "notFound" }], "busy": [] } } });
    way.fault("freeBusy", Fault::status(200).body(errors));
    missing(&introduced("google", &said, &meet).await, "does not say when they are busy");
    let scopes = json!({ "error": { "code": 403, "errors": [{ "reason": "insufficientPermissions" }] } });
    way.fault("freeBusy", Fault::status(403).body(scopes));
    let trouble = introduced("google", &said, &meet).await.trouble.unwrap();
    assert!(trouble.contains("lacks a scope"), "{trouble}");
    let mut elsewhere = said.clone();
    elsewhere["calendar"] = json!("nobody@acme.test");
    let trouble = introduced("google", &elsewhere, &meet).await.trouble.unwrap();
    assert!(trouble.contains("no such calendar"), "{trouble}");
    troubles("google", &said, &way, "/events").await;
    troubles("google", &said, &way, "/freeBusy").await;
}

/// A CalDAV server, as far as `PROPFIND` of one calendar.
async fn dav(State(privileges): State<&'static str>, parts: Parts, body: Bytes) -> axum::response::Response {
    // bot:breakdown
    if parts.headers.get("authorization").is_none_or(|said| said != "Basic Ym90OmJyZWFrZG93bg==") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!((parts.method.as_str(), &parts.headers["depth"]), ("PROPFIND", &"0".parse().unwrap()));
    assert!(std::str::from_utf8(&body).unwrap().contains("current-user-privilege-set"));
    let kind = match parts.uri.path() {
        "/team/" => "<C:calendar/>",
        "/books/" => "",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let answer = format!(
        "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><D:response>\
         <D:href>/team/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/>{kind}</D:resourcetype>\
         <D:current-user-principal><D:href>/bot/</D:href></D:current-user-principal>\
         <D:current-user-privilege-set>{privileges}</D:current-user-privilege-set></D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
    );
    (StatusCode::MULTI_STATUS, answer).into_response()
}

const READ: &str = "<D:privilege><D:read/></D:privilege>";

#[tokio::test]
async fn a_caldav_server_says_what_we_may_do_in_the_calendar() {
    let meet = ["schedule_unblocker", "resolve"];
    let serve = async |privileges: &'static str| {
        let way = Way::default();
        let base = way.serve(Router::new().fallback(dav).with_state(privileges)).await;
        let said = json!({ "kind": "caldav", "base": base, "user": "bot", "password": { "env": "DAV_PASSWORD" }, "calendar": "/team" });
        (way, said)
    };
    let (way, said) =
        serve("<D:privilege><D:read/></D:privilege><D:privilege><D:write/></D:privilege>").await;
    let known = introduced("dav", &said, &meet).await;
    assert!(known.holds() && known.may == ["read", "write"], "{known:?}");
    assert_eq!(known.who.as_deref(), Some("bot, /bot/"));
    for (path, why) in [("/books", "no calendar"), ("/nowhere", "there is no calendar")] {
        let mut elsewhere = said.clone();
        elsewhere["calendar"] = json!(path);
        let known = introduced("dav", &elsewhere, &meet).await;
        assert!(known.missing.concat().contains(why) || known.trouble.unwrap().contains(why), "{path}");
    }
    let mut stranger = said.clone();
    stranger["user"] = json!("eve");
    let trouble = introduced("dav", &stranger, &meet).await.trouble.unwrap();
    assert!(trouble.contains("password is not valid"), "{trouble}");
    troubles("dav", &said, &way, "PROPFIND").await;
    let (_, said) = serve(READ).await;
    let known = introduced("dav", &said, &meet).await;
    assert!(known.missing.len() == 2 && known.missing[0].starts_with("bind, to put meetings"), "{known:?}");
}

#[tokio::test]
async fn the_calendar_and_notification_api_is_read_only() {
    let world = World::new().await;
    let clock: std::sync::Arc<dyn eventlog::Clock> = world.clock.clone();
    for target in
        executor::open(&std::collections::BTreeMap::new(), &world.config, &|_| None, &clock).unwrap()
    {
        let known = target.introduce(&[ActionKind::PostNudge]).await;
        assert!(known.holds() && known.may.len() == 1 && known.at.is_some(), "{known:?}");
    }
}
