//! A case through the production fold.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use events::Action;

use super::{
    Case,
    compare::{self, Line},
    step::{Step, What},
    why,
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

/// More timers than [`MAX_TIMERS`]; the rule of the one too many.
struct TooMany(String);

pub(super) fn run(case: &Case, ruleset: &Ruleset) -> Ran {
    let mut ran = Ran::default();
    let mut state = State::default();
    let mut current = ruleset;
    let mut timers = 0;
    if let Some(first) = case.steps.first() {
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
        if let Err(TooMany(rule)) = take(&mut state, step, current, &mut timers, &mut heard) {
            let message = format!("more than {MAX_TIMERS} timers are due in this case");
            let why = format!("the last is of `{rule}`; let less time pass, or close its issue");
            ran.failures.push(failed(message, Vec::new(), vec![why]));
            return ran;
        }
        if let What::Policy(_, next) = &step.what {
            let decision = switch_policy(&state, step.at, next);
            state.apply(decision);
            current = next;
        }
        let of_own = |one: &&Happened| one.action.policy_hash.as_deref() == Some(ruleset.hash());
        ran.fired.extend(heard.happened.iter().filter(of_own).filter_map(|one| one.action.rule.clone()));
        if let Some(difference) = compare::compare(&step.expect, &heard.happened) {
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
    heard: &mut Heard,
) -> Result<(), TooMany> {
    let mut sink = |decided: Decided<'_>| {
        if let Input::Timer(timer) = decided.input {
            *timers += 1;
            if *timers > MAX_TIMERS {
                return Err(TooMany(timer.rule.to_string()));
            }
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
