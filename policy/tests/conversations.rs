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
//! out), and may name `facts` of an issue, who `acknowledged` it, `deciding` rules, or the `risk` of the project.
//!
//! Everything goes through the production fold. After every decision the harness asserts besides: deciding twice gives the same; the
//! state restored from its entries equals the state; no action id was seen before.
//!
//! Cases for whoever writes a policy are `*.test.yaml` (`policy::cases`). These here ask for more than a policy's author can see:
//! facts, notes, outages, payload hashes, outcomes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    fs,
    path::Path,
};

use chrono::{DateTime, Utc};
use events::{Action, IssueEvent, Outcome};
use policy::{
    Decided, Decision, Input, Repeats, Ruleset, State, Timer, decide, fire_timers, load, switch_policy,
    take_event, take_outcome,
};
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
    /// The answer of a person; null: there is none.
    #[serde(default, deserialize_with = "said")]
    acknowledged: Option<Value>,
    risk: Option<f64>,
}

/// Null, too, is said.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
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
    witness: Witness,
    events: usize,
}

/// Sees every decision on its way into the state.
#[derive(Default)]
struct Witness {
    ids: HashSet<String>,
    /// What was decided since the step began, but for timers before an event.
    heard: Decision,
    /// When the actions of the last decision say that they were decided.
    evaluated_at: Vec<Option<DateTime<Utc>>>,
    last_timer: Option<Timer>,
}

impl Witness {
    /// A decision, as of `now`; of a timer, when time has come to `now`, or (none) when it is due.
    fn see(&mut self, decided: &Decided<'_>, now: Option<DateTime<Utc>>, ruleset: &Ruleset) {
        let Decided { before, input, decision } = decided;
        self.see_state(before);
        let now = match input {
            Input::Timer(timer) => {
                assert_ne!(self.last_timer.as_ref(), Some(*timer), "the timer stays");
                self.last_timer = Some((*timer).clone());
                now.unwrap_or(timer.due_at)
            }
            _ => now.expect("a record's stamp"),
        };
        // What is forgotten after an event changes entries and is not decided from the input.
        let is_expiry =
            decision.actions.is_empty() && decision.notes.is_empty() && before.clock() == Some(now);
        let again = decide(before, *input, now, ruleset);
        assert!(
            **decision == again || (is_expiry && **decision == policy::expire(before, now)),
            "deciding twice"
        );
        self.add(decision);
    }

    fn add(&mut self, decision: &Decision) {
        for action in &decision.actions {
            assert!(self.ids.insert(action.event_id.clone()), "action id {} twice", action.event_id);
        }
        self.evaluated_at = decision.actions.iter().map(|action| action.evaluated_at).collect();
        self.heard.actions.extend(decision.actions.iter().cloned());
        self.heard.notes.extend(decision.notes.iter().cloned());
    }

    /// The state after a decision.
    fn see_state(&mut self, state: &State) {
        for evaluated_at in self.evaluated_at.drain(..) {
            assert_eq!(evaluated_at, state.clock());
        }
        let mut restored = State::default();
        // Backwards, because a compacted changelog keeps no particular order between keys.
        for key in state.keys().collect::<Vec<_>>().into_iter().rev() {
            let (key, value) = state.entry(&key);
            restored.restore(&key, value.as_deref()).unwrap();
        }
        assert_eq!(&restored, state, "the restored state");
    }
}

impl Harness {
    fn timers(&mut self, until: DateTime<Utc>, repeats: Repeats) {
        let Self { state, ruleset, witness, .. } = self;
        let now = (repeats == Repeats::Last).then_some(until);
        let Ok(()) = fire_timers(state, until, usize::MAX, repeats, ruleset, &mut |decided: Decided<'_>| {
            witness.see(&decided, now, ruleset);
            Ok::<_, Infallible>(())
        });
    }

    fn step(&mut self, step: &Step) -> Decision {
        self.witness.heard = Decision::default();
        self.witness.last_timer = None;
        if let Some(fields) = &step.event {
            let now = step.at.expect("an event has `at`");
            self.events += 1;
            let mut event = json!({
                "event_id": format!("e{}", self.events), "project_id": "alpha", "source": "github",
                "type": "issue_updated", "issue_ref": "github:o/r#1",
            });
            event.as_object_mut().unwrap().extend(fields.clone());
            let event: IssueEvent = serde_json::from_value(event).expect("an issue event");
            let Self { state, ruleset, witness, .. } = self;
            let mut see = |decided: Decided<'_>| {
                if let Input::Timer(timer) = decided.input {
                    let actions = &decided.decision.actions;
                    assert!(actions.is_empty(), "{timer:?} fired before an event: name it with `advance`");
                    witness.see(&decided, None, ruleset);
                    witness.heard = Decision::default();
                } else {
                    witness.see(&decided, Some(now), ruleset);
                }
                Ok::<_, Infallible>(())
            };
            let Ok(()) =
                take_event(state, &event, step.hash.as_deref(), now, Repeats::Each, ruleset, &mut see);
        } else if let Some(fields) = &step.outcome {
            let mut outcome = json!({"project_id": "alpha", "ack": true});
            outcome.as_object_mut().unwrap().extend(fields.clone());
            let outcome: Outcome = serde_json::from_value(outcome).expect("an outcome");
            let now = step.at.expect("an outcome has `at`");
            let Self { state, ruleset, witness, .. } = self;
            let Ok(()) = take_outcome(state, &outcome, now, ruleset, &mut |decided: Decided<'_>| {
                witness.see(&decided, Some(now), ruleset);
                Ok::<_, Infallible>(())
            });
        } else if let Some(text) = &step.policy {
            self.ruleset = ruleset(text);
            let decision = switch_policy(&self.state, step.at.expect("a policy has `at`"), &self.ruleset);
            self.witness.add(&decision);
            self.state.apply(decision);
            assert_eq!(self.state.policy_hash(), Some(self.ruleset.hash()));
        } else if let Some(until) = step.advance {
            self.timers(until, Repeats::Each);
        } else {
            self.timers(
                step.outage.expect("a step has event, outcome, policy, advance or outage"),
                Repeats::Last,
            );
        }
        self.witness.see_state(&self.state);
        std::mem::take(&mut self.witness.heard)
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
            let known = serde_json::to_value(&*issue.expect("an issue").facts).unwrap();
            for (field, value) in facts {
                assert_eq!(known.get(field).unwrap_or(&json!("unknown")), value, "facts.{field}");
            }
        }
        if let Some(deciding) = &step.deciding {
            let known: Vec<_> = issue.expect("an issue").deciding.keys().cloned().collect();
            assert_eq!(known, *deciding, "deciding");
        }
        if let Some(acknowledged) = &step.acknowledged {
            let known = serde_json::to_value(issue.expect("an issue").acknowledged()).unwrap();
            assert_eq!(known, *acknowledged, "acknowledged");
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
        witness: Witness::default(),
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
