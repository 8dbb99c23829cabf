//! The admin listener: health, metrics and the admin API.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use eventlog::Log;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use webhooks::SweepReports;

use crate::{
    health::{Health, LOG_TIMEOUT},
    live::Detail,
    pauses::Pauses,
};

/// Bounds of the admin listener: it serves people and probes, and a slow one must not hold up the end.
pub(crate) fn limits() -> webhooks::Limits {
    webhooks::Limits {
        connections: 256,
        drain_timeout: Duration::from_secs(2),
        ..webhooks::Limits::default()
    }
}

/// `GET /health`, `/health/live`, `/health/ready`, `/metrics`: on every listener, without token. What `policies` and
/// `sweeps` say goes with it; they name files and hooks, which is nothing for the receivers' listener.
pub(crate) fn public(
    health: Arc<Health>,
    metrics: PrometheusHandle,
    policies: Option<Detail>,
    sweeps: Option<SweepReports>,
) -> Router {
    let ready = move |State(health): State<Arc<Health>>| async move {
        let (ready, mut detail) = health.ready().await;
        if let Some(policies) = policies {
            detail.append(&mut policies.said());
        }
        if let Some(sweeps) = sweeps {
            detail.insert("sweeps".into(), json!(sweeps.all()));
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
    log: Option<Arc<dyn Log>>,
    token: Option<SecretString>,
) -> Router {
    api(view, log)
        .into_iter()
        .fold(public, |router, (path, methods)| router.route(path, methods))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "nothing is served here") })
        .layer(middleware::from_fn_with_state(Arc::new(token), authorise))
}

/// The routes of the admin API.
fn api(view: Option<Arc<gateway::View>>, log: Option<Arc<dyn Log>>) -> Vec<(&'static str, MethodRouter)> {
    let projects = move || async move {
        let projects = view.map(|view| view.projects()).unwrap_or_default();
        let pauses = async { Pauses::read(&**log.as_ref()?).await.ok() };
        let pauses = tokio::time::timeout(LOG_TIMEOUT, pauses).await.ok().flatten();
        let shown = projects.iter().map(|project| {
            let mut shown = json!(project);
            // Not said while the log does not say it.
            if let Some(pauses) = &pauses {
                let pause = pauses.of(&project.project_id);
                shown["effects_paused_at"] = json!(pause.as_ref().map(|pause| pause.at));
                shown["effects_paused_of"] = json!(pause.map(|pause| pause.by));
            }
            shown
        });
        Json(shown.collect::<Vec<_>>())
    };
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
    use axum::{body::Body, http::Method};
    use tower::ServiceExt;

    use super::*;

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
        let answer = listener(public, None, None, token.map(Into::into)).oneshot(request).await.unwrap();
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
        api(None, None).into_iter().map(|(path, _)| path).chain(odd)
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
        for (path, _) in api(None, None) {
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
        for (path, _) in api(None, None) {
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
