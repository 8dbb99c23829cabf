//! Torments real processes of Breakdown, and checks from the outside that nothing was lost, doubled or let in.
//!
//! ```text
//!  seed ─► letters, faults          what is sent when, what goes wrong when; nothing else is drawn
//!
//!          load ──signed, forged──► processes ◄──signals, outages── inflict
//!            │                       │      │
//!            │                      log    calendar-mock (a process of its own: its record outlives the kills)
//!            ▼                       ▼      ▼
//!          stories ───────────────► evidence ◄── refolded: the log decided once more, by the policy's own fold
//!                                    │       ◄── foretold: what should follow, told from the letters alone
//!                                    ▼
//!                                  check ─► report, exit 1 when anything was found
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

mod broker;
mod check;
mod clock;
mod evidence;
mod faults;
mod foretold;
mod inflict;
mod letters;
mod load;
mod payload;
mod process;
mod refolded;
mod report;
mod run;
mod settle;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use faults::LogKind;
use tokio::signal::unix::{SignalKind, signal};

/// Whatever went wrong with the harness itself; it can only say it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is decided by.
const POLICY: &str = include_str!("../policy.yaml");

/// Torments real processes of Breakdown; see scripts/torture.sh.
#[derive(Parser)]
#[command(name = "torture", max_term_width = 110)]
struct Args {
    /// The log: one process of all roles on the embedded log, or a process a role on a broker
    #[arg(long, value_enum, default_value_t = LogKind::Embedded)]
    log: LogKind,
    /// How many nodes the broker has
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// What is sent and what goes wrong follow from it [default: drawn, and printed]
    #[arg(long)]
    seed: Option<u64>,
    /// How many deliveries
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// How long deliveries and faults take, in minutes [default: one for each 1,000 deliveries]
    #[arg(long)]
    minutes: Option<f64>,
    /// How many faults [default: one for each 100 deliveries, and ten at least]
    #[arg(long)]
    faults: Option<usize>,
    /// The program `breakdown`
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// The directory of kafka.sh
    #[arg(long, value_name = "DIR")]
    scripts: PathBuf,
    /// Where everything is kept; emptied by nobody
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
}

impl Args {
    fn length(&self) -> Duration {
        Duration::from_secs_f64(
            60.0 * self.minutes.unwrap_or(self.events as f64 / 1000.0).clamp(0.1, 24.0 * 60.0),
        )
    }

    fn faults(&self) -> usize {
        self.faults.unwrap_or((self.events / 100).max(10))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!(
        "torture.sh --log {} --nodes {} --seed {seed} --events {} --minutes {} --faults {}",
        args.log,
        args.nodes,
        args.events,
        args.length().as_secs_f64() / 60.0,
        args.faults()
    );
    // Dropped unfinished, the run takes its processes with it.
    let ended = tokio::select! {
        ended = run::run(&args, seed, &args.directory) => ended,
        error = interrupted() => Err(error),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("torture: {why}");
            ExitCode::from(2)
        }
    }
}

async fn interrupted() -> Box<dyn std::error::Error + Send + Sync> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    "interrupted".into()
}
