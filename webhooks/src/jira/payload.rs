//! What is read of Jira's payloads. Everything may be absent, null or of another shape.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{Field, objects};

type Text<'a> = Field<Cow<'a, str>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Payload<'a> {
    #[serde(rename = "webhookEvent")]
    pub(super) webhook_event: Text<'a>,
    /// What kind of update; old servers do not say.
    pub(super) issue_event_type_name: Text<'a>,
    /// When it happened, in milliseconds since the epoch.
    pub(super) timestamp: Field<i64>,
    pub(super) user: Field<User<'a>>,
    pub(super) issue: Field<Issue<'a>>,
    pub(super) comment: Field<Comment<'a>>,
    pub(super) changelog: Field<Changelog<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Issue<'a> {
    pub(super) key: Text<'a>,
    /// The issue's address in the REST API, which begins with the site's own.
    #[serde(rename = "self")]
    pub(super) address: Text<'a>,
    /// Comments may come without, or with a few.
    pub(super) fields: Field<Fields<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Fields<'a> {
    pub(super) summary: Text<'a>,
    pub(super) labels: Field<Vec<Cow<'a, str>>>,
    pub(super) assignee: Field<User<'a>>,
    pub(super) priority: Field<Named<'a>>,
    pub(super) status: Field<Status<'a>>,
    pub(super) duedate: Text<'a>,
    pub(super) created: Text<'a>,
    pub(super) updated: Text<'a>,
}

/// Cloud has `accountId`; Data Center has `name` and `key`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct User<'a> {
    #[serde(rename = "accountId")]
    pub(super) account_id: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) key: Text<'a>,
    /// `atlassian`, `app`, `customer` (Cloud).
    #[serde(rename = "accountType")]
    pub(super) account_type: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Named<'a> {
    pub(super) name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Status<'a> {
    pub(super) name: Text<'a>,
    #[serde(rename = "statusCategory")]
    pub(super) category: Field<Category<'a>>,
}

/// `new`, `indeterminate`, `done` or `undefined`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Category<'a> {
    pub(super) key: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Comment<'a> {
    #[serde(rename = "self")]
    pub(super) address: Text<'a>,
    /// Cloud and Data Center send plain text with wiki marks.
    pub(super) body: Text<'a>,
    pub(super) author: Field<User<'a>>,
    #[serde(rename = "updateAuthor")]
    pub(super) update_author: Field<User<'a>>,
    pub(super) created: Text<'a>,
    pub(super) updated: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Changelog<'a> {
    pub(super) items: Field<Vec<Item<'a>>>,
}

/// One changed field: ids in `from` and `to`, what a person reads in `fromString` and `toString`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Item<'a> {
    pub(super) field: Text<'a>,
    /// The field's name in any language; old servers do not say.
    #[serde(rename = "fieldId")]
    pub(super) field_id: Text<'a>,
    pub(super) from: Text<'a>,
    #[serde(rename = "fromString")]
    pub(super) from_text: Text<'a>,
    pub(super) to: Text<'a>,
    #[serde(rename = "toString")]
    pub(super) to_text: Text<'a>,
    /// Account ids, where `from` and `to` are still user names.
    #[serde(rename = "tmpFromAccountId")]
    pub(super) from_account: Text<'a>,
    #[serde(rename = "tmpToAccountId")]
    pub(super) to_account: Text<'a>,
}

objects!(Payload, Issue, Fields, User, Named, Status, Category, Comment, Changelog, Item);
