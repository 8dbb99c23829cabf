//! What the pager shows: one alert an issue, triggered, acknowledged and resolved as PagerDuty does it, and what it should be.
//!
//! A trigger opens an alert where none is open, and adds to the one that is; one that is acknowledged stays so. What is resolved is
//! neither acknowledged nor resolved again. Nothing tells one call for an issue from another, so the executor has to see to it that what
//! is about an earlier page does not befall a later one.

use std::collections::{BTreeMap, BTreeSet};

use events::{Action, ActionKind, Earlier, Outcome};
use executor::Attempt;

use super::{Executing, Finding, finding};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Resolved,
    Triggered,
    Acknowledged,
}

#[derive(Default)]
struct Alert {
    status: Status,
    /// The pages that made or joined it, ever.
    called: BTreeSet<String>,
    /// Somebody called for what had ended already, as who has lost his partition may; or the pager took a page and refused it then.
    /// What is here since then is nobody's doing.
    disturbed: bool,
}

#[derive(Default)]
pub(super) struct Paging {
    /// By issue.
    alerts: BTreeMap<String, Alert>,
}

/// An issue's pages, each with the place of its record, and what follows them up.
struct Story<'e> {
    pages: Vec<(u64, &'e Action)>,
    /// By page and kind.
    followers: BTreeMap<(String, ActionKind), &'e Action>,
}

impl<'e> Story<'e> {
    fn of(issue: &str, executing: &'e Executing) -> Self {
        let actions = executing.actions.values().map(|(_, action)| action);
        let of_issue = actions.filter(|action| action.issue_ref.as_deref() == Some(issue));
        let (mut pages, mut followers) = (Vec::new(), BTreeMap::new());
        for action in of_issue {
            match Earlier::of(action) {
                Some(of) if of.action == ActionKind::EscalateOwner => {
                    followers.insert((of.action_id, action.action.clone()), action);
                }
                None if action.action == ActionKind::EscalateOwner => {
                    pages.push((executing.place(&action.event_id), action));
                }
                _ => {}
            }
        }
        pages.sort_by_key(|(place, _)| *place);
        Self { pages, followers }
    }

    fn follower(&self, page: &str, kind: ActionKind) -> Option<&'e Action> {
        self.followers.get(&(page.to_owned(), kind)).copied()
    }

    fn is_taken_back(&self, page: &Action) -> bool {
        self.follower(&page.event_id, ActionKind::Resolve).is_some()
    }
}

impl Paging {
    /// The pager did what it was called for.
    fn done(&mut self, attempt: &Attempt, executing: &Executing, found: &mut Vec<Finding>) {
        let action = &*attempt.action;
        let Some(issue) = &action.issue_ref else { return };
        let alert = self.alerts.entry(issue.clone()).or_default();
        alert.disturbed |= !executing.is_asked_for(attempt);
        if let Some(of) = Earlier::of(action)
            && !alert.disturbed
        {
            let (story, place) = (Story::of(issue, executing), executing.place(&action.event_id));
            // Of one that was killed in its call, and then ended without one, nobody knows that it called people.
            let is_known = |page: &Action| {
                executing.last(&page.event_id).is_none_or(|outcome| outcome.attempts != Some(0))
            };
            let overtakes = |(at, page): &&(u64, &Action)| {
                page.event_id != of.action_id
                    && *at > place
                    && alert.called.contains(&page.event_id)
                    && !story.is_taken_back(page)
                    && is_known(page)
                    && !executing.is_forgotten(&page.event_id)
            };
            if let Some((_, page)) = story.pages.iter().find(overtakes) {
                let (id, kind) = (&action.event_id, &action.action);
                let text = format!("{id} ({kind}) is about {}, and befalls {}", of.action_id, page.event_id);
                found.push(finding("overtaking-effect", text));
            }
        }
        alert.status = match (&action.action, alert.status) {
            (ActionKind::Acknowledge, Status::Triggered) => Status::Acknowledged,
            (ActionKind::Resolve, _) => Status::Resolved,
            (ActionKind::EscalateOwner, Status::Resolved) => Status::Triggered,
            (_, status) => status,
        };
        if action.action == ActionKind::EscalateOwner {
            alert.called.insert(action.event_id.clone());
        }
    }

    /// Everything is at rest, and what failed was redriven, or fails the alert of its issue here.
    pub(super) fn settled(&self, executing: &Executing, found: &mut Vec<Finding>) {
        for (issue, alert) in self.alerts.iter().filter(|(_, alert)| !alert.disturbed) {
            if let Some((expected, why)) = expected(&Story::of(issue, executing), executing)
                && !expected.contains(&alert.status)
            {
                let text = format!("the alert of {issue} is {:?}, and {why}", alert.status);
                found.push(finding("other-alert", text));
            }
        }
    }
}

/// What an issue's alert may be in the end; none where that is not to be told from the log.
fn expected(story: &Story<'_>, executing: &Executing) -> Option<(&'static [Status], &'static str)> {
    let mut all = story.pages.iter().map(|(_, page)| *page).chain(story.followers.values().copied());
    let is_plain = |action: &Action| {
        let ended = |outcome: &Outcome| outcome.ack || outcome.error.as_deref() == Some(Outcome::WITHDRAWN);
        !executing.is_forgotten(&action.event_id) && executing.last(&action.event_id).is_some_and(ended)
    };
    if !all.all(is_plain) {
        return None;
    }
    if story.pages.iter().all(|(_, page)| story.is_taken_back(page)) {
        return Some((&[Status::Resolved], "all of its pages were taken back"));
    }
    let (_, last) = story.pages.last().filter(|(_, page)| !story.is_taken_back(page))?;
    // Who redrives a page wants people called, whoever answered before.
    let redriven = story.pages.iter().any(|(_, page)| executing.rounds_of(&page.event_id) > 1);
    match story.follower(&last.event_id, ActionKind::Acknowledge) {
        Some(_) if !redriven => Some((&[Status::Acknowledged], "somebody has answered its last page")),
        _ => Some((&[Status::Triggered, Status::Acknowledged], "its last page is open")),
    }
}

impl super::Witness {
    /// The pager did what it was called for.
    pub fn paged(&mut self, attempt: &Attempt) {
        let mut found = Vec::new();
        self.paging.done(attempt, &self.executing, &mut found);
        self.findings.append(&mut found);
        self.meet(match attempt.action.action {
            ActionKind::Acknowledge => "alert acknowledged",
            ActionKind::Resolve => "alert resolved",
            _ => "alert",
        });
    }

    /// The pager refused for good what it may have done before.
    pub fn refused_page(&mut self, attempt: &Attempt) {
        let Action { event_id, issue_ref, .. } = &*attempt.action;
        let alert = issue_ref.as_ref().and_then(|issue| self.paging.alerts.get_mut(issue));
        if let Some(alert) = alert.filter(|alert| alert.called.contains(event_id)) {
            alert.disturbed = true;
        }
    }
}
