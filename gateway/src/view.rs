//! What others in the process may see of the state: risk per project, as of the last committed step.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use policy::{Project, State};
use serde::Serialize;
use tokio::time::Instant;

/// A gateway that has done nothing for so long may have lost what it held, and not know it: a broker gives others the partitions of a
/// member that does not poll.
const SURE: Duration = Duration::from_secs(30);

/// One project's risk.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectRisk {
    /// The project.
    pub project_id: String,
    /// Its partition of `issues`.
    pub partition: u32,
    /// The sum, and the outcomes it is made of.
    #[serde(flatten)]
    pub project: Project,
}

/// Risk per project, for the partitions that this process holds.
#[derive(Debug, Default)]
pub struct View {
    projects: RwLock<BTreeMap<(u32, String), Project>>,
    turned_at: Mutex<Option<Instant>>,
}

impl View {
    /// Every project, by name. None of a gateway that hangs: it does not know whether it still holds them.
    pub fn projects(&self) -> Vec<ProjectRisk> {
        self.projects_at(Instant::now())
    }

    fn projects_at(&self, now: Instant) -> Vec<ProjectRisk> {
        let turned_at = *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner);
        if turned_at.is_none_or(|at| now.saturating_duration_since(at) > SURE) {
            return Vec::new();
        }
        let mut projects: Vec<_> = self
            .read()
            .iter()
            .map(|((partition, project_id), project)| ProjectRisk {
                project_id: project_id.clone(),
                partition: *partition,
                project: project.clone(),
            })
            .collect();
        projects.sort_by(|a, b| a.project_id.cmp(&b.project_id));
        projects
    }

    /// The gateway's loop goes round.
    pub(crate) fn turned(&self) {
        *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) fn publish(&self, partition: u32, project_id: &str, state: &State) {
        if let Some(project) = state.project(project_id) {
            self.write().insert((partition, project_id.to_owned()), project.clone());
        }
    }

    pub(crate) fn publish_all(&self, partition: u32, state: &State) {
        let mut view = self.write();
        for (project_id, project) in state.projects() {
            view.insert((partition, project_id.to_owned()), project.clone());
        }
    }

    pub(crate) fn forget(&self, partition: u32) {
        self.write().retain(|(held, _), _| *held != partition);
    }

    // A panic while the lock was held cannot leave the map half written: each entry is replaced whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<(u32, String), Project>> {
        self.projects.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<(u32, String), Project>> {
        self.projects.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_hangs_shows_nothing() {
        let view = View::default();
        view.write().insert((3, "alpha".to_owned()), Project::default());
        let shown = |after| view.projects_at(Instant::now() + after).len();
        assert_eq!(shown(Duration::ZERO), 0, "it has not begun");
        view.turned();
        assert_eq!((shown(SURE / 2), shown(SURE * 2)), (1, 0));
        view.turned();
        assert_eq!(shown(Duration::ZERO), 1);
    }
}
