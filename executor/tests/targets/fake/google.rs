//! Google: the Calendar API as calendar-mock has it, behind tokens that hold for an hour, and where an account gets them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use calendar_mock::CalendarMock;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, ManualClock};
use serde_json::{Value, json};

use super::{Way, bearer};

/// A token that holds for ever.
pub const TOKEN: &str = "ya29.1";
/// Of Alice, Bo, and their team.
pub const CALENDARS: [&str; 3] = ["alice@acme.test", "bo@acme.test", "c_triage@group.calendar.google.com"];

#[derive(Clone)]
pub struct Google {
    pub way: Way,
    pub base: String,
    pub root: String,
    pub mock: CalendarMock,
    pub state: Arc<Mutex<Tokens>>,
}

pub struct Tokens {
    clock: Arc<ManualClock>,
    root: String,
    /// Each with its end.
    pub live: BTreeMap<String, DateTime<Utc>>,
    /// The claims of those who got one.
    pub issued: Vec<Value>,
}

impl Google {
    pub async fn start(clock: Arc<ManualClock>) -> Self {
        let mock = CalendarMock::new();
        CALENDARS.iter().for_each(|id| mock.add_calendar(id, Vec::new()));
        let live = [(TOKEN.to_owned(), DateTime::<Utc>::MAX_UTC)].into();
        let state = Arc::new(Mutex::new(Tokens { clock, root: String::new(), live, issued: Vec::new() }));
        let router = Router::new()
            .route("/token", post(token))
            .with_state(state.clone())
            .merge(calendar_mock::router(mock.clone()))
            .layer(middleware::from_fn_with_state(state.clone(), authorized));
        let way = Way::default();
        let root = way.serve(router).await;
        state.lock().unwrap().root.clone_from(&root);
        Self { way, base: format!("{root}/calendar/v3"), root, mock, state }
    }

    /// The key of a service account, as Google gives it.
    pub fn key_file(&self) -> Value {
        json!({
            "type": "service_account", "project_id": "acme", "private_key_id": "k1", "private_key": include_str!("../app.pem"),
            "client_email": "breakdown@acme.iam.gserviceaccount.com", "client_id": "1",
            "token_uri": format!("{}/token", self.root),
        })
    }

    /// All events of the calendar that were not cancelled.
    pub fn booked(&self) -> Vec<Value> {
        let events = self.mock.events("primary").into_iter().filter(|event| !event.is_cancelled());
        events.map(|event| event.to_json()).collect()
    }
}

type Shared = State<Arc<Mutex<Tokens>>>;

async fn authorized(State(state): Shared, request: Request, next: Next) -> Response {
    let needed = request.uri().path().starts_with("/calendar/v3");
    let holds = {
        let state = state.lock().unwrap();
        let until = bearer(request.headers()).and_then(|token| state.live.get(token));
        until.is_some_and(|until| *until > state.clock.now())
    };
    if !needed || holds {
        return next.run(request).await;
    }
    let message = "Invalid Credentials";
    let one = json!({ "domain": "global", "reason": "authError", "message": message,
                      "locationType": "header", "location": "Authorization" });
    let body = json!({ "error": { "errors": [one], "code": 401, "message": message } });
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

async fn token(State(state): Shared, form: String) -> (StatusCode, Json<Value>) {
    let mut state = state.lock().unwrap();
    let now = state.clock.now();
    let jwt = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let (head, claims) = match super::github::signed(jwt) {
        Some(signed) => signed,
        None => {
            let body = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
            return (StatusCode::BAD_REQUEST, Json(body));
        }
    };
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!(iat <= now.timestamp() && now.timestamp() < exp && exp - iat <= 3600);
    assert_eq!((&head["alg"], &head["kid"]), (&json!("RS256"), &json!("k1")));
    assert_eq!(claims["aud"], format!("{}/token", state.root));
    assert_eq!(claims["iss"], "breakdown@acme.iam.gserviceaccount.com");
    assert!(claims["scope"].as_str().unwrap().contains("/auth/calendar.events"));
    state.issued.push(claims);
    let token = format!("ya29.s{}", state.issued.len());
    state.live.insert(token.clone(), now + TimeDelta::hours(1));
    (StatusCode::OK, Json(json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" })))
}
