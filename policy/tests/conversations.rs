//! Conversations: each file in `conversations/` is a policy, and what comes in and goes out, in order.
//!
//! A step is one of
//! - `event` (with `at`): fields of an issue event. `event_id` (e1, e2, …), `project_id` (alpha), `source` (github) and `issue_ref`
//!   (github:o/r#1) may be left out; `hash` is the payload hash;
//! - `advance`: time passes to there, and every timer is decided when it is due;
//! - `outage`: time has passed to there without anyone deciding timers;
//! - `policy` (with `at`): another policy takes effect;
//! - `outcome` (with `at`): fields of an outcome.
//!
//! Each names the `actions` that follow (`ACTION TARGET RULE`, with ` @TIME` where the time matters) and the `notes` (none where left
//! out), and may name `facts` of an issue, `deciding` rules, or the `risk` of the project.
//!
//! After every step the harness asserts besides: deciding twice gives the same; the state restored from its entries equals the
//! state; no action id was seen before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use chrono::{DateTime, Utc};
use events::{Action, IssueEvent, Outcome};
use policy::{Decision, Input, Ruleset, State, decide, expire, load, switch_policy};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    #[serde(rename = "about")]
    _about: String,
    /// The text, or `sample` for samples/policy.yaml.
    policy: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Option<DateTime<Utc>>,
    event: Option<Map<String, Value>>,
    hash: Option<String>,
    advance: Option<DateTime<Utc>>,
    outage: Option<DateTime<Utc>>,
    policy: Option<String>,
    outcome: Option<Map<String, Value>>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    params: Vec<Value>,
    issue: Option<String>,
    facts: Option<Map<String, Value>>,
    deciding: Option<Vec<String>>,
    risk: Option<f64>,
}

const SAMPLE: &str = include_str!("../../samples/policy.yaml");

fn ruleset(text: &str) -> Ruleset {
    let text = if text.trim() == "sample" { SAMPLE } else { text };
    load(text).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>())
    })
}

struct Harness {
    state: State,
    ruleset: Ruleset,
    ids: HashSet<String>,
    events: usize,
}

impl Harness {
    fn take(&mut self, input: Input<'_>, now: DateTime<Utc>) -> Decision {
        let decision = decide(&self.state, input, now, &self.ruleset);
        assert_eq!(decision, decide(&self.state, input, now, &self.ruleset), "deciding twice");
        self.apply(&decision);
        for action in &decision.actions {
            assert_eq!(action.evaluated_at, self.state.clock());
        }
        decision
    }

    fn apply(&mut self, decision: &Decision) {
        self.state.apply(decision.clone());
        for action in &decision.actions {
            assert!(self.ids.insert(action.event_id.clone()), "action id {} twice", action.event_id);
        }
        let mut restored = State::default();
        // Backwards, because a compacted changelog keeps no particular order between keys.
        for key in self.state.keys().cloned().collect::<Vec<_>>().into_iter().rev() {
            let (key, value) = self.state.entry(&key);
            restored.restore(&key, value.as_deref()).unwrap();
        }
        assert_eq!(restored, self.state, "the restored state");
    }

    fn timers(&mut self, until: DateTime<Utc>, outage: bool) -> Decision {
        let mut all = Decision::default();
        while let Some(timer) = self.state.next_timer().filter(|timer| timer.due_at <= until) {
            let now = if outage { until } else { timer.due_at };
            let decision = self.take(Input::Timer(&timer), now);
            assert_ne!(self.state.next_timer().as_ref(), Some(&timer), "the timer stays");
            all.actions.extend(decision.actions);
            all.notes.extend(decision.notes);
        }
        all
    }

    fn step(&mut self, step: &Step) -> Decision {
        if let Some(fields) = &step.event {
            let now = step.at.expect("an event has `at`");
            let before = self.timers(now, false);
            assert!(
                before.actions.is_empty(),
                "timers fired before an event: {:?}; name them with `advance`",
                before.actions
            );
            self.events += 1;
            let mut event = json!({
                "event_id": format!("e{}", self.events), "project_id": "alpha", "source": "github",
                "type": "issue_updated", "issue_ref": "github:o/r#1",
            });
            event.as_object_mut().unwrap().extend(fields.clone());
            let event: IssueEvent = serde_json::from_value(event).expect("an issue event");
            let decision = self.take(Input::Event { event: &event, payload_hash: step.hash.as_deref() }, now);
            let forgotten = expire(&self.state, now);
            self.apply(&forgotten);
            decision
        } else if let Some(fields) = &step.outcome {
            let mut outcome = json!({"project_id": "alpha", "ack": true});
            outcome.as_object_mut().unwrap().extend(fields.clone());
            let outcome: Outcome = serde_json::from_value(outcome).expect("an outcome");
            self.take(Input::Outcome(&outcome), step.at.expect("an outcome has `at`"))
        } else if let Some(text) = &step.policy {
            self.ruleset = ruleset(text);
            let decision = switch_policy(&self.state, step.at.expect("a policy has `at`"), &self.ruleset);
            self.apply(&decision);
            assert_eq!(self.state.policy_hash(), Some(self.ruleset.hash()));
            decision
        } else if let Some(until) = step.advance {
            self.timers(until, false)
        } else {
            self.timers(step.outage.expect("a step has event, outcome, policy, advance or outage"), true)
        }
    }

    fn check(&self, step: &Step, decision: &Decision) {
        let said: Vec<String> = decision
            .actions
            .iter()
            .zip(step.actions.iter().chain(std::iter::repeat(&String::new())))
            .map(|(action, expected)| in_words(action, expected.contains('@')))
            .collect();
        assert_eq!(said, step.actions, "actions; notes: {:?}", decision.notes);
        let notes: Vec<_> = decision.notes.iter().map(policy::Note::name).collect();
        assert_eq!(notes, step.notes, "notes: {:?}", decision.notes);
        for (action, params) in decision.actions.iter().zip(&step.params) {
            assert_eq!(Value::Object(action.params.clone()), *params, "params");
        }
        for action in &decision.actions {
            assert_eq!(action.policy_hash.as_deref(), Some(self.ruleset.hash()));
        }
        let issue = self.state.issue("alpha", step.issue.as_deref().unwrap_or("github:o/r#1"));
        if let Some(facts) = &step.facts {
            let known = serde_json::to_value(&issue.expect("an issue").facts).unwrap();
            for (field, value) in facts {
                assert_eq!(known.get(field).unwrap_or(&json!("unknown")), value, "facts.{field}");
            }
        }
        if let Some(deciding) = &step.deciding {
            let known: Vec<_> = issue.expect("an issue").deciding.keys().cloned().collect();
            assert_eq!(known, *deciding, "deciding");
        }
        if let Some(risk) = step.risk {
            let project = serde_json::to_value(self.state.project("alpha").unwrap()).unwrap();
            assert_eq!(project["risk"], json!(risk), "risk");
        }
    }
}

fn in_words(action: &Action, timed: bool) -> String {
    let time = action.evaluated_at.unwrap().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    let time = if timed { format!(" @{time}") } else { String::new() };
    format!("{} {} {}{time}", action.action, action.target, action.rule.as_deref().unwrap())
}

fn hold(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let conversation: Conversation = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut harness = Harness {
        state: State::default(),
        ruleset: ruleset(&conversation.policy),
        ids: HashSet::new(),
        events: 0,
    };
    for (place, step) in conversation.steps.iter().enumerate() {
        let step_number = place + 1;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let decision = harness.step(step);
            harness.check(step, &decision);
        }));
        if let Err(panic) = result {
            eprintln!("in step {step_number} of {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut files: BTreeMap<_, _> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.clone(), None))
        .collect();
    assert!(files.len() >= 20, "only {} conversations were found", files.len());
    for (path, failed) in &mut files {
        *failed = Some(std::panic::catch_unwind(|| hold(path)).is_err());
    }
    let failed: Vec<_> = files
        .iter()
        .filter(|(_, failed)| **failed == Some(true))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
