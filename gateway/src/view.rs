//! What others in the process may see of the state: risk per project, as of the last committed step.

use std::{
    collections::BTreeMap,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use policy::{Project, State};
use serde::Serialize;

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
pub struct View(RwLock<BTreeMap<(u32, String), Project>>);

impl View {
    /// Every project, by name.
    pub fn projects(&self) -> Vec<ProjectRisk> {
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
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<(u32, String), Project>> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
