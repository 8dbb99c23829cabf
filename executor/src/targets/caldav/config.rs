//! `[targets.NAME] kind = "caldav"`.

use serde::Deserialize;

use crate::{Credential, OwnLimits, targets::meeting};

/// Which server, whom we are there, and where meetings are put.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The server, e.g. `https://dav.example.com`. All paths, those of the policy too, are below it.
    pub(crate) base: String,
    /// Whom we are there.
    pub(crate) user: String,
    /// Our password there.
    pub(crate) password: Credential,
    /// Path of the calendar in which the meetings are put.
    pub(crate) calendar: String,
    /// The mail address from which people are invited, that of `user` on the server; without, nobody is.
    pub(crate) organizer: Option<String>,
    /// How many days ahead a meeting is looked for.
    pub(crate) horizon_days: Option<meeting::HorizonDays>,
    /// Also on a private network.
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
}
