//! What our actions for an issue may have left open.

use events::{ActionKind, Recipients};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Issue;

/// How many are remembered of an issue.
pub(crate) const MAX_OPEN: usize = 16;
/// Of how many people it is remembered how tools knew them; a larger team is looked up again.
const MAX_KEPT: usize = 10;

/// An action that may have left something open, as `acknowledge` and `resolve` will speak of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenAction {
    /// Its id.
    pub(crate) id: SmolStr,
    /// What it was.
    pub(crate) action: ActionKind,
    /// For whom.
    pub(crate) target: SmolStr,
    /// By which rule.
    pub(crate) rule: SmolStr,
    /// Whom it concerned, as tools knew them then: what is open is open there, whatever the policy says since. None of a large team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Box<Recipients>>,
    /// Of a page: somebody has answered since.
    #[serde(default, skip_serializing_if = "super::issue::is_false")]
    pub(crate) acknowledged: bool,
}

impl OpenAction {
    /// Whom it concerned, unless they are too many to be remembered.
    pub(crate) fn kept(to: Recipients) -> Option<Box<Recipients>> {
        (to.people.len() <= MAX_KEPT).then(|| Box::new(to))
    }
}

impl Issue {
    /// Remembers an action; returns the oldest where they are too many.
    pub(crate) fn opened(&mut self, action: OpenAction) -> Option<OpenAction> {
        let forgotten = (self.open.len() >= MAX_OPEN).then(|| self.open.remove(0));
        self.open.push(action);
        forgotten
    }
}
