//! Health, metrics and the admin API.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use webhooks::{Spool, SpoolReport};

use crate::live::Detail;

/// How long a role may go without moving before the process is not ready. A role moves at least once a second.
const STALLED_AFTER: TimeDelta = TimeDelta::seconds(15);
/// How long the log may take to answer.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of the log is good for, so that probes cost it nothing.
const LOG_ANSWER_KEPT: Duration = Duration::from_secs(1);

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
        if let Some(SpoolReport { spooling, records, bytes, oldest, takes }) = spool {
            let spool = json!({"spooling": spooling, "takes": takes, "records": records, "bytes": bytes, "oldest_at": oldest});
            detail.insert("spool".into(), spool);
        }
        detail.insert("ready".into(), ready.into());
        (ready, detail)
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

/// The admin API: with a token for whoever has it, without one for loopback only.
pub(crate) fn api(view: Option<Arc<gateway::View>>, token: Option<SecretString>) -> Router {
    let projects = move || async move { Json(view.map(|view| view.projects()).unwrap_or_default()) };
    Router::new()
        .route("/api/projects", get(projects))
        .layer(middleware::from_fn_with_state(Arc::new(token), authorise))
}

async fn authorise(
    State(token): State<Arc<Option<SecretString>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    match token.as_ref() {
        Some(token) if bearer(&headers).is_some_and(|given| same(given, token.expose_secret())) => {
            next.run(request).await
        }
        Some(_) => problem(StatusCode::UNAUTHORIZED, "send the admin token: Authorization: Bearer …"),
        None if peer.ip().to_canonical().is_loopback() => next.run(request).await,
        None => problem(
            StatusCode::FORBIDDEN,
            "without BREAKDOWN_ADMIN_TOKEN the admin API answers loopback only",
        ),
    }
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
