//! Payloads as the providers write them: those of samples/deliveries, about another issue.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use webhooks::Provider;

use crate::{
    Result,
    letters::{Happening, Letter, jira_key, provider, repository},
};

/// The site of the Jira projects.
pub(crate) const JIRA_HOST: &str = "torture.example.net";
/// Issues were made so long before their first letter. More than any issue has letters, in seconds: `updated_at` grows by a second a
/// letter (GitHub counts seconds) and is never in the future.
pub(crate) const AGE: TimeDelta = TimeDelta::hours(1);

const GITHUB: &str = include_str!("../../../samples/deliveries/github-issue-opened-triage.json");
const JIRA: &str = include_str!("../../../samples/deliveries/jira-issue-created-overdue.json");

/// GitHub's name of the event, and the body.
pub(crate) fn of(letter: &Letter, began_at: DateTime<Utc>) -> Result<(&'static str, Vec<u8>)> {
    let created = TimeDelta::from_std(letter.created)?;
    let created_at = began_at - AGE + created;
    let updated_at = created_at + TimeDelta::seconds(letter.turn.into());
    let (event, payload) = match provider(letter.project) {
        Provider::Github => github(letter, created_at, updated_at)?,
        _ => ("", jira(letter, created_at, updated_at)?),
    };
    Ok((event, serde_json::to_vec(&payload)?))
}

fn github(
    letter: &Letter,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
) -> Result<(&'static str, Value)> {
    let seconds = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let repository = repository(letter.project);
    let page = format!("https://github.com/{repository}");
    let mut payload: Value = serde_json::from_str(GITHUB)?;
    payload["action"] = match letter.happening {
        Happening::Opened => "opened",
        Happening::Commented => "created",
        Happening::Labelled(true) => "labeled",
        Happening::Labelled(false) => "unlabeled",
        Happening::Closed => "closed",
        Happening::Reopened => "reopened",
    }
    .into();
    payload["repository"]["full_name"] = repository.into();
    payload["repository"]["html_url"] = page.as_str().into();
    let issue = &mut payload["issue"];
    issue["number"] = letter.issue.into();
    issue["title"] = letter.title().into();
    issue["html_url"] = format!("{page}/issues/{}", letter.issue).into();
    issue["state"] = if letter.open { "open" } else { "closed" }.into();
    issue["labels"] = if letter.urgent { json!([{"name": "urgent"}]) } else { json!([]) };
    issue["created_at"] = seconds(created_at).into();
    issue["updated_at"] = seconds(updated_at).into();
    match letter.happening {
        Happening::Commented => {
            payload["comment"] =
                json!({"id": letter.number, "body": "Any news?", "created_at": seconds(updated_at)});
            return Ok(("issue_comment", payload));
        }
        Happening::Labelled(_) => payload["label"] = json!({"name": "urgent"}),
        Happening::Opened | Happening::Closed | Happening::Reopened => {}
    }
    Ok(("issues", payload))
}

fn jira(letter: &Letter, created_at: DateTime<Utc>, updated_at: DateTime<Utc>) -> Result<Value> {
    let instant = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
    let key = format!("{}-{}", jira_key(letter.project), letter.issue);
    let mut payload: Value = serde_json::from_str(JIRA)?;
    let (event, kind, items) = match letter.happening {
        Happening::Opened => ("jira:issue_created", "issue_created", json!([])),
        Happening::Commented => ("comment_created", "issue_commented", json!([])),
        Happening::Labelled(urgent) => {
            let (from, to) = if urgent { ("", "urgent") } else { ("urgent", "") };
            let item = json!({"field": "labels", "fieldId": "labels", "fromString": from, "toString": to});
            ("jira:issue_updated", "issue_updated", json!([item]))
        }
        Happening::Closed => {
            ("jira:issue_updated", "issue_generic", json!([status("To Do", "Done"), resolution(true)]))
        }
        Happening::Reopened => {
            ("jira:issue_updated", "issue_reopened", json!([status("Done", "To Do"), resolution(false)]))
        }
    };
    payload["timestamp"] = updated_at.timestamp_millis().into();
    payload["webhookEvent"] = event.into();
    payload["issue_event_type_name"] = kind.into();
    payload["changelog"] = json!({"id": letter.number.to_string(), "items": items});
    let issue = &mut payload["issue"];
    issue["self"] = format!("https://{JIRA_HOST}/rest/api/2/issue/{}", letter.number).into();
    issue["key"] = key.into();
    let fields = &mut issue["fields"];
    fields["summary"] = letter.title().into();
    fields["labels"] = if letter.urgent { json!(["urgent"]) } else { json!([]) };
    fields["duedate"] = Value::Null;
    fields["created"] = instant(created_at).into();
    fields["updated"] = instant(updated_at).into();
    fields["status"]["name"] = if letter.open { "To Do" } else { "Done" }.into();
    fields["status"]["statusCategory"]["key"] = if letter.open { "new" } else { "done" }.into();
    if letter.happening == Happening::Commented {
        payload["comment"] = json!({"id": letter.number.to_string(), "body": "Any news?", "created": instant(updated_at), "updated": instant(updated_at)});
    }
    Ok(payload)
}

fn status(from: &str, to: &str) -> Value {
    json!({"field": "status", "fieldId": "status", "fromString": from, "toString": to})
}

fn resolution(done: bool) -> Value {
    let (old, new) = if done { (Value::Null, "Done".into()) } else { ("Done".into(), Value::Null) };
    json!({"field": "resolution", "fieldId": "resolution", "from": old, "fromString": old, "to": new, "toString": new})
}
