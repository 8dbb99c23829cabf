//! `[targets.NAME] kind = "slack"`.

use serde::Deserialize;

use crate::{Credential, OwnLimits};

/// How to speak to Slack: with a bot's token, or through an incoming webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// A bot token, `xoxb-…`, with the scopes chat:write, im:write and, to find its own messages, channels:history,
    /// groups:history, im:history.
    pub(crate) token: Option<Credential>,
    /// Instead: the address of an incoming webhook, whose channel was chosen when it was made.
    pub(crate) webhook_url: Option<Credential>,
    /// Channel id for whoever has none of their own.
    pub(crate) channel: Option<String>,
    /// Base of the Web API.
    #[serde(default = "default_base")]
    pub(crate) base: String,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
    /// Look through the channel's history before posting, so that a retry posts nothing twice.
    #[serde(default = "yes")]
    pub(crate) history: bool,
}

fn default_base() -> String {
    "https://slack.com/api".to_owned()
}

fn yes() -> bool {
    true
}
