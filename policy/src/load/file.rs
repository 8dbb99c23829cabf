//! The file's own level: version, teams, the list of rules; and how maps, texts and their faults are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_saphyr::Spanned;

use super::{
    MAX_RULES, Report, rules,
    yaml::{Node, place},
};
use crate::{
    Diagnostic, Ruleset, Severity, Target,
    condition::Budget,
    diagnostic::{did_you_mean, quoted},
    index::Index,
};

/// The longest id, team or member name, in characters.
const MAX_NAME_CHARS: usize = 100;
const MAX_TEAMS: usize = 1000;
const MAX_MEMBERS: usize = 1000;

/// Reads the whole file. What it returns is worth nothing when the report holds an error.
pub(super) fn read(tree: &Spanned<Node>, report: &mut Report<'_>) -> Ruleset {
    let mut ruleset = Ruleset {
        hash: String::new(),
        text: String::new(),
        teams: BTreeMap::new(),
        rules: Vec::new(),
        places: HashMap::new(),
        timed: Vec::new(),
        warnings: Vec::new(),
        index: Index::default(),
    };
    let Some(file) = report.map(tree, "a policy", &["version", "teams", "rules"], &["version", "rules"])
    else {
        return ruleset;
    };
    if let Some(version) = file.get("version")
        && !matches!(version.value, Node::Number(number) if number == 1.0)
    {
        report.add(Diagnostic::error(place(version), "unknown version").hint("write `version: 1`"));
    }
    let mut team_places = HashMap::new();
    if let Some(node) = file.get("teams") {
        read_teams(node, &mut ruleset, &mut team_places, report);
    }
    if let Some(node) = file.get("rules") {
        read_rules(node, &mut ruleset, report);
    }
    // A misspelt target is an error; that nobody names its team is not worth saying besides.
    if report.diagnostics.is_empty() {
        warn_of_idle_teams(&ruleset, &team_places, report);
    }
    ruleset
}

fn read_teams<'n>(
    node: &'n Spanned<Node>,
    ruleset: &mut Ruleset,
    places: &mut HashMap<&'n str, (usize, usize)>,
    report: &mut Report<'_>,
) {
    let Node::Map(teams) = &node.value else {
        report.wrong_kind(
            node,
            "`teams`",
            "a map of names to members",
            "such as `triage: { members: [alice, bo] }`",
        );
        return;
    };
    if teams.len() > MAX_TEAMS {
        report.add(Diagnostic::error(place(node), format!("there may be at most {MAX_TEAMS} teams")));
        return;
    }
    for (name, team) in teams {
        report.name(name, "a team's name");
        places.insert(&name.value, place(name));
        let mut members = Vec::new();
        if let Some(fields) = report.map(team, "a team", &["members"], &["members"])
            && let Some(list) = fields.get("members")
        {
            members = read_members(list, report);
        }
        ruleset.teams.insert(name.value.clone(), members);
    }
}

fn read_members(node: &Spanned<Node>, report: &mut Report<'_>) -> Vec<String> {
    let Node::List(list) = &node.value else {
        report.wrong_kind(node, "`members`", "a list of names", "such as `[alice, bo]`");
        return Vec::new();
    };
    if list.is_empty() || list.len() > MAX_MEMBERS {
        report.add(Diagnostic::error(place(node), format!("a team has 1 to {MAX_MEMBERS} members")));
    }
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    for member in list {
        let Some(name) = report.text(member, "a member") else { continue };
        report.person(name, place(member));
        if !seen.insert(name) {
            report.add(Diagnostic::error(place(member), format!("{} is in this team twice", quoted(name))));
        }
        members.push(name.to_owned());
    }
    members
}

fn read_rules(node: &Spanned<Node>, ruleset: &mut Ruleset, report: &mut Report<'_>) {
    let Node::List(list) = &node.value else {
        report.wrong_kind(node, "`rules`", "a list", "each rule begins with `- id: …`");
        return;
    };
    if list.len() > MAX_RULES {
        let message = format!("there may be at most {MAX_RULES} rules; here are {}", list.len());
        report.add(Diagnostic::error(place(node), message).hint("split the policy by project"));
        return;
    }
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut budget = Budget::default();
    for node in list {
        let Some((id, id_place, rule)) = rules::read(node, &ruleset.teams, &mut budget, report) else {
            continue;
        };
        if let Some(line) = first.insert(id.clone(), id_place.0) {
            let message = format!("there is another rule {}, on line {line}", quoted(&id));
            report.add(
                Diagnostic::error(id_place, message)
                    .hint("cooldowns and repeats follow the id: choose another"),
            );
        }
        let Some(rule) = rule else { continue };
        let at = ruleset.rules.len();
        if rule.at.is_some() || rule.repeat.is_some() {
            ruleset.timed.push(at);
        }
        ruleset.places.insert(id, at);
        ruleset.rules.push(rule);
    }
}

fn warn_of_idle_teams(ruleset: &Ruleset, places: &HashMap<&str, (usize, usize)>, report: &mut Report<'_>) {
    let targets = ruleset.rules.iter().flat_map(|rule| &rule.then).flat_map(|then| &then.targets);
    let named: HashSet<&str> = targets
        .filter_map(|target| match target {
            Target::Team(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    for (name, at) in places {
        if !named.contains(name) {
            let warning = Diagnostic::error(*at, format!("no rule names the team {}", quoted(name)));
            report.add(Diagnostic { severity: Severity::Warning, ..warning });
        }
    }
}

/// The entries of a map, by key.
pub(super) struct Fields<'n>(&'n [(Spanned<String>, Spanned<Node>)]);

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Spanned<Node>> {
        self.0.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
    }
}

impl Report<'_> {
    pub(super) fn wrong_kind(&mut self, node: &Spanned<Node>, what: &str, wanted: &str, hint: &str) {
        let message = format!("{what} must be {wanted}, not {}", node.value.kind());
        self.add(Diagnostic::error(place(node), message).hint(hint));
    }

    /// A map whose keys are all known and none of which is missing; unknown and missing ones are reported.
    pub(super) fn map<'n>(
        &mut self,
        node: &'n Spanned<Node>,
        what: &str,
        known: &[&str],
        required: &[&str],
    ) -> Option<Fields<'n>> {
        let Node::Map(entries) = &node.value else {
            self.wrong_kind(node, what, "a map", &format!("with {}", known.join(", ")));
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let hint = did_you_mean(&key.value, known.iter().copied())
                    .unwrap_or_else(|| format!("{what} has {}", known.join(", ")));
                self.add(
                    Diagnostic::error(place(key), format!("unknown key {}", quoted(&key.value))).hint(hint),
                );
            }
        }
        for key in required {
            if !entries.iter().any(|(name, _)| name.value == *key) {
                self.add(Diagnostic::error(place(node), format!("{what} must have `{key}`")));
            }
        }
        Some(Fields(entries))
    }

    pub(super) fn text<'n>(&mut self, node: &'n Spanned<Node>, what: &str) -> Option<&'n str> {
        if let Node::Text(text) = &node.value {
            return Some(text);
        }
        self.wrong_kind(node, what, "text", "put it in quotes");
        None
    }

    pub(super) fn truth(&mut self, node: &Spanned<Node>, what: &str) -> bool {
        if let Node::Bool(truth) = node.value {
            return truth;
        }
        self.wrong_kind(node, what, "true or false", "write `true` or `false`");
        false
    }

    /// An id or a team's name: it stands in targets, timers and metrics.
    pub(super) fn name(&mut self, name: &Spanned<String>, what: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let long = name.value.chars().count() > MAX_NAME_CHARS;
        if name.value.is_empty() || long || !name.value.chars().all(plain) {
            let message = format!("{what} is 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_`, `.` or `/`");
            self.add(Diagnostic::error(place(name), message));
        }
    }

    /// A person's name as a provider knows it: a login, an accountId such as `5b10:2a84`, a name.
    pub(super) fn person(&mut self, name: &str, at: (usize, usize)) {
        let long = name.chars().count() > MAX_NAME_CHARS;
        if name.is_empty() || long || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = format!("a person is named by 1 to {MAX_NAME_CHARS} characters without blanks");
            self.add(Diagnostic::error(at, message));
        } else if name.starts_with("owner:") || name.starts_with("team:") || name.starts_with('@') {
            let hint = "here stands the name alone, such as `alice`";
            self.add(Diagnostic::error(at, format!("{} is not a person's name", quoted(name))).hint(hint));
        }
    }
}
