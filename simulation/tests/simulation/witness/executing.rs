//! From `actions` to the world and to `outcomes`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{GroupOffset, Record};
use events::{Action, DeadLetter, Outcome, topic};
use executor::Attempt;
use serde_json::Value;

use super::{Copy, Finding, at, finding, json};

#[derive(Default)]
pub(super) struct Executing {
    /// Every action on the log, by id.
    actions: BTreeMap<String, Action>,
    /// What `executor-state` says: key to value.
    state: BTreeMap<String, Value>,
    outcomes: BTreeMap<String, Outcome>,
    /// By partition: up to where actions are consumed.
    consumed: BTreeMap<u32, u64>,
    /// What was made: by key, what it is, and how it was told.
    effects: BTreeMap<String, (String, String)>,
    /// What was called for: by action, for when.
    called: BTreeMap<String, DateTime<Utc>>,
}

/// What is made for an action: no other action makes the same.
fn thing(action: &Action) -> String {
    let Action { cause, issue_ref, rule, action, target, .. } = action;
    format!("{cause:?} {issue_ref:?} {rule:?} {action} {target}")
}

impl Executing {
    /// Actions were committed.
    pub(super) fn decided(&mut self, records: &[Record], found: &mut Vec<Finding>) {
        for record in records.iter().filter(|record| record.topic == topic::ACTIONS) {
            let Some(action) = json::<Action>(record) else {
                found.push(finding("other-actions", format!("{} is no action", at(record))));
                continue;
            };
            if self.actions.insert(action.event_id.clone(), action).is_some() {
                found.push(finding("duplicate-action", format!("{} stands there before", at(record))));
            }
        }
    }

    /// A step of the executor was committed.
    pub(super) fn stepped(
        &mut self,
        partitions: &[u32],
        records: &[Record],
        copy: &Copy,
        groups: &[GroupOffset],
        now: DateTime<Utc>,
        found: &mut Vec<Finding>,
    ) {
        let mut done = BTreeSet::new();
        for record in records.iter().filter(|record| record.topic == topic::EXECUTOR_STATE) {
            let id = String::from_utf8_lossy(&record.key).into_owned();
            let before = match json::<Value>(record) {
                Some(entry) => {
                    if entry["state"] == "done" {
                        done.insert(id.clone());
                    }
                    self.state.insert(id.clone(), entry)
                }
                None => self.state.remove(&id),
            };
            if record.value.is_none() && !is_forgettable(before.as_ref(), now) {
                found.push(finding("missing-outcome", format!("{id} is forgotten too early: {before:?}")));
            }
            if !self.actions.contains_key(&id) {
                found.push(finding("torn-step", format!("{} is of no action", at(record))));
            }
        }
        self.concluded(records, &mut done, found);
        for id in done {
            found.push(finding("missing-outcome", format!("{id} was ended without one")));
        }
        self.accepted(partitions, copy, groups, found);
    }

    /// Each outcome is the first of an action that is said to be done in the same step, and tells the truth.
    fn concluded(&mut self, records: &[Record], done: &mut BTreeSet<String>, found: &mut Vec<Finding>) {
        let letters: Vec<DeadLetter> =
            records.iter().filter(|record| record.topic == topic::DEAD_LETTERS).filter_map(json).collect();
        let mut failed = 0;
        for record in records.iter().filter(|record| record.topic == topic::OUTCOMES) {
            let Some(outcome) = json::<Outcome>(record) else {
                found.push(finding("duplicate-outcome", format!("{} is no outcome", at(record))));
                continue;
            };
            let id = outcome.action_id.clone().unwrap_or_default();
            if !self.actions.contains_key(&id) {
                found.push(finding("duplicate-outcome", format!("{} is of no action", at(record))));
            }
            if self.outcomes.contains_key(&id) {
                found.push(finding("duplicate-outcome", format!("{} is not the first of {id}", at(record))));
            } else if !done.remove(&id) {
                found.push(finding(
                    "torn-step",
                    format!("{} ends {id}, and the state does not say so", at(record)),
                ));
            }
            let effect = self.effects.get(&id).map(|(_, made)| made);
            if outcome.ack && (effect.is_none() || effect != outcome.reference.as_ref()) {
                let reference = &outcome.reference;
                found.push(finding(
                    "missing-effect",
                    format!("{id} is done as {reference:?}, and there is {effect:?}"),
                ));
            }
            failed += usize::from(!outcome.ack && outcome.error.as_deref() != Some("expired"));
            self.outcomes.insert(id, outcome);
        }
        let letters = letters.iter().filter(|letter| letter.reason == "undeliverable").count();
        if letters != failed {
            found.push(finding("torn-step", format!("{failed} actions failed, with {letters} dead letters")));
        }
    }

    /// What is consumed is pending or ended, and what is pending is consumed.
    fn accepted(
        &mut self,
        partitions: &[u32],
        copy: &Copy,
        groups: &[GroupOffset],
        found: &mut Vec<Finding>,
    ) {
        for partition in partitions {
            let ours = |group: &&GroupOffset| group.group == "executor" && group.partition == *partition;
            let committed = groups.iter().find(ours).map_or(0, |group| group.committed);
            let from = self.consumed.insert(*partition, committed).unwrap_or(0);
            let news = copy.of(topic::ACTIONS, *partition).get(from as usize..committed as usize);
            for action in news.unwrap_or_default().iter().filter_map(json::<Action>) {
                let id = &action.event_id;
                if !self.state.contains_key(id) && !self.outcomes.contains_key(id) {
                    found.push(finding("missing-outcome", format!("{id} was consumed and is not pending")));
                }
            }
            for record in &copy.of(topic::ACTIONS, *partition)[committed as usize..] {
                let known =
                    json::<Action>(record).is_some_and(|action| self.state.contains_key(&action.event_id));
                if known {
                    found.push(finding("torn-step", format!("{} is known and not consumed", at(record))));
                }
            }
        }
    }

    pub(super) fn pending(&self) -> Option<String> {
        let (id, entry) = self.state.iter().find(|(_, entry)| entry["state"] == "pending")?;
        Some(format!("{id} is pending: {}", entry["last_error"]))
    }

    pub(super) fn settled(&self, found: &mut Vec<Finding>) {
        for id in self.actions.keys().filter(|id| !self.outcomes.contains_key(*id)) {
            found.push(finding("missing-outcome", format!("{id} has none")));
        }
    }
}

/// Whether a mark may go.
fn is_forgettable(entry: Option<&Value>, now: DateTime<Utc>) -> bool {
    let finished_at = entry.and_then(|entry| entry["finished_at"].as_str()?.parse::<DateTime<Utc>>().ok());
    finished_at.is_some_and(|at| now - at >= TimeDelta::days(7))
}

impl super::Witness {
    /// A target is called: for an action on the log, of which it is written down that it is to be done.
    pub fn called(&mut self, attempt: &Attempt) {
        let Attempt { action, asked_at } = attempt;
        let executing = &mut self.executing;
        let id = &action.event_id;
        let mut wrong = Vec::new();
        if executing.actions.get(id) != Some(&**action) {
            wrong.push(finding(
                "groundless-effect",
                format!("{id} is called for, and is not what stands on actions"),
            ));
        }
        if !executing.state.contains_key(id) && !executing.outcomes.contains_key(id) {
            wrong.push(finding("groundless-effect", format!("{id} is called for before it is written down")));
        }
        let again = executing.called.contains_key(id);
        if *executing.called.entry(id.clone()).or_insert(*asked_at) != *asked_at {
            wrong.push(finding("duplicate-effect", format!("{id} is called for again, for another instant")));
        }
        self.findings.append(&mut wrong);
        if again {
            self.meet("called again");
        }
    }

    /// A target makes something under a key, once; returns what it calls it.
    pub fn made(&mut self, key: &str, attempt: &Attempt) -> String {
        let effects = &mut self.executing.effects;
        let thing = thing(&attempt.action);
        if let Some((made, name)) = effects.get(key) {
            let name = name.clone();
            *self.met.entry("done before").or_default() += 1;
            if *made != thing {
                let text = format!("{key} is the key of {made} and of {thing}");
                self.find("duplicate-effect", text);
            }
            return name;
        }
        let twice = effects.values().any(|(made, _)| *made == thing);
        let name = format!("made-{}", effects.len());
        effects.insert(key.to_owned(), (thing.clone(), name.clone()));
        if twice {
            self.find("duplicate-effect", format!("{thing} was made twice, now under {key}"));
        }
        name
    }
}
