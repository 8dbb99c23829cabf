//! What it means that a payload gives no priority or no due date.
//!
//! Either can be set in an issue field, and few payloads list those (`issue_field_values`). Where the list is missing, that
//! labels and milestone give nothing does not mean that there is nothing: an earlier event may have told of a field. So such
//! a payload says that there is none only where its own event shows it: the issue is new, or what went away is what gives
//! a priority or a date, or a milestone came that has no date. Any other leaves what is known as it is.
//!
//! What a label or a milestone does give is said always, also without the list.

use std::iter::once;

use super::{
    fields::Known,
    payload::{Issue, Payload},
    priority,
};

/// Whether there is none, since the payload gives none.
pub(super) fn means_none(payload: &Payload<'_>, issue: &Issue<'_>, what: Known) -> bool {
    if issue.issue_field_values.is_said() {
        return true;
    }
    match payload.action.text() {
        Some("opened") => true,
        Some("unlabeled") => {
            let label = payload.label.get().and_then(|label| label.name.text());
            what == Known::Priority && label.is_some_and(|label| priority::of_labels(once(label)).is_some())
        }
        Some("milestoned" | "demilestoned") => what == Known::DueDate,
        Some("field_removed") => {
            let field = payload.issue_field.get().and_then(|field| field.name.text());
            field.and_then(Known::of) == Some(what)
        }
        _ => false,
    }
}
