//! An expected action: what is said of it, and whether an action is like that.

use std::fmt;

use chrono::{DateTime, Utc};
use events::{Action, ActionKind};
use serde_json::Value;

use super::{event::value_of, file::instant, in_words, shape};
use crate::{
    Ruleset,
    diagnostic::{did_you_mean, quoted},
    load::{
        mistake::{Mistake, Report},
        place::Span,
        shape::Fields,
        yaml::{self, Node},
    },
};

const SHORT: &str = "in short: `ACTION TARGET RULE @TIME`, of which all but the first may be left out";

/// What is said of an action; what is not said is not compared.
#[derive(Debug, Default)]
pub(super) struct Expected {
    place: Span,
    pub(super) action: Option<ActionKind>,
    pub(super) target: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) issue: Option<String>,
    pub(super) project: Option<String>,
    pub(super) rationale: Option<String>,
    pub(super) params: Vec<(String, Value)>,
}

/// Reads the long form or the short one.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Expected> {
    match &node.value {
        yaml::Value::Text(text) => return short(node, text, report),
        yaml::Value::Map(entries) if entries.is_empty() => {
            let mistake = Mistake::error(report.head(node), "this says nothing of an action");
            report.add(mistake.hint("an expected action has at least one field"));
        }
        yaml::Value::Map(_) => {}
        _ => {
            report.wrong_kind(node, shape::EXPECTED.what, "a map or a line of text", SHORT);
            return None;
        }
    }
    let fields = report.map(node, &shape::EXPECTED)?;
    let mut expected = Expected { place: report.head(node), ..Expected::default() };
    expected.action = word(&fields, "action", report).and_then(|(at, word)| kind(at, word, report));
    expected.target = word(&fields, "target", report).and_then(|(at, word)| target(at, word, report));
    expected.rule = word(&fields, "rule", report).map(|(_, word)| word.to_owned());
    expected.at = fields.get("at").and_then(|node| instant(node, "`at`", report));
    expected.issue = word(&fields, "issue", report).map(|(_, word)| word.to_owned());
    expected.project = word(&fields, "project", report).map(|(_, word)| word.to_owned());
    expected.rationale = word(&fields, "rationale", report).map(|(_, word)| word.trim().to_owned());
    if let Some(node) = fields.get("params") {
        match value_of(node) {
            Value::Object(params) => expected.params = params.into_iter().collect(),
            _ => report.wrong_kind(node, "`params`", "a map", "such as `{ duration_min: 15 }`"),
        }
    }
    Some(expected)
}

fn short(node: &Node, text: &str, report: &mut Report<'_>) -> Option<Expected> {
    let at = node.at;
    let mut expected = Expected { place: at, ..Expected::default() };
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if let Some(time) = words.last().and_then(|word| word.strip_prefix('@')) {
        match time.parse() {
            Ok(time) => expected.at = Some(time),
            Err(_) => {
                report.add(
                    Mistake::error(at, "what follows `@` is no time").hint("such as @2026-01-05T09:00:00Z"),
                );
                return None;
            }
        }
        words.pop();
    }
    if words.is_empty() || words.len() > 3 {
        report.add(Mistake::error(at, "this is not an expected action").hint(SHORT));
        return None;
    }
    let mut words = words.into_iter();
    expected.action = words.next().and_then(|word| kind(at, word, report));
    expected.target = words.next().and_then(|word| target(at, word, report));
    expected.rule = words.next().map(str::to_owned);
    Some(expected)
}

fn word<'n>(fields: &Fields<'n>, key: &str, report: &mut Report<'_>) -> Option<(Span, &'n str)> {
    let node = fields.get(key)?;
    report.text(node, &format!("`{key}`")).map(|word| (node.at, word))
}

fn kind(at: Span, word: &str, report: &mut Report<'_>) -> Option<ActionKind> {
    if ActionKind::KNOWN.contains(&word) {
        return Some(ActionKind::from(word));
    }
    let hint = did_you_mean(word, ActionKind::KNOWN.iter().copied())
        .unwrap_or_else(|| format!("there are {}", ActionKind::KNOWN.join(", ")));
    report.add(Mistake::error(at, format!("unknown action {}", quoted(word))).hint(hint));
    None
}

fn target(at: Span, word: &str, report: &mut Report<'_>) -> Option<String> {
    let named = word.strip_prefix("owner:").or(word.strip_prefix("team:"));
    if named.is_some_and(|name| !name.is_empty()) {
        return Some(word.to_owned());
    }
    report.add(
        Mistake::error(at, format!("{} is no action's target", quoted(word)))
            .hint("an action is for \"owner:NAME\" or \"team:NAME\"; `assignee` has become a name by then"),
    );
    None
}

impl Expected {
    /// Whether an action is like that.
    pub(super) fn is_like(&self, action: &Action) -> bool {
        let said =
            |said: &Option<String>, is: Option<&str>| said.as_deref().is_none_or(|said| is == Some(said));
        self.action.as_ref().is_none_or(|kind| *kind == action.action)
            && said(&self.target, Some(&action.target))
            && said(&self.rule, action.rule.as_deref())
            && self.at.is_none_or(|at| action.evaluated_at == Some(at))
            && said(&self.issue, action.issue_ref.as_deref())
            && said(&self.project, Some(&action.project_id))
            && said(&self.rationale, Some(&action.rationale))
            && self.params.iter().all(|(name, value)| {
                action.params.get(name).unwrap_or(&Value::Null) == value
                    || are_one_instant(action.params.get(name), value)
            })
    }

    /// A rule or a team that none of the policies has.
    pub(super) fn unknown_name(&self, policies: &[&Ruleset]) -> Option<Mistake> {
        if let Some(rule) = &self.rule
            && !policies.iter().any(|policy| policy.rule(rule).is_some())
        {
            let ids = policies.iter().flat_map(|policy| policy.rules().map(|rule| rule.id()));
            let hint = did_you_mean(rule, ids).unwrap_or_else(|| "rules are named by their `id`".to_owned());
            let message = format!("the policy has no rule {}", quoted(rule));
            return Some(Mistake::error(self.place, message).hint(hint));
        }
        let team = self.target.as_deref().and_then(|target| target.strip_prefix("team:"))?;
        if policies.iter().any(|policy| policy.people.teams.contains_key(team)) {
            return None;
        }
        let teams = policies.iter().flat_map(|policy| policy.people.teams.keys().map(String::as_str));
        let mistake = Mistake::error(self.place, format!("the policy has no team {}", quoted(team)));
        Some(mistake.maybe_hint(did_you_mean(team, teams)))
    }
}

/// `2026-01-05T09:00:00Z` and `2026-01-05T10:00:00+01:00` say the same.
fn are_one_instant(one: Option<&Value>, other: &Value) -> bool {
    let instant = |value: &Value| value.as_str()?.parse::<DateTime<Utc>>().ok();
    matches!((one.and_then(instant), instant(other)), (Some(one), Some(other)) if one == other)
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As in short, as far as the words before are there to tell which is meant.
        let mut said: Vec<String> = self.action.iter().map(|kind| kind.as_str().to_owned()).collect();
        if let Some(target) = &self.target {
            said.push(if said.len() == 1 { target.clone() } else { format!("target={target}") });
        }
        if let Some(rule) = &self.rule {
            said.push(if said.len() == 2 { rule.clone() } else { format!("rule={rule}") });
        }
        said.extend(self.issue.as_ref().map(|issue| format!("issue={issue}")));
        said.extend(self.project.as_ref().map(|project| format!("project={project}")));
        said.extend(self.at.map(|at| format!("@{}", in_words(at))));
        said.extend(self.rationale.as_ref().map(|rationale| format!("rationale={rationale:?}")));
        said.extend(self.params.iter().map(|(name, value)| format!("{name}={value}")));
        f.write_str(&said.join(" "))
    }
}
