//! What was done long ago is forgotten.

use chrono::TimeDelta;

use super::Executor;
use crate::{ExecutorError, conclude, pauses, step::Draft};

/// How often marks of done actions are looked through.
const PRUNE_EVERY: TimeDelta = TimeDelta::minutes(1);

impl Executor {
    /// Forgets marks of done actions that are old enough.
    pub(super) async fn prune(&mut self) -> Result<(), ExecutorError> {
        let now = self.clock.now();
        if (now - self.pruned_at).abs() < PRUNE_EVERY {
            return Ok(());
        }
        let limit = now - conclude::delta(self.config.remember_for);
        let mut draft = Draft::default();
        let mut outdated = Vec::new();
        for (&partition, held) in &self.held {
            let (count, ids) = held.outdated(limit, self.config.batch_max);
            ids.iter().for_each(|id| draft.forget(partition, id));
            let projects = held.pauses().outdated(limit);
            projects.iter().for_each(|project| draft.forget(partition, &pauses::key(project)));
            outdated.push((partition, count, projects));
        }
        if !outdated.iter().any(|(_, count, _)| *count == self.config.batch_max) {
            self.pruned_at = now;
        }
        if self.commit(draft).await? {
            for (partition, count, projects) in outdated {
                if let Some(held) = self.held.get_mut(&partition) {
                    held.forget_oldest(count);
                    projects.iter().for_each(|project| held.disregard(project));
                }
            }
        }
        Ok(())
    }
}
