//! Jira's search, of Cloud (`/rest/api/3/search/jql`, a token a page) and of Data Center (`/rest/api/2/search`, counted), over issues
//! that change. It understands the queries that are asked, and refuses all others.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Clock;
use serde_json::{Value, json};

use super::world::TokioClock;

pub(super) const TOKEN: &str = "jira-token";
pub(super) const EMAIL: &str = "bot@example.com";

/// What happens to the next request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Says(u16, Vec<(&'static str, &'static str)>, &'static str),
    Hangs,
    None,
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) key: String,
    pub(super) summary: String,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
}

struct Inside {
    issues: Vec<Issue>,
    faults: VecDeque<Fault>,
    asked: Vec<Value>,
    /// Keys of projects that the account sees.
    projects: Vec<String>,
    /// The most issues in a page.
    page: usize,
    /// These change just before the page of this number is answered.
    moves: VecDeque<(usize, Vec<String>)>,
    pages: usize,
    /// By how much its clock is ahead of ours.
    ahead: TimeDelta,
    /// Whether answers have a date.
    dated: bool,
}

#[derive(Clone)]
pub(super) struct FakeJira {
    inside: Arc<Mutex<Inside>>,
    clock: Arc<TokioClock>,
    cloud: bool,
}

impl FakeJira {
    pub(super) fn new(clock: Arc<TokioClock>, cloud: bool) -> Self {
        let inside = Inside {
            issues: vec![],
            faults: VecDeque::new(),
            asked: vec![],
            projects: vec!["OPS".into(), "WEB".into()],
            page: 100,
            moves: VecDeque::new(),
            pages: 0,
            ahead: TimeDelta::zero(),
            dated: true,
        };
        Self { inside: Arc::new(Mutex::new(inside)), clock, cloud }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.inside().ahead
    }

    pub(super) fn is_ahead(&self, by: TimeDelta) {
        self.inside().ahead = by;
    }

    pub(super) fn says_the_time(&self, dated: bool) {
        self.inside().dated = dated;
    }

    pub(super) fn gives_pages_of(&self, issues: usize) {
        self.inside().page = issues;
    }

    /// Somebody creates an issue.
    pub(super) fn creates(&self, key: &str) -> Issue {
        let now = self.now();
        let issue = Issue { key: key.into(), summary: format!("about {key}"), created: now, updated: now };
        self.inside().issues.push(issue.clone());
        issue
    }

    /// Somebody changes an issue.
    pub(super) fn changes(&self, key: &str, summary: &str) -> Issue {
        let now = self.now();
        let mut inside = self.inside();
        let issue = inside.issues.iter_mut().find(|issue| issue.key == key).unwrap();
        (issue.summary, issue.updated) = (summary.into(), now);
        issue.clone()
    }

    /// Something happens to an issue that is no field of it.
    pub(super) fn touches(&self, key: &str) -> Issue {
        let summary = self.inside().issues.iter().find(|issue| issue.key == key).unwrap().summary.clone();
        self.changes(key, &summary)
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.inside().faults.push_back(fault);
    }

    /// Before the page of this number (from 1) is answered, these issues change.
    pub(super) fn changes_before_page(&self, page: usize, keys: &[&str]) {
        self.inside().moves.push_back((page, keys.iter().map(|key| (*key).to_owned()).collect()));
    }

    /// What was asked since the last call.
    pub(super) fn asked(&self) -> Vec<Value> {
        self.inside().pages = 0;
        std::mem::take(&mut self.inside().asked)
    }

    pub(super) fn router(&self) -> Router {
        Router::new().fallback(dated).with_state(self.clone())
    }

    /// An issue as the API and webhooks show it.
    pub(super) fn shown(issue: &Issue) -> Value {
        let at = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string();
        json!({
            "id": "10002",
            "key": issue.key,
            "self": format!("https://example.atlassian.net/rest/api/3/issue/{}", issue.key.len()),
            "fields": {
                "summary": issue.summary,
                "labels": ["p0"],
                "assignee": null,
                "priority": {"name": "Highest"},
                "status": {"name": "To Do", "statusCategory": {"key": "new"}},
                "duedate": null,
                "created": at(issue.created),
                "updated": at(issue.updated),
            },
        })
    }

    /// The issues that a query finds, in its order.
    fn find(&self, jql: &str) -> Result<Vec<Issue>, Box<Response>> {
        let refused = |why: &str| Err(Box::new(says(400, &[], &json!({"errorMessages": [why]}).to_string())));
        let Some(clauses) = jql.strip_suffix(" ORDER BY updated ASC, key ASC") else {
            return refused("unknown order");
        };
        let now = self.now();
        // "Whole minutes": what is relative is cut to the minute.
        let minutes = |text: &str| -> TimeDelta {
            TimeDelta::minutes(text.strip_prefix('-').unwrap().strip_suffix('m').unwrap().parse().unwrap())
        };
        let inside = self.inside();
        let mut found: Vec<Issue> = inside.issues.clone();
        for clause in clauses.split(" AND ") {
            if let Some(list) = clause.strip_prefix("project in (\"") {
                let keys: Vec<_> = list.strip_suffix("\")").unwrap().split("\", \"").collect();
                if let Some(key) = keys.iter().find(|key| !inside.projects.iter().any(|it| it == *key)) {
                    return refused(&format!("The value '{key}' does not exist for the field 'project'."));
                }
                found.retain(|issue| keys.iter().any(|key| issue.key.starts_with(&format!("{key}-"))));
            } else if let Some(text) = clause.strip_prefix("updated >= ") {
                found.retain(|issue| issue.updated >= now - minutes(text));
            } else if let Some(text) = clause.strip_prefix("updated <= ") {
                found.retain(|issue| issue.updated <= now - minutes(text));
            } else {
                return refused("unknown clause");
            }
        }
        found.sort_by(|a, b| (a.updated, &a.key).cmp(&(b.updated, &b.key)));
        Ok(found)
    }

    fn search(&self, asked: &Value) -> Response {
        let moves = {
            let mut inside = self.inside();
            inside.pages += 1;
            let number = inside.pages;
            let is_now = inside.moves.front().is_some_and(|(page, _)| *page == number);
            if is_now { inside.moves.pop_front() } else { None }
        };
        for key in moves.into_iter().flat_map(|(_, keys)| keys) {
            self.changes(&key, "changed meanwhile");
        }
        let jql = asked["jql"].as_str().unwrap();
        let found = match self.find(jql) {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let most = (asked["maxResults"].as_u64().unwrap() as usize).min(self.inside().page);
        let page = |issues: &[Issue]| -> Vec<Value> { issues.iter().map(Self::shown).collect() };
        if !self.cloud {
            let start = asked["startAt"].as_u64().unwrap() as usize;
            let rest = found.get(start..).unwrap_or_default();
            let issues = page(&rest[..rest.len().min(most)]);
            let body = json!({"startAt": start, "maxResults": most, "total": found.len(), "issues": issues});
            return says(200, &[], &body.to_string());
        }
        // Where the last page ended, and for which query.
        let after = asked["nextPageToken"].as_str().map(|token| {
            let (query, last) = token.split_once('|').unwrap();
            assert_eq!(query, jql, "a token is of one query");
            last.to_owned()
        });
        let name = |issue: &Issue| format!("{:020} {}", issue.updated.timestamp_millis(), issue.key);
        let rest: Vec<_> =
            found.into_iter().filter(|it| after.as_ref().is_none_or(|after| name(it) > *after)).collect();
        let issues = &rest[..rest.len().min(most)];
        let mut body = json!({"issues": page(issues), "isLast": rest.len() <= most});
        if rest.len() > most {
            body["nextPageToken"] = format!("{jql}|{}", name(issues.last().unwrap())).into();
        }
        says(200, &[], &body.to_string())
    }
}

async fn dated(State(jira): State<FakeJira>, request: Request) -> Response {
    let mut answer = answer(&jira, request).await;
    let dated = jira.inside().dated;
    if dated {
        let date = jira.now().to_rfc2822().replace("+0000", "GMT");
        answer.headers_mut().insert("date", date.parse().unwrap());
    }
    answer
}

async fn answer(jira: &FakeJira, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let asked: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap_or_default();
    let fault = {
        let mut inside = jira.inside();
        inside.asked.push(asked.clone());
        inside.faults.pop_front()
    };
    match fault {
        Some(Fault::Says(status, headers, body)) => return says(status, &headers, body),
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::None) | None => {}
    }
    let (path, login) = match jira.cloud {
        true => ("/rest/api/3/search/jql", format!("Basic {}", STANDARD.encode(format!("{EMAIL}:{TOKEN}")))),
        false => ("/rest/api/2/search", format!("Bearer {TOKEN}")),
    };
    let given = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(&login) {
        return says(401, &[], "");
    }
    if (head.method.as_str(), head.uri.path()) != ("POST", path) {
        return says(404, &[], "{}");
    }
    assert_eq!(head.headers["content-type"], "application/json");
    jira.search(&asked)
}

fn says(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Body::from(body.to_owned())).unwrap()
}
