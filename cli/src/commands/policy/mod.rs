//! `breakdown policy …`: one file a command.

mod backtest;
mod check;
pub(crate) mod diagnostics;
mod explain;
mod reach;
mod schema;
mod test;

use std::{io::stderr, path::Path, process::ExitCode};

use ::policy::{Diagnostic, Ruleset};
use clap::{Args, Subcommand};

use self::diagnostics::{in_source, is_coloured};
use crate::{commands::inert, config::Settings, error::Failure, policy_file};

/// How many people and teams that no target would find are logged at a start.
const LOGGED_MAX: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake in policy files, with line, column and a hint
    Check(check::Check),
    /// Print the JSON Schema of policy files, by which editors complete them
    Schema(schema::Schema),
    /// Run the cases that stand beside policies, in *.test.yaml
    Test(test::Test),
    /// Replay history through a candidate and the current policy, and show the difference
    Backtest(backtest::Backtest),
    /// Say why an action was decided, or what a policy makes of an issue or an event
    Explain(explain::Explain),
}

/// Works with policy files. `settings` are read only by what needs them.
pub(crate) async fn run(
    args: Policy,
    settings: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Check(args) => Ok(check::run(&args, &settings()?)),
        Command::Schema(_) => Ok(schema::run()),
        Command::Test(args) => test::run(&args),
        Command::Backtest(args) => backtest::run(args, settings).await,
        Command::Explain(args) => explain::run(args, settings).await,
    }
}

/// The policy that `serve` runs: the file, or the built-in one. Its warnings are logged.
pub(crate) fn load(path: Option<&Path>) -> Result<Ruleset, Failure> {
    let (name, ruleset) = load_named(path)?;
    ruleset.warnings().iter().for_each(|warning| log(&name, warning));
    Ok(ruleset)
}

/// Logs whom the policy's rules name and the targets that are served would not find, as `policy check` says it.
pub(crate) fn warn_of_unfound(name: &str, ruleset: &Ruleset, settings: &Settings) {
    let unfound = reach::warnings(ruleset, &settings.routes, &settings.targets);
    unfound.iter().take(LOGGED_MAX).for_each(|warning| log(name, warning));
    if unfound.len() > LOGGED_MAX {
        tracing::warn!("and there are more such rules: `breakdown policy check` names them");
    }
}

/// A warning, on one line.
fn log(name: &str, warning: &Diagnostic) {
    tracing::warn!("{}", inert(&format!("{name}:{warning}").replace("\n  hint: ", "; hint: ")));
}

/// The file's policy, or the built-in one, and what it is called.
fn load_named(path: Option<&Path>) -> Result<(String, Ruleset), Failure> {
    let (name, text) = match path {
        Some(path) => {
            let text = policy_file::read(path).map_err(|why| {
                Failure::usage(format!(
                    "the policy {} cannot be read: {why}",
                    inert(&path.display().to_string())
                ))
            })?;
            (path.display().to_string(), text)
        }
        None => {
            ("the built-in policy".to_owned(), include_str!("../../../../samples/policy.yaml").to_owned())
        }
    };
    let ruleset = ::policy::load(&text).map_err(|diagnostics: Vec<Diagnostic>| {
        let shown = in_source(&name, &text, &diagnostics, is_coloured(&stderr()));
        Failure::usage_in_colours(format!("the policy {} has mistakes\n\n{shown}", inert(&name)))
    })?;
    Ok((name, ruleset))
}
