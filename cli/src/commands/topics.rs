//! `breakdown topics`, `breakdown groups`.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use eventlog::embedded::Backlog;
use serde_json::json;
use webhooks::{Spool, SpoolContents};

use crate::{
    clock::SystemClock,
    commands::{inert, inert_json},
    config::Settings,
    error::Failure,
    logs::{self, Access},
    pauses::Pauses,
};

/// Topics with partitions, first and end offset; before them what is spooled here for a broker, and whose effects are paused.
pub(crate) async fn topics(settings: &Settings, as_json: bool) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    // It fills while the broker does not answer, so it is shown all the same.
    spool(settings, as_json).await?;
    let topics = log.topics().await?;
    paused(&Pauses::read(&*log).await?, as_json);
    if !as_json {
        say!("{:<16} {:>9} {:>12} {:>12}", "TOPIC", "PARTITION", "FIRST", "END");
    }
    for info in topics {
        for (partition, bounds) in info.partitions.iter().enumerate() {
            let (topic, first, end) = (&info.name, bounds.first, bounds.end);
            if as_json {
                say!("{}", json!({"topic": topic, "partition": partition, "first": first, "end": end}));
            } else {
                say!("{topic:<16} {partition:>9} {first:>12} {end:>12}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose effects are paused; nothing where nobody's are.
fn paused(pauses: &Pauses, as_json: bool) {
    let all = pauses.all_paused_at();
    let projects: BTreeMap<&str, DateTime<Utc>> = pauses.projects().collect();
    if all.is_none() && projects.is_empty() {
        return;
    }
    if as_json {
        say!("{}", inert_json(&json!({"effects_paused": {"all_since": all, "projects": projects}})));
        return;
    }
    let since = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    all.iter().for_each(|at| say!("effects of all projects are paused since {}", since(*at)));
    for (project, at) in projects {
        say!("effects of project {} are paused since {}", inert(project), since(at));
    }
    say!("");
}

/// What waits in this data directory for the broker.
async fn spool(settings: &Settings, as_json: bool) -> Result<(), Failure> {
    if settings.redpanda.is_none() {
        return Ok(());
    }
    let Some(contents) = Spool::look(&settings.data_dir, Arc::new(SystemClock)).await? else { return Ok(()) };
    let SpoolContents { waiting: Backlog { records, bytes, oldest }, unfit } = contents;
    if as_json {
        say!(
            "{}",
            json!({"spool": {"records": records, "bytes": bytes, "oldest_at": oldest, "unfit": unfit.records}})
        );
        return Ok(());
    }
    let since = oldest.map_or(String::new(), |at| format!(", the oldest since {}", at.to_rfc3339()));
    say!(
        "spool in {}: {records} records, {bytes} bytes wait for the broker{since}",
        inert(&settings.data_dir.display().to_string())
    );
    if unfit.records > 0 {
        say!("  and {} records that the broker will never take, not even as dead letters", unfit.records);
    }
    say!("");
    Ok(())
}

/// Consumer groups with committed offset and lag.
pub(crate) async fn groups(settings: &Settings, as_json: bool) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let groups = log.groups().await?;
    if !as_json {
        say!(
            "{:<12} {:<12} {:>9} {:>12} {:>12} {:>8}",
            "GROUP",
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG"
        );
    }
    for at in groups {
        let lag = at.lag();
        if as_json {
            say!(
                "{}",
                json!({"group": at.group, "topic": at.topic, "partition": at.partition, "committed": at.committed,
                    "end": at.end, "lag": lag})
            );
        } else {
            say!(
                "{:<12} {:<12} {:>9} {:>12} {:>12} {lag:>8}",
                at.group,
                at.topic,
                at.partition,
                at.committed,
                at.end
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
