//! Somebody who takes webhooks by the Standard Webhooks specification and verifies them by its words.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::Way;

pub const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const NEXT_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";

#[derive(Clone)]
pub struct Receiver {
    pub way: Way,
    pub base: String,
    pub state: Arc<Mutex<Inbox>>,
}

pub struct Inbox {
    pub key: &'static str,
    /// By webhook-id: whoever has seen one takes it once.
    pub taken: BTreeMap<String, Value>,
}

impl Receiver {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Inbox { key: KEY, taken: BTreeMap::new() }));
        let router = Router::new().route("/hook", post(take)).with_state(state.clone());
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    pub fn taken(&self) -> BTreeMap<String, Value> {
        self.state.lock().unwrap().taken.clone()
    }
}

async fn take(State(state): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut state = state.lock().unwrap();
    let header = |name: &str| headers[name].to_str().unwrap();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let key = BASE64_STANDARD.decode(state.key.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat());
    let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    if !header("webhook-signature").split(' ').any(|one| one == signature) {
        return StatusCode::UNAUTHORIZED;
    }
    let id = id.to_owned();
    state.taken.insert(id, serde_json::from_slice(&body).unwrap());
    StatusCode::NO_CONTENT
}
