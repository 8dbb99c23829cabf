//! What is said of which issue: one letter is one thing that happened in a tracker, and so one payload.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};
use webhooks::{Projects, Provider};

/// The last is in Jira, the others are on GitHub.
pub const PROJECTS: usize = 3;
/// Issues of one project.
const ISSUES: usize = 2;
const JIRA_HOST: &str = "sim.example.net";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Opened,
    Commented,
    /// Somebody says in a comment that it is taken care of.
    Answered,
    Labelled,
    Assigned,
    Dated,
    Closed,
    Reopened,
    /// A milestone's date moved; of no issue by itself.
    MilestoneMoved,
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub number: usize,
    pub project: usize,
    pub kind: Kind,
    pub updated_at: DateTime<Utc>,
    /// GitHub's name of the event; empty for Jira.
    pub event: &'static str,
    pub body: Vec<u8>,
}

impl Letter {
    pub fn provider(&self) -> Provider {
        provider(self.project)
    }

    /// The id of its delivery, the first or (from 1) one under which it is sent anew.
    pub fn delivery_id(&self, anew: u32) -> String {
        format!("{:08x}-0000-4000-8000-{anew:012x}", self.number)
    }

    /// The id of the event that it becomes.
    pub fn event_id(&self, anew: u32) -> String {
        let id = self.delivery_id(anew);
        match self.provider() {
            Provider::Github => events::id::github_event("github.com", Some(&id), &self.body),
            _ => events::id::jira_event(JIRA_HOST, Some(&id), &self.body),
        }
    }
}

fn provider(project: usize) -> Provider {
    if project + 1 < PROJECTS { Provider::Github } else { Provider::Jira }
}

pub fn project_id(project: usize) -> String {
    format!("p{project}")
}

pub fn projects() -> Projects {
    let mut projects = Projects::new("elsewhere");
    for project in 0..PROJECTS {
        match provider(project) {
            Provider::Github => projects.map_repository(&format!("sim/r{project}"), project_id(project)),
            _ => projects.map_jira("SIM", project_id(project)),
        };
    }
    projects
}

/// What the trackers know.
#[derive(Debug, Clone)]
pub struct Trackers {
    /// Whether anybody answers.
    answers: bool,
    /// The project whose first issue all is about, where it is one.
    only: Option<usize>,
    issues: Vec<Vec<Issue>>,
    /// By project: when its milestone is due.
    milestones: Vec<NaiveDate>,
}

#[derive(Debug, Clone, Default)]
struct Issue {
    created_at: Option<DateTime<Utc>>,
    open: bool,
    urgent: bool,
    dated: bool,
    due: Option<NaiveDate>,
    assignee: Option<&'static str>,
}

impl Trackers {
    pub fn new(now: DateTime<Utc>, answers: bool, only: Option<usize>) -> Self {
        let milestones = vec![now.date_naive(); PROJECTS];
        Self { answers, only, issues: vec![vec![Issue::default(); ISSUES]; PROJECTS], milestones }
    }

    /// Something happens.
    pub fn happen(&mut self, rng: &mut Rng, number: usize, now: DateTime<Utc>) -> Letter {
        let (project, index) = match self.only {
            Some(project) => (project, 0),
            None => (rng.usize(..PROJECTS), rng.usize(..ISSUES)),
        };
        let github = provider(project) == Provider::Github;
        let issue = &mut self.issues[project][index];
        // Of a hundred, up to where it is this.
        let [commented, answered, labelled, assigned, dated, moved] =
            if self.answers { [24, 34, 54, 62, 74, 80] } else { [30, 30, 52, 62, 75, 82] };
        let kind = match (issue.created_at, issue.open, rng.u32(..100)) {
            (None, ..) => Kind::Opened,
            (_, _, chance) if chance < commented => Kind::Commented,
            (_, false, _) => Kind::Reopened,
            (_, _, chance) if chance < answered => Kind::Answered,
            (_, _, chance) if chance < labelled => Kind::Labelled,
            (_, _, chance) if chance < assigned => Kind::Assigned,
            (_, _, chance) if chance < dated => Kind::Dated,
            (_, _, chance) if chance < moved && github => Kind::MilestoneMoved,
            _ => Kind::Closed,
        };
        let day = now.date_naive() + TimeDelta::days(rng.i64(-1..4));
        match kind {
            Kind::Opened => (issue.created_at, issue.open) = (Some(now), true),
            Kind::Labelled => issue.urgent = !issue.urgent,
            Kind::Assigned => issue.assignee = *rng.choice(&[None, Some("maria"), Some("zoe")]).unwrap(),
            Kind::Dated if github => issue.dated = !issue.dated,
            Kind::Dated => issue.due = (rng.u32(..3) > 0).then_some(day),
            Kind::Closed => issue.open = false,
            Kind::Reopened => issue.open = true,
            Kind::MilestoneMoved => self.milestones[project] = day,
            Kind::Commented | Kind::Answered => {}
        }
        let issue = issue.clone();
        let says =
            Says { number, project, index: index + 1, kind, issue, milestone: self.milestones[project], now };
        let (event, payload) = if github { says.github() } else { ("", says.jira()) };
        let body = serde_json::to_vec(&payload).unwrap();
        Letter { number, project, kind, updated_at: now, event, body }
    }
}

struct Says {
    number: usize,
    project: usize,
    index: usize,
    kind: Kind,
    issue: Issue,
    milestone: NaiveDate,
    now: DateTime<Utc>,
}

impl Says {
    fn comment(&self) -> &'static str {
        if self.kind == Kind::Answered { "/ack" } else { "Any news?" }
    }

    fn github(&self) -> (&'static str, Value) {
        let seconds = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let Self { number, issue, now, .. } = self;
        let repository = format!("sim/r{}", self.project);
        let page = format!("https://github.com/{repository}");
        let milestone = json!({
            "number": 1, "html_url": format!("{page}/milestone/1"), "updated_at": seconds(*now),
            "due_on": format!("{}T07:00:00Z", self.milestone),
        });
        let repository = json!({"full_name": repository, "html_url": page});
        if self.kind == Kind::MilestoneMoved {
            let changes = json!({"due_on": {"from": "2026-03-01T07:00:00Z"}});
            return (
                "milestone",
                json!({"action": "edited", "milestone": milestone, "changes": changes, "repository": repository}),
            );
        }
        let user = |login: &&str| json!({"login": login});
        let assignee = issue.assignee.as_ref().map(user);
        let mut payload = json!({
            "action": match self.kind {
                Kind::Opened => "opened",
                Kind::Commented | Kind::Answered => "created",
                Kind::Labelled if issue.urgent => "labeled",
                Kind::Labelled => "unlabeled",
                Kind::Assigned if issue.assignee.is_some() => "assigned",
                Kind::Assigned => "unassigned",
                Kind::Dated if issue.dated => "milestoned",
                Kind::Dated | Kind::MilestoneMoved => "demilestoned",
                Kind::Closed => "closed",
                Kind::Reopened => "reopened",
            },
            "issue": {
                "number": self.index, "title": format!("Letter {number:04}"),
                "html_url": format!("{page}/issues/{}", self.index),
                "state": if issue.open { "open" } else { "closed" },
                "labels": if issue.urgent { json!([{"name": "urgent"}]) } else { json!([]) },
                "assignee": assignee, "assignees": assignee.iter().collect::<Vec<_>>(),
                "milestone": if issue.dated { milestone.clone() } else { Value::Null },
                "created_at": issue.created_at.map(seconds), "updated_at": seconds(*now),
            },
            "repository": repository, "sender": {"login": "sim"},
        });
        match self.kind {
            Kind::Commented | Kind::Answered => {
                payload["comment"] = json!({"id": number, "body": self.comment(), "created_at": seconds(*now), "author_association": "MEMBER"});
                return ("issue_comment", payload);
            }
            Kind::Labelled => payload["label"] = json!({"name": "urgent"}),
            Kind::Assigned => payload["assignee"] = json!({"login": issue.assignee.unwrap_or("maria")}),
            Kind::Dated => payload["milestone"] = milestone,
            _ => {}
        }
        ("issues", payload)
    }

    fn jira(&self) -> Value {
        let instant = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
        let Self { number, issue, now, .. } = self;
        let changed = |field: &str, from: Value, to: Value| json!({"field": field, "fieldId": field, "from": from, "fromString": from, "to": to, "toString": to});
        let (event, kind, items) = match self.kind {
            Kind::Opened => ("jira:issue_created", "issue_created", json!([])),
            Kind::Commented | Kind::Answered => ("comment_created", "issue_commented", json!([])),
            Kind::Labelled => {
                let (from, to) = if issue.urgent { ("", "urgent") } else { ("urgent", "") };
                ("jira:issue_updated", "issue_updated", json!([changed("labels", from.into(), to.into())]))
            }
            Kind::Assigned => {
                let item = changed("assignee", Value::Null, issue.assignee.into());
                ("jira:issue_updated", "issue_assigned", json!([item]))
            }
            Kind::Dated | Kind::MilestoneMoved => {
                let due = issue.due.map(|due| due.to_string());
                ("jira:issue_updated", "issue_updated", json!([changed("duedate", Value::Null, due.into())]))
            }
            Kind::Closed => {
                let items = [
                    changed("status", "To Do".into(), "Done".into()),
                    changed("resolution", Value::Null, "Done".into()),
                ];
                ("jira:issue_updated", "issue_generic", json!(items))
            }
            Kind::Reopened => {
                let items = [
                    changed("status", "Done".into(), "To Do".into()),
                    changed("resolution", "Done".into(), Value::Null),
                ];
                ("jira:issue_updated", "issue_reopened", json!(items))
            }
        };
        let mut payload = json!({
            "timestamp": now.timestamp_millis(), "webhookEvent": event, "issue_event_type_name": kind,
            "user": {"accountId": "sim"},
            "issue": {
                "self": format!("https://{JIRA_HOST}/rest/api/2/issue/{}", self.index),
                "key": format!("SIM-{}", self.index),
                "fields": {
                    "summary": format!("Letter {number:04}"),
                    "labels": if issue.urgent { json!(["urgent"]) } else { json!([]) },
                    "assignee": issue.assignee.map(|name| json!({"accountId": name})),
                    "duedate": issue.due.map(|due| due.to_string()),
                    "created": issue.created_at.map(instant), "updated": instant(*now),
                    "status": {
                        "name": if issue.open { "To Do" } else { "Done" },
                        "statusCategory": {"key": if issue.open { "new" } else { "done" }},
                    },
                },
            },
            "changelog": {"id": number.to_string(), "items": items},
        });
        if matches!(self.kind, Kind::Commented | Kind::Answered) {
            payload["comment"] = json!({"id": number.to_string(), "body": self.comment(), "created": instant(*now), "updated": instant(*now)});
        }
        payload
    }
}
