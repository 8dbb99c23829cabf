//! GitHub, as far as its hooks' deliveries go: it keeps them for three days, lists them youngest first, and sends again when
//! asked. Fields and headers are those of its OpenAPI description (schemas hook-delivery-item and hook-delivery).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, Request, State},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use eventlog::Clock;
use http::{Method, StatusCode};
use serde_json::{Value, json, value::RawValue};

use super::world::{SECRET, TokioClock, deliver};
use crate::{Provider, Secrets};

pub(super) const TOKEN: &str = "ghp_token";
const KEPT: TimeDelta = TimeDelta::days(3);

/// What happens to the next request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Status(u16),
    /// This status, with these headers and this body.
    Says(u16, Vec<(&'static str, String)>, &'static str),
    Hangs,
    Garbage,
    TooLong,
    /// Nothing, and the request is answered.
    None,
}

#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) id: u64,
    pub(super) guid: String,
    pub(super) at: DateTime<Utc>,
    pub(super) status_code: u16,
    pub(super) redelivery: bool,
    pub(super) event: String,
    /// As it was signed.
    pub(super) payload: String,
    pub(super) signature: Option<String>,
}

struct Inside {
    deliveries: Vec<Delivery>,
    next_id: u64,
    token: String,
    faults: VecDeque<Fault>,
    asked: Vec<String>,
    left: Option<u32>,
    /// Where webhooks go.
    receivers: Option<Router>,
    /// Is delivered while its request is answered.
    meanwhile: Option<(String, Delivery)>,
    pretty: bool,
    no_payload: bool,
    may_redeliver: bool,
}

#[derive(Clone)]
pub(super) struct FakeGithub {
    inside: Arc<Mutex<Inside>>,
    clock: Arc<TokioClock>,
    path: &'static str,
}

impl FakeGithub {
    pub(super) fn new(clock: Arc<TokioClock>) -> Self {
        let inside = Inside {
            deliveries: vec![],
            // Beyond what a double can hold.
            next_id: 9_007_199_254_740_993,
            token: format!("Bearer {TOKEN}"),
            faults: VecDeque::new(),
            asked: vec![],
            left: None,
            receivers: None,
            meanwhile: None,
            pretty: false,
            no_payload: false,
            may_redeliver: true,
        };
        Self { inside: Arc::new(Mutex::new(inside)), clock, path: "/repos/acme/checkout/hooks/12/deliveries" }
    }

    /// The same for the hook of an App, whose tokens it makes itself.
    pub(super) fn of_app(clock: Arc<TokioClock>) -> Self {
        Self { path: "/app/hook/deliveries", ..Self::new(clock) }
    }

    /// Whether a request has a token of the hook's owner.
    fn knows(&self, token: Option<&str>) -> bool {
        if !self.path.starts_with("/app") {
            return token == Some(&self.inside().token);
        }
        // A signature is looked at where tokens are made.
        let claims = token.and_then(|token| token.strip_prefix("Bearer ")?.split('.').nth(1));
        let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        let now = self.clock.now().timestamp();
        let (from, until) = (claims["iat"].as_i64().unwrap_or(now + 1), claims["exp"].as_i64().unwrap_or(0));
        claims["iss"] == "12345" && from <= now && now < until && until - from <= 600
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Something happened, and its webhook was answered so.
    pub(super) fn sent(&self, event: &str, guid: &str, payload: &str, status_code: u16) -> Delivery {
        let mut inside = self.inside();
        inside.next_id += 1;
        let headers =
            crate::sign(Provider::Github, &Secrets::parse(SECRET).unwrap(), event, guid, payload.as_bytes());
        let signature = headers.into_iter().find(|(name, _)| name == "x-hub-signature-256").unwrap().1;
        let delivery = Delivery {
            id: inside.next_id,
            guid: guid.into(),
            at: self.clock.now(),
            status_code,
            redelivery: false,
            event: event.into(),
            payload: payload.into(),
            signature: Some(signature),
        };
        inside.deliveries.push(delivery.clone());
        delivery
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.inside().faults.push_back(fault);
    }

    pub(super) fn fault_no_more(&self) {
        self.inside().faults.clear();
    }

    pub(super) fn revoke_token(&self) {
        self.inside().token = "Bearer another".into();
    }

    pub(super) fn accept_token(&self) {
        self.inside().token = format!("Bearer {TOKEN}");
    }

    /// From here on answers say how many requests are left until the next full hour.
    pub(super) fn limit(&self, left: u32) {
        self.inside().left = Some(left);
    }

    pub(super) fn sends_to(&self, receivers: &Router) {
        self.inside().receivers = Some(receivers.clone());
    }

    /// When a request whose path ends so is answered, this webhook has just been sent.
    pub(super) fn meanwhile(&self, path: &str, delivery: Delivery) {
        self.inside().meanwhile = Some((path.into(), delivery));
    }

    /// Answers are indented.
    pub(super) fn indents(&self) {
        self.inside().pretty = true;
    }

    pub(super) fn keeps_no_payloads(&self, may_redeliver: bool) {
        let mut inside = self.inside();
        (inside.no_payload, inside.may_redeliver) = (true, may_redeliver);
    }

    pub(super) fn change(&self, change: impl Fn(&mut Delivery)) {
        self.inside().deliveries.iter_mut().for_each(change);
    }

    /// The requests since the last call.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.inside().asked)
    }

    pub(super) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }
}

fn item(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": delivery.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "redelivery": delivery.redelivery,
        "duration": 0.27,
        "status": if delivery.status_code == 202 { "OK" } else { "failed to connect" },
        "status_code": delivery.status_code,
        "event": delivery.event,
        "action": "opened",
        "installation_id": null,
        "repository_id": 456,
        "throttled_at": null,
    })
}

async fn answer(
    State(github): State<FakeGithub>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let asked = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
    let (fault, meanwhile, receivers) = {
        let mut inside = github.inside();
        inside.asked.push(asked);
        let fits = inside.meanwhile.as_ref().is_some_and(|(end, _)| path.ends_with(end.as_str()));
        let meanwhile = if fits { inside.meanwhile.take() } else { None };
        (inside.faults.pop_front(), meanwhile, inside.receivers.clone())
    };
    if let (Some((_, sent)), Some(receivers)) = (meanwhile, receivers) {
        assert_eq!(deliver(&receivers, Provider::Github, &sent.event, &sent.guid, &sent.payload).await, 202);
    }
    match fault {
        Some(Fault::Status(status)) => return github.says(status, &[], "{}"),
        Some(Fault::Says(status, headers, body)) => return github.says(status, &headers, body),
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::Garbage) => return github.says(200, &[], "<html>not GitHub</html>"),
        Some(Fault::TooLong) => return github.says(200, &[], &" ".repeat(60 * 1024 * 1024)),
        Some(Fault::None) | None => {}
    }
    assert_eq!(request.headers()["accept"], "application/vnd.github+json");
    assert_eq!(request.headers()["x-github-api-version"], "2022-11-28");
    if !github.knows(request.headers().get("authorization").and_then(|value| value.to_str().ok())) {
        return github.says(401, &[], r#"{"message":"Bad credentials","status":"401"}"#);
    }
    let Some(rest) = path.strip_prefix(github.path) else {
        return github.says(404, &[], r#"{"message":"Not Found","status":"404"}"#);
    };
    match (
        request.method(),
        rest.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>()).as_deref(),
    ) {
        (&Method::GET, None) => github.list(&query),
        (&Method::GET, Some([id])) => github.show(id.parse().unwrap()),
        (&Method::POST, Some([id, "attempts"])) => github.redeliver(id.parse().unwrap()).await,
        _ => github.says(404, &[], r#"{"message":"Not Found","status":"404"}"#),
    }
}

impl FakeGithub {
    fn kept(&self) -> Vec<Delivery> {
        let since = self.clock.now() - KEPT;
        let mut kept: Vec<_> = self.inside().deliveries.iter().filter(|it| it.at >= since).cloned().collect();
        kept.sort_by_key(|delivery| std::cmp::Reverse(delivery.id));
        kept
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Response {
        let kept = self.kept();
        let per_page: usize = query.get("per_page").map_or(30, |text| text.parse().unwrap());
        // "The starting delivery from which the page of deliveries is fetched."
        let from: u64 = query
            .get("cursor")
            .map_or(u64::MAX, |cursor| cursor.strip_prefix("v1_").unwrap().parse().unwrap());
        let mut rest = kept.iter().filter(|delivery| delivery.id <= from);
        let page: Vec<Value> = rest.by_ref().take(per_page).map(item).collect();
        let mut headers = vec![];
        if let Some(next) = rest.next() {
            let link = format!(
                "<https://api.github.com{}?per_page={per_page}&cursor=v1_{}>; rel=\"next\"",
                self.path, next.id
            );
            headers.push(("link", link));
        }
        self.says(200, &headers, &Value::from(page).to_string())
    }

    fn show(&self, id: u64) -> Response {
        let Some(delivery) = self.kept().into_iter().find(|delivery| delivery.id == id) else {
            return self.says(404, &[], r#"{"message":"Not Found","status":"404"}"#);
        };
        let mut shown = item(&delivery);
        shown["url"] = "https://breakdown.example.com/github/issues".into();
        shown["response"] = json!({"headers": {"Content-Type": "text/html"}, "payload": "bad gateway"});
        let headers = json!({
            "Accept": "*/*",
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Event": delivery.event,
            "X-GitHub-Hook-ID": "12",
            "X-Hub-Signature-256": delivery.signature,
            "content-type": "application/json",
        });
        let inside = self.inside();
        let payload = match (inside.no_payload, inside.pretty) {
            (true, _) => "null".to_owned(),
            (_, true) => {
                serde_json::to_string_pretty(&serde_json::from_str::<&RawValue>(&delivery.payload).unwrap())
                    .map(|raw| raw.replace(",\"", ",\n  \"").replace("\":", "\": "))
                    .unwrap()
            }
            (_, false) => delivery.payload.clone(),
        };
        drop(inside);
        // Spelled out, so that the payload stays as it is.
        let mut text = shown.to_string();
        text.truncate(text.len() - 1);
        text.push_str(&format!(",\"request\":{{\"headers\":{headers},\"payload\":{payload}}}}}"));
        self.says(200, &[], &text)
    }

    async fn redeliver(&self, id: u64) -> Response {
        let Some(delivery) = self.kept().into_iter().find(|delivery| delivery.id == id) else {
            return self.says(404, &[], "{}");
        };
        let receivers = {
            let inside = self.inside();
            if !inside.may_redeliver {
                drop(inside);
                return self.says(
                    403,
                    &[],
                    r#"{"message":"Resource not accessible by personal access token"}"#,
                );
            }
            inside.receivers.clone()
        };
        let status_code = match receivers {
            Some(to) => {
                deliver(&to, Provider::Github, &delivery.event, &delivery.guid, &delivery.payload).await
            }
            None => 502,
        };
        let mut inside = self.inside();
        inside.next_id += 1;
        let again =
            Delivery { id: inside.next_id, at: self.clock.now(), redelivery: true, status_code, ..delivery };
        inside.deliveries.push(again);
        drop(inside);
        self.says(202, &[], "{}")
    }

    fn says(&self, status: u16, headers: &[(&str, String)], body: &str) -> Response {
        let now = self.clock.now();
        let mut answer = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("date", now.to_rfc2822().replace("+0000", "GMT"));
        let mut inside = self.inside();
        let hour = now.timestamp() / 3_600;
        if let Some(left) = &mut inside.left {
            // Used up; full again with the next hour.
            *left = left.saturating_sub(1);
            answer = answer.header("x-ratelimit-remaining", left.to_string());
            answer = answer.header("x-ratelimit-reset", ((hour + 1) * 3_600).to_string());
        }
        for (name, value) in headers {
            answer = answer.header(*name, value);
        }
        answer.body(Body::from(body.to_owned())).unwrap()
    }
}

/// A payload of an issue that was opened.
pub(super) fn opened(number: u64) -> String {
    json!({
        "action": "opened",
        "issue": {
            "url": format!("https://api.github.com/repos/acme/checkout/issues/{number}"),
            "html_url": format!("https://github.com/acme/checkout/issues/{number}"),
            "number": number,
            "title": "Über \"alles\" \\ kaputt",
            "labels": [{"name": "bug"}],
            "state": "open",
            "created_at": "2026-11-20T09:00:00Z",
            "updated_at": "2026-11-20T09:00:00Z",
        },
        "repository": {"full_name": "acme/checkout", "html_url": "https://github.com/acme/checkout"},
        "sender": {"login": "maria"},
    })
    .to_string()
}

/// A comment on a pull request, which is nothing to us.
pub(super) fn pull_request_comment() -> String {
    json!({
        "action": "created",
        "issue": {"number": 7, "pull_request": {"url": "https://api.github.com/repos/acme/checkout/pulls/7"}},
        "comment": {"id": 1},
        "repository": {"full_name": "acme/checkout", "html_url": "https://github.com/acme/checkout"},
    })
    .to_string()
}

pub(super) const A_WHILE: Duration = Duration::from_secs(60);
