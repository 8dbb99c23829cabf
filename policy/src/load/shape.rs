//! The keys of the file's maps, and what people write instead of them.

use std::{borrow::Cow, collections::HashMap};

use super::{
    mistake::{Mistake, Report},
    place::Span,
    yaml::{Node, Value},
};
use crate::diagnostic::quoted;

/// A kind of map.
pub(crate) struct Shape {
    /// What it is: `a rule`.
    pub(crate) what: &'static str,
    pub(crate) keys: &'static [Key],
    /// What people write, and the key that they mean; or, where it holds a blank, what to do about it.
    pub(crate) instead: &'static [(&'static str, &'static str)],
    /// What to write where there is something else than a map.
    pub(crate) example: &'static str,
}

pub(crate) struct Key {
    name: &'static str,
    /// Set for keys that must be there: what to write.
    example: Option<&'static str>,
}

pub(crate) const fn must(name: &'static str, example: &'static str) -> Key {
    Key { name, example: Some(example) }
}

pub(crate) const fn may(name: &'static str) -> Key {
    Key { name, example: None }
}

pub(super) const FILE: Shape = Shape {
    what: "a policy",
    keys: &[
        must("version", "version: 1"),
        may("people"),
        may("teams"),
        may("limits"),
        must("rules", "rules: []"),
    ],
    instead: &[
        ("policies", "rules"),
        ("groups", "teams"),
        ("team", "teams"),
        ("owners", "teams"),
        ("person", "people"),
        ("persons", "people"),
        ("users", "people"),
        ("contacts", "people"),
        ("limit", "limits"),
        ("caps", "limits"),
    ],
    example: "a file begins with `version: 1` and `rules:`",
};

pub(super) const TEAM: Shape = Shape {
    what: "a team",
    keys: &[must("members", "members: [alice, bo]"), may("slack"), may("pagerduty"), may("calendar")],
    instead: &[
        ("people", "members"),
        ("users", "members"),
        ("persons", "members"),
        ("owners", "members"),
        ("channel", "slack"),
        ("pager", "pagerduty"),
        ("service", "pagerduty"),
    ],
    example: "such as `{ members: [alice, bo] }`",
};

pub(super) const PERSON: Shape = Shape {
    what: "a person",
    keys: &[
        may("github"),
        may("jira"),
        may("slack"),
        may("pagerduty"),
        may("email"),
        may("calendar"),
        may("time_zone"),
        may("hours"),
    ],
    instead: &[
        ("login", "github"),
        ("gh", "github"),
        ("account", "jira"),
        ("accountid", "jira"),
        ("account_id", "jira"),
        ("pager", "pagerduty"),
        ("service", "pagerduty"),
        ("mail", "email"),
        ("e-mail", "email"),
        ("tz", "time_zone"),
        ("timezone", "time_zone"),
        ("zone", "time_zone"),
        ("working_hours", "hours"),
        ("name", "a person's name is the key before the colon: `alice: { github: alice }`"),
        ("team", "teams name their members: `teams: { triage: { members: [alice] } }`"),
    ],
    example: "such as `{ github: alice, slack: U024BE7LH }`; `{}` when nothing is known",
};

pub(super) const LIMITS: Shape = Shape {
    what: "`limits`",
    keys: &[may("actions_per_issue")],
    instead: &[
        ("actions", "actions_per_issue"),
        ("per_issue", "actions_per_issue"),
        ("actions_per_hour", "actions_per_issue"),
        ("actions_per_issue_per_hour", "actions_per_issue"),
    ],
    example: "such as `{ actions_per_issue: 20 }`, an hour",
};

pub(super) const RULE: Shape = Shape {
    what: "a rule",
    keys: &[
        must("id", "id: triage-new"),
        must("when", "when: '\"bug\" in issue.labels'"),
        may("at"),
        must("then", "then: { action: post_nudge, target: assignee }"),
        may("repeat"),
        may("cooldown"),
        may("continue"),
        may("on_closed"),
        must("rationale", "rationale: why, for whoever meets the action"),
    ],
    instead: &[
        ("name", "id"),
        ("if", "when"),
        ("condition", "when"),
        ("match", "when"),
        ("where", "when"),
        ("do", "then"),
        ("actions", "then"),
        ("action", ONE_ACTION),
        ("target", ONE_ACTION),
        (
            "duration",
            "it belongs to the action: `then: { action: schedule_unblocker, target: …, duration: 15m }`",
        ),
        ("reason", "rationale"),
        ("why", "rationale"),
        ("because", "rationale"),
        ("description", "rationale"),
        ("message", "rationale"),
        ("every", "repeat"),
        ("interval", "repeat"),
        ("throttle", "cooldown"),
        ("else", "write another rule below this one: it is asked where this one does not hold"),
        ("enabled", "to switch a rule off, put `#` before its lines"),
        ("disabled", "to switch a rule off, put `#` before its lines"),
        ("priority", "rules are asked from top to bottom: move the rule"),
        ("project", "ask for it in the condition: `issue.project == \"alpha\"`"),
        ("repo", "ask for it in the condition: `issue.repo == \"owner/repo\"`"),
    ],
    example: "a rule begins with `- id: …` and has when, then and rationale",
};

const ONE_ACTION: &str = "it belongs to the action: `then: { action: post_nudge, target: assignee }`";

pub(super) const ACTION: Shape = Shape {
    what: "an action",
    keys: &[must("action", "action: post_nudge"), must("target", "target: assignee"), may("duration")],
    instead: &[
        ("type", "action"),
        ("kind", "action"),
        ("do", "action"),
        ("to", "target"),
        ("targets", "target"),
        ("assignee", "target"),
        ("owner", "write `target: \"owner:NAME\"`"),
        ("team", "write `target: \"team:NAME\"`"),
        ("for", "duration"),
        ("minutes", "duration"),
        ("message", "what is said is the rule's `rationale`"),
        ("assign_owner", "write `action: assign_owner`, and `target: …`"),
        ("post_nudge", "write `action: post_nudge`, and `target: …`"),
        ("schedule_unblocker", "write `action: schedule_unblocker`, and `target: …`"),
        ("escalate_owner", "write `action: escalate_owner`, and `target: …`"),
    ],
    example: "such as `{ action: post_nudge, target: assignee }`",
};

/// The entries of a map whose keys are known, each once.
pub(crate) struct Fields<'n>(Vec<(&'static str, &'n Node, &'n Node)>);

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.0.iter().find(|(name, ..)| *name == key).map(|(_, _, value)| *value)
    }

    /// The key itself.
    pub(crate) fn key(&self, key: &str) -> Option<&'n Node> {
        self.0.iter().find(|(name, ..)| *name == key).map(|(_, node, _)| *node)
    }
}

impl Report<'_> {
    /// A map of that shape. Keys that are unknown, missing, or there twice are reported.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, shape: &Shape) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_kind(node, shape.what, "a map", shape.example);
            return None;
        };
        let mut fields = Fields(Vec::with_capacity(entries.len().min(shape.keys.len())));
        let (mut instead, mut meant) = (Vec::new(), Vec::new());
        for (name, key, value) in self.entries(entries) {
            if self.is_full() {
                break;
            }
            match shape.keys.iter().find(|known| known.name == name) {
                Some(known) => fields.0.push((known.name, key, value)),
                None => {
                    // Its value is checked as what it was meant to be.
                    let Some((known, is_same)) = self.unknown_key(&name, key, shape) else { continue };
                    match is_same {
                        true => instead.push((known, key, value)),
                        false => meant.push(known),
                    }
                }
            }
        }
        for entry in instead {
            if fields.get(entry.0).is_none() {
                fields.0.push(entry);
            }
        }
        let missing = |key: &&Key| {
            key.example.is_some() && fields.get(key.name).is_none() && !meant.contains(&key.name)
        };
        let missing: Vec<_> = shape.keys.iter().filter(missing).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|key| format!("`{}`", key.name)).collect();
            let message = format!("{} must have {}", shape.what, and(&names));
            let hint = match missing.as_slice() {
                [key] => key.example.map(|example| format!("add `{example}`")),
                _ => None,
            };
            self.add(Mistake::error(self.head(node), message).maybe_hint(hint));
        }
        Some(fields)
    }

    /// Entries by name, each once.
    pub(crate) fn entries<'n>(
        &mut self,
        entries: &'n [(Node, Node)],
    ) -> Vec<(Cow<'n, str>, &'n Node, &'n Node)> {
        let mut first: HashMap<_, Span> = HashMap::with_capacity(entries.len());
        let mut once = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if self.is_full() {
                break;
            }
            let name = match (&key.value, self.lines.text.get(key.at.range())) {
                (Value::Text(name), _) => Cow::Borrowed(name.as_str()),
                // `1: …`, `on: …`: it is meant as it is written.
                (Value::Number(_) | Value::Bool(_), Some(written)) => Cow::Owned(written.to_owned()),
                _ => {
                    let message = format!("a key must be text, not {}", key.value.kind());
                    self.add(Mistake::error(self.head(key), message));
                    continue;
                }
            };
            if let Some(first) = first.get(&name) {
                let line = self.lines.number(first.start());
                let message =
                    format!("the key {} stands in this map twice, first on line {line}", quoted(&name));
                self.add(Mistake::error(key.at, message).hint("take one of them away"));
                continue;
            }
            first.insert(name.clone(), key.at);
            once.push((name, key, value));
        }
        once
    }

    /// Says which key was meant, and returns it, with whether its value is what that key takes.
    fn unknown_key(&mut self, name: &str, key: &Node, shape: &Shape) -> Option<(&'static str, bool)> {
        if name == "<<" {
            let hint = "write the keys out, or repeat a value with `&a` and `*a`";
            self.add(Mistake::error(key.at, "`<<` is not part of the format").hint(hint));
            return None;
        }
        let mistake = Mistake::error(key.at, format!("unknown key {}", quoted(name)));
        if name == "cases" {
            self.add(mistake.hint("a file with cases is for `breakdown policy test`"));
            return None;
        }
        let lower = name.to_lowercase();
        let known = || shape.keys.iter().map(|key| key.name);
        let instead = shape.instead.iter().find(|(written, _)| *written == lower).map(|(_, meant)| *meant);
        if let Some(advice) = instead.filter(|meant| meant.contains(' ')) {
            self.add(mistake.hint(advice));
            return known().find(|key| advice.contains(&format!("`{key}:"))).map(|key| (key, false));
        }
        let meant = instead.or_else(|| self.closest(name, known()));
        let meant = meant.and_then(|meant| known().find(|key| *key == meant));
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("{} has {}", shape.what, and(&known().map(str::to_owned).collect::<Vec<_>>())),
        };
        self.add(mistake.hint(hint));
        meant.map(|meant| (meant, true))
    }

    pub(crate) fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str, hint: &str) {
        let message = match node.value {
            Value::Null => format!("{what} must be {wanted}; here is nothing"),
            _ => format!("{what} must be {wanted}, not {}", node.value.kind()),
        };
        let glued = match &node.value {
            // `id:a` is a text of four letters.
            Value::Text(text) if wanted == "a map" => super::meant::glued_key(text),
            _ => None,
        };
        let hint =
            glued.map_or_else(|| hint.to_owned(), |key| format!("a blank is missing: write `{key}: …`"));
        self.add(Mistake::error(self.head(node), message).hint(hint));
    }
}

/// `a, b and c`.
pub(super) fn and(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}
