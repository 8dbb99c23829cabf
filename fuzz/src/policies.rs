//! Policies, conditions and test files: whatever loads decides a history, and is explained.
//!
//! `policy` and `cases`: the file. `condition`: one condition.

use std::{cell::RefCell, sync::Arc, thread};

use events::IssueEvent;
use policy::{
    Diagnostic, Input, Repeats, Ruleset, State,
    cases::{Files, Work, parse},
    explain::{Case, Focus, explain},
    load, take_event,
    trial::Walk,
};

use crate::recorder::now;

/// The stack of a server's thread.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// How many rules a policy may have for its decisions to be explained as well: that takes thousands of evaluations a rule.
const MAX_EXPLAINED: usize = 4;

const SAMPLE: &str = include_str!("../../samples/policy.yaml");
const HISTORY: &str = include_str!("history.ndjson");

thread_local! {
    static SAMPLE_RULES: Arc<Ruleset> = Arc::new(load(SAMPLE).expect("the sample policy"));
    static EVENTS: RefCell<Vec<IssueEvent>> = RefCell::new(
        HISTORY.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
    );
}

/// The sample policy.
pub(crate) fn sample() -> Arc<Ruleset> {
    SAMPLE_RULES.with(Arc::clone)
}

pub fn policy(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        load_and_decide(text);
    }
}

pub fn condition(data: &[u8]) {
    let Ok(when) = std::str::from_utf8(data) else { return };
    let rule = serde_json::json!({
        "id": "r", "when": when, "rationale": "r",
        "then": { "action": "post_nudge", "target": "owner:x" },
    });
    load_and_decide(&format!("{{\"version\": 1, \"rules\": [{rule}]}}"));
}

fn load_and_decide(text: &str) {
    match load(text) {
        Ok(ruleset) => {
            are_plain(ruleset.warnings(), text);
            // On a thread of its own, as deep as a server's is.
            let events = EVENTS.with_borrow(Clone::clone);
            thread::scope(|scope| {
                let decides = thread::Builder::new().stack_size(STACK_BYTES);
                let decides =
                    decides.spawn_scoped(scope, || decide_all(&ruleset, &events)).expect("a thread");
                decides.join().expect("decided");
            });
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty() && mistakes.len() <= 100);
            are_plain(&mistakes, text);
        }
    }
}

fn are_plain(diagnostics: &[Diagnostic], text: &str) {
    for diagnostic in diagnostics {
        [Some(&diagnostic.message), diagnostic.hint.as_ref()]
            .into_iter()
            .flatten()
            .for_each(|words| crate::is_plain(words));
        assert!(!diagnostic.message.contains("a fault"), "a fault");
        assert!(text.get(diagnostic.span.clone()).is_some(), "{:?} is no part of the text", diagnostic.span);
    }
}

/// Decides the history; the state that it leaves goes through a changelog and back; the last event is explained.
fn decide_all(ruleset: &Ruleset, events: &[IssueEvent]) {
    let mut state = State::default();
    for event in events {
        let at = event.updated_at.unwrap_or_else(now);
        take_event(&mut state, event, None, at, Repeats::Last, ruleset, &mut |_| Ok::<_, ()>(()))
            .expect("decided");
    }
    let mut restored = State::default();
    for key in state.keys() {
        let (name, value) = state.entry(&key);
        restored.restore(&name, value.as_deref()).expect("what was written is read");
    }
    for key in state.keys() {
        assert_eq!(state.entry(&key), restored.entry(&key), "{key:?} is another after a restart");
    }
    let met_alike = |event: Option<&IssueEvent>| {
        for (project, issue_ref, issue) in state.issues() {
            let walk = Walk {
                project,
                issue_ref,
                issue,
                event,
                now: now(),
                momentary: event.is_some(),
                lasting: true,
            };
            let indexed: Vec<_> =
                walk.indexed(ruleset, |_| ()).iter().map(|rule| rule.id().to_owned()).collect();
            let scanned: Vec<_> =
                walk.scanned(ruleset, |_| ()).iter().map(|rule| rule.id().to_owned()).collect();
            assert_eq!(indexed, scanned, "the index and a plain walk differ");
        }
    };
    met_alike(None);
    met_alike(events.last());
    if ruleset.rules().count() <= MAX_EXPLAINED
        && let Some(event) = events.last()
    {
        let case = Case::Input(Input::Event { event, payload_hash: None });
        let told = explain(&state, case, now(), ruleset, Focus::default());
        serde_json::to_string(&told).expect("JSON");
        assert!(told.to_string().len() < 1 << 20);
    }
}

/// Whatever a test file names is there.
struct Samples;

impl Files for Samples {
    fn event(&mut self, _: &str) -> Result<IssueEvent, String> {
        EVENTS.with_borrow(|events| events.first().cloned().ok_or_else(|| "none".to_owned()))
    }

    fn policy(&mut self, _: &str) -> Result<String, String> {
        Ok(SAMPLE.to_owned())
    }
}

pub fn cases(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text, &mut Samples) {
        Ok(suite) => {
            let ruleset = sample();
            are_plain(&suite.unknown_names(&ruleset), text);
            // Little of it: the file may ask for hours.
            let mut work = Work::of(1_000_000);
            for case in suite.cases() {
                case.run(&ruleset, &mut work);
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty() && mistakes.len() <= 100);
            are_plain(&mistakes, text);
        }
    }
}
