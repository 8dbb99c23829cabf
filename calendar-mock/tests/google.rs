//! Google's Calendar API as a client sees it, by Google's reference.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use calendar_mock::{CalendarMock, Collection, Fault, serve};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

struct World {
    mock: CalendarMock,
    client: Client,
    root: String,
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mock = CalendarMock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, mock.clone(), std::future::pending()));
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { mock, client, root }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/calendar/v3{path}", self.root)).bearer_auth("ya29.x")
    }

    async fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    async fn busy(&self, ids: &[&str]) -> Value {
        let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        let asked = json!({ "timeMin": "2026-03-02T10:00:00Z", "timeMax": "2026-03-02T13:00:00+01:00", "items": items });
        let (status, answer) = self.post("/freeBusy", asked).await;
        assert_eq!((status, &answer["kind"]), (StatusCode::OK, &json!("calendar#freeBusy")));
        answer["calendars"].clone()
    }
}

const EVENTS: &str = "/calendars/primary/events";

fn event(id: &str, start: &str, end: &str) -> Value {
    let at = |time: &str| json!({ "dateTime": format!("2026-03-02T{time}:00Z") });
    json!({ "id": id, "summary": "s", "start": at(start), "end": at(end), "attendees": [{ "email": "bo@x.test" }] })
}

fn reason(answer: &(StatusCode, Value)) -> (u16, &str, &str) {
    let error = &answer.1["error"];
    assert_eq!(error["code"], answer.0.as_u16());
    assert_eq!(error["message"], error["errors"][0]["message"]);
    let word = |name: &str| error["errors"][0][name].as_str().unwrap();
    (answer.0.as_u16(), word("domain"), word("reason"))
}

#[tokio::test]
async fn an_event_is_inserted_read_changed_and_deleted() {
    let world = World::new().await;
    let (status, made) =
        world.post(&format!("{EVENTS}?sendUpdates=all"), event("abcde", "10:00", "11:00")).await;
    assert_eq!(
        (status, &made["kind"], &made["status"]),
        (StatusCode::OK, &json!("calendar#event"), &json!("confirmed"))
    );
    assert_eq!(made["attendees"], json!([{ "email": "bo@x.test", "responseStatus": "needsAction" }]));
    let one = format!("{EVENTS}/abcde");
    assert_eq!(world.send(world.request(Method::GET, &one)).await, (StatusCode::OK, made.clone()));
    let again = world.post(EVENTS, event("abcde", "10:00", "11:00")).await;
    assert_eq!(reason(&again), (409, "global", "duplicate"));
    let drawn = world
        .post(EVENTS, json!({ "start": { "date": "2026-03-02" }, "end": { "date": "2026-03-03" } }))
        .await;
    assert!(drawn.1["id"].as_str().unwrap().len() >= 5);

    let change = json!({ "summary": null, "location": "here", "id": "other", "etag": "x" });
    let patch = |tag: Value| {
        world.request(Method::PATCH, &one).header("if-match", tag.as_str().unwrap()).json(&change)
    };
    let (status, changed) = world.send(patch(made["etag"].clone())).await;
    assert_eq!(
        (status, &changed["location"], &changed["id"]),
        (StatusCode::OK, &json!("here"), &json!("abcde"))
    );
    assert!(changed.get("summary").is_none() && changed["etag"] != made["etag"]);
    assert_eq!(reason(&world.send(patch(made["etag"].clone())).await), (412, "global", "conditionNotMet"));

    let delete = || world.request(Method::DELETE, &one);
    assert_eq!(world.send(delete()).await, (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(reason(&world.send(delete()).await), (410, "global", "deleted"));
    assert_eq!(world.send(world.request(Method::GET, &one)).await.1["status"], "cancelled");
    assert_eq!(
        reason(&world.post(EVENTS, event("abcde", "10:00", "11:00")).await).0,
        409,
        "its id is not free"
    );
    assert_eq!(
        reason(&world.send(world.request(Method::GET, "/calendars/primary/events/nnnnn")).await),
        (404, "global", "notFound")
    );
    assert_eq!(
        reason(&world.post("/calendars/nobody/events", event("fghij", "10:00", "11:00")).await).0,
        404
    );
}

#[tokio::test]
async fn who_is_busy_is_said_and_who_is_unknown_too() {
    let world = World::new().await;
    let set = json!({ "busy": [{ "start": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:30:00Z" }] });
    let url = format!("{}/api/calendars/bo@x.test", world.root);
    assert_eq!(world.client.put(url).json(&set).send().await.unwrap().status(), 204);
    world.mock.break_calendar("broken@x.test", "internalError");
    for (id, start, end) in
        [("aaaaa", "10:15", "11:00"), ("bbbbb", "11:00", "11:30"), ("ccccc", "12:30", "14:00")]
    {
        assert_eq!(world.post(EVENTS, event(id, start, end)).await.0, 200);
    }
    world.send(world.request(Method::DELETE, &format!("{EVENTS}/bbbbb"))).await;
    let told = world.busy(&["primary", "bo@x.test", "nobody@x.test", "broken@x.test"]).await;
    let period = |start: &str, end: &str| json!({ "start": format!("2026-03-02T{start}:00Z"), "end": format!("2026-03-02T{end}:00Z") });
    assert_eq!(told["primary"], json!({ "busy": [period("10:15", "11:00")] }));
    assert_eq!(
        told["bo@x.test"],
        json!({ "busy": [period("10:00", "11:00")] }),
        "invited, and cut to what was asked"
    );
    assert_eq!(
        told["nobody@x.test"],
        json!({ "errors": [{ "domain": "global", "reason": "notFound" }], "busy": [] })
    );
    assert_eq!(told["broken@x.test"]["errors"][0]["reason"], "internalError");
    let many: Vec<String> = (0..51).map(|n| format!("c{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(world.busy(&many).await["c7"]["errors"][0]["reason"], "tooManyCalendarsRequested");
    let empty = json!({ "timeMin": "2026-03-02T10:00:00Z", "timeMax": "2026-03-02T10:00:00Z", "items": [] });
    assert_eq!(reason(&world.post("/freeBusy", empty).await), (400, "calendar", "timeRangeEmpty"));
}

#[tokio::test]
async fn what_is_not_right_is_refused_in_googles_words() {
    let world = World::new().await;
    let anonymous = world.client.get(format!("{}/calendar/v3{EVENTS}/abcde", world.root));
    assert_eq!(reason(&world.send(anonymous).await), (401, "global", "required"));
    for id in ["abcd", "ABCDE", "a-bcd", "vwxyz", &"a".repeat(1025)] {
        assert_eq!(reason(&world.post(EVENTS, event(id, "10:00", "11:00")).await).0, 400, "{id}");
    }
    for body in [json!({}), event("abcde", "11:00", "10:00"), json!({ "start": { "date": "x" } })] {
        assert_eq!(reason(&world.post(EVENTS, body).await).0, 400);
    }
    let misspelt =
        world.post(&format!("{EVENTS}?sendUpdates=everybody"), event("abcde", "10:00", "11:00")).await;
    assert_eq!(reason(&misspelt).0, 400);
    assert!(world.mock.events("primary").is_empty());
}

#[tokio::test]
async fn faults_come_in_googles_shape() {
    let world = World::new().await;
    world.mock.inject(Fault::status(403).reason("quotaExceeded").on(Collection::Events));
    world.mock.inject(Fault::status(429).retry_after("9").on(Collection::Events).after_work());
    world.mock.inject(Fault::status(500).on(Collection::FreeBusy));
    let insert = || world.post(EVENTS, event("abcde", "10:00", "11:00"));
    assert_eq!(reason(&insert().await), (403, "usageLimits", "quotaExceeded"));
    assert!(world.mock.events("primary").is_empty());
    assert_eq!(reason(&insert().await), (429, "usageLimits", "rateLimitExceeded"));
    assert_eq!(world.mock.events("primary").len(), 1, "the work was done before the answer failed");
    let asked = json!({ "timeMin": "2026-03-02T10:00:00Z", "timeMax": "2026-03-03T10:00:00Z", "items": [] });
    assert_eq!(reason(&world.post("/freeBusy", asked).await), (500, "global", "backendError"));
    world.mock.inject(Fault::close().on(Collection::Events));
    assert!(
        world.request(Method::DELETE, &format!("{EVENTS}/abcde")).send().await.is_err(),
        "no answer at all"
    );
    assert_eq!(insert().await.0, StatusCode::CONFLICT);
}
