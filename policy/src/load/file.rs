//! The file's own level: version, limits, people, teams, the list of rules.

use std::collections::{HashMap, HashSet};

use super::{
    MAX_RULES, identities,
    mistake::{Mistake, Report},
    people,
    place::Span,
    rules::{self, Shared},
    shape,
    yaml::{Node, Value},
};
use crate::{
    Ruleset, Target, analysis,
    condition::{Budget, Problem},
    diagnostic::quoted,
    index::Index,
    people::{Group, People},
};

/// The longest id, team or member name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 100;
const MAX_TEAMS: usize = 1000;
const MAX_MEMBERS: usize = 1000;
const DEFAULT_ACTIONS_PER_ISSUE: u32 = 20;
const MAX_ACTIONS_PER_ISSUE: u32 = 1000;

/// Reads the whole file. What it returns is worth nothing when the report holds an error.
pub(super) fn read(tree: &Node, report: &mut Report<'_>) -> Ruleset {
    let mut ruleset = Ruleset {
        hash: String::new(),
        text: String::new(),
        people: People::default(),
        actions_per_issue: DEFAULT_ACTIONS_PER_ISSUE,
        rules: Vec::new(),
        places: HashMap::new(),
        warnings: Vec::new(),
        index: Index::default(),
    };
    if let Value::List(_) = tree.value {
        let hint = "begin the file with `version: 1` and `rules:`, and put the list below `rules:`";
        report.wrong_kind(tree, "a policy", "a map", hint);
        return ruleset;
    }
    let Some(file) = report.map(tree, &shape::FILE) else { return ruleset };
    if let Some(version) = file.get("version") {
        read_version(version, report);
    }
    if let Some(node) = file.get("limits") {
        read_limits(node, &mut ruleset, report);
    }
    if let Some(node) = file.get("people") {
        identities::read_people(node, &mut ruleset.people, report);
    }
    let (mut team_places, mut members) = (Vec::new(), Vec::new());
    if let Some(node) = file.get("teams") {
        read_teams(node, &mut ruleset, &mut team_places, &mut members, report);
    }
    let owners = match file.get("rules") {
        Some(node) => read_rules(node, &mut ruleset, report),
        None => Vec::new(),
    };
    match file.get("people") {
        Some(_) => people::warn_of_unknown(members.iter().chain(&owners), &ruleset.people, report),
        None => people::warn_of_misspelt(&owners, &ruleset.people.teams, report),
    }
    // A misspelt target is an error; that nobody names its team is not worth saying besides.
    if !report.has_errors() {
        warn_of_idle_teams(&ruleset, &team_places, report);
    }
    ruleset
}

fn read_version(node: &Node, report: &mut Report<'_>) {
    match &node.value {
        Value::Number(number) if *number == 1.0 => {}
        Value::Text(text) if text == "1" => {
            let message = "the version is a number, not text";
            report.add(Mistake::error(node.at, message).hint("write `version: 1`, without quotes"));
        }
        _ => report.add(Mistake::error(report.head(node), "unknown version").hint("write `version: 1`")),
    }
}

fn read_limits(node: &Node, ruleset: &mut Ruleset, report: &mut Report<'_>) {
    let Some(fields) = report.map(node, &shape::LIMITS) else { return };
    let Some(node) = fields.get("actions_per_issue") else { return };
    match node.value {
        Value::Number(number)
            if number.fract() == 0.0 && (1.0..=f64::from(MAX_ACTIONS_PER_ISSUE)).contains(&number) =>
        {
            ruleset.actions_per_issue = number as u32;
        }
        Value::Number(_) => {
            let message =
                format!("`actions_per_issue` is a whole number from 1 to {MAX_ACTIONS_PER_ISSUE}, an hour");
            report.add(Mistake::error(node.at, message));
        }
        _ => report.wrong_kind(node, "`actions_per_issue`", "a number", "such as 20, without quotes"),
    }
}

/// `places` are those of the teams, `named` the members and theirs.
fn read_teams(
    node: &Node,
    ruleset: &mut Ruleset,
    places: &mut Vec<(String, Span)>,
    named: &mut Vec<(String, Span)>,
    report: &mut Report<'_>,
) {
    let example = "such as `triage: { members: [alice, bo] }`";
    let Value::Map(teams) = &node.value else {
        report.wrong_kind(node, "`teams`", "a map of names to members", example);
        return;
    };
    if teams.len() > MAX_TEAMS {
        let message = format!("there may be at most {MAX_TEAMS} teams; here are {}", teams.len());
        report.add(Mistake::error(report.head(node), message));
        return;
    }
    for (name, key, team) in report.entries(teams) {
        report.name(&name, key.at, "a team's name");
        places.push((name.to_string(), key.at));
        let mut group = Group::default();
        if let Value::List(_) = team.value {
            report.wrong_kind(
                team,
                "a team",
                "a map",
                "put `members:` before the list: `{ members: [alice, bo] }`",
            );
        } else if let Some(fields) = report.map(team, &shape::TEAM) {
            group.team = identities::read_team(&name, &fields, report);
            if let Some(list) = fields.get("members") {
                let members = read_members(list, report);
                group.members = members.iter().map(|(name, _)| name.clone()).collect();
                named.extend(members);
            }
        }
        ruleset.people.teams.insert(name.into_owned(), group);
    }
}

fn read_members(node: &Node, report: &mut Report<'_>) -> Vec<(String, Span)> {
    let Value::List(list) = &node.value else {
        report.wrong_kind(node, "`members`", "a list of names", "such as `[alice, bo]`");
        return Vec::new();
    };
    if list.is_empty() || list.len() > MAX_MEMBERS {
        let message = format!("a team has 1 to {MAX_MEMBERS} members");
        report.add(Mistake::error(report.head(node), message));
    }
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    for member in list {
        let Some(name) = report.text(member, "a member") else { continue };
        report.person(name, member.at);
        if !seen.insert(name) {
            report.add(Mistake::error(member.at, format!("{} is in this team twice", quoted(name))));
        }
        members.push((name.to_owned(), member.at));
    }
    members
}

/// Returns the people who are targets, and where.
fn read_rules(node: &Node, ruleset: &mut Ruleset, report: &mut Report<'_>) -> Vec<(String, Span)> {
    let Value::List(list) = &node.value else {
        let hint = match &node.value {
            Value::Map(_) => "put a dash before each rule: `- id: …`",
            _ => "each rule begins with `- id: …`",
        };
        report.wrong_kind(node, "`rules`", "a list", hint);
        return Vec::new();
    };
    if list.len() > MAX_RULES {
        let message = format!("there may be at most {MAX_RULES} rules; here are {}", list.len());
        report.add(Mistake::error(report.head(node), message).hint("split the policy by project"));
        return Vec::new();
    }
    ruleset.rules.reserve(list.len());
    let mut first: HashMap<String, Span> = HashMap::with_capacity(list.len());
    let mut shared = Shared { teams: &ruleset.people.teams, owners: Vec::new(), budget: Budget::default() };
    let mut read = Vec::with_capacity(list.len());
    for node in list {
        if report.is_full() {
            break;
        }
        let Some((id, id_place, rule)) = rules::read(node, &mut shared, report) else { continue };
        if let Some(first) = first.insert(id.clone(), id_place) {
            let message = format!(
                "there is another rule {}, on line {}",
                quoted(&id),
                report.lines.number(first.start())
            );
            let hint = "cooldowns and repeats follow the id: choose another";
            report.add(Mistake::error(id_place, message).hint(hint));
        }
        let Some(rule) = rule else { continue };
        ruleset.places.insert(id, ruleset.rules.len());
        ruleset.rules.push(rule);
        read.push(node);
    }
    let owners = shared.owners;
    // Where some rules could not be read, which of the others are reached cannot be said.
    for (place, problem) in analysis::problems(&ruleset.rules, !report.has_errors()) {
        warn_of(problem, read[place], ruleset.rules[place].condition.text(), report);
    }
    owners
}

/// Says what was found in a rule's condition, or in the rule as a whole.
fn warn_of(problem: Problem, rule: &Node, text: &str, report: &mut Report<'_>) {
    let Value::Map(entries) = &rule.value else { return };
    let when = entries.iter().find(|(key, _)| matches!(&key.value, Value::Text(key) if key == "when"));
    let Some((_, when)) = when else { return };
    let span = report.within(when, text, problem.span.unwrap_or(0..text.len()));
    report.add(Mistake::warning(span, problem.message).maybe_hint(problem.hint));
}

fn warn_of_idle_teams(ruleset: &Ruleset, places: &[(String, Span)], report: &mut Report<'_>) {
    let targets = ruleset.rules.iter().flat_map(|rule| &rule.then).flat_map(|then| &then.targets);
    let named: HashSet<&str> = targets
        .filter_map(|target| match target {
            Target::Team(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    for (name, at) in places {
        if !named.contains(name.as_str()) {
            report.add(Mistake::warning(*at, format!("no rule names the team {}", quoted(name))));
        }
    }
}
