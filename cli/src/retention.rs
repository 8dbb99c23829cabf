//! How much of each topic is kept, and tidying the embedded log, which nobody else does. A broker tidies by itself.

use std::{collections::BTreeMap, convert::Infallible, num::NonZeroU64, time::Duration};

use eventlog::{Keep, embedded::EmbeddedLog};
use events::topic;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{config::duration, error::Failure};

/// Ids are recognised for so long, and a restart after a weekend reads on.
const MIN_AGE: Duration = Duration::from_secs(7 * 86_400);
/// How often it is looked whether something is to be removed.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// The limits as the configuration gives them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) retention: Option<String>,
    pub(crate) retention_bytes: Option<NonZeroU64>,
}

/// How much of a topic is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long records are kept.
    pub age: Duration,
    /// How many bytes of one partition are kept; `None`: any number.
    pub bytes: Option<u64>,
}

/// The limits of every topic that has some: `[log]`, unless `[log.topics.NAME]` says otherwise.
pub(crate) fn resolve(
    general: &Limits,
    by_topic: &BTreeMap<String, Limits>,
) -> Result<BTreeMap<&'static str, Retention>, Failure> {
    let limited: Vec<&'static str> = topic::ALL
        .into_iter()
        .filter(|name| !topic::COMPACTED.contains(name) && !topic::KEPT.contains(name))
        .collect();
    if let Some(name) = by_topic.keys().find(|name| !limited.contains(&name.as_str())) {
        return Err(Failure::usage(format!(
            "[log.topics]: {name:?} has no retention to set; these have: {}",
            limited.join(", ")
        )));
    }
    let none = Limits::default();
    limited
        .into_iter()
        .map(|name| {
            let own = by_topic.get(name).unwrap_or(&none);
            let age_place = match own.retention {
                Some(_) => format!("log.topics.{name}.retention"),
                None => "log.retention".to_owned(),
            };
            let age = own.retention.as_ref().or(general.retention.as_ref());
            let age = duration(&age_place, age.map_or("90d", String::as_str))?;
            if age < MIN_AGE {
                return Err(Failure::usage(format!(
                    "{age_place} must be at least 7d: so long ids are recognised, and restarts read"
                )));
            }
            let bytes = own.retention_bytes.or(general.retention_bytes).map(NonZeroU64::get);
            Ok((name, Retention { age, bytes }))
        })
        .collect()
}

impl From<Retention> for Keep {
    fn from(Retention { age, bytes }: Retention) -> Self {
        Self::Until { age: Some(age), bytes }
    }
}

/// Removes what is beyond its limits, now and every minute, until told to stop.
pub(crate) async fn tidy(log: EmbeddedLog, stop: CancellationToken) -> Result<(), Infallible> {
    let mut minutes = tokio::time::interval(TIDY_EVERY);
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let every_minute = async {
        loop {
            minutes.tick().await;
            match log.tidy().await {
                Ok(tidied) if tidied.records > 0 => {
                    metrics::counter!("breakdown_retention_removed_records_total").increment(tidied.records);
                    metrics::counter!("breakdown_retention_removed_bytes_total").increment(tidied.bytes);
                    info!(
                        records = tidied.records,
                        bytes = tidied.bytes,
                        "removed what [log] retention keeps no longer"
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "what is kept no longer was not removed; trying again in a minute")
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = every_minute => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(retention: Option<&str>, retention_bytes: Option<u64>) -> Limits {
        let retention_bytes = retention_bytes.and_then(NonZeroU64::new);
        Limits { retention: retention.map(str::to_owned), retention_bytes }
    }

    #[test]
    fn a_topic_has_its_own_limits_or_those_of_all() {
        let general = limits(Some("30d"), Some(1_000));
        let own = [("issues", limits(Some("365d"), None)), ("outcomes", limits(None, Some(5)))];
        let own = own.into_iter().map(|(name, limits)| (name.to_owned(), limits)).collect();
        let resolved = resolve(&general, &own).unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!(resolved["issues"], Retention { age: 365 * day, bytes: Some(1_000) });
        assert_eq!(resolved["outcomes"], Retention { age: 30 * day, bytes: Some(5) });
        assert_eq!(resolved["actions"], Retention { age: 30 * day, bytes: Some(1_000) });
        assert!(!resolved.contains_key("policies") && !resolved.contains_key("gateway-state"));
        let default = resolve(&Limits::default(), &BTreeMap::new()).unwrap();
        assert!(default.values().all(|kept| *kept == Retention { age: 90 * day, bytes: None }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        let refused = |general: Limits, name: &str, own: Limits| {
            resolve(&general, &BTreeMap::from([(name.to_owned(), own)])).unwrap_err().to_string()
        };
        let none = Limits::default;
        assert!(refused(none(), "policies", none()).contains("\"policies\" has no retention to set"));
        assert!(refused(none(), "isues", none()).contains("these have: issues"));
        assert!(
            refused(limits(Some("6d"), None), "issues", none()).contains("log.retention must be at least 7d")
        );
        assert!(
            refused(none(), "issues", limits(Some("6d"), None))
                .contains("log.topics.issues.retention must be")
        );
    }
}
