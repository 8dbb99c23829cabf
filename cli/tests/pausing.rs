//! Effects are paused and go on, with the real program on a real log, through kills.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod program;
#[path = "program/world.rs"]
mod world;

use program::{SECRET, Serve, client, until};
use serde_json::{Value, json};
use webhooks::{Provider, Secrets, sign};
use world::World;

const OPENED: &str = include_str!("../../samples/deliveries/github-issue-opened-triage.json");

impl World {
    /// Delivers an issue, which is one nudge, and waits until that is decided.
    async fn decided(&self, serve: &Serve, number: usize) {
        let mut payload: Value = serde_json::from_str(OPENED).unwrap();
        payload["issue"]["number"] = number.into();
        let body = payload.to_string().into_bytes();
        let delivery_id = format!("{}-{number}", self.project);
        let headers = sign(Provider::Github, &Secrets::parse(SECRET).unwrap(), "issues", &delivery_id, &body);
        let request = client().post(format!("{}/github/issues", serve.webhooks)).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(request.send().await.unwrap().status(), 202);
        until("it is decided", async || {
            self.on("actions")
                .await
                .iter()
                .any(|action| action["issue_ref"].as_str().unwrap().ends_with(&format!("#{number}")))
        })
        .await;
    }

    async fn json(&self, serve: &Serve, path: &str) -> Value {
        client().get(format!("{}{path}", serve.admin)).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until the executor says that so many actions are held back.
    async fn held_back(&self, serve: &Serve, count: usize) {
        until("actions are held back", async || {
            self.json(serve, "/health").await["effects"]["held_back"] == count
        })
        .await;
    }

    async fn shown(&self, serve: &Serve) -> Value {
        let projects = self.json(serve, "/api/projects").await;
        let mut projects = projects.as_array().unwrap().iter();
        projects.find(|at| at["project_id"] == self.project.as_str()).cloned().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_on_the_embedded_log() {
    a_project_is_paused(World::new("pausing", None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_on_a_broker() {
    let Ok(brokers) = std::env::var("REDPANDA_BROKERS") else {
        eprintln!("skipped: pausing::a_project_on_a_broker: set REDPANDA_BROKERS (scripts/kafka.sh up)");
        return;
    };
    a_project_is_paused(World::new("pausing", Some(brokers)).await).await;
}

async fn a_project_is_paused(world: World) {
    let serve = world.start().await;
    let of = ["--project", world.project.as_str()];
    let (pause, resume) = ([&["pause"], &of[..]].concat(), [&["resume"], &of[..]].concat());
    let (out, err, code) = world.run(&pause).await;
    assert!(code == 0 && out.contains("are paused") && err.is_empty(), "{out}{err}");
    world.decided(&serve, 1).await;
    world.held_back(&serve, 1).await;
    let health = world.json(&serve, "/health").await;
    assert_eq!(health["effects"]["all_paused"], false);
    assert!(!health.to_string().contains(&world.project), "names are not for everybody: {health}");
    let metrics =
        client().get(format!("{}/metrics", serve.admin)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("breakdown_held_back 1"), "{metrics}");
    let (out, err, _) = world.run(&["topics"]).await;
    assert!(out.contains(&format!("project {} are paused", world.project)) && err.is_empty(), "{out}{err}");
    let (out, err, code) = world.run(&pause).await;
    assert!(
        code == 0 && err.is_empty() && out.contains("nothing new") && out.contains("since 20"),
        "{out}{err}"
    );
    let issue_ref = world.on("issues").await[0]["issue_ref"].as_str().unwrap().to_owned();
    let (out, ..) = world.run(&["issue", &issue_ref, "--json"]).await;
    let issue: Value = serde_json::from_str(&out).unwrap();
    let since = &issue["effects_paused_at"];
    let (action, pending) = (&issue["actions"][0]["action"], &issue["actions"][0]["pending"]);
    assert!(since.is_string() && issue["effects_paused_of"] == json!(["project"]), "{issue}");
    assert_eq!((&pending["state"], &pending["attempts"]), (&json!("held_back"), &json!(0)), "{issue}");
    assert_eq!((&pending["paused_at"], &pending["paused_of"]), (since, &json!(["project"])), "{issue}");
    assert!(pending.get("next_attempt_at").is_none(), "nothing is attempted then: {issue}");
    let held_back = format!(
        "held back: effects of project {0} are paused since {1:.19}Z; `breakdown resume --project {0}` lets it go",
        world.project,
        since.as_str().unwrap()
    );
    for of in [&action["event_id"], &action["cause"], &action["issue_ref"]] {
        let (out, err, code) = world.run(&["policy", "explain", of.as_str().unwrap()]).await;
        assert!(code == 0 && out.contains(&held_back), "{held_back}\n{out}{err}");
    }

    // Through a kill; and what is decided after it waits as well.
    serve.kill().await;
    let serve = world.start().await;
    world.held_back(&serve, 1).await;
    world.decided(&serve, 2).await;
    world.held_back(&serve, 2).await;
    assert!(world.calendar.nudges().is_empty() && world.on("outcomes").await.is_empty());

    let (out, err, code) = world.run(&[&resume[..], &["--json"]].concat()).await;
    assert_eq!(code, 0, "{err}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&said["changed"], &said["heard"], &said["paused"]),
        (&json!(true), &json!(true), &json!(false))
    );
    until("both have their outcome", async || world.on("outcomes").await.len() == 2).await;
    assert_eq!(world.calendar.nudges().len(), 2);
    assert!(world.on("outcomes").await.iter().all(|outcome| outcome["ack"] == true));
    until("the risk is known", async || world.shown(&serve).await["risk"] == json!(-0.1)).await;
    let shown = world.shown(&serve).await;
    assert!(shown["effects_paused_at"].is_null() && shown["effects_paused_of"].is_null(), "{shown}");
    let (out, ..) = world.run(&["issue", &issue_ref, "--json"]).await;
    let issue: Value = serde_json::from_str(&out).unwrap();
    assert!(
        issue["actions"][0].get("pending").is_none() && issue["actions"][0]["outcomes"][0]["ack"] == true,
        "{issue}"
    );
    let (out, err, code) = world.run(&resume).await;
    assert!(code == 0 && err.is_empty() && out.contains("nothing new"), "{out}{err}");
    world.decided(&serve, 3).await;
    until("a third has it at once", async || world.on("outcomes").await.len() == 3).await;
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_projects_before_anything_runs() {
    let world = World::new("pausing", None).await;
    world.start().await.stop().await;
    let (out, err, code) = world.run(&["pause"]).await;
    assert!(
        code == 0 && out.contains("all projects are paused") && err.contains("from the start of the next"),
        "{out}{err}"
    );
    let (_, err, _) = world.run(&["pause", "--project", "mistyped"]).await;
    assert!(err.contains("names no project mistyped"), "{err}");
    let serve = world.start().await;
    world.decided(&serve, 1).await;
    world.held_back(&serve, 1).await;
    assert_eq!(
        world.json(&serve, "/health").await["effects"],
        json!({"all_paused": true, "paused_by_name": 1, "held_back": 1, "deferred": 0})
    );
    // Nothing had an outcome yet, so there is no risk to show; the log knows it all the same.
    let (out, err, _) = world.run(&["topics", "--json"]).await;
    let paused: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert!(paused["effects_paused"]["all_since"].is_string() && err.is_empty(), "{paused}{err}");
    assert!(paused["effects_paused"]["projects"]["mistyped"].is_string(), "{paused}");

    // By name it was not paused, and it stays so as long as all are.
    let (_, err, code) = world.run(&["resume", "--project", &world.project]).await;
    assert!(code == 1 && err.contains("stays paused"), "{err}");
    assert!(world.calendar.nudges().is_empty());
    let (out, err, code) = world.run(&["resume"]).await;
    assert!(
        code == 0
            && out.contains("all projects go on")
            && out.contains("still so: mistyped")
            && err.is_empty(),
        "{out}{err}"
    );
    until("it has its outcome", async || world.on("outcomes").await.len() == 1).await;
    assert_eq!(world.calendar.nudges().len(), 1);
    serve.stop().await;
}
