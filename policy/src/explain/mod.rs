//! Why a decision is as it is: for each rule, in file order, whether it was asked, what its condition saw, what became of it, and the
//! smallest change that would have made it otherwise.
//!
//! ```text
//!   state, input ──decide, watched──► Decision, Sights ──┬─► what is to be said of it as a whole   (remarks)
//!                                                        ├─► what became of each rule    (standing) ──► in short (summary)
//!   (Case)                                               ├─► conditions as trees         (tree, reads)
//!                                                        └─► decided again, changed      (change)
//!                                                                      │
//!                                              Explanation ◄───────────┘  ──► text (text, shown), JSON
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
mod remarks;
mod shown;
mod standing;
mod summary;
mod text;
mod tree;

use chrono::{DateTime, Utc};
use events::{ActionKind, IssueEvent};
use serde::Serialize;

use self::standing::Round;
pub use self::{
    change::{Change, ChangeKind, End, Goal, Times, WhatIf},
    shown::Shown,
    tree::{Element, Node, Saw, Verdict},
};
pub use crate::decide::Occasion;
use crate::{
    Entry, Input, Key, Rule, Ruleset, State, Timer, TimerKind,
    decide::{Sight, Watch, watch},
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
    /// An issue as it is known: as if an event came that says nothing new.
    Issue {
        /// Its project.
        project: &'a str,
        /// Its issue_ref.
        issue_ref: &'a str,
        /// Its last event, for the rules that read `event`: as if it came again. None: they are left out.
        last_event: Option<LastEvent<'a>>,
    },
}

/// The last event of an issue.
#[derive(Debug, Clone, Copy)]
pub struct LastEvent<'a> {
    /// The event.
    pub event: &'a IssueEvent,
    /// When the log took it.
    pub at: DateTime<Utc>,
}

/// What of it is to be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Focus<'a> {
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
    /// On which occasion rules are asked.
    pub occasion: Occasion,
    /// What came of it, in a line.
    pub summary: String,
    /// The rules in file order: all, or those that were asked for.
    pub rules: Vec<OfRule>,
    /// Of an issue as it is known: the rules that read `event`, as if its last event came again.
    pub by_last_event: Option<ByLastEvent>,
    /// Of how many rules the smallest change was not looked for, because it was of many: ask about one of them.
    pub unsearched: usize,
    /// When rules will be looked at again, soonest first, as the decision leaves it; at most fifty.
    pub timers: Vec<SetTimer>,
}

/// The rules that read `event`, as if an issue's last event came again: with the issue as it is known now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ByLastEvent {
    /// The event's id.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When the log took it.
    pub at: DateTime<Utc>,
    /// These rules in file order: all, or those that were asked for.
    pub rules: Vec<OfRule>,
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
    /// When it will be looked at next by itself, as the decision leaves it.
    pub next_timer: Option<SetTimer>,
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
    /// Our own account did this, and the rule does not read `event.by_us`.
    ByUs,
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
        /// Places in `then`, from 0, of actions that were not made because of the cap.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        capped: Vec<usize>,
    },
    /// It counts as fired, but none of its actions was made: the issue has had its actions of this hour.
    Capped {
        /// How many there may be.
        most: u32,
        /// When the hour ends.
        until: DateTime<Utc>,
    },
    /// It would have fired, but no target of any of its actions resolved.
    Unresolved,
    /// It would have fired, but for its cooldown.
    Suppressed {
        /// When the cooldown ends.
        until: DateTime<Utc>,
        /// How long it is, such as `10m`.
        cooldown: String,
    },
    /// It decided the issue already, and fires again only after another rule decided it, or it was reopened.
    DecidedAlready,
    /// It has had its turn for this value of `at`.
    AtDone {
        /// The value.
        at: DateTime<Utc>,
    },
    /// Our own account did this: it decides the issue from here on, in silence.
    ByUs,
    /// What set the timer is no longer so: `at` moved or was done, or the rule no longer decides the issue.
    NoLongerDue,
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
    focus: Focus<'_>,
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
            let (decision, watch) =
                watch(state, input, now, ruleset, Watch::new(focus.issue_ref, MAX_ISSUES));
            explanation.more_issues = watch.others;
            explanation.now = match input {
                Input::Timer(timer) => timer.due_at,
                _ => now,
            };
            (decision, watch.sights)
        }
        Case::Issue { project, issue_ref, .. } => {
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
    if let Case::Input(input) = case {
        explanation.remarks.extend(remarks::of_input(state, &input, !sights.is_empty(), &decision));
    }
    let round = |sight| Round { state, ruleset, sight, decision: &decision, focus };
    explanation.issues = sights.iter().map(|sight| of_issue(&round(sight), &case)).collect();
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
            rule: timer.rule.to_string(),
            reason: timer.kind,
            issue_ref: shown::cut(&timer.issue_ref),
        },
        Case::Input(Input::Outcome(outcome)) => About::Outcome { event_id: shown::cut(&outcome.event_id) },
        Case::Issue { issue_ref, .. } => About::Issue { issue_ref: shown::cut(issue_ref) },
    }
}

fn of_issue(round: &Round<'_>, case: &Case<'_>) -> OfIssue {
    let Round { state, sight, decision, .. } = *round;
    let key = Key::issue(&sight.project, &sight.issue_ref);
    let after = match (case, decision.changes.iter().find(|(changed, _)| *changed == key)) {
        (Case::Input(_), Some((_, Some(Entry::Issue(issue))))) => Some(&**issue),
        _ => state.issue(&sight.project, &sight.issue_ref),
    };
    let timers = after.into_iter().flat_map(|issue| issue.timers(&sight.project, &sight.issue_ref));
    let timers: Vec<_> = timers
        .take(MAX_TIMERS)
        .map(|Timer { due_at, rule, kind, .. }| SetTimer { due_at, rule: rule.into(), reason: kind })
        .collect();
    let last_event = match case {
        Case::Issue { last_event, .. } if !sight.issue.deleted => *last_event,
        _ => None,
    };
    let mut rules = standing::rules(round, &timers, |_| true);
    let by_last_event = last_event.map(|last| by_last_event(round, &timers, last));
    if by_last_event.is_some() {
        // What would make them fire is told there.
        rules
            .iter_mut()
            .filter(|rule| rule.not_asked == Some(NotAsked::NoEvent))
            .for_each(|rule| rule.what_if = None);
    }
    let again = by_last_event.iter().flat_map(|again| &again.rules);
    let unsearched = rules.iter().chain(again).filter(|rule| rule.is_unsearched()).count();
    OfIssue {
        project_id: shown::cut(&sight.project),
        issue_ref: shown::cut(&sight.issue_ref),
        title: sight.issue.facts.title.value().map(|title| shown::cut(title)),
        state: match (sight.issue.deleted, sight.issue.is_open()) {
            (true, _) => "deleted",
            (_, true) => "open",
            _ => "closed",
        },
        occasion: sight.occasion,
        summary: summary::of_rules(&rules, sight.occasion),
        rules,
        by_last_event,
        unsearched: if round.focus.rule.is_none() { unsearched } else { 0 },
        timers,
    }
}

fn by_last_event(round: &Round<'_>, timers: &[SetTimer], last: LastEvent<'_>) -> ByLastEvent {
    let LastEvent { event, at } = last;
    let sight = Sight { event: Some(event.clone()), occasion: Occasion::Event, ..round.sight.clone() };
    let decision = sight.decide(round.state, round.ruleset);
    let again = Round { sight: &sight, decision: &decision, ..*round };
    let mut rules = standing::rules(&again, timers, Rule::is_momentary);
    // What would be done has no id yet: another event would be its cause.
    let fired = rules.iter_mut().filter_map(|rule| match &mut rule.became {
        Some(Became::Fired { actions, .. }) => Some(actions),
        _ => None,
    });
    fired.flatten().for_each(|action| action.id = None);
    ByLastEvent {
        event_id: shown::cut(&event.event_id),
        event_type: shown::cut(event.event_type.as_str()),
        at,
        rules,
    }
}
