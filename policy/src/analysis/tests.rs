//! Whatever is found is held against evaluations: random conditions, random issues.

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, Said, Source};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::problems;
use crate::{
    Facts, Issue, Rule,
    condition::{Budget, Condition, View},
};

const NEVER: &str = "this condition never holds";

fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// Tests that have something to do with each other, true and false of the issues below about as often.
const LEAVES: &[&str] = &[
    "true",
    "\"a\" in issue.labels",
    "\"A\" in issue.labels",
    "\"b\" in issue.labels",
    "\"ab\" in issue.labels",
    "issue.labels.exists(l, l == \"a\")",
    "issue.labels.exists(l, l.startsWith(\"a\"))",
    "issue.labels.exists(l, l.startsWith(\"ab\"))",
    "issue.labels.exists(l, l.startsWith(\"a\") && l.endsWith(\"b\"))",
    "issue.labels.exists(l, l in [\"a\", \"b\"])",
    "issue.labels.all(l, l.startsWith(\"a\"))",
    "issue.labels.all(l, l != \"b\")",
    "issue.labels.all(l, l == issue.priority)",
    "issue.labels.exists(l, issue.assignees.exists(n, n == l))",
    "size(issue.labels) == 0",
    "size(issue.labels) > 1",
    "size(issue.labels) <= 1",
    "issue.labels == null",
    "issue.labels != null",
    "issue.priority == \"P0\"",
    "issue.priority in [\"p0\", \"P1\"]",
    "issue.priority in [null, \"p1\"]",
    "issue.priority in issue.labels",
    "issue.priority != \"p1\"",
    "issue.priority == null",
    "issue.assignee == \"kim\"",
    "issue.assignee.startsWith(\"k\")",
    "issue.assignee.matches(\"^k.m$\")",
    "issue.assignee < \"l\"",
    "issue.assignee >= \"kim\"",
    "issue.assignee in issue.assignees",
    "issue.assignee == issue.status",
    "issue.assignee != issue.status",
    "issue.assignee < issue.status",
    "size(issue.assignee) > 2",
    "issue.state == \"open\"",
    "issue.state != \"closed\"",
    "issue.state == null",
    "issue.source == \"github\"",
    "issue.source != \"github\"",
    "issue.number > 3",
    "issue.number <= 3",
    "issue.number in [1, 3, 5]",
    "issue.number != 4",
    "issue.due_at <= now",
    "issue.due_at == null",
    "issue.due_at == issue.created_at",
    "issue.due_at != issue.created_at",
    "issue.due_at > issue.created_at",
    "issue.due_at - duration(\"24h\") < issue.created_at",
    "issue.due_at == issue.created_at + duration(\"24h\")",
    "issue.created_at < issue.updated_at",
    "now - issue.created_at > duration(\"24h\")",
    "now - issue.created_at < duration(\"12h\")",
    "issue.created_at + duration(\"48h\") <= now",
    "issue.updated_at - issue.created_at >= duration(\"12h\")",
    "now - issue.updated_at <= now - issue.created_at",
    "issue.due_at < timestamp(\"2026-11-21T00:00:00Z\")",
    "(issue.assignee == \"kim\" ? issue.due_at : issue.created_at) < now",
];

const EVENT_LEAVES: &[&str] = &[
    "event.type == \"issue_opened\"",
    "event.type in [\"issue_opened\", \"issue_updated\"]",
    "event.type != \"issue_opened\"",
    "event.actor == issue.assignee",
    "event.actor != null",
    "event.source in [\"github\", \"jira\"]",
    "\"a\" in event.labels_added",
    "size(event.changed) == 0",
];

fn conditions(events: bool) -> impl Strategy<Value = String> {
    let mut leaves = LEAVES.to_vec();
    if events {
        leaves.extend(EVENT_LEAVES);
    }
    let leaf = proptest::sample::select(leaves).prop_map(str::to_owned);
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            4 => proptest::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" && "))),
            3 => proptest::collection::vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(" || "))),
            2 => inner.clone().prop_map(|one| format!("!({one})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

#[derive(Debug, Clone)]
struct Seen {
    issue: Issue,
    event: IssueEvent,
}

fn some<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(0.8, proptest::sample::select(values))
}

fn time() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    let hours = some(&[-72_i64, -48, -36, -24, -12, -1, 0, 12, 24]);
    hours.prop_map(|hours| hours.map(|hours| now() + TimeDelta::hours(hours)))
}

fn words(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(all, 0..=all.len())
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn said<T>(value: Option<T>) -> Said<T> {
    value.map_or(Said::Nothing, Said::Value)
}

fn issues() -> impl Strategy<Value = Seen> {
    let texts = (some(&["P0", "p1", "a", "low"]), some(&["kim", "lee", "k"]), some(&["kim", "done"]));
    let lists = (
        proptest::option::weighted(0.9, words(&["A", "b", "ab", "abc"])),
        proptest::option::of(words(&["kim", "a"])),
    );
    let rest = (
        some(&[IssueState::Open, IssueState::Closed]),
        some(&[Source::Github, Source::Jira]),
        some(&[1_u64, 3, 4, 9]),
    );
    let event = (
        proptest::sample::select(vec![
            EventType::IssueOpened,
            EventType::IssueUpdated,
            EventType::IssueCommented,
            EventType::Other("issue_moved".into()),
        ]),
        some(&["kim", "lee"]),
        proptest::option::of(words(&["a", "b"])),
    );
    (texts, lists, rest, (time(), time(), time()), event).prop_map(
        |((priority, assignee, status), (labels, assignees), (state, source, number), times, event)| {
            let facts = Facts {
                priority: said(priority.map(Into::into)),
                assignee: said(assignee.map(Into::into)),
                status: said(status.map(Into::into)),
                labels: said(labels.map(Into::into)),
                assignees: said(assignees.map(Into::into)),
                state: said(state),
                source,
                number,
                created_at: times.0,
                updated_at: times.1,
                due_at: said(times.2),
                ..Facts::default()
            };
            let (event_type, actor, added) = event;
            let mut event = IssueEvent::new("e", "p", Source::Github, event_type, "github:o/r#1");
            event.actor = actor.map(str::to_owned);
            if let Some(added) = added {
                event.change.insert("labels".into(), FieldChange { added, ..FieldChange::default() });
            }
            Seen { issue: Issue { facts: facts.into(), ..Issue::default() }, event }
        },
    )
}

/// None when it would take longer than a condition may.
fn try_rule(id: &str, text: &str, on_closed: bool) -> Option<Rule> {
    let condition = match Condition::parse(text, &mut Budget::default()) {
        Ok(condition) => condition,
        Err(problems) => {
            assert!(problems[0].is_dear, "{text}: {problems:?}");
            return None;
        }
    };
    Some(Rule {
        id: id.into(),
        rationale: String::new(),
        condition,
        at: None,
        then: Vec::new(),
        repeat: None,
        cooldown: TimeDelta::zero(),
        goes_on: false,
        on_closed,
        line: 1,
    })
}

fn rule(id: &str, text: &str, on_closed: bool) -> Rule {
    try_rule(id, text, on_closed).unwrap()
}

impl Seen {
    fn holds(&self, rule: &Rule) -> bool {
        let view = View::new("p", "github:o/r#1", &self.issue, Some(&self.event), now());
        (rule.on_closed || self.issue.is_open()) && rule.condition.holds(&view) == Ok(true)
    }
}

/// Parsing needs a large stack.
fn on_large_stack(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024 * 1024);
        if let Err(fault) = thread.spawn_scoped(scope, test).unwrap().join() {
            std::panic::resume_unwind(fault);
        }
    });
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seed = std::env::var("SEED").map_or_else(|_| rand_seed(), |seed| seed.parse().unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&strategy, test) {
        panic!("{error}\nagain with SEED={seed}");
    }
}

#[test]
fn what_is_said_of_a_condition_is_so() {
    on_large_stack(|| {
        let (never, parts) = (Cell::new(0), Cell::new(0));
        let cases = (conditions(true), any::<bool>(), proptest::collection::vec(issues(), 60));
        run(3000, cases, |(text, on_closed, issues)| {
            let Some(asked) = try_rule("r", &text, on_closed) else { return Ok(()) };
            for (_, problem) in problems(std::slice::from_ref(&asked), true) {
                if problem.message == NEVER {
                    never.set(never.get() + 1);
                    for issue in &issues {
                        prop_assert!(!issue.holds(&asked), "{text} holds: {problem:?} {issue:?}");
                    }
                    continue;
                }
                if !problem.message.starts_with("this part ") {
                    continue;
                }
                parts.set(parts.get() + 1);
                let span = problem.span.clone().unwrap();
                let mut other = text.clone();
                other.replace_range(span, "(false)");
                let other_rule = rule("r", &other, on_closed);
                for issue in &issues {
                    prop_assert_eq!(
                        issue.holds(&asked),
                        issue.holds(&other_rule),
                        "{} is not {}: {:?} {:?}",
                        text,
                        other,
                        problem,
                        issue
                    );
                }
            }
            Ok(())
        });
        assert!(never.get() > 50, "{} conditions never hold", never.get());
        assert!(parts.get() > 100, "{} parts do not matter", parts.get());
    });
}

#[test]
fn what_is_said_of_rules_is_so() {
    on_large_stack(|| {
        let found = Cell::new(0);
        // One condition made from the other, so that they have to do with each other.
        let pairs = (conditions(false), conditions(false), 0..4_u8).prop_map(|(a, b, how)| match how {
            0 => (a, b),
            1 => (a.clone(), format!("{a} && {b}")),
            2 => (format!("{a} || {b}"), a),
            _ => (format!("{a} && {b}"), format!("{b} && {a} && !({b} && !({a}))")),
        });
        let cases = (pairs, any::<[bool; 2]>(), proptest::collection::vec(issues(), 60));
        run(2000, cases, |((first, second), on_closed, issues)| {
            let rules = [("first", first.as_str()), ("second", second.as_str())];
            let rules: Option<Vec<_>> =
                rules.iter().zip(on_closed).map(|((id, text), closed)| try_rule(id, text, closed)).collect();
            let Some(rules) = rules else { return Ok(()) };
            let said = problems(&rules, true);
            let unreached = said.iter().any(|(_, problem)| {
                problem.message.starts_with("this rule is never reached")
                    || problem.message.ends_with("the rule below it is never reached")
            });
            if unreached {
                found.set(found.get() + 1);
                for issue in &issues {
                    let holds = (issue.holds(&rules[0]), issue.holds(&rules[1]));
                    prop_assert!(holds != (false, true), "{first}\n{second}\n{said:?} {issue:?}");
                }
            }
            Ok(())
        });
        assert!(found.get() > 300, "{} rules are never reached", found.get());
    });
}

/// How many of the contradictions that there are get found, among conditions of two tests: those that hold of none of many issues.
#[test]
fn most_contradictions_are_found() {
    on_large_stack(|| {
        let mut runner = TestRunner::deterministic();
        let issues: Vec<_> = (0..6000)
            .map(|_| {
                use proptest::strategy::ValueTree;
                issues().new_tree(&mut runner).unwrap().current()
            })
            .collect();
        let negated: Vec<_> =
            LEAVES.iter().flat_map(|leaf| [(*leaf).to_owned(), format!("!({leaf})")]).collect();
        let of: Vec<Vec<bool>> = negated
            .iter()
            .map(|leaf| rule("r", leaf, true))
            .map(|rule| issues.iter().map(|issue| issue.holds(&rule)).collect())
            .collect();
        let (mut never, mut missed) = (0, Vec::new());
        for (one, a) in negated.iter().enumerate() {
            for (other, b) in negated.iter().enumerate().take(one) {
                if of[one].iter().zip(&of[other]).any(|(a, b)| *a && *b) {
                    continue;
                }
                never += 1;
                let both = format!("{a} && {b}");
                if !problems(&[rule("r", &both, true)], true).iter().any(|(_, one)| one.message == NEVER) {
                    missed.push(both);
                }
            }
        }
        let found = never - missed.len();
        assert!(found * 100 >= never * 75, "{found} of {never}; missed:\n{}", missed.join("\n"));
    });
}
