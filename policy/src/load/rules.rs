//! One rule of the file.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use events::ActionKind;

use super::{
    duration, meant,
    mistake::{Mistake, Report},
    place::Span,
    shape, target,
    yaml::{Node, Value},
};
use crate::{
    At, Rule, Then,
    condition::{self, Budget, Condition, Problem},
    diagnostic::{self, quoted},
    people::Group,
};

const MAX_RATIONALE_CHARS: usize = 1000;
const MAX_ACTIONS: usize = 10;
const DEFAULT_COOLDOWN: TimeDelta = TimeDelta::minutes(10);
const DEFAULT_MEETING_MIN: u32 = 15;

/// What rules share.
pub(super) struct Shared<'a> {
    pub(super) teams: &'a BTreeMap<String, Group>,
    /// People who are targets, and where.
    pub(super) owners: Vec<(String, Span)>,
    /// What is left for conditions.
    pub(super) budget: Budget,
}

/// The rule's id and its place; and the rule, unless its condition is refused. `None` when it is not a map or has no id.
pub(super) fn read(
    node: &Node,
    shared: &mut Shared<'_>,
    report: &mut Report<'_>,
) -> Option<(String, Span, Option<Rule>)> {
    let fields = report.map(node, &shape::RULE)?;
    let id = fields.get("id").and_then(|node| {
        let id = report.text(node, "`id`")?;
        report.name(id, node.at, "an id");
        // An id that comes with a repeated rule stands where it is repeated.
        Some((id.to_owned(), node.used))
    });

    let condition = fields.get("when").and_then(|node| {
        report.expression(node, "`when`", |text| Condition::parse(text, &mut shared.budget))
    });
    let at: Option<At> = fields.get("at").and_then(|node| {
        report.expression(node, "`at`", |text| condition::parse_at(text, &mut shared.budget))
    });
    let repeat = fields.get("repeat").and_then(|node| report.duration(node, "`repeat`"));
    if let (Some(repeat), Some(node)) = (repeat, fields.get("repeat"))
        && repeat < TimeDelta::minutes(1)
    {
        report.add(Mistake::error(node.at, "`repeat` must be at least a minute").hint("such as `1m`"));
    }
    if condition.as_ref().is_some_and(Condition::reads_event) {
        for (key, is_set) in [("at", at.is_some()), ("repeat", repeat.is_some())] {
            let Some(node) = fields.key(key).filter(|_| is_set) else { continue };
            let hint = "at that time there is no event; ask only of `issue` and `now`";
            report.add(
                Mistake::error(node.at, format!("a rule that reads `event` cannot have `{key}`")).hint(hint),
            );
        }
    }
    let cooldown = fields.get("cooldown").and_then(|node| report.duration(node, "`cooldown`"));
    let rationale = fields.get("rationale").and_then(|node| {
        let text = report.text(node, "`rationale`")?.trim();
        if text.is_empty() || text.chars().count() > MAX_RATIONALE_CHARS {
            let message = format!("`rationale` is 1 to {MAX_RATIONALE_CHARS} characters");
            report.add(Mistake::error(node.at, message).hint("say why, for whoever meets the action"));
        }
        report.warn_if_cut(node, text, |rest| !rest.starts_with([' ', '\t', '#']));
        Some(text.to_owned())
    });
    let then = fields.get("then").map(|node| read_then(node, shared, report)).unwrap_or_default();
    let goes_on = fields.get("continue").is_some_and(|node| report.truth(node, "`continue`"));
    let on_closed = fields.get("on_closed").is_some_and(|node| report.truth(node, "`on_closed`"));
    let (id, id_place) = id?;
    // A repeated rule stands where it is repeated.
    let begins = if node.used == node.at { report.head(node) } else { node.used };
    let rule = condition.map(|condition| Rule {
        id: id.clone(),
        rationale: rationale.unwrap_or_default(),
        condition,
        at,
        then,
        repeat,
        cooldown: cooldown.unwrap_or(DEFAULT_COOLDOWN),
        goes_on,
        on_closed,
        line: report.lines.number(begins.start()),
    });
    Some((id, id_place, rule))
}

/// `then`: one action, or a list.
fn read_then(node: &Node, shared: &mut Shared<'_>, report: &mut Report<'_>) -> Vec<Then> {
    let Value::List(list) = &node.value else {
        return read_action(node, shared, report).into_iter().collect();
    };
    if list.is_empty() || list.len() > MAX_ACTIONS {
        report.add(Mistake::error(report.head(node), format!("`then` has 1 to {MAX_ACTIONS} actions")));
        return Vec::new();
    }
    let mut actions = Vec::with_capacity(list.len());
    for node in list {
        let Some(then) = read_action(node, shared, report) else { continue };
        if actions.contains(&then) {
            let message = "this action stands in the list twice: it is done twice";
            report.add(Mistake::warning(report.head(node), message).hint("take one of them away"));
        }
        actions.push(then);
    }
    actions
}

fn read_action(node: &Node, shared: &mut Shared<'_>, report: &mut Report<'_>) -> Option<Then> {
    if let Value::Text(word) = &node.value
        && let Some(action) = meant::action(word)
    {
        let hint = format!("write `then: {{ action: {action}, target: assignee }}`");
        report.wrong_kind(node, shape::ACTION.what, "a map", &hint);
        return None;
    }
    let fields = report.map(node, &shape::ACTION)?;
    let action = fields.get("action").and_then(|node| {
        let word = report.text(node, "`action`")?;
        if meant::ACTIONS.contains(&word) {
            return Some(ActionKind::from(word));
        }
        let hint = match meant::action(word) {
            _ if word == ActionKind::Resolve.as_str() => {
                "it is decided by itself, when an issue closes, for what escalations and meetings left open"
                    .to_owned()
            }
            _ if word == ActionKind::Acknowledge.as_str() => {
                "it is decided by itself, when a person answers, for the escalations before".to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", meant::ACTIONS.join(", ")),
        };
        report.add(Mistake::error(node.at, format!("unknown action {}", quoted(word))).hint(hint));
        None
    });
    let targets = fields.get("target").map(|node| target::read(node, shared, report)).unwrap_or_default();
    let mut duration_min = DEFAULT_MEETING_MIN;
    if let Some(node) = fields.get("duration") {
        if action.as_ref().is_some_and(|action| *action != ActionKind::ScheduleUnblocker) {
            let message = "only `schedule_unblocker` takes a duration";
            let at = fields.key("duration").map_or(node.at, |key| key.at);
            report.add(Mistake::error(at, message).hint("take `duration` away"));
        }
        if let Some(duration) = report.duration(node, "`duration`") {
            let minutes = duration.num_minutes();
            if TimeDelta::minutes(minutes) != duration || !(1..=24 * 60).contains(&minutes) {
                let message = "a meeting takes whole minutes, from 1m to 24h";
                report.add(Mistake::error(node.at, message));
            }
            duration_min = u32::try_from(minutes).unwrap_or(DEFAULT_MEETING_MIN);
        }
    }
    Some(Then { action: action?, targets, duration_min })
}

impl Report<'_> {
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let hint = match &node.value {
            Value::Null => "write a value after the colon".to_owned(),
            Value::Number(_) | Value::Bool(_) => {
                let written = self.lines.text.get(node.at.range()).unwrap_or_default();
                format!("put it in quotes: \"{}\"", diagnostic::cut(written, 40))
            }
            _ => "put it in quotes".to_owned(),
        };
        self.wrong_kind(node, what, "text", &hint);
        None
    }

    fn truth(&mut self, node: &Node, what: &str) -> bool {
        if let Value::Bool(truth) = node.value {
            return truth;
        }
        let hint = match &node.value {
            Value::Text(text) => match text.to_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => "write `true`, without quotes",
                "no" | "off" | "false" | "n" => "write `false`, without quotes",
                _ => "write `true` or `false`",
            },
            _ => "write `true` or `false`",
        };
        self.wrong_kind(node, what, "true or false", hint);
        false
    }

    pub(crate) fn duration(&mut self, node: &Node, what: &str) -> Option<TimeDelta> {
        let Value::Text(text) = &node.value else {
            let hint = match node.value {
                Value::Number(number) if number > 0.0 && number.fract() == 0.0 && number < 1e6 => {
                    format!("a unit is missing: `{number}m` for minutes, or s, h, d")
                }
                _ => "such as 90s, 15m, 24h or 7d".to_owned(),
            };
            self.wrong_kind(node, what, "a duration", &hint);
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
        node: &Node,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let Value::Text(text) = &node.value else {
            let written = self.lines.text.get(self.head(node).range()).unwrap_or_default();
            let hint = match node.value {
                Value::Null => "write a condition in single quotes: '\"bug\" in issue.labels'".to_owned(),
                _ if written.contains('\'') || written.len() > 60 => {
                    "put the whole condition in single quotes: '…'".to_owned()
                }
                _ => format!("put the whole condition in single quotes: '{}'", diagnostic::cut(written, 60)),
            };
            self.wrong_kind(node, what, "text", &hint);
            return None;
        };
        // A text of the condition goes on in the comment.
        self.warn_if_cut(node, text, |_| text.matches('"').count() % 2 == 1);
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem(node, text, problem));
                None
            }
        }
    }
}
