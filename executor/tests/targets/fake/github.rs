//! GitHub's REST API as far as it is called: assignees, labels and comments of an issue, and an App's installation.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::{delete, get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, ManualClock};
use serde_json::{Value, json};

use super::{Way, bearer};

/// The public half of `app.pem`.
const APP_KEY: &[u8] = include_bytes!("../app.pub.der");

#[derive(Clone)]
pub struct Github {
    pub way: Way,
    pub base: String,
    pub state: Arc<Mutex<Site>>,
}

pub struct Site {
    pub clock: Arc<ManualClock>,
    /// Tokens and their end.
    pub tokens: BTreeMap<String, Option<DateTime<Utc>>>,
    pub issued: usize,
    /// What a classic token may do; a fine-grained one does not tell.
    pub scopes: Option<String>,
    /// What the installation may do to issues.
    pub issues_permission: String,
    /// Who may push.
    pub pushers: Vec<String>,
    /// `owner/repo/number`.
    pub issues: BTreeMap<String, Issue>,
}

#[derive(Debug, Clone, Default)]
pub struct Issue {
    pub assignees: Vec<String>,
    pub labels: Vec<String>,
    pub comments: Vec<Comment>,
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub at: DateTime<Utc>,
    /// The login; of a bot with `[bot]`.
    pub by: &'static str,
    pub body: String,
}

/// The account of the token.
pub const USER: &str = "breakdown-bot";
/// The account of what the App writes.
pub const BOT: &str = "breakdown[bot]";
/// Everybody who has an account, with its id.
const ACCOUNTS: [(&str, u64); 3] = [(USER, 1), (BOT, 41_898_282), ("mallory", 666)];

impl Github {
    pub async fn start(clock: Arc<ManualClock>) -> Self {
        let state = Arc::new(Mutex::new(Site {
            clock,
            tokens: [("ghp_1".to_owned(), None)].into(),
            issued: 0,
            scopes: Some("notifications, repo".into()),
            issues_permission: "write".into(),
            pushers: vec!["Alice".into(), "bo".into()],
            issues: [("o/r/1".to_owned(), Issue::default())].into(),
        }));
        let router = Router::new()
            .route("/repos/{owner}/{repo}/issues/{number}/assignees", post(assign))
            .route("/repos/{owner}/{repo}/issues/{number}/labels", post(label))
            .route("/repos/{owner}/{repo}/issues/{number}/labels/{name}", delete(unlabel))
            .route("/repos/{owner}/{repo}/issues/{number}/comments", get(comments).post(comment))
            .route("/user", get(user))
            .route("/users/{login}", get(known))
            .route("/app", get(app))
            .route("/app/installations/{id}", get(installed))
            .route("/app/installations/{id}/access_tokens", post(installation))
            .with_state(state.clone());
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    pub fn issue(&self) -> Issue {
        self.state.lock().unwrap().issues["o/r/1"].clone()
    }

    /// Somebody comments.
    pub fn comment(&self, by: &'static str, body: &str) {
        let mut state = self.state.lock().unwrap();
        let comment = Comment { at: state.clock.now(), by, body: body.to_owned() };
        state.issues.get_mut("o/r/1").unwrap().comments.push(comment);
    }
}

type Shared = State<Arc<Mutex<Site>>>;
type Answer = (StatusCode, Json<Value>);
type Of = Path<(String, String, String)>;

fn problem(status: u16, message: &str) -> Answer {
    let body = json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() });
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

impl Site {
    fn refuses(&self, headers: &HeaderMap) -> Option<Answer> {
        assert_eq!(headers["x-github-api-version"], "2022-11-28");
        assert_eq!(headers["accept"], "application/vnd.github+json");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("breakdown/"));
        let holds = |until: &Option<DateTime<Utc>>| until.is_none_or(|until| until > self.clock.now());
        let known = bearer(headers).and_then(|token| self.tokens.get(token)).is_some_and(holds);
        (!known).then(|| problem(401, "Bad credentials"))
    }

    fn issue(&mut self, headers: &HeaderMap, of: &(String, String, String)) -> Result<&mut Issue, Answer> {
        if let Some(refused) = self.refuses(headers) {
            return Err(refused);
        }
        self.issues.get_mut(&format!("{}/{}/{}", of.0, of.1, of.2)).ok_or(problem(404, "Not Found"))
    }
}

fn shown(issue: &Issue, number: &str) -> Value {
    let user = |login: &String| json!({ "login": login, "id": 1, "type": "User" });
    json!({
        "number": number.parse::<u64>().unwrap(), "state": "open",
        "assignees": issue.assignees.iter().map(user).collect::<Vec<_>>(),
        "labels": issue.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
    })
}

async fn assign(State(state): Shared, Path(of): Of, headers: HeaderMap, Json(asked): Json<Value>) -> Answer {
    let mut state = state.lock().unwrap();
    let pushers = state.pushers.clone();
    let issue = match state.issue(&headers, &of) {
        Ok(issue) => issue,
        Err(refused) => return refused,
    };
    for login in asked["assignees"].as_array().unwrap() {
        // Whoever may not push is left out without a word; the others by the name that they write themselves.
        let known = pushers.iter().find(|known| known.eq_ignore_ascii_case(login.as_str().unwrap()));
        if let Some(login) = known.filter(|login| !issue.assignees.contains(login)) {
            issue.assignees.push(login.clone());
        }
    }
    (StatusCode::CREATED, Json(shown(issue, &of.2)))
}

async fn label(State(state): Shared, Path(of): Of, headers: HeaderMap, Json(asked): Json<Value>) -> Answer {
    let mut state = state.lock().unwrap();
    let issue = match state.issue(&headers, &of) {
        Ok(issue) => issue,
        Err(refused) => return refused,
    };
    for name in asked["labels"].as_array().unwrap() {
        let name = name.as_str().unwrap().to_owned();
        if !issue.labels.contains(&name) {
            issue.labels.push(name);
        }
    }
    (StatusCode::OK, Json(shown(issue, &of.2)["labels"].clone()))
}

async fn unlabel(
    State(state): Shared,
    Path((owner, repo, number, name)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let mut state = state.lock().unwrap();
    let issue = match state.issue(&headers, &(owner, repo, number.clone())) {
        Ok(issue) => issue,
        Err(refused) => return refused,
    };
    let before = issue.labels.len();
    issue.labels.retain(|label| *label != name);
    if issue.labels.len() == before {
        return problem(404, "Label does not exist");
    }
    (StatusCode::OK, Json(shown(issue, &number)["labels"].clone()))
}

async fn comments(
    State(state): Shared,
    Path(of): Of,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let mut state = state.lock().unwrap();
    let issue = match state.issue(&headers, &of) {
        Ok(issue) => issue,
        Err(refused) => return refused,
    };
    let since: DateTime<Utc> = query["since"].parse().unwrap();
    let (size, page): (usize, usize) = (query["per_page"].parse().unwrap(), query["page"].parse().unwrap());
    let all = issue.comments.iter().enumerate().filter(|(_, one)| one.at >= since);
    let page = all.skip(size * (page - 1)).take(size).map(|(n, one)| written(n, one));
    (StatusCode::OK, Json(page.collect()))
}

fn written(n: usize, Comment { at, by, body }: &Comment) -> Value {
    let id = n + 1;
    let app = by.strip_suffix("[bot]").map(|slug| json!({ "id": 1, "slug": slug, "name": "Breakdown" }));
    json!({
        "id": id, "body": body, "html_url": format!("https://github.com/o/r/issues/1#issuecomment-{id}"),
        "user": account(by), "performed_via_github_app": app, "author_association": "NONE",
        "created_at": at, "updated_at": at,
    })
}

/// A user as GitHub shows one; nobody where the account is no more.
fn account(login: &str) -> Value {
    let id = ACCOUNTS.iter().find(|(known, _)| *known == login).map(|(_, id)| id);
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    id.map_or(Value::Null, |id| json!({ "login": login, "id": id, "type": kind, "site_admin": false }))
}

async fn known(State(state): Shared, Path(login): Path<String>, headers: HeaderMap) -> Answer {
    match (state.lock().unwrap().refuses(&headers), account(&login)) {
        (Some(refused), _) => refused,
        (None, Value::Null) => problem(404, "Not Found"),
        (None, known) => (StatusCode::OK, Json(known)),
    }
}

async fn comment(State(state): Shared, Path(of): Of, headers: HeaderMap, Json(asked): Json<Value>) -> Answer {
    let mut state = state.lock().unwrap();
    let now = state.clock.now();
    let issue = match state.issue(&headers, &of) {
        Ok(issue) => issue,
        Err(refused) => return refused,
    };
    let by = if bearer(&headers).unwrap().starts_with("ghs_") { BOT } else { USER };
    issue.comments.push(Comment { at: now, by, body: asked["body"].as_str().unwrap().to_owned() });
    let n = issue.comments.len() - 1;
    (StatusCode::CREATED, Json(written(n, &issue.comments[n])))
}

async fn installation(State(state): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let mut state = state.lock().unwrap();
    let now = state.clock.now();
    if !proves(bearer(&headers).unwrap_or_default(), now) {
        return problem(401, "A JSON web token could not be decoded");
    }
    if id != "42" {
        return problem(404, "Not Found");
    }
    state.issued += 1;
    let (token, until) = (format!("ghs_{}", state.issued), now + TimeDelta::hours(1));
    state.tokens.insert(token.clone(), Some(until));
    let body = json!({ "token": token, "expires_at": until, "permissions": { "issues": "write" } });
    (StatusCode::CREATED, Json(body))
}

async fn user(State(state): Shared, headers: HeaderMap) -> (HeaderMap, Answer) {
    let state = state.lock().unwrap();
    let mut head = HeaderMap::new();
    if let Some(refused) = state.refuses(&headers) {
        return (head, refused);
    }
    if let Some(scopes) = &state.scopes {
        head.insert("x-oauth-scopes", scopes.parse().unwrap());
    }
    if bearer(&headers).unwrap().starts_with("ghs_") {
        return (head, problem(403, "Resource not accessible by integration"));
    }
    (head, (StatusCode::OK, Json(account(USER))))
}

async fn app(State(state): Shared, headers: HeaderMap) -> Answer {
    let now = state.lock().unwrap().clock.now();
    match proves(bearer(&headers).unwrap_or_default(), now) {
        true => (StatusCode::OK, Json(json!({ "id": 1, "slug": "breakdown", "name": "Breakdown" }))),
        false => problem(401, "A JSON web token could not be decoded"),
    }
}

async fn installed(State(state): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let state = state.lock().unwrap();
    match proves(bearer(&headers).unwrap_or_default(), state.clock.now()) {
        true if id == "42" => {
            let permissions = json!({ "issues": state.issues_permission, "metadata": "read" });
            let body = json!({
                "id": 42, "account": { "login": "acme", "type": "Organization" }, "permissions": permissions,
                "repository_selection": "selected", "suspended_at": null,
            });
            (StatusCode::OK, Json(body))
        }
        true => problem(404, "Not Found"),
        false => problem(401, "A JSON web token could not be decoded"),
    }
}

/// Whether a JWT is the App's, and holds.
fn proves(jwt: &str, now: DateTime<Utc>) -> bool {
    let Some((head, said)) = signed(jwt) else { return false };
    let (iat, exp) = (said["iat"].as_i64().unwrap(), said["exp"].as_i64().unwrap());
    let holds = iat <= now.timestamp() && now.timestamp() < exp && exp - iat <= 600;
    holds && head["alg"] == "RS256" && said["iss"] == "Iv1.app"
}

/// Head and claims of a JWT that is signed with `app.pem`.
pub fn signed(jwt: &str) -> Option<(Value, Value)> {
    let [header, claims, signature] = jwt.split('.').collect::<Vec<_>>()[..] else { return None };
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.mapping;
    let scheme = rustls::SignatureScheme::RSA_PKCS1_SHA256;
    let (_, rs256) = algorithms.iter().find(|(of, _)| *of == scheme).unwrap();
    let signed = format!("{header}.{claims}");
    rs256[0].verify_signature(APP_KEY, signed.as_bytes(), &decoded(signature)).ok()?;
    Some((json(header), json(claims)))
}
