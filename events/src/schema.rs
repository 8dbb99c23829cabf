//! The JSON Schemas of what stands on the topics.

use schemars::{Schema, schema_for};

use crate::{Action, Control, IssueEvent, Letter, Outcome, PolicyChange, topic};

/// File stem under `schemas/` and the schema of that topic's values.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        (topic::ISSUES, schema_for!(IssueEvent)),
        (topic::ACTIONS, schema_for!(Action)),
        (topic::OUTCOMES, schema_for!(Outcome)),
        (topic::DEAD_LETTERS, schema_for!(Letter)),
        (topic::POLICIES, schema_for!(PolicyChange)),
        (topic::CONTROL, schema_for!(Control)),
    ]
}
