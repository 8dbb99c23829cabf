//! The test file: cases and their steps, each at its time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use events::{EventType, IssueEvent};

use super::{
    Case, Files, START, Suite, event,
    expected::{self, Expected},
    in_words, shape,
    step::{Expect, Step, What},
};
use crate::{
    Diagnostic, Ruleset, Severity,
    diagnostic::quoted,
    load::{
        load,
        mistake::{Mistake, Report},
        place::Lines,
        recover,
        shape::Fields,
        yaml::{Node, Value},
    },
};

const MAX_CASES: usize = 1000;
const MAX_STEPS: usize = 1000;
const MAX_EXPECTED: usize = 200;
/// How many files with events a test file may name, and how many with policies: each is read.
const MAX_EVENT_FILES: usize = 1000;
const MAX_POLICIES: usize = 20;
const MAX_NAME_CHARS: usize = 200;
/// A step that does not say when it happens.
const A_MINUTE: TimeDelta = TimeDelta::minutes(1);
/// The last year that a case can reach; a decision's time ends with the next.
const LAST_YEAR: i32 = 8999;

pub(super) fn read(text: &str, files: &mut dyn Files) -> Result<Suite, Vec<Diagnostic>> {
    let lines = Lines::new(text);
    let mut reader =
        Reader { report: Report::new(&lines), files, policies: BTreeMap::new(), events: BTreeMap::new() };
    let tree = recover::parse(&mut reader.report);
    let suite = tree.and_then(|tree| reader.suite(&tree));
    match suite {
        Some(suite) if !reader.report.has_errors() => Ok(suite),
        _ => Err(reader.report.finish()),
    }
}

struct Reader<'t, 'f> {
    report: Report<'t>,
    files: &'f mut dyn Files,
    /// Policies that steps name; none where one has mistakes.
    policies: BTreeMap<String, Option<Arc<Ruleset>>>,
    /// Events that steps name, by their files.
    events: BTreeMap<String, Result<IssueEvent, String>>,
}

/// How far a case has come.
struct Course {
    /// The time of the step before; none before the first.
    at: Option<DateTime<Utc>>,
    /// How many steps there were.
    steps: usize,
    /// The last event of an issue.
    last: Option<IssueEvent>,
}

impl Reader<'_, '_> {
    fn suite(&mut self, tree: &Node) -> Option<Suite> {
        let fields = self.report.map(tree, &shape::FILE)?;
        let policy = fields.get("policy").and_then(|node| self.report.text(node, "`policy`"));
        let list =
            self.list(fields.get("cases")?, "`cases`", "each case begins with `- name: …`", MAX_CASES)?;
        if list.is_empty() {
            let hint = "a case begins with `- name: …` and has steps";
            self.add(Mistake::error(self.report.head(tree), "there is no case").hint(hint));
        }
        let (mut cases, mut names) = (Vec::new(), HashSet::new());
        for node in list {
            if self.report.is_full() {
                break;
            }
            let Some(case) = self.case(node) else { continue };
            if !names.insert(case.name.clone()) {
                let message = format!("there is another case {}", quoted(&case.name));
                self.add(Mistake::error(self.report.head(node), message).hint("give each a name of its own"));
            }
            cases.push(case);
        }
        Some(Suite { text: self.report.lines.text.to_owned(), policy: policy.map(str::to_owned), cases })
    }

    fn case(&mut self, node: &Node) -> Option<Case> {
        let fields = self.report.map(node, &shape::CASE)?;
        let name = fields.get("name").and_then(|node| {
            let name = self.report.text(node, "`name`")?.trim();
            let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
            if !fits || name.chars().any(char::is_control) {
                let message = format!("`name` is 1 to {MAX_NAME_CHARS} characters on one line");
                self.add(Mistake::error(node.at, message).hint("say what the policy is to do"));
            }
            Some(name.to_owned())
        });
        let list =
            self.list(fields.get("steps")?, "`steps`", "each step begins with `- event: …`", MAX_STEPS)?;
        let mut course = Course { at: None, steps: 0, last: None };
        let steps: Vec<Step> = list.iter().filter_map(|node| self.step(node, &mut course)).collect();
        // A step that could not be read may have been the one that checks.
        if steps.len() == list.len() && !steps.iter().any(|step| step.expect.is_given()) {
            let hint = "say what must follow a step: `expect: [ … ]`; `expect: []` when nothing may";
            self.add(Mistake::error(self.report.head(node), "this case checks nothing").hint(hint));
        }
        Some(Case { name: name?, line: self.line(node), steps })
    }

    fn step(&mut self, node: &Node, course: &mut Course) -> Option<Step> {
        course.steps += 1;
        let fields = self.report.map(node, &shape::STEP)?;
        self.only_one(&fields, &["event", "file", "policy"], "make it two steps");
        self.only_one(&fields, &["at", "advance"], "take one of them away");
        let hint = "`expect` names every action: take the other away";
        self.only_one(&fields, &["expect", "expect_some"], hint);
        self.only_one(&fields, &["expect", "expect_none"], hint);
        let said = self.time(&fields, course);
        let what = self.what(node, &fields, said, course);
        course.at = what.as_ref().map(|(_, at)| *at).or(said).or(course.at);
        if let Some((What::Event(event), _)) = &what
            && event.event_type != EventType::MilestoneUpdated
        {
            course.last = Some((**event).clone());
        }
        let expect = Expect {
            exactly: fields.get("expect").map(|node| self.expected(node, "`expect`")),
            some: self.some_expected(&fields, "expect_some"),
            none: self.some_expected(&fields, "expect_none"),
        };
        let (what, at) = what?;
        Some(Step { line: self.line(node), at, what, expect })
    }

    /// What happens in a step, and when.
    fn what(
        &mut self,
        node: &Node,
        fields: &Fields<'_>,
        said: Option<DateTime<Utc>>,
        course: &Course,
    ) -> Option<(What, DateTime<Utc>)> {
        let of_event = |event: &IssueEvent| said.unwrap_or_else(|| event_time(event, course.at));
        let at = said.unwrap_or_else(|| course.at.map_or(START, |at| at + A_MINUTE));
        if let Some(node) = fields.get("event") {
            let mut event = event::read(node, course.steps, course.last.as_ref(), &mut self.report)?;
            let at = of_event(&event);
            event::complete(&mut event, at, course.at);
            Some((What::Event(Box::new(event)), at))
        } else if let Some(node) = fields.get("file") {
            let name = self.report.text(node, "`file`")?;
            let event = self.event(node, name)?;
            let at = of_event(&event);
            Some((What::Event(Box::new(event)), at))
        } else if let Some(node) = fields.get("policy") {
            let name = self.report.text(node, "`policy`")?;
            Some((What::Policy(name.to_owned(), self.policy(node, name)?), at))
        } else {
            if fields.get("at").or(fields.get("advance")).is_none() {
                let hint = "give it an `event`, or let time pass with `advance: 1h`";
                self.add(Mistake::error(self.report.head(node), "nothing happens in this step").hint(hint));
            }
            Some((What::Nothing, at))
        }
    }

    /// The step's time, where it says one.
    fn time(&mut self, fields: &Fields<'_>, course: &Course) -> Option<DateTime<Utc>> {
        if let Some(node) = fields.get("at") {
            let at = instant(node, "`at`", &mut self.report)?;
            let Some(before) = course.at.filter(|before| at < *before) else { return Some(at) };
            let message = format!("time goes back: the step before is at {}", in_words(before));
            let hint = "an event that comes late has an earlier `updated_at`, not an earlier `at`";
            self.add(Mistake::error(node.at, message).hint(hint));
            return None;
        }
        let node = fields.get("advance")?;
        let at = course.at.unwrap_or(START) + self.report.duration(node, "`advance`")?;
        if at.year() > LAST_YEAR {
            self.add(Mistake::error(node.at, format!("time ends with the year {LAST_YEAR}")));
            return None;
        }
        Some(at)
    }

    fn event(&mut self, node: &Node, name: &str) -> Option<IssueEvent> {
        if !self.events.contains_key(name) {
            if self.too_many(node, self.events.len(), MAX_EVENT_FILES, "files with events") {
                return None;
            }
            self.events.insert(name.to_owned(), self.files.event(name));
        }
        match self.events.get(name)?.clone() {
            Ok(event) => Some(event),
            Err(why) => {
                self.add(Mistake::error(node.at, why));
                None
            }
        }
    }

    /// Whether a file is one more than may be named; then that is reported.
    fn too_many(&mut self, node: &Node, named: usize, most: usize, what: &str) -> bool {
        if named >= most {
            let message = format!("a test file may name at most {most} {what}");
            self.add(Mistake::error(node.at, message).hint("split it"));
        }
        named >= most
    }

    fn policy(&mut self, node: &Node, name: &str) -> Option<Arc<Ruleset>> {
        if let Some(known) = self.policies.get(name) {
            return known.clone();
        }
        if self.too_many(node, self.policies.len(), MAX_POLICIES, "policies") {
            return None;
        }
        let loaded = match self.files.policy(name) {
            Err(why) => Err(Mistake::error(node.at, why)),
            Ok(text) => load(&text).map_err(|diagnostics| {
                let first = diagnostics.iter().find(|one| one.severity == Severity::Error);
                let first =
                    first.map_or_else(String::new, |one| format!(", on line {}: {}", one.line, one.message));
                Mistake::error(node.at, format!("{} has mistakes{first}", quoted(name)))
                    .hint("`breakdown policy check` shows them all")
            }),
        };
        let loaded = loaded.map_err(|mistake| self.add(mistake)).ok().map(Arc::new);
        self.policies.insert(name.to_owned(), loaded.clone());
        loaded
    }

    fn expected(&mut self, node: &Node, what: &str) -> Vec<Expected> {
        let hint = "such as `[ \"post_nudge team:triage\" ]`; `expect: []` when nothing may happen";
        let list = self.list(node, what, hint, MAX_EXPECTED).unwrap_or_default();
        list.iter().filter_map(|node| expected::read(node, &mut self.report)).collect()
    }

    fn some_expected(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Expected> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        if matches!(&node.value, Value::List(list) if list.is_empty()) {
            let mistake = Mistake::error(self.report.head(node), format!("an empty `{key}` checks nothing"));
            self.add(mistake.hint("`expect: []` says that nothing may happen"));
        }
        self.expected(node, &format!("`{key}`"))
    }

    fn only_one(&mut self, fields: &Fields<'_>, keys: &[&str], hint: &str) {
        let mut given = keys.iter().filter_map(|key| fields.key(key).map(|node| (key, node)));
        if let (Some((first, _)), Some((second, node))) = (given.next(), given.next()) {
            let message = format!("a step cannot have both `{first}` and `{second}`");
            self.add(Mistake::error(node.at, message).hint(hint));
        }
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str, hint: &str, most: usize) -> Option<&'n [Node]> {
        let Value::List(list) = &node.value else {
            self.report.wrong_kind(node, what, "a list", hint);
            return None;
        };
        if list.len() > most {
            let message = format!("{what} may have at most {most} entries; here are {}", list.len());
            self.add(Mistake::error(self.report.head(node), message));
            return None;
        }
        Some(list)
    }

    fn add(&mut self, mistake: Mistake) {
        self.report.add(mistake);
    }

    fn line(&self, node: &Node) -> usize {
        self.report.lines.number(self.report.head(node).start())
    }
}

/// An instant of the file.
pub(super) fn instant(node: &Node, what: &str, report: &mut Report<'_>) -> Option<DateTime<Utc>> {
    let text = report.text(node, what)?;
    match text.parse::<DateTime<Utc>>() {
        Ok(at) if is_possible(&at) => Some(at),
        Ok(_) => {
            let message = format!("{what} lies outside the years 1970 to {LAST_YEAR}");
            report.add(Mistake::error(node.at, message));
            None
        }
        Err(_) => {
            let hint = "such as 2026-01-05T09:00:00Z; `advance: 26h` moves time on";
            report.add(Mistake::error(node.at, format!("{what} is no time")).hint(hint));
            None
        }
    }
}

fn is_possible(at: &DateTime<Utc>) -> bool {
    (1970..=LAST_YEAR).contains(&at.year())
}

/// When an event happens whose step does not say.
fn event_time(event: &IssueEvent, before: Option<DateTime<Utc>>) -> DateTime<Utc> {
    let said = event.updated_at.or(event.created_at).filter(is_possible);
    match (said, before) {
        (Some(said), Some(before)) if said <= before => before + A_MINUTE,
        (Some(said), _) => said,
        (None, before) => before.map_or(START, |at| at + A_MINUTE),
    }
}
