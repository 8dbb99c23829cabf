//! `bench backtest`: `breakdown policy backtest` on a log that `bench history` has filled. Its CPU time and memory are its own: the
//! program runs as a child.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, process::Command};

use crate::{Result, measured, process};

/// How often its memory is looked at; the kernel keeps the peak.
const LOOK: Duration = Duration::from_millis(5);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program `breakdown`
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Data directory of the embedded log
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where `bench history` wrote the policies
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// How often; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let program =
        args.program.canonicalize().map_err(|error| format!("no {}: {error}", args.program.display()))?;
    // It runs in another directory.
    let policies = args.policies.canonicalize()?;
    let data_dir = args.data_dir.canonicalize()?;
    let mut rounds = Vec::new();
    let mut peak = 0;
    let mut report = Value::Null;
    for _ in 0..args.rounds {
        let (cpu_before, began) = (process::cpu_of_children()?, Instant::now());
        let mut child = Command::new(&program)
            .args(["policy", "backtest", "--json"])
            .arg(policies.join("candidate.yaml"))
            .arg("--against")
            .arg(policies.join("current.yaml"))
            .arg("--data-dir")
            .arg(&data_dir)
            // No breakdown.toml of somebody else is read.
            .current_dir(&data_dir)
            .env_clear()
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().ok_or("the program has ended")?;
        let mut out = child.stdout.take().ok_or("its output is not piped")?;
        let printed = tokio::spawn(async move {
            let mut text = Vec::new();
            out.read_to_end(&mut text).await.map(|_| text)
        });
        let status = loop {
            peak = peak.max(process::peak_resident(id).unwrap_or_default());
            if let Ok(status) = tokio::time::timeout(LOOK, child.wait()).await {
                break status?;
            }
        };
        if !status.success() {
            return Err(format!("the backtest ended with {status}").into());
        }
        rounds
            .push((began.elapsed().as_secs_f64(), (process::cpu_of_children()? - cpu_before).as_secs_f64()));
        report = serde_json::from_slice(&printed.await??)?;
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, cpu) = rounds[rounds.len() / 2];
    let events = report["history"]["events"].as_u64().ok_or("the report has no events")?;
    measured::print(
        args.label.as_deref(),
        json!({
            "events": events,
            "issues": report["history"]["issues"],
            "timers": report["history"]["timers"],
            "actions": report["total"]["actions"],
            "differences": [report["total"]["added"], report["total"]["removed"], report["total"]["changed"]],
            "cores": std::thread::available_parallelism()?.get(),
            "seconds": seconds,
            "seconds_min": rounds[0].0,
            "seconds_max": rounds[rounds.len() - 1].0,
            "cpu_seconds": cpu,
            "events_per_second": events as f64 / seconds,
            "events_per_cpu_second": events as f64 / cpu,
            "peak_resident_kib": peak,
        }),
    );
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct TableArgs {
    /// What `bench backtest` has printed, line by line
    results: PathBuf,
}

/// Prints the Markdown table of several runs.
pub(crate) fn table(args: TableArgs) -> Result<()> {
    println!(
        "| events | issues | cores | seconds | events/s | CPU seconds | events per CPU second | peak memory, MiB | timers | actions |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for line in std::fs::read_to_string(&args.results)?.lines() {
        let run: Value = serde_json::from_str(line)?;
        let number = |name: &str| run[name].as_f64().unwrap_or_default();
        let both = |name: &str| {
            let [current, candidate] =
                ["current", "candidate"].map(|side| run[name][side].as_u64().unwrap_or_default());
            format!("{current}, {candidate}")
        };
        println!(
            "| {} | {} | {} | {:.2} | {:.0} | {:.2} | {:.0} | {:.0} | {} | {} |",
            number("events"),
            number("issues"),
            number("cores"),
            number("seconds"),
            number("events_per_second"),
            number("cpu_seconds"),
            number("events_per_cpu_second"),
            number("peak_resident_kib") / 1024.0,
            both("timers"),
            both("actions"),
        );
    }
    Ok(())
}
