//! `bench kept`: what a server under load has left on `issues`. Each record must be an event under its project's key, so that a
//! server that answers 202 and does less is found out.

use std::time::Duration;

use events::{IssueEvent, Recorded, topic};
use serde_json::json;

use crate::{Result, filling::bounds, log::Which, measured};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    log: Which,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let log = args.log.open()?;
    let from: Vec<_> = bounds(&*log, topic::ISSUES)
        .await?
        .into_iter()
        .map(|(partition, (first, _))| (partition, first))
        .collect();
    let mut reader = log.read(topic::ISSUES, &from).await?;
    let (mut events, mut bytes) = (0_u64, 0);
    while !reader.at_end().await? {
        for record in reader.next(Duration::from_secs(1)).await? {
            let value = record.value.as_deref().unwrap_or_default();
            IssueEvent::from_record(&record.key, value).map_err(|error| {
                format!("offset {} of partition {}: {error}", record.offset, record.partition)
            })?;
            events += 1;
            bytes += value.len();
        }
    }
    measured::print(
        args.label.as_deref(),
        json!({"events": events, "event_bytes": bytes as u64 / events.max(1)}),
    );
    Ok(())
}
