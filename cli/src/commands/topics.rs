//! `breakdown topics`, `breakdown groups`.

use std::process::ExitCode;

use serde_json::json;

use crate::{
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

/// Topics with partitions, first and end offset.
pub(crate) async fn topics(settings: &Settings, as_json: bool) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let topics = log.topics().await?;
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
