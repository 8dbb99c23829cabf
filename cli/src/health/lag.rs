//! Looks at the offsets of the groups that this process has members of, again and again: for readiness and for metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::{Clock, Log, LogError};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Role, watch::Position};

/// How often it is looked. A look at a broker makes a connection, and reads a record of each partition that is behind.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the records that wait are read for, in one look.
const READ_FOR: Duration = Duration::from_secs(2);

/// Looks until told to stop.
pub(crate) async fn watch(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    roles: Arc<Vec<Role>>,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let for_ever = async {
        loop {
            looks.tick().await;
            for role in roles.iter() {
                // What does not answer is told by readiness itself.
                if let Err(error) = look(&*log, &*clock, role).await {
                    debug!(%error, role = role.name, "the group's offsets cannot be seen");
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = for_ever => Ok(()),
    }
}

/// One look at one role's group.
pub(crate) async fn look(log: &dyn Log, clock: &dyn Clock, role: &Role) -> Result<(), LogError> {
    let (topics, offsets) = (log.topics().await?, log.group(role.group).await?);
    let mut positions = Vec::new();
    for topic in role.inputs {
        let bounds = topics.iter().find(|info| info.name == *topic).map(|info| &info.partitions[..]);
        for (partition, bounds) in (0_u32..).zip(bounds.unwrap_or_default()) {
            let committed = offsets.iter().find(|at| at.topic == *topic && at.partition == partition);
            // Where a group never was it begins with the first record that is kept.
            let next = committed.map_or(bounds.first, |at| at.committed.max(bounds.first));
            positions.push(Position { topic, partition, next, lag: bounds.end.saturating_sub(next) });
        }
    }
    let unread = {
        let mut watch = role.watch();
        watch.look(clock.now(), positions, &role.progress.partitions());
        watch.unread()
    };
    for (topic, from) in unread {
        let (stamps, at_end) = stamps(log, topic, &from).await?;
        let mut watch = role.watch();
        for (partition, _) in &from {
            match stamps.get(partition) {
                Some(at) => watch.stamped(topic, *partition, *at),
                None if at_end => watch.at_end(topic, *partition),
                None => {}
            }
        }
    }
    let group = role.group;
    for (topic, partition, lag, age) in role.watch().lags(clock.now()) {
        let labels =
            [("group", group.to_owned()), ("topic", topic.to_owned()), ("partition", partition.to_string())];
        metrics::gauge!("breakdown_lag_records", &labels).set(lag as f64);
        metrics::gauge!("breakdown_oldest_unprocessed_age_seconds", &labels).set(age.as_seconds_f64());
    }
    Ok(())
}

/// When the log took the first record from each of these places on, as far as they come in time; and whether there are no others.
async fn stamps(
    log: &dyn Log,
    topic: &str,
    from: &[(u32, u64)],
) -> Result<(BTreeMap<u32, DateTime<Utc>>, bool), LogError> {
    let until = Instant::now() + READ_FOR;
    let mut reader = log.read(topic, from).await?;
    let mut stamps = BTreeMap::new();
    let mut missing: BTreeSet<u32> = from.iter().map(|(partition, _)| *partition).collect();
    while !missing.is_empty() && Instant::now() < until {
        let at_end = reader.at_end().await?;
        let records = reader.next(if at_end { Duration::ZERO } else { READ_FOR / 4 }).await?;
        if records.is_empty() && at_end {
            return Ok((stamps, true));
        }
        for record in records {
            if missing.remove(&record.partition) {
                stamps.insert(record.partition, record.timestamp);
            }
        }
    }
    Ok((stamps, false))
}
