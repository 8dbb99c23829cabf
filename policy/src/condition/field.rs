//! What a condition can read: the one table of fields.

use crate::rule::TimeField;

/// The type of a field's value. Every field can be null besides, which means that it is unknown or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldType {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// A timestamp.
    Time(TimeField),
    /// A list of strings.
    List,
}

/// A field that a condition can read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) field_type: FieldType,
    /// Whether it compares without regard to case.
    pub(crate) caseless: bool,
}

const fn field(name: &'static str, field_type: FieldType) -> Field {
    Field { name, field_type, caseless: false }
}

const fn caseless(name: &'static str, field_type: FieldType) -> Field {
    Field { name, field_type, caseless: true }
}

/// `issue`: the merged state after this event.
pub(crate) const ISSUE: &[Field] = &[
    field("ref", FieldType::Text),
    field("project", FieldType::Text),
    field("source", FieldType::Text),
    field("repo", FieldType::Text),
    field("number", FieldType::Number),
    field("key", FieldType::Text),
    field("title", FieldType::Text),
    field("url", FieldType::Text),
    caseless("labels", FieldType::List),
    field("assignee", FieldType::Text),
    field("assignees", FieldType::List),
    caseless("priority", FieldType::Text),
    field("status", FieldType::Text),
    field("state", FieldType::Text),
    field("created_at", FieldType::Time(TimeField::Created)),
    field("updated_at", FieldType::Time(TimeField::Updated)),
    field("due_at", FieldType::Time(TimeField::Due)),
];

/// `event`: this one input.
pub(crate) const EVENT: &[Field] = &[
    field("type", FieldType::Text),
    field("source", FieldType::Text),
    field("actor", FieldType::Text),
    field("changed", FieldType::List),
    caseless("labels_added", FieldType::List),
    caseless("labels_removed", FieldType::List),
];

/// The fields of `issue` or `event`.
pub(crate) fn fields_of(root: &str) -> Option<&'static [Field]> {
    match root {
        "issue" => Some(ISSUE),
        "event" => Some(EVENT),
        _ => None,
    }
}

pub(crate) fn find(root: &str, name: &str) -> Option<&'static Field> {
    fields_of(root)?.iter().find(|field| field.name == name)
}
