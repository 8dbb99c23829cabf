//! What is read of GitHub's payloads. Everything may be absent, null or of another shape.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{Field, Present, Shape, objects};

type Text<'a> = Field<Cow<'a, str>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Payload<'a> {
    pub(super) action: Text<'a>,
    pub(super) issue: Field<Issue<'a>>,
    /// The label that was added or removed.
    pub(super) label: Field<Label<'a>>,
    /// The person who was assigned or unassigned.
    pub(super) assignee: Field<User<'a>>,
    /// The milestone that the event is about.
    pub(super) milestone: Field<Milestone<'a>>,
    /// The issue field that was set or cleared (`field_added`, `field_removed`), and its value.
    pub(super) issue_field: Field<Named<'a>>,
    pub(super) issue_field_value: Field<FieldValue<'a>>,
    pub(super) changes: Field<Changes<'a>>,
    pub(super) repository: Field<Repository<'a>>,
    pub(super) sender: Field<User<'a>>,
    /// What the event is about besides the issue; tells events apart whose name, in a header, is not signed.
    pub(super) comment: Field<Comment<'a>>,
    pub(super) sub_issue: Field<Present>,
    pub(super) parent_issue: Field<Present>,
    pub(super) blocked_issue: Field<Present>,
    pub(super) blocking_issue: Field<Present>,
    pub(super) pull_request: Field<Present>,
    pub(super) discussion: Field<Present>,
}

impl Payload<'_> {
    /// Whether the payload is about something else than an issue, its comment or a milestone.
    fn is_foreign(&self) -> bool {
        let others = [&self.sub_issue, &self.parent_issue, &self.blocked_issue, &self.blocking_issue];
        let things = [&self.pull_request, &self.discussion];
        others.into_iter().chain(things).any(|field| field.get().is_some())
    }

    /// Whether the payload can be of `event`. The name of the event comes in a header that nobody signed: a comment that was
    /// deleted must not be sent again as an issue that was.
    pub(super) fn is_of(&self, event: &str) -> bool {
        let (issue, comment) = (self.issue.get().is_some(), self.comment.get().is_some());
        !self.is_foreign()
            && match event {
                "issues" => !comment,
                "issue_comment" => comment,
                "milestone" => !issue && !comment,
                _ => true,
            }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Comment<'a> {
    pub(super) body: Text<'a>,
    pub(super) author_association: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Issue<'a> {
    pub(super) number: Field<u64>,
    pub(super) title: Text<'a>,
    pub(super) html_url: Text<'a>,
    pub(super) state: Text<'a>,
    pub(super) state_reason: Text<'a>,
    pub(super) labels: Field<Vec<Label<'a>>>,
    pub(super) assignee: Field<User<'a>>,
    pub(super) assignees: Field<Vec<User<'a>>>,
    pub(super) milestone: Field<Milestone<'a>>,
    pub(super) created_at: Text<'a>,
    pub(super) updated_at: Text<'a>,
    /// There when the issue is a pull request.
    pub(super) pull_request: Field<Present>,
    /// Values of the organisation's issue fields
    /// (<https://docs.github.com/en/rest/issues/issue-field-values>).
    pub(super) issue_field_values: Field<Vec<FieldValue<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Label<'a> {
    pub(super) name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Named<'a> {
    pub(super) name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct User<'a> {
    pub(super) login: Text<'a>,
    /// `User`, `Bot` (an App), `Organization`.
    #[serde(rename = "type")]
    pub(super) kind: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Milestone<'a> {
    pub(super) number: Field<u64>,
    pub(super) html_url: Text<'a>,
    pub(super) due_on: Text<'a>,
    pub(super) updated_at: Text<'a>,
}

/// The value of one issue field. The name stands in `issue_field_name` where the value stands in an issue; in an event of
/// its own the field is named beside it. A selected option stands in `single_select_option` or `option`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct FieldValue<'a> {
    pub(super) issue_field_name: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) issue_field: Field<Named<'a>>,
    pub(super) value: Field<Scalar<'a>>,
    pub(super) single_select_option: Field<Named<'a>>,
    pub(super) option: Field<Named<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Changes<'a> {
    pub(super) title: Field<TextChange<'a>>,
    /// Of a milestone.
    pub(super) due_on: Field<TextChange<'a>>,
    pub(super) issue_field_value: Field<FieldValueChange<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct TextChange<'a> {
    pub(super) from: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct FieldValueChange<'a> {
    pub(super) from: Field<FieldValue<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Repository<'a> {
    pub(super) full_name: Text<'a>,
    pub(super) html_url: Text<'a>,
}

objects!(
    Payload,
    Comment,
    Issue,
    Label,
    Named,
    User,
    Milestone,
    FieldValue,
    Changes,
    TextChange,
    FieldValueChange,
    Repository
);

/// Text, or a whole number as text.
#[derive(Debug, Clone)]
pub(super) struct Scalar<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Shape<'de> for Scalar<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text))
    }

    fn integer(number: i64) -> Option<Self> {
        Some(Self(Cow::Owned(number.to_string())))
    }
}
