//! `breakdown policy …`: one file a command.

mod check;

use std::{fs::File, io::Read, path::Path, process::ExitCode};

use ::policy::{Diagnostic, Ruleset};
use clap::{Args, Subcommand};

use crate::{config::Settings, error::Failure};

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake in policy files, with line, column and a hint
    Check(check::Check),
}

/// Works with policy files. `settings` are read only by what needs them.
pub(crate) async fn run(
    args: Policy,
    settings: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<ExitCode, Failure> {
    let _ = &settings;
    match args.command {
        Command::Check(args) => check::run(&args),
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    // A byte more than is allowed is enough to be told so.
    File::open(path)
        .and_then(|file| file.take(::policy::MAX_TEXT_BYTES as u64 + 1).read_to_string(&mut text))
        .map_err(|error| Failure::usage(format!("the policy {} cannot be read: {error}", path.display())))?;
    Ok(text)
}

/// The policy that `serve` runs: the file, or the built-in one.
pub(crate) fn load(path: Option<&Path>) -> Result<Ruleset, Failure> {
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), read(path)?),
        None => {
            ("the built-in policy".to_owned(), include_str!("../../../../samples/policy.yaml").to_owned())
        }
    };
    let ruleset = ::policy::load(&text).map_err(|diagnostics: Vec<Diagnostic>| {
        let lines: Vec<_> = diagnostics.iter().map(|diagnostic| format!("{name}:{diagnostic}")).collect();
        Failure::usage(format!("the policy {name} has mistakes:\n{}", lines.join("\n")))
    })?;
    ruleset.warnings().iter().for_each(|warning| tracing::warn!("{name}:{warning}"));
    Ok(ruleset)
}
