//! What is said of conditions that never hold and of rules that are never reached.
//!
//! `analysis/*.yaml` hold, with exactly the warnings that stand in the `.txt` beside them (`UPDATE_EXPECTED=1` writes those
//! anew).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    path::Path,
};

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, Said, Source};
use policy::{Input, Note, Repeats, Ruleset, State, load, switch_policy, take_event};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

#[test]
fn warnings_are_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analysis");
    let (mut rules, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let ruleset = load(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|errors| panic!("{}: {errors:#?}", path.display()));
        let text = ruleset.text();
        assert!(!text.contains("No warnings.") || ruleset.warnings().is_empty(), "{:#?}", ruleset.warnings());
        rules += ruleset.rules().count();
        let said: String = ruleset.warnings().iter().map(|warning| format!("{warning}\n")).collect();
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(rules >= 120, "only {rules} rules were found");
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

fn conditions() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(vec![
        "true",
        "\"a\" in issue.labels",
        "\"b\" in issue.labels",
        "issue.labels.exists(l, l.startsWith(\"a\"))",
        "size(issue.labels) > 0",
        "issue.labels != null",
        "issue.priority == \"p0\"",
        "issue.priority in [\"p0\", \"p1\"]",
        "issue.state == \"open\"",
        "issue.state == \"closed\"",
        "issue.due_at <= now",
        "issue.due_at != null",
        "now - issue.updated_at >= duration(\"5h\")",
        "now - issue.updated_at >= duration(\"9h\")",
        "event.type == \"issue_commented\"",
        "event.type in [\"issue_commented\", \"issue_updated\"]",
        "event.actor == \"kim\"",
        "event.source in [\"github\", \"jira\"]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => inner.prop_map(|one| format!("!({one})")),
        ]
    })
}

/// The rules of a policy, one a line, the first on line 3. Their ids are of a small set, so that policies share them.
fn policies() -> impl Strategy<Value = String> {
    let flags = (0..8_u8, 0..4_u8, 0..4_u8, 0..4_u8);
    proptest::collection::vec((conditions(), flags), 2..=6).prop_map(|rules| {
        let mut text = "version: 1\nrules:\n".to_owned();
        for (place, (condition, (goes_on, on_closed, at, repeat))) in rules.into_iter().enumerate() {
            let lasting = !condition.contains("event.");
            text += &format!("  - {{ id: r{place}, when: '{condition}'");
            for (set, key) in [
                (goes_on == 0, "continue: true"),
                (on_closed == 0, "on_closed: true"),
                (lasting && at == 0, "at: issue.due_at"),
                (lasting && repeat == 0, "repeat: 5h"),
            ] {
                if set {
                    text += ", ";
                    text += key;
                }
            }
            text += ", cooldown: 0s, then: { action: post_nudge, target: \"owner:x\" }, rationale: r }\n";
        }
        text
    })
}

fn start() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn said<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Said<T>> {
    prop_oneof![2 => Just(Said::Nothing), 1 => Just(Said::Null), 5 => proptest::sample::select(values).prop_map(Said::Value)]
}

/// Hours since the event before, and the event; its own time is now or an earlier one.
fn histories() -> impl Strategy<Value = Vec<(i64, IssueEvent)>> {
    let labels = ["", "a", "b", "ab", "a b"].map(|all| all.split_whitespace().map(str::to_owned).collect());
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueClosed,
        EventType::IssueReopened,
        EventType::Other("issue_moved".into()),
    ]);
    let facts = (
        said::<Vec<String>>(labels.to_vec()),
        said(vec!["P0".to_owned(), "p1".to_owned(), "low".to_owned()]),
        said(vec![IssueState::Open, IssueState::Open, IssueState::Closed]),
        said(vec![-8_i64, -3, 2, 6, 30]),
    );
    let event =
        (types, proptest::option::of(0..12_i64), proptest::sample::select(vec![None, Some("kim")]), facts);
    let step = (0..8_i64, event);
    proptest::collection::vec(step, 1..12).prop_map(|steps| {
        let mut now = 0;
        let events = steps.into_iter().enumerate().map(|(place, (gap, (event_type, late, actor, facts)))| {
            now += gap;
            let mut event =
                IssueEvent::new(format!("e{place}"), "p", Source::Github, event_type, "github:o/r#1");
            (event.labels, event.priority, event.state) = (facts.0, facts.1, facts.2);
            event.due_at = match facts.3 {
                Said::Value(hours) => Said::Value(start() + TimeDelta::hours(now + hours)),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            };
            event.updated_at = late.map(|late| start() + TimeDelta::hours(now - late));
            event.actor = actor.map(str::to_owned);
            event.change = BTreeMap::from([("labels".to_owned(), FieldChange::default())]);
            (now, event)
        });
        events.collect()
    })
}

/// The rules that fired by events that were not late, and by those that were, under `ruleset`; the first events are decided by
/// `before`.
fn fired(
    before: &Ruleset,
    switch_at: usize,
    ruleset: &Ruleset,
    history: &[(i64, IssueEvent)],
) -> [BTreeSet<String>; 2] {
    let (mut state, mut fired) = (State::default(), [BTreeSet::new(), BTreeSet::new()]);
    let mut current = before;
    for (place, (hours, event)) in history.iter().enumerate() {
        let now = start() + TimeDelta::hours(*hours);
        if place == switch_at {
            current = ruleset;
            let switched = switch_policy(&state, now, ruleset);
            state.apply(switched);
        }
        let counts = place >= switch_at;
        let taken: Result<(), Infallible> =
            take_event(&mut state, event, None, now, Repeats::Each, current, &mut |decided| {
                let late = decided
                    .decision
                    .notes
                    .iter()
                    .any(|note| matches!(note, Note::Stale { .. } | Note::TooOld { .. }));
                let late = late && matches!(decided.input, Input::Event { .. });
                if counts {
                    let rules = decided.decision.actions.iter().filter_map(|action| action.rule.clone());
                    fired[usize::from(late)].extend(rules);
                }
                Ok(())
            });
        taken.unwrap();
    }
    fired
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
fn a_rule_that_is_said_not_to_be_reached_never_fires() {
    let counts = [const { Cell::new(0_usize) }; 5];
    let count = |which: usize| counts[which].set(counts[which].get() + 1);
    let histories = proptest::collection::vec((histories(), 0..4_usize), 12);
    let seed = std::env::var("SEED").map_or_else(|_| rand_seed(), |seed| seed.parse().unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new_with_rng(config, rng).run(
        &(policies(), policies(), histories),
        |(text, before, histories)| {
            let (ruleset, before) = (load(&text).unwrap(), load(&before).unwrap());
            let mut fired_at_all: [BTreeSet<String>; 2] = Default::default();
            for (history, switch_at) in &histories {
                for (all, fired) in fired_at_all.iter_mut().zip(fired(&before, *switch_at, &ruleset, history))
                {
                    all.extend(fired);
                }
            }
            let [current, late] = &fired_at_all;
            if !current.is_empty() {
                count(0);
            }
            for warning in ruleset.warnings() {
                let place = warning.line - 3;
                let id = format!("r{place}");
                let said = warning.message.as_str();
                let fires = current.contains(&id) || late.contains(&id);
                if said == "this condition never holds" {
                    count(1);
                    prop_assert!(!fires, "{warning}\n{text}");
                } else if said.starts_with("this rule is never reached") {
                    count(2);
                    prop_assert!(!fires, "{warning}\n{text}");
                } else if said.starts_with("of events that come in order, none reaches this rule") {
                    count(3);
                    prop_assert!(!current.contains(&id), "{warning}\n{text}");
                } else if said.starts_with("this rule decides every") {
                    count(4);
                    // Where it is all of them, it names none.
                    let named = |part: &str| -> BTreeSet<String> {
                        let names: BTreeSet<_> =
                            part.split('`').skip(1).step_by(2).map(String::from).collect();
                        let below = (place + 1..ruleset.rules().count()).map(|place| format!("r{place}"));
                        if names.is_empty() { below.collect() } else { names }
                    };
                    let said = said.split_once(": ").unwrap().1;
                    let (never, only_late) = match said.split_once(" more only by events older") {
                        Some((never, only_late)) => (named(never), named(only_late)),
                        None if said.contains("older") => (BTreeSet::new(), named(said)),
                        None => (named(said), BTreeSet::new()),
                    };
                    prop_assert!(
                        current.is_disjoint(&never) && late.is_disjoint(&never),
                        "{warning}\n{text}"
                    );
                    prop_assert!(current.is_disjoint(&only_late), "{warning}\n{text}");
                }
            }
            Ok(())
        },
    );
    if let Err(error) = ran {
        panic!("{error}\nagain with SEED={seed}");
    }
    let counts = counts.map(Cell::into_inner);
    let least = [1000, 60, 120, 30, 60];
    assert!(counts.iter().zip(least).all(|(count, least)| *count >= least), "too few to tell: {counts:?}");
}
