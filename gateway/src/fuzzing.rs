//! A partition without a log: what it makes of whatever stands on the topics. For fuzzing, not for use.

use std::{collections::BTreeMap, sync::Arc};

use eventlog::{NewRecord, Record};
use policy::{Ruleset, State, StateError};

use crate::{
    GatewayError,
    batch::Batch,
    course::{Course, Lane},
    partition::Partition,
};

/// Partition 0.
#[allow(missing_debug_implementations)]
pub struct Held(BTreeMap<u32, Partition>);

impl Held {
    /// Restored from records of `gateway-state`, in their order.
    ///
    /// # Errors
    /// When a record is not one that this version wrote.
    pub fn restored(ruleset: Arc<Ruleset>, changelog: &[Record]) -> Result<Self, StateError> {
        let mut state = State::default();
        for record in changelog {
            state.restore(&record.key, record.value.as_deref())?;
        }
        let production = Course { partition: 0, lane: Lane::Production, state, ruleset };
        Ok(Self(BTreeMap::from([(
            0,
            Partition { number: 0, production, shadow: None, unwritten: Vec::new(), caught_up: None },
        )])))
    }

    /// What taking in a record of `issues` or `outcomes` writes.
    ///
    /// # Errors
    /// When a message cannot be written.
    pub fn take(&mut self, record: &Record) -> Result<Vec<NewRecord>, GatewayError> {
        let mut batch = Batch::default();
        for partition in self.0.values_mut() {
            partition.take(record, &mut batch)?;
        }
        Ok(batch.into_step(&self.0).0.append)
    }
}
