//! Why a decision is as it is: for each rule, in file order, whether it was asked, what its condition saw, what became of it, and the
//! smallest change that would have made it otherwise.
//!
//! ```text
//!   state, input ──decide, watched──► Decision, Sights ──┬─► the standing of each rule     (standing)
//!                                                        ├─► conditions as trees          (tree)
//!                                                        └─► decided again, changed       (change)
//! ```
//!
//! What is told comes from the decision itself: the input is decided by the production code while someone listens
//! ([`mod@crate::decide`]), conditions are evaluated by the same evaluation, and a change is believed only when the same walk, on a
//! changed copy of what the rules saw, says so.
//!
//! An [`Explanation`] is data: it prints as text and serialises to JSON. All texts in it are cut; printed, texts from outside
//! are quoted and their control characters escaped.

mod change;
mod reads;
mod shown;
mod standing;
mod text;
mod tree;

use chrono::{DateTime, Utc};
use events::ActionKind;
use serde::Serialize;

pub use self::{
    change::{Change, ChangeKind, End, Goal, Times, WhatIf},
    shown::Shown,
    tree::{Element, Node, Saw, Verdict},
};
use crate::{
    Decision, Entry, Input, Key, Note, Ruleset, State, Timer, TimerKind,
    decide::{Asked, Sight, Watch, watch},
};

/// How many issues of one event (a milestone's) are explained.
const MAX_ISSUES: usize = 5;
/// How many timers of an issue are named.
const MAX_TIMERS: usize = 50;

/// What is to be explained.
#[derive(Debug, Clone, Copy)]
pub enum Case<'a> {
    /// An input, decided with the state as it was before.
    Input(Input<'a>),
    /// An issue as it is known: as if an event came that says nothing new. Rules that read `event` are left out.
    Issue {
        /// Its project.
        project: &'a str,
        /// Its issue_ref.
        issue_ref: &'a str,
    },
}

/// What of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// One rule (and the rules above it that hold) instead of all.
    pub rule: Option<&'a str>,
    /// One issue, where an event concerns several.
    pub issue_ref: Option<&'a str>,
}

/// Why a decision is as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// SHA-256 of the policy's text.
    pub policy_hash: String,
    /// What was decided.
    pub about: About,
    /// The instant that the rules took as `now`.
    pub now: DateTime<Utc>,
    /// What is to be said of it as a whole, such as that the event had counted already.
    pub remarks: Vec<String>,
    /// The issues about which rules were asked; one, but for a milestone's event.
    pub issues: Vec<OfIssue>,
    /// How many more issues there are.
    pub more_issues: usize,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum About {
    /// A record of `issues`.
    Event {
        /// Its id.
        event_id: String,
        /// Its type.
        #[serde(rename = "type")]
        event_type: String,
        /// The issue (or milestone).
        issue_ref: String,
    },
    /// A timer.
    Timer {
        /// Its id (`t-…`).
        id: String,
        /// The rule that set it.
        rule: String,
        /// Why.
        reason: TimerKind,
        /// The issue.
        issue_ref: String,
    },
    /// A record of `outcomes`.
    Outcome {
        /// Its id.
        event_id: String,
    },
    /// An issue as it is known.
    Issue {
        /// The issue.
        issue_ref: String,
    },
}

/// The rules, asked about one issue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfIssue {
    /// The project.
    pub project_id: String,
    /// The issue.
    pub issue_ref: String,
    /// Its title, cut.
    pub title: Option<String>,
    /// `open`, `closed` or `deleted`.
    pub state: &'static str,
    /// Which rules are asked.
    pub asked: AskedRules,
    /// The rules in file order: all, or those that were asked for.
    pub rules: Vec<OfRule>,
    /// When rules will be looked at again, soonest first, as the decision leaves it; at most fifty.
    pub timers: Vec<SetTimer>,
}

/// Which rules an input asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedRules {
    /// All of them: an event.
    Every,
    /// Those that read `event`: an event that comes late.
    Momentary,
    /// Those that do not read `event`: there is none.
    Lasting,
    /// The one that set the timer.
    OfTimer,
}

/// A timer that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetTimer {
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The rule that is looked at then.
    pub rule: String,
    /// Why.
    pub reason: TimerKind,
}

/// One rule in one decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfRule {
    /// Its id.
    pub id: String,
    /// Its place in the file, from 1.
    pub place: usize,
    /// Its line in the file, from 1.
    pub line: usize,
    /// True when it reads `event`.
    pub momentary: bool,
    /// Why it was not asked; none when it was.
    pub not_asked: Option<NotAsked>,
    /// What its condition says; none when it reads an event and there is none.
    pub verdict: Option<Verdict>,
    /// Its condition as a tree; left out for most of a long policy's rules that do not hold.
    pub condition: Option<Node>,
    /// What became of it; none when it was not asked or does not hold.
    pub became: Option<Became>,
    /// True when it ended the walk: the rules below it were not asked.
    pub ends_walk: bool,
    /// What the issue remembers of it.
    pub before: Before,
    /// The smallest change that would have made it otherwise; for the rule that was asked for, else for some.
    pub what_if: Option<WhatIf>,
}

/// Why a rule was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NotAsked {
    /// A rule above it ended the walk.
    AboveDecided {
        /// That rule.
        rule: String,
    },
    /// The issue is closed or deleted, and the rule is for open ones.
    Closed,
    /// The event came late, and the rule does not read `event`.
    Late,
    /// A timer asks only the rule that set it.
    OtherTimer,
    /// It reads `event`, and there is none.
    NoEvent,
}

/// What became of a rule whose condition held.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Became {
    /// It fired (an issue as it is known: it would).
    Fired {
        /// Its actions.
        actions: Vec<FiredAction>,
        /// Places in `then`, from 0, of actions none of whose targets resolved.
        unresolved: Vec<usize>,
    },
    /// It would have fired, but no target of any of its actions resolved.
    Unresolved,
    /// It would have fired, but for its cooldown.
    Suppressed {
        /// When the cooldown ends.
        until: DateTime<Utc>,
    },
    /// It decided the issue already, and fires again only after another rule decided it, or it was reopened.
    DecidedAlready,
    /// It has had its turn for this value of `at`.
    AtDone {
        /// The value.
        at: DateTime<Utc>,
    },
    /// What set the timer is no longer so: `at` moved or was done, or the rule no longer decides the issue.
    NotItsTurn,
}

/// One action that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FiredAction {
    /// Its id (`a-…`); none where it only would be.
    pub id: Option<String>,
    /// What is done.
    #[serde(serialize_with = "word")]
    pub action: ActionKind,
    /// For whom.
    pub target: String,
}

fn word<S: serde::Serializer>(action: &ActionKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action.as_str())
}

/// What the issue remembered of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Before {
    /// Whether it was a deciding rule.
    pub decided: bool,
    /// When it last made an action.
    pub fired_at: Option<DateTime<Utc>>,
    /// The value of its `at` now.
    pub at: Option<DateTime<Utc>>,
    /// The value of `at` for which it has had its turn.
    pub at_done: Option<DateTime<Utc>>,
}

/// Explains a decision. Deciding is done by [`crate::decide()`]'s own code with the same arguments; `now` of an issue as it is known
/// is the instant at which it is looked at.
///
/// Costs some thousand evaluations for each rule whose smallest change is looked for.
pub fn explain(
    state: &State,
    case: Case<'_>,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
    ask: Ask<'_>,
) -> Explanation {
    let mut explanation = Explanation {
        policy_hash: ruleset.hash().to_owned(),
        about: about(&case),
        now,
        remarks: Vec::new(),
        issues: Vec::new(),
        more_issues: 0,
    };
    let (decision, sights) = match case {
        Case::Input(input) => {
            let (decision, watch) = watch(state, input, now, ruleset, Watch::new(ask.issue_ref, MAX_ISSUES));
            explanation.more_issues = watch.others;
            explanation.now = match input {
                Input::Timer(timer) => timer.due_at,
                _ => now,
            };
            (decision, watch.sights)
        }
        Case::Issue { project, issue_ref } => {
            if state.issue(project, issue_ref).is_none() {
                explanation.remarks.push("nothing is known of this issue".into());
            }
            let sight = Sight::of_issue(state, ruleset, project, issue_ref, now);
            (sight.decide(state, ruleset), vec![sight])
        }
    };
    if let Some(sight) = sights.first() {
        explanation.now = sight.now;
    }
    if let Case::Input(Input::Outcome(_)) = case {
        explanation.remarks.push("outcomes change the project's risk and run no rule".into());
    }
    explanation.remarks.extend(decision.notes.iter().filter_map(remark));
    explanation.issues =
        sights.iter().map(|sight| of_issue(state, ruleset, sight, &case, &decision, ask)).collect();
    explanation
}

fn about(case: &Case<'_>) -> About {
    match case {
        Case::Input(Input::Event { event, .. }) => About::Event {
            event_id: shown::cut(&event.event_id),
            event_type: shown::cut(event.event_type.as_str()),
            issue_ref: shown::cut(&event.issue_ref),
        },
        Case::Input(Input::Timer(timer)) => About::Timer {
            id: timer.id(),
            rule: timer.rule.clone(),
            reason: timer.kind,
            issue_ref: shown::cut(&timer.issue_ref),
        },
        Case::Input(Input::Outcome(outcome)) => About::Outcome { event_id: shown::cut(&outcome.event_id) },
        Case::Issue { issue_ref, .. } => About::Issue { issue_ref: shown::cut(issue_ref) },
    }
}

/// What a note says of the input as a whole; those of a rule are told there.
fn remark(note: &Note) -> Option<String> {
    Some(match note {
        Note::Duplicate { of } => {
            format!(
                "no rule was asked: it had counted already, by its id or its payload ({})",
                shown::quoted(of)
            )
        }
        Note::Stale { .. } => "it comes late: it is older, by its updated_at, than what was known".into(),
        Note::Deleted { .. } => "no rule was asked: the issue is deleted".into(),
        Note::Missed { rule, count, .. } => {
            format!(
                "the rule was not looked at: {count} of the repeats of `{rule}`, this one first, gave way to a later one"
            )
        }
        Note::Obsolete { rule, .. } => format!(
            "the rule was not looked at: the timer of `{rule}` is no longer set (the rule or the issue is gone, or the issue closed)"
        ),
        Note::ConditionError { .. }
        | Note::MoreConditionErrors { .. }
        | Note::Suppressed { .. }
        | Note::Unresolved { .. } => return None,
    })
}

fn of_issue(
    state: &State,
    ruleset: &Ruleset,
    sight: &Sight,
    case: &Case<'_>,
    decision: &Decision,
    ask: Ask<'_>,
) -> OfIssue {
    let key = Key::issue(&sight.project, &sight.issue_ref);
    let after = match (case, decision.changes.iter().find(|(changed, _)| *changed == key)) {
        (Case::Input(_), Some((_, Some(Entry::Issue(issue))))) => Some(&**issue),
        _ => state.issue(&sight.project, &sight.issue_ref),
    };
    let timers = after.into_iter().flat_map(|issue| issue.timers(&sight.project, &sight.issue_ref));
    OfIssue {
        project_id: shown::cut(&sight.project),
        issue_ref: shown::cut(&sight.issue_ref),
        title: sight.issue.facts.title.value().map(|title| shown::cut(title)),
        state: match (sight.issue.deleted, sight.issue.is_open()) {
            (true, _) => "deleted",
            (_, true) => "open",
            _ => "closed",
        },
        asked: match &sight.asked {
            Asked::Every => AskedRules::Every,
            Asked::Momentary => AskedRules::Momentary,
            Asked::Lasting => AskedRules::Lasting,
            Asked::Timer(_) => AskedRules::OfTimer,
        },
        rules: standing::rules(state, ruleset, sight, decision, ask),
        timers: timers
            .take(MAX_TIMERS)
            .map(|Timer { due_at, rule, kind, .. }| SetTimer { due_at, rule, reason: kind })
            .collect(),
    }
}
