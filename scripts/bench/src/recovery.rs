//! `bench recovery`: a `serve` is killed in the middle of its work, events pile up, and it is started again.

use std::time::{Duration, Instant};

use eventlog::Log;
use events::topic;
use serde_json::json;

use crate::{
    Result,
    filling::{Filling, behind, count, ends, expect_empty},
    log::{self, run_number},
    measured, process,
    server::Program,
};

/// How long it may take until nothing is behind.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked what is behind.
const ASK_EVERY: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// How many events are behind when it is started again
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..))]
    behind: u64,
    /// Over how many projects they spread
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    projects: u64,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let dir = args.program.dir()?;
    let log = args.program.log.open()?;
    log.create_topics(&log::topics()).await?;
    expect_empty(&*log).await?;

    let server = args.program.start(dir.path()).await?;
    server.ready().await?;
    let mut filling = Filling::new(run_number(), args.projects);
    filling.append(&*log, args.behind / 2).await?;
    // It has state, and is at work.
    while behind(&*log).await? == filling.next {
        if server.began.elapsed() > PATIENCE {
            return Err("the gateway decides nothing: see serve.err".into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    server.kill().await?;
    let undecided = behind(&*log).await?;
    filling.append(&*log, args.behind.saturating_sub(undecided)).await?;
    let before = behind(&*log).await?;

    let server = args.program.start(dir.path()).await?;
    let (ready, (first, last)) = tokio::try_join!(server.ready(), worked_off(&*log, before))?;
    let cpu = process::cpu(Some(server.id()?))?;
    let peak = process::peak_resident(server.id()?)?;
    let begin: Vec<_> = ends(&*log, topic::ACTIONS).await?.into_iter().map(|(p, _)| (p, 0)).collect();
    let actions = count(&*log, topic::ACTIONS, &begin).await?;
    let began = server.began;
    server.kill().await?;
    if actions != filling.next {
        return Err(format!("{actions} actions of {} events, of which each has one", filling.next).into());
    }
    let after = |instant: Instant| (instant - began).as_secs_f64();
    measured::print(
        args.label.as_deref(),
        json!({
            "behind": before,
            "decided_before": filling.next - before,
            "killed_with": undecided,
            "ready_seconds": after(ready),
            "first_seconds": after(first),
            "done_seconds": after(last),
            "events_per_second": before as f64 / (last - first).as_secs_f64(),
            "cpu_seconds": cpu.as_secs_f64(),
            "peak_resident_kib": peak,
            "actions": actions,
        }),
    );
    Ok(())
}

/// Waits until nothing is behind. When the first of `before` events was decided, and when the last.
async fn worked_off(log: &dyn Log, before: u64) -> Result<(Instant, Instant)> {
    let began = Instant::now();
    let mut first = None;
    loop {
        let left = behind(log).await?;
        let now = Instant::now();
        if left < before {
            first.get_or_insert(now);
        }
        if left == 0 {
            return Ok((first.unwrap_or(now), now));
        }
        if now - began > PATIENCE {
            return Err(format!("{left} of {before} events are still behind: see serve.err").into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
