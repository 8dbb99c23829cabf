//! Whether every action has its outcome, and no round of it two.

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use eventlog::{Bounds, GroupOffset, Log, TopicInfo};
use events::{Outcome, Redrive, id, topic};
use executor::Standing;
use sha2::{Digest, Sha256};

use super::finding::{Finding, Flaws, Report};
use crate::{commands::scan, error::Failure};

/// An id, short: sixteen bytes of its hash.
type Short = [u8; 16];

fn short(id: &str) -> Short {
    let digest = Sha256::digest(id);
    let mut short = Short::default();
    short.copy_from_slice(&digest[..16]);
    short
}

pub(super) async fn check(log: &dyn Log, topics: &[TopicInfo], groups: &[GroupOffset], report: &mut Report) {
    let bounds = |name: &str| topics.iter().find(|info| info.name == name).map(|info| &info.partitions[..]);
    let (Some(actions), Some(outcomes), Some(states)) =
        (bounds(topic::ACTIONS), bounds(topic::OUTCOMES), bounds(topic::EXECUTOR_STATE))
    else {
        return;
    };
    let mut found = Found::default();
    for (partition, ((actions, outcomes), state)) in (0_u32..).zip(actions.iter().zip(outcomes).zip(states)) {
        let accepted = groups.iter().find(|at| {
            at.group == executor::GROUP && at.topic == topic::ACTIONS && at.partition == partition
        });
        let accepted = accepted.map_or(0, |at| at.committed);
        if let Err(failure) = found.partition(log, partition, [*state, *outcomes, *actions], accepted).await {
            found.flaws.add(|| failure.to_string());
        }
    }
    let Found { flaws, actions, outcomes, cut } = found;
    let told = match cut {
        0 => format!(
            "{actions} actions taken up and {outcomes} outcomes: each action is pending, deferred, or has its outcome, and none has two"
        ),
        cut => format!(
            "no action has two outcomes of one round, among {outcomes} outcomes; of {cut} partitions the beginning of the outcomes is kept no longer, so \
             that none is missing cannot be seen there"
        ),
    };
    report.tell(match flaws.is_empty() {
        true => Finding::ok("actions, outcomes", &told),
        false => Finding::error(
            "actions, outcomes",
            flaws.told(),
            "the log was changed, or two executors acted on it apart from each other; what was done is in the target's own records",
        ),
    });
}

#[derive(Default)]
struct Found {
    flaws: Flaws,
    actions: u64,
    outcomes: u64,
    /// Partitions whose outcomes are not kept from their beginning.
    cut: usize,
}

impl Found {
    /// The executor's state is read before the outcomes: what leaves the one meanwhile has come to the others.
    async fn partition(
        &mut self,
        log: &dyn Log,
        partition: u32,
        [state, outcomes, actions]: [Bounds; 3],
        accepted: u64,
    ) -> Result<(), Failure> {
        // By key: an action that is deferred has one of its own.
        let mut pending: HashSet<Short> = HashSet::new();
        scan(log, topic::EXECUTOR_STATE, &[(partition, state.first)], |record| {
            let key = short(&String::from_utf8_lossy(&record.key));
            match executor::standing(&record) {
                Ok(Standing::Pending | Standing::Deferred) => _ = pending.insert(key),
                // What cannot be read is told with the records.
                Ok(Standing::Done | Standing::Forgotten) | Err(_) => _ = pending.remove(&key),
            }
            ControlFlow::Continue(())
        })
        .await?;
        let mut ids = HashSet::new();
        scan(log, topic::OUTCOMES, &[(partition, outcomes.first)], |record| {
            let value = record.value.as_deref().unwrap_or_default();
            let Ok(outcome) = serde_json::from_slice::<Outcome>(value) else {
                return ControlFlow::Continue(());
            };
            self.outcomes += 1;
            let place = || format!("{} partition {partition} offset {}", topic::OUTCOMES, record.offset);
            if !ids.insert(short(&outcome.event_id)) {
                self.flaws.add(|| format!("{}: outcome {} stands there twice", place(), outcome.event_id));
            }
            ControlFlow::Continue(())
        })
        .await?;
        self.cut += usize::from(outcomes.first > 0);
        let mut missing = BTreeMap::new();
        scan(log, topic::ACTIONS, &[(partition, actions.first)], |record| {
            if record.offset >= accepted {
                return ControlFlow::Break(());
            }
            // What is a dead letter to an executor has no outcome.
            if let Ok(action) = executor::read_action(&record) {
                self.actions += 1;
                let id = &action.event_id;
                let redrive = Redrive::from_headers(|name| record.header(name));
                let round = redrive.as_ref().map_or(0, |redrive| redrive.round);
                // One that replaces nothing: the round before was a dead letter to the executor of then.
                if redrive.is_some_and(|redrive| redrive.supersedes.is_none()) {
                    missing.remove(&(short(id), round - 1));
                }
                // An outcome's id is that of its action and round.
                let concluded = ids.contains(&short(&id::outcome(id, round)));
                let waits =
                    || pending.contains(&short(id)) || pending.contains(&short(&executor::deferred_key(id)));
                if outcomes.first == 0 && !concluded && !waits() {
                    missing.insert((short(id), round), (record.offset, id.clone()));
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        for ((_, round), (offset, id)) in missing {
            self.flaws.add(|| {
                format!(
                    "{} partition {partition} offset {offset}: action {id} was taken up, and is neither pending nor has an outcome of \
                     round {round}",
                    topic::ACTIONS
                )
            });
        }
        Ok(())
    }
}
