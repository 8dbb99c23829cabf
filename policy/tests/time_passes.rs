//! Warnings of rules that wait for a moment at which nothing looks at them: what they say is so in the production fold, and what
//! they say to write makes the rule fire by itself, at that moment.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{cell::Cell, convert::Infallible};

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, IssueEvent, IssueState, Said, Source};
use policy::{
    Diagnostic, Input, Repeats, Ruleset, State, TimerKind, fire_timers, load, take_event, trial::Walk,
};
use proptest::prelude::*;

fn start() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn policy(condition: &str, keys: &str) -> Ruleset {
    let text = format!(
        "version: 1\nrules:\n  - {{ id: r, {keys} when: '{condition}', on_closed: true, cooldown: 0s, then: {{ action: post_nudge, target: \
         \"owner:x\" }}, rationale: r }}\n"
    );
    load(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
}

/// What is said of a rule and the passing of time.
fn warning(ruleset: &Ruleset) -> Option<&Diagnostic> {
    let mut said = ruleset.warnings().iter().filter(|one| one.message.contains("waits for the next event"));
    let first = said.next();
    assert!(said.next().is_none(), "said twice: {:?}", ruleset.warnings());
    first
}

/// How a rule came to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Event,
    At,
    Repeat,
}

/// When a rule fired, and how; with whether `also` held then.
fn firings(
    ruleset: &Ruleset,
    history: &[(TimeDelta, IssueEvent)],
    until: TimeDelta,
    also: Option<&Ruleset>,
) -> Vec<(DateTime<Utc>, By, bool)> {
    let mut state = State::default();
    let mut fired = Vec::new();
    let mut hear = |decided: policy::Decided<'_>| -> Result<(), Infallible> {
        for action in &decided.decision.actions {
            let by = match decided.input {
                Input::Timer(timer) if timer.kind == TimerKind::At => By::At,
                Input::Timer(_) => By::Repeat,
                _ => By::Event,
            };
            let at = action.evaluated_at.unwrap();
            let holds = also.is_some_and(|also| {
                let issue_ref = action.issue_ref.as_deref().unwrap();
                let issue = decided.before.issue("p", issue_ref).cloned().unwrap_or_default();
                let walk = Walk {
                    project: "p",
                    issue_ref,
                    issue: &issue,
                    event: None,
                    now: at,
                    momentary: false,
                    lasting: true,
                };
                !walk.scanned(also, |_| {}).is_empty()
            });
            fired.push((at, by, holds));
        }
        Ok(())
    };
    for (at, event) in history {
        take_event(&mut state, event, None, start() + *at, Repeats::Each, ruleset, &mut hear).unwrap();
    }
    fire_timers(&mut state, start() + until, 100_000, Repeats::Each, ruleset, &mut hear).unwrap();
    fired
}

fn event(place: usize, at: TimeDelta) -> IssueEvent {
    let mut event =
        IssueEvent::new(format!("e{place}"), "p", Source::Github, EventType::IssueUpdated, "github:o/r#1");
    event.updated_at = Some(start() + at);
    event
}

/// A comparison that is true from `field` + `shift` hours on, with whether it is true at that very instant.
fn tests() -> impl Strategy<Value = (String, &'static str, i64, bool)> {
    let field = proptest::sample::select(vec!["issue.created_at", "issue.updated_at", "issue.due_at"]);
    (field, -9..40_i64, 0..10_u8).prop_map(|(field, hours, shape)| {
        let by = |hours: i64| format!("duration(\"{hours}h\")");
        let (test, at_once) = match shape {
            0 => (format!("{field} + {} <= now", by(hours)), true),
            1 => (format!("{field} + {} < now", by(hours)), false),
            2 => (format!("now >= {field} + {}", by(hours)), true),
            3 => (format!("now - {} > {field}", by(hours)), false),
            4 => (format!("now - {field} >= {}", by(hours)), true),
            5 => (format!("now - {field} > {}", by(hours)), false),
            6 => (format!("!(now < {field} + {})", by(hours)), true),
            7 => (format!("!(now - {field} <= {})", by(hours)), false),
            8 => (format!("{field} - now <= {}", by(-hours)), true),
            _ => (
                format!(
                    "{} < now - {field} + duration(\"30m\")",
                    format_args!("duration(\"{}m\")", hours * 60 + 30)
                ),
                false,
            ),
        };
        (test, field, hours, at_once)
    })
}

/// The piece in back ticks after `before`.
fn named<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split('`').next()
}

#[test]
fn the_hint_makes_a_rule_fire_by_itself_at_its_moment() {
    let (warned, silent) = (Cell::new(0), Cell::new(0));
    let about = proptest::sample::select(vec!["", "\"a\" in issue.labels && ", "issue.due_at != null && "]);
    let at = proptest::option::of(-3..3_i64);
    proptest!(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() }, |(
        (test, field, shift, at_once) in tests(), about in about, at in at, due in 41..60_i64,
    )| {
        // The moment lies after the only event.
        let moment = TimeDelta::hours(shift + if field == "issue.due_at" { due } else { 0 });
        prop_assume!(moment > TimeDelta::zero());
        let mut opened = event(0, TimeDelta::zero());
        opened.event_type = EventType::IssueOpened;
        opened.created_at = Some(start());
        opened.due_at = Said::Value(start() + TimeDelta::hours(due));
        opened.labels = Said::Value(vec!["a".into()]);
        let history = [(TimeDelta::zero(), opened)];
        let month = TimeDelta::days(30);
        let condition = format!("{about}{test}");

        // Without `at`, or with one that is so many hours beside the moment.
        let keys = at.map_or_else(String::new, |beside| {
            format!("at: {field} + duration(\"{}h\"),", shift + beside)
        });
        let ruleset = policy(&condition, &keys);
        let is_suitable = at.is_some_and(|beside| beside > 0 || (beside == 0 && at_once));
        let fired = firings(&ruleset, &history, month, None);
        let by_itself: Vec<_> = fired.iter().filter(|(_, by, _)| *by != By::Event).collect();
        prop_assert_eq!(by_itself.is_empty(), !is_suitable, "{} {}: {:?}", condition, keys, fired);
        let Some(said) = warning(&ruleset) else {
            prop_assert!(is_suitable, "nothing is said of {condition} {keys}");
            silent.set(silent.get() + 1);
            return Ok(());
        };
        warned.set(warned.get() + 1);
        prop_assert!(!is_suitable, "{said}\n{condition} {keys}");
        prop_assert_eq!(&ruleset.text()[said.span.clone()], test.as_str());

        // As the hint says.
        let hint = said.hint.as_deref().unwrap();
        let keys = match named(hint, "`at: ") {
            Some(at) => format!("at: {at},"),
            None => keys,
        };
        let sign = named(hint, "`, and `").or(named(hint, "write `").filter(|_| !hint.contains("at: ")));
        let written = named(hint, "` for `").or(named(hint, "instead of `"));
        prop_assert_eq!(sign.is_some(), !at_once, "{}", hint);
        let mended = match (sign, written) {
            (Some(sign), Some(written)) => {
                format!("{about}{}", test.replacen(&format!(" {written} "), &format!(" {sign} "), 1))
            }
            _ => condition,
        };
        let ruleset = policy(&mended, &keys);
        prop_assert!(warning(&ruleset).is_none(), "{hint}\n{mended} {keys}\n{:?}", ruleset.warnings());
        let fired = firings(&ruleset, &history, month, None);
        prop_assert_eq!(fired, vec![(start() + moment, By::At, false)], "{} {}", mended, keys);
    });
    assert!(warned.get() > 500 && silent.get() > 100, "{} and {}", warned.get(), silent.get());
}

fn conditions() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(vec![
        "\"a\" in issue.labels",
        "\"b\" in issue.labels",
        "issue.due_at != null",
        "issue.due_at == null",
        "now < issue.due_at",
        "now - issue.updated_at < duration(\"9h\")",
        "issue.updated_at >= issue.due_at",
        "issue.state == \"closed\"",
    ]);
    let leaf = prop_oneof![2 => tests().prop_map(|(test, ..)| test), 2 => plain.prop_map(str::to_owned)];
    leaf.prop_recursive(2, 5, 2, |inner| {
        prop_oneof![
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            1 => inner.clone().prop_map(|one| format!("!({one})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

fn histories() -> impl Strategy<Value = Vec<(TimeDelta, IssueEvent)>> {
    let labels = proptest::sample::select(vec![vec![], vec!["a".to_owned()], vec!["a".into(), "b".into()]]);
    let due = proptest::sample::select(vec![
        Said::Nothing,
        Said::Null,
        Said::Value(-5_i64),
        Said::Value(3),
        Said::Value(30),
    ]);
    let state = proptest::sample::select(vec![
        Said::Nothing,
        Said::Value(IssueState::Open),
        Said::Value(IssueState::Closed),
    ]);
    proptest::collection::vec((1..20_i64, labels, due, state), 1..6).prop_map(|steps| {
        let mut hours = 0;
        let events = steps.into_iter().enumerate().map(|(place, (gap, labels, due, state))| {
            hours += gap;
            let at = TimeDelta::hours(hours);
            let mut event = event(place, at);
            event.created_at = Some(start());
            event.labels = Said::Value(labels);
            event.state = state;
            event.due_at = match due {
                Said::Value(hours) => Said::Value(start() + at + TimeDelta::hours(hours)),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            };
            (at, event)
        });
        events.collect()
    })
}

#[test]
fn a_rule_that_is_said_to_wait_for_an_event_does() {
    let (warned, with_at, repeated, fired_by_at) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let at = proptest::option::of((
        proptest::sample::select(vec!["issue.created_at", "issue.updated_at", "issue.due_at"]),
        -9..40_i64,
    ));
    let round = || {
        proptest!(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() }, |(
            condition in conditions(), at in at.clone(), repeat in any::<bool>(),
            histories in proptest::collection::vec(histories(), 8),
        )| {
            let mut keys = at.map_or_else(String::new, |(field, by)| format!("at: {field} + duration(\"{by}h\"),"));
            if repeat {
                keys += " repeat: 5h,";
            }
            let ruleset = policy(&condition, &keys);
            let Some(said) = warning(&ruleset) else { return Ok(()) };
            warned.set(warned.get() + 1);
            with_at.set(with_at.get() + usize::from(at.is_some()));
            repeated.set(repeated.get() + usize::from(repeat));
            let part = &ruleset.text()[said.span.clone()];
            // Under a `!` further out it is to be false.
            let part = if said.message.contains("false") { format!("!({part})") } else { part.to_owned() };
            let part = policy(&part, "");
            for history in &histories {
                let fired = firings(&ruleset, history, TimeDelta::hours(300), Some(&part));
                let what = || format!("{said}\n{condition} {keys}\n{fired:?}");
                prop_assert!(!fired.iter().any(|(_, by, holds)| *by == By::At && *holds), "{}", what());
                fired_by_at.set(fired_by_at.get() + fired.iter().filter(|(_, by, _)| *by == By::At).count());
                if at.is_none() || repeat {
                    // The first time is by an event.
                    prop_assert!(fired.first().is_none_or(|(_, by, _)| *by == By::Event), "{}", what());
                }
                if at.is_none() && !repeat {
                    prop_assert!(fired.iter().all(|(_, by, _)| *by == By::Event), "{}", what());
                }
            }
        })
    };
    // A round finds some twenty firings by `at`, several of them in one history: as few as none by chance.
    let counts = || [&warned, &with_at, &repeated, &fired_by_at].map(Cell::get);
    let enough = || counts().iter().zip([600, 60, 120, 8]).all(|(count, least)| *count >= least);
    for _ in 0..10 {
        round();
        if enough() {
            return;
        }
    }
    panic!("too few to tell: {:?}", counts());
}
