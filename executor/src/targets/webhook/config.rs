//! `[targets.NAME] kind = "webhook"`.

use serde::Deserialize;

use crate::{Credential, OwnLimits};

/// An endpoint that takes webhooks by the Standard Webhooks specification.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The endpoint's address.
    pub(crate) url: String,
    /// Its secret, `whsec_` and base64.
    pub(crate) secret: Credential,
    /// The secret before, or the next: while there are two, both sign.
    pub(crate) other_secret: Option<Credential>,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
}
