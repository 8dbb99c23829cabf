//! Explanations: each YAML file in `explanations/` is a policy and what happened; the text beside it is what is said of the last
//! decision. `UPDATE_EXPLANATIONS=1 cargo test -p policy --test explain` writes the texts anew.
//!
//! A step is one of
//! - `event` (with `at`, the log's stamp): fields of an issue event. `event_id` (e1, e2, …), `project_id` (alpha), `source` (github)
//!   and `issue_ref` (github:o/r#1) may be left out; `hash` is the payload hash;
//! - `timer`: the timer that is due next is decided, in time, or as of the instant that is written there;
//! - `issue` (with `at`): the issue as it is known; only as the last step.
//!
//! `rule` asks for one rule, `of` for one issue. Timers that are due before an event are decided before it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, Said, Source};
use policy::{
    Decision, Explanation, Input, Note, Repeats, Ruleset, State, decide, explain,
    explain::{
        Ask, AskedRules, Became, Case, Change, ChangeKind, Goal, NotAsked, OfIssue, OfRule, Shown, Verdict,
    },
    fire_timers, load, take_event,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

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

const SHARED: &str = include_str!("explanations/shared/policy.yaml");

fn ruleset(text: &str) -> Ruleset {
    load(if text.trim() == "shared" { SHARED } else { text }).unwrap_or_else(|diagnostics| {
        panic!("{}", diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>())
    })
}

fn never(_: policy::Decided<'_>) -> Result<(), ()> {
    Ok(())
}

fn tell(told: &Told) -> Explanation {
    let ruleset = ruleset(&told.policy);
    let ask = Ask { rule: told.rule.as_deref(), issue_ref: told.of.as_deref() };
    let mut state = State::default();
    let mut explained = None;
    for (place, step) in told.steps.iter().enumerate() {
        let is_last = place + 1 == told.steps.len();
        if let Some(issue_ref) = &step.issue {
            let case = Case::Issue { project: "alpha", issue_ref };
            explained = Some(explain(&state, case, step.at.unwrap(), &ruleset, ask));
        } else if let Some(until) = &step.timer {
            let timer = state.next_timer().expect("a timer is set");
            let now = until.parse().unwrap_or(timer.due_at);
            if is_last {
                explained = Some(explain(&state, Case::Input(Input::Timer(&timer)), now, &ruleset, ask));
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
                explained = Some(explain(&state, Case::Input(input), now, &ruleset, ask));
            }
            take_event(&mut state, &event, hash, now, Repeats::Each, &ruleset, &mut never).unwrap();
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

const POLICY: &str = r#"
version: 1
teams: { web: { members: [maria, tom, ann] } }
rules:
  - { id: comment, when: 'event.type == "issue_commented"', then: { action: post_nudge, target: [assignee, "team:web"] }, rationale: r, continue: true, cooldown: 20m }
  - { id: gone, when: 'event.type == "issue_closed" && "bug" in event.labels_removed', then: { action: post_nudge, target: assignee }, rationale: r, on_closed: true }
  - { id: erring, when: 'issue.due_at - duration("2h") <= now && issue.labels.exists(l, l.startsWith("v"))', then: { action: post_nudge, target: "owner:x" }, rationale: r, continue: true }
  - { id: vip, when: '"VIP" in issue.labels && !(issue.priority in ["P2", "P3"])', then: { action: escalate_owner, target: "owner:boss" }, rationale: r, continue: true, cooldown: 0s }
  - { id: web, when: '"web" in issue.labels', then: [{ action: assign_owner, target: "team:web" }, { action: post_nudge, target: assignee }], rationale: r, cooldown: 1h }
  - { id: deadline, at: issue.due_at, when: 'issue.due_at != null && issue.due_at <= now || "late" in issue.labels', then: { action: schedule_unblocker, target: assignee }, rationale: r, repeat: 7h }
  - { id: stuck, at: 'issue.updated_at + duration("30h")', when: 'issue.updated_at + duration("30h") <= now', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 11h }
  - { id: all, when: 'issue.labels.all(l, size(l) == 3) && size(issue.labels) >= 1', then: { action: post_nudge, target: "team:web" }, rationale: r }
  - { id: first, when: 'event.type == "issue_opened" && (issue.title.contains("crash") || issue.assignee != null)', then: { action: post_nudge, target: "team:web" }, rationale: r }
  - { id: rest, when: 'issue.state == "open"', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 13h }
"#;

/// Loaded once: parsing takes longer than a history.
static RULESET: LazyLock<Ruleset> = LazyLock::new(|| load(POLICY).unwrap());
const LABELS: [&str; 4] = ["bug", "VIP", "web", "late"];

fn minutes(n: i64) -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(n)
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(LABELS.to_vec(), 0..=4)
        .prop_map(|labels| labels.into_iter().map(str::to_owned).collect())
}

fn said<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Said<T>> {
    prop_oneof![3 => Just(Said::Nothing), 1 => Just(Said::Null), 4 => value.prop_map(Said::Value)]
}

fn events() -> impl Strategy<Value = IssueEvent> {
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueCommented,
        EventType::IssueClosed,
        EventType::IssueReopened,
        EventType::IssueDeleted,
        EventType::MilestoneUpdated,
    ]);
    let person = proptest::sample::select(vec!["kim", "lee"]).prop_map(str::to_owned);
    let priority = proptest::sample::select(vec!["p0", "P2"]).prop_map(str::to_owned);
    let title = proptest::sample::select(vec!["a crash", "none"]).prop_map(str::to_owned);
    let facts = (
        said(labels()),
        said(person),
        said(-600_i64..6000),
        said(1_u64..3),
        labels(),
        said(priority),
        said(title),
    );
    (types, 0..4_u8, proptest::option::of(-300_i64..3000), facts).prop_map(
        |(event_type, number, updated, (labels, assignee, due, milestone, removed, priority, title))| {
            let issue_ref = match event_type {
                EventType::MilestoneUpdated => format!("github:o/r/milestone/{}", number % 3),
                _ => format!("github:o/r#{number}"),
            };
            let mut event = IssueEvent::new("", "alpha", Source::Github, event_type, issue_ref);
            (event.labels, event.assignee, event.due_milestone) = (labels, assignee, milestone);
            (event.priority, event.title) = (priority, title);
            event.due_at = match due {
                Said::Value(n) => Said::Value(minutes(n)),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            };
            event.updated_at = updated.map(minutes);
            let change = FieldChange { removed, ..FieldChange::default() };
            event.change = BTreeMap::from([("labels".to_owned(), change)]);
            event
        },
    )
}

/// Events, each some minutes after the one before. Ids are of a small set, so that some come twice.
fn histories() -> impl Strategy<Value = Vec<(i64, IssueEvent)>> {
    let gap = prop_oneof![8 => 0..20_i64, 3 => 20..600_i64, 1 => 600..9000_i64];
    let event = (events(), 0..60_u8).prop_map(|(mut event, id)| {
        event.event_id = format!("e{id}");
        event
    });
    proptest::collection::vec((gap, event), 1..25)
}

/// What an explanation says of one issue is what was decided of it.
fn agrees(of_issue: &OfIssue, decision: &Decision) {
    let concerns = |issue_ref: &str| issue_ref == of_issue.issue_ref;
    let fired: Vec<_> = decision
        .actions
        .iter()
        .filter(|action| concerns(action.issue_ref.as_deref().unwrap()))
        .map(|action| (action.rule.clone().unwrap(), action.event_id.clone(), action.target.clone()))
        .collect();
    let (mut said, mut notes) = (Vec::new(), Vec::new());
    let issue_ref = || of_issue.issue_ref.clone();
    let mut ended = None;
    for rule in &of_issue.rules {
        let asked = rule.not_asked.is_none();
        if let Some(condition) = &rule.condition {
            assert_eq!(Some(condition.verdict), rule.verdict, "{rule:?}");
        }
        assert!(asked || rule.became.is_none(), "{rule:?}");
        // Only what was asked and holds becomes anything, and then something becomes of it.
        let late_turn = matches!(rule.became, Some(Became::NotItsTurn));
        assert_eq!(
            rule.became.is_some() && !late_turn,
            asked && rule.verdict == Some(Verdict::Holds) && !late_turn,
            "{rule:?}"
        );
        assert_eq!(
            rule.not_asked.as_ref().is_some_and(|why| matches!(why, NotAsked::AboveDecided { .. })),
            ended.is_some()
                && rule.not_asked.is_some()
                && !matches!(rule.not_asked, Some(NotAsked::Closed | NotAsked::Late)),
            "{rule:?}"
        );
        if rule.ends_walk {
            assert_eq!(ended.replace(rule.id.clone()), None, "two rules end the walk");
        }
        if asked && rule.verdict == Some(Verdict::CannotBeSaid) && !late_turn {
            notes.push(Note::ConditionError { rule: rule.id.clone(), issue_ref: issue_ref() });
        }
        let unresolved = |index| Note::Unresolved { rule: rule.id.clone(), issue_ref: issue_ref(), index };
        match &rule.became {
            Some(Became::Fired { actions, unresolved: without }) => {
                said.extend(
                    actions
                        .iter()
                        .map(|action| (rule.id.clone(), action.id.clone().unwrap(), action.target.clone())),
                );
                notes.extend(without.iter().map(|index| unresolved(*index)));
            }
            Some(Became::Unresolved) => notes.extend([0].map(unresolved)),
            Some(Became::Suppressed { until }) => {
                notes.push(Note::Suppressed { rule: rule.id.clone(), issue_ref: issue_ref(), until: *until });
            }
            Some(Became::DecidedAlready) => assert!(rule.before.decided && !rule.momentary, "{rule:?}"),
            Some(Became::AtDone { at }) => {
                assert_eq!((rule.before.at, rule.before.at_done), (Some(*at), Some(*at)), "{rule:?}");
                assert!(!rule.momentary, "{rule:?}");
            }
            Some(Became::NotItsTurn) => assert_eq!(of_issue.asked, AskedRules::OfTimer),
            None => {}
        }
    }
    assert_eq!(said, fired);
    let mut noted: Vec<_> = decision
        .notes
        .iter()
        .filter(|note| match note {
            Note::ConditionError { issue_ref, .. }
            | Note::Suppressed { issue_ref, .. }
            | Note::Unresolved { issue_ref, .. } => concerns(issue_ref),
            _ => false,
        })
        .cloned()
        .collect();
    // Errors are noted while the rules are asked, the rest when all were.
    let order = |note: &Note| format!("{note:?}");
    noted.sort_by_key(order);
    notes.sort_by_key(order);
    assert_eq!(notes, noted);
}

/// Explains every decision of a history, and compares.
fn follow(history: &[(i64, IssueEvent)]) -> usize {
    let (mut state, mut now, mut explained) = (State::default(), 0, 0);
    for (gap, event) in history {
        now += gap;
        let mut sink = |decided: policy::Decided<'_>| {
            let now = match decided.input {
                Input::Timer(timer) => timer.due_at,
                _ => minutes(now),
            };
            // Forgetting is no decision of an input.
            if *decided.decision != decide(decided.before, decided.input, now, &RULESET) {
                return Ok::<_, ()>(());
            }
            // One rule is enough to look for a change of; the search is tested by itself.
            let ask = Ask::default();
            let explanation = explain(decided.before, Case::Input(decided.input), now, &RULESET, ask);
            assert_eq!(explanation.now.max(now), decided.before.clock().unwrap_or(now).max(now));
            let rules: usize = explanation.issues.iter().map(|issue| issue.rules.len()).sum();
            assert_eq!(rules, explanation.issues.len() * RULESET.rules().count(), "every rule");
            for issue in &explanation.issues {
                agrees(issue, decided.decision);
                let mut after = State::clone(decided.before);
                after.apply(decided.decision.clone());
                // The lasting rules that were asked and hold decide the issue now.
                let deciding = after.issue(&issue.project_id, &issue.issue_ref).map(|issue| &issue.deciding);
                let is_deleted = issue.state == "deleted";
                for rule in issue.rules.iter().filter(|_| issue.asked == AskedRules::Every && !is_deleted) {
                    let decides = deciding.unwrap().contains_key(rule.id.as_str());
                    let asked = rule.not_asked.is_none() && !rule.momentary;
                    assert!(!asked || decides == rule.became.is_some(), "{rule:?}");
                }
                let set = after.next_timer().filter(|timer| timer.issue_ref == issue.issue_ref);
                if let Some(set) = set {
                    assert_eq!(
                        (set.due_at, set.rule.as_str()),
                        (issue.timers[0].due_at, issue.timers[0].rule.as_str())
                    );
                }
            }
            if explanation.issues.is_empty() && explanation.more_issues == 0 {
                assert_eq!(decided.decision.actions, []);
                let is_milestone = matches!(decided.input,
                    Input::Event { event, .. } if event.event_type == EventType::MilestoneUpdated);
                let is_stale = |note: &Note| matches!(note, Note::Stale { .. });
                assert!(
                    is_milestone
                        || !explanation.remarks.is_empty()
                        || decided.decision.notes.iter().any(is_stale)
                );
            }
            assert!(!explanation.to_string().is_empty());
            explained += 1;
            Ok(())
        };
        take_event(&mut state, event, None, minutes(now), Repeats::Each, &RULESET, &mut sink).unwrap();
    }
    explained
}

/// An event that says everything, the first of its issue.
fn whole_events() -> impl Strategy<Value = IssueEvent> {
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueClosed,
    ]);
    let maybe = |words: Vec<&'static str>| {
        proptest::option::of(proptest::sample::select(words))
            .prop_map(|word| Said::of(word.map(str::to_owned)))
    };
    let due = proptest::option::of(-300_i64..300);
    (
        types,
        labels(),
        labels(),
        maybe(vec!["kim"]),
        maybe(vec!["p0", "P2"]),
        maybe(vec!["a crash", "x"]),
        due,
        -3000..0_i64,
    )
        .prop_map(|(event_type, labels, removed, assignee, priority, title, due, updated)| {
            let mut event = IssueEvent::new("e1", "alpha", Source::Github, event_type, "github:o/r#1");
            let closed = event.event_type == EventType::IssueClosed;
            event.state = Said::Value(if closed { IssueState::Closed } else { IssueState::Open });
            event.labels = Said::Value(labels);
            (event.assignee, event.priority, event.title) = (assignee, priority, title);
            event.due_at = Said::of(due.map(minutes));
            event.updated_at = Some(minutes(updated));
            let change = FieldChange { removed, ..FieldChange::default() };
            event.change = BTreeMap::from([("labels".to_owned(), change)]);
            event
        })
}

/// Makes a change by another way than the one that is tested: in the event.
fn make(change: &Change, event: &mut IssueEvent, now: &mut DateTime<Utc>) {
    let text = || match &change.value {
        Shown::Text(text) => Said::Value(text.clone()),
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
    let ask = Ask { rule: Some(rule), issue_ref: None };
    let case = Case::Input(Input::Event { event, payload_hash: None });
    let explanation = explain(&State::default(), case, now, &RULESET, ask);
    explanation.issues[0].rules.iter().find(|it| it.id == rule).unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn explanations_and_decisions_agree(history in histories()) {
        follow(&history);
    }

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
        rule in 0..10_usize,
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

#[test]
fn an_issue_as_it_is_known_is_asked_without_an_event() {
    let mut state = State::default();
    let mut event = IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1");
    event.labels = Said::Value(vec!["web".into()]);
    take_event(&mut state, &event, None, minutes(0), Repeats::Each, &RULESET, &mut never).unwrap();
    let case = Case::Issue { project: "alpha", issue_ref: "github:o/r#1" };
    let before = state.clone();
    let explanation = explain(&state, case, minutes(10), &RULESET, Ask::default());
    assert_eq!(state, before);
    let issue = &explanation.issues[0];
    assert_eq!(issue.asked, AskedRules::Lasting);
    let became = |id: &str| issue.rules.iter().find(|rule| rule.id == id).unwrap();
    assert_eq!(became("web").became, Some(Became::DecidedAlready));
    assert_eq!(became("comment").not_asked, Some(NotAsked::NoEvent));
    assert_eq!(became("rest").not_asked, Some(NotAsked::AboveDecided { rule: "web".into() }));
    let unknown = Case::Issue { project: "alpha", issue_ref: "github:o/r#9" };
    let explanation = explain(&state, unknown, minutes(10), &RULESET, Ask::default());
    assert_eq!(explanation.remarks, ["nothing is known of this issue"]);
}

/// A condition that takes as long as one may, and every list as long as it can be: the search gives up, and says so.
#[test]
fn a_search_ends() {
    let text = r#"
version: 1
rules:
  - { id: slow, when: 'issue.labels.exists(a, issue.labels.exists(b, a.startsWith("x") && b.endsWith("y") && issue.title.contains(b)))', then: { action: post_nudge, target: "owner:x" }, rationale: r }
"#;
    let ruleset = load(text).unwrap();
    let mut event = IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1");
    event.labels = Said::Value((0..256).map(|n| format!("x{n}")).collect());
    event.title = Said::Value("a title".into());
    let case = Case::Input(Input::Event { event: &event, payload_hash: None });
    let explanation = explain(&State::default(), case, minutes(0), &ruleset, Ask::default());
    let rule = &explanation.issues[0].rules[0];
    assert_eq!(rule.verdict, Some(Verdict::DoesNotHold));
    let what_if = rule.what_if.as_ref().unwrap();
    assert!(!what_if.complete && what_if.tried < 1000, "{what_if:?}");
    assert!(explanation.to_string().contains("the search was cut short"), "{explanation}");
}

/// A policy as large as one can be, and an event that meets nothing: explained within seconds, in bounded size.
#[test]
fn a_large_policy_is_explained_within_bounds() {
    use std::fmt::Write;
    let mut text = String::from("version: 1\nrules:\n");
    for n in 0..10_000 {
        let _ = writeln!(
            text,
            "  - {{ id: r{n}, when: '\"l{n}\" in issue.labels && issue.priority == \"P{n}\"', then: {{ action: post_nudge, target: \"owner:x\" }}, rationale: r }}"
        );
    }
    let ruleset = load(&text).unwrap();
    // Its labels are not known, so that no condition can be said.
    let event = IssueEvent {
        priority: Said::Value("P5000".into()),
        ..IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1")
    };
    let case = Case::Input(Input::Event { event: &event, payload_hash: None });
    let explanation = explain(&State::default(), case, minutes(0), &ruleset, Ask::default());
    let text = explanation.to_string();
    assert!(text.len() < 100_000, "{}", text.len());
    assert!(text.contains("… 9900 more rules, of which nothing became"), "{text}");
    let ask = Ask { rule: Some("r9999"), issue_ref: None };
    let text = explain(&State::default(), case, minutes(0), &ruleset, ask).to_string();
    assert!(text.contains("→ would fire with label l9999 and at priority P9999"), "{text}");
}
