//! `issues`: what a provider said of one issue.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Message, Said, id, instant, open_enum::open_enum, topic};

open_enum! {
    /// What happened to the issue.
    EventType {
        /// A GitHub issue was opened.
        IssueOpened = "issue_opened",
        /// A Jira issue was created.
        IssueCreated = "issue_created",
        /// Anything that has no word of its own, an edited or deleted comment among them.
        IssueUpdated = "issue_updated",
        /// The issue was closed (Jira: its status entered the category `done`).
        IssueClosed = "issue_closed",
        /// The issue was opened again.
        IssueReopened = "issue_reopened",
        /// A new comment.
        IssueCommented = "issue_commented",
        /// The issue was deleted or transferred away.
        IssueDeleted = "issue_deleted",
        /// A person answered an action.
        IssueAcknowledged = "issue_acknowledged",
        /// A GitHub milestone's due date moved; concerns the milestone's open issues.
        MilestoneUpdated = "milestone_updated",
    }
}

open_enum! {
    /// Through what a person answered.
    AcknowledgedThrough {
        /// A comment with a line that begins with the agreed word.
        Comment = "comment",
        /// Taking the issue: the actor is its new assignee.
        Assignment = "assignment",
        /// Moving the issue on.
        Status = "status",
        /// Acknowledging the page.
        Pagerduty = "pagerduty",
    }
}

open_enum! {
    /// Why a comment that looks like an answer is none.
    NoAnswer {
        /// The agreed word stands within a line, not at its beginning.
        WithinLine = "within_line",
        /// Something follows the word at once; of a word that is no command, in its line at all.
        RunsOn = "runs_on",
        /// It is code.
        InCode = "in_code",
        /// It is quoted.
        Quoted = "quoted",
        /// Nobody sees it: it stands in an HTML comment.
        Hidden = "hidden",
        /// `cancel` follows the word; an answer cannot be taken back.
        Cancelled = "cancelled",
        /// The comment is not new, or not all that happened: it was edited or deleted, or came with another change.
        NotNew = "not_new",
        /// Whoever wrote it does not belong to the repository, nor is the issue theirs (GitHub).
        Stranger = "stranger",
        /// A bot or an app wrote it.
        Machine = "machine",
        /// Our own account wrote it.
        Ours = "ours",
        /// Nobody is said to have written it.
        Nobody = "nobody",
    }
}

/// Where the event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// GitHub or GitHub Enterprise.
    Github,
    /// Jira Cloud or Data Center.
    Jira,
}

impl Source {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Jira => "jira",
        }
    }
}

/// Whether the issue is still to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssueState {
    /// To be done.
    Open,
    /// Done, or given up. Jira: statusCategory `done`.
    Closed,
}

impl IssueState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// How one field changed, as far as the provider said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The value before.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub old: Said<Value>,
    /// The value after.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub new: Said<Value>,
    /// Members that a list gained (labels, assignees).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Members that a list lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// What a provider said of one issue. A field that is absent was not said and keeps what is known; null means none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IssueEvent {
    /// Derived id: `gh-`, `jr-` or `p-` and 32 hex digits; whatever `publish` was given stays.
    pub event_id: String,
    /// The project, also the record's key.
    pub project_id: String,
    /// The provider.
    pub source: Source,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// `github:owner/repo#12`, `jira:host/KEY-7`, or `github:owner/repo/milestone/3`.
    pub issue_ref: String,
    /// `owner/repo` (GitHub).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The issue's number (GitHub).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_number: Option<u64>,
    /// The issue's key (Jira).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_key: Option<String>,
    /// The title.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub title: Said<String>,
    /// Where a person reads the issue.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub url: Said<String>,
    /// Every label, in the provider's order.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub labels: Said<Vec<String>>,
    /// The first assignee: GitHub login in lower case, Jira accountId or name.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub assignee: Said<String>,
    /// Every assignee.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub assignees: Said<Vec<String>>,
    /// The priority in the provider's word.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub priority: Said<String>,
    /// The status in the provider's word.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub status: Said<String>,
    /// Open or closed.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub state: Said<IssueState>,
    /// When the issue was created.
    #[serde(default, deserialize_with = "instant::option", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When the provider last changed the issue; orders events of one issue.
    #[serde(default, deserialize_with = "instant::option", skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When the issue is due.
    #[serde(default, deserialize_with = "instant::said", skip_serializing_if = "Said::is_nothing")]
    pub due_at: Said<DateTime<Utc>>,
    /// Number of the GitHub milestone that `due_at` follows; null when the issue has a due date of its own or no
    /// milestone.
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    pub due_milestone: Said<u64>,
    /// Who did it: GitHub login in lower case, Jira accountId or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// True where the actor is one of the accounts that the configuration names as our own: what our own actions did. It fires
    /// nothing but rules that read `event.by_us`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_us: bool,
    /// The provider's id of the delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// What changed, by our field names (`labels`, `assignees`, `due_at`, `due_milestone`, `title`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub change: BTreeMap<String, FieldChange>,
    /// Of an acknowledgement: through what. By whom says `actor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<AcknowledgedThrough>,
    /// Of a comment that has the word of an answer and is none: why. Nothing else is kept of a comment's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<NoAnswer>,
    /// True where no delivery brought this: it is the issue's state as a sweep found it. A state that says nothing new is
    /// no event, so it fires nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub swept: bool,
}

impl IssueEvent {
    /// An event that says nothing but what it is about.
    pub fn new(
        event_id: impl Into<String>,
        project_id: impl Into<String>,
        source: Source,
        event_type: EventType,
        issue_ref: impl Into<String>,
    ) -> Self {
        Self {
            event_id: event_id.into(),
            project_id: project_id.into(),
            source,
            event_type,
            issue_ref: issue_ref.into(),
            repo: None,
            issue_number: None,
            issue_key: None,
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
            actor: None,
            by_us: false,
            delivery_id: None,
            change: BTreeMap::new(),
            through: None,
            no_answer: None,
            swept: false,
        }
    }

    /// The acknowledgement that lies in this event: an event of its own, with an id derived from this one's, which says who answered,
    /// when and through what, and nothing else of the issue.
    pub fn acknowledgement(&self, through: AcknowledgedThrough) -> Self {
        let event_id = id::acknowledgement(&self.event_id);
        Self {
            repo: self.repo.clone(),
            issue_number: self.issue_number,
            issue_key: self.issue_key.clone(),
            updated_at: self.updated_at,
            actor: self.actor.clone(),
            delivery_id: self.delivery_id.clone(),
            through: Some(through),
            ..Self::new(
                event_id,
                &self.project_id,
                self.source,
                EventType::IssueAcknowledged,
                &self.issue_ref,
            )
        }
    }

    /// The message on `issues`. `payload_hash` is that of the delivery's raw body ([`id::payload_hash`]), where there was one.
    pub fn to_message(&self, payload_hash: Option<&str>) -> serde_json::Result<Message> {
        // The host of a Jira issue and the repository of a GitHub one both lead the issue_ref.
        let place = self.issue_ref.split_once(':').map_or("", |(_, rest)| rest);
        let place = match self.source {
            Source::Github => self.repo.as_deref().unwrap_or(place.split('#').next().unwrap_or_default()),
            Source::Jira => place.split('/').next().unwrap_or_default(),
        };
        let ce_source = format!("/{}/{place}", self.source.as_str());
        let mut message = Message::new(
            topic::ISSUES,
            &self.project_id,
            (&self.event_id, self.event_type.as_str(), &ce_source),
            self.updated_at.or(self.created_at),
            id::traceparent(&self.event_id, &self.event_id),
            serde_json::to_vec(self)?,
        );
        if let Some(hash) = payload_hash {
            message.headers.push(("payload_hash".into(), hash.into()));
        }
        Ok(message)
    }
}
