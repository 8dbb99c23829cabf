//! `actions`: what the policy decided.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Message, id, open_enum::open_enum, topic};

impl ActionKind {
    /// Whether it leaves something open that is to be taken back when the issue closes: a page, a meeting.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::EscalateOwner | Self::ScheduleUnblocker)
    }

    /// Whether it is about an [`Earlier`] action, and no rule says it.
    pub fn follows_up(&self) -> bool {
        matches!(self, Self::Acknowledge | Self::Resolve)
    }
}

open_enum! {
    /// What is to be done.
    ActionKind {
        /// Make the target the issue's owner.
        AssignOwner = "assign_owner",
        /// Remind the target.
        PostNudge = "post_nudge",
        /// Book a short meeting with the target.
        ScheduleUnblocker = "schedule_unblocker",
        /// Call the target now.
        EscalateOwner = "escalate_owner",
        /// Tell whoever was called by an earlier action that somebody has answered. No rule says it.
        Acknowledge = "acknowledge",
        /// Take back what an earlier action left open: the issue is closed or deleted. No rule says it.
        Resolve = "resolve",
    }
}

/// One thing that the policy decided to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// Derived id: `a-` and 32 hex digits.
    pub event_id: String,
    /// The project, also the record's key.
    pub project_id: String,
    /// What is to be done.
    pub action: ActionKind,
    /// `owner:NAME` or `team:NAME`.
    pub target: String,
    /// Why, in the rule's words.
    pub rationale: String,
    /// The issue's url; empty where none is known.
    pub source_ref: String,
    /// The issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_ref: Option<String>,
    /// The event id (`gh-`, `jr-`, `p-`) or timer id (`t-`) that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The rule's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// SHA-256 of the policy that decided, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// The instant the policy took as `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_at: Option<DateTime<Utc>>,
    /// What the action needs besides: `title` (the issue's), and for a meeting `start_at`, `duration_min`
    /// (minutes) and `participants`; `to` says whom it concerns as each tool knows them ([`Recipients`](crate::Recipients)). Of `acknowledge`
    /// and `resolve`, `of` says what they are about ([`Earlier`]).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

/// The earlier action that an `acknowledge` or a `resolve` is about: its `params.of`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Earlier {
    /// Its kind.
    pub action: ActionKind,
    /// Its id (`a-…`).
    pub action_id: String,
}

impl Earlier {
    /// Where an action carries it among its `params`.
    pub const PARAM: &'static str = "of";

    /// That of `action`; `None` when it [follows up](ActionKind::follows_up) none, or says nothing that this version knows.
    pub fn of(action: &Action) -> Option<Self> {
        let of = action.params.get(Self::PARAM).filter(|_| action.action.follows_up())?;
        Self::deserialize(of).ok()
    }

    /// What `action` takes back; `None` when it is no `resolve`.
    pub fn taken_back_by(action: &Action) -> Option<Self> {
        Self::of(action).filter(|_| action.action == ActionKind::Resolve)
    }
}

impl Action {
    /// The message on `actions`.
    pub fn to_message(&self) -> serde_json::Result<Message> {
        Ok(Message::new(
            topic::ACTIONS,
            &self.project_id,
            (&self.event_id, self.action.as_str(), "/breakdown/gateway"),
            self.evaluated_at,
            id::traceparent(self.cause.as_deref().unwrap_or(&self.event_id), &self.event_id),
            serde_json::to_vec(self)?,
        ))
    }
}
