//! An organisation's issues over some weeks, drawn event by event from a fixed seed: titles as in the sample history, sizes and
//! fields as the receivers write them.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use events::{
    EventType, FieldChange, IssueEvent, IssueState, Message, Said, Source, id, issue_ref_of_github,
    issue_ref_of_jira,
};
use serde_json::json;

use super::draw::Draw;

pub(super) const LABELS: usize = 120;
pub(super) const PEOPLE: usize = 200;
pub(super) const PRIORITIES: [&str; 5] = ["P0", "P1", "P2", "P3", "Lowest"];
/// Labels that most trackers have; the others are areas and components.
const COMMON: [&str; 8] = [
    "bug",
    "enhancement",
    "frontend",
    "documentation",
    "question",
    "good first issue",
    "security",
    "needs-info",
];

pub(super) fn label(number: usize) -> String {
    match COMMON.get(number) {
        Some(label) => (*label).to_owned(),
        None if number.is_multiple_of(3) => format!("area/{number}"),
        None => format!("component-{number}"),
    }
}

pub(super) fn person(number: usize) -> String {
    format!("colleague-{number}")
}

pub(super) fn project(number: usize) -> String {
    format!("team-{number}-platform")
}

/// What is drawn, and how far it has come.
pub(super) struct World {
    draw: Draw,
    titles: Vec<String>,
    projects: usize,
    /// Every so many events one is about a new issue.
    opens_every: u64,
    drawn: u64,
    issues: u64,
    open: Vec<Issue>,
}

struct Issue {
    project: usize,
    number: u64,
    title: String,
    labels: Vec<usize>,
    assignee: Option<usize>,
    priority: Option<&'static str>,
    due_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl World {
    /// `issues` in all among `events`.
    pub(super) fn new(titles: Vec<String>, projects: usize, events: u64, issues: u64) -> Self {
        Self {
            draw: Draw::new(0x5eed),
            titles,
            projects,
            opens_every: (events / issues).max(1),
            drawn: 0,
            issues: 0,
            open: Vec::new(),
        }
    }

    /// The next event, which happened at `now`.
    pub(super) fn next(&mut self, now: DateTime<Utc>) -> serde_json::Result<Message> {
        let opens = self.drawn.is_multiple_of(self.opens_every) || self.open.is_empty();
        self.drawn += 1;
        let draw = &mut self.draw;
        let (event_type, change, place) = if opens {
            self.issues += 1;
            let mut labels: Vec<_> = (0..draw.below(4)).map(|_| draw.skewed(LABELS)).collect();
            labels.sort_unstable();
            labels.dedup();
            let issue = Issue {
                project: draw.skewed(self.projects),
                number: self.issues,
                title: draw.one(&self.titles).clone(),
                labels,
                assignee: None,
                priority: draw.percent(40).then(|| PRIORITIES[draw.skewed(5)]),
                due_at: draw.percent(20).then(|| due(draw, now)),
                created_at: now.trunc_subsecs(0),
            };
            self.open.push(issue);
            (EventType::IssueOpened, None, self.open.len() - 1)
        } else {
            // Most of what happens is about what is new.
            let place = self.open.len() - 1 - draw.skewed(self.open.len());
            let (event_type, change) = self.open[place].goes_on(draw, now, self.opens_every);
            (event_type, change, place)
        };
        let closes = event_type == EventType::IssueClosed;
        let message = self.message(event_type, change, place, now);
        if closes {
            self.open.remove(place);
        }
        message
    }

    fn message(
        &mut self,
        event_type: EventType,
        change: Option<(&'static str, FieldChange)>,
        place: usize,
        now: DateTime<Utc>,
    ) -> serde_json::Result<Message> {
        let issue = &self.open[place];
        let (project, number) = (project(issue.project), issue.number);
        // A GUID, as providers name their deliveries.
        let [a, b] = [self.draw.next(), self.draw.next()];
        let delivery = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        let jira = issue.project.is_multiple_of(4);
        let mut event = if jira {
            let (site, key) = ("acme.atlassian.net", format!("T{}-{number}", issue.project));
            let event_type =
                if event_type == EventType::IssueOpened { EventType::IssueCreated } else { event_type };
            let (id, issue_ref) = (id::jira_event(site, Some(&delivery), b""), issue_ref_of_jira(site, &key));
            let mut event = IssueEvent::new(id, &project, Source::Jira, event_type, issue_ref);
            event.url = Said::Value(format!("https://{site}/browse/{key}"));
            event.issue_key = Some(key);
            event
        } else {
            let repo = format!("acme-platform/{project}");
            let (id, issue_ref) =
                (id::github_event("github.com", Some(&delivery), b""), issue_ref_of_github(&repo, number));
            let mut event = IssueEvent::new(id, &project, Source::Github, event_type, issue_ref);
            event.url = Said::Value(format!("https://github.com/{repo}/issues/{number}"));
            event.repo = Some(repo);
            event.issue_number = Some(number);
            event
        };
        let closed = event.event_type == EventType::IssueClosed;
        event.title = Said::Value(issue.title.clone());
        event.labels = Said::Value(issue.labels.iter().map(|&number| label(number)).collect());
        let assignee = issue.assignee.map(person);
        event.assignees = Said::Value(assignee.iter().cloned().collect());
        event.assignee = Said::of(assignee);
        event.priority = Said::of(issue.priority.map(str::to_owned));
        event.status = Said::Value(if closed { "closed" } else { "open" }.into());
        event.state = Said::Value(if closed { IssueState::Closed } else { IssueState::Open });
        event.created_at = Some(issue.created_at);
        event.updated_at = Some(now.trunc_subsecs(if jira { 3 } else { 0 }));
        event.due_at = Said::of(issue.due_at);
        event.due_milestone = Said::Null;
        event.actor = Some(person(self.draw.below(PEOPLE)));
        event.change.extend(change.map(|(field, change)| (field.to_owned(), change)));
        let hash = id::payload_hash(delivery.as_bytes());
        event.delivery_id = Some(delivery);
        event.to_message(Some(&hash))
    }
}

impl Issue {
    /// `lives`: how many events an issue has in the mean.
    fn goes_on(
        &mut self,
        draw: &mut Draw,
        now: DateTime<Utc>,
        lives: u64,
    ) -> (EventType, Option<(&'static str, FieldChange)>) {
        // A fifth of the issues stay open.
        if draw.next() % (lives * 5).max(4) < 4 {
            return (EventType::IssueClosed, None);
        }
        match draw.below(90) {
            0..40 => (EventType::IssueCommented, None),
            40..60 => {
                let number = draw.skewed(LABELS);
                let mut change = FieldChange::default();
                match self.labels.iter().position(|known| *known == number) {
                    Some(place) => change.removed.push(label(self.labels.remove(place))),
                    None if self.labels.len() > 5 => change.removed.push(label(self.labels.remove(0))),
                    None => {
                        self.labels.push(number);
                        change.added.push(label(number));
                    }
                }
                (EventType::IssueUpdated, Some(("labels", change)))
            }
            60..75 => {
                let somebody = draw.below(PEOPLE);
                let removed = self.assignee.replace(somebody).map(person).into_iter().collect();
                let change = FieldChange { added: vec![person(somebody)], removed, ..FieldChange::default() };
                (EventType::IssueUpdated, Some(("assignees", change)))
            }
            75..80 => {
                let old = Said::of(self.due_at.map(|at| json!(at)));
                self.due_at = Some(due(draw, now));
                let change =
                    FieldChange { old, new: Said::Value(json!(self.due_at)), ..FieldChange::default() };
                (EventType::IssueUpdated, Some(("due_at", change)))
            }
            80..85 => {
                let old = std::mem::take(&mut self.title);
                self.title = format!("{}, again", old.trim_end_matches(", again"));
                let change = FieldChange {
                    old: Said::Value(json!(old)),
                    new: Said::Value(json!(self.title)),
                    ..FieldChange::default()
                };
                (EventType::IssueUpdated, Some(("title", change)))
            }
            _ => {
                let old = Said::of(self.priority.map(|word| json!(word)));
                self.priority = Some(PRIORITIES[draw.skewed(5)]);
                let change =
                    FieldChange { old, new: Said::Value(json!(self.priority)), ..FieldChange::default() };
                (EventType::IssueUpdated, Some(("priority", change)))
            }
        }
    }
}

/// Some days on, at the end of a day.
fn due(draw: &mut Draw, now: DateTime<Utc>) -> DateTime<Utc> {
    let day = (now + TimeDelta::days(2 + draw.below(20) as i64)).date_naive();
    day.and_hms_opt(23, 59, 59).map_or(now, |at| at.and_utc())
}
