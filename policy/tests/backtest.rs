//! Two policies over one history.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, LazyLock},
};

use chrono::{DateTime, TimeDelta, Utc};
use events::{Action, EventType, IssueEvent, Said, Source};
use policy::{
    Repeats, Ruleset, State,
    backtest::{Both, Counts, Replay, Report},
    fire_timers, load, take_event,
};
use proptest::prelude::*;
use serde_json::json;

const SAMPLE: &str = include_str!("../../samples/policy.yaml");

fn ruleset(text: &str) -> Arc<Ruleset> {
    Arc::new(load(text).unwrap_or_else(|mistakes| panic!("{mistakes:?}")))
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// `id|time|type|issue|labels|due_at`, all but the first four may be empty.
fn event(line: &str) -> IssueEvent {
    let [id, at, event_type, issue, labels, due] =
        line.split('|').map(str::trim).collect::<Vec<_>>().try_into().expect(line);
    let mut event = IssueEvent::new(
        id,
        "alpha",
        Source::Github,
        EventType::from(event_type),
        format!("github:o/r#{issue}"),
    );
    event.title = Said::Value(format!("Issue {issue}"));
    event.labels = Said::Value(labels.split_whitespace().map(str::to_owned).collect());
    event.due_at = if due.is_empty() { Said::Nothing } else { Said::Value(time(due)) };
    event.updated_at = Some(time(at));
    event
}

fn backtest(current: &str, candidate: &str, from: Option<&str>, to: &str, history: &[&str]) -> Report {
    let rulesets = Both { current: ruleset(current), candidate: ruleset(candidate) };
    let mut replay = Replay::new(rulesets, from.map(time), 2);
    for line in history {
        let event = event(line);
        replay.take(&event, None, event.updated_at.unwrap());
    }
    replay.finish(time(to))
}

fn counts(counts: &Counts) -> [u64; 6] {
    let Counts { actions, added, removed, changed, unchanged, .. } = *counts;
    [actions.current, actions.candidate, added, removed, changed, unchanged]
}

const WEEK: [&str; 6] = [
    "e1|2026-01-05T09:00:00Z|issue_opened   |1|bug p0  |",
    "e2|2026-01-05T10:00:00Z|issue_opened   |2|frontend|2026-01-06T23:59:59Z",
    "e3|2026-01-06T09:00:00Z|issue_commented|1|bug p0  |",
    "e4|2026-01-06T11:00:00Z|issue_opened   |3|        |",
    "e5|2026-01-09T10:00:00Z|issue_closed   |2|frontend|2026-01-06T23:59:59Z",
    "e5|2026-01-09T10:00:00Z|issue_closed   |2|frontend|2026-01-06T23:59:59Z",
];
const END: &str = "2026-01-10T00:00:00Z";

#[test]
fn the_same_policy_differs_in_nothing() {
    let report = backtest(SAMPLE, SAMPLE, None, END, &WEEK);
    // Escalated, assigned, three deadlines (due, and a day and two after it) that are taken back at the end, triaged.
    assert_eq!(counts(&report.total), [9, 9, 0, 0, 0, 9]);
    assert!(report.rules.values().all(|rule| rule.examples == Default::default()));
    let history = &report.history;
    assert_eq!((history.events, history.reported, history.duplicates, history.issues), (6, 6, 1, 3));
    assert_eq!(
        (history.first_at, history.last_at),
        (Some(time("2026-01-05T09:00:00Z")), Some(time("2026-01-09T10:00:00Z")))
    );
    assert_eq!(history.timers, Both { current: 3, candidate: 3 });
    assert_eq!(report.rules.len(), 4);
}

#[test]
fn what_is_late_and_an_answer_that_is_too_old_are_counted_apart() {
    let rulesets = Both { current: ruleset(SAMPLE), candidate: ruleset(SAMPLE) };
    let mut replay = Replay::new(rulesets, None, 2);
    for (line, came_at) in [
        ("e1|2026-01-05T09:00:00Z|issue_opened      |1||", "2026-01-05T09:00:00Z"),
        ("e2|2026-01-04T09:00:00Z|issue_commented   |1||", "2026-01-05T10:00:00Z"),
        ("e3|2026-01-05T08:00:00Z|issue_commented   |1||", "2026-01-14T09:00:00Z"),
        ("e4|2026-01-06T09:00:00Z|issue_acknowledged|1||", "2026-01-14T10:00:00Z"),
        ("e5|2026-01-14T09:00:00Z|issue_acknowledged|1||", "2026-01-14T11:00:00Z"),
    ] {
        replay.take(&event(line), None, time(came_at));
    }
    let history = replay.finish(time("2026-01-15T00:00:00Z")).history;
    assert_eq!((history.late, history.old_answers), (2, 1));
}

#[test]
fn what_a_change_brings_is_told_by_rule_with_examples() {
    let candidate = SAMPLE
        .replace("    repeat: 24h\n", "")
        .replace("target: \"owner:alice\"", "target: \"owner:bo\"")
        .replace("High-priority bug needs", "A bug needs")
        .replace(
            r#"event.type in ["issue_opened", "issue_created"]"#,
            r#"event.type in ["issue_opened", "issue_commented"]"#,
        )
        .replace("id: triage-new", "id: triage");
    let report = backtest(SAMPLE, &candidate, None, END, &WEEK);
    assert_eq!(counts(&report.total), [9, 5, 0, 4, 2, 3]);
    assert_eq!(report.total.reworded, 1);
    assert_eq!(counts(&report.rules["deadline"].counts), [6, 2, 0, 4, 0, 2]);
    assert_eq!(counts(&report.rules["frontend-to-alice"].counts), [1, 1, 0, 0, 1, 0]);
    // One rule took over from another: a change in both rows.
    assert_eq!(counts(&report.rules["triage-new"].counts), [1, 0, 0, 0, 1, 0]);
    assert_eq!(counts(&report.rules["triage"].counts), [0, 1, 0, 0, 1, 0]);
    assert_eq!(report.rules["triage-new"].defined, Both { current: true, candidate: false });

    let [changed] = &report.rules["triage"].examples.changed[..] else { panic!() };
    assert_eq!((changed.issue_ref.as_str(), changed.title.as_deref()), ("github:o/r#3", Some("Issue 3")));
    assert_eq!(changed.differs, ["rule"]);
    let [changed] = &report.rules["frontend-to-alice"].examples.changed[..] else { panic!() };
    assert_eq!(changed.differs, ["target"]);
    assert_eq!(changed.candidate.as_ref().unwrap().target, "owner:bo");
    let removed = &report.rules["deadline"].examples.removed;
    assert_eq!(
        removed.iter().map(|example| example.at).collect::<Vec<_>>(),
        [time("2026-01-07T23:59:59Z")],
        "of each issue the first"
    );
    let loads: Vec<_> = report
        .targets
        .iter()
        .map(|(name, load)| (name.as_str(), load.actions().current, load.actions().candidate))
        .collect();
    assert_eq!(
        loads,
        [("owner:alice", 1, 0), ("owner:bo", 0, 1), ("team:platform", 1, 1), ("team:triage", 4, 2)]
    );
}

#[test]
fn timers_of_different_rules_at_one_instant_are_one_thing() {
    let current = SAMPLE.replace("    repeat: 24h\n", "");
    let candidate = current.replace("id: deadline", "id: due").replace("duration: 15m", "duration: 30m");
    let report = backtest(&current, &candidate, None, END, &WEEK[1..2]);
    assert_eq!(counts(&report.total), [2, 2, 0, 0, 1, 1]);
    assert_eq!(report.rules["due"].examples.changed[0].differs, ["rule", "duration_min"]);
}

#[test]
fn a_rule_that_is_for_another_project_sets_no_timer() {
    let policy = |when: &str| {
        format!(
            r#"{{ version: 1, rules: [ {{ id: due, at: issue.due_at, repeat: 24h, when: '{when} && issue.due_at <= now', then: {{ action: post_nudge, target: "owner:x" }}, rationale: r }} ] }}"#
        )
    };
    let current = policy(r#"issue.project == "beta""#);
    let candidate = policy(r#"issue.project in ["alpha", "beta"]"#);
    let report = backtest(&current, &candidate, None, END, &WEEK);
    assert_eq!(report.history.timers, Both { current: 0, candidate: 3 });
    assert_eq!(counts(&report.total), [0, 3, 3, 0, 0, 0]);
}

#[test]
fn from_limits_what_is_told_and_not_what_is_folded() {
    let none = "{ version: 1, rules: [] }";
    let report = backtest(SAMPLE, none, Some("2026-01-06T23:59:59Z"), END, &WEEK);
    assert_eq!(
        counts(&report.total),
        [6, 0, 0, 6, 0, 0],
        "the repeats of an issue that was opened before, and what takes them back"
    );
    assert_eq!((report.history.events, report.history.reported, report.history.issues), (6, 2, 3));
    assert_eq!(counts(&report.rules["escalate-p0-bug"].counts), [0; 6]);
    // The end is the last instant that counts.
    let report = backtest(SAMPLE, none, None, "2026-01-06T23:59:59Z", &WEEK[..4]);
    assert_eq!(counts(&report.rules["deadline"].counts), [1, 0, 0, 1, 0, 0]);
    let report = backtest(SAMPLE, none, None, "2026-01-06T23:59:58Z", &WEEK[..4]);
    assert_eq!(counts(&report.rules["deadline"].counts), [0; 6]);
}

#[test]
fn a_rule_that_errs_or_holds_back_is_counted() {
    let current = r#"
version: 1
rules:
  - { id: errs, when: 'issue.due_at <= now', then: { action: post_nudge, target: "owner:x" }, rationale: r, continue: true }
  - { id: cools, when: 'event.type == "issue_opened"', then: { action: post_nudge, target: "owner:x" }, rationale: r, continue: true }
  - { id: aims, when: 'true', then: { action: post_nudge, target: assignee }, rationale: r }
"#;
    let candidate = current.replace("when: 'event.type", "cooldown: 7d, when: 'event.type");
    let history = ["e1|2026-01-05T09:00:00Z|issue_opened|1||", "e2|2026-01-05T09:30:00Z|issue_opened|1||"];
    let report = backtest(current, &candidate, None, END, &history);
    let rule = |id: &str| &report.rules[id];
    assert_eq!(rule("errs").condition_errors, Both { current: 2, candidate: 2 });
    assert_eq!(rule("cools").suppressed, Both { current: 0, candidate: 1 });
    let capped = current.replace("version: 1", "version: 1\nlimits: { actions_per_issue: 1 }");
    let report_of_cap = backtest(current, &capped, None, END, &history);
    assert_eq!(report_of_cap.rules["cools"].capped, Both { current: 0, candidate: 1 });
    assert_eq!(rule("aims").unresolved, Both { current: 1, candidate: 1 });
    assert_eq!(counts(&rule("cools").counts), [2, 1, 0, 1, 0, 1]);
}

#[test]
fn loads_are_by_day() {
    let every = r#"{ version: 1, rules: [ { id: all, when: 'event.source == "github"', then: { action: post_nudge, target: "owner:maria" }, rationale: r } ] }"#;
    let some = every.replace(r#"event.source == "github""#, r#"event.type == "issue_opened""#);
    let report = backtest(&some, every, None, END, &WEEK);
    let busiest =
        report.targets["owner:maria"].busiest().map(|day| day.map(|day| (day.day.to_string(), day.actions)));
    assert_eq!(
        busiest,
        Both { current: Some(("2026-01-05".into(), 2)), candidate: Some(("2026-01-05".into(), 2)) }
    );
    let shown = serde_json::to_value(&report).unwrap();
    assert_eq!(
        shown["targets"]["owner:maria"],
        json!({"actions": {"current": 3, "candidate": 4},
            "busiest_day": {"current": {"day": "2026-01-05", "actions": 2}, "candidate": {"day": "2026-01-05", "actions": 2}}})
    );
    assert_eq!(shown["rules"]["all"]["added"], 1);
}

const POLICIES: [&str; 3] = [
    r#"
version: 1
teams: { web: { members: [maria, tom, ann] } }
rules:
  - { id: comment, when: 'event.type == "issue_commented"', then: { action: post_nudge, target: [assignee, "team:web"] }, rationale: r, continue: true, cooldown: 2h }
  - { id: web, when: '"web" in issue.labels', then: [{ action: assign_owner, target: "team:web" }, { action: post_nudge, target: "team:web" }], rationale: r }
  - { id: deadline, at: issue.due_at, when: 'issue.due_at != null && issue.due_at <= now', then: { action: schedule_unblocker, target: "team:web" }, rationale: r, repeat: 7h }
  - { id: rest, when: 'issue.state == "open"', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 13h }
"#,
    r#"
version: 1
teams: { web: { members: [ann, tom] } }
rules:
  - { id: web, when: '"web" in issue.labels || "bug" in issue.labels', then: { action: assign_owner, target: "team:web" }, rationale: r, continue: true }
  - { id: late, at: issue.due_at, when: 'issue.due_at != null && issue.due_at <= now', then: { action: escalate_owner, target: "team:web" }, rationale: s, repeat: 14h }
  - { id: rest, when: 'true', then: { action: post_nudge, target: "team:web" }, rationale: s, repeat: 26h, on_closed: true }
"#,
    "{ version: 1, rules: [] }",
];

/// The last differs from the first for one project only.
static RULESETS: LazyLock<[Arc<Ruleset>; 4]> = LazyLock::new(|| {
    let of_one_project = POLICIES[0].replace(
        "  - { id: rest,",
        r#"  - { id: own, when: 'issue.project == "b" && "bug" in issue.labels', then: { action: escalate_owner, target: "team:web" }, rationale: r, repeat: 5h }
  - { id: rest,"#,
    );
    let [first, second, third] = POLICIES;
    [first, second, third, &of_one_project].map(ruleset)
});

fn histories() -> impl Strategy<Value = Vec<(DateTime<Utc>, IssueEvent)>> {
    let types = proptest::sample::select(vec![
        "issue_opened",
        "issue_commented",
        "issue_updated",
        "issue_closed",
        "issue_reopened",
    ]);
    let labels = proptest::sample::subsequence(vec!["bug", "web"], 0..=2);
    let step = (0..800_i64, types, 1..5_u8, 0..40_u8, labels, proptest::option::of(-500..4000_i64), "[ab]");
    proptest::collection::vec(step, 1..30).prop_map(|steps| {
        let start = time("2026-01-05T09:00:00Z");
        let mut now = start;
        let mut history = Vec::new();
        for (gap, event_type, issue, id, labels, due, project) in steps {
            now += TimeDelta::minutes(gap);
            let mut event = IssueEvent::new(
                // Some come twice; none comes back after a week as something else, which no side could tell.
                format!("e{id}-{}", (now - start).num_weeks()),
                project,
                Source::Github,
                event_type.into(),
                format!("github:o/r#{issue}"),
            );
            event.labels = Said::Value(labels.into_iter().map(str::to_owned).collect());
            event.due_at =
                due.map_or(Said::Nothing, |minutes| Said::Value(now + TimeDelta::minutes(minutes)));
            event.updated_at = Some(now);
            history.push((now, event));
        }
        history
    })
}

/// What a gateway that is never away decides.
fn actions(history: &[(DateTime<Utc>, IssueEvent)], end: DateTime<Utc>, ruleset: &Ruleset) -> Vec<Action> {
    let mut state = State::default();
    let mut actions = Vec::new();
    let mut sink = |decided: policy::Decided<'_>| {
        actions.extend(decided.decision.actions.clone());
        Ok::<_, Infallible>(())
    };
    for (now, event) in history {
        let Ok(()) = take_event(&mut state, event, None, *now, Repeats::Each, ruleset, &mut sink);
    }
    let Ok(()) = fire_timers(&mut state, end, usize::MAX, Repeats::Each, ruleset, &mut sink);
    actions
}

fn replayed(
    history: &[(DateTime<Utc>, IssueEvent)],
    end: DateTime<Utc>,
    [current, candidate]: [usize; 2],
) -> Report {
    let rulesets = Both { current: RULESETS[current].clone(), candidate: RULESETS[candidate].clone() };
    let mut replay = Replay::new(rulesets, None, 3);
    history.iter().for_each(|(now, event)| replay.take(event, None, *now));
    let mut report = Report::default();
    report.merge(replay.finish(end));
    report
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_are_what_a_gateway_decides(history in histories(), sides in [0..4_usize, 0..4_usize], more in 0..3000_i64) {
        let end = history.last().unwrap().0 + TimeDelta::minutes(more);
        let [old, new] = sides.map(|side| actions(&history, end, &RULESETS[side]));
        let report = replayed(&history, end, sides);
        let total = report.total;
        prop_assert_eq!(total.actions, Both { current: old.len() as u64, candidate: new.len() as u64 });
        prop_assert_eq!(total.unchanged + total.changed + total.added, total.actions.candidate);
        prop_assert_eq!(total.unchanged + total.changed + total.removed, total.actions.current);
        if sides[0] == sides[1] {
            prop_assert_eq!((total.added, total.removed, total.changed, total.reworded), (0, 0, 0, 0));
        }
        // What is more of one kind for an issue at an instant is added, what is less is removed. Where the causes differ, there can be
        // one more of both.
        let more = |a: &[Action], b: &[Action], by_cause: bool| -> i64 {
            let mut count = BTreeMap::<_, i64>::new();
            for (actions, one) in [(a, 1), (b, -1)] {
                for action in actions {
                    // A cause is an event or one rule's timer: two timers of one instant are one thing to look at.
                    let cause = action.cause.clone().filter(|cause| by_cause && !cause.starts_with("t-"));
                    let Action { project_id, issue_ref, evaluated_at, action, .. } = action;
                    *count.entry((project_id, issue_ref, evaluated_at, action.to_string(), cause)).or_default() += one;
                }
            }
            count.into_values().filter(|count| *count > 0).sum()
        };
        for (told, a, b) in [(total.added, &new, &old), (total.removed, &old, &new)] {
            prop_assert!((more(a, b, false)..=more(a, b, true)).contains(&(told as i64)), "{told}");
        }
        // The same id, the same doing: unchanged.
        let made = |action: &Action| json!([action.project_id, action.event_id, action.action, action.target, action.params]).to_string();
        let known: BTreeSet<_> = old.iter().map(made).collect();
        prop_assert_eq!(new.iter().filter(|action| known.contains(&made(action))).count() as u64, total.unchanged);
        // Rows and columns add up.
        for (count, by) in [(total.actions.current, 0), (total.actions.candidate, 1), (total.added, 2), (total.removed, 3)] {
            prop_assert_eq!(count, report.rules.values().map(|rule| counts(&rule.counts)[by]).sum::<u64>());
            prop_assert_eq!(count, report.projects.values().map(|project| counts(project)[by]).sum::<u64>());
        }
        // To acknowledge or take back asks nothing of anybody.
        let asked = new.iter().filter(|action| !action.action.follows_up()).count() as u64;
        prop_assert_eq!(report.targets.values().map(|load| load.actions().candidate).sum::<u64>(), asked);
    }

    #[test]
    fn swapped_policies_are_mirrored(history in histories(), sides in [0..4_usize, 0..4_usize]) {
        let end = history.last().unwrap().0;
        let [there, back] = [sides, [sides[1], sides[0]]].map(|sides| counts(&replayed(&history, end, sides).total));
        prop_assert_eq!(there, [back[1], back[0], back[3], back[2], back[4], back[5]]);
    }

    #[test]
    fn partitions_in_any_order_are_one_history(history in histories(), sides in [0..4_usize, 0..4_usize]) {
        let end = history.last().unwrap().0;
        let whole = replayed(&history, end, sides);
        let (a, b): (Vec<_>, Vec<_>) = history.into_iter().partition(|(_, event)| event.project_id == "a");
        let parts = [a, b].map(|part| replayed(&part, end, sides));
        for order in [[0, 1], [1, 0]] {
            let mut merged = Report::default();
            order.iter().for_each(|part| merged.merge(parts[*part].clone()));
            prop_assert_eq!(serde_json::to_string(&merged).unwrap(), serde_json::to_string(&whole).unwrap());
        }
    }
}
