//! PagerDuty's Events API v2: `POST /v2/enqueue`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};

use super::Way;

pub const PLATFORM: &str = "0123456789abcdef0123456789abcdef";
pub const TRIAGE: &str = "fedcba9876543210fedcba9876543210";

#[derive(Clone)]
pub struct Pagerduty {
    pub way: Way,
    pub base: String,
    pub state: Arc<Mutex<Account>>,
}

#[derive(Default)]
pub struct Account {
    pub revoked: bool,
    /// Routing key and dedup_key to the alert.
    pub alerts: BTreeMap<(String, String), Alert>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub status: &'static str,
    pub triggers: usize,
    /// A trigger after the alert was resolved opens another under the same key, which pages people anew.
    pub opened: usize,
    pub last: Value,
}

impl Pagerduty {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Account::default()));
        let router = Router::new().route("/v2/enqueue", post(enqueue)).with_state(state.clone());
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    pub fn alerts(&self) -> Vec<((String, String), Alert)> {
        self.state.lock().unwrap().alerts.clone().into_iter().collect()
    }
}

fn invalid(error: &str) -> (StatusCode, Json<Value>) {
    let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] });
    (StatusCode::BAD_REQUEST, Json(body))
}

async fn enqueue(
    State(state): State<Arc<Mutex<Account>>>,
    Json(event): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut state = state.lock().unwrap();
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let (key, action, dedup) = (text("routing_key"), text("event_action"), text("dedup_key"));
    if key.len() != 32 {
        return invalid("Length of 'routing_key' is incorrect (should be 32 characters)");
    }
    if ![PLATFORM, TRIAGE].contains(&key.as_str()) || state.revoked {
        return invalid("Invalid routing key");
    }
    if dedup.len() > 255 {
        return invalid("Length of 'dedup_key' is incorrect (should be at most 255 characters)");
    }
    let alert = state.alerts.entry((key, dedup.clone())).or_insert(Alert {
        status: "none",
        triggers: 0,
        opened: 0,
        last: Value::Null,
    });
    match action.as_str() {
        "trigger" => {
            let payload = &event["payload"];
            let said = |key: &str| payload[key].as_str().is_some_and(|text| !text.is_empty());
            if !said("summary") || !said("source") || !said("severity") {
                return invalid("'payload' is missing or blank");
            }
            let severity = payload["severity"].as_str().unwrap();
            if !["critical", "error", "warning", "info"].contains(&severity) {
                return invalid("'payload.severity' is invalid");
            }
            assert!(payload["summary"].as_str().unwrap().chars().count() <= 1024);
            alert.opened += usize::from(["none", "resolved"].contains(&alert.status));
            // Another trigger leaves an alert acknowledged.
            if alert.status != "acknowledged" {
                alert.status = "triggered";
            }
            alert.triggers += 1;
            alert.last = event.clone();
        }
        "acknowledge" if alert.status != "resolved" => alert.status = "acknowledged",
        "resolve" => alert.status = "resolved",
        "acknowledge" => {}
        _ => return invalid("'event_action' is invalid"),
    }
    let body = json!({ "status": "success", "message": "Event processed", "dedup_key": dedup });
    (StatusCode::ACCEPTED, Json(body))
}
