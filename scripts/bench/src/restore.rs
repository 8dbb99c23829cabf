//! `bench restore`: what it takes to know many open issues again.
//!
//! A gateway decides an event about each issue; then `serve` is started on that log, some times. What it knows stands on
//! `gateway-state` alone. Before each start some events are appended, new ones and such as were decided before: when none of
//! them is behind, everything was restored; and only the new ones may have got an action.

use std::time::{Duration, Instant};

use eventlog::Log;
use events::topic;
use serde_json::json;

use crate::{
    Result,
    filling::{Filling, behind, bounds, count, ends, expect_empty},
    gateway_alone::{decide, ruleset},
    log::{self, PARTITIONS, run_number},
    measured, process,
    server::Program,
};

/// How long a restore may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked what is behind.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long the server is left alone then, until its memory is looked at again.
const REST: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// How many open issues
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    issues: u64,
    /// Over how many projects they spread
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..))]
    projects: u64,
    /// How often it is restored
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let dir = args.program.dir()?;
    let run = run_number();
    let mut filling = Filling::new(run, args.projects);
    {
        let log = args.program.log.hold()?;
        log.create_topics(&log::topics()).await?;
        expect_empty(&*log).await?;
        filling.append(&*log, args.issues).await?;
        decide(&log, ruleset(&args.program.policy)?).await?;
    }
    let log = args.program.log.open()?;
    let changelog: u64 =
        bounds(&*log, topic::GATEWAY_STATE).await?.values().map(|(first, end)| end - first).sum();
    for _ in 0..args.rounds {
        let actions = ends(&*log, topic::ACTIONS).await?;
        filling.append(&*log, u64::from(PARTITIONS)).await?;
        filling.repeat(&*log, 0..u64::from(PARTITIONS)).await?;
        let server = args.program.start(dir.path()).await?;
        let (ready, restored) = tokio::try_join!(server.ready(), nothing_behind(&*log))?;
        let cpu = process::cpu(Some(server.id()?))?;
        tokio::time::sleep(REST).await;
        let (peak, resident) = (process::peak_resident(server.id()?)?, process::resident(server.id()?)?);
        let began = server.began;
        // It leaves the group, so that the next need not wait for the end of its session.
        server.drain().await?;
        let new = count(&*log, topic::ACTIONS, &actions).await?;
        if new != u64::from(PARTITIONS) {
            return Err(
                format!("{new} actions of {PARTITIONS} new events and as many that came before").into()
            );
        }
        let after = |instant: Instant| (instant - began).as_secs_f64();
        measured::print(
            args.label.as_deref(),
            json!({
                "issues": args.issues,
                "changelog": changelog,
                "ready_seconds": after(ready),
                "restored_seconds": after(restored),
                "cpu_seconds": cpu.as_secs_f64(),
                "peak_resident_kib": peak,
                "resident_kib": resident,
            }),
        );
    }
    Ok(())
}

/// Waits until nothing is behind.
async fn nothing_behind(log: &dyn Log) -> Result<Instant> {
    let began = Instant::now();
    while behind(log).await? > 0 {
        if began.elapsed() > PATIENCE {
            return Err("the gateway does not come to the end: see serve.err".into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(Instant::now())
}
