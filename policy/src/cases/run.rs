//! A case through the production fold.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use events::Action;

use super::{
    Case,
    compare::{self, Line},
    step::{Step, What},
    why,
    work::{MAX_STEPS, Work},
};
use crate::{
    Decided, Input, Issue, Kind, Note, Repeats, Ruleset, State, TimerKind, fire_timers, switch_policy,
    take_event,
};

/// How many timers a case may fire: `repeat: 1m` for a week.
const MAX_TIMERS: usize = 10_000;
/// How many notes of a step are kept to explain it.
const MAX_NOTES: usize = 1000;

/// What came of a case.
#[derive(Debug, Default)]
pub struct Ran {
    /// The steps in which something else followed than was expected; none when the case passes.
    pub failures: Vec<Failure>,
    /// The rules of the case's own policy (not of one that takes effect in a step) that made an action.
    pub fired: BTreeSet<String>,
}

/// A step in which something else followed than was expected.
#[derive(Debug)]
pub struct Failure {
    /// Which step, from 1.
    pub step: usize,
    /// The line of the file on which the step begins, from 1.
    pub line: usize,
    /// When the step happens.
    pub at: DateTime<Utc>,
    /// What happens in the step.
    pub what: String,
    /// What is wrong, in a line.
    pub message: String,
    /// Expected and actual actions.
    pub lines: Vec<Line>,
    /// What is known of the reasons, a line each.
    pub why: Vec<String>,
}

/// An action, and what made it.
pub(super) struct Happened {
    pub(super) action: Action,
    pub(super) cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Event,
    At,
    Repeat,
}

/// What was decided in a step.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) happened: Vec<Happened>,
    pub(super) notes: Vec<Note>,
    /// The issues that it concerned, with their projects.
    pub(super) issues: BTreeSet<(String, String)>,
    /// The event's issue before the event; none before its first.
    pub(super) before: Option<Issue>,
    event_is_heard: bool,
}

/// Why a case goes on no further.
enum TooMuch {
    /// More timers than [`MAX_TIMERS`]; the rule of the one too many.
    Timers(String),
    /// Nothing is left of the work that the cases of a file may take.
    Work,
}

pub(super) fn run(case: &Case, ruleset: &Ruleset, work: &mut Work) -> Ran {
    let mut ran = Ran::default();
    let mut state = State::default();
    let mut current = ruleset;
    let mut timers = 0;
    if let Some(first) = case.steps.first() {
        work.switch(&state, current);
        let decision = switch_policy(&state, first.at, current);
        state.apply(decision);
    }
    for (index, step) in case.steps.iter().enumerate() {
        let mut heard = Heard::default();
        let failed = |message, lines, why| Failure {
            step: index + 1,
            line: step.line,
            at: step.at,
            what: step.in_words(),
            message,
            lines,
            why,
        };
        let taken = match work.is_spent() {
            true => Err(TooMuch::Work),
            false => take(&mut state, step, current, &mut timers, work, &mut heard),
        };
        if let Err(too_much) = taken {
            let (message, why) = too_much.in_words();
            ran.failures.push(failed(message, Vec::new(), vec![why]));
            return ran;
        }
        if let What::Policy(_, next) = &step.what {
            work.switch(&state, next);
            let decision = switch_policy(&state, step.at, next);
            state.apply(decision);
            current = next;
        }
        let of_own = |one: &&Happened| one.action.policy_hash.as_deref() == Some(ruleset.hash());
        ran.fired.extend(heard.happened.iter().filter(of_own).filter_map(|one| one.action.rule.clone()));
        work.compare(heard.happened.len(), step.expected().count());
        if let Some(difference) = compare::compare(&step.expect, &heard.happened) {
            // Each rule that was meant is asked once more for each issue.
            work.ask(current, why::MAX_ISSUES);
            let why = why::explain(step, &heard, &difference.missing, &state, current);
            ran.failures.push(failed(difference.message, difference.lines, why));
        }
    }
    ran
}

/// Timers due by the step, then its event.
fn take(
    state: &mut State,
    step: &Step,
    ruleset: &Ruleset,
    timers: &mut usize,
    work: &mut Work,
    heard: &mut Heard,
) -> Result<(), TooMuch> {
    let mut sink = |decided: Decided<'_>| {
        if let Input::Timer(timer) = decided.input {
            *timers += 1;
            if *timers > MAX_TIMERS {
                return Err(TooMuch::Timers(timer.rule.to_string()));
            }
        }
        work.decide(&decided, ruleset);
        if work.is_spent() {
            return Err(TooMuch::Work);
        }
        heard.hear(&decided);
        Ok(())
    };
    match &step.what {
        What::Event(event) => take_event(state, event, None, step.at, Repeats::Each, ruleset, &mut sink),
        What::Policy(..) | What::Nothing => {
            fire_timers(state, step.at, usize::MAX, Repeats::Each, ruleset, &mut sink)
        }
    }
}

impl TooMuch {
    /// What is wrong, and what to do about it.
    fn in_words(self) -> (String, String) {
        match self {
            Self::Timers(rule) => (
                format!("more than {MAX_TIMERS} timers are due in this case"),
                format!("the last is of `{rule}`; let less time pass, or close its issue"),
            ),
            Self::Work => (
                format!(
                    "the cases down to here take more than {MAX_STEPS} steps together; the rest is not run"
                ),
                "a step is a rule that is asked: let less time pass, or split the file".to_owned(),
            ),
        }
    }
}

impl Heard {
    fn hear(&mut self, decided: &Decided<'_>) {
        let cause = match decided.input {
            Input::Timer(timer) if timer.kind == TimerKind::At => Cause::At,
            Input::Timer(_) => Cause::Repeat,
            _ => Cause::Event,
        };
        if let (Input::Event { event, .. }, false) = (decided.input, self.event_is_heard) {
            self.event_is_heard = true;
            self.before = decided.before.issue(&event.project_id, &event.issue_ref).cloned();
        }
        let actions = decided.decision.actions.iter().cloned();
        self.happened.extend(actions.map(|action| Happened { action, cause }));
        let room = MAX_NOTES.saturating_sub(self.notes.len());
        self.notes.extend(decided.decision.notes.iter().take(room).cloned());
        let issues = decided.decision.keys().filter(|key| key.kind == Kind::Issue);
        self.issues.extend(issues.map(|key| (key.project.to_string(), key.identity.to_string())));
    }
}
