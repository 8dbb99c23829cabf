//! What came of the cases, for a person and for a program.

use std::io::stdout;

use serde_json::{Value, json};

use super::{Counts, Coverage, Tested, Why};
use crate::commands::{inert, inert_json, policy::diagnostics::is_coloured};

/// How many rules are named that fired in no case.
const MAX_SILENT: usize = 20;

pub(super) fn text(tested: &Tested) {
    match &tested.result {
        Ok(cases) if cases.is_empty() => {}
        Ok(cases) => {
            say!("{} (policy {})", inert(&tested.file), inert(&tested.policy));
            for case in cases {
                let word = if case.ran.failures.is_empty() { "ok  " } else { "FAIL" };
                say!("{word} {}", inert(&case.name));
                case.lines().iter().for_each(|line| say!("     {line}"));
            }
        }
        Err(broken) => {
            say!("{}: cannot be run", inert(&tested.file));
            say!("{}", broken.in_words(is_coloured(&stdout())));
        }
    }
    if !matches!(&tested.result, Ok(cases) if cases.is_empty()) {
        say!("");
    }
}

pub(super) fn summary(counts: &Counts, coverage: &[Coverage]) {
    for coverage in coverage {
        let (policy, total) = (inert(&coverage.policy), coverage.rules.len());
        let named: Vec<_> =
            coverage.silent().take(MAX_SILENT).map(|(id, line)| format!("{id} (line {line})")).collect();
        let (named_count, named) = (named.len(), named.join(", "));
        match coverage.silent().count() {
            0 => say!("{policy}: each of its {total} rules fired in some case"),
            count if count > named_count => say!(
                "{policy}: {count} of {total} rules fired in no case: {named}, and {} more (`--json` names all)",
                count - named_count
            ),
            count => say!("{policy}: {count} of {total} rules fired in no case: {named}"),
        }
    }
    let Counts { cases, failed, broken } = counts;
    let cannot = match broken {
        0 => String::new(),
        1 => "; 1 file cannot be run".to_owned(),
        more => format!("; {more} files cannot be run"),
    };
    let word = if *cases == 1 { "case" } else { "cases" };
    say!("{cases} {word}: {} passed, {failed} failed{cannot}", cases - failed);
}

pub(super) fn json(tested: &Tested) {
    let Tested { file, policy, result } = tested;
    match result {
        Ok(cases) => {
            for case in cases {
                let failures: Vec<Value> = case
                    .ran
                    .failures
                    .iter()
                    .map(|failure| {
                        let diff: Vec<_> = failure.lines.iter().map(ToString::to_string).collect();
                        json!({"step": failure.step, "line": failure.line, "at": failure.at, "what": failure.what,
                            "message": failure.message, "diff": diff, "why": failure.why})
                    })
                    .collect();
                say!(
                    "{}",
                    inert_json(&json!({"file": file, "policy": policy, "case": case.name, "line": case.line,
                        "ok": failures.is_empty(), "failures": failures}))
                );
            }
        }
        Err(broken) => {
            let errors: Vec<Value> = match &broken.why {
                Why::Unreadable(why) => vec![json!({"file": broken.file, "message": why})],
                Why::Mistakes { diagnostics, .. } => diagnostics
                    .iter()
                    .map(|one| {
                        json!({"file": broken.file, "line": one.line, "column": one.column, "message": one.message,
                            "hint": one.hint})
                    })
                    .collect(),
            };
            say!("{}", inert_json(&json!({"file": file, "ok": false, "errors": errors})));
        }
    }
}

pub(super) fn json_summary(counts: &Counts, coverage: &[Coverage]) {
    for coverage in coverage {
        let silent: Vec<_> = coverage.silent().map(|(id, _)| id).collect();
        say!(
            "{}",
            inert_json(
                &json!({"policy": coverage.policy, "rules": coverage.rules.len(), "not_fired": silent})
            )
        );
    }
    let Counts { cases, failed, broken } = counts;
    say!("{}", json!({"cases": cases, "passed": cases - failed, "failed": failed, "broken_files": broken}));
}

impl Coverage {
    /// The rules that fired in no case, with their lines.
    fn silent(&self) -> impl Iterator<Item = (&str, usize)> {
        let silent = self.rules.iter().filter(|(id, _)| !self.fired.contains(id));
        silent.map(|(id, line)| (id.as_str(), *line))
    }
}
