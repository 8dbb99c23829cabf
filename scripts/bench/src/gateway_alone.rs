//! `bench gateway`: from `issues` to `actions`, nothing else running.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use eventlog::Log;
use events::topic;
use gateway::Gateway;
use policy::Ruleset;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    filling::{Filling, behind, bounds, count, expect_empty},
    log::{self, SystemClock, Which, run_number},
    measured, process,
    watched::{Seen, Watch, Watched},
};

/// How long the gateway may take; a stall is an error, not a low figure.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    log: Which,
    /// How many events, each about an issue of its own that fires a rule of the sample policy
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Over how many projects they spread; one a partition as far as there are partitions
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    projects: u64,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "samples/policy.yaml")]
    policy: PathBuf,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let ruleset = ruleset(&args.policy)?;
    let log = args.log.hold()?;
    log.create_topics(&log::topics()).await?;
    expect_empty(&*log).await?;

    let began = Instant::now();
    Filling::new(run_number(), args.projects).append(&*log, args.events).await?;
    let filling = began.elapsed();
    let from: Vec<_> =
        bounds(&*log, topic::ACTIONS).await?.into_iter().map(|(p, (first, _))| (p, first)).collect();
    let cpu = process::cpu(None)?;
    let (seen, started) = decide(&log, ruleset).await?;
    let cpu = process::cpu(None)? - cpu;

    let (first, last) = seen.first.zip(seen.last).ok_or("no records came")?;
    let seconds = (last - first).as_secs_f64();
    measured::print(
        args.label.as_deref(),
        json!({
            "events": seen.records,
            "projects": args.projects,
            "partitions": seen.committed.len(),
            "seconds": seconds,
            "events_per_second": seen.records as f64 / seconds,
            "cpu_us": cpu.as_secs_f64() * 1e6 / seen.records as f64,
            "steps": seen.steps,
            "actions": count(&*log, topic::ACTIONS, &from).await?,
            "joined_after_ms": (first - started).as_secs_f64() * 1e3,
            "fill_per_second": args.events as f64 / filling.as_secs_f64(),
        }),
    );
    Ok(())
}

/// The policy in a file.
pub(crate) fn ruleset(file: &Path) -> Result<Arc<Ruleset>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the policy {}: {error}", file.display()))?;
    let ruleset = policy::load(&text).map_err(|mistakes| {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        mistakes.join("\n")
    })?;
    Ok(Arc::new(ruleset))
}

/// Lets a gateway decide all that is on `issues`, and stops it. What was seen of it, and when it was started.
pub(crate) async fn decide(log: &Arc<dyn Log>, ruleset: Arc<Ruleset>) -> Result<(Seen, Instant)> {
    let ends: BTreeMap<u32, u64> = bounds(&**log, topic::ISSUES)
        .await?
        .into_iter()
        .filter(|(_, (first, end))| end > first)
        .map(|(partition, (_, end))| (partition, end))
        .collect();
    let watch = Arc::new(Watch::default());
    let watched = Watched { log: Arc::clone(log), watch: Arc::clone(&watch) };
    let gateway = Gateway::new(Arc::new(watched), Arc::new(SystemClock), ruleset);
    let stop = CancellationToken::new();
    let started = Instant::now();
    let mut running = tokio::spawn(gateway.run(stop.clone()));
    let seen = tokio::select! {
        seen = tokio::time::timeout(PATIENCE, watch.reached(&ends)) => seen,
        ended = &mut running => {
            ended??;
            return Err("the gateway stopped by itself".into());
        }
    };
    let seen =
        seen.map_err(|_| format!("not at the end after {} s: {:?}", PATIENCE.as_secs(), watch.seen()))?;
    // What the watch saw is what the log says.
    let behind = behind(&**log).await?;
    stop.cancel();
    running.await??;
    if behind > 0 || seen.failed > 0 {
        return Err(
            format!("{behind} records behind after {} failed steps: measure again", seen.failed).into()
        );
    }
    Ok((seen, started))
}
