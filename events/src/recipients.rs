//! Whom an action concerns, as each tool knows them: `params.to` of an action.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Action;

/// Whom an action concerns. The policy says it when it decides, so that whatever carries the action needs no policy, and a
/// replay addresses the same people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipients {
    /// The people, in the order in which they were named; of a team, its members in file order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
    /// The team, when the action is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Team>,
}

/// One person. What is absent was not said in the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The name that rules use, as in `owner:NAME`.
    pub name: String,
    /// GitHub login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<String>,
    /// Jira Cloud accountId; the user name on Data Center.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jira: Option<String>,
    /// Slack member id, `U…` or `W…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<String>,
    /// Name of a PagerDuty service in the configuration, which holds its routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagerduty: Option<String>,
    /// Mail address, for invitations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Calendar: its id in Google Calendar, or its path on a CalDAV server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// IANA name, such as `Europe/Berlin`; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Working hours on Monday to Friday in that zone, `09:00-17:30`; when absent, any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
}

/// One team. What is absent was not said in the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Team {
    /// The name that rules use, as in `team:NAME`.
    pub name: String,
    /// Slack channel id, `C…` or `G…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<String>,
    /// Name of a PagerDuty service in the configuration, which holds its routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagerduty: Option<String>,
    /// The team's own calendar, as a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
}

impl Recipients {
    /// Where an action carries them among its `params`.
    pub const PARAM: &'static str = "to";

    /// Those of `action`; `None` when it names none, or in a form that this version does not know.
    pub fn of(action: &Action) -> Option<Self> {
        action.params.get(Self::PARAM).and_then(|to| Self::deserialize(to).ok())
    }
}
