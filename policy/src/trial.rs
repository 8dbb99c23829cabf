//! The walk alone, by the index and without it: for the test that both meet the same rules, and for measuring. Not for use.

use chrono::{DateTime, Utc};
use events::IssueEvent;

use crate::{Issue, Rule, Ruleset, condition::View, index::Asks, rule::Met};

/// What a walk is about.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'a> {
    /// The issue's project.
    pub project: &'a str,
    /// The issue.
    pub issue_ref: &'a str,
    /// What is known of it.
    pub issue: &'a Issue,
    /// What happened, if anything.
    pub event: Option<&'a IssueEvent>,
    /// When.
    pub now: DateTime<Utc>,
    /// Whether momentary rules are asked.
    pub momentary: bool,
    /// Whether lasting rules are asked.
    pub lasting: bool,
}

impl Walk<'_> {
    /// The rules that are met, by the index; `erred` hears of those on the way whose condition was an error.
    pub fn indexed<'r>(&self, ruleset: &'r Ruleset, erred: impl FnMut(&Rule)) -> Met<'r> {
        ruleset.met(&self.view(), self.asked(), erred)
    }

    /// The same, rule by rule.
    pub fn scanned<'r>(&self, ruleset: &'r Ruleset, erred: impl FnMut(&Rule)) -> Met<'r> {
        ruleset.met_by_scan(&self.view(), self.asked(), erred)
    }

    /// How many rules the index holds an event against when none of them ends the walk.
    pub fn candidates(&self, ruleset: &Ruleset) -> usize {
        let mut count = 0;
        ruleset.index.candidates(&self.view(), self.asked(), |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        count
    }

    fn view(&self) -> View<'_> {
        View::new(self.project, self.issue_ref, self.issue, self.event, self.now)
    }

    fn asked(&self) -> Asks {
        Asks::new(self.issue, self.event, self.momentary, self.lasting)
    }
}
