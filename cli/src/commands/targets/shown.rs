//! What came of asking a target, for a person and for a program.

use events::ActionKind;
use executor::{Introduction, Whereabouts};
use serde::Serialize;
use serde_json::json;

use crate::commands::{inert, inert_json};

/// A target, and what it said.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    target: &'static str,
    kind: &'static str,
    pub(super) ok: bool,
    /// What reaches it.
    actions: Vec<String>,
    at: Option<Whereabouts>,
    who: Option<String>,
    may: Vec<String>,
    missing: Vec<String>,
    notes: Vec<String>,
    error: Option<String>,
}

impl Shown {
    pub(super) fn new(
        target: &'static str,
        kind: &'static str,
        actions: &[ActionKind],
        said: Introduction,
    ) -> Self {
        let ok = said.holds();
        let actions = actions.iter().map(|kind| kind.as_str().to_owned()).collect();
        let Introduction { at, who, may, missing, notes, trouble } = said;
        Self { target, kind, ok, actions, at, who, may, missing, notes, error: trouble }
    }

    pub(super) fn json(&self) {
        say!("{}", inert_json(&json!(self)));
    }

    pub(super) fn human(&self) {
        say!("{}", self.lines().iter().map(|line| inert(line)).collect::<Vec<_>>().join("\n"));
    }

    fn lines(&self) -> Vec<String> {
        let sign = if self.ok { '✓' } else { '✗' };
        let mut lines = vec![format!("{sign} {:<14} {}", self.target, self.kind)];
        let mut line = |word: &str, text: &str| lines.push(format!("  {word:<14} {text}"));
        if let Some(at) = &self.at {
            line("at", &place(at));
        }
        line("for", &self.actions.join(", "));
        if let Some(who) = &self.who {
            line("we are", who);
        }
        if !self.may.is_empty() {
            line("we may", &self.may.join(", "));
        }
        for missing in &self.missing {
            line("missing", missing);
        }
        if let Some(error) = &self.error {
            line("error", error);
        }
        for note in &self.notes {
            line("note", note);
        }
        lines
    }
}

/// Host, and what it resolves to.
fn place(at: &Whereabouts) -> String {
    let address = |at: &executor::Address| match at.refused {
        true => format!("{} refused", at.address),
        false => at.address.to_string(),
    };
    let through = if at.proxied { ", through executor.proxy at " } else { ", which is " };
    match at.addresses.as_slice() {
        [] => format!("{}{}", at.host, at.unresolved.map_or(String::new(), |why| format!(": {why}"))),
        addresses => {
            format!("{}{through}{}", at.host, addresses.iter().map(address).collect::<Vec<_>>().join(", "))
        }
    }
}
