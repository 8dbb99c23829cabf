//! Several targets, one action: one outcome.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eventlog::Clock;
use executor::{ExecutorError, Mode, Route, Target};
use serde_json::{Value, json};

use super::{
    action, environment,
    fake::{Fault, pagerduty::Pagerduty, receiver::Receiver, slack::Slack},
    world::World,
};

pub struct Team {
    pub world: World,
    pub slack: Slack,
    pub pagerduty: Pagerduty,
    pub receiver: Receiver,
    /// An incoming webhook of Slack's: it posts again whenever it is called.
    hook: tempfile::NamedTempFile,
}

pub fn route(project: Option<&str>, action: &str, targets: &[&str]) -> Route {
    let targets = targets.iter().map(|name| (*name).to_owned()).collect();
    let (project, otherwise) = (project.map(ToOwned::to_owned), Vec::new());
    Route { project, action: action.to_owned(), targets, otherwise, mode: Mode::Live }
}

impl Team {
    pub async fn new(routes: Vec<Route>) -> Self {
        let mut world = World::new().await;
        world.config.limits.attempt_timeout = Duration::from_secs(2);
        world.config.routes = routes;
        let slack = Slack::start().await;
        let hook = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(hook.path(), format!("{}/services/T0/B0/secret", slack.base)).unwrap();
        Self { world, slack, pagerduty: Pagerduty::start().await, receiver: Receiver::start().await, hook }
    }

    fn targets(&self) -> Result<Vec<Arc<dyn Target>>, ExecutorError> {
        let named: BTreeMap<&str, Value> = [
            ("slack", json!({ "kind": "slack", "webhook_url": { "file": self.hook.path() } })),
            (
                "pager",
                json!({ "kind": "pagerduty", "base": self.pagerduty.base,
                              "services": { "triage": { "env": "PD_TRIAGE" } } }),
            ),
            (
                "meetings",
                json!({ "kind": "google-calendar", "token": { "env": "GOOGLE_TOKEN" }, "base": "http://127.0.0.1:9/calendar" }),
            ),
            (
                "hook",
                json!({ "kind": "webhook", "url": format!("{}/hook", self.receiver.base),
                             "secret": { "env": "HOOK_SECRET" } }),
            ),
        ]
        .into();
        let routed = |name: &&str| {
            let mut routes = self.world.config.routes.iter();
            routes.any(|route| route.targets.iter().chain(&route.otherwise).any(|target| target == name))
        };
        let named = named.into_iter().filter(|(name, _)| routed(name));
        let named = named.map(|(name, said)| (name.to_owned(), super::table(said).unwrap())).collect();
        let clock: Arc<dyn Clock> = self.world.clock.clone();
        executor::open(&named, &self.world.config, &environment, &clock)
    }

    pub fn start(&mut self) {
        self.world.start_with(self.targets().unwrap());
    }

    pub fn posted(&self) -> usize {
        self.slack.state.lock().unwrap().hooked.len()
    }
}

#[tokio::test]
async fn an_action_goes_to_all_targets_of_its_route_and_has_one_outcome() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["slack", "pager", "hook"])]).await;
    team.start();
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let outcome = team.world.outcome().await;
    assert!(outcome.ack && outcome.attempts == Some(3) && outcome.error.is_none(), "{outcome:?}");
    assert_eq!((outcome.risk_delta.0, outcome.reference.as_deref()), (-300, Some("github:o/r#1")));
    let carried = serde_json::to_value(&outcome.carried).unwrap();
    assert_eq!(
        carried,
        json!([
            { "by": "slack", "ack": true, "attempts": 1 },
            { "by": "pager", "ack": true, "attempts": 1, "ref": "github:o/r#1" },
            { "by": "hook", "ack": true, "attempts": 1 },
        ])
    );
    assert_eq!((team.posted(), team.pagerduty.alerts().len(), team.receiver.taken().len()), (1, 1, 1));
    assert!(team.world.mock.nudges().is_empty());
    // What no route takes goes where it went before, and to none of the routes' targets.
    team.world.publish(&action("a-2", "post_nudge")).await;
    let outcomes = team.world.outcomes_of(2).await;
    assert!(outcomes[1].ack && outcomes[1].carried.is_empty());
    assert_eq!((team.world.mock.nudges().len(), team.posted()), (1, 1));
    team.world.publish(&action("a-3", "launch_rocket")).await;
    let outcomes = team.world.outcomes_of(3).await;
    assert_eq!(outcomes[2].error.as_deref(), Some("no target carries this action"));
}

#[tokio::test]
async fn a_target_that_is_down_is_asked_again_alone_also_after_a_restart() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["slack", "pager"])]).await;
    team.start();
    for _ in 0..3 {
        team.pagerduty.way.fault("enqueue", Fault::status(503));
    }
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let due = team.world.parked_until("a-1").await;
    assert_eq!((team.posted(), team.pagerduty.alerts().len()), (1, 0), "the other did not wait");
    let mut state = team.world.state()["a-1"].clone();
    let error = state["legs"][1]["error"].take();
    assert!(error.as_str().unwrap().starts_with("pager answered 503 ("), "{error}");
    assert_eq!(
        state["legs"],
        json!([
            { "ended": true, "by": "slack", "ack": true, "attempts": 1 },
            { "ended": false, "by": "pager", "ack": false, "attempts": 3, "error": null },
        ])
    );
    team.world.kill().await;
    team.start();
    let wait = (due - team.world.clock.now()).num_seconds() + 1;
    team.world.advance(wait);
    let outcome = team.world.outcome().await;
    assert!(outcome.ack && outcome.attempts == Some(5), "{outcome:?}");
    let attempts: Vec<u32> = outcome.carried.iter().map(|carried| carried.attempts).collect();
    assert_eq!((attempts, team.posted()), (vec![1, 4], 1), "nobody twice");
}

/// The pager comes back within seconds; that the chat wants half an hour of peace is none of its business.
#[tokio::test]
async fn a_target_that_wants_to_be_left_alone_holds_up_no_other() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["slack", "pager"])]).await;
    team.start();
    team.slack.way.fault("services", Fault::status(429).header("retry-after", 1800));
    for _ in 0..3 {
        team.pagerduty.way.fault("enqueue", Fault::status(503));
    }
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let due = team.world.parked_until("a-1").await;
    let wait = (due - team.world.clock.now()).num_seconds() + 1;
    assert!(wait < 60, "{wait} s");
    team.world.advance(wait);
    let outcome = team.world.outcome().await;
    // In half an hour it would be too late for the chat.
    let carried: Vec<(&str, bool, u32)> =
        outcome.carried.iter().map(|carried| (&*carried.by, carried.ack, carried.attempts)).collect();
    assert_eq!(carried, [("slack", false, 1), ("pager", true, 4)], "{outcome:?}");
    assert_eq!((team.pagerduty.alerts().len(), team.posted(), outcome.ack), (1, 0, false));
}

#[tokio::test]
async fn a_target_that_named_a_time_is_not_asked_before_it() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["slack", "pager"])]).await;
    team.start();
    team.slack.way.fault("services", Fault::status(429).header("retry-after", 300));
    for _ in 0..3 {
        team.pagerduty.way.fault("enqueue", Fault::status(503));
    }
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let asked_again_at = team.world.clock.now() + chrono::TimeDelta::seconds(300);
    let due = team.world.parked_until("a-1").await;
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    team.world.until("the pager has it", || team.pagerduty.alerts().len() == 1).await;
    team.world.until("it is parked again", || team.world.state()["a-1"]["parkings"] == 2).await;
    let due = team.world.parked_until("a-1").await;
    assert!(due >= asked_again_at, "{due}");
    assert_eq!(team.slack.way.calls().len(), 1);
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    let outcome = team.world.outcome().await;
    assert!(outcome.ack, "{outcome:?}");
    assert_eq!((team.pagerduty.alerts().len(), team.posted()), (1, 1));
}

#[tokio::test]
async fn what_one_target_refuses_the_other_does_all_the_same() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["slack", "pager"])]).await;
    team.start();
    team.pagerduty.state.lock().unwrap().revoked = true;
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let outcome = team.world.outcome().await;
    assert!(!outcome.ack && outcome.risk_delta.0 == 100);
    assert!(outcome.error.as_ref().unwrap().starts_with("pager answered 400"), "{outcome:?}");
    let acks: Vec<(&str, bool)> = outcome.carried.iter().map(|carried| (&*carried.by, carried.ack)).collect();
    assert_eq!(acks, [("slack", true), ("pager", false)]);
    assert_eq!((team.posted(), team.world.dead_letters().len()), (1, 1));
}

#[tokio::test]
async fn people_are_told_where_a_target_refuses_once_and_also_after_a_restart() {
    let otherwise = vec!["slack".to_owned(), "hook".to_owned()];
    let mut team = Team::new(vec![Route { otherwise, ..route(None, "escalate_owner", &["pager"]) }]).await;
    team.start();
    team.world.publish(&action("a-1", "escalate_owner")).await;
    assert!(team.world.outcome().await.ack, "nobody refuses, nobody is told");
    assert_eq!((team.posted(), team.receiver.taken().len()), (0, 0));

    team.pagerduty.state.lock().unwrap().revoked = true;
    for _ in 0..3 {
        team.receiver.way.fault("hook", Fault::status(503));
    }
    team.world.publish(&action("a-2", "escalate_owner")).await;
    let due = team.world.parked_until("a-2").await;
    let asked = team.pagerduty.way.seen().len();
    team.world.kill().await;
    team.start();
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    let outcome = team.world.outcomes_of(2).await.remove(1);
    assert!(!outcome.ack && outcome.error.as_ref().unwrap().starts_with("pager answered 400"), "{outcome:?}");
    let carried: Vec<(&str, bool, u32)> =
        outcome.carried.iter().map(|carried| (&*carried.by, carried.ack, carried.attempts)).collect();
    assert_eq!(carried, [("pager", false, 1), ("slack", true, 1), ("hook", true, 4)]);
    let otherwise: Vec<bool> = outcome.carried.iter().map(|carried| carried.otherwise).collect();
    assert_eq!(otherwise, [false, true, true]);
    assert_eq!(
        (team.posted(), team.pagerduty.way.seen().len(), team.world.dead_letters().len()),
        (1, asked, 1)
    );
    let told: Vec<Value> = team.receiver.taken().into_values().collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let told = &told["data"];
    assert_eq!((&told["action"], &told["cause"]), (&json!("post_nudge"), &json!("a-2")));
    let rationale = "Nobody could be called. It was asked for because: New issue needs triage";
    assert_eq!(told["rationale"], rationale);
    assert!(told["event_id"].as_str().unwrap().starts_with("a-") && told["event_id"] != "a-2");
}

#[tokio::test]
async fn a_target_that_hangs_delays_no_other() {
    let mut team = Team::new(vec![
        route(None, "escalate_owner", &["pager", "hook"]),
        route(None, "post_nudge", &["hook"]),
    ])
    .await;
    // Longer than the test may take.
    team.world.config.limits.attempt_timeout = Duration::from_secs(60);
    team.start();
    let count = 40;
    for n in 0..count {
        team.pagerduty.way.fault("enqueue", Fault::Hang);
        team.world.publish(&action(&format!("a-page-{n}"), "escalate_owner")).await;
    }
    for n in 0..count {
        team.world.publish(&action(&format!("a-{n}"), "post_nudge")).await;
    }
    team.world.until("the others are done", || team.receiver.taken().len() == 2 * count).await;
    let outcomes = team.world.outcomes_of(count).await;
    assert!(outcomes.iter().all(|outcome| outcome.ack && outcome.carried.len() == 1), "{outcomes:?}");
    team.world.kill().await;
}

#[tokio::test]
async fn the_first_route_that_fits_decides() {
    let mut team = Team::new(vec![
        route(Some("beta"), "post_nudge", &["slack"]),
        route(None, "post_nudge", &["hook"]),
        route(Some("alpha"), "post_nudge", &["slack"]),
        route(Some("beta"), "assign_owner", &["notification", "hook"]),
    ])
    .await;
    team.start();
    for (n, (project, kind)) in
        [("alpha", "post_nudge"), ("beta", "post_nudge"), ("beta", "assign_owner")].into_iter().enumerate()
    {
        let mut action = action(&format!("a-{n}"), kind);
        action["project_id"] = json!(project);
        team.world.publish(&action).await;
    }
    let mut outcomes = team.world.outcomes_of(3).await;
    outcomes.sort_by(|a, b| a.action_id.cmp(&b.action_id));
    let by = |n: usize| outcomes[n].carried.iter().map(|carried| carried.by.clone()).collect::<Vec<_>>();
    assert_eq!(
        (by(0), by(1), by(2)),
        (vec!["hook".into()], vec!["slack".into()], vec!["notification".into(), "hook".into()])
    );
    assert_eq!(team.world.mock.nudges().len(), 1);
}

#[tokio::test]
async fn a_route_that_leads_nowhere_is_refused() {
    for (action, targets, why) in [
        ("post_nudge", &[][..], "targets is empty"),
        ("post_nudge", &["fax"], "there is no [targets.fax]"),
        ("launch_rocket", &["pager"], "there is no such action; write one of assign_owner"),
        ("schedule_unblocker", &["notification"], "notification does not carry"),
        ("post_nudge", &["hook", "hook"], "hook is named twice"),
        ("resolve", &["hook"], "it goes where the action went that it is about"),
        ("acknowledge", &["pager"], "it goes where the action went that it is about"),
    ] {
        let team = Team::new(vec![route(None, action, targets)]).await;
        let error = team.targets().err().unwrap().to_string();
        assert!(error.starts_with("routes: number 1") && error.contains(why), "{error}");
    }
    for (otherwise, why) in
        [("fax", "no [targets.fax]"), ("calendar", "does not carry post_nudge"), ("pager", "named twice")]
    {
        let otherwise = vec![otherwise.to_owned()];
        let team = Team::new(vec![Route { otherwise, ..route(None, "escalate_owner", &["pager"]) }]).await;
        let error = team.targets().err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn what_reaches_a_target_is_what_its_routes_bring_and_a_nudge_where_others_refuse() {
    let otherwise = vec!["slack".to_owned()];
    let routes = vec![
        Route { otherwise, ..route(None, "schedule_unblocker", &["hook"]) },
        route(Some("alpha"), "assign_owner", &["slack"]),
        route(None, "escalate_owner", &["pager"]),
    ];
    let team = Team::new(routes.clone()).await;
    let targets = team.targets().unwrap();
    let reaching = |name: &str| -> Vec<String> {
        let target = targets.iter().find(|target| target.name() == name).unwrap();
        let kinds = executor::reaching(&**target, &routes);
        kinds.iter().map(|kind| kind.as_str().to_owned()).collect()
    };
    assert_eq!(reaching("slack"), ["post_nudge", "assign_owner"]);
    assert_eq!(reaching("hook"), ["schedule_unblocker", "resolve"]);
    assert_eq!(reaching("pager"), ["escalate_owner", "acknowledge", "resolve"]);
}

/// What takes an earlier action back, as the gateway writes it.
pub fn resolve(id: &str, of: &str, kind: &str) -> Value {
    let mut resolve = action(id, "resolve");
    resolve["rationale"] = json!("The issue is closed");
    resolve["params"]["of"] = json!({ "action": kind, "action_id": of });
    resolve
}

#[tokio::test]
async fn what_is_taken_back_goes_where_it_went_and_changes_no_risk() {
    let mut team = Team::new(vec![
        route(Some("beta"), "escalate_owner", &["hook"]),
        route(Some("alpha"), "escalate_owner", &["slack", "pager", "hook"]),
    ])
    .await;
    team.start();
    team.world.publish(&action("a-1", "escalate_owner")).await;
    team.world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    let outcomes = team.world.outcomes_of(2).await;
    let outcome = &outcomes[1];
    assert!(outcome.ack && outcome.risk_delta.0 == 0 && outcome.attempts == Some(3), "{outcome:?}");
    let by: Vec<&str> = outcome.carried.iter().map(|carried| &*carried.by).collect();
    assert_eq!(by, ["slack", "pager", "hook"]);
    assert_eq!((team.pagerduty.alerts().len(), team.pagerduty.alerts()[0].1.status), (1, "resolved"));
    let hooked = team.slack.state.lock().unwrap().hooked.clone();
    assert!(hooked[1].to_string().contains("is needed no more · The issue is closed"), "{hooked:?}");
    assert_eq!(team.receiver.taken().len(), 2);

    // What no route took is taken back where it went.
    team.world.publish(&action("a-3", "assign_owner")).await;
    let mut elsewhere = action("a-4", "escalate_owner");
    elsewhere["project_id"] = json!("gamma");
    team.world.publish(&elsewhere).await;
    let mut back = resolve("a-5", "a-4", "escalate_owner");
    back["project_id"] = json!("gamma");
    team.world.publish(&back).await;
    assert!(team.world.outcomes_of(5).await.iter().all(|outcome| outcome.ack));
    assert_eq!((team.world.mock.nudges().len(), team.posted(), team.receiver.taken().len()), (3, 2, 2));
    assert!(team.world.mock.nudges().iter().any(|nudge| nudge.item.message.contains("is needed no more")));
}

#[tokio::test]
async fn what_takes_back_waits_for_the_end_of_what_it_takes_back_also_after_a_restart() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["pager"])]).await;
    team.start();
    for _ in 0..3 {
        team.pagerduty.way.fault("enqueue", Fault::status(503));
    }
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let due = team.world.parked_until("a-1").await;
    team.world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    // The one that waits for nobody shows that the other had its turn.
    team.world.publish(&action("a-3", "post_nudge")).await;
    team.world.outcome().await;
    assert_eq!(team.pagerduty.way.seen().len(), 3, "the page may be there yet, or still come");
    team.world.kill().await;
    team.start();
    team.world.publish(&action("a-4", "post_nudge")).await;
    team.world.outcomes_of(2).await;
    assert_eq!(team.pagerduty.way.seen().len(), 3);
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    let outcomes = team.world.outcomes_of(4).await;
    let last: Vec<_> = outcomes[2..].iter().map(|outcome| outcome.action_id.as_deref().unwrap()).collect();
    assert_eq!(last, ["a-1", "a-2"]);
    assert!(outcomes.iter().all(|outcome| outcome.ack));
    assert_eq!(team.pagerduty.alerts()[0].1.status, "resolved");
}

#[tokio::test]
async fn what_left_nothing_is_not_taken_back_and_what_may_have_is() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["pager"])]).await;
    team.start();
    team.pagerduty.state.lock().unwrap().revoked = true;
    team.world.publish(&action("a-1", "escalate_owner")).await;
    assert!(!team.world.outcome().await.ack);
    team.world.kill().await;
    team.start();
    team.world.publish(&resolve("a-2", "a-1", "escalate_owner")).await;
    let outcome = team.world.outcomes_of(2).await.remove(1);
    assert!(outcome.ack && outcome.attempts == Some(0) && outcome.risk_delta.0 == 0, "{outcome:?}");
    assert_eq!((team.pagerduty.way.seen().len(), team.world.dead_letters().len()), (1, 1));

    // Of one whose answer never came nobody knows, though it was refused when asked again.
    team.world.config.limits.attempt_timeout = Duration::from_millis(300);
    team.world.kill().await;
    team.start();
    team.pagerduty.way.fault("enqueue", Fault::Hang);
    team.world.publish(&action("a-3", "escalate_owner")).await;
    assert!(!team.world.outcomes_of(3).await[2].ack);
    team.pagerduty.state.lock().unwrap().revoked = false;
    team.world.publish(&resolve("a-4", "a-3", "escalate_owner")).await;
    let outcome = team.world.outcomes_of(4).await.remove(3);
    assert!(outcome.ack && outcome.attempts == Some(1), "{outcome:?}");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent_and_to_whom_and_touches_nothing() {
    let dry = Route { mode: Mode::DryRun, ..route(None, "escalate_owner", &["slack", "pager", "hook"]) };
    let mut team = Team::new(vec![dry, route(None, "post_nudge", &["slack"])]).await;
    team.start();
    team.world.publish(&action("a-1", "escalate_owner")).await;
    let outcome = team.world.outcome().await;
    assert_eq!((outcome.ack, outcome.risk_delta.0, outcome.error.as_deref()), (false, 0, Some("dry_run")));
    let [slack, pager, hook] = outcome.carried.as_slice() else { panic!("{outcome:?}") };
    for (carried, base) in
        [(slack, &team.slack.base), (pager, &team.pagerduty.base), (hook, &team.receiver.base)]
    {
        let [unsent] = carried.unsent.as_slice() else { panic!("{carried:?}") };
        assert_eq!((unsent.method.as_str(), format!("http://{}", unsent.host)), ("POST", base.clone()));
        assert!(!carried.ack && carried.attempts == 0);
    }
    assert!(slack.unsent[0].body["text"].as_str().unwrap().contains("is needed now"));
    assert_eq!(pager.unsent[0].body["dedup_key"], "github:o/r#1");
    assert_eq!(hook.unsent[0].body["data"], action("a-1", "escalate_owner"));
    // What the configuration says of a path may be a secret.
    let paths = [slack, pager, hook].map(|carried| carried.unsent[0].path.as_deref());
    assert_eq!(paths, [None, Some("/v2/enqueue"), None]);
    let told = serde_json::to_string(&outcome).unwrap();
    assert!(!told.contains("secret") && !told.contains(super::pd::TRIAGE), "{told}");
    assert!(team.world.dead_letters().is_empty());

    // The route beside it is live; with a dry run of all, it is none.
    team.world.publish(&action("a-2", "post_nudge")).await;
    assert!(team.world.outcomes_of(2).await[1].ack);
    team.world.kill().await;
    team.world.config.dry_run = true;
    team.start();
    team.world.publish(&action("a-3", "post_nudge")).await;
    let outcome = team.world.outcomes_of(3).await.remove(2);
    assert_eq!((outcome.error.as_deref(), outcome.carried[0].unsent.len()), (Some("dry_run"), 1));
    assert_eq!((team.posted(), team.pagerduty.way.seen().len(), team.receiver.way.seen().len()), (1, 0, 0));
}

/// Whether all have time nobody knows without asking; that nobody has a calendar is known before.
#[tokio::test]
async fn a_dry_run_shows_what_people_are_told_where_a_meeting_is_refused() {
    let otherwise = vec!["slack".to_owned()];
    let meeting = route(None, "schedule_unblocker", &["meetings"]);
    let mut team = Team::new(vec![Route { otherwise, mode: Mode::DryRun, ..meeting }]).await;
    team.start();
    team.world.publish(&action("a-1", "schedule_unblocker")).await;
    let mut with_calendars = action("a-2", "schedule_unblocker");
    with_calendars["params"]["to"] =
        json!({ "people": [{ "name": "bo", "calendar": "bo@acme.test", "email": "bo@acme.test" }] });
    team.world.publish(&with_calendars).await;
    let outcomes = team.world.outcomes_of(2).await;
    for (outcome, meets, told) in [
        (
            &outcomes[0],
            "dry_run; would be refused: alice: no calendar in the policy",
            "dry_run; would be sent, since another target would refuse",
        ),
        (&outcomes[1], "dry_run", "dry_run; would be sent only if another target refused"),
    ] {
        let [meetings, slack] = outcome.carried.as_slice() else { panic!("{outcome:?}") };
        assert!(outcome.is_dry_run() && !meetings.otherwise && slack.otherwise, "{outcome:?}");
        assert!(meetings.error.as_ref().unwrap().starts_with(meets), "{meetings:?}");
        assert_eq!((slack.error.as_deref(), slack.attempts), (Some(told), 0));
        let [unsent] = slack.unsent.as_slice() else { panic!("{slack:?}") };
        let text = unsent.body["text"].as_str().unwrap();
        assert!(text.contains("No meeting could be booked. It was asked for because: New issue"), "{text}");
    }
    assert!(outcomes[0].carried[0].unsent.is_empty() && !outcomes[1].carried[0].unsent.is_empty());
    assert_eq!(team.posted(), 0);
}

#[tokio::test]
async fn what_has_not_begun_at_a_stop_does_not_begin_and_what_is_done_is_kept() {
    let mut team = Team::new(vec![route(None, "escalate_owner", &["pager", "hook"])]).await;
    team.world.config.limits.attempt_timeout = Duration::from_secs(60);
    team.world.config.drain_within = Duration::from_millis(300);
    let (count, permits) = (40, team.world.config.limits.concurrency);
    team.start();
    for n in 0..count {
        team.pagerduty.way.fault("enqueue", Fault::Hang);
        team.world.publish(&action(&format!("a-{n}"), "escalate_owner")).await;
    }
    team.world.until("the others are told", || team.receiver.taken().len() == count).await;
    team.world.stop().await;
    assert_eq!(team.pagerduty.way.seen().len(), permits);
    let told = team.world.state().values().filter(|entry| entry["legs"][1]["ended"] == true).count();
    assert_eq!(told, count - permits, "those that wait for the pager know that the other is told");

    // Whoever comes next tells only those again of which nobody wrote down that they were told.
    team.pagerduty.way.forget_faults();
    team.world.advance(1);
    team.start();
    let outcomes = team.world.outcomes_of(count).await;
    assert!(outcomes.iter().all(|outcome| outcome.ack));
    assert_eq!(team.receiver.way.seen().len(), count + permits);
}
