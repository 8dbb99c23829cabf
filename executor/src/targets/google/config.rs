//! `[targets.NAME] kind = "google-calendar"`.

use serde::Deserialize;

use crate::{Credential, OwnLimits, targets::meeting};

/// Whom we are at Google, and where meetings are put.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// A service account's key: the JSON file that Google gives.
    pub(crate) service_account: Option<Credential>,
    /// Instead: an access token, as it is; nothing renews it.
    pub(crate) token: Option<Credential>,
    /// The user as whom the service account acts, where the domain's authority is delegated to it: without, it can invite
    /// nobody.
    pub(crate) subject: Option<String>,
    /// The calendar in which the meetings are put.
    #[serde(default = "default_calendar")]
    pub(crate) calendar: String,
    /// Who hears of a meeting by mail.
    #[serde(default)]
    pub(crate) send_updates: SendUpdates,
    /// How many days ahead a meeting is looked for.
    pub(crate) horizon_days: Option<meeting::HorizonDays>,
    /// Base of the Calendar API.
    #[serde(default = "default_base")]
    pub(crate) base: String,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
}

/// Google's words for it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SendUpdates {
    /// Every guest.
    #[default]
    All,
    /// Guests who use other calendars.
    ExternalOnly,
    /// Nobody.
    None,
}

impl SendUpdates {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ExternalOnly => "externalOnly",
            Self::None => "none",
        }
    }
}

fn default_calendar() -> String {
    "primary".to_owned()
}

fn default_base() -> String {
    "https://www.googleapis.com/calendar/v3".to_owned()
}
