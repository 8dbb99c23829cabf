//! `[targets.NAME] kind = "jira"`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Credential, OwnLimits};

/// Which Jira, whom we are there, and what we do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The site, e.g. `https://acme.atlassian.net`.
    pub(crate) base: String,
    /// Which of the two Jira it is.
    pub(crate) edition: Edition,
    /// The host by which the site's webhooks name its issues, where that is not the base's.
    pub(crate) host: Option<String>,
    /// The account's mail address, to which the API token belongs (Cloud). Without it the token is a bearer's (Data Center).
    pub(crate) user: Option<String>,
    /// API token (Cloud), or personal access token (Data Center).
    pub(crate) token: Credential,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
    /// Say in a comment who owns an issue and why.
    #[serde(default = "yes")]
    pub(crate) comment: bool,
    /// The label of an escalated issue; empty: none.
    #[serde(default = "default_label")]
    pub(crate) label: String,
    /// Transitions to make, by action: the transition's name, or that of the status it leads to.
    #[serde(default)]
    pub(crate) transitions: BTreeMap<String, String>,
}

/// The two Jira.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Edition {
    /// REST API v3: accounts by accountId, documents.
    Cloud,
    /// REST API v2: users by name, wiki text.
    DataCenter,
}

fn default_label() -> String {
    "escalated".to_owned()
}

fn yes() -> bool {
    true
}
