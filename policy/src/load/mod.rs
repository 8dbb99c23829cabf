//! The policy file: YAML, checked as a whole. Everything that is wrong is reported at once, each with its place; only
//! YAML's own syntax errors stop at the first.
//!
//! Limits: a text of [`MAX_TEXT_BYTES`], [`MAX_RULES`] rules, 8 KiB a condition, 24 levels of nesting, 500,000 nodes after
//! aliases are expanded. The text is read on a thread of its own with a large stack, since YAML and CEL parsers recurse.
//!
//! Durations are whole numbers with units, largest first: `d` (24 hours), `h`, `m`, `s`; `90s`, `15m`, `24h`, `7d`, `1h30m`.

pub(crate) mod duration;
mod file;
mod place;
mod rules;
mod yaml;

use std::thread;

use crate::{Diagnostic, Ruleset, Severity, index::Index};

/// The longest policy file, in bytes.
pub const MAX_TEXT_BYTES: usize = 2 * 1024 * 1024;
/// The most rules.
pub const MAX_RULES: usize = 10_000;
/// The JSON Schema (draft 2020-12) of the policy file, as text.
pub const SCHEMA: &str = include_str!("../../policy.schema.json");

const STACK_BYTES: usize = 64 * 1024 * 1024;
/// More than anyone mends at one go.
const MAX_DIAGNOSTICS: usize = 100;

/// Reads a policy file.
///
/// # Errors
/// Everything that is wrong with it, in file order; never empty, at most 100, and among warnings at least one error.
pub fn load(text: &str) -> Result<Ruleset, Vec<Diagnostic>> {
    if text.len() > MAX_TEXT_BYTES {
        let size = Diagnostic::error((1, 1), format!("a policy may have at most {MAX_TEXT_BYTES} bytes"));
        return Err(vec![size.hint("split it by project")]);
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("policy".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || load_here(text))
            .map_err(|_| vec![Diagnostic::error((1, 1), "no thread could be started to read the policy")])?
            .join()
            .unwrap_or_else(|_| {
                let fault = Diagnostic::error((1, 1), "the policy could not be read: a fault in the parser");
                Err(vec![fault.hint("take away rules until it loads, and report the one that does not")])
            })
    })
}

fn load_here(text: &str) -> Result<Ruleset, Vec<Diagnostic>> {
    let tree = yaml::parse(text).map_err(|diagnostic| vec![diagnostic])?;
    let mut report = Report { text, diagnostics: Vec::new() };
    let mut ruleset = file::read(&tree, &mut report);
    let mut diagnostics = report.diagnostics;
    diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        // Errors before warnings when not all can be said.
        if diagnostics.len() > MAX_DIAGNOSTICS {
            diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
            diagnostics.truncate(MAX_DIAGNOSTICS);
        }
        return Err(diagnostics);
    }
    diagnostics.truncate(MAX_DIAGNOSTICS);
    ruleset.warnings = diagnostics;
    ruleset.index = Index::new(&ruleset.rules);
    ruleset.text = text.to_owned();
    ruleset.hash = events::id::payload_hash(text.as_bytes());
    Ok(ruleset)
}

/// What has been found so far.
struct Report<'t> {
    text: &'t str,
    diagnostics: Vec<Diagnostic>,
}

impl Report<'_> {
    fn add(&mut self, diagnostic: Diagnostic) {
        // Enough to sort and cut from; a file of 10,000 broken rules need not be reported whole.
        if self.diagnostics.len() < 100 * MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        }
    }
}
