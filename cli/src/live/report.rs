//! What there is to say about the policies of a running process: health detail and metrics.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use gateway::InForce;
use metrics::{counter, gauge};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// What `/health` says about them: what was loaded, and what decides.
#[derive(Clone)]
pub(crate) struct Detail {
    pub(super) report: watch::Receiver<Report>,
    pub(super) in_force: Arc<InForce>,
}

impl Detail {
    /// `policy`, and `shadow` where one is on trial. `in_force` has the hash of each policy that decides, with its partitions.
    pub(crate) fn said(&self) -> Map<String, Value> {
        let Report { policy, shadow } = &*self.report.borrow();
        let part = |standing: &Standing, more: Value| {
            let mut part = json!(standing);
            if let (Some(part), Value::Object(more)) = (part.as_object_mut(), more) {
                part.extend(more);
            }
            part
        };
        let policy = part(policy, json!({"in_force": self.in_force.policy()}));
        let shadow = shadow.as_ref().map(|shadow| {
            part(shadow, json!({"in_force": self.in_force.shadow(), "given_up": self.in_force.given_up()}))
        });
        [("policy", Some(policy)), ("shadow", shadow)]
            .into_iter()
            .filter_map(|(name, part)| Some((name.to_owned(), part?)))
            .collect()
    }
}

/// What was loaded.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) policy: Standing,
    pub(super) shadow: Option<Standing>,
}

/// One policy.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Standing {
    /// SHA-256 of the text that was loaded last: what is to decide.
    pub(super) loaded: String,
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
            Self::Policy => {
                Names { reloads: "breakdown_policy_reloads_total", refused: "breakdown_policy_refused" }
            }
            Self::Shadow => Names {
                reloads: "breakdown_shadow_policy_reloads_total",
                refused: "breakdown_shadow_policy_refused",
            },
        }
    }

    /// Puts the metrics there before anything has happened, so that whoever alerts on them sees zeros.
    pub(super) fn begin(self) {
        for result in ["loaded", "refused", "unreadable"] {
            counter!(self.names().reloads, "result" => result).increment(0);
        }
        self.set_refused(false);
    }

    pub(super) fn count(self, result: &'static str) {
        counter!(self.names().reloads, "result" => result).increment(1);
    }

    pub(super) fn set_refused(self, refused: bool) {
        gauge!(self.names().refused).set(f64::from(u8::from(refused)));
    }
}
