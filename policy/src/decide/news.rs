//! What an event tells, whatever the rules make of it.

use chrono::{DateTime, Utc};
use events::{EventType, IssueEvent, IssueState, Said};
use smol_str::SmolStr;

use super::{Changes, Note, expire::is_forgotten, within_calendar};
use crate::{
    Entry, Facts, Issue, Key, Milestone, SeenEvent, Shared, State,
    state::{Latest, Recency, SEEN_AFTER, as_of, merge, move_due},
};

/// What an event tells: the part of a decision in which no rule has a say. States that took in the same events, each under a
/// policy of its own, agree in all that this is made of; so it is made once for all of them.
#[derive(Debug)]
pub(crate) struct News<'a> {
    pub(super) event: &'a IssueEvent,
    /// Entries that no rule has a say in: the event's id, the milestone.
    pub(super) changes: Changes,
    /// What there is to say about the event.
    pub(super) notes: Vec<Note>,
    /// The issues that it is about.
    pub(super) issues: Vec<IssueNews>,
}

/// What an event tells of one issue.
#[derive(Debug)]
pub(super) struct IssueNews {
    pub(super) issue_ref: SmolStr,
    /// The facts after it.
    pub(super) facts: Shared<Facts>,
    pub(super) latest: Latest,
    pub(super) deleted: bool,
    pub(super) hearers: Hearers,
    pub(super) answer: AnswerNews,
}

/// What an event says of whether people have answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerNews {
    /// Nothing.
    Unsaid,
    /// They did, then.
    Given { at: DateTime<Utc> },
    /// The issue was opened again, as of then: they have to anew.
    Over { at: Option<DateTime<Utc>> },
}

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearers {
    /// All of them.
    All,
    /// Momentary ones: the event comes late.
    Momentary,
    /// None: it comes so late that it cannot be told from a replay.
    Nobody,
}

impl<'a> News<'a> {
    /// Takes an event's news from a state, as of `now` or the state's clock, whichever is later.
    pub(crate) fn of(
        state: &State,
        event: &'a IssueEvent,
        payload_hash: Option<&str>,
        now: DateTime<Utc>,
    ) -> Self {
        let now = state.not_before(within_calendar(now));
        let mut news = Self { event, changes: Changes::default(), notes: Vec::new(), issues: Vec::new() };
        // A record's header can hold anything; a hash is short.
        let payload_hash = payload_hash.filter(|hash| hash.len() <= 128);
        let seen = SeenEvent::new(&event.project_id, &event.event_id, payload_hash);
        if let Some(first) = state.seen(&seen, now) {
            news.notes.push(Note::Duplicate { of: first.into() });
            return news;
        }
        if event.event_type == EventType::MilestoneUpdated {
            news.of_milestone(state, &seen, now);
        } else {
            news.of_issue(state, &seen, now);
        }
        news.changes.set(state.seen_key(now), Some(Entry::Seen(vec![seen])));
        news
    }

    fn of_issue(&mut self, state: &State, seen: &SeenEvent, now: DateTime<Utc>) {
        let event = self.event;
        let (issue_ref, mut issue) = known(state, &event.project_id, &event.issue_ref, now);
        if issue.deleted {
            return self.notes.push(Note::Deleted { issue_ref: event.issue_ref.clone() });
        }
        // Forgotten after seven days, but this is the very event that the issue's facts are from.
        if issue.latest.holds(seen) {
            return self.notes.push(Note::Duplicate { of: event.event_id.clone() });
        }
        let milestone = event.due_milestone.value().and_then(|&number| {
            let repo = event.issue_ref.strip_prefix("github:")?.rsplit_once('#')?.0;
            state.milestone(&event.project_id, &events::issue_ref_of_milestone(repo, number))
        });
        let before = event.swept.then(|| issue.facts.clone());
        let was_closed = !issue.is_open();
        let mut recency = merge(&mut issue, event, seen, milestone, now);
        if event.event_type == EventType::IssueDeleted {
            // Nothing can come after it, whatever its stamp says.
            recency = Recency::Current;
            issue.deleted = true;
            issue.facts.state = Said::Value(IssueState::Closed);
        }
        let at = as_of(event, now);
        let too_old = at.filter(|at| *at + SEEN_AFTER <= now);
        let about = || event.issue_ref.clone();
        let mut hearers = match (recency, too_old) {
            (Recency::Current, _) => Hearers::All,
            (Recency::Late, None) => {
                let known_at = issue.facts.updated_at;
                self.notes.push(Note::Stale { issue_ref: about(), at, known_at });
                Hearers::Momentary
            }
            (Recency::Late, Some(at)) => {
                self.notes.push(Note::TooOld { issue_ref: about(), at, came_at: now });
                Hearers::Nobody
            }
        };
        let mut answer = AnswerNews::Unsaid;
        if event.event_type == EventType::IssueAcknowledged {
            // It is never older than what is known, so its age alone tells it from a replay.
            if let Some(at) = too_old {
                self.notes.push(Note::OldAnswer { issue_ref: about(), at, came_at: now });
                hearers = Hearers::Nobody;
            } else if !event.by_us {
                answer = AnswerNews::Given { at: at.unwrap_or(now) };
            }
        } else if issue.is_open()
            && (was_closed || event.event_type == EventType::IssueReopened && recency == Recency::Current)
        {
            answer = AnswerNews::Over { at };
        }
        // A state that was found, not sent, is an event only by what it says that was not known.
        let repeats =
            before.is_some_and(|before| recency == Recency::Late || says_the_same(&before, &issue.facts));
        self.tell(issue_ref, issue, if repeats { Hearers::Nobody } else { hearers }, answer);
    }

    /// A milestone's due date moved: an event for each open issue that follows it.
    fn of_milestone(&mut self, state: &State, seen: &SeenEvent, now: DateTime<Utc>) {
        let event = self.event;
        if event.due_at.is_nothing() {
            return;
        }
        let at = as_of(event, now);
        let before = state.milestone(&event.project_id, &event.issue_ref);
        if before.is_some_and(|before| at.is_some() && at < before.updated_at) {
            let known_at = before.and_then(|before| before.updated_at);
            return self.notes.push(Note::Stale { issue_ref: event.issue_ref.clone(), at, known_at });
        }
        if before.is_some_and(|before| before.latest.holds(seen)) {
            return self.notes.push(Note::Duplicate { of: event.event_id.clone() });
        }
        let known_at = before.and_then(|before| before.updated_at);
        let updated_at = at.or(known_at);
        let same_instant = before.filter(|_| updated_at == known_at);
        let mut latest = same_instant.map(|before| before.latest.clone()).unwrap_or_default();
        latest.note(seen);
        let milestone = Milestone { due_at: event.due_at.value().copied(), updated_at, latest };
        let key = Key::milestone(&event.project_id, &event.issue_ref);
        self.changes.set(key, Some(Entry::Milestone(milestone)));
        for issue_ref in state.milestone_issues(&event.project_id, &event.issue_ref) {
            let (issue_ref, mut issue) = known(state, &event.project_id, issue_ref, now);
            if move_due(&mut issue, &event.due_at, at) {
                self.tell(issue_ref, issue, Hearers::All, AnswerNews::Unsaid);
            }
        }
    }

    fn tell(&mut self, issue_ref: SmolStr, issue: Issue, hearers: Hearers, answer: AnswerNews) {
        let Issue { facts, latest, deleted, .. } = issue;
        self.issues.push(IssueNews { issue_ref, facts, latest, deleted, hearers, answer });
    }
}

/// Whether facts differ at most in when they were said.
fn says_the_same(before: &Facts, after: &Facts) -> bool {
    *after == Facts { updated_at: after.updated_at, as_of: after.as_of.clone(), ..before.clone() }
}

/// An issue's facts as they are remembered now; what rules made of it is left out.
fn known(state: &State, project: &str, issue_ref: &str, now: DateTime<Utc>) -> (SmolStr, Issue) {
    match state.issue_entry(project, issue_ref) {
        Some((key, issue)) if is_forgotten(issue, now) => (key.identity.clone(), issue.forgotten()),
        Some((key, issue)) => {
            let facts = Issue {
                facts: issue.facts.clone(),
                latest: issue.latest.clone(),
                deleted: issue.deleted,
                ..Issue::default()
            };
            (key.identity.clone(), facts)
        }
        None => (SmolStr::from(issue_ref), Issue::default()),
    }
}
