//! Cases of a policy: what comes in, when, and which actions must follow. They stand beside the policy, in `*.test.yaml`.
//!
//! ```text
//!   text ──parse──► Suite ─► Case::run(ruleset) ─► Ran { failures: what differs, and why; fired rules }
//! ```
//!
//! # The file
//! ```yaml
//! policy: policy.yaml                # beside this file; left out: the same name without `.test`
//! cases:
//!   - name: An overdue issue is unblocked every day
//!     steps:
//!       - event: { type: issue_opened, labels: [export], assignee: kim, due_at: 2026-01-06T12:00:00Z }
//!         expect: [ "post_nudge team:triage triage-new" ]
//!       - advance: 27h
//!         expect: [ { action: schedule_unblocker, target: "owner:kim", at: 2026-01-06T12:00:00Z } ]
//! ```
//!
//! A step says when, what, and which actions must follow.
//!
//! | key | meaning |
//! |---|---|
//! | `at` | when it happens |
//! | `advance` | the same, as the time that passes since the step before: `26h` |
//! | `event` | fields of an event |
//! | `file` | a JSON file with one event, such as the samples; found from this file's folder |
//! | `policy` | another policy takes effect; found from this file's folder |
//! | `expect` | exactly these actions, in this order; `[]`: none |
//! | `expect_some` | these actions among others, in any order |
//! | `expect_none` | no action that is like one of these |
//!
//! - **When.** A case begins on [`START`], a Monday; a step without `at` and `advance` happens when its event says that the
//!   issue was updated (`updated_at`, else `created_at`) if that is later than the step before, else a minute after it. Time never goes
//!   back.
//! - **Timers** that are due by a step fire before it, each when it is due, as in a gateway that is never away. What they
//!   do belongs to that step. A step without `event`, `file` and `policy` only lets time pass.
//! - **An expected action** is a map with some of `action`, `target`, `rule`, `at`, `issue`, `project`, `rationale`, `params`; only
//!   what it names is compared, and of `params` only the named ones. Or in short: `ACTION [TARGET [RULE]] [@TIME]`.
//! - A step without any `expect…` is not checked; a case in which nothing is checked is refused.
//! - **Another policy** takes effect as in production: silently.
//!
//! # Fields of an event
//! They are those of the topic `issues`, read as strictly as `breakdown publish` reads them. `type` must be there; what else is left
//! out is filled in so that a short event is a whole one:
//!
//! - `issue` is short for `issue_ref`. An event that names no issue (nor `repo`, `issue_number`, `issue_key`) is about the one that the
//!   event before is about; the first about `github:acme/app#1`. `source`, `repo`, `issue_number` and `issue_key` follow from it.
//! - `event_id` is `step-N`, `project_id` that of the event before, the first `alpha`.
//! - `updated_at` is the step's time.
//! - An opening event (`issue_opened`, `issue_created`) says everything, as a provider's does: `state: open`, `created_at` the step's
//!   time, no labels, assignees, priority, due date. Other events say what they are given, and all else stays as it is known.
//!
//! Limits: a file of [`MAX_TEXT_BYTES`], 1,000 cases, 1,000 steps a case, 200 expected actions a step, 10,000 timers a case, 1,000
//! files with events and 20 with policies; and for all cases of a file together [`MAX_STEPS`], which are minutes at worst.

mod compare;
mod event;
mod expected;
mod file;
mod run;
mod shape;
mod step;
mod why;
mod work;

use chrono::{DateTime, Utc};
pub use compare::Line;
use events::IssueEvent;
pub use run::{Failure, Ran};
use step::Step;
pub use work::{MAX_STEPS, Work};

use crate::{
    Diagnostic, MAX_TEXT_BYTES, Ruleset,
    load::{mistake::Report, place::Lines},
};

/// When a case begins whose first step does not say: a Monday morning.
pub const START: DateTime<Utc> = match DateTime::from_timestamp(1_767_603_600, 0) {
    Some(start) => start,
    None => DateTime::UNIX_EPOCH,
};

/// What a test file names besides itself. Names are as they stand in the file: paths from its folder.
pub trait Files {
    /// The one event in a JSON file.
    ///
    /// # Errors
    /// Why there is none, in a line.
    fn event(&mut self, name: &str) -> Result<IssueEvent, String>;

    /// The text of a policy.
    ///
    /// # Errors
    /// Why there is none, in a line.
    fn policy(&mut self, name: &str) -> Result<String, String>;
}

/// The cases of one file.
#[derive(Debug)]
pub struct Suite {
    text: String,
    policy: Option<String>,
    cases: Vec<Case>,
}

/// One case: a conversation with a policy, from nothing known.
#[derive(Debug)]
pub struct Case {
    name: String,
    line: usize,
    steps: Vec<Step>,
}

/// Reads a test file.
///
/// # Errors
/// Everything that is wrong with it, in file order; never empty, at most 100.
pub fn parse(text: &str, files: &mut dyn Files) -> Result<Suite, Vec<Diagnostic>> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("a test file may have at most {MAX_TEXT_BYTES} bytes (2 MiB)");
        let hint = "split it: a policy can have several, each with `policy: …`";
        return Err(vec![Diagnostic::of_file(message, Some(hint))]);
    }
    file::read(text, files)
}

impl Suite {
    /// The policy that the file names, as it stands there.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The cases, in file order.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Rules and teams that cases expect, and that no policy of theirs has: misspelt, or gone.
    pub fn unknown_names(&self, ruleset: &Ruleset) -> Vec<Diagnostic> {
        let lines = Lines::new(&self.text);
        let mut report = Report::new(&lines);
        for case in &self.cases {
            let others = case.steps.iter().filter_map(Step::policy);
            let rulesets: Vec<&Ruleset> = std::iter::once(ruleset).chain(others).collect();
            let expected = case.steps.iter().flat_map(Step::expected);
            expected
                .filter_map(|expected| expected.unknown_name(&rulesets))
                .for_each(|mistake| report.add(mistake));
        }
        report.finish()
    }
}

impl Case {
    /// Its name, unique in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line of the file on which it begins, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Puts the steps through the production fold, under `ruleset`, and compares what follows. It fails where nothing is left of
    /// `work`, which all cases of a file share.
    pub fn run(&self, ruleset: &Ruleset, work: &mut Work) -> Ran {
        run::run(self, ruleset, work)
    }
}

/// An instant as every message writes it.
fn in_words(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
