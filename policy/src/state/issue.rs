//! What is known of one issue.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use events::{IssueState, Said, Source, id, issue_ref_of_milestone};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Latest, OpenAction, Shared};

/// The most labels or assignees that are kept; providers allow a hundred labels and ten assignees.
pub(crate) const MAX_LIST: usize = 256;
/// How many bytes the members of a list may have together; one that does not fit is left out. A hundred labels of fifty characters,
/// which is what GitHub allows, have a third of it; and what it takes to look through a list is bounded by it.
pub(crate) const MAX_LIST_BYTES: usize = 16 * 1024;

/// What is known of one issue: its facts, which rules decide it, when they last fired, and when to look again.
///
/// # How an event changes the facts
/// - What an event does not say keeps what is known; null means that there is none.
/// - An event that is younger than what is known (by `updated_at`) replaces it; an older one fills only what is unknown. This is
///   kept field by field ([`Facts::as_of`]), because events need not say everything: a younger event that does not speak of the
///   labels does not make an older one wrong about them. So facts do not depend on the order of delivery.
/// - At equal `updated_at` only what the event's `change` names is replaced: lists by the members added and removed, all
///   else by value; a closing or reopening event changes the state. An event without `updated_at` counts as the youngest (an opening
///   event without it: as of `created_at`).
/// - An `updated_at` more than a day after the log's own time is not believed: the log's time is taken instead, so that
///   one wrong clock cannot silence an issue until that date. A time outside the years 1 to 9999 counts as not said.
/// - Texts are kept to [`events::MAX_TEXT_CHARS`] characters, lists to 256 members and 16 KiB.
/// - That it was acknowledged is no change of it: such an event moves no time and says no fact, and is never late.
/// - A deleted issue stays deleted and keeps nothing. A closed issue's facts are forgotten after 90 days; its `updated_at`
///   stays, so that a replay of old events cannot open it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Issue {
    /// What the provider said; two policies over one history share it.
    pub facts: Shared<Facts>,
    /// The issue was deleted or transferred away.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// Log time at which it was last seen to become closed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// The lasting rules that decide it, with the value that their `at` had then.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub deciding: Shared<LiteMap<SmolStr, Option<DateTime<Utc>>>>,
    /// What each rule did, by rule id; survives a change of the policy.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub fired: Shared<LiteMap<SmolStr, Firing>>,
    /// When which rule is to be looked at again, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) timers: Shared<Vec<IssueTimer>>,
    /// Whom we made its owner last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<SmolStr>,
    /// How many actions were made for it in the hour at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted: Option<Acted>,
    /// Our actions while it was open that may have left something open, oldest first, at most sixteen: what is acknowledged
    /// when somebody answers, and resolved when it closes.
    #[serde(rename = "to_resolve", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) open: Shared<Vec<OpenAction>>,
    /// How people answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Box<Answer>>,
    /// The events that said `facts.updated_at`: their replay is known even after seven days.
    #[serde(default, skip_serializing_if = "Latest::is_empty")]
    pub(crate) latest: Latest,
}

/// What the provider said of an issue. Absent: unknown; null: there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// `owner/repo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<SmolStr>,
    /// GitHub's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Jira's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SmolStr>,
    /// The title.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub title: Said<SmolStr>,
    /// Where a person reads it.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub url: Said<SmolStr>,
    /// Labels, in the provider's order and case.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub labels: Said<Shared<Vec<String>>>,
    /// The first assignee.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub assignee: Said<SmolStr>,
    /// Every assignee.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub assignees: Said<Shared<Vec<String>>>,
    /// Priority, in the provider's word.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub priority: Said<SmolStr>,
    /// Status, in the provider's word.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub status: Said<SmolStr>,
    /// Open or closed; a deleted issue is closed.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub state: Said<IssueState>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When the provider last changed it, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When it is due.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub due_at: Said<DateTime<Utc>>,
    /// The GitHub milestone that `due_at` follows.
    #[serde(skip_serializing_if = "Said::is_nothing")]
    pub due_milestone: Said<u64>,
    /// Fields whose value is as of another instant than `updated_at`.
    #[serde(skip_serializing_if = "LiteMap::is_empty")]
    pub as_of: LiteMap<SmolStr, DateTime<Utc>>,
}

impl Facts {
    pub(super) const EMPTY: Self = Self {
        source: None,
        repo: None,
        number: None,
        key: None,
        title: Said::Nothing,
        url: Said::Nothing,
        labels: Said::Nothing,
        assignee: Said::Nothing,
        assignees: Said::Nothing,
        priority: Said::Nothing,
        status: Said::Nothing,
        state: Said::Nothing,
        created_at: None,
        updated_at: None,
        due_at: Said::Nothing,
        due_milestone: Said::Nothing,
        as_of: LiteMap::new(),
    };
}

/// How many actions were made for an issue in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// When the hour began: with the first action after the hour before.
    pub since: DateTime<Utc>,
    /// How many were made since then, but for escalations.
    pub count: u32,
    /// How many escalations were: whoever can make a rule nudge must not be able to use up the pages.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub escalated: u32,
    /// How many were not, because they would have been too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub capped: u32,
}

impl Acted {
    /// Nothing yet, in an hour that begins then.
    pub(crate) fn from(since: DateTime<Utc>) -> Self {
        Self { since, count: 0, escalated: 0, capped: 0 }
    }
}

/// Whether people answered, and since when they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// When the issue was last reopened or escalated: an answer that was given before is none to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Acknowledged>,
}

/// The first answer of a person since the issue was opened, reopened or last escalated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// When it was given.
    pub at: DateTime<Utc>,
    /// By whom: GitHub login, Jira accountId or name, a name at PagerDuty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SmolStr>,
    /// Through what: `comment`, `assignment`, `status`, `pagerduty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<SmolStr>,
    /// When a rule had last made an action for the issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_at: Option<DateTime<Utc>>,
}

impl Acknowledged {
    /// How long people took to answer what was last done; none where nothing was, or the provider's clock is behind ours.
    pub fn after(&self) -> Option<TimeDelta> {
        self.acted_at.map(|acted_at| self.at - acted_at).filter(|after| *after >= TimeDelta::zero())
    }
}

/// What a rule did for an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Firing {
    /// When it last made an action, or would have but for the cap; the cooldown counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<DateTime<Utc>>,
    /// When it last fired by an event or its `at`; repeats count from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats_from: Option<DateTime<Utc>>,
    /// The value of `at` for which it has had its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_done: Option<DateTime<Utc>>,
}

/// Why a timer is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// The rule's `at`.
    At,
    /// The rule's `repeat`.
    Repeat,
}

impl TimerKind {
    /// `at` or `repeat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::At => "at",
            Self::Repeat => "repeat",
        }
    }
}

/// A timer of an issue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct IssueTimer {
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) rule: SmolStr,
    pub(crate) kind: TimerKind,
}

impl IssueTimer {
    pub(crate) fn of(&self, project_id: &SmolStr, issue_ref: &SmolStr) -> Timer {
        Timer {
            due_at: self.due_at,
            project_id: project_id.clone(),
            issue_ref: issue_ref.clone(),
            rule: self.rule.clone(),
            kind: self.kind,
        }
    }
}

/// An instant at which one rule is to be looked at for one issue. Ordered as the fields stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timer {
    /// When.
    pub due_at: DateTime<Utc>,
    /// The project.
    pub project_id: SmolStr,
    /// The issue.
    pub issue_ref: SmolStr,
    /// The rule's id.
    pub rule: SmolStr,
    /// Why.
    pub kind: TimerKind,
}

impl Timer {
    /// Its derived id (`t-…`), the cause of what it makes happen.
    pub fn id(&self) -> String {
        id::timer(&self.issue_ref, &self.rule, self.kind.as_str(), self.due_at)
    }
}

impl Issue {
    /// Whether it is still to be done. An issue of which no state was ever said is open.
    pub fn is_open(&self) -> bool {
        !self.deleted && self.facts.state.value() != Some(&IssueState::Closed)
    }

    /// The answer of a person, where there is one.
    pub fn acknowledged(&self) -> Option<&Acknowledged> {
        self.answer.as_ref()?.acknowledged.as_ref()
    }

    /// Since when an answer counts; one that was given before is none. Always, where nothing is said.
    pub(crate) fn asked_since(&self) -> Option<DateTime<Utc>> {
        self.answer.as_ref()?.asked_since
    }

    /// Takes an answer in that counts: the first one is the answer.
    pub(crate) fn acknowledge(&mut self, at: DateTime<Utc>, by: Option<SmolStr>, through: Option<SmolStr>) {
        let answer = self.answer.get_or_insert_default();
        if answer.acknowledged.is_none() {
            let acted_at = self.fired.values().filter_map(|firing| firing.fired_at).max();
            answer.acknowledged = Some(Acknowledged { at, by, through, acted_at });
        }
    }

    /// The issue was opened again, as of then: whatever was answered is over.
    pub(crate) fn reopen(&mut self, at: Option<DateTime<Utc>>) {
        self.ask_since(at);
    }

    /// People are called anew, at `now`: an earlier answer is none to that. Providers say when one was given to the second.
    pub(crate) fn ask_again(&mut self, now: DateTime<Utc>) {
        self.ask_since(Some(now.trunc_subsecs(0)));
    }

    fn ask_since(&mut self, since: Option<DateTime<Utc>>) {
        let answer = self.answer.get_or_insert_default();
        answer.asked_since = answer.asked_since.max(since);
        answer.acknowledged = None;
        self.keep_answer();
    }

    pub(crate) fn set_acknowledged(&mut self, acknowledged: Option<Acknowledged>) {
        self.answer.get_or_insert_default().acknowledged = acknowledged;
        self.keep_answer();
    }

    /// Most issues have none, and take no room for it.
    fn keep_answer(&mut self) {
        self.answer.take_if(|answer| **answer == Answer::default());
    }

    /// The person to whom it counts as open work that we gave them.
    pub(crate) fn load_of(&self) -> Option<&str> {
        self.assigned_to.as_deref().filter(|_| self.is_open())
    }

    /// The milestone's ref that its due date follows.
    pub(crate) fn milestone(&self, issue_ref: &str) -> Option<String> {
        let number = *self.facts.due_milestone.value()?;
        let repo = issue_ref.strip_prefix("github:")?.rsplit_once('#')?.0;
        Some(issue_ref_of_milestone(repo, number))
    }

    pub(crate) fn timers(&self, project: &str, issue_ref: &str) -> impl Iterator<Item = Timer> {
        let (project, issue_ref) = (SmolStr::from(project), SmolStr::from(issue_ref));
        self.timers.iter().map(move |timer| timer.of(&project, &issue_ref))
    }

    pub(crate) fn has(&self, timer: &Timer) -> bool {
        self.timers
            .iter()
            .any(|own| own.due_at == timer.due_at && own.kind == timer.kind && own.rule == timer.rule)
    }

    /// Gives back the memory that it does not use.
    pub(super) fn fit(&mut self) {
        self.facts.fit();
        self.deciding.fit();
        self.fired.fit();
        self.timers.fit();
        self.open.fit();
        self.latest.fit();
    }

    /// What is left of it when it is forgotten: that it is closed, and as of when.
    pub(crate) fn forgotten(&self) -> Self {
        Self {
            facts: Shared::from(Facts {
                state: Said::Value(IssueState::Closed),
                updated_at: self.facts.updated_at,
                ..Facts::default()
            }),
            deleted: self.deleted,
            latest: self.latest.clone(),
            ..Self::default()
        }
    }
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}
