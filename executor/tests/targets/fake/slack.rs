//! Slack's Web API as far as it is called: `chat.postMessage`, `conversations.history`, `conversations.open`; an
//! incoming webhook.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{Way, bearer};

#[derive(Clone)]
pub struct Slack {
    pub way: Way,
    pub base: String,
    pub state: Arc<Mutex<Workspace>>,
}

pub struct Workspace {
    pub token: String,
    pub scopes: String,
    /// What its clock shows, in seconds since 1970.
    pub now: i64,
    pub channels: Vec<String>,
    /// Member id to the conversation with them.
    pub members: HashMap<String, String>,
    /// Channel, ts, the message as it was sent.
    pub messages: Vec<(String, String, Value)>,
    pub hooked: Vec<Value>,
}

/// The user that our bot is, and the bot.
const BOT: (&str, &str) = ("U0BOT", "B0BOT");

impl Slack {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Workspace {
            token: "xoxb-1".into(),
            scopes: "chat:write,im:write,channels:history,im:history".into(),
            now: 1_772_445_600,
            channels: vec!["C0TRIAGE".into(), "C0ALL".into()],
            members: [("U0ALICE", "D0ALICE"), ("U0BO", "D0BO")].map(|(m, d)| (m.into(), d.into())).into(),
            messages: Vec::new(),
            hooked: Vec::new(),
        }));
        let router = Router::new()
            .route("/api/chat.postMessage", post(post_message))
            .route("/api/auth.test", post(test))
            .route("/api/conversations.history", get(history))
            .route("/api/conversations.open", post(open))
            .route("/services/T0/B0/secret", post(hook))
            .with_state(state.clone());
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    /// Somebody else, or some other app, posts in a channel.
    pub fn post(&self, channel: &str, message: Value) {
        let mut state = self.state.lock().unwrap();
        let ts = format!("{}.{:06}", state.now, state.messages.len() + 1);
        state.messages.push((channel.to_owned(), ts, message));
    }

    /// Channel and text of every message.
    pub fn texts(&self) -> Vec<(String, String)> {
        let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
        self.state.lock().unwrap().messages.iter().map(|(channel, _, m)| (channel.clone(), text(m))).collect()
    }
}

type Shared = State<Arc<Mutex<Workspace>>>;

fn no(error: &str) -> Json<Value> {
    Json(json!({ "ok": false, "error": error }))
}

impl Workspace {
    fn refuses(&self, headers: &HeaderMap) -> Option<Json<Value>> {
        match bearer(headers) {
            None => Some(no("not_authed")),
            Some(token) if token != self.token => Some(no("token_revoked")),
            Some(_) => None,
        }
    }

    fn has(&self, channel: &str) -> bool {
        self.channels.iter().any(|c| c == channel) || self.members.values().any(|c| c == channel)
    }
}

async fn test(State(state): Shared, headers: HeaderMap) -> (HeaderMap, Json<Value>) {
    let state = state.lock().unwrap();
    let mut head = HeaderMap::new();
    if let Some(no) = state.refuses(&headers) {
        return (head, no);
    }
    head.insert("x-oauth-scopes", state.scopes.parse().unwrap());
    let who = json!({
        "ok": true, "url": "https://acme.slack.com/", "team": "Acme", "user": "breakdown",
        "team_id": "T0ACME", "user_id": BOT.0, "bot_id": BOT.1, "is_enterprise_install": false,
    });
    (head, Json(who))
}

async fn post_message(State(state): Shared, headers: HeaderMap, Json(message): Json<Value>) -> Json<Value> {
    let mut state = state.lock().unwrap();
    if let Some(no) = state.refuses(&headers) {
        return no;
    }
    let channel = message["channel"].as_str().unwrap_or_default().to_owned();
    if !state.has(&channel) {
        return no("channel_not_found");
    }
    if message["blocks"][0]["text"]["text"].as_str().is_none_or(|text| text.chars().count() > 3000) {
        return no("invalid_blocks");
    }
    let ts = format!("{}.{:06}", state.now, state.messages.len() + 1);
    let mut posted = message.clone();
    (posted["user"], posted["bot_id"], posted["app_id"]) = (json!(BOT.0), json!(BOT.1), json!("A0BREAKDOWN"));
    state.messages.push((channel.clone(), ts.clone(), posted));
    Json(
        json!({ "ok": true, "channel": channel, "ts": ts, "message": { "type": "message", "ts": ts, "text": message["text"] } }),
    )
}

async fn history(
    State(state): Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let state = state.lock().unwrap();
    if let Some(no) = state.refuses(&headers) {
        return no;
    }
    if !state.has(&query["channel"]) {
        return no("channel_not_found");
    }
    let oldest: f64 = query["oldest"].parse().unwrap();
    let mine: Vec<Value> = state
        .messages
        .iter()
        .rev()
        .filter(|(channel, ts, _)| *channel == query["channel"] && ts.parse::<f64>().unwrap() >= oldest)
        .map(|(_, ts, message)| {
            let mut shown = json!({ "type": "message", "ts": ts, "text": message["text"] });
            for of in ["user", "bot_id", "app_id"] {
                if !message[of].is_null() {
                    shown[of] = message[of].clone();
                }
            }
            if query.get("include_all_metadata").is_some_and(|all| all == "true") {
                shown["metadata"] = message["metadata"].clone();
            }
            shown
        })
        .collect();
    // "Fewer than the requested number of items may be returned": two.
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let more = mine.len() > from + 2;
    let page: Vec<Value> = mine.into_iter().skip(from).take(2).collect();
    let cursor = if more { (from + 2).to_string() } else { String::new() };
    Json(
        json!({ "ok": true, "messages": page, "has_more": more, "response_metadata": { "next_cursor": cursor } }),
    )
}

async fn open(State(state): Shared, headers: HeaderMap, Json(asked): Json<Value>) -> Json<Value> {
    let state = state.lock().unwrap();
    if let Some(no) = state.refuses(&headers) {
        return no;
    }
    match state.members.get(asked["users"].as_str().unwrap_or_default()) {
        Some(channel) => {
            Json(json!({ "ok": true, "no_op": true, "already_open": true, "channel": { "id": channel } }))
        }
        None => no("user_not_found"),
    }
}

async fn hook(State(state): Shared, Json(message): Json<Value>) -> (StatusCode, &'static str) {
    state.lock().unwrap().hooked.push(message);
    (StatusCode::OK, "ok")
}
