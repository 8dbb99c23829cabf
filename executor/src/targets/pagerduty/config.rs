//! `[targets.NAME] kind = "pagerduty"`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Credential, OwnLimits};

/// How to page: an integration of Events API v2 for each service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Routing keys, 32 characters, by the name that the policy gives to people and teams as `pagerduty`.
    pub(crate) services: BTreeMap<String, Credential>,
    /// The service for whoever has none of their own.
    pub(crate) service: Option<String>,
    /// Base of the Events API.
    #[serde(default = "default_base")]
    pub(crate) base: String,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
}

fn default_base() -> String {
    "https://events.pagerduty.com".to_owned()
}
