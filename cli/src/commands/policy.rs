//! `breakdown policy check`.

use std::{fs::File, io::Read, path::Path, process::ExitCode};

use policy::{Diagnostic, Ruleset};
use serde_json::json;

use crate::{
    args::{Policy, PolicyCommand},
    error::Failure,
};

/// Works with policy files.
pub(crate) fn run(args: Policy) -> Result<ExitCode, Failure> {
    let PolicyCommand::Check { files, json } = args.command;
    let mut good = true;
    for path in &files {
        match policy::load(&read(path)?) {
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

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    // A byte more than is allowed is enough to be told so.
    File::open(path)
        .and_then(|file| file.take(policy::MAX_TEXT_BYTES as u64 + 1).read_to_string(&mut text))
        .map_err(|error| Failure::usage(format!("the policy {} cannot be read: {error}", path.display())))?;
    Ok(text)
}

/// The policy that `serve` runs: the file, or the built-in one.
pub(crate) fn load(path: Option<&Path>) -> Result<Ruleset, Failure> {
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), read(path)?),
        None => ("the built-in policy".to_owned(), include_str!("../../../samples/policy.yaml").to_owned()),
    };
    let ruleset = policy::load(&text).map_err(|diagnostics: Vec<Diagnostic>| {
        let lines: Vec<_> = diagnostics.iter().map(|diagnostic| format!("{name}:{diagnostic}")).collect();
        Failure::usage(format!("the policy {name} has mistakes:\n{}", lines.join("\n")))
    })?;
    ruleset.warnings().iter().for_each(|warning| tracing::warn!("{name}:{warning}"));
    Ok(ruleset)
}
