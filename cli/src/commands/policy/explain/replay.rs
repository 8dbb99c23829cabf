//! A past action is met again: its partition's history is folded from the first record on, under the policies that held then,
//! until the decision that made it.
//!
//! ```text
//!   issues   ──events──────────┐
//!   policies ──which held when─┼─► fold ──► the decision that made the action ──► explanation
//!   actions  ──which repeats───┘
//!              gave way (turns)
//! ```

use std::{collections::VecDeque, ops::ControlFlow};

use ::policy::{
    Decided, Input, Repeats, Ruleset, State,
    explain::{Case, Explanation, Focus, explain},
    fire_timers, switch_policy, take_event,
};
use chrono::{DateTime, Utc};
use eventlog::{Bounds, Log};
use events::{Action, PolicyChange, topic};

use super::{
    check_rule,
    repeats::{ByPartition, Turns},
    short, time,
    unexplained::Unmet,
};
use crate::{
    commands::{bounds, inert, read_all},
    error::Failure,
    history::{self, Happened},
};

/// How much is said of the way to an action, in remarks.
const MAX_REMARKS: usize = 5;

/// What can be told of an action.
pub(super) enum Told {
    /// The log leads to it.
    Explained {
        /// As it is on the log.
        action: Box<Action>,
        /// The decision that made it.
        explanation: Box<Explanation>,
    },
    /// It is on the log, but nothing leads to it.
    Unmet(Box<Unmet>),
}

/// Explains the action of that id, or `rule` in the decision that made it. `now` is the wall clock's.
///
/// # Errors
/// When no such action is on the log, the log cannot be read, or the policy of then has no such rule.
pub(super) async fn tell(
    log: &dyn Log,
    id: &str,
    rule: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Told, Failure> {
    let mut found: Option<(u32, Action)> = None;
    let mut heard = ByPartition::new();
    read_all(log, topic::ACTIONS, |record| {
        let action = record.value.as_deref().and_then(|value| serde_json::from_slice::<Action>(value).ok());
        let Some(action) = action else { return };
        heard.entry(record.partition).or_default().hear(&action);
        if action.event_id == id {
            found.get_or_insert((record.partition, action));
        }
    })
    .await?;
    let kept = bounds(log, topic::ACTIONS).await?;
    let Some((partition, action)) = found else {
        let gone = match kept.iter().any(|bounds| bounds.first > 0) {
            true => " any more or never did (older records are gone)",
            false => "",
        };
        return Err(Failure::failed(format!(
            "the topic {topic} holds no action {id}{gone}; `breakdown tail {topic}` lists them, the id is `event_id`",
            topic = topic::ACTIONS
        )));
    };
    // A key is in the same partition of every topic.
    let of_partition = |all: Vec<Bounds>| all.get(partition as usize).copied();
    let mut turns = heard.remove(&partition).unwrap_or_default();
    if of_partition(kept).is_some_and(|bounds| bounds.first > 0) {
        turns.cut();
    }
    let policies = history::policies(log).await?;
    let changes = policies.get(&partition).cloned().unwrap_or_default();
    let bounds = of_partition(bounds(log, topic::ISSUES).await?).unwrap_or(Bounds { first: 0, end: 0 });
    let mut search = Search::new(&action, changes, turns, rule);
    if bounds.first > 0 {
        search.remarks.push(format!(
            "what happened before offset {} of {} partition {partition} is gone from the log: what was known of the issue then may \
             be missing here",
            bounds.first,
            topic::ISSUES
        ));
    }
    history::read_partition(log, partition, bounds, |happened| search.event(&happened)).await?;
    search.end(now);
    let why = match search.stop {
        Some(Stop::Met(mut explanation)) => {
            explanation.remarks.append(&mut search.remarks);
            return Ok(Told::Explained { action: Box::new(action), explanation });
        }
        Some(Stop::Failed(failure)) => return Err(failure),
        Some(Stop::Unreadable(why)) => why,
        None => not_met(partition, bounds),
    };
    // Any partition's: a policy is the same in all of them.
    let texts = policies.values().flatten();
    Ok(Told::Unmet(Box::new(Unmet::new(action, texts, why))))
}

fn not_met(partition: u32, bounds: Bounds) -> String {
    let Bounds { first, end } = bounds;
    let topic = topic::ISSUES;
    match (first, first >= end) {
        (0, false) => format!(
            "{topic} partition {partition} is kept from its first record on, but deciding it again does not make this action; it was \
             decided by another version of breakdown, or the log was written by something else"
        ),
        (0, true) => format!("{topic} partition {partition} holds no event"),
        (_, false) => format!(
            "{topic} partition {partition} is kept from offset {first} on, and what led to this action happened before"
        ),
        (_, true) => format!("of {topic} partition {partition} nothing is kept any more"),
    }
}

/// What ends the search.
enum Stop {
    /// The decision was met.
    Met(Box<Explanation>),
    /// What was asked is wrong.
    Failed(Failure),
    /// A policy on the way cannot be read: why.
    Unreadable(String),
}

/// What ends one step of the fold before its decision is applied.
enum Halt {
    Stop(Stop),
    /// The turn gave way to a later one.
    GaveWay,
}

/// A partition's history on its way to one action.
struct Search<'a> {
    action: &'a Action,
    rule: Option<&'a str>,
    changes: VecDeque<PolicyChange>,
    turns: Turns,
    state: State,
    ruleset: Option<Ruleset>,
    /// What is to be said of the way.
    remarks: Vec<String>,
    stop: Option<Stop>,
}

impl<'a> Search<'a> {
    fn new(action: &'a Action, changes: Vec<PolicyChange>, turns: Turns, rule: Option<&'a str>) -> Self {
        Self {
            action,
            rule,
            changes: changes.into(),
            turns,
            state: State::default(),
            ruleset: None,
            remarks: Vec::new(),
            stop: None,
        }
    }

    fn event(&mut self, happened: &Happened) -> ControlFlow<()> {
        let now = happened.timestamp;
        while self.stop.is_none()
            && let Some(change) = self.changes.front()
            && change.offsets.get(topic::ISSUES).is_none_or(|first| *first <= happened.offset)
        {
            self.change(now);
        }
        self.timers(now, now);
        if let (None, Some(ruleset)) = (&self.stop, &self.ruleset) {
            let mut meet = Meet { action: self.action, rule: self.rule, ruleset, now };
            let hash = happened.payload_hash.as_deref();
            // None of the timers is left that this would fire.
            let taken = take_event(
                &mut self.state,
                &happened.event,
                hash,
                now,
                Repeats::Each,
                ruleset,
                &mut |decided| meet.look(&decided),
            );
            self.conclude(taken);
        }
        if self.stop.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// After the last event: what timers did since.
    fn end(&mut self, now: DateTime<Utc>) {
        let Some(until) = self.action.evaluated_at else { return };
        let latest = now.max(until);
        while self.stop.is_none() && !self.changes.is_empty() {
            self.change(latest);
        }
        self.timers(until, latest);
    }

    /// The next change of the policy takes effect, after the timers that the one before it decided.
    fn change(&mut self, latest: DateTime<Utc>) {
        let Some(change) = self.changes.pop_front() else { return };
        if let Some(clock) = change.clock {
            self.timers(clock, latest);
        }
        if self.stop.is_some() {
            return;
        }
        match ::policy::load(&change.policy) {
            Ok(ruleset) => {
                let now = self.state.clock().unwrap_or(DateTime::UNIX_EPOCH);
                let decision = switch_policy(&self.state, now, &ruleset);
                self.state.apply(decision);
                self.ruleset = Some(ruleset);
            }
            Err(_) => {
                self.stop = Some(Stop::Unreadable(format!(
                    "the policy {} of {} on the topic {} is not one to this version of breakdown: explain with the version that ran then",
                    short(&change.policy_hash),
                    time(change.at),
                    topic::POLICIES
                )));
            }
        }
    }

    /// Fires what was due by `until`. A turn of a repeat that would make an action which is not on the log gives way: to the next one
    /// that made one, else to the last one by `latest`. What a gateway missed lies between two events, so `latest` is the next
    /// event's stamp.
    fn timers(&mut self, until: DateTime<Utc>, latest: DateTime<Utc>) {
        let Self { action, rule, turns, state, ruleset, remarks, stop, .. } = self;
        let Some(ruleset) = ruleset else { return };
        let mut meet = Meet { action, rule: *rule, ruleset, now: until };
        while let (None, Some(timer)) = (&stop, state.next_timer().filter(|timer| timer.due_at <= until)) {
            let gave_way = turns.gave_way(&timer);
            let mut sink = |decided: Decided<'_>| {
                meet.look(&decided)?;
                if gave_way && !decided.decision.actions.is_empty() { Err(Halt::GaveWay) } else { Ok(()) }
            };
            match fire_timers(state, timer.due_at, 1, Repeats::Each, ruleset, &mut sink) {
                Ok(()) => {}
                Err(Halt::Stop(why)) => *stop = Some(why),
                Err(Halt::GaveWay) => {
                    let to = turns.after(&timer, latest).unwrap_or(latest);
                    let mut is_made = false;
                    let mut sink = |decided: Decided<'_>| {
                        is_made = !decided.decision.actions.is_empty();
                        Ok::<(), Halt>(())
                    };
                    _ = fire_timers(state, to, 1, Repeats::Last, ruleset, &mut sink);
                    if is_made
                        && remarks.len() < MAX_REMARKS
                        && timer.issue_ref.as_str() == action.issue_ref.as_deref().unwrap_or_default()
                    {
                        remarks.push(format!(
                            "rule `{}` would have repeated at {}, of which the log has nothing: what it remembered then may differ",
                            timer.rule,
                            time(timer.due_at)
                        ));
                    }
                }
            }
        }
    }

    fn conclude(&mut self, result: Result<(), Halt>) {
        if let Err(Halt::Stop(stop)) = result {
            self.stop = Some(stop);
        }
    }
}

/// Looks at each decision whether it is the one that made the action.
struct Meet<'a> {
    action: &'a Action,
    rule: Option<&'a str>,
    ruleset: &'a Ruleset,
    now: DateTime<Utc>,
}

impl Meet<'_> {
    /// Ends the fold, before the decision is applied, when this is the one.
    fn look(&mut self, decided: &Decided<'_>) -> Result<(), Halt> {
        let actions = &decided.decision.actions;
        let Some(again) = actions.iter().find(|action| action.event_id == self.action.event_id) else {
            return Ok(());
        };
        check_rule(self.rule, self.ruleset).map_err(|failure| Halt::Stop(Stop::Failed(failure)))?;
        let now = match decided.input {
            Input::Timer(timer) => timer.due_at,
            _ => self.now,
        };
        let focus = Focus { rule: self.rule, issue_ref: self.action.issue_ref.as_deref() };
        let mut explanation = explain(decided.before, Case::Input(decided.input), now, self.ruleset, focus);
        if self.action.policy_hash.as_deref() != Some(self.ruleset.hash()) {
            explanation.remarks.push(format!(
                "the action says that policy {} decided it",
                short(self.action.policy_hash.as_deref().unwrap_or("?"))
            ));
        }
        if (&again.action, &again.target) != (&self.action.action, &self.action.target) {
            explanation.remarks.push(format!(
                "decided again from what the log keeps, it is {} for {}: something that counted then is missing here",
                inert(again.action.as_str()),
                inert(&again.target)
            ));
        }
        Err(Halt::Stop(Stop::Met(Box::new(explanation))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_leads_to_an_action_depends_on_what_is_kept() {
        for (first, end, says) in [
            (0, 0, "holds no event"),
            (0, 9, "kept from its first record on"),
            (4, 9, "kept from offset 4 on"),
            (9, 9, "nothing is kept any more"),
        ] {
            let why = not_met(3, Bounds { first, end });
            assert!(why.contains("issues partition 3") && why.contains(says), "{why}");
        }
    }
}
