//! From `control` to what the executors leave undone.

use std::collections::{BTreeMap, BTreeSet};

use eventlog::{GroupOffset, Record};
use events::{Action, Control, Recorded, topic};
use serde_json::Value;

use super::{Copy, Finding, finding, json};
use crate::schedule::Role;

#[derive(Default)]
pub(super) struct Pausing {
    /// By partition and project (empty: all): whether `executor-state` says that it is paused.
    state: BTreeMap<(u32, String), bool>,
    /// By executor and partition: up to where it has heard `control` for certain.
    heard: BTreeMap<(Role, u32), u64>,
    /// By executor and action: how often the action had been parked when it was last called for.
    under_way: BTreeMap<(Role, String), u64>,
}

/// The project of which a key of `executor-state` tells; none where it tells of an action.
pub(super) fn project(key: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(key).strip_prefix("control ")?.to_owned())
}

/// What is paused in a partition after the first `until` records of `control`; all projects under the empty name.
fn paused(copy: &Copy, partition: u32, until: u64) -> BTreeSet<String> {
    let mut paused = BTreeSet::new();
    let said = copy.of(topic::CONTROL, partition);
    for control in said[..said.len().min(until as usize)].iter().filter_map(json::<Control>) {
        let project = control.project_id().to_owned();
        if control.paused {
            paused.insert(project)
        } else {
            paused.remove(&project)
        };
    }
    paused
}

impl Pausing {
    /// A step of the executor was committed: it keeps what was said up to where `control` is consumed.
    pub(super) fn stepped(
        &mut self,
        partitions: &[u32],
        records: &[Record],
        copy: &Copy,
        groups: &[GroupOffset],
        found: &mut Vec<Finding>,
    ) {
        for record in records.iter().filter(|record| record.topic == topic::EXECUTOR_STATE) {
            let Some(project) = project(&record.key) else { continue };
            // What is deleted while it is paused is missed below.
            match json::<Value>(record) {
                Some(entry) => {
                    self.state.insert((record.partition, project), entry["state"] == "paused");
                }
                None => _ = self.state.remove(&(record.partition, project)),
            }
        }
        for partition in partitions {
            let ours = |group: &&GroupOffset| {
                let GroupOffset { group, topic, partition: of, .. } = group;
                group == executor::GROUP && topic == topic::CONTROL && of == partition
            };
            let consumed = groups.iter().find(ours).map_or(0, |group| group.committed);
            let said = paused(copy, *partition, consumed);
            let kept = self.state.iter().filter(|((of, _), paused)| of == partition && **paused);
            let kept: BTreeSet<String> = kept.map(|((_, project), _)| project.clone()).collect();
            if kept != said {
                let text = format!("partition {partition}: {kept:?} is kept as paused, and {said:?} is");
                found.push(finding("other-pause", text));
            }
        }
    }
}

impl super::Witness {
    /// An executor holds a partition from now on: it is to hear all that was said before anything else.
    pub fn assigned(&mut self, role: Role, partition: u32) {
        let said = self.copy.of(topic::CONTROL, partition).len() as u64;
        self.pausing.heard.insert((role, partition), said);
        let actions = &self.executing.actions;
        let elsewhere = |id: &str| actions.get(id).is_none_or(|(of, _)| *of != partition);
        self.pausing.under_way.retain(|(of, id), _| *of != role || elsewhere(id));
    }

    /// An executor's step is made, with `control` up to there.
    pub fn heard(&mut self, role: Role, partition: u32, until: u64) {
        let heard = self.pausing.heard.entry((role, partition)).or_default();
        *heard = until.max(*heard);
    }

    /// An executor goes to a target. What is under way when it hears of a pause may be tried again at once; nothing else may begin.
    pub fn begins(&mut self, role: Role, action: &Action) {
        let id = &action.event_id;
        let Some((partition, _)) = self.executing.actions.get(id) else { return };
        let until = self.pausing.heard.get(&(role, *partition)).copied().unwrap_or(0);
        let paused = paused(&self.copy, *partition, until);
        let parkings = self.executing.state.get(id).and_then(|entry| entry["parkings"].as_u64()).unwrap_or(0);
        let key = (role, id.clone());
        if !paused.contains("") && !paused.contains(&action.project_id) {
            self.pausing.under_way.insert(key, parkings);
        } else if self.pausing.under_way.get(&key) != Some(&parkings) {
            self.find("begun-while-paused", format!("{role} begins {id}, and knows of {paused:?}"));
        }
    }

    /// The projects that are paused, and none for all.
    pub fn paused(&self) -> BTreeSet<Option<String>> {
        let all = (0..crate::PARTITIONS).flat_map(|partition| paused(&self.copy, partition, u64::MAX));
        all.map(|project| Some(project).filter(|project| !project.is_empty())).collect()
    }
}
