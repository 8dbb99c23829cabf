//! From `issues` to `actions`: one partition's fold, made a second time from what is committed, step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Record;
use events::{Action, IssueEvent, Outcome, PolicyChange, Recorded, topic};
use policy::{Decided, Key, Repeats, Ruleset, State, fire_timers, switch_policy, take_event, take_outcome};
use serde_json::Value;

use super::{Copy, Finding, at, finding, json};

pub(super) struct Deciding {
    pub(super) partition: u32,
    rulesets: Arc<BTreeMap<String, Arc<Ruleset>>>,
    /// What the inputs come to.
    folded: State,
    /// What a restore would give.
    kept: State,
    /// The same, as it is written.
    written: BTreeMap<Bytes, Option<Bytes>>,
}

impl Deciding {
    pub(super) fn new(partition: u32, rulesets: Arc<BTreeMap<String, Arc<Ruleset>>>) -> Self {
        Self {
            partition,
            rulesets,
            folded: State::default(),
            kept: State::default(),
            written: BTreeMap::new(),
        }
    }

    /// A step of the gateway was committed.
    pub(super) fn stepped(&mut self, records: &[Record], copy: &Copy, found: &mut Vec<Finding>) {
        let ours = |record: &&Record| record.partition == self.partition;
        let state: Vec<&Record> = records
            .iter()
            .filter(ours)
            .filter(|record| record.topic == topic::GATEWAY_STATE && !gateway::is_of_shadow(&record.key))
            .collect();
        let acted: Vec<Action> = records
            .iter()
            .filter(ours)
            .filter(|record| record.topic == topic::ACTIONS)
            .filter_map(json)
            .collect();
        for record in &state {
            if let Err(error) = self.kept.restore(&record.key, record.value.as_deref()) {
                found.push(finding("other-state", format!("{} cannot be restored: {error}", at(record))));
            }
        }
        let (changed, expected) = match self.fold(records, copy) {
            Ok(folded) => folded,
            Err(why) => {
                found.push(finding("other-state", format!("partition {}: {why}", self.partition)));
                return;
            }
        };
        self.compare_actions(&acted, &expected, found);
        let written: BTreeSet<&[u8]> = state.iter().map(|record| &record.key[..]).collect();
        let mut expected = BTreeSet::new();
        for key in changed {
            let (bytes, folded) = self.folded.entry(&key);
            let (_, kept) = self.kept.entry(&key);
            if folded != kept && self.is_to_forget(&bytes, kept.as_ref().or(folded.as_ref())) {
                if let Err(error) = self.folded.restore(&bytes, kept.as_deref()) {
                    found.push(finding("other-state", format!("what is kept cannot be restored: {error}")));
                }
            } else if folded != kept {
                let not_written = if written.contains(&bytes[..]) { "" } else { ", and was not written" };
                found.push(self.differs(&bytes, kept, folded, not_written));
            }
            expected.insert(bytes);
        }
        for Record { key, value, .. } in state {
            let before = self.written.insert(key.clone(), value.clone());
            // What did not change may be written again, as it is.
            if !expected.contains(&key[..]) && before.unwrap_or_default() != *value {
                found.push(self.differs(
                    key,
                    value.as_deref().map(<[u8]>::to_vec),
                    None,
                    ", where nothing changed",
                ));
            }
        }
    }

    /// Whether an entry only remembers an outcome that is older than a week. The first event after it forgets it, and of what a step took in,
    /// the order of its inputs is not told: either is right, and nothing is decided by it.
    fn is_to_forget(&self, key: &[u8], value: Option<&Vec<u8>>) -> bool {
        let of_outcome =
            serde_json::from_slice::<[String; 3]>(key).is_ok_and(|[_, kind, _]| kind == "outcome");
        let value = value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
        let at = value.and_then(|value| value["at"].as_str()?.parse::<DateTime<Utc>>().ok());
        let clock = self.folded.clock().filter(|_| of_outcome);
        clock.zip(at).is_some_and(|(clock, at)| clock - at >= TimeDelta::days(7))
    }

    /// Goes on to where the step went: what the inputs and the timers in between come to.
    fn fold(&mut self, records: &[Record], copy: &Copy) -> Result<(BTreeSet<Key>, Vec<Action>), String> {
        let (mut changed, mut expected) = (BTreeSet::new(), Vec::new());
        let Self { partition, rulesets, folded, kept, .. } = self;
        let hash = kept.policy_hash().ok_or("a step was made before any policy was in force")?;
        let ruleset = rulesets.get(hash).ok_or("a policy is in force that nobody gave")?;
        if folded.policy_hash() != Some(hash) {
            let switched = switch_policy(folded, folded.clock().unwrap_or(DateTime::UNIX_EPOCH), ruleset);
            changed.extend(switched.keys());
            folded.apply(switched);
            let said = records.iter().filter(|record| record.topic == topic::POLICIES).filter_map(json);
            let mut said =
                said.filter(|change: &PolicyChange| change.partition == *partition && !change.on_trial);
            let consumed = |change: &PolicyChange, input: &str| change.offsets.get(input).copied();
            let right = said.any(|change| {
                change.policy_hash == hash
                    && change.clock == folded.clock()
                    && consumed(&change, topic::ISSUES) == Some(folded.consumed(topic::ISSUES))
                    && consumed(&change, topic::OUTCOMES) == Some(folded.consumed(topic::OUTCOMES))
            });
            if !right {
                return Err("another policy is in force, and policies does not say so as it is".to_owned());
            }
        }
        let mut sink = |decided: Decided<'_>| {
            changed.extend(decided.decision.keys());
            expected.extend(decided.decision.actions.iter().cloned());
            Ok::<_, Infallible>(())
        };
        let mut consumed = Vec::new();
        for input in [topic::ISSUES, topic::OUTCOMES] {
            let (from, to) = (folded.consumed(input) as usize, kept.consumed(input) as usize);
            let all = copy.of(input, *partition);
            let news =
                all.get(from..to).ok_or(format!("{input} went from {from} to {to} of {}", all.len()))?;
            for record in news {
                let value = record.value.as_deref().unwrap_or_default();
                consumed.push(folded.set_consumed(input, record.offset + 1));
                let unread = |error| format!("{} cannot be read: {error}", at(record));
                if input == topic::ISSUES {
                    let event = IssueEvent::from_record(&record.key, value).map_err(unread)?;
                    let payload = record.header("payload_hash");
                    let Ok(()) = take_event(
                        folded,
                        &event,
                        payload,
                        record.timestamp,
                        Repeats::Last,
                        ruleset,
                        &mut sink,
                    );
                } else {
                    let outcome = Outcome::from_record(&record.key, value).map_err(unread)?;
                    let Ok(()) = take_outcome(folded, &outcome, record.timestamp, ruleset, &mut sink);
                }
            }
        }
        if let Some(until) = kept.clock().filter(|clock| folded.clock().is_none_or(|folded| folded < *clock))
        {
            let Ok(()) = fire_timers(folded, until, usize::MAX, Repeats::Last, ruleset, &mut sink);
        }
        changed.extend(consumed);
        Ok((changed, expected))
    }

    /// The actions are those of the fold, and in its order.
    fn compare_actions(&self, acted: &[Action], expected: &[Action], found: &mut Vec<Finding>) {
        if acted == expected {
            return;
        }
        let names = |actions: &[Action]| {
            let name = |action: &Action| {
                format!("{} {}", action.event_id, action.rule.as_deref().unwrap_or_default())
            };
            actions.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let (partition, acted, expected) = (self.partition, names(acted), names(expected));
        let text = format!("partition {partition} acted [{acted}], and the fold [{expected}]");
        found.push(finding("other-actions", text));
    }

    fn differs(&self, key: &[u8], kept: Option<Vec<u8>>, folded: Option<Vec<u8>>, how: &str) -> Finding {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (kept, folded) = (kept.as_deref().map(text), folded.as_deref().map(text));
        let partition = self.partition;
        finding(
            "other-state",
            format!("partition {partition} {}: kept {kept:?}, folded {folded:?}{how}", text(key)),
        )
    }

    pub(super) fn consumed(&self, input: &str) -> u64 {
        self.kept.consumed(input)
    }

    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.folded.next_due()
    }

    pub(super) fn overdue(&self, until: DateTime<Utc>) -> Option<String> {
        let timer = self.folded.next_timer().filter(|timer| timer.due_at <= until)?;
        Some(format!("partition {}: {timer:?} has not fired", self.partition))
    }

    /// All of the state, not only what changed last.
    pub(super) fn settled(&self, found: &mut Vec<Finding>) {
        let keys: BTreeSet<Key> = self.folded.keys().chain(self.kept.keys()).collect();
        for key in keys {
            let ((bytes, folded), (_, kept)) = (self.folded.entry(&key), self.kept.entry(&key));
            if folded != kept {
                found.push(self.differs(&bytes, kept, folded, ""));
            }
        }
    }

    pub(super) fn projects(&self) -> Vec<String> {
        self.folded.projects().map(|(name, _)| name.to_owned()).collect()
    }

    /// A gateway shows a project: what it has in memory.
    pub(super) fn shown(&self, shown: &gateway::ProjectRisk, found: &mut Vec<Finding>) {
        let folded = self.folded.project(&shown.project_id);
        if folded != Some(&shown.project) {
            let text = format!("{} is shown as {:?}, and is {folded:?}", shown.project_id, shown.project);
            found.push(finding("unseen", text));
        }
    }
}
