//! What a condition can read: the one table of fields. The type checker, the evaluation, the index and docs/policy.md are
//! made from it.

use events::EventType;

/// A field that a condition can read; the order is that of [`FIELDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Field {
    Ref,
    Project,
    Source,
    Repo,
    Number,
    Key,
    Title,
    Url,
    Labels,
    Assignee,
    Assignees,
    Priority,
    Status,
    State,
    CreatedAt,
    UpdatedAt,
    DueAt,
    AcknowledgedAt,
    AcknowledgedBy,
    EventType,
    EventSource,
    EventActor,
    EventByUs,
    EventChanged,
    EventLabelsAdded,
    EventLabelsRemoved,
}

/// The type of a value. Every field but those that are true or false can be null besides, which means that it is unknown or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Time,
    Duration,
    /// True or false. Never null, and a formula by itself, not a value that is compared.
    Bool,
}

impl Type {
    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "a number",
            Self::Time => "a time",
            Self::Duration => "a duration",
            Self::Bool => "true or false",
        }
    }

    /// As CEL calls it.
    #[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
    pub(crate) fn cel_name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Time => "timestamp",
            Self::Duration => "duration",
            Self::Bool => "bool",
        }
    }
}

/// What there is to know of a field.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) field: Field,
    /// `issue` or `event`.
    pub(crate) root: &'static str,
    pub(crate) name: &'static str,
    /// Of the value, or of each of the list's elements.
    pub(crate) value_type: Type,
    pub(crate) is_list: bool,
    /// Whether it compares without regard to case.
    pub(crate) caseless: bool,
    /// Every value that it can have, where these are few.
    pub(crate) values: Option<&'static [&'static str]>,
    #[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
    pub(crate) meaning: &'static str,
}

const fn issue(field: Field, name: &'static str, value_type: Type, meaning: &'static str) -> Spec {
    Spec { field, root: "issue", name, value_type, is_list: false, caseless: false, values: None, meaning }
}

const fn event(field: Field, name: &'static str, value_type: Type, meaning: &'static str) -> Spec {
    Spec { root: "event", ..issue(field, name, value_type, meaning) }
}

const fn list(spec: Spec) -> Spec {
    Spec { is_list: true, ..spec }
}

const fn caseless(spec: Spec) -> Spec {
    Spec { caseless: true, ..spec }
}

const fn one_of(values: &'static [&'static str], spec: Spec) -> Spec {
    Spec { values: Some(values), ..spec }
}

const SOURCES: &[&str] = &["github", "jira"];
const STATES: &[&str] = &["open", "closed"];

/// Every field, `issue` before `event`.
pub(crate) static FIELDS: [Spec; 26] = [
    issue(Field::Ref, "ref", Type::Text, "`github:owner/repo#12` or `jira:host/KEY-7`"),
    issue(Field::Project, "project", Type::Text, "the project that the repository or Jira key is mapped to"),
    one_of(SOURCES, issue(Field::Source, "source", Type::Text, "the provider")),
    issue(Field::Repo, "repo", Type::Text, "`owner/repo` (GitHub)"),
    issue(Field::Number, "number", Type::Int, "the issue's number (GitHub)"),
    issue(Field::Key, "key", Type::Text, "the issue's key, such as `OPS-7` (Jira)"),
    issue(Field::Title, "title", Type::Text, "the title (Jira: summary)"),
    issue(Field::Url, "url", Type::Text, "where a person reads it"),
    caseless(list(issue(Field::Labels, "labels", Type::Text, "every label"))),
    issue(
        Field::Assignee,
        "assignee",
        Type::Text,
        "the first assignee: GitHub login in lower case, Jira accountId or name",
    ),
    list(issue(Field::Assignees, "assignees", Type::Text, "every assignee")),
    caseless(issue(
        Field::Priority,
        "priority",
        Type::Text,
        "Jira's priority; GitHub's issue field *Priority*, else a label such as `p0` or `priority:high`",
    )),
    issue(Field::Status, "status", Type::Text, "the provider's word"),
    one_of(
        STATES,
        issue(
            Field::State,
            "state",
            Type::Text,
            "whether it is still to be done; Jira counts as closed in the status category *done*",
        ),
    ),
    issue(Field::CreatedAt, "created_at", Type::Time, "when the issue was created"),
    issue(Field::UpdatedAt, "updated_at", Type::Time, "when the provider last changed it"),
    issue(
        Field::DueAt,
        "due_at",
        Type::Time,
        "when it is due: Jira's due date, the due date of GitHub's milestone, 23:59:59 in the project's zone",
    ),
    issue(
        Field::AcknowledgedAt,
        "acknowledged_at",
        Type::Time,
        "when a person first answered since it was opened, reopened or last escalated ([what counts](operations.md#who-answered))",
    ),
    issue(Field::AcknowledgedBy, "acknowledged_by", Type::Text, "who that was"),
    one_of(
        EventType::KNOWN,
        event(
            Field::EventType,
            "type",
            Type::Text,
            "what happened; a new issue is `issue_opened` on GitHub, `issue_created` in Jira; whatever has no word of its own is `issue_updated`",
        ),
    ),
    one_of(SOURCES, event(Field::EventSource, "source", Type::Text, "the provider")),
    event(Field::EventActor, "actor", Type::Text, "who did it"),
    event(
        Field::EventByUs,
        "by_us",
        Type::Bool,
        "whether one of our own accounts did it ([`[accounts]`](operations.md#our-own-accounts)); never null",
    ),
    list(event(
        Field::EventChanged,
        "changed",
        Type::Text,
        "names of the `issue` fields that changed, such as `labels` or `due_at`",
    )),
    caseless(list(event(Field::EventLabelsAdded, "labels_added", Type::Text, "labels that came with it"))),
    caseless(list(event(
        Field::EventLabelsRemoved,
        "labels_removed",
        Type::Text,
        "labels that went with it",
    ))),
];

/// What `now` is.
#[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
pub(crate) const NOW: &str = "when the log took the event; for a timer, when it was due";

impl Field {
    pub(crate) fn spec(self) -> &'static Spec {
        &FIELDS[self as usize]
    }

    /// The field of that name in `issue` or `event`.
    pub(crate) fn find(root: &str, name: &str) -> Option<Self> {
        fields_of(root).find(|spec| spec.name == name).map(|spec| spec.field)
    }

    /// Whether it belongs to the event.
    pub(crate) fn is_of_event(self) -> bool {
        self.spec().root == "event"
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.spec().root, self.spec().name)
    }
}

/// The fields of `issue` or `event`; none for any other root.
pub(crate) fn fields_of(root: &str) -> impl Iterator<Item = &'static Spec> {
    FIELDS.iter().filter(move |spec| spec.root == root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_stands_where_its_number_says() {
        for (place, spec) in FIELDS.iter().enumerate() {
            assert_eq!(spec.field as usize, place, "{}", spec.field);
        }
    }
}
