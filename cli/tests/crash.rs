//! `kill -9` in the middle of a stream of signed deliveries: nothing acknowledged is lost, nothing counts twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod program;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use calendar_mock::CalendarMock;
use program::{SECRET, Serve, client, tail, until};
use serde_json::Value;
use tokio::{net::TcpListener, process::Command};
use webhooks::{Provider, Secrets, sign};

const DELIVERIES: usize = 2000;
/// The process is killed when so many deliveries are acknowledged.
const KILLS: [usize; 3] = [300, 900, 1500];
const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_log() {
    survives("embedded", |command| command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_broker() {
    let Ok(brokers) = std::env::var("REDPANDA_BROKERS") else {
        eprintln!("skipped: crash::on_a_broker: set REDPANDA_BROKERS (scripts/kafka.sh up)");
        return;
    };
    survives("broker", move |command| command.env("REDPANDA_BROKERS", &brokers)).await;
}

async fn survives(name: &str, log: impl Fn(&mut Command) -> &mut Command) {
    let dir = tempfile::tempdir().unwrap();
    // A project and repository of this run: a broker may hold those of others.
    let run = format!("{name}-{}", uuid::Uuid::new_v4().simple());
    // The calendar outlives the crashes, and so knows what was done how often.
    let calendar = CalendarMock::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(calendar_mock::serve(listener, calendar.clone(), std::future::pending()));
    let start = async || {
        let configure = |command: &mut Command| {
            log(command).env("CALENDAR_API_BASE", &base).env("PROJECT_ID", &run).env("RUST_LOG", "error");
        };
        Serve::start(dir.path(), |command| {
            configure(command);
            command
        })
        .await
    };

    let mut serve = start().await;
    let origin = Arc::new(Mutex::new(serve.webhooks.clone()));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(deliver(run.clone(), origin.clone(), acknowledged.clone(), next.clone())))
        .collect();
    for kill_at in KILLS {
        until("deliveries are acknowledged", async || acknowledged.lock().unwrap().len() >= kill_at).await;
        serve.kill().await;
        serve = start().await;
        *origin.lock().unwrap() = serve.webhooks.clone();
    }
    for client in clients {
        client.await.unwrap();
    }

    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_eq!(acknowledged.len(), DELIVERIES, "every delivery was acknowledged in the end");
    let read = async |topic: &str| {
        let data_dir = |command: &mut Command| {
            log(command).arg("--data-dir").arg(dir.path());
        };
        let values = tail(topic, |command| {
            data_dir(command);
            command
        })
        .await;
        values.into_iter().filter(|value| value["project_id"] == run.as_str()).collect::<Vec<Value>>()
    };
    until("every action has its outcome", async || read("outcomes").await.len() >= DELIVERIES).await;
    let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();

    let on_the_log: BTreeSet<_> = read("issues").await.iter().map(|event| text(event, "event_id")).collect();
    assert_eq!(acknowledged.difference(&on_the_log).count(), 0, "acknowledged, but not on the log");
    let mut actions_of = BTreeMap::<String, usize>::new();
    let actions = read("actions").await;
    for action in &actions {
        *actions_of.entry(text(action, "cause")).or_default() += 1;
    }
    assert_eq!(actions_of.keys().cloned().collect::<BTreeSet<_>>(), on_the_log, "each event has an action");
    assert_eq!(actions_of.values().filter(|count| **count != 1).count(), 0, "no event counts twice");
    let outcomes = read("outcomes").await;
    let decided: BTreeSet<_> = actions.iter().map(|action| text(action, "event_id")).collect();
    let done: BTreeSet<_> = outcomes.iter().map(|outcome| text(outcome, "action_id")).collect();
    assert_eq!(done, decided, "each action has an outcome");
    assert_eq!(outcomes.len(), decided.len(), "no action has two outcomes");
    assert!(outcomes.iter().all(|outcome| outcome["ack"] == true && outcome["risk_delta"] == -0.05));
    // A broker may hold actions of others that nobody has done yet; these processes do them, too.
    let keys = calendar.nudges().into_iter().map(|nudge| nudge.idempotency_key.unwrap());
    let done: Vec<_> = keys.filter(|key| decided.contains(key)).collect();
    assert_eq!(done.len(), decided.len(), "each action was done once at the target");
    serve.stop().await;
}

/// Delivers as GitHub's redelivery button would: the same delivery again until it is acknowledged, and every tenth once
/// more after that.
async fn deliver(
    run: String,
    origin: Arc<Mutex<String>>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    next: Arc<AtomicUsize>,
) {
    let client = client();
    let secrets = Secrets::parse(SECRET).unwrap();
    let payload = include_str!("../../samples/deliveries/github-issue-opened-triage.json");
    let payload: Value = serde_json::from_str(payload).unwrap();
    loop {
        let number = next.fetch_add(1, SeqCst);
        if number >= DELIVERIES {
            return;
        }
        let mut payload = payload.clone();
        payload["issue"]["number"] = (number + 1).into();
        payload["repository"]["full_name"] = format!("acme/{run}").into();
        let body = serde_json::to_vec(&payload).unwrap();
        let headers = sign(Provider::Github, &secrets, "issues", &format!("{run}-{number}"), &body);
        let mut left = if number.is_multiple_of(10) { 2 } else { 1 };
        while left > 0 {
            let url = format!("{}{}", origin.lock().unwrap(), Provider::Github.path());
            let request = client.post(url).body(body.clone());
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            match request.send().await {
                Ok(answer) if answer.status() == 202 => {
                    let Ok(answer) = answer.json::<Value>().await else { continue };
                    acknowledged.lock().unwrap().insert(answer["event_id"].as_str().unwrap().to_owned());
                    left -= 1;
                }
                Ok(answer) => assert!(answer.status().is_server_error(), "{}", answer.status()),
                // Killed, or not yet back.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }
}
