//! What came of one check, and how it is told.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::commands::{inert, inert_json};

/// How many flaws are told of one check.
pub(super) const MAX_TOLD: usize = 10;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Error,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    verdict: Verdict,
    says: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: &str) -> Self {
        Self { check, verdict: Verdict::Ok, says: vec![says.to_owned()], todo: None }
    }

    pub(super) fn warning(check: &'static str, says: Vec<String>, todo: &str) -> Self {
        Self { check, verdict: Verdict::Warning, says, todo: Some(todo.to_owned()) }
    }

    pub(super) fn error(check: &'static str, says: Vec<String>, todo: &str) -> Self {
        Self { check, verdict: Verdict::Error, says, todo: Some(todo.to_owned()) }
    }
}

/// Flaws of one kind, of which the first are told and all are counted.
#[derive(Debug, Default)]
pub(super) struct Flaws {
    told: Vec<String>,
    count: usize,
}

impl Flaws {
    pub(super) fn add(&mut self, flaw: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(flaw());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn told(mut self) -> Vec<String> {
        if self.count > self.told.len() {
            self.told.push(format!("and {} more", self.count - self.told.len()));
        }
        self.told
    }
}

/// Tells of the checks as they are made.
pub(super) struct Report {
    as_json: bool,
    worst: Verdict,
    warnings: usize,
    errors: usize,
    /// What is to be done whatever the finding says.
    instead: Option<&'static str>,
}

impl Report {
    pub(super) fn new(as_json: bool) -> Self {
        Self { as_json, worst: Verdict::Ok, warnings: 0, errors: 0, instead: None }
    }

    /// From here on nothing that a finding would have done is to be done, but that; until none is.
    pub(super) fn distrust(&mut self, instead: Option<&'static str>) {
        self.instead = instead;
    }

    pub(super) fn tell(&mut self, mut finding: Finding) {
        if let (Some(todo), Some(instead)) = (&mut finding.todo, self.instead) {
            instead.clone_into(todo);
        }
        self.worst = self.worst.max(finding.verdict);
        match finding.verdict {
            Verdict::Ok => {}
            Verdict::Warning => self.warnings += 1,
            Verdict::Error => self.errors += 1,
        }
        if self.as_json {
            return say!("{}", inert_json(&json!(finding)));
        }
        let Finding { check, verdict, says, todo } = finding;
        let word = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        };
        let mut head = format!("{word:<8} {check:<18}");
        for line in says {
            say!("{head} {}", inert(&line));
            head = " ".repeat(27);
        }
        if let Some(todo) = todo {
            say!("{head} → {}", inert(&todo));
        }
    }

    /// A last line for people, and the exit code.
    pub(super) fn end(self) -> ExitCode {
        if !self.as_json {
            say!("");
            match (self.errors, self.warnings) {
                (0, 0) => say!("all is well"),
                (errors, warnings) => say!("errors: {errors}, warnings: {warnings}"),
            }
        }
        ExitCode::from(u8::from(self.worst == Verdict::Error))
    }
}
