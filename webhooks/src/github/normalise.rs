//! What GitHub's payloads mean.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use events::{
    EventType, IssueEvent, IssueState, Said, Source, clean_text, id, is_repository, issue_ref_of_github,
    issue_ref_of_milestone,
};

use super::{
    absence::means_none,
    fields::{self, Known},
    payload::{Comment, Issue, Milestone, Payload, User},
    priority,
};
use crate::{
    Provider,
    answers::{Aside, told},
    clean::{self, Changes},
    delivery::{Delivery, Reading, Unreadable},
    instant,
    json::Field,
};

/// `issues`.
pub(super) fn issue(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Reading, Unreadable> {
    let event_type = match payload.action.text() {
        Some("opened") => EventType::IssueOpened,
        Some("closed") => EventType::IssueClosed,
        Some("reopened") => EventType::IssueReopened,
        Some("deleted" | "transferred") => EventType::IssueDeleted,
        _ => EventType::IssueUpdated,
    };
    of_issue(delivery, payload, event_type, issue_changes)
}

/// `issue_comment`.
pub(super) fn comment(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Reading, Unreadable> {
    let event_type = match payload.action.text() {
        Some("created") => EventType::IssueCommented,
        _ => EventType::IssueUpdated,
    };
    // `changes` of an edited comment are about the comment.
    of_issue(delivery, payload, event_type, |_, _, _, _| Changes::default())
}

/// `milestone`: only a due date that moved concerns issues.
pub(super) fn milestone(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Reading, Unreadable> {
    let moved = payload.changes.get().and_then(|changes| changes.due_on.get());
    let (Some("edited"), Some(moved)) = (payload.action.text(), moved) else {
        return Ok(Reading::Ignored("milestone_due_date_not_moved"));
    };
    let place = Place::of(delivery, payload)?;
    let milestone = payload.milestone.get().ok_or(Unreadable::because("there is no milestone"))?;
    let number = milestone.number.get().ok_or(Unreadable::because("milestone.number is missing"))?;
    let issue_ref = issue_ref_of_milestone(&place.repository, *number);
    let mut event = place.event(delivery, payload, EventType::MilestoneUpdated, issue_ref);
    event.url = url(&milestone.html_url);
    event.updated_at = milestone.updated_at.text().and_then(instant::timestamp);
    event.due_at = milestone_due(milestone, place.zone);
    event.due_milestone = Said::Value(*number);
    let mut changes = Changes::default();
    changes.moved("due_at", words(date(&moved.from, place.zone)), words(event.due_at.clone()));
    event.change = changes.into_map();
    Ok(Reading::Event(Box::new(event.into())))
}

/// Where an event belongs.
struct Place {
    repository: String,
    site: String,
    project: String,
    zone: Tz,
}

impl Place {
    fn of(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Self, Unreadable> {
        let repository = payload.repository.get();
        let name = repository
            .and_then(|repository| repository.full_name.text())
            .filter(|name| is_repository(name))
            .ok_or(Unreadable::because("repository.full_name is missing or is not owner/repo"))?;
        let url = repository.and_then(|repository| repository.html_url.text());
        let project = delivery.config.projects.of_repository(name);
        Ok(Self {
            repository: name.to_owned(),
            site: url.and_then(clean::host).unwrap_or_else(|| "github.com".to_owned()),
            project: project.to_owned(),
            zone: delivery.config.projects.time_zone(project),
        })
    }

    fn event(
        &self,
        delivery: &Delivery<'_>,
        payload: &Payload<'_>,
        event_type: EventType,
        issue_ref: String,
    ) -> IssueEvent {
        let event_id = id::github_event(&self.site, delivery.id, delivery.body);
        let mut event = IssueEvent::new(event_id, &self.project, Source::Github, event_type, issue_ref);
        event.repo = Some(self.repository.clone());
        event.actor = payload.sender.get().and_then(login);
        event.by_us = delivery.config.accounts.have(Provider::Github, event.actor.as_deref());
        event.delivery_id = delivery.id.map(str::to_owned);
        event
    }
}

fn of_issue(
    delivery: &Delivery<'_>,
    payload: &Payload<'_>,
    event_type: EventType,
    changes: impl FnOnce(&Payload<'_>, &Issue<'_>, &IssueEvent, Tz) -> Changes,
) -> Result<Reading, Unreadable> {
    let issue = payload.issue.get().ok_or(Unreadable::because("there is no issue"))?;
    if issue.pull_request.get().is_some() {
        return Ok(Reading::Ignored("pull_request"));
    }
    let place = Place::of(delivery, payload)?;
    let number = issue.number.get().ok_or(Unreadable::because("issue.number is missing"))?;
    let issue_ref = issue_ref_of_github(&place.repository, *number);
    let mut event = place.event(delivery, payload, event_type, issue_ref);
    event.issue_number = Some(*number);
    event.title = clean::map(issue.title.0.clone(), |title| clean_text(&title));
    event.url = url(&issue.html_url);
    event.labels = match issue.labels.is_said() {
        true => Said::Value(labels(issue).map(clean::name).collect()),
        false => Said::Nothing,
    };
    (event.assignee, event.assignees) = assignees(issue);
    event.priority = match fields::priority(payload, issue).or_else(|| priority::of_labels(labels(issue))) {
        Some(word) => Said::Value(clean::name(word)),
        None if issue.labels.is_said() && means_none(payload, issue, Known::Priority) => Said::Null,
        None => Said::Nothing,
    };
    event.state = state(issue, &event.event_type);
    event.status = match issue.state_reason.text().or_else(|| issue.state.text()) {
        Some(word) => Said::Value(clean::name(word)),
        None => Said::Nothing,
    };
    event.created_at = issue.created_at.text().and_then(instant::timestamp);
    event.updated_at = issue.updated_at.text().and_then(instant::timestamp);
    (event.due_at, event.due_milestone) = due(payload, issue, place.zone);
    event.change = changes(payload, issue, &event, place.zone).into_map();
    let aside = Aside {
        comment: payload.comment.get().and_then(|comment| comment.body.text()),
        by_stranger: payload.comment.get().is_some_and(|comment| !may_answer(comment, &event)),
        moved_on: event.event_type == EventType::IssueClosed,
        by_machine: payload.sender.get().is_some_and(|sender| sender.kind.text() == Some("Bot")),
    };
    Ok(Reading::Event(Box::new(told(event, aside, &delivery.config.answers))))
}

/// Whether who wrote a comment may answer for the team: in a public repository everybody may comment.
fn may_answer(comment: &Comment<'_>, event: &IssueEvent) -> bool {
    let is_assigned = |actor: &String| match &event.assignees {
        Said::Value(assignees) => assignees.contains(actor),
        _ => false,
    };
    matches!(comment.author_association.text(), Some("OWNER" | "MEMBER" | "COLLABORATOR"))
        || event.actor.as_ref().is_some_and(is_assigned)
}

fn labels<'a>(issue: &'a Issue<'_>) -> impl Iterator<Item = &'a str> {
    issue.labels.members().iter().filter_map(|label| label.name.text())
}

fn login(user: &User<'_>) -> Option<String> {
    user.login.text().map(|login| clean::name(login).to_lowercase())
}

fn url(url: &Field<std::borrow::Cow<'_, str>>) -> Said<String> {
    url.text().and_then(clean::web_url).map_or(Said::Nothing, Said::Value)
}

/// The first assignee and all of them.
fn assignees(issue: &Issue<'_>) -> (Said<String>, Said<Vec<String>>) {
    let all: Vec<String> = match issue.assignees.is_said() {
        true => issue.assignees.members().iter().filter_map(login).collect(),
        false if issue.assignee.is_said() => issue.assignee.get().and_then(login).into_iter().collect(),
        false => return (Said::Nothing, Said::Nothing),
    };
    (Said::of(all.first().cloned()), Said::Value(all))
}

fn state(issue: &Issue<'_>, event_type: &EventType) -> Said<IssueState> {
    match (issue.state.text(), event_type) {
        (Some("open"), _) => Said::Value(IssueState::Open),
        (Some("closed"), _) => Said::Value(IssueState::Closed),
        (_, EventType::IssueOpened | EventType::IssueReopened) => Said::Value(IssueState::Open),
        (_, EventType::IssueClosed) => Said::Value(IssueState::Closed),
        _ => Said::Nothing,
    }
}

/// When the issue is due, and the milestone that this follows: a date of its own comes first. A milestone without a due
/// date is followed too, since it may get one.
fn due(payload: &Payload<'_>, issue: &Issue<'_>, zone: Tz) -> (Said<DateTime<Utc>>, Said<u64>) {
    if let Some(date) = fields::due_date(payload, issue) {
        return (Said::Value(instant::end_of_day(date, zone)), Said::Null);
    }
    let none = if means_none(payload, issue, Known::DueDate) { Said::Null } else { Said::Nothing };
    match &issue.milestone.0 {
        Said::Nothing => (Said::Nothing, Said::Nothing),
        Said::Null => (none, Said::Null),
        Said::Value(milestone) if was_removed(payload, milestone) => (none, Said::Null),
        Said::Value(milestone) => {
            let due = milestone_due(milestone, zone);
            (
                if due == Said::Null { none } else { due },
                milestone.number.get().map_or(Said::Nothing, |n| Said::Value(*n)),
            )
        }
    }
}

/// Some payloads of `demilestoned` still show the milestone that was removed.
fn was_removed(payload: &Payload<'_>, milestone: &Milestone<'_>) -> bool {
    let removed = payload.milestone.get().and_then(|removed| removed.number.get());
    payload.action.text() == Some("demilestoned") && removed.is_some() && removed == milestone.number.get()
}

fn milestone_due(milestone: &Milestone<'_>, zone: Tz) -> Said<DateTime<Utc>> {
    date(&milestone.due_on, zone)
}

fn date(field: &Field<std::borrow::Cow<'_, str>>, zone: Tz) -> Said<DateTime<Utc>> {
    match &field.0 {
        Said::Null => Said::Null,
        Said::Nothing => Said::Nothing,
        Said::Value(text) => instant::date_of(text)
            .map_or(Said::Nothing, |date: NaiveDate| Said::Value(instant::end_of_day(date, zone))),
    }
}

/// An instant as it stands in a change.
fn words(at: Said<DateTime<Utc>>) -> Said<String> {
    clean::map(at, |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// What an `issues` event says that it changed.
fn issue_changes(payload: &Payload<'_>, issue: &Issue<'_>, event: &IssueEvent, zone: Tz) -> Changes {
    let mut changes = Changes::default();
    let label =
        || payload.label.get().and_then(|label| label.name.text()).map(clean::name).into_iter().collect();
    let assignee = || payload.assignee.get().and_then(login).into_iter().collect();
    let milestone = payload.milestone.get();
    match payload.action.text() {
        Some("labeled") => changes.members("labels", label(), vec![]),
        Some("unlabeled") => changes.members("labels", vec![], label()),
        Some("assigned") => changes.members("assignees", assignee(), vec![]),
        Some("unassigned") => changes.members("assignees", vec![], assignee()),
        Some("milestoned") => {
            changes.moved("due_milestone", Said::Nothing, event.due_milestone.clone());
            changes.moved("due_at", Said::Nothing, words(event.due_at.clone()));
        }
        Some("demilestoned") => {
            let number = milestone.and_then(|milestone| milestone.number.get());
            let due = milestone.map_or(Said::Nothing, |milestone| milestone_due(milestone, zone));
            changes.moved(
                "due_milestone",
                number.map_or(Said::Nothing, |n| Said::Value(*n)),
                event.due_milestone.clone(),
            );
            changes.moved("due_at", words(due), words(event.due_at.clone()));
        }
        Some("closed") => changes.moved("state", Said::Value("open"), Said::Value("closed")),
        Some("reopened") => changes.moved("state", Said::Value("closed"), Said::Value("open")),
        Some("edited") => {
            let edited = payload.changes.get();
            if let Some(title) =
                edited.and_then(|edited| edited.title.get()).and_then(|title| title.from.text())
            {
                let new = clean::map(issue.title.0.clone(), |title| clean_text(&title));
                changes.moved("title", Said::Value(clean_text(title)), new);
            }
        }
        Some("field_added" | "field_removed") => field_change(payload, event, zone, &mut changes),
        _ => {}
    }
    changes
}

/// What became of an issue field that is read. A cleared field's old value is the event's; a set one's is in `changes`.
fn field_change(payload: &Payload<'_>, event: &IssueEvent, zone: Tz, changes: &mut Changes) {
    let known = payload.issue_field.get().and_then(|field| field.name.text()).and_then(Known::of);
    let old = match payload.action.text() {
        Some("field_removed") => payload.issue_field_value.get(),
        _ => payload
            .changes
            .get()
            .and_then(|changes| changes.issue_field_value.get())
            .and_then(|change| change.from.get()),
    };
    let old = old.and_then(fields::text);
    match known {
        Some(Known::Priority) => {
            let old = old.map_or(Said::Nothing, |word| Said::Value(clean::name(word)));
            changes.moved("priority", old, event.priority.clone());
        }
        Some(Known::DueDate) => {
            let old = old.and_then(instant::date_of).map(|date| instant::end_of_day(date, zone));
            changes.moved(
                "due_at",
                words(old.map_or(Said::Nothing, Said::Value)),
                words(event.due_at.clone()),
            );
        }
        None => {}
    }
}
