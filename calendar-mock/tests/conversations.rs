//! The API as a client sees it, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use calendar_mock::{CalendarMock, Collection, Fault, serve};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

struct World {
    mock: CalendarMock,
    client: Client,
    base: String,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mock = CalendarMock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/api", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, mock.clone(), async move {
            let _ = stopped.await;
        }));
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { mock, client, base, stop: Some(stop), server }
    }

    async fn send(&self, path: &str, key: Option<&str>, body: Value) -> Result<Response, reqwest::Error> {
        let mut request = self.client.post(format!("{}/{path}", self.base)).json(&body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.send().await
    }

    async fn post(&self, path: &str, key: Option<&str>, body: Value) -> (StatusCode, Value) {
        let response = self.send(path, key, body).await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}/{path}", self.base)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

fn meeting(title: &str) -> Value {
    json!({
        "title": title, "participants": ["alice", "team:triage"],
        "start_at": "2026-03-02T10:15:00+01:00", "duration_min": 15,
    })
}

fn nudge(message: &str) -> Value {
    json!({ "to": "team:triage", "message": message })
}

#[tokio::test]
async fn what_is_made_can_be_read() {
    let world = World::new().await;
    let (status, made) = world.post("meetings", Some("a-1"), meeting("one")).await;
    assert_eq!((status, &made["id"], &made["title"]), (StatusCode::CREATED, &json!("m-1"), &json!("one")));
    assert_eq!(made["start_at"], "2026-03-02T10:15:00+01:00");
    world.post("meetings", None, meeting("two")).await;
    world.post("nudges", Some("a-2"), nudge("look")).await;

    let (_, meetings) = world.get("meetings").await;
    assert_eq!(meetings[0], made);
    assert_eq!(meetings[0]["idempotency_key"], "a-1");
    assert_eq!((&meetings[1]["id"], &meetings[1]["title"]), (&json!("m-2"), &json!("two")));
    assert_eq!(world.get("meetings/m-1").await, (StatusCode::OK, made));
    assert_eq!(world.get("meetings/m-3").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("nudges/n-1").await.1["message"], "look");
    assert_eq!(world.mock.nudges()[0].item.to, "team:triage");
}

#[tokio::test]
async fn a_key_makes_one_thing() {
    let world = World::new().await;
    let first = world.post("meetings", Some("a-1"), meeting("one")).await;
    assert_eq!(world.post("meetings", Some("a-1"), meeting("one")).await, first, "the same answer");
    let (status, problem) = world.post("meetings", Some("a-1"), meeting("zebra")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!problem.to_string().contains("zebra"), "the input is not repeated");
    assert_eq!(
        world.post("nudges", Some("a-1"), nudge("x")).await.0,
        StatusCode::CREATED,
        "another resource"
    );
    assert_eq!(world.mock.meetings().len(), 1);
}

#[tokio::test]
async fn what_was_made_with_a_key_is_found_by_it_and_deleted_once() {
    let world = World::new().await;
    let first = world.post("meetings", Some("a-1"), meeting("one")).await;
    world.post("meetings", Some("a-2"), meeting("two")).await;
    let by_key = async |key: &str| world.get(&format!("meetings?idempotency_key={key}")).await.1;
    assert_eq!(by_key("a-1").await, json!([first.1]));
    assert_eq!(by_key("a-3").await, json!([]));
    let delete = async || {
        let request = world.client.delete(format!("{}/meetings/m-1", world.base));
        request.send().await.unwrap().status().as_u16()
    };
    world.mock.inject(Fault::status(503).on(Collection::Meetings));
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(delete().await);
    }
    assert_eq!(answers, [503, 204, 404]);
    assert_eq!(by_key("a-1").await, json!([]));
    assert_eq!(world.get("meetings/m-1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        world.post("meetings", Some("a-1"), meeting("one")).await,
        first,
        "nothing is made a second time"
    );
    assert_eq!(world.mock.meetings().len(), 1);
}

#[tokio::test]
async fn concurrent_requests_with_one_key_have_one_effect() {
    let world = World::new().await;
    world.mock.inject(Fault::delay(Duration::from_millis(300)));
    let requests = (0..20).map(|_| world.post("nudges", Some("a-1"), nudge("x")));
    let mut statuses: Vec<u16> = Vec::new();
    for (status, _) in futures::future::join_all(requests).await {
        statuses.push(status.as_u16());
    }
    assert_eq!(world.mock.nudges().len(), 1);
    assert!(statuses.contains(&201) && statuses.contains(&409), "{statuses:?}");
    assert!(statuses.iter().all(|s| [201, 409].contains(s)), "{statuses:?}");
}

#[tokio::test]
async fn bad_requests_make_nothing() {
    let world = World::new().await;
    let mut long = meeting("x");
    long["participants"] = json!(vec!["p"; 101]);
    let bad = [
        ("meetings", json!({ "title": "no more" })),
        ("meetings", long),
        ("meetings", {
            let mut m = meeting("x");
            m["start_at"] = json!("tomorrow");
            m
        }),
        ("meetings", {
            let mut m = meeting("x");
            m["duration_min"] = json!(0);
            m
        }),
        ("nudges", json!({ "to": " ", "message": "x" })),
        ("nudges", json!(["team:triage", "not an object"])),
    ];
    for (path, body) in bad {
        let response = world.send(path, None, body.clone()).await.unwrap();
        assert_eq!(response.status(), 422, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let raw = |body: Vec<u8>, key: &'static str| {
        let url = format!("{}/nudges", world.base);
        world.client.post(url).header("Idempotency-Key", key).body(body).send()
    };
    assert_eq!(raw(b"{not json".to_vec(), "k").await.unwrap().status(), 400);
    assert_eq!(raw(vec![b' '; 64 * 1024 + 1], "k").await.unwrap().status(), 413);
    assert_eq!(raw(b"{}".to_vec(), "").await.unwrap().status(), 400);
    assert_eq!(world.get("nowhere").await.0, StatusCode::NOT_FOUND);
    assert!(world.mock.meetings().is_empty() && world.mock.nudges().is_empty());
}

#[tokio::test]
async fn faults_befall_the_next_requests() {
    let world = World::new().await;
    let url = format!("{}/faults", world.base);
    let faults = json!([
        { "kind": "status", "status": 429, "retry_after": "30", "on": "meetings" },
        { "kind": "status", "after_work": true },
        { "kind": "close" },
    ]);
    assert_eq!(world.client.put(&url).json(&faults).send().await.unwrap().status(), 200);

    let busy = world.send("meetings", Some("a"), meeting("x")).await.unwrap();
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (429, &"30".parse().unwrap()));
    assert!(world.mock.meetings().is_empty());

    assert_eq!(world.post("meetings", Some("a"), meeting("x")).await.0, 500);
    assert_eq!(world.mock.meetings().len(), 1, "the work was done before the answer failed");
    assert!(world.send("meetings", Some("a"), meeting("x")).await.is_err(), "no answer at all");
    assert_eq!(world.post("meetings", Some("a"), meeting("x")).await.0, 201);
    assert_eq!(world.mock.meetings().len(), 1);
    assert_eq!(world.mock.faults(), []);

    world.mock.inject(Fault::status(503).times(5));
    assert_eq!(world.client.delete(&url).send().await.unwrap().status(), 204);
    assert_eq!(world.post("nudges", None, nudge("x")).await.0, 201);

    for bad in [json!([{ "kind": "status", "status": 200 }]), json!([{ "kind": "explode" }]), json!({})] {
        assert_eq!(world.client.post(&url).json(&bad).send().await.unwrap().status(), 422, "{bad}");
    }
    let more =
        world.client.post(&url).json(&json!([{ "kind": "delay", "on": "nudges" }])).send().await.unwrap();
    assert_eq!(more.json::<Value>().await.unwrap()[0]["on"], "nudges");
    assert_eq!(world.mock.faults(), [Fault::delay(Duration::ZERO).on(Collection::Nudges)]);
}

#[tokio::test]
async fn a_hanging_request_makes_nothing_and_frees_its_key() {
    let world = World::new().await;
    world.mock.inject(Fault::hang());
    let hanging = world.send("nudges", Some("a"), nudge("x"));
    assert!(tokio::time::timeout(Duration::from_millis(200), hanging).await.is_err());
    assert!(world.mock.nudges().is_empty());
    assert_eq!(world.post("nudges", Some("a"), nudge("x")).await.0, 201);
}

#[tokio::test]
async fn it_is_healthy_and_stops_when_told() {
    let mut world = World::new().await;
    let root = world.base.strip_suffix("/api").unwrap().to_owned();
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(world.client.get(format!("{root}{path}")).send().await.unwrap().status(), 200);
    }
    // A request that runs when the server is told to stop still gets its answer.
    world.mock.inject(Fault::delay(Duration::from_millis(200)));
    let stop = world.stop.take().unwrap();
    let running = world.post("nudges", None, nudge("last"));
    let stopping = async {
        while !world.mock.faults().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
    };
    let ((status, _), ()) = tokio::join!(running, stopping);
    assert_eq!(status, 201);
    world.server.await.unwrap().unwrap();
    assert!(world.client.get(format!("{root}/health")).send().await.is_err(), "nobody listens any more");
}
