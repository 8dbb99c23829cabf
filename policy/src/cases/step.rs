//! One step of a case.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::IssueEvent;

use super::expected::Expected;
use crate::Ruleset;

/// When, what, and which actions must follow.
#[derive(Debug)]
pub(super) struct Step {
    /// The line of the file on which it begins, from 1.
    pub(super) line: usize,
    pub(super) at: DateTime<Utc>,
    pub(super) what: What,
    pub(super) expect: Expect,
}

#[derive(Debug)]
pub(super) enum What {
    /// An event comes in.
    Event(Box<IssueEvent>),
    /// The policy of that file takes effect.
    Policy(String, Arc<Ruleset>),
    /// Time passes.
    Nothing,
}

/// Which actions must follow.
#[derive(Debug, Default)]
pub(super) struct Expect {
    /// These and no others, in this order.
    pub(super) exactly: Option<Vec<Expected>>,
    /// These among others.
    pub(super) some: Vec<Expected>,
    /// None like these.
    pub(super) none: Vec<Expected>,
}

impl Step {
    pub(super) fn policy(&self) -> Option<&Ruleset> {
        match &self.what {
            What::Policy(_, ruleset) => Some(ruleset),
            _ => None,
        }
    }

    pub(super) fn expected(&self) -> impl Iterator<Item = &Expected> {
        let Expect { exactly, some, none } = &self.expect;
        exactly.iter().flatten().chain(some).chain(none)
    }

    /// What happens in it, for a person.
    pub(super) fn in_words(&self) -> String {
        match &self.what {
            What::Event(event) => format!("{} of {}", event.event_type.as_str(), event.issue_ref),
            What::Policy(name, _) => format!("{name} takes effect"),
            What::Nothing => "time passes".to_owned(),
        }
    }
}

impl Expect {
    pub(super) fn is_given(&self) -> bool {
        self.exactly.is_some() || !self.some.is_empty() || !self.none.is_empty()
    }
}
