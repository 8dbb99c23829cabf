//! For whom an action is.

use super::{
    meant,
    mistake::{Mistake, Report},
    rules::Shared,
    yaml::{Node, Value},
};
use crate::{
    Target,
    diagnostic::{cut, quoted},
};

const MAX_TARGETS: usize = 10;

/// `target`: one, or a list of which the first that resolves counts.
pub(super) fn read(node: &Node, shared: &mut Shared<'_>, report: &mut Report<'_>) -> Vec<Target> {
    let Value::List(list) = &node.value else {
        return read_one(node, shared, report).into_iter().collect();
    };
    if list.is_empty() || list.len() > MAX_TARGETS {
        report.add(Mistake::error(report.head(node), format!("`target` has 1 to {MAX_TARGETS} entries")));
        return Vec::new();
    }
    let mut targets: Vec<Target> = Vec::with_capacity(list.len());
    let mut is_reached = true;
    for node in list {
        let Some(target) = read_one(node, shared, report) else { continue };
        if targets.contains(&target) {
            let message = "this target stands in the list twice";
            report.add(Mistake::error(node.at, message).hint("take one of them away"));
        } else if is_reached && targets.iter().any(|target| *target != Target::Assignee) {
            is_reached = false;
            let message = "this target is never used: the one before it always resolves";
            report.add(Mistake::error(node.at, message).hint("put `assignee` first"));
        }
        targets.push(target);
    }
    targets
}

fn read_one(node: &Node, shared: &mut Shared<'_>, report: &mut Report<'_>) -> Option<Target> {
    if let Value::Map(entries) = &node.value {
        // `target: { team: platform }`
        let hint = match entries.as_slice() {
            [(Node { value: Value::Text(key), .. }, Node { value: Value::Text(name), .. })]
                if key == "team" || key == "owner" =>
            {
                format!("write \"{key}:{}\"", cut(name, 40))
            }
            _ => meant::TARGETS.to_owned(),
        };
        report.wrong_kind(node, "`target`", "text", &hint);
        return None;
    }
    let word = report.text(node, "`target`")?;
    if word == "assignee" {
        return Some(Target::Assignee);
    }
    if let Some(name) = word.strip_prefix("owner:") {
        if report.person(name, node.at) {
            shared.owners.push((name.to_owned(), node.at));
        }
        return Some(Target::Owner(name.to_owned()));
    }
    if let Some(name) = word.strip_prefix("team:") {
        if !shared.teams.contains_key(name) {
            let hint = match report.closest(name, shared.teams.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name it under `teams`, with its members".to_owned(),
            };
            report.add(Mistake::error(node.at, format!("unknown team {}", quoted(name))).hint(hint));
        }
        return Some(Target::Team(name.to_owned()));
    }
    let name = word.trim_start_matches('@');
    let is_member = || shared.teams.values().any(|team| team.members.iter().any(|member| member == name));
    let hint = if shared.teams.contains_key(name) {
        format!("write \"team:{}\"", cut(name, 40))
    } else if !name.is_empty() && (name != word || is_member()) {
        format!("write \"owner:{}\"", cut(name, 40))
    } else if let Some((prefix, name)) = word.split_once(':')
        && let Some(meant) = report.closest(prefix, ["team", "owner"].into_iter())
    {
        format!("did you mean \"{meant}:{}\"?", cut(name, 40))
    } else {
        match report.closest(word, ["assignee"].into_iter()) {
            Some(_) => "did you mean `assignee`?".to_owned(),
            None => meant::TARGETS.to_owned(),
        }
    };
    report.add(Mistake::error(node.at, format!("unknown target {}", quoted(word))).hint(hint));
    None
}
