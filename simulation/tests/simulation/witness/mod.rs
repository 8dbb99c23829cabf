//! Watches everything that is committed, answered and done, and says at once what should not be.
//!
//! It is told by the log itself what each transaction wrote, and keeps a copy; in the end the copy is held against what the log
//! gives to read. From the copy it folds the state of each partition a second time (`deciding`), keeps what the executor's
//! changelog says (`executing`, `pausing`), and compares both with what was written, after every transaction.

mod arriving;
mod deciding;
mod executing;
mod paging;
mod pausing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventlog::{Clock, GroupOffset, Headers, NewRecord, Position, Record, embedded::by_hand::Written};
use events::{Action, Control, DeadLetter, Letter as Kept, Origin, Outcome, topic};
use policy::Ruleset;
use serde_json::Value;

use self::{arriving::Arriving, deciding::Deciding, executing::Executing, paging::Paging, pausing::Pausing};
use crate::{PARTITIONS, letters::Letter};

/// What should not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Who found it.
    pub checker: &'static str,
    pub text: String,
}

/// Topic and partition.
type Place = (String, u32);

/// All that was ever committed.
#[derive(Default)]
pub struct Copy {
    records: BTreeMap<Place, Vec<Record>>,
    /// What stands under each key of a changelog.
    newest: BTreeMap<Place, BTreeMap<Bytes, Record>>,
    /// Unix milliseconds of the last record.
    last: BTreeMap<Place, DateTime<Utc>>,
}

impl Copy {
    /// The records of a topic that is kept whole.
    pub fn of(&self, topic: &str, partition: u32) -> &[Record] {
        self.records.get(&(topic.to_owned(), partition)).map_or(&[], Vec::as_slice)
    }

    fn take(&mut self, new: &NewRecord, position: Position, now: DateTime<Utc>) -> Record {
        let place = (new.topic.clone(), position.partition);
        let last = self.last.entry(place.clone()).or_insert(now);
        *last = (*last).max(now);
        let headers: Headers = new.headers.clone().into_iter().collect();
        let record = Record {
            topic: new.topic.clone(),
            partition: position.partition,
            offset: position.offset,
            timestamp: *last,
            key: new.key.clone(),
            value: new.value.clone(),
            headers,
        };
        if topic::COMPACTED.contains(&new.topic.as_str()) {
            let newest = self.newest.entry(place).or_default();
            newest.remove(&new.key);
            if new.value.is_some() {
                newest.insert(new.key.clone(), record.clone());
            }
        } else {
            self.records.entry(place).or_default().push(record.clone());
        }
        record
    }

    /// What reading a topic should give, partition by partition and in order.
    pub fn readable(&self, topic: &str) -> Vec<Record> {
        let of = |(place, _): &(&Place, _)| place.0 == topic;
        let whole = self.records.iter().map(|(place, records)| (place, records.clone())).filter(of);
        let mut all: Vec<Record> = whole.flat_map(|(_, records)| records).collect();
        for (_, newest) in self.newest.iter().filter(|(place, _)| place.0 == topic) {
            all.extend(newest.values().cloned());
        }
        all.sort_by_key(|record| (record.partition, record.offset));
        all
    }
}

pub struct Witness {
    pub findings: Vec<Finding>,
    pub copy: Copy,
    /// How many records, but for what is there for a policy on trial, or deletes.
    pub written: usize,
    /// How often something happened that is worth watching.
    pub met: BTreeMap<&'static str, u64>,
    clock: Arc<dyn Clock>,
    arriving: Arriving,
    deciding: Vec<Deciding>,
    executing: Executing,
    pausing: Pausing,
    paging: Paging,
}

impl Witness {
    pub fn new(letters: &[Letter], rulesets: &[Arc<Ruleset>], clock: Arc<dyn Clock>) -> Self {
        let rulesets: BTreeMap<String, Arc<Ruleset>> =
            rulesets.iter().map(|ruleset| (ruleset.hash().to_owned(), ruleset.clone())).collect();
        let rulesets = Arc::new(rulesets);
        Self {
            findings: Vec::new(),
            copy: Copy::default(),
            written: 0,
            met: BTreeMap::new(),
            clock,
            arriving: Arriving::new(letters),
            deciding: (0..PARTITIONS).map(|partition| Deciding::new(partition, rulesets.clone())).collect(),
            executing: Executing::default(),
            pausing: Pausing::default(),
            paging: Paging::default(),
        }
    }

    pub fn find(&mut self, checker: &'static str, text: String) {
        self.findings.push(Finding { checker, text });
    }

    /// Something worth watching happened.
    pub fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    fn meet_records(&mut self, records: &[Record]) {
        for record in records {
            match record.topic.as_str() {
                topic::ACTIONS if json::<Action>(record).is_some_and(|action| is_of_timer(&action)) => {
                    self.meet("action of a timer");
                }
                topic::CONTROL if json::<Control>(record).is_some_and(|control| control.paused) => {
                    self.meet("pause");
                }
                topic::OUTCOMES => match json::<Outcome>(record) {
                    Some(Outcome { error: Some(error), .. }) if error == Outcome::WITHDRAWN => {
                        self.meet("withdrawn when redriven");
                    }
                    Some(Outcome { error: Some(error), .. })
                        if error.ends_with("later page took its place") =>
                    {
                        self.meet("made way for a later page");
                    }
                    Some(Outcome { supersedes: Some(_), ack: true, .. }) => self.meet("done when redriven"),
                    Some(Outcome { supersedes: Some(_), .. }) => self.meet("not done when redriven"),
                    Some(Outcome { error: Some(error), .. }) if error == "expired" => self.meet("expired"),
                    Some(Outcome { ack: false, .. }) => self.meet("failed"),
                    Some(Outcome { attempts: Some(2..), .. }) => self.meet("done after several attempts"),
                    _ => {}
                },
                topic::EXECUTOR_STATE if executing::deferred(&record.key).is_some() => {
                    match json::<Value>(record) {
                        Some(entry) if entry["round"].is_u64() => self.meet("deferred when redriven"),
                        Some(_) => self.meet("deferred"),
                        None => {}
                    }
                }
                topic::ACTIONS_SHADOW => self.meet("action of a shadow"),
                topic::POLICIES if record.offset >= PARTITIONS.into() => self.meet("another policy"),
                _ => {}
            }
        }
    }

    /// A transaction was committed.
    pub fn committed(&mut self, written: &[Written], groups: &[GroupOffset]) {
        let now = self.clock.now();
        let (mut findings, found) = (Vec::new(), &mut Vec::new());
        for written in written {
            let records: Vec<Record> =
                written.records.iter().map(|(new, position)| self.copy.take(new, *position, now)).collect();
            let counts = |record: &&Record| {
                let of_trial = gateway::is_of_shadow(&record.key) || record.topic == topic::ACTIONS_SHADOW;
                let deletes = record.value.is_none() && topic::COMPACTED.contains(&record.topic.as_str());
                !of_trial && !deletes
            };
            self.written += records.iter().filter(counts).count();
            self.meet_records(&records);
            self.arriving.arrived(&records, found);
            match written.group.as_deref() {
                Some(gateway::GROUP) => {
                    for partition in &written.partitions {
                        let deciding = &mut self.deciding[*partition as usize];
                        deciding.stepped(&records, &self.copy, found);
                        check_offsets(deciding, groups, found);
                    }
                    let foreign =
                        records.iter().filter(|record| !written.partitions.contains(&record.partition));
                    // Policies and dead letters have keys of their own.
                    for record in foreign.filter(|record| {
                        [topic::ACTIONS, topic::GATEWAY_STATE].contains(&record.topic.as_str())
                    }) {
                        found.push(finding("torn-step", format!("{} for another partition", at(record))));
                    }
                    self.executing.decided(&records, found);
                    self.arriving.decided(&records, found);
                }
                Some(executor::GROUP) => {
                    self.executing.stepped(&written.partitions, &records, &self.copy, groups, now, found);
                    self.pausing.stepped(&written.partitions, &records, &self.copy, groups, found);
                }
                Some(other) => found.push(finding("torn-step", format!("a step of {other}"))),
                None => {
                    for record in &records {
                        match record.topic.as_str() {
                            topic::ISSUES | topic::DEAD_LETTERS | topic::CONTROL => {}
                            topic::ACTIONS => self.executing.redriven(record, found),
                            _ => {
                                let text = format!("{} was written outside of a step", at(record));
                                found.push(finding("torn-step", text));
                            }
                        }
                    }
                }
            }
        }
        findings.append(found);
        self.findings.append(&mut findings);
    }

    /// Why the world is not yet at rest.
    pub fn restless(&self, groups: &[GroupOffset]) -> Option<String> {
        let now = self.clock.now();
        let lagging = groups.iter().find(|group| group.lag() > 0);
        if let Some(group) = lagging {
            return Some(format!("{} has not consumed {} {}", group.group, group.topic, group.partition));
        }
        for ((topic, partition), records) in &self.copy.records {
            let inputs = [topic::ISSUES, topic::OUTCOMES, topic::ACTIONS, topic::CONTROL];
            let begun = groups.iter().any(|group| group.topic == *topic && group.partition == *partition);
            if inputs.contains(&topic.as_str()) && !records.is_empty() && !begun {
                return Some(format!("nobody has consumed {topic} {partition}"));
            }
        }
        let overdue = self.deciding.iter().find_map(|deciding| deciding.overdue(now - gateway::END_MARGIN));
        overdue.or_else(|| self.executing.pending())
    }

    /// Letters of actions that failed and were not noted as redriven, with the records that they are of.
    pub fn open_letters(&self) -> Vec<(DeadLetter, Record)> {
        let all = (0..PARTITIONS).flat_map(|partition| self.copy.of(topic::DEAD_LETTERS, partition));
        let (mut open, mut redriven) = (BTreeMap::new(), BTreeSet::new());
        for kept in all.filter_map(json::<Kept>) {
            match kept {
                Kept::Dead(letter) => _ = open.insert(letter.event_id.clone(), *letter),
                Kept::Redriven(note) => _ = redriven.insert(note.letter_id),
            }
        }
        let open = open.into_values().filter(|letter| !redriven.contains(&letter.event_id));
        let original = |letter: &DeadLetter| match &letter.origin {
            Origin::Record { topic, partition, offset } => {
                self.copy.of(topic, *partition).get(*offset as usize).cloned()
            }
            _ => None,
        };
        open.filter_map(|letter| original(&letter).map(|record| (letter, record))).collect()
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.deciding.iter().filter_map(Deciding::next_due).min()
    }

    /// Everything is at rest: what should be there now is.
    pub fn settled(&mut self) {
        let mut found = Vec::new();
        self.deciding.iter().for_each(|deciding| deciding.settled(&mut found));
        self.arriving.settled(&self.copy, &mut found);
        self.executing.settled(&mut found);
        self.paging.settled(&self.executing, &mut found);
        self.findings.append(&mut found);
    }

    /// What the gateways show is what the outcomes add up to.
    pub fn shown(&mut self, shown: &[gateway::ProjectRisk]) {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for risk in shown {
            if !seen.insert(&risk.project_id) {
                found.push(finding("unseen", format!("{} is shown by two", risk.project_id)));
            }
            self.deciding[risk.partition as usize].shown(risk, &mut found);
        }
        for project in self.deciding.iter().flat_map(Deciding::projects) {
            if !seen.contains(&project) {
                found.push(finding("unseen", format!("nobody shows {project}")));
            }
        }
        self.findings.append(&mut found);
    }
}

/// A step decides and consumes at once.
fn check_offsets(deciding: &Deciding, groups: &[GroupOffset], found: &mut Vec<Finding>) {
    for input in [topic::ISSUES, topic::OUTCOMES] {
        let ours = |group: &&GroupOffset| {
            group.group == gateway::GROUP && group.topic == input && group.partition == deciding.partition
        };
        let committed = groups.iter().find(ours).map_or(0, |group| group.committed);
        let decided = deciding.consumed(input);
        if committed != decided {
            let place = format!("{input} {}", deciding.partition);
            found.push(finding(
                "torn-step",
                format!("{place} is consumed up to {committed} and decided up to {decided}"),
            ));
        }
    }
}

fn is_of_timer(action: &Action) -> bool {
    action.cause.as_deref().is_some_and(|cause| cause.starts_with("t-"))
}

fn finding(checker: &'static str, text: String) -> Finding {
    Finding { checker, text }
}

/// Where a record stands.
fn at(record: &Record) -> String {
    format!("{} {}/{}", record.topic, record.partition, record.offset)
}

fn json<T: serde::de::DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}
