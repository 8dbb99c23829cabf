//! The policy file: YAML, checked as a whole. Everything that is wrong is reported at once, each with its place; where
//! YAML itself is broken, as much of the file as can still be told apart.
//!
//! Limits: a text of [`MAX_TEXT_BYTES`], [`MAX_JSON_BYTES`] as JSON, [`MAX_RULES`] rules, 8 KiB a condition, 24 levels of nesting, 500,000 nodes after
//! aliases are expanded. The text is read on a thread of its own with a large stack, since YAML and CEL parsers recurse.
//!
//! Durations are whole numbers with units, largest first: `d` (24 hours), `h`, `m`, `s`; `90s`, `15m`, `24h`, `7d`, `1h30m`.
//!
//! [`recover`] makes a tree of the text ([`yaml`]), [`file`] and [`rules`] make rules of the tree, [`shape`] knows the keys of its maps,
//! [`meant`] the words that people write for others, [`identities`] who is who. [`syntax`] puts the parser's own errors into words.
//!
//! # What is wrong has three names
//! One for each place in which it can be said to stand:
//! - a [`Problem`](crate::condition::Problem) in one expression: bytes of its text. Conditions have them (errors), and what the
//!   analysis finds in them (warnings).
//! - a [`Mistake`](mistake::Mistake) in the file: bytes of the file, error or warning. The [`Report`] collects them, and makes one of each
//!   problem by the place of its expression.
//! - a [`Diagnostic`] for whoever asked: the same with lines and columns, in file order.

mod comment;
pub(crate) mod duration;
mod file;
mod identities;
mod meant;
pub(crate) mod mistake;
mod people;
pub(crate) mod place;
pub(crate) mod recover;
mod rules;
mod scalar;
pub(crate) mod shape;
mod syntax;
mod target;
pub(crate) mod yaml;

use std::{io, thread};

use self::{mistake::Report, place::Lines};
use crate::{Diagnostic, Ruleset, index::Index};

/// The longest policy file, in bytes.
pub const MAX_TEXT_BYTES: usize = 2 * 1024 * 1024;
/// The longest policy file as a JSON string, in bytes. So the topic `policies` keeps it, in a record that may have 4 MiB with all that
/// goes with it; line breaks, quotes and backslashes count twice, control characters six times.
pub const MAX_JSON_BYTES: usize = 3 * 1024 * 1024;
/// The most rules.
pub const MAX_RULES: usize = 10_000;
/// The most diagnostics that [`load`] gives: where there are as many, there may be more.
pub const MAX_DIAGNOSTICS: usize = mistake::MAX_DIAGNOSTICS;
/// The JSON Schema (draft 2020-12) of the policy file, as text.
pub const SCHEMA: &str = include_str!("../../policy.schema.json");

const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Reads a policy file.
///
/// # Errors
/// Everything that is wrong with it, in file order; never empty, at most [`MAX_DIAGNOSTICS`], and among warnings at least one
/// error.
pub fn load(text: &str) -> Result<Ruleset, Vec<Diagnostic>> {
    let refused = |message: &str, hint| Err(vec![Diagnostic::of_file(message, hint)]);
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("a policy may have at most {MAX_TEXT_BYTES} bytes (2 MiB)");
        return refused(&message, Some("split it by project"));
    }
    let recorded = json_bytes(text);
    if recorded > MAX_JSON_BYTES {
        let message = format!(
            "the log keeps a policy as a JSON string, which may have at most {MAX_JSON_BYTES} bytes (3 MiB); this has {recorded}"
        );
        let hint = "line breaks, quotes and backslashes count twice there: take away blank lines, or split it by project";
        return refused(&message, Some(hint));
    }
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("policy".into()).stack_size(STACK_BYTES);
        let Ok(reader) = reader.spawn_scoped(scope, || load_here(text)) else {
            return refused("no thread could be started to read the policy", None);
        };
        reader.join().unwrap_or_else(|_| {
            let hint = "take away rules until it loads, and report the one that does not";
            refused("the policy could not be read: a fault in the parser", Some(hint))
        })
    })
}

/// How long a text is as a JSON string.
fn json_bytes(text: &str) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // Counting cannot fail, and neither can a text be no JSON.
    match serde_json::to_writer(&mut count, text) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

fn load_here(text: &str) -> Result<Ruleset, Vec<Diagnostic>> {
    let lines = Lines::new(text);
    let mut report = Report::new(&lines);
    let ruleset = recover::parse(&mut report).map(|tree| file::read(&tree, &mut report));
    let refused = report.has_errors();
    let diagnostics = report.finish();
    match ruleset {
        Some(mut ruleset) if !refused => {
            ruleset.warnings = diagnostics;
            ruleset.index = Index::new(&ruleset.rules);
            ruleset.text = text.to_owned();
            ruleset.hash = events::id::sha256(text.as_bytes());
            Ok(ruleset)
        }
        _ => Err(diagnostics),
    }
}
