//! `policies`: which policy held from which offsets on, and which was on trial beside it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Message, id, topic};

/// From these offsets on, a partition was decided by this policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyChange {
    /// The partition of `issues`.
    pub partition: u32,
    /// SHA-256 of the policy's text, 64 hex digits.
    pub policy_hash: String,
    /// First offset, per input topic, that this policy decided.
    pub offsets: BTreeMap<String, u64>,
    /// When the change was made.
    pub at: DateTime<Utc>,
    /// The partition's own time at the change: timers due by then were decided before it. None when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<DateTime<Utc>>,
    /// True when it was put on trial (`serve --shadow`): it decides beside the one that holds, onto `actions-shadow`, and
    /// nothing of it is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_trial: bool,
    /// The policy's text.
    pub policy: String,
}

impl PolicyChange {
    /// The message on `policies`, keyed by partition.
    pub fn to_message(&self) -> serde_json::Result<Message> {
        let name = format!("{}/{}", self.partition, self.policy_hash);
        let what = if self.on_trial { "policy_on_trial" } else { "policy_changed" };
        Ok(Message::new(
            topic::POLICIES,
            &self.partition.to_string(),
            (&name, what, "/breakdown/gateway"),
            Some(self.at),
            id::traceparent(&name, &name),
            serde_json::to_vec(self)?,
        ))
    }
}
