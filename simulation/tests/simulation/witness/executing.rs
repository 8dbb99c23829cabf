//! From `actions` to the world and to `outcomes`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{GroupOffset, Record};
use events::{Action, ActionKind, DeadLetter, Earlier, Outcome, Redrive, Risk, id, topic};
use executor::Attempt;
use serde_json::Value;

use super::{Copy, Finding, at, finding, json};

#[derive(Default)]
pub(super) struct Executing {
    /// Every action on the log, by id, with its partition.
    pub(super) actions: BTreeMap<String, (u32, Action)>,
    /// By action and redrive round: the first offset at which it stands.
    rounds: BTreeMap<(String, u32), u64>,
    /// What `executor-state` says of actions: id to value.
    pub(super) state: BTreeMap<String, Value>,
    /// What it says of actions that are to be taken up later: id to value.
    deferred: BTreeMap<String, Value>,
    /// Actions whose marks were rightly deleted: what was redriven before may be taken for new.
    forgotten: BTreeSet<String>,
    /// By action and round.
    outcomes: BTreeMap<(String, u32), Outcome>,
    /// By partition: up to where actions are consumed.
    consumed: BTreeMap<u32, u64>,
    /// What was made: by key, what it is, and how it was told.
    effects: BTreeMap<String, (String, String)>,
    /// By action and round: the instant for which it is written down.
    asked: BTreeMap<(String, u32), DateTime<Utc>>,
    /// What was called for.
    called: BTreeSet<String>,
}

/// What is made for an action: no other action makes the same.
fn thing(action: &Action) -> String {
    let of = Earlier::of(action).map(|of| of.action_id);
    let Action { cause, issue_ref, rule, action, target, .. } = action;
    format!("{cause:?} {issue_ref:?} {rule:?} {action} {target} {of:?}")
}

impl Executing {
    /// Actions were committed.
    pub(super) fn decided(&mut self, records: &[Record], found: &mut Vec<Finding>) {
        for record in records.iter().filter(|record| record.topic == topic::ACTIONS) {
            let Some(action) = json::<Action>(record) else {
                found.push(finding("other-actions", format!("{} is no action", at(record))));
                continue;
            };
            self.rounds.entry((action.event_id.clone(), 0)).or_insert(record.offset);
            if self.actions.insert(action.event_id.clone(), (record.partition, action)).is_some() {
                found.push(finding("duplicate-action", format!("{} stands there before", at(record))));
            }
        }
    }

    /// An operator put an action on the log again: as it was, and with a round.
    pub(super) fn redriven(&mut self, record: &Record, found: &mut Vec<Finding>) {
        let (action, redrive) = (json::<Action>(record), Redrive::from_headers(|name| record.header(name)));
        let known =
            |action: &Action| self.actions.get(&action.event_id) == Some(&(record.partition, action.clone()));
        match (action.filter(known), redrive) {
            (Some(action), Some(redrive)) => {
                self.rounds.entry((action.event_id, redrive.round)).or_insert(record.offset);
            }
            _ => {
                let text = format!("{} stands there again, and says of no letter", at(record));
                found.push(finding("duplicate-action", text));
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
        let of_actions = |record: &&Record| {
            record.topic == topic::EXECUTOR_STATE && super::pausing::project(&record.key).is_none()
        };
        let mut taken_up = Vec::new();
        for record in records.iter().filter(of_actions) {
            if let Some(id) = deferred(&record.key) {
                if !self.actions.contains_key(&id) {
                    found.push(finding("torn-step", format!("{} is of no action", at(record))));
                }
                match json::<Value>(record) {
                    Some(entry) => _ = self.deferred.insert(id, entry),
                    None => taken_up.extend(self.deferred.remove(&id).map(|entry| (id, entry))),
                }
                continue;
            }
            let id = String::from_utf8_lossy(&record.key).into_owned();
            let before = match json::<Value>(record) {
                Some(entry) => {
                    if entry["state"] == "done" {
                        done.insert((id.clone(), round(&entry)));
                    } else {
                        self.ask(&id, &entry, found);
                    }
                    self.state.insert(id.clone(), entry)
                }
                None => self.state.remove(&id),
            };
            if record.value.is_none() {
                if !is_forgettable(before.as_ref(), now) {
                    found
                        .push(finding("missing-outcome", format!("{id} is forgotten too early: {before:?}")));
                }
                self.forgotten.insert(id.clone());
            }
            if !self.actions.contains_key(&id) {
                found.push(finding("torn-step", format!("{} is of no action", at(record))));
            }
        }
        self.concluded(records, &mut done, found);
        for (id, round) in done {
            found.push(finding("missing-outcome", format!("{id} was ended without one in round {round}")));
        }
        for (id, entry) in taken_up {
            let of = entry["round"].as_u64().unwrap_or(0) as u32;
            let pending =
                self.state.get(&id).is_some_and(|entry| entry["state"] == "pending" && round(entry) == of);
            if !pending && !self.outcomes.contains_key(&(id.clone(), of)) {
                let text = format!("{id} was deferred in round {of}, and is neither pending nor ended");
                found.push(finding("missing-outcome", text));
            }
        }
        self.accepted(partitions, copy, groups, found);
    }

    /// An action is pending: in one round for one instant.
    fn ask(&mut self, id: &str, entry: &Value, found: &mut Vec<Finding>) {
        let Some(at) = entry["asked_at"].as_str().and_then(|at| at.parse().ok()) else { return };
        let before = self.asked.insert((id.to_owned(), round(entry)), at);
        if before.is_some_and(|before| before != at) && !self.forgotten.contains(id) {
            found.push(finding("duplicate-effect", format!("{id} is to be done again, for another instant")));
        }
    }

    /// Each outcome is the first of an action and round that are said to be done in the same step, and tells the truth.
    fn concluded(
        &mut self,
        records: &[Record],
        done: &mut BTreeSet<(String, u32)>,
        found: &mut Vec<Finding>,
    ) {
        let letters: Vec<DeadLetter> =
            records.iter().filter(|record| record.topic == topic::DEAD_LETTERS).filter_map(json).collect();
        let mut failed = 0;
        for record in records.iter().filter(|record| record.topic == topic::OUTCOMES) {
            let Some(outcome) = json::<Outcome>(record) else {
                found.push(finding("duplicate-outcome", format!("{} is no outcome", at(record))));
                continue;
            };
            let id = outcome.action_id.clone().unwrap_or_default();
            let mut rounds = self.rounds.range((id.clone(), 0)..=(id.clone(), u32::MAX));
            let round = rounds.find(|((_, round), _)| id::outcome(&id, *round) == outcome.event_id);
            let Some((key, _)) = round.map(|(key, offset)| (key.clone(), *offset)) else {
                found.push(finding("duplicate-outcome", format!("{} is of no action and round", at(record))));
                continue;
            };
            if self.outcomes.contains_key(&key) && !self.forgotten.contains(&id) {
                found.push(finding(
                    "duplicate-outcome",
                    format!("{} is not the first of {key:?}", at(record)),
                ));
            } else if !done.remove(&key) {
                found.push(finding(
                    "torn-step",
                    format!("{} ends {id}, and the state does not say so", at(record)),
                ));
            }
            let effect = self.effects.get(&id).map(|(_, made)| made);
            // Of an action that left nothing there is nothing to take back or to acknowledge; where a later one took its place, or it was
            // taken back, the outcome says so.
            let follows_up = outcome.action.as_ref().is_some_and(ActionKind::follows_up);
            let called = !follows_up || outcome.attempts != Some(0) && outcome.error.is_none();
            if outcome.ack && called && (effect.is_none() || effect != outcome.reference.as_ref()) {
                let reference = &outcome.reference;
                found.push(finding(
                    "missing-effect",
                    format!("{id} is done as {reference:?}, and there is {effect:?}"),
                ));
            }
            let withdrawn = outcome.error.as_deref() == Some(Outcome::WITHDRAWN);
            if withdrawn && (key.1 == 0 || outcome.ack || !self.is_taken_back(&id)) {
                found.push(finding("missing-effect", format!("{key:?} is withdrawn, and is to be done")));
            }
            failed += usize::from(!outcome.ack && !withdrawn && outcome.error.as_deref() != Some("expired"));
            self.outcomes.insert(key, outcome);
            self.add_up(&id, found);
        }
        let letters = letters.iter().filter(|letter| letter.reason == "undeliverable").count();
        if letters != failed {
            found.push(finding("torn-step", format!("{failed} actions failed, with {letters} dead letters")));
        }
    }

    /// Over its rounds an action has done to the risk what its last outcome says, and each outcome replaces the one before.
    fn add_up(&self, id: &str, found: &mut Vec<Finding>) {
        let outcomes = self.outcomes.range((id.to_owned(), 0)..=(id.to_owned(), u32::MAX));
        let outcomes: Vec<&Outcome> = outcomes.map(|(_, outcome)| outcome).collect();
        let Some(last) = outcomes.last().filter(|_| !self.forgotten.contains(id)) else { return };
        let (_, action) = &self.actions[id];
        let expected = match (last.ack, last.error.as_deref()) {
            (true, _) => Risk::of_done(&action.action),
            (false, Some("expired" | Outcome::WITHDRAWN)) => Risk(0),
            (false, _) => Risk::FAILED,
        };
        let sum = outcomes.iter().map(|outcome| outcome.risk_delta.0).sum();
        let replaces = outcomes.iter().rev().nth(1).map(|before| &before.event_id);
        if Risk(sum) != expected || replaces != last.supersedes.as_ref() {
            let text = format!("{id} came to {sum} after {} rounds: {last:?}", outcomes.len());
            found.push(finding("other-risk", text));
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
            let ours = |group: &&GroupOffset| {
                group.group == executor::GROUP
                    && group.topic == topic::ACTIONS
                    && group.partition == *partition
            };
            let committed = groups.iter().find(ours).map_or(0, |group| group.committed);
            let from = self.consumed.insert(*partition, committed).unwrap_or(0);
            let news = copy.of(topic::ACTIONS, *partition).get(from as usize..committed as usize);
            for (id, round, _) in news.unwrap_or_default().iter().filter_map(called_for) {
                let pending = self.state.get(&id).is_some_and(|entry| entry["state"] == "pending")
                    || self.deferred.contains_key(&id);
                let key = (id, round);
                if !pending && !self.outcomes.contains_key(&key) {
                    found
                        .push(finding("missing-outcome", format!("{key:?} was consumed and is not pending")));
                }
            }
            let rest = &copy.of(topic::ACTIONS, *partition)[committed as usize..];
            for (id, of, offset) in rest.iter().filter_map(called_for) {
                let known = self.state.get(&id).is_some_and(|entry| round(entry) >= of)
                    || self.deferred.get(&id).is_some_and(|entry| entry["offset"] == offset);
                // Of a round that stands there twice, the second tells nothing.
                let key = (id, of);
                if known && self.rounds.get(&key) == Some(&offset) && !self.forgotten.contains(&key.0) {
                    found.push(finding("torn-step", format!("{key:?} is known and not consumed")));
                }
            }
        }
    }

    pub(super) fn pending(&self) -> Option<String> {
        if let Some((id, _)) = self.deferred.iter().next() {
            return Some(format!("{id} is deferred"));
        }
        let (id, entry) = self.state.iter().find(|(_, entry)| entry["state"] == "pending")?;
        Some(format!("{id} is pending: {}", entry["last_error"]))
    }

    pub(super) fn settled(&self, found: &mut Vec<Finding>) {
        for key in self.rounds.keys().filter(|key| !self.outcomes.contains_key(*key)) {
            found.push(finding("missing-outcome", format!("{key:?} has none")));
        }
    }
}

/// The action that a key of `executor-state` says is deferred.
pub(super) fn deferred(key: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(key).strip_prefix(&executor::deferred_key(""))?.to_owned())
}

/// The redrive round of an entry in `executor-state`.
fn round(entry: &Value) -> u32 {
    let round = if entry["state"] == "done" { &entry["round"] } else { &entry["redrive"]["round"] };
    round.as_u64().unwrap_or(0) as u32
}

/// Which action, which round of it, and where.
fn called_for(record: &Record) -> Option<(String, u32, u64)> {
    let round = Redrive::from_headers(|name| record.header(name)).map_or(0, |redrive| redrive.round);
    Some((json::<Action>(record)?.event_id, round, record.offset))
}

/// Whether a mark may go.
fn is_forgettable(entry: Option<&Value>, now: DateTime<Utc>) -> bool {
    let finished_at = entry.and_then(|entry| entry["finished_at"].as_str()?.parse::<DateTime<Utc>>().ok());
    finished_at.is_some_and(|at| now - at >= TimeDelta::days(7))
}

impl Executing {
    /// Where an action first stands on its partition of `actions`.
    pub(super) fn place(&self, id: &str) -> u64 {
        self.rounds.get(&(id.to_owned(), 0)).copied().unwrap_or_default()
    }

    /// In how many rounds an action stands there.
    pub(super) fn rounds_of(&self, id: &str) -> usize {
        self.rounds.range((id.to_owned(), 0)..=(id.to_owned(), u32::MAX)).count()
    }

    /// The outcome of an action's last round.
    pub(super) fn last(&self, id: &str) -> Option<&Outcome> {
        let (round, _) = self.rounds.range((id.to_owned(), 0)..=(id.to_owned(), u32::MAX)).next_back()?;
        self.outcomes.get(round)
    }

    /// Whether an action's mark was deleted by its age.
    pub(super) fn is_forgotten(&self, id: &str) -> bool {
        self.forgotten.contains(id)
    }

    /// Whether what is attempted is still to be done.
    pub(super) fn is_asked_for(&self, attempt: &Attempt) -> bool {
        self.state.get(&attempt.action.event_id).is_some_and(|entry| {
            let asked_at = entry["asked_at"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
            entry["state"] == "pending" && asked_at == Some(attempt.asked_at)
        })
    }

    /// Whether something takes an action back.
    fn is_taken_back(&self, id: &str) -> bool {
        let mut all = self.actions.values().filter_map(|(_, action)| Earlier::taken_back_by(action));
        all.any(|of| of.action_id == id)
    }
}

impl super::Witness {
    /// A target is called: for an action on the log, of which it is written down that it is to be done.
    pub fn called(&mut self, attempt: &Attempt) {
        let Attempt { action, asked_at } = attempt;
        let executing = &mut self.executing;
        let id = &action.event_id;
        let mut wrong = Vec::new();
        if executing.actions.get(id).map(|(_, known)| known) != Some(&**action) {
            wrong.push(finding(
                "groundless-effect",
                format!("{id} is called for, and is not what stands on actions"),
            ));
        }
        if !executing.state.contains_key(id) && !executing.outcomes.contains_key(&(id.clone(), 0)) {
            wrong.push(finding("groundless-effect", format!("{id} is called for before it is written down")));
        }
        if let Some(of) = Earlier::of(action)
            && let Some(entry) = executing.deferred.get(&of.action_id)
            && executing
                .rounds
                .get(&(id.clone(), 0))
                .is_some_and(|offset| entry["offset"].as_u64() < Some(*offset))
        {
            wrong.push(finding(
                "groundless-effect",
                format!("{id} is called for, and what it follows up is yet to be taken up"),
            ));
        }
        let again = !executing.called.insert(id.clone());
        let mut asked = executing.asked.range((id.clone(), 0)..=(id.clone(), u32::MAX));
        if wrong.is_empty() && !executing.forgotten.contains(id) && !asked.any(|(_, at)| at == asked_at) {
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
