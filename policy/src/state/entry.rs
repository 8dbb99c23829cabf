//! The value of an entry.

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Issue, Kind, Member, Milestone, Project, Seen, SeenEvent};

/// The value of an entry; which one goes with which [`Kind`] is told by their names.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The greatest instant decided.
    Clock(DateTime<Utc>),
    /// SHA-256 of the policy's text.
    Policy(String),
    /// The offset of the next record.
    Consumed(u64),
    /// A project.
    Project(Box<Project>),
    /// An issue.
    Issue(Box<Issue>),
    /// A team member.
    Member(Member),
    /// A milestone.
    Milestone(Milestone),
    /// Events of one instant. A decision adds to those that are there; a record of the changelog has them all.
    Seen(Vec<SeenEvent>),
    /// An outcome.
    Outcome(Seen),
}

/// Why a record of the changelog cannot be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// The key is not an array of project, kind and identity.
    #[error(
        "a changelog record's key is not one of ours; was something else written to the topic gateway-state?"
    )]
    Key,
    /// A kind that this version does not know.
    #[error("a changelog record is of the unknown kind {0}; was it written by another version?")]
    UnknownKind(String),
    /// The value is not what its kind says.
    #[error("a changelog record of kind {0:?} cannot be read; was it written by another version?")]
    Value(Kind),
}

impl Entry {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        fn json(value: &impl Serialize) -> Vec<u8> {
            // Structs with string keys cannot fail to be JSON.
            serde_json::to_vec(value).unwrap_or_default()
        }
        match self {
            Self::Clock(value) => json(value),
            Self::Policy(value) => json(value),
            Self::Consumed(value) => json(value),
            Self::Project(value) => json(value),
            Self::Issue(value) => json(value),
            Self::Member(value) => json(value),
            Self::Milestone(value) => json(value),
            Self::Seen(value) => json(value),
            Self::Outcome(value) => json(value),
        }
    }

    pub(super) fn from_bytes(kind: Kind, bytes: &[u8]) -> Result<Self, StateError> {
        fn json<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, StateError> {
            serde_json::from_slice(bytes).map_err(|_| StateError::Value(kind))
        }
        Ok(match kind {
            Kind::Clock => Self::Clock(json(kind, bytes)?),
            Kind::Policy => Self::Policy(json(kind, bytes)?),
            Kind::Consumed => Self::Consumed(json(kind, bytes)?),
            Kind::Project => Self::Project(json(kind, bytes)?),
            Kind::Issue => Self::Issue(json(kind, bytes)?),
            Kind::Member => Self::Member(json(kind, bytes)?),
            Kind::Milestone => Self::Milestone(json(kind, bytes)?),
            Kind::Seen => Self::Seen(json(kind, bytes)?),
            Kind::Outcome => Self::Outcome(json(kind, bytes)?),
        })
    }
}
