//! What there is to say about the policies of a running process: health detail and metrics.

use chrono::{DateTime, Utc};
use metrics::{counter, gauge};
use serde::Serialize;

/// What `/health` says about them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(super) policy: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<Standing>,
}

/// One policy.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Standing {
    /// SHA-256 of the text that decides.
    pub(super) hash: String,
    /// The file; none for the built-in policy.
    pub(super) file: Option<String>,
    /// Why the file as it is now does not decide.
    pub(super) refused: Option<Refused>,
}

/// A version of the file that did not take effect.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Refused {
    pub(super) at: DateTime<Utc>,
    pub(super) errors: usize,
    /// The first error, with its place.
    pub(super) first: String,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The policy.
    Policy,
    /// The policy on trial.
    Shadow,
}

/// Metric names of one part.
struct Names {
    reloads: &'static str,
    info: &'static str,
    refused: &'static str,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Shadow => "shadow policy",
        }
    }

    fn names(self) -> Names {
        match self {
            Self::Policy => Names {
                reloads: "breakdown_policy_reloads_total",
                info: "breakdown_policy_info",
                refused: "breakdown_policy_refused",
            },
            Self::Shadow => Names {
                reloads: "breakdown_shadow_policy_reloads_total",
                info: "breakdown_shadow_policy_info",
                refused: "breakdown_shadow_policy_refused",
            },
        }
    }

    /// Puts the metrics there before anything has happened, so that whoever alerts on them sees zeros.
    pub(super) fn begin(self, hash: &str) {
        for result in ["loaded", "refused", "unreadable"] {
            counter!(self.names().reloads, "result" => result).increment(0);
        }
        self.set_refused(false);
        self.set_hash(None, hash);
    }

    pub(super) fn count(self, result: &'static str) {
        counter!(self.names().reloads, "result" => result).increment(1);
    }

    pub(super) fn set_refused(self, refused: bool) {
        gauge!(self.names().refused).set(f64::from(u8::from(refused)));
    }

    /// The series of the hash in force is 1, those of former ones are 0.
    pub(super) fn set_hash(self, former: Option<&str>, hash: &str) {
        if let Some(former) = former {
            gauge!(self.names().info, "hash" => short(former).to_owned()).set(0.0);
        }
        gauge!(self.names().info, "hash" => short(hash).to_owned()).set(1.0);
    }
}

/// As much of a hash as people compare.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
