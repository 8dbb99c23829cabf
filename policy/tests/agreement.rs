//! Conditions agree with CEL: random conditions over random events have the verdict that the `cel` crate's interpreter gives,
//! true, false or an error.
//!
//! Ours is asked end to end, through `load` and `decide`; CEL is asked over maps that are made here from the event's JSON.
//! A condition and an event are each made of a list of numbers ([`choices::Choices`]), which proptest shrinks. What fails names
//! the seed; `PROPTEST_RNG_SEED=… PROPTEST_CASES=…` repeat a run or lengthen it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "agreement/choices.rs"]
mod choices;
#[path = "agreement/grammar.rs"]
mod grammar;
#[path = "agreement/world.rs"]
mod world;

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    fmt::Debug,
    hash::{BuildHasher, Hasher},
    thread,
};

use cel::{Context, Program, Value};
use choices::Choices;
use grammar::Grammar;
use policy::{Diagnostic, Input, MAX_NAMED_ERRORS, Note, Ruleset, State, decide, load};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngSeed, TestCaseError, TestError, TestRunner},
};
use serde_json::json;
use world::World;

/// What is said of one condition and one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    True,
    False,
    Error,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Conditions that were to be compared.
    conditions: u64,
    /// Of these, those that were refused for what they could cost: the grammar knows the limit only roughly.
    dear: u64,
    /// What was said: true, false, an error.
    verdicts: [u64; 3],
}

impl Found {
    fn and(self, other: Self) -> Self {
        let mut verdicts = self.verdicts;
        verdicts.iter_mut().zip(other.verdicts).for_each(|(count, more)| *count += more);
        Self { conditions: self.conditions + other.conditions, dear: self.dear + other.dear, verdicts }
    }
}

/// A policy of these conditions, each of which is asked.
fn policy_of(conditions: &[String]) -> Result<Ruleset, Vec<Diagnostic>> {
    let rules: Vec<_> = conditions
        .iter()
        .enumerate()
        .map(|(place, condition)| {
            // About what our own account did rules are asked that ask for it.
            let condition = format!("({condition}\n) && (event.by_us || !event.by_us)");
            json!({
                "id": format!("r{place}"), "when": condition, "rationale": "r", "continue": true, "on_closed": true,
                "cooldown": "0s", "then": { "action": "post_nudge", "target": "owner:x" },
            })
        })
        .collect();
    // JSON is YAML.
    load(&json!({ "version": 1, "rules": rules }).to_string())
}

fn text_of(diagnostics: &[Diagnostic]) -> String {
    let said: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    said.join("\n")
}

/// What we say.
fn ours(ruleset: &Ruleset, world: &World) -> Vec<Verdict> {
    let input = Input::Event { event: &world.event, payload_hash: None };
    let decision = decide(&State::default(), input, world.now, ruleset);
    let mut verdicts = vec![Verdict::False; ruleset.rules().count()];
    let place = |rule: &str| rule[1..].parse::<usize>().unwrap();
    for action in &decision.actions {
        verdicts[place(action.rule.as_deref().unwrap())] = Verdict::True;
    }
    for note in &decision.notes {
        match note {
            Note::ConditionError { rule, .. } => verdicts[place(rule)] = Verdict::Error,
            other => panic!("{other:?}"),
        }
    }
    verdicts
}

/// What CEL says.
fn theirs(program: &Program, world: &World) -> Verdict {
    let mut context = Context::default();
    context.add_variable_from_value("issue", world.issue.clone());
    context.add_variable_from_value("event", world.happening.clone());
    context.add_variable_from_value("now", Value::Timestamp(world.now.fixed_offset()));
    match program.execute(&context) {
        Ok(Value::Bool(true)) => Verdict::True,
        Ok(Value::Bool(false)) => Verdict::False,
        Ok(other) => panic!("a condition is {other:?}"),
        Err(_) => Verdict::Error,
    }
}

/// Fails where a condition is refused, unless for what it could cost, or has another verdict than CEL's.
fn compare(conditions: &[String], worlds: &[World]) -> Result<Found, TestCaseError> {
    // A decision names no more conditions that err.
    let chunks = conditions.chunks(MAX_NAMED_ERRORS as usize);
    chunks.map(|some| compare_some(some, worlds)).try_fold(Found::default(), |all, some| Ok(all.and(some?)))
}

fn compare_some(conditions: &[String], worlds: &[World]) -> Result<Found, TestCaseError> {
    let ruleset = match (policy_of(conditions), conditions) {
        (Ok(ruleset), _) => ruleset,
        (Err(said), [condition]) => match said.iter().all(|diagnostic| diagnostic.is_dear) {
            true => return Ok(Found { conditions: 1, dear: 1, ..Found::default() }),
            false => return Err(TestCaseError::fail(format!("refused: {condition}\n{}", text_of(&said)))),
        },
        // Which of them is it? Or all of them together.
        (Err(_), _) => {
            let each =
                conditions.iter().map(|condition| compare_some(std::slice::from_ref(condition), worlds));
            return each.into_iter().try_fold(Found::default(), |all, one| Ok(all.and(one?)));
        }
    };
    let programs: Vec<_> = conditions.iter().map(|condition| Program::compile(condition).unwrap()).collect();
    let mut verdicts = [0; 3];
    for world in worlds {
        let ours = ours(&ruleset, world);
        for ((condition, program), ours) in conditions.iter().zip(&programs).zip(ours) {
            let theirs = theirs(program, world);
            prop_assert_eq!(
                ours,
                theirs,
                "ours, CEL's\n{}\n{}\nat {}",
                condition,
                serde_json::to_string(&world.event).unwrap(),
                world.now
            );
            verdicts[ours as usize] += 1;
        }
    }
    Ok(Found { conditions: conditions.len() as u64, dear: 0, verdicts })
}

/// Runs a property on a thread whose stack is enough for cel's parser. Fails where more than a hundredth of the conditions was too dear
/// to be compared.
fn check<S>(
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> Result<Found, TestCaseError> + Send + 'static,
) where
    S: Strategy + Send + 'static,
    S::Value: Debug,
{
    let run = move || {
        let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        if std::env::var_os("PROPTEST_CASES").is_none() {
            config.cases = cases;
        }
        let seed = match config.rng_seed {
            RngSeed::Fixed(seed) => seed,
            RngSeed::Random => RandomState::new().build_hasher().finish(),
        };
        config.rng_seed = RngSeed::Fixed(seed);
        config.max_shrink_iters = 20_000;
        let found = Cell::new(Found::default());
        let property = |value| {
            found.set(found.get().and(property(value)?));
            Ok(())
        };
        match TestRunner::new(config).run(&strategy, property) {
            Ok(()) => {
                let found = found.get();
                if std::env::var_os("AGREEMENT_COUNTS").is_some() {
                    eprintln!("{found:?}");
                }
                assert!(found.dear <= 2 + found.conditions / 100, "PROPTEST_RNG_SEED={seed}\n{found:?}");
            }
            // The numbers that it was made of say nothing to a reader.
            Err(TestError::Fail(why, _)) => panic!("PROPTEST_RNG_SEED={seed}\n{why}"),
            Err(TestError::Abort(why)) => panic!("PROPTEST_RNG_SEED={seed}\n{why}"),
        }
    };
    let thread = thread::Builder::new().stack_size(256 * 1024 * 1024).spawn(run).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Lists of numbers: for each of some conditions, and for each of some events.
fn tapes(conditions: usize) -> impl Strategy<Value = (bool, Vec<Vec<u32>>, Vec<Vec<u32>>)> {
    let tape = |length| vec(any::<u32>(), 0..length);
    (any::<bool>(), vec(tape(100), 1..=conditions), vec(tape(60), 1..=12))
}

fn worlds(lower: bool, loud: bool, tapes: &[Vec<u32>]) -> Vec<World> {
    tapes.iter().map(|tape| World::new(&mut Choices::new(tape), lower, loud)).collect()
}

fn condition(lower: bool, odd: bool, tape: &[u32]) -> String {
    Grammar::new(Choices::new(tape), lower, odd).condition()
}

#[test]
fn conditions_agree_with_cel() {
    check(100, tapes(20), |(lower, conditions, events)| {
        let conditions: Vec<_> = conditions.iter().map(|tape| condition(lower, false, tape)).collect();
        compare(&conditions, &worlds(lower, false, &events))
    });
}

/// Wider than CEL: the case of labels and priorities does not count.
#[test]
fn case_of_labels_and_priorities_does_not_count() {
    check(30, tapes(20), |(_, conditions, events)| {
        let conditions: Vec<_> = conditions.iter().map(|tape| condition(true, false, tape)).collect();
        compare(&conditions, &worlds(true, true, &events))
    });
}

/// What is outside the language is refused; and if some of it is not, then it says what CEL says.
#[test]
fn what_is_odd_is_refused_or_agrees_with_cel() {
    check(100, tapes(10), |(lower, conditions, events)| {
        let worlds = worlds(lower, false, &events);
        let mut found = Found::default();
        for tape in &conditions {
            let condition = condition(lower, true, tape);
            match policy_of(std::slice::from_ref(&condition)) {
                Err(said) => {
                    let said = text_of(&said);
                    prop_assert!(!said.contains("fault"), "{condition}\n{said}");
                }
                Ok(_) => found = found.and(compare(&[condition], &worlds)?),
            }
        }
        Ok(found)
    });
}

/// The generator makes what the language has: were it to lose a part, agreement would be proven for less.
#[test]
fn the_grammar_covers_the_language() {
    let mut rng = proptest::test_runner::TestRunner::deterministic();
    let mut all = String::new();
    let mut longest = 0;
    for _ in 0..3000 {
        let tape = vec(any::<u32>(), 100).new_tree(&mut rng).unwrap().current();
        let condition = condition(true, false, &tape);
        longest = longest.max(condition.len());
        all.push_str(&condition);
        all.push('\n');
    }
    for part in [
        "&&",
        "||",
        "!(",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        " in ",
        " ? ",
        " + ",
        " - ",
        "size(",
        ".size()",
        ".startsWith(",
        ".endsWith(",
        ".contains(",
        ".matches(",
        ".exists(",
        ".all(",
        "timestamp(",
        "duration(",
        "null",
        "true",
        "false",
        "now",
        "in [",
        "r\"",
        "r'",
        "\"\"\"",
        "\\u",
        "\\x",
        "-9223372036854775808",
        "9223372036854775807",
        "0x",
        "//",
        "\n",
        "issue.ref",
        "issue.project",
        "issue.source",
        "issue.repo",
        "issue.number",
        "issue.key",
        "issue.title",
        "issue.url",
        "issue.labels",
        "issue.assignee",
        "issue.assignees",
        "issue.priority",
        "issue.status",
        "issue.state",
        "issue.created_at",
        "issue.updated_at",
        "issue.due_at",
        "issue.acknowledged_at",
        "issue.acknowledged_by",
        "event.type",
        "event.source",
        "event.actor",
        "event.by_us",
        "event.changed",
        "event.labels_added",
        "event.labels_removed",
    ] {
        assert!(all.contains(part), "no condition has {part}");
    }
    assert!(longest < 8 * 1024, "{longest}");
}
