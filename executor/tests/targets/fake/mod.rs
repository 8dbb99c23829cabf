//! Stateful fakes of outside APIs: what they answer is theirs, what goes wrong on the way is asked of them.

pub mod caldav;
pub mod github;
pub mod google;
pub mod jira;
pub mod pagerduty;
pub mod radicale;
pub mod receiver;
pub mod slack;

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as JSON, or as text where it is none.
    pub fn told(&self) -> Value {
        let text = || String::from_utf8(self.body.to_vec()).unwrap().into();
        serde_json::from_slice(&self.body).unwrap_or_else(|_| text())
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answered so, and nothing is done.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never answered, and nothing is done.
    Hang,
    /// Done, and never answered.
    HangAfter,
    /// Done, and answered 500.
    BrokenAfter,
    /// Done, and answered with its status and a body that is no JSON.
    GarbageAfter,
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), "{}".into())
    }

    pub fn header(self, name: &'static str, value: impl ToString) -> Self {
        match self {
            Self::Answer(status, mut headers, body) => {
                headers.push((name, value.to_string()));
                Self::Answer(status, headers, body)
            }
            other => other,
        }
    }

    pub fn body(self, body: Value) -> Self {
        match self {
            Self::Answer(status, headers, _) => Self::Answer(status, headers, body.to_string()),
            other => other,
        }
    }
}

/// The way to a fake: what came in, and what is to go wrong.
#[derive(Debug, Clone, Default)]
pub struct Way {
    seen: Arc<Mutex<Vec<Seen>>>,
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
}

impl Way {
    /// The next request whose `METHOD PATH` has this in it meets the fault.
    pub fn fault(&self, on: &str, fault: Fault) {
        self.faults.lock().unwrap().push((on.to_owned(), fault));
    }

    /// From now on nothing goes wrong.
    pub fn forget_faults(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// `METHOD PATH` of all that came in.
    pub fn calls(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    fn fault_of(&self, call: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(on, _)| call.contains(on.as_str()))?;
        Some(faults.remove(at).1)
    }

    /// Serves `router` on a port of its own, until the test ends. The base address.
    pub async fn serve(&self, router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = router.layer(middleware::from_fn_with_state(self.clone(), on_the_way));
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }
}

async fn on_the_way(State(way): State<Way>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let call = format!("{} {}", parts.method, parts.uri.path());
    way.seen.lock().unwrap().push(Seen {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        body: body.clone(),
    });
    let done = next.run(Request::from_parts(parts, Body::from(body)));
    match way.fault_of(&call) {
        None => done.await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::HangAfter) => {
            done.await;
            std::future::pending().await
        }
        Some(Fault::BrokenAfter) => {
            done.await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(Fault::GarbageAfter) => {
            let mut response = done.await;
            *response.body_mut() = Body::from("<html>\u{0}not JSON");
            response.headers_mut().remove("content-length");
            response
        }
        Some(Fault::Answer(status, headers, body)) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    }
}

/// Somebody else's way to an API.
pub fn client() -> reqwest::Client {
    // It may be the first that wants one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// The bearer's token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Fails where text could act instead of being read.
#[track_caller]
pub fn inert(text: &str) {
    let acts = |c: &char| {
        c.is_control() && *c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(acts), None, "{text:?}");
}
