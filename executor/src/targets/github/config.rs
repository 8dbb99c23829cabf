//! `[targets.NAME] kind = "github"`.

use serde::Deserialize;

use crate::{Credential, OwnLimits};

/// Whom we are at GitHub, and what we do there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// A personal token: fine-grained with write access to issues, or classic with `repo`.
    pub(crate) token: Option<Credential>,
    /// Instead: an App.
    pub(crate) app: Option<App>,
    /// Base of the REST API; of an Enterprise Server `https://HOST/api/v3`.
    #[serde(default = "default_base")]
    pub(crate) base: String,
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
}

/// An App that is installed for the repositories.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    /// Its client id or app id.
    pub(crate) id: String,
    /// The installation: the number at the end of its settings' address.
    pub(crate) installation: u64,
    /// Its private key, PEM.
    pub(crate) private_key: Credential,
}

fn default_base() -> String {
    "https://api.github.com".to_owned()
}

fn default_label() -> String {
    "escalated".to_owned()
}

fn yes() -> bool {
    true
}
