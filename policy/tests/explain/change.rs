//! Each change that is named does what it says.

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, IssueEvent, IssueState, Said};
use policy::{
    Changes, Decision, Entry, Explanation, Facts, Input, Issue, Key, Kind, Repeats, State, Timer, decide,
    explain,
    explain::{Became, Case, Change, ChangeKind, Focus, Goal, LastEvent, Occasion, OfRule, Shown},
    take_event,
};
use proptest::prelude::*;

use crate::world::{LABELS, RULESET, histories, minutes, never, whole_events};

/// Makes a change by another way than the one that is tested: in the event.
fn make(change: &Change, event: &mut IssueEvent, now: &mut DateTime<Utc>) {
    let text = || match &change.value {
        Shown::Text(text) => Said::Value(text.as_str().into()),
        Shown::Null => Said::Null,
        other => panic!("{other:?}"),
    };
    let time = || match change.value {
        Shown::Time(at) => Some(at),
        _ => None,
    };
    let edit = |list: &mut Vec<String>| match (change.kind, &change.value) {
        (ChangeKind::Add, Shown::Text(word)) => list.push(word.clone()),
        (ChangeKind::Remove, Shown::Text(word)) => {
            list.retain(|label| !label.eq_ignore_ascii_case(word));
        }
        (ChangeKind::Count, Shown::Number(count)) => {
            list.truncate(usize::try_from(*count).unwrap());
            while list.len() < usize::try_from(*count).unwrap() {
                list.push(format!("label-{}", list.len() + 1));
            }
        }
        other => panic!("{other:?}"),
    };
    match change.field.as_str() {
        "now" => *now = time().unwrap(),
        "issue.labels" => {
            let Said::Value(labels) = &mut event.labels else { panic!("{event:?}") };
            edit(labels);
        }
        "issue.assignee" => event.assignee = text(),
        "issue.priority" => event.priority = text(),
        "issue.title" => event.title = text(),
        "issue.due_at" => event.due_at = Said::of(time()),
        "issue.updated_at" => event.updated_at = time(),
        "issue.state" => {
            let open = change.value == Shown::Text("open".into());
            event.state = Said::Value(if open { IssueState::Open } else { IssueState::Closed });
        }
        "event.by_us" => event.by_us = change.value == Shown::Flag(true),
        "event.type" => {
            let Shown::Text(word) = &change.value else { panic!("{change:?}") };
            event.event_type = EventType::from(word.as_str());
            match event.event_type {
                EventType::IssueClosed => event.state = Said::Value(IssueState::Closed),
                EventType::IssueReopened => event.state = Said::Value(IssueState::Open),
                _ => {}
            }
        }
        "event.labels_removed" => {
            edit(&mut event.change.get_mut("labels").unwrap().removed);
            if let (Said::Value(labels), ChangeKind::Add) = (&mut event.labels, change.kind) {
                let Shown::Text(word) = &change.value else { panic!("{change:?}") };
                labels.retain(|label| !label.eq_ignore_ascii_case(word));
            }
        }
        other => panic!("{other}"),
    }
}

fn fires(event: &IssueEvent, now: DateTime<Utc>, rule: &str) -> bool {
    let decision = decide(&State::default(), Input::Event { event, payload_hash: None }, now, &RULESET);
    decision.actions.iter().any(|action| action.rule.as_deref() == Some(rule))
}

fn of_rule(event: &IssueEvent, now: DateTime<Utc>, rule: &str) -> OfRule {
    let focus = Focus { rule: Some(rule), issue_ref: None };
    let case = Case::Input(Input::Event { event, payload_hash: None });
    let explanation = explain(&State::default(), case, now, &RULESET, focus);
    explanation.issues[0].rules.iter().find(|it| it.id == rule).unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_change_that_is_named_is_enough(event in whole_events(), rule in 0..10_usize) {
        let (now, rule) = (minutes(0), RULESET.rules().nth(rule).unwrap().id());
        let fired = fires(&event, now, rule);
        let what_if = of_rule(&event, now, rule).what_if.unwrap();
        prop_assert_eq!(what_if.goal, if fired { Goal::NotFire } else { Goal::Fire });
        prop_assert!(what_if.complete);
        for alternative in &what_if.alternatives {
            let (mut event, mut now) = (event.clone(), now);
            alternative.iter().for_each(|change| make(change, &mut event, &mut now));
            prop_assert_eq!(fires(&event, now, rule), !fired, "{:?}", alternative);
        }
    }

    #[test]
    fn a_range_of_times_is_neither_too_wide_nor_too_narrow(
        event in whole_events(),
        rule in 0..11_usize,
        within in 1..100_i32,
    ) {
        let (now, rule) = (minutes(0), RULESET.rules().nth(rule).unwrap().id());
        let fired = fires(&event, now, rule);
        let what_if = of_rule(&event, now, rule).what_if.unwrap();
        for alternative in &what_if.alternatives {
            let Some(place) = alternative.iter().position(|change| change.times.is_some()) else { continue };
            let times = alternative[place].times.unwrap();
            let reaches = |at: DateTime<Utc>| {
                let (mut event, mut now) = (event.clone(), now);
                let mut changes = alternative.clone();
                changes[place].value = Shown::Time(at);
                changes.iter().for_each(|change| make(change, &mut event, &mut now));
                fires(&event, now, rule) != fired
            };
            let second = TimeDelta::seconds(1);
            let (from, to) = (times.from.map(|end| end.at), times.to.map(|end| end.at));
            for (end, outwards) in [(times.from, -second), (times.to, second)] {
                let Some(end) = end else { continue };
                prop_assert_eq!(reaches(end.at), end.included, "{:?}", alternative);
                if end.included {
                    prop_assert!(!reaches(end.at + outwards), "{:?}", alternative);
                }
            }
            // Somewhere inside, or far away where there is no end.
            let Shown::Time(tried) = alternative[place].value else { unreachable!() };
            let low = from.unwrap_or(tried - TimeDelta::days(1000));
            let high = to.unwrap_or(tried + TimeDelta::days(1000));
            let inside = low + (high - low) * within / 100;
            if low < inside && inside < high {
                prop_assert!(reaches(inside), "{} {:?}", inside, alternative);
            }
        }
    }

    #[test]
    fn no_smaller_change_is_missed(event in whole_events(), rule in 0..10_usize) {
        let (now, rule) = (minutes(0), RULESET.rules().nth(rule).unwrap().id());
        let fired = fires(&event, now, rule);
        let mut by_one = Vec::new();
        for label in LABELS {
            let mut other = event.clone();
            let Said::Value(labels) = &mut other.labels else { unreachable!() };
            match labels.iter().position(|known| known == label) {
                Some(place) => _ = labels.remove(place),
                None => labels.push(label.to_owned()),
            }
            by_one.push(other);
        }
        for assignee in [Said::Null, Said::Value("kim".to_owned())] {
            by_one.push(IssueEvent { assignee, ..event.clone() });
        }
        for due in [None, Some(-1), Some(1), Some(119), Some(121), Some(600), Some(9000)] {
            by_one.push(IssueEvent { due_at: Said::of(due.map(minutes)), ..event.clone() });
        }
        if by_one.iter().any(|other| fires(other, now, rule) != fired) {
            let what_if = of_rule(&event, now, rule).what_if.unwrap();
            prop_assert!(!what_if.alternatives.is_empty());
            prop_assert!(what_if.alternatives.iter().all(|edits| edits.len() == 1), "{:?}", what_if);
        }
    }
}

/// Makes a change in what is known of an issue; false where it is none of the issue.
fn make_known(change: &Change, facts: &mut Facts) -> bool {
    let text = || match &change.value {
        Shown::Text(text) => Said::Value(text.as_str().into()),
        _ => Said::Null,
    };
    let time = match change.value {
        Shown::Time(at) => Some(at),
        _ => None,
    };
    match change.field.as_str() {
        "issue.labels" => {
            let mut labels = facts.labels.value().map(|labels| labels.to_vec()).unwrap_or_default();
            match (change.kind, &change.value) {
                (ChangeKind::Add, Shown::Text(word)) => labels.push(word.clone()),
                (ChangeKind::Remove, Shown::Text(word)) => {
                    labels.retain(|label| !label.eq_ignore_ascii_case(word));
                }
                (ChangeKind::Count, Shown::Number(count)) => {
                    let count = usize::try_from(*count).unwrap();
                    labels.truncate(count);
                    labels.extend((labels.len()..count).map(|n| format!("label-{n}")));
                }
                (ChangeKind::Set, Shown::Null) => {
                    facts.labels = Said::Null;
                    return true;
                }
                other => panic!("{other:?}"),
            }
            facts.labels = Said::Value(labels.into());
        }
        "issue.assignee" => facts.assignee = text(),
        "issue.priority" => facts.priority = text(),
        "issue.title" => facts.title = text(),
        "issue.due_at" => facts.due_at = Said::of(time),
        "issue.updated_at" => facts.updated_at = time,
        "issue.state" => {
            let open = change.value == Shown::Text("open".into());
            facts.state = Said::Value(if open { IssueState::Open } else { IssueState::Closed });
        }
        _ => return false,
    }
    true
}

/// Lets an event say nothing of a field.
fn unsay(field: &str, event: &mut IssueEvent) {
    match field {
        "issue.labels" => event.labels = Said::Nothing,
        "issue.assignee" => event.assignee = Said::Nothing,
        "issue.priority" => event.priority = Said::Nothing,
        "issue.title" => event.title = Said::Nothing,
        "issue.due_at" => event.due_at = Said::Nothing,
        "issue.state" => event.state = Said::Nothing,
        other => assert_eq!(other, "issue.updated_at"),
    }
}

/// A copy of a state in which something else is known of an issue.
fn known_otherwise(state: &State, issue_ref: &str, mut other: impl FnMut(&mut Facts)) -> State {
    let mut issue = Issue::clone(state.issue("alpha", issue_ref).unwrap());
    other(&mut issue.facts);
    let is_it = |key: &Key| key.kind == Kind::Issue && key.identity == issue_ref;
    let key = state.keys().find(is_it).unwrap();
    let changes: Changes = [(key, Some(Entry::Issue(Box::new(issue))))].into_iter().collect();
    let mut state = state.clone();
    state.apply(Decision { changes, ..Decision::default() });
    state
}

/// Whether a rule fires, or (where that is the goal) decides the issue.
fn is_so(goal: Goal, rule: &str, issue_ref: &str, state: &State, decision: Decision) -> bool {
    match goal {
        Goal::Fire | Goal::NotFire => decision.actions.iter().any(|action| {
            let by_it = action.rule.as_deref() == Some(rule) && !action.action.follows_up();
            by_it && action.issue_ref.as_deref() == Some(issue_ref)
        }),
        Goal::NotDecide => {
            let mut after = state.clone();
            after.apply(decision);
            after.issue("alpha", issue_ref).is_some_and(|issue| issue.deciding.contains_key(rule))
        }
    }
}

fn rule_of(explanation: &Explanation, rule: &str) -> Option<OfRule> {
    explanation.issues.first()?.rules.iter().find(|it| it.id == rule).cloned()
}

/// The state after a history, and its time in minutes.
fn after(history: &[(i64, IssueEvent)]) -> (State, i64) {
    let (mut state, mut now) = (State::default(), 0);
    for (gap, event) in history {
        now += gap;
        take_event(&mut state, event, None, minutes(now), Repeats::Each, &RULESET, &mut never).unwrap();
    }
    (state, now)
}

/// Each change of a rule, in the decision of an event that comes after a history. How many were tried.
fn changes_of_an_event(state: &State, event: &IssueEvent, now: DateTime<Utc>, rule: &str) -> usize {
    let focus = Focus { rule: Some(rule), issue_ref: None };
    let case = Case::Input(Input::Event { event, payload_hash: None });
    let explanation = explain(state, case, now, &RULESET, focus);
    let Some(what_if) = rule_of(&explanation, rule).and_then(|it| it.what_if) else { return 0 };
    assert!(what_if.complete);
    let so = |state: &State, event: &IssueEvent, now| {
        let decision = decide(state, Input::Event { event, payload_hash: None }, now, &RULESET);
        is_so(what_if.goal, rule, &event.issue_ref, state, decision)
    };
    // What a late event says of the issue does not count any more.
    let is_late = explanation.issues[0].occasion == Occasion::LateEvent;
    assert_eq!(so(state, event, now), what_if.goal != Goal::Fire, "{explanation}");
    let mut tried = 0;
    for alternative in &what_if.alternatives {
        let (mut event, mut at) = (event.clone(), now);
        let mut other = state.clone();
        for change in alternative {
            match is_late && change.field.starts_with("issue.") {
                true => {
                    other = known_otherwise(&other, &event.issue_ref, |facts| {
                        assert!(make_known(change, facts), "{change:?}");
                    });
                    unsay(&change.field, &mut event);
                }
                false => make(change, &mut event, &mut at),
            }
        }
        // An event of another age is another kind of event (as is one from the future), and time does not go back.
        let another_age = alternative.iter().any(|change| change.field == "issue.updated_at")
            || event.updated_at > Some(at + TimeDelta::days(1));
        if another_age || state.clock() > Some(at) {
            continue;
        }
        tried += 1;
        assert_eq!(so(&other, &event, at), what_if.goal == Goal::Fire, "{alternative:?}\n{explanation}");
    }
    tried
}

/// Each change of the rule that set a timer.
fn changes_of_a_timer(state: &State, timer: &Timer) -> usize {
    let (rule, issue_ref) = (timer.rule.as_str(), timer.issue_ref.as_str());
    let focus = Focus { rule: Some(rule), issue_ref: None };
    let case = Case::Input(Input::Timer(timer));
    let explanation = explain(state, case, timer.due_at, &RULESET, focus);
    let Some(what_if) = rule_of(&explanation, rule).and_then(|it| it.what_if) else { return 0 };
    let fires = |state: &State| {
        let decision = decide(state, Input::Timer(timer), timer.due_at, &RULESET);
        is_so(Goal::Fire, rule, issue_ref, state, decision)
    };
    assert_eq!(fires(state), what_if.goal != Goal::Fire, "{explanation}");
    for alternative in &what_if.alternatives {
        let other = known_otherwise(state, issue_ref, |facts| {
            for change in alternative {
                assert!(make_known(change, facts), "{change:?}");
            }
        });
        assert_eq!(fires(&other), what_if.goal == Goal::Fire, "{alternative:?}\n{explanation}");
    }
    what_if.alternatives.len()
}

/// Each change of a rule, of an issue as it is known, and of its last event come again.
fn changes_of_an_issue(state: &State, last: &IssueEvent, now: DateTime<Utc>, rule: &str) -> usize {
    let issue_ref = last.issue_ref.as_str();
    let focus = Focus { rule: Some(rule), issue_ref: None };
    let explain_at = |state: &State, at| {
        let last_event = Some(LastEvent { event: last, at: now });
        explain(state, Case::Issue { project: "alpha", issue_ref, last_event }, at, &RULESET, focus)
    };
    let explanation = explain_at(state, now);
    let mut tried = 0;
    if let Some(what_if) = rule_of(&explanation, rule).and_then(|it| it.what_if) {
        let so = |explanation: &Explanation| {
            let became = rule_of(explanation, rule).and_then(|it| it.became);
            match what_if.goal {
                Goal::NotDecide => became.is_some(),
                _ => matches!(became, Some(Became::Fired { .. })),
            }
        };
        for alternative in &what_if.alternatives {
            let mut at = now;
            let other = known_otherwise(state, issue_ref, |facts| {
                for change in alternative {
                    match (change.field.as_str(), &change.value) {
                        ("now", Shown::Time(other)) => at = *other,
                        _ => assert!(make_known(change, facts), "{change:?}"),
                    }
                }
            });
            if state.clock() > Some(at) {
                continue;
            }
            tried += 1;
            let told = explain_at(&other, at);
            assert_eq!(so(&told), what_if.goal == Goal::Fire, "{alternative:?}\n{explanation}\n{told}");
        }
    }
    let again = explanation.issues[0].by_last_event.as_ref();
    let Some(again) = again.and_then(|again| again.rules.iter().find(|it| it.id == rule)) else {
        return tried;
    };
    // Another event that says what is known, and that the same happened.
    let so = |state: &State, event: &IssueEvent, at| {
        let facts = &state.issue("alpha", issue_ref).unwrap().facts;
        let event = IssueEvent {
            event_id: "again".into(),
            labels: match &facts.labels {
                Said::Value(labels) => Said::Value(labels.to_vec()),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            },
            state: facts.state.clone(),
            due_at: facts.due_at.clone(),
            updated_at: None,
            assignee: Said::Nothing,
            priority: Said::Nothing,
            title: Said::Nothing,
            due_milestone: Said::Nothing,
            ..event.clone()
        };
        let decision = decide(state, Input::Event { event: &event, payload_hash: None }, at, &RULESET);
        is_so(Goal::Fire, rule, issue_ref, state, decision)
    };
    let fires = matches!(again.became, Some(Became::Fired { .. }));
    assert_eq!(so(state, last, now), fires, "{explanation}");
    let Some(what_if) = &again.what_if else { return tried };
    for alternative in &what_if.alternatives {
        let (mut event, mut at) = (last.clone(), now);
        event.labels = Said::Value(Vec::new());
        let other = known_otherwise(state, issue_ref, |facts| {
            for change in alternative {
                if make_known(change, facts) {
                    continue;
                }
                make(change, &mut event, &mut at);
                // As such an event would leave the issue.
                match (change.field.as_str(), &event.event_type) {
                    ("event.type", EventType::IssueClosed) => facts.state = Said::Value(IssueState::Closed),
                    ("event.type", EventType::IssueReopened) => facts.state = Said::Value(IssueState::Open),
                    _ => {}
                }
                if let ("event.labels_removed", Shown::Text(word)) = (change.field.as_str(), &change.value)
                    && let Said::Value(labels) = &mut facts.labels
                {
                    labels.retain(|label| !label.eq_ignore_ascii_case(word));
                }
            }
        });
        if state.clock() > Some(at) {
            continue;
        }
        tried += 1;
        assert_eq!(so(&other, &event, at), !fires, "{alternative:?}\n{explanation}");
    }
    tried
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_change_does_what_it_says_after_any_history(
        history in histories(),
        mut event in whole_events(),
        gap in 0..3000_i64,
        rule in 0..10_usize,
    ) {
        let rule = RULESET.rules().nth(rule).unwrap().id();
        let (state, now) = after(&history);
        let now = minutes(now + gap);
        event.event_id = "last".into();
        // Between two whole minutes, so that it is either younger than what is known, or late.
        event.updated_at = Some(now + TimeDelta::seconds(30));
        changes_of_an_event(&state, &event, now, rule);
        if let Some(timer) = state.next_timer() {
            changes_of_a_timer(&state, &timer);
        }
        let mut state = state;
        take_event(&mut state, &event, None, now, Repeats::Each, &RULESET, &mut never).unwrap();
        if !state.issue("alpha", &event.issue_ref).unwrap().deleted {
            changes_of_an_issue(&state, &event, now, rule);
        }
    }
}
