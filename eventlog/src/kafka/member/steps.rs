//! What is committed: steps, and that markers were passed.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{Member, SETTLE_AFTER, Standing};
use crate::{
    LogError, NewRecord, Step,
    kafka::{
        cursors::Place,
        step::{Transaction, Until},
    },
};

impl Member {
    /// Makes a step. After an error everything is lost.
    pub(in crate::kafka) fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let made = self.make(step);
        if made.is_err() {
            self.lose();
        }
        made
    }

    fn make(&mut self, step: Step) -> Result<(), LogError> {
        if step.partitions.is_empty() && step.append.is_empty() {
            return Ok(());
        }
        if let Some(p) = step.partitions.iter().find(|p| !self.held.contains(p)) {
            return Err(LogError::Lost(format!(
                "partition {p} is not held by this member of {}",
                self.spec.group
            )));
        }
        let partitions = self.cluster.route(&step.append).map_err(|error| match error {
            LogError::Refused(why) => LogError::Refused(why),
            other => LogError::Lost(other.to_string()),
        })?;
        let Some(assignment) = &self.assignment else {
            return Err(LogError::Lost(format!(
                "no partition is held by this member of {}",
                self.spec.group
            )));
        };
        let seen = self.seen();
        let chosen: BTreeSet<u32> = step.partitions.iter().copied().collect();
        let places = chosen.iter().flat_map(|p| self.spec.inputs.iter().map(|input| (input.clone(), *p)));
        let offsets: Vec<(Place, u64)> = places
            .filter_map(|place| assignment.cursors.position(&place, &seen).map(|at| (place, at)))
            .collect();
        if offsets.len() != chosen.len() * self.spec.inputs.len() {
            return Err(LogError::Lost("an input partition of the step has no position".to_owned()));
        }
        self.transact(step.append, partitions, offsets)
    }

    fn transact(
        &mut self,
        records: Vec<NewRecord>,
        partitions: Vec<u32>,
        offsets: Vec<(Place, u64)>,
    ) -> Result<(), LogError> {
        let (Standing::In { producer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Err(LogError::Lost(format!("this member of {} is not in the group", self.spec.group)));
        };
        // The brokers abort a step that is a session old, and take the partitions of a member that has not polled for three.
        let (began, session) = (Instant::now(), self.cluster.config.session_timeout);
        let until = Until { filled: began + session, committed: began + 2 * session };
        let generation = Arc::clone(&assignment.generation);
        let transaction = Transaction { records, partitions, offsets: offsets.clone(), generation };
        transaction.run(producer, until)?;
        assignment.cursors.committed(&offsets);
        self.settle_at = Instant::now() + SETTLE_AFTER;
        Ok(())
    }

    /// Commits, when there is nothing else to do, that the consumer has passed transaction markers: a group at its end has
    /// no lag. It is a step like any other, also when it fails.
    pub(super) fn settle(&mut self) {
        let Some(assignment) = &self.assignment else { return };
        let behind = assignment.cursors.behind_markers(&self.seen());
        if !behind.is_empty()
            && let Err(error) = self.transact(Vec::new(), Vec::new(), behind)
        {
            tracing::warn!(%error, "a step that only moves offsets failed");
            self.lose();
        }
    }
}
