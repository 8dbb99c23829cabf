//! A CalDAV server in a few lines, for what cannot be asked of a real one: it keeps objects, and knows when they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::Way;

/// By path, each object with how often it was put.
type Objects = Arc<Mutex<BTreeMap<String, (String, usize)>>>;

#[derive(Clone)]
pub struct Caldav {
    pub way: Way,
    pub base: String,
    state: Objects,
}

impl Caldav {
    pub async fn start() -> Self {
        let state = Objects::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    pub fn objects(&self) -> Vec<String> {
        self.state.lock().unwrap().values().map(|(text, _)| text.clone()).collect()
    }

    /// Somebody deletes every object.
    pub fn clear(&self) {
        self.state.lock().unwrap().clear();
    }

    /// Somebody writes to every object.
    pub fn touch(&self) {
        self.state.lock().unwrap().values_mut().for_each(|(_, times)| *times += 1);
    }
}

async fn answer(
    State(state): State<Objects>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let login = format!("Basic {}", BASE64_STANDARD.encode("breakdown:breakdown"));
    if header("authorization") != Some(login) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let path = uri.path().to_owned();
    let etag = |times: usize| format!("\"{times}\"");
    match method.as_str() {
        "GET" => match state.get(&path) {
            Some((text, times)) => ([("etag", etag(*times))], text.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        "PUT" if state.contains_key(&path) && header("if-none-match").as_deref() == Some("*") => {
            StatusCode::PRECONDITION_FAILED.into_response()
        }
        "PUT" => {
            let times = state.get(&path).map(|(_, times)| *times);
            let matches = |tag: String| times.is_some_and(|times| tag == "*" || tag == etag(times));
            if header("if-match").is_some_and(|tag| !matches(tag)) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            state.insert(path, (body, times.unwrap_or_default() + 1));
            times.map_or(StatusCode::CREATED, |_| StatusCode::NO_CONTENT).into_response()
        }
        "REPORT" => {
            assert!(body.contains("free-busy-query") && header("depth").as_deref() == Some("1"), "{body}");
            let inside = state.iter().filter(|(object, (text, _))| {
                object.starts_with(&path) && !text.contains("\r\nSTATUS:CANCELLED\r\n")
            });
            let busy = inside.map(|(_, (text, _))| {
                let value =
                    |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
                format!("FREEBUSY:{}/{}\r\n", value("DTSTART:"), value("DTEND:"))
            });
            let busy: String = busy.collect();
            let told =
                format!("BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\n{busy}END:VFREEBUSY\r\nEND:VCALENDAR\r\n");
            ([("content-type", "text/calendar")], told).into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}
