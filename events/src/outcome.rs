//! `outcomes`: what became of an action.

use std::{borrow::Cow, iter::Sum};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::{Action, ActionKind, Message, id, topic};

/// A change of a project's risk, kept in thousandths so that sums are exact; a JSON number such as -0.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Risk(
    /// Thousandths.
    pub i64,
);

impl Risk {
    /// What a failed action adds.
    pub const FAILED: Self = Self(100);

    /// What a done action takes away; nothing for an action that this version does not know.
    pub fn of_done(action: &ActionKind) -> Self {
        Self(match action {
            ActionKind::AssignOwner => -100,
            ActionKind::EscalateOwner => -300,
            ActionKind::ScheduleUnblocker => -200,
            ActionKind::PostNudge => -50,
            // They move nothing on; what they are about stays counted.
            ActionKind::Acknowledge | ActionKind::Resolve | ActionKind::Other(_) => 0,
        })
    }
}

impl Sum for Risk {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.map(|risk| risk.0).sum())
    }
}

impl Serialize for Risk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Risk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let risk = f64::deserialize(deserializer)?;
        if !risk.is_finite() || risk.abs() > 1e6 {
            return Err(D::Error::custom("risk_delta must lie between -1e6 and 1e6"));
        }
        Ok(Self((risk * 1000.0).round() as i64))
    }
}

impl JsonSchema for Risk {
    fn schema_name() -> Cow<'static, str> {
        "Risk".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A change of the project's risk, in steps of 0.001.",
            "type": "number",
            "minimum": -1e6,
            "maximum": 1e6,
        })
    }
}

/// What became of one action: exactly one per action and redrive round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Derived id: `o-` and 32 hex digits.
    pub event_id: String,
    /// The project, also the record's key.
    pub project_id: String,
    /// How the project's risk changes.
    pub risk_delta: Risk,
    /// Whether the action was done.
    pub ack: bool,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// What was to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionKind>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How often it was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Why it was not done: `expired`, `dry_run`, `withdrawn: …`, or the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When this became known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// The meeting, comment or message made.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The earlier outcome that this one replaces (a redriven action); its risk_delta is then the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
    /// What each target did, where a route of the configuration says which carry the action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
}

/// What one target did about an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Carried {
    /// The target's name in the configuration.
    pub by: String,
    /// Whether it was done.
    pub ack: bool,
    /// How often it was attempted.
    pub attempts: u32,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The meeting, comment or message made.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// True of a target that tells people where another refuses (`otherwise` of the route). In a dry run: what would be sent then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub otherwise: bool,
    /// In a dry run, what would have been sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsent: Vec<Unsent>,
}

/// A request that a dry run did not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unsent {
    /// `POST` and so on.
    pub method: String,
    /// The host, with its port where that is not the scheme's own.
    pub host: String,
    /// The path below the address in the configuration, which is left out itself: it may be a secret. Absent where the request goes to
    /// that very address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The body; its length in words where it is long.
    pub body: Value,
}

impl Outcome {
    /// The `error` of an action that was only rehearsed.
    pub const DRY_RUN: &str = "dry_run";
    /// The `error` of an action that was too old when its turn came.
    pub const EXPIRED: &str = "expired";
    /// The `error` of a redriven action that was taken back before its turn came again: it is not done any more, is no failure either, and
    /// ends the dead letter that was redriven.
    pub const WITHDRAWN: &str = "withdrawn: the issue was closed meanwhile, so this is not done any more";

    /// Whether the action failed: it was not done, though it was to be. What was only rehearsed did not, nor what nobody needs any more
    /// ([`Self::WITHDRAWN`]); what came too late did.
    pub fn is_failure(&self) -> bool {
        !self.ack && !self.is_dry_run() && !self.is_withdrawn()
    }

    /// Whether a redriven action ended without being tried, since it had been taken back.
    pub fn is_withdrawn(&self) -> bool {
        !self.ack && self.error.as_deref() == Some(Self::WITHDRAWN)
    }

    /// Whether the action was only rehearsed: neither done nor failed.
    pub fn is_dry_run(&self) -> bool {
        !self.ack && self.error.as_deref() == Some(Self::DRY_RUN)
    }

    /// The first outcome of `action`, as yet without attempts, error or reference.
    pub fn of(action: &Action, risk_delta: Risk, ack: bool, at: DateTime<Utc>) -> Self {
        Self {
            event_id: id::outcome(&action.event_id, 0),
            project_id: action.project_id.clone(),
            risk_delta,
            ack,
            action_id: Some(action.event_id.clone()),
            action: Some(action.action.clone()),
            target: Some(action.target.clone()),
            attempts: None,
            error: None,
            at: Some(at),
            reference: None,
            supersedes: None,
            carried: Vec::new(),
        }
    }

    /// The message on `outcomes`; `cause` is the action's cause, which names the trace.
    pub fn to_message(&self, cause: Option<&str>) -> serde_json::Result<Message> {
        let story = cause.or(self.action_id.as_deref()).unwrap_or(&self.event_id);
        Ok(Message::new(
            topic::OUTCOMES,
            &self.project_id,
            (&self.event_id, "outcome", "/breakdown/executor"),
            self.at,
            id::traceparent(story, &self.event_id),
            serde_json::to_vec(self)?,
        ))
    }
}
