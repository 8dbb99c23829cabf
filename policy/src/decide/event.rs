//! An event of the topic `issues`.

use chrono::{DateTime, Utc};
use events::IssueEvent;

use super::{
    Decision, Work,
    news::{AnswerNews, Hearers, IssueNews, News},
    within_calendar,
};
use crate::{Ruleset, State};

/// Decides an event: what it tells, and what the rules make of it.
pub(super) fn take(work: &mut Work<'_>, event: &IssueEvent, payload_hash: Option<&str>) {
    let mut news = News::of(work.state, event, payload_hash, work.now);
    hear(work, &mut news);
}

/// What the rules make of an event's news. What the news itself changes and notes is part of the first decision that is made of it.
pub(crate) fn decide_news(
    state: &State,
    news: &mut News<'_>,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
) -> Decision {
    let mut work = Work::begin(state, ruleset, within_calendar(now));
    hear(&mut work, news);
    work.decision
}

fn hear(work: &mut Work<'_>, news: &mut News<'_>) {
    work.decision.notes.append(&mut news.notes);
    work.decision.changes.append(std::mem::take(&mut news.changes));
    for IssueNews { issue_ref, facts, latest, deleted, hearers, answer } in &news.issues {
        let mut subject = work.subject(&news.event.project_id, issue_ref);
        subject.issue.facts = facts.clone();
        subject.issue.latest = latest.clone();
        subject.issue.deleted = *deleted;
        match *answer {
            AnswerNews::Unsaid => {}
            AnswerNews::Over { at } => subject.issue.reopen(at),
            AnswerNews::Given { at } => work.acknowledge(&mut subject, news.event, at),
        }
        work.resolve(&mut subject, &news.event.event_id);
        match hearers {
            Hearers::All => work.walk(&mut subject, Some(news.event)),
            Hearers::Momentary => work.walk_late(&mut subject, news.event),
            Hearers::Nobody => {}
        }
        work.schedule(&mut subject, None);
        work.put(subject);
    }
}
