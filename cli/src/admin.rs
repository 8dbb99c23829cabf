//! Health, metrics and the admin API.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, Stuck};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use webhooks::{Spool, SpoolReport};

use crate::live::Detail;

/// How long a role may go without moving before the process is not ready. A role moves at least once a second.
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long the log may take to answer.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of the log is good for, so that probes cost it nothing.
const LOG_ANSWER_KEPT: Duration = Duration::from_secs(1);

/// Bounds of the admin listener: it serves people and probes, and a slow one must not hold up the end.
pub(crate) fn limits() -> webhooks::Limits {
    webhooks::Limits {
        connections: 256,
        drain_timeout: Duration::from_secs(2),
        ..webhooks::Limits::default()
    }
}

/// A role whose progress readiness is made of: its name, and when it last moved.
pub(crate) type MovedAt = Box<dyn Fn() -> Option<DateTime<Utc>> + Send + Sync>;

/// What readiness is made of.
pub(crate) struct Health {
    /// `None` where no role needs one.
    log: Option<Arc<dyn Log>>,
    clock: Arc<dyn Clock>,
    roles: Vec<(&'static str, MovedAt)>,
    /// Takes deliveries while the log does not answer.
    spool: Option<Spool>,
    answered: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Health {
    pub(crate) fn new(
        log: Option<Arc<dyn Log>>,
        clock: Arc<dyn Clock>,
        roles: Vec<(&'static str, MovedAt)>,
        spool: Option<Spool>,
    ) -> Self {
        Self { log, clock, roles, spool, answered: Mutex::new(None) }
    }

    async fn log_answers(&self) -> Result<(), String> {
        let Some(log) = &self.log else { return Ok(()) };
        let mut answered = self.answered.lock().await;
        if let Some((at, answer)) = &*answered
            && at.elapsed() < LOG_ANSWER_KEPT
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(LOG_TIMEOUT, log.topics()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", LOG_TIMEOUT.as_secs())),
        };
        *answered = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Whether the process is ready, and what that is made of.
    pub(crate) async fn ready(&self) -> (bool, Map<String, Value>) {
        let log = self.log_answers().await;
        let spool = self.spool.as_ref().map(Spool::report);
        // A receiver that is taken out of service loses what it could have kept: providers do not send again.
        let mut ready = log.is_ok() || spool.as_ref().is_some_and(|spool| spool.takes);
        let mut detail = Map::new();
        detail.insert("log".into(), log.map_or_else(Value::from, |()| "answers".into()));
        for (role, moved_at) in &self.roles {
            let moved_at = moved_at();
            let moves = moved_at.is_some_and(|at| self.clock.now() - at < STALLED_AFTER);
            ready &= moves;
            detail.insert((*role).into(), json!({"moves": moves, "moved_at": moved_at}));
        }
        // Only the broker's operator can end a transaction that it has forgotten, so it must be said where it is looked at.
        let stuck = match &self.log {
            Some(log) if !self.roles.is_empty() => log.stuck(),
            _ => Vec::new(),
        };
        if !stuck.is_empty() {
            ready = false;
            let said = stuck.into_iter().map(|stuck| self.said(stuck)).collect();
            detail.insert("stuck".into(), Value::Array(said));
        }
        if let Some(SpoolReport { spooling, records, bytes, oldest, takes }) = spool {
            let spool = json!({"spooling": spooling, "takes": takes, "records": records, "bytes": bytes, "oldest_at": oldest});
            detail.insert("spool".into(), spool);
        }
        detail.insert("ready".into(), ready.into());
        (ready, detail)
    }

    fn said(&self, Stuck { group, partition, topic, from, waiting }: Stuck) -> Value {
        let since = TimeDelta::from_std(waiting).ok().map(|waiting| self.clock.now() - waiting);
        let hint = "the broker has forgotten an open transaction: kafka-transactions.sh find-hanging, then abort (docs/operations.md)";
        json!({"group": group, "partition": partition, "topic": topic, "from": from, "since": since, "hint": hint})
    }
}

/// `GET /health`, `/health/live`, `/health/ready`, `/metrics`: on every listener, without token. What `policies` says
/// goes with it; it names files and repeats pieces of them, which is nothing for the receivers' listener.
pub(crate) fn public(health: Arc<Health>, metrics: PrometheusHandle, policies: Option<Detail>) -> Router {
    let ready = move |State(health): State<Arc<Health>>| async move {
        let (ready, mut detail) = health.ready().await;
        if let Some(policies) = policies {
            detail.append(&mut policies.said());
        }
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(detail))
    };
    Router::new()
        .route("/health", get(ready.clone()))
        .route("/health/ready", get(ready))
        .route("/health/live", get(|| async { Json(json!({"live": true})) }))
        .with_state(health)
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
            }),
        )
}

/// What the admin listener answers to whoever reaches it: the paths of [`public`]. All other paths, also those where nothing is, are
/// closed, so that a new one is closed without anybody thinking of it.
const OPEN: [&str; 4] = ["/health", "/health/live", "/health/ready", "/metrics"];

/// What the admin listener serves: `public`, and the admin API, with a token for whoever has it, without one for loopback only.
pub(crate) fn listener(
    public: Router,
    view: Option<Arc<gateway::View>>,
    token: Option<SecretString>,
) -> Router {
    api(view)
        .into_iter()
        .fold(public, |router, (path, methods)| router.route(path, methods))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "nothing is served here") })
        .layer(middleware::from_fn_with_state(Arc::new(token), authorise))
}

/// The routes of the admin API.
fn api(view: Option<Arc<gateway::View>>) -> Vec<(&'static str, MethodRouter)> {
    let projects = move || async move { Json(view.map(|view| view.projects()).unwrap_or_default()) };
    vec![("/api/projects", get(projects))]
}

async fn authorise(
    State(token): State<Arc<Option<SecretString>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match token.as_ref() {
        Some(token) if bearer(&headers).is_some_and(|given| same(given, token.expose_secret())) => {
            next.run(request).await
        }
        Some(_) => problem(StatusCode::UNAUTHORIZED, "send the admin token: Authorization: Bearer …"),
        None if is_local(peer, &headers) => next.run(request).await,
        None => problem(
            StatusCode::FORBIDDEN,
            "without BREAKDOWN_ADMIN_TOKEN the admin API answers loopback only, called as localhost or by its address",
        ),
    }
}

/// Whether a request was made on this machine, and by somebody who meant this machine: not handed on by a proxy here, and not by a
/// page in a browser here whose own name was made to point here.
fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let meant = host.is_none_or(|host| {
        host.is_some_and(|host| {
            let name = host.host().trim_start_matches('[').trim_end_matches(']');
            let address = name.parse::<IpAddr>();
            name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
        })
    });
    let handed_on = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    meant
        && peer.ip().to_canonical().is_loopback()
        && !handed_on.iter().any(|name| headers.contains_key(*name))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Compares in a time that does not tell where the two differ: digests of unknown input give nothing away.
fn same(given: &str, token: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(token)
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use axum::{body::Body, http::Method};
    use eventlog::{
        GroupOffset, LogError, ManualClock, NewRecord, Position, Reader, Subscription, SubscriptionSpec,
        TopicInfo, TopicSpec,
    };
    use tower::ServiceExt;

    use super::*;

    /// A broker that answers, and has forgotten a transaction.
    struct Forgetful;

    #[async_trait]
    impl Log for Forgetful {
        async fn create_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
            Ok(())
        }

        async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
            Ok(Vec::new())
        }

        async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
            Ok(Vec::new())
        }

        async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
            Ok(Vec::new())
        }

        async fn read(&self, _: &str, _: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
            Err(LogError::Unavailable("nothing to read".into()))
        }

        async fn subscribe(&self, _: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
            Err(LogError::Unavailable("nothing to read".into()))
        }

        fn stuck(&self) -> Vec<Stuck> {
            vec![Stuck {
                group: "gateway".into(),
                partition: 3,
                topic: "gateway-state".into(),
                from: Some(812),
                waiting: Duration::from_secs(90),
            }]
        }
    }

    #[tokio::test]
    async fn what_is_stuck_is_said_and_the_process_is_not_ready() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
        let log: Option<Arc<dyn Log>> = Some(Arc::new(Forgetful));
        let role: MovedAt = Box::new(move || Some(now));
        let (ready, said) =
            Health::new(log.clone(), clock.clone(), vec![("gateway", role)], None).ready().await;
        assert!(!ready);
        let stuck = &said["stuck"][0];
        assert_eq!(
            (&stuck["partition"], &stuck["topic"], &stuck["from"]),
            (&json!(3), &json!("gateway-state"), &json!(812))
        );
        assert_eq!(stuck["since"], json!(now - TimeDelta::seconds(90)));
        assert!(stuck["hint"].as_str().unwrap().contains("kafka-transactions.sh"));
        // Receivers append, whatever others wait for.
        let (ready, said) = Health::new(log, clock, vec![], None).ready().await;
        assert!(ready && said.get("stuck").is_none(), "{said:?}");
    }

    const ELSEWHERE: &str = "192.0.2.7:4711";
    const HERE: &str = "127.0.0.1:4711";

    async fn status(
        token: Option<&str>,
        method: &Method,
        path: &str,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> u16 {
        let public = Router::new().route("/health", get(|| async {}));
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        let answer = listener(public, None, token.map(Into::into)).oneshot(request).await.unwrap();
        answer.status().as_u16()
    }

    /// The paths of the API, those where nothing is, and those that only look open.
    fn closed() -> impl Iterator<Item = &'static str> {
        let odd = [
            "/",
            "/api",
            "/api/",
            "/nothing",
            "/health/",
            "//health",
            "/health/../api/projects",
            "/metrics/x",
            "/%68ealth",
        ];
        api(None).into_iter().map(|(path, _)| path).chain(odd)
    }

    const METHODS: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];

    #[tokio::test]
    async fn every_path_but_health_and_metrics_wants_the_token() {
        for path in closed() {
            for method in &METHODS {
                for headers in [
                    &[][..],
                    &[("authorization", "")],
                    &[("authorization", "Bearer ")],
                    &[("authorization", "Bearer wrong")],
                    &[("authorization", "Bearer right ")],
                    &[("authorization", "bearer right")],
                    &[("authorization", "right")],
                    &[("x-forwarded-for", "127.0.0.1")],
                ] {
                    for peer in [HERE, ELSEWHERE] {
                        let status = status(Some("right"), method, path, peer, headers).await;
                        assert_eq!(status, 401, "{method} {path} {headers:?} from {peer}");
                    }
                }
            }
        }
        assert_eq!(status(Some("right"), &Method::GET, "/health", ELSEWHERE, &[]).await, 200);
    }

    #[tokio::test]
    async fn with_the_token_every_route_answers() {
        for (path, _) in api(None) {
            let right = [("authorization", "Bearer right")];
            assert_eq!(status(Some("right"), &Method::GET, path, ELSEWHERE, &right).await, 200, "{path}");
        }
        let right = [("authorization", "Bearer right")];
        assert_eq!(status(Some("right"), &Method::GET, "/nothing", ELSEWHERE, &right).await, 404);
    }

    #[tokio::test]
    async fn without_a_token_every_path_but_health_and_metrics_is_for_this_machine() {
        for path in closed() {
            for method in &METHODS {
                for (peer, headers) in [
                    (ELSEWHERE, &[][..]),
                    (ELSEWHERE, &[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")]),
                    ("[2001:db8::1]:4711", &[]),
                    (HERE, &[("host", "breakdown.example:7100")]),
                    (HERE, &[("host", "127.0.0.1.example")]),
                    (HERE, &[("host", "localhost"), ("x-forwarded-for", "192.0.2.7")]),
                    (HERE, &[("host", "localhost"), ("forwarded", "for=192.0.2.7")]),
                ] {
                    let status = status(None, method, path, peer, headers).await;
                    assert_eq!(status, 403, "{method} {path} {headers:?} from {peer}");
                }
            }
        }
        for (path, _) in api(None) {
            for host in ["127.0.0.1:7100", "localhost", "LOCALHOST:7100", "[::1]:7100", "127.8.8.8"] {
                for peer in [HERE, "[::1]:4711", "[::ffff:127.0.0.1]:4711"] {
                    assert_eq!(
                        status(None, &Method::GET, path, peer, &[("host", host)]).await,
                        200,
                        "{host}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_open_is_what_every_listener_serves() {
        for path in OPEN {
            assert_ne!(status(Some("right"), &Method::GET, path, ELSEWHERE, &[]).await, 401, "{path}");
        }
    }
}
