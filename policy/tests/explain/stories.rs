//! Each YAML file in `explanations/` is a policy and what happened; the text beside it is what is said of the last
//! decision. `UPDATE_EXPLANATIONS=1 cargo test -p policy --test explain` writes the texts anew.
//!
//! A step is one of
//! - `event` (with `at`, the log's stamp): fields of an issue event. `event_id` (e1, e2, …), `project_id` (alpha), `source` (github)
//!   and `issue_ref` (github:o/r#1) may be left out; `hash` is the payload hash;
//! - `timer`: the timer that is due next is decided, in time, or as of the instant that is written there;
//! - `issue` (with `at`): the issue as it is known; only as the last step.
//!
//! `rule` asks for one rule, `of` for one issue. Timers that are due before an event are decided before it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use events::IssueEvent;
use policy::{
    Explanation, Input, Repeats, Ruleset, State, decide, explain,
    explain::{Case, Focus, LastEvent},
    fire_timers, load, take_event,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::world::never;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(rename = "about")]
    _about: String,
    /// The text, or `shared` for shared/policy.yaml.
    policy: String,
    steps: Vec<Step>,
    rule: Option<String>,
    of: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Option<DateTime<Utc>>,
    event: Option<Map<String, Value>>,
    hash: Option<String>,
    timer: Option<String>,
    issue: Option<String>,
}

const SHARED: &str = include_str!("../explanations/shared/policy.yaml");

fn ruleset(text: &str) -> Ruleset {
    load(if text.trim() == "shared" { SHARED } else { text }).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>())
    })
}

fn tell(told: &Told) -> Explanation {
    let ruleset = ruleset(&told.policy);
    let focus = Focus { rule: told.rule.as_deref(), issue_ref: told.of.as_deref() };
    let mut state = State::default();
    let (mut explained, mut last) = (None, None);
    for (place, step) in told.steps.iter().enumerate() {
        let is_last = place + 1 == told.steps.len();
        if let Some(issue_ref) = &step.issue {
            let last_event = last.as_ref().map(|(event, at)| LastEvent { event, at: *at });
            let case = Case::Issue { project: "alpha", issue_ref, last_event };
            explained = Some(explain(&state, case, step.at.unwrap(), &ruleset, focus));
        } else if let Some(until) = &step.timer {
            let timer = state.next_timer().expect("a timer is set");
            let now = until.parse().unwrap_or(timer.due_at);
            if is_last {
                explained = Some(explain(&state, Case::Input(Input::Timer(&timer)), now, &ruleset, focus));
            }
            let decision = decide(&state, Input::Timer(&timer), now, &ruleset);
            state.apply(decision);
        } else {
            let mut event = json!({
                "event_id": format!("e{}", place + 1), "project_id": "alpha", "source": "github",
                "type": "issue_updated", "issue_ref": "github:o/r#1",
            });
            event.as_object_mut().unwrap().extend(step.event.clone().expect("event, timer or issue"));
            let event: IssueEvent = serde_json::from_value(event).expect("an issue event");
            let (now, hash) = (step.at.expect("an event has `at`"), step.hash.as_deref());
            fire_timers(&mut state, now, usize::MAX, Repeats::Each, &ruleset, &mut never).unwrap();
            if is_last {
                let input = Input::Event { event: &event, payload_hash: hash };
                explained = Some(explain(&state, Case::Input(input), now, &ruleset, focus));
            }
            take_event(&mut state, &event, hash, now, Repeats::Each, &ruleset, &mut never).unwrap();
            last = Some((event, now));
        }
    }
    explained.expect("a step")
}

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explanations");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn explanations_read_as_they_should() {
    let stories = stories();
    assert!(stories.len() >= 15, "only {} explanations were found", stories.len());
    let mut wrong = Vec::new();
    for path in stories {
        let told: Told = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let explanation = tell(&told);
        let text = explanation.to_string();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{}: {text:?}", path.display());
        let mut goldens = vec![(path.with_extension("txt"), text)];
        // Where one is kept, the JSON as well.
        let json = path.with_extension("json");
        if json.exists() {
            goldens.push((json, serde_json::to_string_pretty(&explanation).unwrap() + "\n"));
        }
        for (golden, said) in goldens {
            if std::env::var_os("UPDATE_EXPLANATIONS").is_some() {
                fs::write(&golden, &said).unwrap();
            } else if fs::read_to_string(&golden).unwrap_or_default() != said {
                wrong.push(format!("{}:\n{said}", golden.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
