//! What waits in the data directory for the broker.

use eventlog::{Log, LogError, embedded::Snapshot};
use webhooks::Spool;

use super::{
    RESTORE,
    finding::{Finding, Report},
    refused, restore,
};
use crate::config::Settings;

pub(super) async fn check(settings: &Settings, report: &mut Report) {
    let directory = Spool::directory(&settings.data_dir);
    if !directory.is_dir() {
        return;
    }
    let told = match Snapshot::take(&directory) {
        Ok(snapshot) => told(&snapshot).await,
        Err(error) => Err(error),
    };
    report.tell(told.unwrap_or_else(|error| refused("spool", &error, restore(&directory))));
}

async fn told(snapshot: &Snapshot) -> Result<Finding, LogError> {
    let flaws: Vec<_> = snapshot.examine().await?.into_iter().flat_map(|examined| examined.flaws).collect();
    if !flaws.is_empty() {
        return Ok(Finding::error("spool", flaws, RESTORE));
    }
    let topics = snapshot.topics().await?;
    let bounds = |name: &str| topics.iter().find(|info| info.name == name)?.partitions.first().copied();
    let forwarded = snapshot.group(Spool::GROUP).await?.into_iter().find(|at| at.topic == Spool::TOPIC);
    let waiting = bounds(Spool::TOPIC).map_or(0, |bounds| {
        bounds.end - forwarded.map_or(bounds.first, |at| at.committed.clamp(bounds.first, bounds.end))
    });
    let unfit = bounds(Spool::UNFIT).map_or(0, |bounds| bounds.end - bounds.first);
    Ok(match (waiting, unfit) {
        (0, 0) => Finding::ok("spool", "sound, and empty"),
        (waiting, 0) => Finding::warning(
            "spool",
            vec![format!("{waiting} records wait for the broker")],
            "keep the directory, and run breakdown serve with the role webhooks on it until they are forwarded",
        ),
        (waiting, unfit) => Finding::warning(
            "spool",
            vec![format!(
                "{waiting} records wait for the broker, and {unfit} are set aside, which it will never take"
            )],
            "what is set aside stays there for somebody to look at",
        ),
    })
}
