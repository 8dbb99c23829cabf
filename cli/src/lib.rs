//! The `breakdown` program: composition root, configuration, telemetry, commands.
//!
//! This crate alone reads the machine's clock, prints, and knows every other crate.
// A command answers on standard output (`say!`) and fails on standard error; everything else logs.
#![allow(clippy::print_stderr)]

/// Prints a line for whoever asked. Nobody reading any more (`| head`) is not an error.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say_line(format_args!($($text)*))
    };
}

/// Events are many small allocations, freed on other threads than they were made on. docs/benchmarks.md has what this one saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod admin;
mod args;
mod became;
mod clock;
mod commands;
pub mod config;
mod demo;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod history;
mod live;
mod logs;
mod pauses;
mod policy_file;
mod preparation;
pub mod retention;
mod running;
mod serve;
mod sweeps;
mod telemetry;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;

use crate::args::{Cli, Command};

/// How long what still runs in the background may take at the end; nothing that was promised depends on it.
const GOODBYE: Duration = Duration::from_secs(3);

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    run(Cli::parse())
}

/// Runs `breakdown publish` with the process's arguments: the program `publish`.
pub fn publish_main() -> ExitCode {
    let arguments = std::env::args_os().collect::<Vec<_>>();
    let program = arguments.first().cloned().unwrap_or_else(|| "publish".into());
    run(Cli::parse_from([program, "publish".into()].into_iter().chain(arguments.into_iter().skip(1))))
}

fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(dispatch(cli));
    // Members of a broker's group say goodbye in the background, so that others take over at once.
    runtime.shutdown_timeout(GOODBYE);
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn say_line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

async fn dispatch(cli: Cli) -> Result<ExitCode, error::Failure> {
    let settings = || config::Settings::load(&cli.common.flags(), |name| std::env::var(name).ok());
    if !matches!(cli.command, Command::Serve(_)) {
        telemetry::log_to_stderr("warn");
    }
    match cli.command {
        Command::Serve(args) => {
            let flags = args.flags(&cli.common);
            let settings = config::Settings::load(&flags, |name| std::env::var(name).ok())?;
            serve::serve(settings, args).await
        }
        Command::Publish(args) => commands::publish::run(&settings()?, args).await,
        Command::Deliver(args) => commands::deliver::run(&settings()?, args).await,
        Command::Tail(args) => commands::tail::run(&settings()?, args).await,
        Command::Topics(args) => commands::topics::topics(&settings()?, args.json).await,
        Command::Groups(args) => commands::topics::groups(&settings()?, args.json).await,
        Command::Issue(args) => commands::issue::run(&settings()?, args).await,
        Command::Pause(args) => commands::pause::run(&settings()?, args, true).await,
        Command::Resume(args) => commands::pause::run(&settings()?, args, false).await,
        Command::DeadLetters(args) => commands::dead_letters::run(&settings()?, args).await,
        Command::Doctor(args) => commands::doctor::run(&settings()?, args.json).await,
        Command::Targets(args) => commands::targets::run(args, &settings()?).await,
        Command::Policy(args) => commands::policy::run(args, settings).await,
    }
}
