//! One rule of the file.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use events::ActionKind;
use serde_saphyr::Spanned;

use super::{
    Report, duration,
    place::place_in,
    yaml::{Node, place},
};
use crate::{
    At, Diagnostic, Rule, Target, Then,
    condition::{self, Budget, Condition, Problem},
    diagnostic::{did_you_mean, quoted},
};

const KEYS: &[&str] =
    &["id", "when", "at", "then", "repeat", "cooldown", "continue", "on_closed", "rationale"];
const MAX_RATIONALE_CHARS: usize = 1000;
const MAX_ACTIONS: usize = 10;
const MAX_TARGETS: usize = 10;
const DEFAULT_COOLDOWN: TimeDelta = TimeDelta::minutes(10);
const DEFAULT_MEETING_MIN: u32 = 15;

/// The rule's id and its place; and the rule, unless its condition is refused. `None` when it is not a map or has no id.
pub(super) fn read(
    node: &Spanned<Node>,
    teams: &BTreeMap<String, Vec<String>>,
    budget: &mut Budget,
    report: &mut Report<'_>,
) -> Option<(String, (usize, usize), Option<Rule>)> {
    let fields = report.map(node, "a rule", KEYS, &["id", "when", "then", "rationale"])?;
    let id_node = fields.get("id");
    let id = id_node.and_then(|id| report.text(id, "`id`")).unwrap_or_default().to_owned();
    if let Some(id_node) = id_node {
        report.name(&Spanned::new(id.clone(), id_node.referenced, id_node.defined), "an id");
    }

    let when = fields.get("when").and_then(|when| report.text(when, "`when`").map(|text| (when, text)));
    let condition =
        when.and_then(|(node, text)| report.expression(node, text, |text| Condition::parse(text, budget)));
    let at = fields.get("at").and_then(|node| {
        let text = report.text(node, "`at`")?;
        report.expression(node, text, condition::parse_at).map(|at: At| (node, at))
    });
    let repeat =
        fields.get("repeat").and_then(|node| report.duration(node, "`repeat`").map(|repeat| (node, repeat)));
    if let Some((node, repeat)) = repeat
        && repeat < TimeDelta::minutes(1)
    {
        report.add(Diagnostic::error(place(node), "`repeat` must be at least a minute"));
    }
    if condition.as_ref().is_some_and(Condition::reads_event) {
        for (key, node) in [("at", at.map(|at| at.0)), ("repeat", repeat.map(|repeat| repeat.0))] {
            let Some(node) = node else { continue };
            let message = format!("a rule that reads `event` cannot have `{key}`");
            report.add(
                Diagnostic::error(place(node), message)
                    .hint("at that time there is no event; ask only of `issue` and `now`"),
            );
        }
    }
    let cooldown = fields.get("cooldown").and_then(|node| report.duration(node, "`cooldown`"));
    let rationale = fields.get("rationale").and_then(|node| {
        let text = report.text(node, "`rationale`")?.trim();
        if text.is_empty() || text.chars().count() > MAX_RATIONALE_CHARS {
            let message = format!("`rationale` is 1 to {MAX_RATIONALE_CHARS} characters");
            report.add(Diagnostic::error(place(node), message).hint("say why, for whoever meets the action"));
        }
        Some(text.to_owned())
    });
    let then = fields.get("then").map(|node| read_then(node, teams, report)).unwrap_or_default();
    let goes_on = fields.get("continue").is_some_and(|node| report.truth(node, "`continue`"));
    let on_closed = fields.get("on_closed").is_some_and(|node| report.truth(node, "`on_closed`"));
    let rule = condition.map(|condition| Rule {
        id: id.clone(),
        rationale: rationale.unwrap_or_default(),
        condition,
        at: at.map(|(_, at)| at),
        then,
        repeat: repeat.map(|(_, repeat)| repeat),
        cooldown: cooldown.unwrap_or(DEFAULT_COOLDOWN),
        goes_on,
        on_closed,
        line: place(node).0,
    });
    Some((id, place(id_node?), rule))
}

/// `then`: one action, or a list.
fn read_then(
    node: &Spanned<Node>,
    teams: &BTreeMap<String, Vec<String>>,
    report: &mut Report<'_>,
) -> Vec<Then> {
    match &node.value {
        Node::List(list) => {
            if list.is_empty() || list.len() > MAX_ACTIONS {
                let message = format!("`then` has 1 to {MAX_ACTIONS} actions");
                report.add(Diagnostic::error(place(node), message));
            }
            list.iter().filter_map(|node| read_action(node, teams, report)).collect()
        }
        _ => read_action(node, teams, report).into_iter().collect(),
    }
}

fn read_action(
    node: &Spanned<Node>,
    teams: &BTreeMap<String, Vec<String>>,
    report: &mut Report<'_>,
) -> Option<Then> {
    let fields = report.map(node, "an action", &["action", "target", "duration"], &["action", "target"])?;
    let action = fields.get("action").and_then(|node| {
        let word = report.text(node, "`action`")?;
        if ActionKind::KNOWN.contains(&word) {
            return Some(ActionKind::from(word));
        }
        let hint = did_you_mean(word, ActionKind::KNOWN.iter().copied())
            .unwrap_or_else(|| format!("there are {}", ActionKind::KNOWN.join(", ")));
        report.add(Diagnostic::error(place(node), format!("unknown action {}", quoted(word))).hint(hint));
        None
    });
    let targets = fields.get("target").map(|node| read_targets(node, teams, report)).unwrap_or_default();
    let mut duration_min = DEFAULT_MEETING_MIN;
    if let Some(node) = fields.get("duration") {
        if action.as_ref().is_some_and(|action| *action != ActionKind::ScheduleUnblocker) {
            let message = "only `schedule_unblocker` takes a duration";
            report.add(Diagnostic::error(place(node), message).hint("take `duration` away"));
        }
        if let Some(duration) = report.duration(node, "`duration`") {
            let minutes = duration.num_minutes();
            if TimeDelta::minutes(minutes) != duration || !(1..=24 * 60).contains(&minutes) {
                report.add(Diagnostic::error(place(node), "a meeting takes whole minutes, from 1m to 24h"));
            }
            duration_min = u32::try_from(minutes).unwrap_or(DEFAULT_MEETING_MIN);
        }
    }
    Some(Then { action: action?, targets, duration_min })
}

/// `target`: one, or a list of which the first that resolves counts.
fn read_targets(
    node: &Spanned<Node>,
    teams: &BTreeMap<String, Vec<String>>,
    report: &mut Report<'_>,
) -> Vec<Target> {
    match &node.value {
        Node::List(list) => {
            if list.is_empty() || list.len() > MAX_TARGETS {
                report
                    .add(Diagnostic::error(place(node), format!("`target` has 1 to {MAX_TARGETS} entries")));
            }
            let targets: Vec<_> = list.iter().filter_map(|node| read_target(node, teams, report)).collect();
            let always = targets.iter().position(|target| *target != Target::Assignee);
            if let Some(unused) = always.and_then(|always| list.get(always + 1)) {
                let message = "this target is never used: the one before it always resolves";
                report.add(Diagnostic::error(place(unused), message).hint("put `assignee` first"));
            }
            targets
        }
        _ => read_target(node, teams, report).into_iter().collect(),
    }
}

fn read_target(
    node: &Spanned<Node>,
    teams: &BTreeMap<String, Vec<String>>,
    report: &mut Report<'_>,
) -> Option<Target> {
    let word = report.text(node, "`target`")?;
    if word == "assignee" {
        return Some(Target::Assignee);
    }
    if let Some(name) = word.strip_prefix("owner:") {
        report.person(name, place(node));
        return Some(Target::Owner(name.to_owned()));
    }
    if let Some(name) = word.strip_prefix("team:") {
        if !teams.contains_key(name) {
            let hint = did_you_mean(name, teams.keys().map(String::as_str))
                .unwrap_or_else(|| "name it under `teams`, with its members".to_owned());
            report.add(Diagnostic::error(place(node), format!("unknown team {}", quoted(name))).hint(hint));
        }
        return Some(Target::Team(name.to_owned()));
    }
    let hint = if teams.contains_key(word) {
        format!("write \"team:{word}\"")
    } else {
        did_you_mean(word, ["assignee"])
            .unwrap_or_else(|| "a target is `assignee`, \"owner:NAME\" or \"team:NAME\"".to_owned())
    };
    report.add(Diagnostic::error(place(node), format!("unknown target {}", quoted(word))).hint(hint));
    None
}

impl Report<'_> {
    fn duration(&mut self, node: &Spanned<Node>, what: &str) -> Option<TimeDelta> {
        let Node::Text(text) = &node.value else {
            self.wrong_kind(node, what, "a duration", "such as 90s, 15m, 24h or 7d");
            return None;
        };
        match duration::of_file(text) {
            Ok(duration) => Some(duration),
            Err(problem) => {
                self.problem(node, text, problem);
                None
            }
        }
    }

    fn expression<T>(
        &mut self,
        node: &Spanned<Node>,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem(node, text, problem));
                None
            }
        }
    }

    fn problem(&mut self, node: &Spanned<Node>, text: &str, problem: Problem) {
        let at = place_in(self.text, node, text, problem.span.as_ref().map_or(0, |span| span.start));
        let diagnostic = Diagnostic::error(at, problem.message);
        self.add(match problem.hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
}
