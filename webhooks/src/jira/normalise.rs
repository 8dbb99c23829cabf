//! What Jira's payloads mean.

use chrono::{DateTime, Utc};
use events::{
    EventType, IssueEvent, IssueState, Said, Source, clean_text, id, is_issue_key, issue_ref_of_jira,
};

use super::{
    changelog,
    payload::{Comment, Fields, Issue, Payload, Status, User},
};
use crate::{
    Provider,
    answers::{Aside, told},
    clean::{self, Changes},
    delivery::{Delivery, Reading, Unreadable},
    instant,
    json::Field,
};

/// `jira:issue_created`, `_updated` and `_deleted`.
pub(super) fn issue(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Reading, Unreadable> {
    let issue = payload.issue.get().ok_or(Unreadable::because("there is no issue"))?;
    let event_type = match payload.webhook_event.text() {
        Some("jira:issue_created") => EventType::IssueCreated,
        Some("jira:issue_deleted") => EventType::IssueDeleted,
        _ => update_type(payload, issue),
    };
    of_issue(delivery, payload, issue, event_type)
}

/// `comment_created`, `_updated` and `_deleted`.
pub(super) fn comment(delivery: &Delivery<'_>, payload: &Payload<'_>) -> Result<Reading, Unreadable> {
    // Data Center sends these without the issue, and beside each a `jira:issue_updated` that has it.
    let Some(issue) = payload.issue.get() else { return Ok(Reading::Ignored("comment_without_issue")) };
    let event_type = match payload.webhook_event.text() {
        Some("comment_created") => EventType::IssueCommented,
        _ => EventType::IssueUpdated,
    };
    of_issue(delivery, payload, issue, event_type)
}

/// What kind of update it was. The changelog gives old and new status by name only, and names are the site's own: that an
/// issue was closed is told by the category it is in now, that it was reopened by its resolution, which was cleared.
fn update_type(payload: &Payload<'_>, issue: &Issue<'_>) -> EventType {
    let name = payload.issue_event_type_name.text();
    if changelog::item(payload, "status").is_some() {
        let state = issue.fields.get().map_or(Said::Nothing, |fields| state(&fields.status));
        let unresolved = changelog::item(payload, "resolution")
            .is_some_and(|item| item.to.text().is_none_or(str::is_empty));
        return match state {
            Said::Value(IssueState::Closed) => EventType::IssueClosed,
            Said::Value(IssueState::Open) if unresolved || name == Some("issue_reopened") => {
                EventType::IssueReopened
            }
            _ => EventType::IssueUpdated,
        };
    }
    match (name, payload.comment.get()) {
        (Some("issue_commented"), _) => EventType::IssueCommented,
        // Old servers do not say the kind of update; a comment that was never edited is new.
        (None, Some(comment)) if payload.changelog.get().is_none() && is_new(comment) => {
            EventType::IssueCommented
        }
        _ => EventType::IssueUpdated,
    }
}

fn is_new(comment: &Comment<'_>) -> bool {
    comment.updated.text().is_none_or(|updated| comment.created.text() == Some(updated))
}

fn of_issue(
    delivery: &Delivery<'_>,
    payload: &Payload<'_>,
    issue: &Issue<'_>,
    event_type: EventType,
) -> Result<Reading, Unreadable> {
    let key = issue.key.text().filter(|key| is_issue_key(key));
    let key = key.ok_or(Unreadable::because("issue.key is missing or is no issue key"))?;
    let address =
        issue.address.text().or_else(|| payload.comment.get().and_then(|comment| comment.address.text()));
    let host = address
        .and_then(clean::host)
        .ok_or(Unreadable::because("issue.self is missing or is no web address"))?;
    let project = delivery.config.projects.of_jira_issue(key);
    let zone = delivery.config.projects.time_zone(project);

    let event_id = id::jira_event(&host, delivery.id, delivery.body);
    let updated_at = updated_at(payload, issue, &event_type);
    let mut event =
        IssueEvent::new(event_id, project, Source::Jira, event_type, issue_ref_of_jira(&host, key));
    event.issue_key = Some(key.to_owned());
    event.url = address.and_then(|address| browse_url(address, key)).map_or(Said::Nothing, Said::Value);
    event.updated_at = updated_at;
    event.actor = doer(payload).and_then(person);
    event.by_us = delivery.config.accounts.have(Provider::Jira, event.actor.as_deref());
    event.delivery_id = delivery.id.map(str::to_owned);
    if let Some(fields) = issue.fields.get() {
        event.title = clean::map(fields.summary.0.clone(), |summary| clean_text(&summary));
        event.labels = match fields.labels.is_said() {
            true => Said::Value(fields.labels.members().iter().map(|label| clean::name(label)).collect()),
            false => Said::Nothing,
        };
        (event.assignee, event.assignees) = assignee(fields);
        event.priority = said(&fields.priority, |priority| priority.name.text());
        event.status = said(&fields.status, |status| status.name.text());
        event.state = state(&fields.status);
        event.created_at = fields.created.text().and_then(instant::timestamp);
        event.due_at = match &fields.duedate.0 {
            Said::Nothing => Said::Nothing,
            Said::Null => Said::Null,
            Said::Value(text) => instant::date_of(text)
                .map_or(Said::Nothing, |date| Said::Value(instant::end_of_day(date, zone))),
        };
    }
    let mut changes = changelog::changes(payload, zone, event.assignee.value().map(String::as_str));
    state_change(&event.event_type, &mut changes);
    event.change = changes.into_map();
    let account = doer(payload).and_then(|user| user.account_type.text());
    let aside = Aside {
        comment: payload.comment.get().and_then(|comment| comment.body.text()),
        // Who may not write in a project cannot comment there, but for the customers of a service desk.
        by_stranger: account == Some("customer"),
        moved_on: moved_on(payload, issue),
        by_machine: account == Some("app"),
    };
    Ok(Reading::Event(Box::new(told(event, aside, &delivery.config.answers))))
}

/// Where a person reads the issue: the site's own address, also below a path, is what comes before `/rest/`.
fn browse_url(address: &str, key: &str) -> Option<String> {
    let (site, _) = address.split_once("/rest/")?;
    clean::web_url(&format!("{site}/browse/{key}"))
}

/// When the issue was last changed. A comment's payload may not say; then the comment does, or the delivery. A deletion is
/// later than the issue's last change.
fn updated_at(payload: &Payload<'_>, issue: &Issue<'_>, event_type: &EventType) -> Option<DateTime<Utc>> {
    let at = |text: &Field<std::borrow::Cow<'_, str>>| text.text().and_then(instant::timestamp);
    let issue_at = issue.fields.get().and_then(|fields| at(&fields.updated));
    let sent_at = payload.timestamp.get().and_then(|millis| instant::epoch_millis(*millis));
    if *event_type == EventType::IssueDeleted {
        return issue_at.max(sent_at);
    }
    let deleted = payload.webhook_event.text() == Some("comment_deleted");
    let comment = payload.comment.get().filter(|_| !deleted);
    issue_at
        .or_else(|| comment.and_then(|comment| at(&comment.updated).or_else(|| at(&comment.created))))
        .or(sent_at)
}

fn person(user: &User<'_>) -> Option<String> {
    let id = user.account_id.text().or_else(|| user.name.text()).or_else(|| user.key.text());
    id.filter(|id| !id.is_empty()).map(clean::name)
}

/// Who did it.
fn doer<'p>(payload: &'p Payload<'_>) -> Option<&'p User<'p>> {
    let comment = payload.comment.get();
    let user = payload.user.get();
    let author = || comment.and_then(|comment| comment.update_author.get().or_else(|| comment.author.get()));
    user.or_else(author)
}

/// Whether the issue got another status, which is one of work that has begun or is done. What goes back to the beginning does not move on.
fn moved_on(payload: &Payload<'_>, issue: &Issue<'_>) -> bool {
    let status = issue.fields.get().and_then(|fields| fields.status.get());
    let category = status.and_then(|status| status.category.get()).and_then(|category| category.key.text());
    changelog::item(payload, "status").is_some() && matches!(category, Some("indeterminate" | "done"))
}

fn assignee(fields: &Fields<'_>) -> (Said<String>, Said<Vec<String>>) {
    match &fields.assignee.0 {
        Said::Nothing => (Said::Nothing, Said::Nothing),
        Said::Null => (Said::Null, Said::Value(vec![])),
        // Someone is assigned who cannot be named: what is known stays.
        Said::Value(user) => person(user).map_or((Said::Nothing, Said::Nothing), |person| {
            (Said::Value(person.clone()), Said::Value(vec![person]))
        }),
    }
}

fn said<'a, T>(field: &'a Field<T>, name: impl FnOnce(&'a T) -> Option<&'a str>) -> Said<String> {
    match &field.0 {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::Value(value) => name(value).map_or(Said::Nothing, |name| Said::Value(clean::name(name))),
    }
}

fn state(status: &Field<Status<'_>>) -> Said<IssueState> {
    match status.get().and_then(|status| status.category.get()).and_then(|category| category.key.text()) {
        Some("done") => Said::Value(IssueState::Closed),
        Some("new" | "indeterminate" | "undefined") => Said::Value(IssueState::Open),
        _ => Said::Nothing,
    }
}

fn state_change(event_type: &EventType, changes: &mut Changes) {
    match event_type {
        EventType::IssueClosed => changes.moved("state", Said::Nothing, Said::Value("closed")),
        EventType::IssueReopened => changes.moved("state", Said::Value("closed"), Said::Value("open")),
        _ => {}
    }
}
