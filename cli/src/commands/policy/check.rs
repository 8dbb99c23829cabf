//! `breakdown policy check`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::read;
use crate::error::Failure;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Policy files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Check) -> Result<ExitCode, Failure> {
    let Check { files, json } = args;
    let json = *json;
    let mut good = true;
    for path in files {
        match ::policy::load(&read(path)?) {
            Ok(ruleset) if json => {
                say!(
                    "{}",
                    json!({"file": path, "ok": true, "rules": ruleset.rules().count(), "hash": ruleset.hash()})
                );
            }
            Ok(ruleset) => {
                ruleset.warnings().iter().for_each(|warning| say!("{}:{warning}", path.display()));
                say!("{}: {} rules, no mistakes", path.display(), ruleset.rules().count());
            }
            Err(diagnostics) => {
                good = false;
                for diagnostic in diagnostics {
                    if json {
                        say!(
                            "{}",
                            json!({"file": path, "ok": false, "line": diagnostic.line, "column": diagnostic.column,
                                "message": diagnostic.message, "hint": diagnostic.hint})
                        );
                    } else {
                        say!("{}:{diagnostic}", path.display());
                    }
                }
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
