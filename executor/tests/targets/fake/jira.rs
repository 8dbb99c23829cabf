//! Jira's REST API as far as it is called: v3 of Cloud, v2 of Data Center.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::Way;

#[derive(Clone)]
pub struct Jira {
    pub way: Way,
    pub base: String,
    pub state: Arc<Mutex<Site>>,
}

pub struct Site {
    cloud: bool,
    pub authorization: String,
    pub users: Vec<String>,
    /// Permissions that our account has in no project.
    pub denied: Vec<String>,
    pub issues: BTreeMap<String, Issue>,
}

#[derive(Debug, Clone, Default)]
pub struct Issue {
    pub assignee: Option<String>,
    pub labels: Vec<String>,
    pub status: String,
    pub comments: Vec<Comment>,
    pub transitions_made: usize,
}

#[derive(Debug, Clone)]
pub struct Comment {
    /// The account; nobody where nobody signed in.
    pub by: Option<&'static str>,
    pub body: Value,
}

/// The account whose credential we have.
pub const US: &str = "5b-bot";

/// A user as Jira shows one: by accountId in Cloud; by key and name on Data Center, where a user may have been renamed.
fn account(cloud: bool, account: &str) -> Value {
    let mut user = json!({ "displayName": "Breakdown", "active": true, "timeZone": "Europe/Berlin" });
    match cloud {
        true => user["accountId"] = json!(account),
        false => {
            user["key"] = json!(format!("JIRAUSER-{account}"));
            user["name"] = json!(account);
        }
    }
    user
}

impl Jira {
    pub async fn start(cloud: bool) -> Self {
        let basic = BASE64_STANDARD.encode("bot@acme.test:atl-1");
        let authorization = if cloud { format!("Basic {basic}") } else { "Bearer pat-1".into() };
        let issue = Issue { status: "To Do".into(), ..Issue::default() };
        let state = Arc::new(Mutex::new(Site {
            cloud,
            authorization,
            denied: Vec::new(),
            users: vec!["5b10a2844c20165700ede21g".into(), "bo".into()],
            issues: [("OPS-7".to_owned(), issue)].into(),
        }));
        let issue = "/rest/api/{version}/issue/{key}";
        let router = Router::new()
            .route(issue, get(show).put(edit))
            .route(&format!("{issue}/assignee"), put(assign))
            .route(&format!("{issue}/comment"), get(comments).post(comment))
            .route(&format!("{issue}/transitions"), get(transitions).post(transition))
            .route("/rest/api/{version}/myself", get(myself))
            .route("/rest/api/{version}/mypermissions", get(permissions))
            .with_state(state.clone());
        let way = Way::default();
        let base = way.serve(router).await;
        Self { way, base, state }
    }

    pub fn issue(&self) -> Issue {
        self.state.lock().unwrap().issues["OPS-7"].clone()
    }

    /// Somebody comments.
    pub fn comment(&self, by: Option<&'static str>, body: Value) {
        let mut state = self.state.lock().unwrap();
        state.issues.get_mut("OPS-7").unwrap().comments.push(Comment { by, body });
    }

    pub fn host(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }
}

type Shared = State<Arc<Mutex<Site>>>;
type Of = Path<(String, String)>;

fn problem(status: u16, message: &str) -> Response {
    let body = json!({ "errorMessages": [message], "errors": {} });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

impl Site {
    fn issue(
        &mut self,
        headers: &HeaderMap,
        (version, key): &(String, String),
    ) -> Result<&mut Issue, Box<Response>> {
        assert_eq!(version, if self.cloud { "3" } else { "2" });
        if headers.get("authorization").is_none_or(|said| *said != self.authorization) {
            return Err(problem(401, "Client must be authenticated to access this resource.").into());
        }
        let missing = "Issue does not exist or you do not have permission to see it.";
        self.issues.get_mut(key).ok_or_else(|| problem(404, missing).into())
    }
}

impl Site {
    fn refuses(&self, version: &str, headers: &HeaderMap) -> Option<Response> {
        assert_eq!(version, if self.cloud { "3" } else { "2" });
        let known = headers.get("authorization").is_some_and(|said| *said == self.authorization);
        (!known).then(|| problem(401, "Client must be authenticated to access this resource."))
    }
}

async fn myself(State(state): Shared, Path(version): Path<String>, headers: HeaderMap) -> Response {
    let state = state.lock().unwrap();
    if let Some(refused) = state.refuses(&version, &headers) {
        return refused;
    }
    Json(account(state.cloud, US)).into_response()
}

async fn permissions(
    State(state): Shared,
    Path(version): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let state = state.lock().unwrap();
    if let Some(refused) = state.refuses(&version, &headers) {
        return refused;
    }
    let of = |key: &str| {
        let have = !state.denied.iter().any(|denied| denied == key);
        (key.to_owned(), json!({ "key": key, "type": "PROJECT", "havePermission": have }))
    };
    let permissions: serde_json::Map<_, _> = query["permissions"].split(',').map(of).collect();
    Json(json!({ "permissions": permissions })).into_response()
}

macro_rules! issue {
    ($state:ident, $headers:ident, $of:ident) => {
        match $state.issue(&$headers, &$of) {
            Ok(issue) => issue,
            Err(refused) => return *refused,
        }
    };
}

async fn show(State(state): Shared, Path(of): Of, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    let issue = issue!(state, headers, of);
    Json(json!({ "key": of.1, "fields": { "status": { "name": issue.status } } })).into_response()
}

async fn edit(State(state): Shared, Path(of): Of, headers: HeaderMap, Json(asked): Json<Value>) -> Response {
    let mut state = state.lock().unwrap();
    let issue = issue!(state, headers, of);
    for change in asked["update"]["labels"].as_array().unwrap() {
        if let Some(label) = change["add"].as_str().filter(|label| !issue.labels.iter().any(|l| l == label)) {
            issue.labels.push(label.to_owned());
        }
        if let Some(label) = change["remove"].as_str() {
            issue.labels.retain(|known| known != label);
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn assign(
    State(state): Shared,
    Path(of): Of,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    let mut state = state.lock().unwrap();
    let (cloud, users) = (state.cloud, state.users.clone());
    let issue = issue!(state, headers, of);
    let account = asked[if cloud { "accountId" } else { "name" }].as_str().unwrap_or_default();
    if !users.iter().any(|known| known == account) {
        return problem(400, "User cannot be assigned issues.");
    }
    issue.assignee = Some(account.to_owned());
    StatusCode::NO_CONTENT.into_response()
}

async fn comments(
    State(state): Shared,
    Path(of): Of,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut state = state.lock().unwrap();
    let cloud = state.cloud;
    let issue = issue!(state, headers, of);
    assert_eq!(query["orderBy"], "-created");
    let (from, size): (usize, usize) =
        (query["startAt"].parse().unwrap(), query["maxResults"].parse().unwrap());
    let total = issue.comments.len();
    let all = issue.comments.iter().enumerate().rev().map(|(n, one)| written(cloud, n, one));
    let page: Vec<Value> = all.skip(from).take(size).collect();
    Json(json!({ "startAt": from, "maxResults": size, "total": total, "comments": page })).into_response()
}

fn written(cloud: bool, n: usize, Comment { by, body }: &Comment) -> Value {
    let mut shown = json!({ "id": n.to_string(), "body": body });
    if let Some(by) = by {
        shown["author"] = account(cloud, by);
        shown["updateAuthor"] = account(cloud, by);
    }
    shown
}

async fn comment(
    State(state): Shared,
    Path(of): Of,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    let mut state = state.lock().unwrap();
    let cloud = state.cloud;
    let issue = issue!(state, headers, of);
    let body = &asked["body"];
    let fits = if cloud { body["type"] == "doc" && body["version"] == 1 } else { body.is_string() };
    if !fits {
        return problem(400, "Comment body is not valid!");
    }
    issue.comments.push(Comment { by: Some(US), body: body.clone() });
    let n = issue.comments.len() - 1;
    (StatusCode::CREATED, Json(written(cloud, n, &issue.comments[n]))).into_response()
}

/// Transition, its name, the status it leads from, and to.
const WORKFLOW: [(&str, &str, &str, &str); 3] = [
    ("11", "Start progress", "To Do", "In Progress"),
    ("21", "Close", "In Progress", "Done"),
    ("31", "Reopen", "Done", "To Do"),
];

async fn transitions(State(state): Shared, Path(of): Of, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    let issue = issue!(state, headers, of);
    let open = WORKFLOW.iter().filter(|(_, _, from, _)| *from == issue.status);
    let shown = open.map(|(id, name, _, to)| json!({ "id": id, "name": name, "to": { "name": to } }));
    Json(json!({ "transitions": shown.collect::<Vec<_>>() })).into_response()
}

async fn transition(
    State(state): Shared,
    Path(of): Of,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    let mut state = state.lock().unwrap();
    let issue = issue!(state, headers, of);
    let found =
        WORKFLOW.iter().find(|(id, _, from, _)| asked["transition"]["id"] == *id && *from == issue.status);
    let Some((.., to)) = found else { return problem(400, "It is not possible to make this transition.") };
    issue.status = (*to).to_owned();
    issue.transitions_made += 1;
    StatusCode::NO_CONTENT.into_response()
}
