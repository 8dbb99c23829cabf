//! `breakdown targets …`: one file a command.

mod check;
mod shown;

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use executor::{Mode, Route, Target};

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

/// A line for each target of the configuration: name, kind, and what the routes bring it.
pub(crate) fn announced(targets: &[Arc<dyn Target>], settings: &Settings) -> Vec<String> {
    let configured = targets.iter().filter_map(|target| Some((target, settings.targets.get(target.name())?)));
    let line = |(target, said): (&Arc<dyn Target>, &executor::TargetConfig)| {
        let named = |names: &[String]| names.iter().any(|name| name == target.name());
        let on: Vec<&Route> = settings.routes.iter().filter(|route| named(&route.targets)).collect();
        let mut carries = Vec::new();
        if !on.is_empty() {
            let kinds = executor::reaching(&**target, &settings.routes);
            carries.extend(kinds.iter().map(|kind| kind.as_str().to_owned()));
        }
        if settings.routes.iter().any(|route| named(&route.otherwise)) {
            carries.push("what others refuse".to_owned());
        }
        let dry = match on.iter().filter(|route| route.mode == Mode::DryRun).count() {
            0 => "",
            dry if dry == on.len() => "  (dry run)",
            _ => "  (on some routes a dry run)",
        };
        format!("{} ({}): {}{dry}", target.name(), said.kind(), carries.join(", "))
    };
    configured.map(line).collect()
}
