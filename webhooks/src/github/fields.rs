//! Issue fields: the organisation's own fields, of which Priority and the due date are read.

use chrono::NaiveDate;

use super::payload::{FieldValue, Issue, Payload};
use crate::instant;

/// Names of a due date's field, without regard to case and to what is no letter; the first that has a value counts.
const DUE_DATES: [&str; 5] = ["duedate", "due", "deadline", "targetdate", "target"];

/// A field that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Priority,
    DueDate,
}

impl Known {
    pub(super) fn of(name: &str) -> Option<Self> {
        match letters(name).as_str() {
            "priority" => Some(Self::Priority),
            name if DUE_DATES.contains(&name) => Some(Self::DueDate),
            _ => None,
        }
    }
}

fn letters(name: &str) -> String {
    name.chars().take(64).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The issue's priority by its fields.
pub(super) fn priority<'a>(payload: &'a Payload<'_>, issue: &'a Issue<'_>) -> Option<&'a str> {
    value(payload, issue, "priority")
}

/// The issue's due date by its fields.
pub(super) fn due_date(payload: &Payload<'_>, issue: &Issue<'_>) -> Option<NaiveDate> {
    DUE_DATES.iter().find_map(|name| value(payload, issue, name).and_then(instant::date_of))
}

/// What the issue says of the field; where it does not say its fields at all, what the event says of its own.
fn value<'a>(payload: &'a Payload<'_>, issue: &'a Issue<'_>, name: &str) -> Option<&'a str> {
    if issue.issue_field_values.is_said() {
        let mut values = issue.issue_field_values.members().iter();
        return values.find_map(|value| (letters(field_name(value)?) == name).then(|| text(value))?);
    }
    let own = payload.issue_field.get().and_then(|field| field.name.text())?;
    let added = payload.action.text() == Some("field_added") && letters(own) == name;
    payload.issue_field_value.get().filter(|_| added).and_then(text)
}

fn field_name<'a>(value: &'a FieldValue<'_>) -> Option<&'a str> {
    let nested = || value.issue_field.get().and_then(|field| field.name.text());
    value.issue_field_name.text().or_else(|| value.name.text()).or_else(nested)
}

/// The selected option's name, or the value itself.
pub(super) fn text<'a>(value: &'a FieldValue<'_>) -> Option<&'a str> {
    [&value.single_select_option, &value.option]
        .into_iter()
        .find_map(|option| option.get().and_then(|option| option.name.text()))
        .or_else(|| value.value.get().map(|scalar| scalar.0.as_ref()))
        .filter(|text| !text.trim().is_empty())
}
