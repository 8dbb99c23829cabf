//! An event of the topic `issues`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::{EventType, IssueEvent, IssueState, Said};

use smol_str::SmolStr;

use super::{Decision, Note, Work};
use crate::{
    Entry, Key, Milestone, Ruleset, Seen, State,
    state::{SEEN_AFTER, Standing, as_of, merge, move_due},
};

pub(super) fn decide(
    state: &State,
    event: &IssueEvent,
    payload_hash: Option<&str>,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
) -> Decision {
    let mut work = Work::begin(state, ruleset, now);
    take(&mut work, event, payload_hash);
    work.decision
}

pub(super) fn take<'a>(work: &mut Work<'a>, event: &'a IssueEvent, payload_hash: Option<&str>) {
    // A record's header can hold anything; a hash is short.
    let payload_hash = payload_hash.filter(|hash| hash.len() <= 128);
    if let Some(first) = work.state.seen(&event.project_id, &event.event_id, payload_hash, work.now) {
        return work.note(Note::Duplicate { of: first.to_owned() });
    }
    let seen = Seen { at: work.now, payload_hash: payload_hash.map(SmolStr::from) };
    work.set(Key::seen(&event.project_id, &event.event_id), Entry::Seen(seen));
    if event.event_type == EventType::MilestoneUpdated {
        decide_milestone(work, event, payload_hash);
    } else {
        decide_issue(work, event, payload_hash);
    }
}

fn decide_issue<'a>(work: &mut Work<'a>, event: &'a IssueEvent, payload_hash: Option<&str>) {
    let mut subject = work.subject(&event.project_id, &event.issue_ref);
    if subject.issue.deleted {
        return work.note(Note::Deleted { issue_ref: event.issue_ref.clone() });
    }
    // Forgotten after seven days, but this is the very event that the issue's facts are from.
    if subject.issue.latest.holds(&event.event_id, payload_hash) {
        return work.note(Note::Duplicate { of: event.event_id.clone() });
    }
    let milestone = event.due_milestone.value().and_then(|&number| {
        let repo = event.issue_ref.strip_prefix("github:")?.rsplit_once('#')?.0;
        work.state.milestone(&event.project_id, &events::issue_ref_of_milestone(repo, number))
    });
    let mut standing = merge(&mut subject.issue, event, payload_hash, milestone, work.now);
    if event.event_type == EventType::IssueDeleted {
        // Nothing can come after it, whatever its stamp says.
        standing = Standing::Current;
        subject.issue.deleted = true;
        Arc::make_mut(&mut subject.issue.facts).state = Said::Value(IssueState::Closed);
    }
    match standing {
        Standing::Current => work.walk(&mut subject, Some(event)),
        Standing::Late => {
            work.note(Note::Stale { issue_ref: event.issue_ref.clone() });
            if as_of(event, work.now).is_some_and(|at| at + SEEN_AFTER > work.now) {
                work.walk_late(&mut subject, event);
            }
        }
    }
    work.schedule(&mut subject, None);
    work.put(subject);
}

/// A milestone's due date moved: an event for each open issue that follows it.
fn decide_milestone<'a>(work: &mut Work<'a>, event: &'a IssueEvent, payload_hash: Option<&str>) {
    if event.due_at.is_nothing() {
        return;
    }
    let at = as_of(event, work.now);
    let known = work.state.milestone(&event.project_id, &event.issue_ref);
    if known.is_some_and(|known| at.is_some() && at < known.updated_at) {
        return work.note(Note::Stale { issue_ref: event.issue_ref.clone() });
    }
    if known.is_some_and(|known| known.latest.holds(&event.event_id, payload_hash)) {
        return work.note(Note::Duplicate { of: event.event_id.clone() });
    }
    let known_at = known.and_then(|known| known.updated_at);
    let updated_at = at.or(known_at);
    let same_instant = known.filter(|_| updated_at == known_at);
    let mut latest = same_instant.map(|known| known.latest.clone()).unwrap_or_default();
    latest.note(&event.event_id, payload_hash);
    let milestone = Milestone { due_at: event.due_at.value().copied(), updated_at, latest };
    work.set(Key::milestone(&event.project_id, &event.issue_ref), Entry::Milestone(milestone));
    let state = work.state;
    for issue_ref in state.milestone_issues(&event.project_id, &event.issue_ref) {
        let mut subject = work.subject(&event.project_id, issue_ref);
        if move_due(&mut subject.issue, &event.due_at, at) {
            work.walk(&mut subject, Some(event));
            work.schedule(&mut subject, None);
            work.put(subject);
        }
    }
}
