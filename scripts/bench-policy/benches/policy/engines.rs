//! The engines. Each is prepared once; [`Engine::decide`] is what is measured.

use std::{cell::RefCell, collections::HashMap, num::NonZeroUsize, sync::Arc};

use cel::{Context, Program, Value};
use chrono::{DateTime, Utc};
use events::{IssueEvent, Said};
use policy::{Input, Issue, Ruleset, State, decide, load, trial::Walk};
use regorus::utils::limits::PolicyLengthConfig;
use serde_json::json;

use crate::world::{self, World, now};

pub(crate) trait Engine {
    /// The first rule that holds for an event.
    fn decide(&self, event: usize) -> Option<usize>;
}

/// The index.
pub(crate) struct Indexed<'w> {
    world: &'w World,
    ruleset: Ruleset,
    issues: Vec<Issue>,
    now: DateTime<Utc>,
}

impl<'w> Indexed<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let ruleset = load(&world.policy()).unwrap();
        let none = load("{ version: 1, rules: [] }").unwrap();
        let known = |event: &IssueEvent| {
            let mut state = State::default();
            state.apply(decide(&state, Input::Event { event, payload_hash: None }, now(), &none));
            state.issue(&event.project_id, &event.issue_ref).unwrap().clone()
        };
        let issues = world.events.iter().map(known).collect();
        Self { world, ruleset, issues, now: now() }
    }

    fn walk(&self, event: usize) -> Walk<'_> {
        let (event, issue) = (&self.world.events[event], &self.issues[event]);
        Walk {
            project: &event.project_id,
            issue_ref: &event.issue_ref,
            issue,
            event: Some(event),
            now: self.now,
            momentary: true,
            lasting: true,
        }
    }

    pub(crate) fn verdicts(&self) -> Vec<Option<usize>> {
        (0..self.world.events.len())
            .map(|event| {
                let met = self.walk(event).scanned(&self.ruleset, |_| {});
                met.first().map(|rule| world::place(rule))
            })
            .collect()
    }

    /// What the events meet: the part of them that any rule decides, the place of that rule, and how many candidates there are.
    pub(crate) fn facts(&self, verdicts: &[Option<usize>]) -> String {
        let mut places: Vec<_> = verdicts.iter().flatten().collect();
        places.sort_unstable();
        let candidates: usize =
            (0..verdicts.len()).map(|event| self.walk(event).candidates(&self.ruleset)).sum();
        format!(
            "{} % of events are decided by a rule (median: rule {}); {:.1} candidates an event",
            places.len() * 100 / verdicts.len(),
            places.get(places.len() / 2).map_or("–".to_owned(), ToString::to_string),
            candidates as f64 / verdicts.len() as f64
        )
    }
}

impl Engine for &Indexed<'_> {
    fn decide(&self, event: usize) -> Option<usize> {
        let met = self.walk(event).indexed(&self.ruleset, |_| {});
        met.first().map(|rule| world::place(rule))
    }
}

/// The same conditions, one after the other.
pub(crate) struct Scan<'a, 'w>(pub(crate) &'a Indexed<'w>);

impl Engine for Scan<'_, '_> {
    fn decide(&self, event: usize) -> Option<usize> {
        let met = self.0.walk(event).scanned(&self.0.ruleset, |_| {});
        met.first().map(|rule| world::place(rule))
    }
}

/// The `cel` crate's interpreter.
pub(crate) struct Cel {
    programs: Vec<Program>,
    root: Context<'static, 'static>,
    events: Vec<[(&'static str, Value); 3]>,
}

impl Cel {
    pub(crate) fn new(world: &World) -> Self {
        let programs = world.rules.iter().map(|rule| Program::compile(&rule.cel).unwrap()).collect();
        Self { programs, root: Context::default(), events: world.events.iter().map(cel_values).collect() }
    }
}

impl Engine for Cel {
    fn decide(&self, event: usize) -> Option<usize> {
        let mut context = self.root.new_inner_scope();
        for (name, value) in &self.events[event] {
            context.add_variable_from_value(*name, value.clone());
        }
        self.programs.iter().position(|program| matches!(program.execute(&context), Ok(Value::Bool(true))))
    }
}

fn cel_values(event: &IssueEvent) -> [(&'static str, Value); 3] {
    let text = |text: &str| Value::String(Arc::new(text.to_owned()));
    let said = |said: &Said<String>| said.value().map_or(Value::Null, |value| text(value));
    let list = |words: &[String]| Value::List(Arc::new(words.iter().map(|word| text(word)).collect()));
    let time = |time: Option<DateTime<Utc>>| time.map_or(Value::Null, |time| Value::Timestamp(time.into()));
    let map = |entries: Vec<(&str, Value)>| {
        let entries = entries.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::from(entries.collect::<HashMap<String, Value>>())
    };
    let issue = map(vec![
        ("project", text(&event.project_id)),
        ("repo", event.repo.as_deref().map_or(Value::Null, text)),
        ("title", said(&event.title)),
        ("labels", list(event.labels.value().unwrap())),
        ("assignee", said(&event.assignee)),
        ("priority", said(&event.priority)),
        ("state", text("open")),
        ("created_at", time(event.created_at)),
        ("updated_at", time(event.updated_at)),
        ("due_at", time(event.due_at.value().copied())),
    ]);
    let change = map(vec![
        ("type", text(event.event_type.as_str())),
        ("labels_added", list(event.change.get("labels").map_or(&[], |change| &change.added))),
    ]);
    [("issue", issue), ("event", change), ("now", time(Some(now())))]
}

/// regorus: one chain of `else`, which ends at the first rule that holds; labels are keys of an object, so that each is
/// looked up and not searched for.
pub(crate) struct Rego {
    engine: RefCell<regorus::Engine>,
    events: Vec<regorus::Value>,
}

impl Rego {
    pub(crate) fn new(world: &World) -> Self {
        let mut text = "package breakdown\nimport rego.v1\n".to_owned();
        world.rules.iter().for_each(|rule| text.push_str(&rule.rego_helpers));
        for (number, rule) in world.rules.iter().enumerate() {
            let head = if number == 0 { "decision" } else { " else" };
            text.push_str(&format!("{head} := {number} if {{ {} }}\n", rule.rego));
        }
        let mut engine = regorus::Engine::new();
        engine.set_policy_length_config(PolicyLengthConfig {
            max_file_bytes: NonZeroUsize::MAX,
            max_lines: NonZeroUsize::MAX,
            ..PolicyLengthConfig::default()
        });
        engine.add_policy("breakdown.rego".into(), text).unwrap();
        let events = world.events.iter().map(rego_value).collect();
        Self { engine: RefCell::new(engine), events }
    }
}

impl Engine for Rego {
    fn decide(&self, event: usize) -> Option<usize> {
        let mut engine = self.engine.borrow_mut();
        engine.set_input(self.events[event].clone());
        match engine.eval_rule("data.breakdown.decision".into()).unwrap() {
            regorus::Value::Undefined => None,
            value => Some(value.as_u64().unwrap() as usize),
        }
    }
}

fn rego_value(event: &IssueEvent) -> regorus::Value {
    let set = |words: &[String]| -> serde_json::Map<_, _> {
        words.iter().map(|word| (word.clone(), json!(true))).collect()
    };
    let seconds = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp());
    let value = json!({
        "project": event.project_id,
        "repo": event.repo,
        "title": event.title.value(),
        "labels": set(event.labels.value().unwrap()),
        "assignee": event.assignee.value(),
        "priority": event.priority.value(),
        "state": "open",
        "updated_at": seconds(event.updated_at),
        "due_at": seconds(event.due_at.value().copied()),
        "type": event.event_type.as_str(),
        "labels_added": set(event.change.get("labels").map_or(&[], |change| &change.added)),
        "now": now().timestamp(),
    });
    regorus::Value::from_json_str(&value.to_string()).unwrap()
}
