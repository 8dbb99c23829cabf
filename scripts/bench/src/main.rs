//! Measures Breakdown. `scripts/bench.sh` runs it; each subcommand prints one line of JSON, and `bench report` makes the
//! table. It measures and asserts nothing.
//!
//! ```text
//!  baseline   what an axum handler costs that only reads, or reads, verifies and parses      (a server)
//!  load       signed deliveries: as many as go, or at a fixed rate                            (a client)
//!  actions    the same at a fixed rate, until each delivery's action can be read
//!  append     one append-and-acknowledge round trip of a log
//!  gateway    the gateway alone, from `issues` to `actions`
//!  history    weeks of events on an embedded log, and two policies of a hundred rules
//!  backtest   `breakdown policy backtest` on them
//!  recovery   `serve`, killed and started again with many events behind
//!  restore    `serve`, started on the log of many open issues
//!  targets    the executor with ten targets, one of which may hang
//!  kept       what is on `issues`
//!  resident   an idle `serve`: start to ready, resident memory
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod actions;
mod append;
mod backtest;
mod baseline;
mod closed_loop;
mod connection;
mod filling;
mod gateway_alone;
mod history;
mod kept;
mod latencies;
mod load;
mod log;
mod measured;
mod open_loop;
mod pacer;
mod payload;
mod process;
mod recovery;
mod report;
mod requests;
mod resident;
mod restore;
mod server;
mod signature;
mod targets;
mod watched;
mod wipe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

/// The gateway runs in this program, so it gets the allocator that it has in `breakdown`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever went wrong; the program can only say it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Breakdown; see scripts/bench.sh.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a handler to compare with, until killed
    Baseline(baseline::Args),
    /// Send signed deliveries: as many as go through, or at a fixed rate
    Load(load::Args),
    /// Send signed deliveries at a fixed rate and wait for the action of each
    Actions(actions::Args),
    /// Time one append-and-acknowledge round trip
    Append(append::Args),
    /// Fill `issues` and let the gateway alone work it off
    Gateway(gateway_alone::Args),
    /// Kill `serve` at work, let events pile up, and see how it catches up
    Recovery(recovery::Args),
    /// Start `serve` on the log of many open issues
    Restore(restore::Args),
    /// Let `serve` carry actions to ten targets, one of which may hang
    Targets(targets::Args),
    /// Count the events on `issues`
    Kept(kept::Args),
    /// Fill an embedded log with weeks of events, and write two policies to try on them
    History(history::Args),
    /// Replay what `history` wrote with `breakdown policy backtest`
    Backtest(backtest::Args),
    /// Print the table of several runs of `backtest`
    BacktestTable(backtest::TableArgs),
    /// Start `serve`, time it to readiness, look at its memory
    Resident(resident::Args),
    /// Make a payload of a given size from a smaller one
    Payload(payload::Args),
    /// Delete Breakdown's topics from a broker on this machine
    Wipe(wipe::Args),
    /// Print the table of a file of results
    Report(report::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        // As `serve` does it: one worker for each core that the process may use.
        Command::Baseline(args) => runtime(args.single).and_then(|on| on.block_on(baseline::run(args))),
        Command::Append(args) => runtime(false).and_then(|on| on.block_on(append::run(args))),
        Command::Gateway(args) => runtime(false).and_then(|on| on.block_on(gateway_alone::run(args))),
        Command::Restore(args) => runtime(false).and_then(|on| on.block_on(restore::run(args))),
        Command::Targets(args) => runtime(false).and_then(|on| on.block_on(targets::run(args))),
        Command::History(args) => runtime(false).and_then(|on| on.block_on(history::run(args))),
        // One thread: what makes the load shall cost little itself.
        Command::Load(args) => runtime(true).and_then(|on| on.block_on(load::run(args))),
        Command::Actions(args) => runtime(true).and_then(|on| on.block_on(actions::run(args))),
        Command::Resident(args) => runtime(true).and_then(|on| on.block_on(resident::run(args))),
        Command::Recovery(args) => runtime(true).and_then(|on| on.block_on(recovery::run(args))),
        Command::Kept(args) => runtime(true).and_then(|on| on.block_on(kept::run(args))),
        Command::Backtest(args) => runtime(true).and_then(|on| on.block_on(backtest::run(args))),
        Command::Wipe(args) => runtime(true).and_then(|on| on.block_on(wipe::run(args))),
        Command::BacktestTable(args) => backtest::table(args),
        Command::Payload(args) => payload::run(args),
        Command::Report(args) => report::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(single: bool) -> Result<Runtime> {
    let mut builder = if single { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    Ok(builder.enable_all().build()?)
}
