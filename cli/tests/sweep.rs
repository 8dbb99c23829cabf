//! The real program catches up on what never arrived: a GitHub and a Jira over HTTP, which have what we have not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod program;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path as Part, State},
    http::StatusCode,
    routing::{get, post},
};
use program::{SECRET, Serve, client, tail, until};
use serde_json::{Value, json};
use tokio::process::Command;
use webhooks::{Provider, Secrets, sign};

/// What they have.
#[derive(Clone, Default)]
struct Providers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// GUID and payload.
    deliveries: Vec<(String, Value)>,
    issues: Vec<Value>,
}

impl Providers {
    async fn start(&self) -> String {
        let hook = "/repos/acme/checkout/hooks/12/deliveries";
        let router = Router::new()
            .route(hook, get(list))
            .route(&format!("{hook}/{{id}}"), get(show))
            .route("/rest/api/2/search", post(search))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    }

    fn failed(&self, guid: &str, payload: &Value) {
        self.0.lock().unwrap().deliveries.push((guid.to_owned(), payload.clone()));
    }

    fn item(&self, id: usize) -> Option<Value> {
        let (guid, _) = self.0.lock().unwrap().deliveries.get(id)?.clone();
        Some(json!({
            "id": id, "guid": guid, "delivered_at": "2026-02-02T10:00:00Z", "redelivery": false, "duration": 0.1,
            "status": "failed to connect", "status_code": 502, "event": "issues", "action": "opened",
            "installation_id": null, "repository_id": 1, "throttled_at": null,
        }))
    }
}

async fn list(State(providers): State<Providers>) -> Json<Vec<Value>> {
    let count = providers.0.lock().unwrap().deliveries.len();
    Json((0..count).rev().filter_map(|id| providers.item(id)).collect())
}

async fn show(State(providers): State<Providers>, Part(id): Part<usize>) -> Result<Json<Value>, StatusCode> {
    let mut item = providers.item(id).ok_or(StatusCode::NOT_FOUND)?;
    let payload = providers.0.lock().unwrap().deliveries[id].1.clone();
    item["request"] = json!({"headers": {"X-GitHub-Event": "issues"}, "payload": payload});
    item["response"] = json!({"headers": null, "payload": null});
    Ok(Json(item))
}

async fn search(State(providers): State<Providers>) -> Json<Value> {
    let issues = providers.0.lock().unwrap().issues.clone();
    Json(json!({"startAt": 0, "maxResults": 100, "total": issues.len(), "issues": issues}))
}

fn opened(number: u64) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/deliveries/github-issue-opened-p0.json");
    let mut payload: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    payload["issue"]["number"] = number.into();
    payload
}

async fn deliver(serve: &Serve, provider: Provider, guid: &str, payload: &Value) {
    let body = payload.to_string();
    let headers = sign(provider, &Secrets::parse(SECRET).unwrap(), "issues", guid, body.as_bytes());
    let request = client().post(format!("{}{}", serve.webhooks, provider.path())).body(body);
    let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    assert_eq!(request.send().await.unwrap().status(), 202);
}

async fn health(serve: &Serve) -> Value {
    client().get(format!("{}/health", serve.admin)).send().await.unwrap().json().await.unwrap()
}

/// An issue of Jira's that was created just now, by the clock of the program.
#[allow(clippy::disallowed_methods)]
fn issue(key: &str, label: &str) -> Value {
    let now: chrono::DateTime<chrono::Utc> = std::time::SystemTime::now().into();
    let at = now.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
    json!({
        "key": key, "self": "https://jira.example.com/rest/api/2/issue/1",
        "fields": {"summary": "s", "labels": [label], "created": at, "updated": at,
            "status": {"name": "To Do", "statusCategory": {"key": "new"}}},
    })
}

/// Fires for each event that it hears, but for one rule, which fires once.
const POLICY: &str = r#"
version: 1
rules:
  - id: opened
    when: 'event.type == "issue_opened"'
    then: { action: post_nudge, target: "owner:tom" }
    cooldown: 0s
    rationale: opened
  - id: told
    when: 'event.type in ["issue_created", "issue_updated"] && "told" in issue.labels'
    then: { action: post_nudge, target: "owner:tom" }
    cooldown: 0s
    rationale: told
  - id: p0
    when: '"p0" in issue.labels'
    then: { action: escalate_owner, target: "owner:tom" }
    cooldown: 0s
    rationale: p0
"#;

fn one(issue_ref: &str) -> (String, usize) {
    (issue_ref.to_owned(), 1)
}

/// One run: a broker may hold what others did, also under the same ids.
struct Run {
    name: String,
    data: PathBuf,
    brokers: Option<String>,
}

impl Run {
    fn log<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        match &self.brokers {
            Some(brokers) => command.env("REDPANDA_BROKERS", brokers),
            None => command,
        };
        command.env("PROJECT_ID", &self.name)
    }

    fn guid(&self, guid: &str) -> String {
        format!("{}-{guid}", self.name)
    }
}

/// How many actions each issue has.
async fn acted(run: &Run) -> BTreeMap<String, usize> {
    let mut by_issue = BTreeMap::new();
    let actions = tail("actions", |command| run.log(command).arg("--data-dir").arg(&run.data)).await;
    for action in actions.iter().filter(|action| action["project_id"] == run.name.as_str()) {
        *by_issue.entry(action["issue_ref"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    by_issue
}

/// Waits until the gateway has decided all that is on the log: it then acts on a new issue.
async fn decided(serve: &Serve, run: &Run, number: u64) {
    deliver(serve, Provider::Github, &run.guid(&format!("marker-{number}")), &opened(number)).await;
    let marker = format!("github:acme/checkout#{number}");
    until("the gateway decides", async || acted(run).await.contains_key(&marker)).await;
}

#[tokio::test]
async fn what_never_arrived_is_acted_on_once_whichever_way_it_comes() {
    catches_up(None).await;
}

#[tokio::test]
async fn on_a_broker() {
    match std::env::var("REDPANDA_BROKERS") {
        Ok(brokers) => catches_up(Some(brokers)).await,
        Err(_) => eprintln!("skipped: sweep::on_a_broker: set REDPANDA_BROKERS (scripts/kafka.sh up)"),
    }
}

async fn catches_up(brokers: Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("sweep-{}", uuid::Uuid::new_v4().simple());
    let run = Run { name, data: dir.path().join("data"), brokers };
    let file = dir.path().join("breakdown.toml");
    let policy = dir.path().join("policy.yaml");
    fs::write(&policy, POLICY).unwrap();
    let providers = Providers::default();
    let api = providers.start().await;
    let text = format!(
        "[webhooks]\nsweep_every = \"1s\"\n[github]\napi_base = \"{api}\"\ntoken = \"t\"\nhooks = [\n\
         {{ repository = \"acme/checkout\", id = 12 }}, {{ repository = \"acme/checkout\", id = 13 }}]\n\
         [jira]\napi_base = \"{api}\"\ntoken = \"t\"\nsweep_after = \"0s\"\n"
    );
    fs::write(&file, text).unwrap();
    providers.failed(&run.guid("d-1"), &opened(1));
    let start = async || {
        Serve::start(&run.data, |command| {
            run.log(command).arg("--config").arg(&file).arg("--policy").arg(&policy)
        })
        .await
    };

    // By sweep, then by webhook.
    let serve = start().await;
    until("the first delivery is found", async || acted(&run).await.contains_key("github:acme/checkout#1"))
        .await;
    deliver(&serve, Provider::Github, &run.guid("d-1"), &opened(1)).await;
    // By webhook, then by sweep.
    deliver(&serve, Provider::Github, &run.guid("d-2"), &opened(2)).await;
    providers.failed(&run.guid("d-2"), &opened(2));
    // Of Jira's issues the webhook of one comes late, that of the other at once.
    until("Jira was looked at once", async || {
        let swept = health(&serve).await["sweeps"].clone();
        swept
            .as_object()
            .unwrap()
            .iter()
            .any(|(name, it)| name.starts_with("jira") && it["swept_at"].is_string())
    })
    .await;
    let (late, prompt) = (issue("OPS-7", "p0"), issue("OPS-8", "told"));
    let webhook = |issue| json!({"webhookEvent": "jira:issue_created", "timestamp": 1, "issue": issue});
    deliver(&serve, Provider::Jira, &run.guid("w-8"), &webhook(&prompt)).await;
    providers.0.lock().unwrap().issues.extend([late.clone(), prompt.clone()]);
    let (late_ref, prompt_ref) = ("jira:jira.example.com/OPS-7", "jira:jira.example.com/OPS-8");
    until("the issue is found", async || acted(&run).await.contains_key(late_ref)).await;
    deliver(&serve, Provider::Jira, &run.guid("w-7"), &webhook(&late)).await;
    decided(&serve, &run, 901).await;
    let mut once = BTreeMap::from(
        ["github:acme/checkout#1", "github:acme/checkout#2", "github:acme/checkout#901"].map(one),
    );
    once.extend([late_ref, prompt_ref].map(one));
    assert_eq!(acted(&run).await, once);

    // One hook is not there; that is said, and nobody is unready.
    let said = health(&serve).await;
    assert_eq!(said["ready"], true);
    let trouble = said["sweeps"]["github acme/checkout#13"]["trouble"].as_str().unwrap();
    assert!(trouble.contains("answered 404: there is no such hook"), "{said}");
    assert_eq!(said["sweeps"]["github acme/checkout#12"]["trouble"], Value::Null);
    let public =
        client().get(format!("{}/health", serve.webhooks)).send().await.unwrap().text().await.unwrap();
    assert!(!public.contains("sweeps"), "{public}");

    // Killed, and started again, with something that failed meanwhile.
    serve.kill().await;
    providers.failed(&run.guid("d-3"), &opened(3));
    let serve = start().await;
    until("what failed meanwhile is found", async || {
        acted(&run).await.contains_key("github:acme/checkout#3")
    })
    .await;
    deliver(&serve, Provider::Github, &run.guid("d-1"), &opened(1)).await;
    deliver(&serve, Provider::Github, &run.guid("d-3"), &opened(3)).await;
    decided(&serve, &run, 902).await;
    let again = acted(&run).await;
    assert_eq!(again.values().copied().collect::<Vec<_>>(), [1; 7], "{again:?}");
    serve.stop().await;
}
