//! What came of asking a target, for a person and for a program.

use events::ActionKind;
use executor::{Introduction, Whereabouts};
use serde::Serialize;
use serde_json::json;

use crate::commands::{inert, inert_json};

/// A target, and what it said.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shown {
    /// None: what no single target is to blame for.
    pub(super) target: Option<String>,
    kind: Option<&'static str>,
    pub(super) ok: bool,
    /// What reaches it.
    actions: Vec<String>,
    at: Option<Whereabouts>,
    who: Option<String>,
    may: Vec<String>,
    missing: Vec<String>,
    notes: Vec<String>,
    error: Option<String>,
    /// What keeps `serve` from starting.
    pub(super) faults: Vec<String>,
}

impl Shown {
    pub(super) fn new(target: &str, kind: &'static str, actions: &[ActionKind], said: Introduction) -> Self {
        let ok = said.holds();
        let actions = actions.iter().map(|kind| kind.as_str().to_owned()).collect();
        let Introduction { at, who, may, missing, notes, trouble } = said;
        let (target, kind) = (Some(target.to_owned()), Some(kind));
        Self { target, kind, ok, actions, at, who, may, missing, notes, error: trouble, faults: Vec::new() }
    }

    /// A target that could not be opened, by its name and kind, or the routes.
    pub(super) fn of_faults(target: Option<(&str, &'static str)>, faults: Vec<String>) -> Self {
        let (target, kind) = target.map(|(name, kind)| (name.to_owned(), kind)).unzip();
        Self { target, kind, faults, ..Self::default() }
    }

    /// There is no target.
    pub(super) fn of_none(what: String, notes: [&str; 2]) -> Self {
        Self { error: Some(what), notes: notes.map(ToOwned::to_owned).into(), ..Self::default() }
    }

    /// Something is wrong with it besides.
    pub(super) fn take(&mut self, faults: Vec<String>) {
        self.ok &= faults.is_empty();
        self.faults.extend(faults);
    }

    pub(super) fn json(&self) {
        say!("{}", inert_json(&json!(self)));
    }

    pub(super) fn human(&self) {
        say!("{}", self.lines().iter().map(|line| inert(line)).collect::<Vec<_>>().join("\n"));
    }

    fn lines(&self) -> Vec<String> {
        let sign = if self.ok { '✓' } else { '✗' };
        let target = self.target.as_deref().unwrap_or("routes");
        let head = format!("{sign} {target:<14} {}", self.kind.unwrap_or_default());
        let mut lines = vec![head.trim_end().to_owned()];
        let mut line = |word: &str, text: &str| lines.push(format!("  {word:<14} {text}"));
        if let Some(at) = &self.at {
            line("at", &place(at));
        }
        if !self.actions.is_empty() {
            line("for", &self.actions.join(", "));
        }
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
        for fault in &self.faults {
            line("fault", fault);
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
