//! What is to be explained, as it was named: a file, an issue, or the id of something on the log.

use std::path::Path;

use clap::ValueEnum;
use events::topic;

/// What was named.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    /// A file with an event or a record; `-` is standard input.
    File(&'a Path),
    /// An issue, by its reference.
    Issue(&'a str),
    /// Something on the log, by its id.
    Id(Id),
}

/// An id, in the case that ids have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    /// Of an action (`a-…`).
    Action(String),
    /// Of a timer (`t-…`): the cause of an action.
    Timer(String),
    /// Of an event: `gh-…`, `jr-…`, `pd-…`, `p-…`, or as whoever published it named it.
    Event(String),
}

/// Whose decision is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Lane {
    /// Of the policy that held
    #[value(name = "actions")]
    InForce,
    /// Of the policy that was on trial (`serve --shadow`)
    #[value(name = "actions-shadow")]
    OnTrial,
}

impl Lane {
    /// Where its actions are.
    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::InForce => topic::ACTIONS,
            Self::OnTrial => topic::ACTIONS_SHADOW,
        }
    }
}

/// What can be named, for messages.
pub(super) const SHAPES: &str = "`policy explain` takes the id of an action (a- and 32 hex digits) or of an event (gh-…, jr-…, pd-…, p-…), an issue \
     such as github:owner/repo#12 or jira:host/KEY-7, or a file with one event as `breakdown publish` takes it";

impl<'a> Subject<'a> {
    /// What `text` names. `is_file` says whether there is such a file.
    pub(super) fn of(text: &'a str, is_file: impl FnOnce(&Path) -> bool) -> Self {
        let path = Path::new(text);
        if text.starts_with("github:") || text.starts_with("jira:") {
            return Self::Issue(text);
        }
        if let Some(id) = Id::derived(text) {
            return Self::Id(id);
        }
        let looks_like_a_path = text == "-"
            || text.contains(['/', '\\'])
            || path.extension().is_some_and(|extension| extension == "json" || extension == "ndjson");
        match looks_like_a_path || is_file(path) {
            true => Self::File(path),
            false => Self::Id(Id::Event(text.to_owned())),
        }
    }
}

impl Id {
    /// An id that was derived: letters, a dash and 32 hex digits.
    fn derived(text: &str) -> Option<Self> {
        let id = text.to_ascii_lowercase();
        let (kind, hex) = id.split_once('-')?;
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        match kind {
            "a" => Some(Self::Action(id)),
            "t" => Some(Self::Timer(id)),
            "gh" | "jr" | "pd" | "p" => Some(Self::Event(id)),
            _ => None,
        }
    }

    /// What it is of, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Action(_) => "action",
            Self::Timer(_) => "action of a timer",
            Self::Event(_) => "event",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Action(id) | Self::Timer(id) | Self::Event(id) => id,
        }
    }

    /// Whether it has the form of a derived id; any other text can be an id as well, or a mistake.
    pub(super) fn is_derived(&self) -> bool {
        Self::derived(self.text()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_told_by_its_form() {
        let hex = "0123456789ABCDEF0123456789abcdef";
        let of = |text: &'static str| Subject::of(text, |path| path == Path::new("there"));
        let id = |text: &str| Id::derived(text).map(|id| (id.kind(), id.text().to_owned()));
        assert_eq!(of("github:o/r#1"), Subject::Issue("github:o/r#1"));
        assert_eq!(of("jira:h/KEY-7"), Subject::Issue("jira:h/KEY-7"));
        for file in ["-", "there", "a/b", "gone.json", "o/r#1"] {
            assert_eq!(of(file), Subject::File(Path::new(file)));
        }
        assert_eq!(of("sample-bug-1"), Subject::Id(Id::Event("sample-bug-1".into())));
        let lower = hex.to_ascii_lowercase();
        assert_eq!(id(&format!("A-{hex}")), Some(("action", format!("a-{lower}"))));
        assert_eq!(id(&format!("t-{hex}")), Some(("action of a timer", format!("t-{lower}"))));
        assert_eq!(id(&format!("gh-{hex}")), Some(("event", format!("gh-{lower}"))));
        for none in ["a-123", "a", "x-0123456789abcdef0123456789abcdef", "a-0123456789abcdef0123456789abcdeg"]
        {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
