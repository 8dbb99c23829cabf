//! What Jira's changelog says.

use std::borrow::Cow;

use chrono::SecondsFormat;
use chrono_tz::Tz;
use events::{Said, clean_text};

use super::payload::{Item, Payload};
use crate::{
    clean::{self, Changes},
    instant,
    json::{Field, MAX_MEMBERS},
};

type Text<'a> = Field<Cow<'a, str>>;

fn items<'a, 'p>(payload: &'a Payload<'p>) -> &'a [Item<'p>] {
    payload.changelog.get().map_or(&[], |changelog| changelog.items.members())
}

/// The item of `field`: `fieldId` does not depend on the site's language, `field` is all that old servers say.
pub(super) fn item<'a, 'p>(payload: &'a Payload<'p>, field: &str) -> Option<&'a Item<'p>> {
    items(payload).iter().find(|item| item.field_id.text().or_else(|| item.field.text()) == Some(field))
}

/// What changed, by our field names. `assignee` is who the issue is assigned to now: old servers name people in the
/// changelog by another id than in the issue.
pub(super) fn changes(payload: &Payload<'_>, zone: Tz, assignee: Option<&str>) -> Changes {
    let mut changes = Changes::default();
    let mut text = |field: &str, ours: &str, clean: fn(&str) -> String| {
        if let Some(item) = item(payload, field) {
            changes.moved(ours, said(&item.from_text, clean), said(&item.to_text, clean));
        }
    };
    text("summary", "title", clean_text);
    text("priority", "priority", clean::name);
    text("status", "status", clean::name);
    if let Some(item) = item(payload, "duedate") {
        changes.moved("due_at", due(&item.from, zone), due(&item.to, zone));
    }
    if let Some(item) = item(payload, "labels") {
        let (old, new) = (labels(&item.from_text), labels(&item.to_text));
        let without = |these: &[String], those: &[String]| {
            these.iter().filter(|label| !those.contains(label)).cloned().collect::<Vec<_>>()
        };
        changes.members("labels", without(&new, &old), without(&old, &new));
    }
    if let Some(item) = item(payload, "assignee") {
        let person = |account: &Text<'_>, name: &Text<'_>| {
            account.text().or_else(|| name.text()).filter(|id| !id.is_empty()).map(clean::name)
        };
        let added = person(&item.to_account, &item.to).map(|id| assignee.map_or(id, str::to_owned));
        let removed = person(&item.from_account, &item.from);
        changes.members("assignees", added.into_iter().collect(), removed.into_iter().collect());
    }
    changes
}

/// An empty text means none.
fn said(field: &Text<'_>, clean: fn(&str) -> String) -> Said<String> {
    match &field.0 {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::Value(text) if text.is_empty() => Said::Null,
        Said::Value(text) => Said::Value(clean(text)),
    }
}

/// A list of labels is one text, separated by spaces: Jira allows none within a label.
fn labels(field: &Text<'_>) -> Vec<String> {
    field.text().unwrap_or_default().split_whitespace().take(MAX_MEMBERS).map(clean::name).collect()
}

fn due(field: &Text<'_>, zone: Tz) -> Said<String> {
    match &field.0 {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::Value(text) => instant::date_of(text).map_or(Said::Nothing, |date| {
            Said::Value(instant::end_of_day(date, zone).to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }),
    }
}
