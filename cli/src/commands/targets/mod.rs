//! `breakdown targets …`: one file a command.

mod check;
mod shown;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{config::Settings, error::Failure};

#[derive(Debug, Args)]
pub(crate) struct Targets {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask each target who we are there and what we may do, by a call that changes nothing
    Check(check::Check),
}

pub(crate) async fn run(args: Targets, settings: &Settings) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Check(args) => check::run(&args, settings).await,
    }
}
