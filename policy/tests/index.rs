//! The index passes over no rule that holds: a walk by it meets the same rules as one that asks every rule.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, Said, Source};
use policy::{Input, Issue, Rule, Ruleset, State, decide, load, trial::Walk};
use proptest::{
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::json;

fn now() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

const PROJECTS: &[&str] = &["alpha", "beta", "gamma"];
/// Values of fields that are texts or lists of texts: few, so that they meet.
const WORDS: &[&str] =
    &["bug", "Web", "area/ui", "area/api", "area/", "p0", "P1", "kim", "Lee", "o/r", "o/s", "ÜB", "ü", "a"];
const TEXTS: &[&str] = &[
    "issue.ref",
    "issue.project",
    "issue.repo",
    "issue.key",
    "issue.title",
    "issue.url",
    "issue.assignee",
    "issue.priority",
    "issue.status",
    "event.actor",
];
const LISTS: &[&str] =
    &["issue.labels", "issue.assignees", "event.changed", "event.labels_added", "event.labels_removed"];
const TIMES: &[&str] = &["issue.created_at", "issue.updated_at", "issue.due_at"];
const CHOICES: &[(&str, &[&str])] = &[
    ("issue.source", &["github", "jira"]),
    ("issue.state", &["open", "closed"]),
    ("event.type", EventType::KNOWN),
    ("event.source", &["github", "jira"]),
];

fn word() -> impl Strategy<Value = String> {
    select(WORDS).prop_map(|word| format!("{word:?}"))
}

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..4).prop_map(|words| format!("[{}]", words.join(", ")))
}

/// A test of a text: of a field, or of the variable of an `exists`.
fn of_text(text: impl Strategy<Value = String> + Clone + 'static) -> BoxedStrategy<String> {
    let method = select(&["startsWith", "startsWith", "endsWith", "contains"][..]);
    let order = select(&["<", "<=", ">", ">="][..]);
    prop_oneof![
        6 => (text.clone(), word()).prop_map(|(text, word)| format!("{text} == {word}")),
        1 => (text.clone(), word()).prop_map(|(text, word)| format!("{word} == {text}")),
        2 => (text.clone(), word()).prop_map(|(text, word)| format!("{text} != {word}")),
        2 => text.clone().prop_map(|text| format!("{text} == null")),
        2 => text.clone().prop_map(|text| format!("null != {text}")),
        4 => (text.clone(), words()).prop_map(|(text, words)| format!("{text} in {words}")),
        1 => (text.clone(), word(), select(TEXTS))
            .prop_map(|(text, word, other)| format!("{text} in [null, {word}, {other}]")),
        5 => (text.clone(), method, word()).prop_map(|(text, method, word)| format!("{text}.{method}({word})")),
        1 => (text.clone(), select(TEXTS)).prop_map(|(text, other)| format!("{text}.startsWith({other})")),
        1 => text.clone().prop_map(|text| format!("{text}.startsWith(\"\")")),
        1 => (text.clone(), order, word()).prop_map(|(text, order, word)| format!("{text} {order} {word}")),
        1 => (text.clone(), select(TEXTS)).prop_map(|(text, other)| format!("{text} == {other}")),
        1 => (text, 0..6_u8).prop_map(|(text, size)| format!("size({text}) > {size}")),
    ]
    .boxed()
}

fn leaf() -> BoxedStrategy<String> {
    let choice = select(CHOICES).prop_flat_map(|(field, values)| {
        let picked = subsequence(values.to_vec(), 0..=2);
        prop_oneof![
            select(values).prop_map(move |value| format!("{field} == {value:?}")),
            select(values).prop_map(move |value| format!("{field} != {value:?}")),
            picked.prop_map(move |picked| format!("{field} in {picked:?}")),
        ]
    });
    let order = select(&["<", ">=", "==", "!="][..]);
    let any_order = select(&["<", "<=", ">", ">=", "==", "!="][..]);
    prop_oneof![
        10 => (word(), select(LISTS)).prop_map(|(word, list)| format!("{word} in {list}")),
        6 => select(PROJECTS).prop_map(|project| format!("issue.project == {project:?}")),
        2 => subsequence(PROJECTS.to_vec(), 1..=2).prop_map(|projects| format!("issue.project in {projects:?}")),
        4 => choice,
        12 => of_text(select(TEXTS).prop_map(str::to_owned)),
        1 => select(TEXTS).prop_map(|text| format!("{text}.matches(\"^[a-p]\")")),
        2 => select(LISTS).prop_map(|list| format!("{list} == null")),
        2 => select(LISTS).prop_map(|list| format!("{list} != null")),
        3 => (select(LISTS), any_order.clone(), 0..4_u8)
            .prop_map(|(list, order, size)| format!("size({list}) {order} {size}")),
        2 => (0..4_u8).prop_map(|number| format!("issue.number == {number}")),
        1 => (0..4_u8).prop_map(|number| format!("issue.number in [{number}, 2]")),
        1 => (0..4_u8).prop_map(|number| format!("issue.number < {number}")),
        3 => (select(TIMES), any_order, 0..60_u8)
            .prop_map(|(time, order, hours)| format!("{time} {order} now - duration(\"{hours}h\")")),
        2 => (select(TIMES), 0..60_u8).prop_map(|(time, hours)| format!("now - {time} != duration(\"{hours}h\")")),
        2 => (select(TIMES), select(&["==", "!="][..])).prop_map(|(time, op)| format!("{time} {op} null")),
        1 => (select(TIMES), select(TIMES), order).prop_map(|(a, b, order)| format!("{a} {order} {b}")),
        2 => (select(TEXTS), select(LISTS)).prop_map(|(text, list)| match (text, list) {
            // Case counts in the one and not in the other.
            ("issue.priority", "issue.assignees" | "event.changed") => format!("{text} == null"),
            _ => format!("{text} in {list}"),
        }),
        1 => (select(TEXTS), select(TEXTS), select(LISTS), word())
            .prop_map(|(a, b, list, word)| format!("({word} in {list} ? {a} : {b}) == {word}")),
        2 => select(&["true", "false", "event.by_us", "!event.by_us"][..]).prop_map(str::to_owned),
    ]
    .boxed()
}

/// A condition; `depth` numbers the variables.
fn condition(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return leaf();
    }
    let inner = || condition(depth - 1);
    let variable = format!("x{depth}");
    let element = move || {
        let of_element = of_text(Just(variable.clone()));
        let (a, b) = (variable.clone(), variable.clone());
        prop_oneof![
            3 => of_element.clone(),
            1 => (of_element.clone(), leaf()).prop_map(|(it, other)| format!("({it}) && ({other})")),
            1 => (of_element.clone(), of_element.clone()).prop_map(|(it, other)| format!("({it}) || ({other})")),
            1 => of_element.prop_map(|it| format!("!({it})")),
            1 => Just(format!("{a} in issue.labels")),
            1 => select(LISTS).prop_map(move |list| format!("{list}.exists(y, y == {b})")),
        ]
    };
    let quantifier = || select(&["exists", "exists", "all"][..]);
    let of_lists = (select(LISTS), quantifier(), element());
    // Of an empty list nobody knows what its elements would be.
    let some_words = (word(), words())
        .prop_map(|(word, words)| words.replacen('[', &format!("[{word}, "), 1).replace(", ]", "]"));
    let of_list = (some_words, quantifier(), element());
    let name = format!("x{depth}");
    let other_name = name.clone();
    prop_oneof![
        6 => leaf(),
        4 => (inner(), inner()).prop_map(|(a, b)| format!("({a}) && ({b})")),
        2 => (inner(), inner(), inner()).prop_map(|(a, b, c)| format!("({a}) && ({b}) && ({c})")),
        3 => (inner(), inner()).prop_map(|(a, b)| format!("({a}) || ({b})")),
        3 => inner().prop_map(|a| format!("!({a})")),
        2 => (inner(), inner(), inner()).prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
        3 => of_lists.prop_map(move |(list, quantifier, body)| format!("{list}.{quantifier}({name}, {body})")),
        1 => of_list.prop_map(move |(list, quantifier, body)| format!("{list}.{quantifier}({other_name}, {body})")),
    ]
    .boxed()
}

fn policies() -> impl Strategy<Value = Vec<(String, bool, bool)>> {
    // Mostly rules that want several things, as people write them: a walk that ends at once proves little.
    let joined = (condition(1), condition(2)).prop_map(|(a, b)| format!("({a}) && ({b})"));
    let conditions = prop_oneof![3 => joined, 1 => condition(3)];
    proptest::collection::vec((conditions, prop::bool::weighted(0.7), prop::bool::weighted(0.3)), 1..250)
}

fn ruleset(rules: &[(String, bool, bool)]) -> Ruleset {
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(number, (condition, goes_on, on_closed))| {
            json!({
                "id": format!("r{number}"), "when": condition, "rationale": "r", "continue": goes_on,
                "on_closed": on_closed, "then": { "action": "post_nudge", "target": "owner:x" },
            })
        })
        .collect();
    // JSON is YAML.
    let text = json!({ "version": 1, "rules": rules }).to_string();
    load(&text).unwrap_or_else(|diagnostics| panic!("{diagnostics:#?}\n{rules:#?}"))
}

fn said<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Said<T>> {
    prop_oneof![1 => Just(Said::Nothing), 1 => Just(Said::Null), 6 => value.prop_map(Said::Value)]
}

fn events() -> impl Strategy<Value = IssueEvent> {
    let text = || select(WORDS).prop_map(str::to_owned);
    let texts = || {
        subsequence(WORDS.to_vec(), 0..=4).prop_map(|words| words.iter().map(ToString::to_string).collect())
    };
    let types = select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::Other("issue_moved".to_owned()),
    ]);
    let state = prop_oneof![3 => Just(IssueState::Open), 1 => Just(IssueState::Closed)];
    let hours = || option::of((-50..50_i64).prop_map(|hours| now() + TimeDelta::hours(hours)));
    let names = (option::of(text()), option::of(0..4_u64), option::of(text()), option::of(text()));
    let said_texts = (said(text()), said(text()), said(text()), said(text()), said(text()));
    let lists = (said(texts()), said(texts()), texts(), texts(), any::<bool>());
    let times = (hours(), hours(), hours(), prop_oneof![3 => Just(false), 1 => Just(true)]);
    (types, select(PROJECTS), prop::bool::ANY, state, names, said_texts, lists, times).prop_map(
        |(event_type, project, jira, state, names, said_texts, lists, times)| {
            let source = if jira { Source::Jira } else { Source::Github };
            let mut event = IssueEvent::new("e", project, source, event_type, "github:o/r#1".to_owned());
            (event.repo, event.issue_number, event.issue_key, event.actor) = names;
            (event.title, event.url, event.assignee, event.priority, event.status) = said_texts;
            let (labels, assignees, added, removed, changed) = lists;
            (event.labels, event.assignees, event.state) = (labels, assignees, Said::Value(state));
            if changed {
                let change = FieldChange { added, removed, ..FieldChange::default() };
                event.change =
                    [("labels".to_owned(), change), ("a".to_owned(), FieldChange::default())].into();
            }
            (event.created_at, event.updated_at) = (times.0, times.1);
            event.by_us = times.3;
            event.due_at = times.2.map_or(Said::Null, Said::Value);
            event
        },
    )
}

/// What is known of an issue after an event.
fn known(event: &IssueEvent) -> Issue {
    let none = load("{ version: 1, rules: [] }").unwrap();
    let mut state = State::default();
    state.apply(decide(&state, Input::Event { event, payload_hash: None }, now(), &none));
    state.issue(&event.project_id, &event.issue_ref).unwrap().clone()
}

fn walk<'a>(event: &'a IssueEvent, issue: &'a Issue) -> Walk<'a> {
    Walk {
        project: &event.project_id,
        issue_ref: &event.issue_ref,
        issue,
        event: Some(event),
        now: now(),
        momentary: true,
        lasting: true,
    }
}

fn ids<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Vec<String> {
    rules.into_iter().map(|rule| rule.id().to_owned()).collect()
}

proptest! {
    // Some 20 events a policy, three walks each.
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_rules_are_met_as_by_asking_each(
        rules in policies(),
        events in proptest::collection::vec(events(), 1..40),
    ) {
        let ruleset = ruleset(&rules);
        for event in &events {
            let issue = known(event);
            let whole = walk(event, &issue);
            let late = Walk { lasting: false, ..whole };
            let silent = Walk { event: None, momentary: false, ..whole };
            for walk in [whole, late, silent] {
                let (mut erred, mut all_erred) = (Vec::new(), Vec::new());
                let met = ids(walk.indexed(&ruleset, |rule| erred.push(rule.id().to_owned())));
                let all_met = ids(walk.scanned(&ruleset, |rule| all_erred.push(rule.id().to_owned())));
                prop_assert_eq!(met, all_met, "{:?}", event);
                // Errors are heard of where a condition was evaluated: in order, and none that is not one.
                prop_assert_eq!(erred, all_erred);
            }
        }
    }
}

fn candidates(condition: &str, change: impl FnOnce(&mut IssueEvent)) -> usize {
    let mut event =
        IssueEvent::new("e", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1".to_owned());
    change(&mut event);
    let issue = known(&event);
    walk(&event, &issue).candidates(&ruleset(&[(condition.to_owned(), false, false)]))
}

#[test]
fn a_rule_is_passed_over_for_what_it_requires() {
    for condition in [
        r#"issue.project == "beta""#,
        r#""bug" in issue.labels"#,
        r#"issue.labels.exists(l, l == "bug")"#,
        r#"issue.labels.exists(l, l in ["bug", "p0"])"#,
        r#"issue.labels.exists(l, l.startsWith("area/"))"#,
        r#"issue.labels.exists(a, issue.labels.exists(l, l == a && a == "kim"))"#,
        r#"!issue.labels.all(l, l != "bug")"#,
        r#"!(!("bug" in issue.labels) || issue.title == "x")"#,
        r#"issue.priority in ["P0", "Highest"]"#,
        r#"issue.assignee == "kim" || issue.repo.startsWith("acme/")"#,
        r#"issue.state == "closed" || issue.key == "OPS-1" || issue.number == 7"#,
        r#"event.type == "issue_opened""#,
        r#""web" in event.labels_added"#,
        "issue.due_at != null && issue.due_at <= now",
        "issue.project == null",
        "false",
    ] {
        let said = |event: &mut IssueEvent| {
            event.labels = Said::Value(Vec::new());
            event.assignees = Said::Value(Vec::new());
            event.repo = Some("o/r".into());
        };
        assert_eq!(candidates(condition, said), 0, "{condition}");
    }
    assert_eq!(candidates("!(issue.labels == null || size(issue.labels) == 0)", |_| {}), 0);
    // Nothing that an index could know them by.
    // An error that an operator makes of null is to be noted.
    for condition in [
        "true",
        r#"!("bug" in issue.labels)"#,
        "issue.due_at == null",
        r#"issue.repo != "x""#,
        "issue.due_at <= now",
        r#"issue.title.contains("x")"#,
    ] {
        assert_eq!(
            candidates(condition, |event| event.labels = Said::Value(vec!["web".into()])),
            1,
            "{condition}"
        );
    }
}

#[test]
fn words_of_labels_and_priorities_are_found_in_any_case() {
    let shouted = |event: &mut IssueEvent| {
        event.labels = Said::Value(vec!["BUG".into(), "AREA/Ui".into()]);
        event.priority = Said::Value("HIGHEST".into());
        event.assignees = Said::Value(vec!["KIM".into()]);
    };
    for condition in [
        r#""Bug" in issue.labels"#,
        r#"issue.labels.exists(l, l.startsWith("Area/"))"#,
        r#"issue.priority == "Highest""#,
    ] {
        assert_eq!(candidates(condition, shouted), 1, "{condition}");
    }
    // Where case counts, it does so here too.
    assert_eq!(candidates(r#""kim" in issue.assignees"#, shouted), 0);
}

#[test]
fn rules_of_other_projects_and_for_other_issues_are_no_candidates() {
    let mut rules = Vec::new();
    for project in 0..50 {
        for number in 0..20 {
            let condition = match number {
                0 => format!("issue.project == \"p{project}\" && !(\"x\" in issue.labels)"),
                1 => format!("issue.project in [\"p{project}\", \"q\"] && event.type == \"issue_updated\""),
                _ => format!(
                    "issue.project == \"p{project}\" && (\"l{number}\" in issue.labels || issue.title == \"t\")"
                ),
            };
            rules.push((condition, true, number == 5));
        }
    }
    let ruleset = ruleset(&rules);
    let mut event =
        IssueEvent::new("e", "p7", Source::Github, EventType::IssueUpdated, "github:o/r#1".to_owned());
    event.labels = Said::Value(vec!["l5".into(), "l6".into(), "unknown".into()]);
    let open = known(&event);
    let whole = walk(&event, &open);
    // Without the label, of the event's type, with l5, with l6.
    assert_eq!(whole.candidates(&ruleset), 4);
    assert_eq!(whole.indexed(&ruleset, |_| {}).len(), 4);
    assert_eq!(Walk { lasting: false, ..whole }.candidates(&ruleset), 1);
    assert_eq!(Walk { momentary: false, event: None, ..whole }.candidates(&ruleset), 3);
    event.state = Said::Value(IssueState::Closed);
    let closed = known(&event);
    assert_eq!(walk(&event, &closed).candidates(&ruleset), 1);
    event.project_id = "elsewhere".to_owned();
    let elsewhere = known(&event);
    assert_eq!(walk(&event, &elsewhere).candidates(&ruleset), 0);
}
