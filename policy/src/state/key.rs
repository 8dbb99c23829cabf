//! The name of an entry.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::StateError;

/// What kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The greatest instant decided.
    Clock,
    /// The hash of the policy in force.
    Policy,
    /// How far an input topic is consumed.
    Consumed,
    /// A project's risk.
    Project,
    /// An issue.
    Issue,
    /// A team member's load.
    Member,
    /// A milestone.
    Milestone,
    /// The events that an instant brought, for seven days.
    Seen,
    /// An outcome's id, for seven days.
    Outcome,
}

/// The name of an entry of [`super::State`]; `["alpha","issue","github:o/r#1"]` in the changelog. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The project; empty for what belongs to the partition.
    pub project: SmolStr,
    /// What kind of entry it is.
    pub kind: Kind,
    /// Which one; empty where there is only one.
    pub identity: SmolStr,
}

/// A key to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyRef<'a> {
    pub(super) kind: Kind,
    pub(super) identity: &'a str,
    pub(super) project: &'a str,
}

impl Key {
    pub(super) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { project: &self.project, kind: self.kind, identity: &self.identity }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}

impl Key {
    fn new(project: &str, kind: Kind, identity: &str) -> Self {
        Self { project: project.into(), kind, identity: identity.into() }
    }

    pub(crate) fn clock() -> Self {
        Self::new("", Kind::Clock, "")
    }

    pub(crate) fn policy() -> Self {
        Self::new("", Kind::Policy, "")
    }

    pub(crate) fn consumed(topic: &str) -> Self {
        Self::new("", Kind::Consumed, topic)
    }

    pub(crate) fn project(project: &str) -> Self {
        Self::new(project, Kind::Project, "")
    }

    pub(crate) fn issue(project: &str, issue_ref: &str) -> Self {
        Self::new(project, Kind::Issue, issue_ref)
    }

    pub(crate) fn member(project: &str, name: &str) -> Self {
        Self::new(project, Kind::Member, name)
    }

    pub(crate) fn milestone(project: &str, milestone: &str) -> Self {
        Self::new(project, Kind::Milestone, milestone)
    }

    /// Made by what knows the identities: the instants at which events were seen.
    pub(super) fn seen(identity: SmolStr) -> Self {
        Self { project: SmolStr::default(), kind: Kind::Seen, identity }
    }

    pub(crate) fn outcome(project: &str, outcome_id: &str) -> Self {
        Self::new(project, Kind::Outcome, outcome_id)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Three strings cannot fail to be JSON.
        serde_json::to_vec(&(self.project.as_str(), self.kind, self.identity.as_str())).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (project, word, identity): (SmolStr, String, SmolStr) =
            serde_json::from_slice(bytes).map_err(|_| StateError::Key)?;
        let kind =
            Kind::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&word))
                .map_err(|_| StateError::UnknownKind(crate::diagnostic::quoted(&word)))?;
        Ok(Self { project, kind, identity })
    }
}
