//! `breakdown publish`: events from files onto `issues`.

use std::process::ExitCode;

use eventlog::NewRecord;
use events::{IssueEvent, Source, id, issue_ref_of_github, issue_ref_of_jira, topic};
use serde_json::{Deserializer, Value, json};

use crate::{
    args::Publish,
    commands::{inert, inert_json, read_input},
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

/// Most events appended at once.
const BATCH: usize = 500;
/// The largest file.
const MAX_BYTES: u64 = 64 << 20;

/// Checks every event, then appends them all in order, and prints where each one stands.
pub(crate) async fn run(settings: &Settings, args: Publish) -> Result<ExitCode, Failure> {
    if args.topic != topic::ISSUES {
        return Err(Failure::usage(format!(
            "nothing but {} can be published to: {:?} is written by breakdown itself, or unknown",
            topic::ISSUES,
            args.topic
        )));
    }
    let name = args.file.display().to_string();
    let events = parse(&read_input(&args.file, MAX_BYTES)?, &name)?;
    let is_new = settings.redpanda.is_none() && !settings.data_dir.is_dir();
    let log = logs::open(settings, Access::Beside).await?;
    if is_new {
        let dir = inert(&settings.data_dir.display().to_string());
        eprintln!(
            "made a new log in {dir}, which no server uses as yet; another is named with --data-dir or BREAKDOWN_DATA_DIR"
        );
    }
    log.create_topics(&logs::topics(settings)).await?;
    for batch in events.chunks(BATCH) {
        let records = batch
            .iter()
            .map(|event| {
                let message = event.to_message(None).map_err(|error| {
                    Failure::failed(format!("{name}: an event cannot be written as JSON: {error}"))
                })?;
                Ok(NewRecord {
                    topic: message.topic.into(),
                    partition: None,
                    key: message.key.into(),
                    value: Some(message.value.into()),
                    headers: message.headers,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        for (event, at) in batch.iter().zip(log.append(records).await?) {
            if args.json {
                say!(
                    "{}",
                    inert_json(
                        &json!({"event_id": event.event_id, "topic": topic::ISSUES, "partition": at.partition, "offset": at.offset})
                    )
                );
            } else {
                say!(
                    "{} partition {} offset {} {}",
                    topic::ISSUES,
                    at.partition,
                    at.offset,
                    inert(&event.event_id)
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One event, an array of events, or one event a line. All are checked before any is appended.
fn parse(bytes: &[u8], name: &str) -> Result<Vec<IssueEvent>, Failure> {
    let mut events = Vec::new();
    for value in Deserializer::from_slice(bytes).into_iter::<Value>() {
        let value = value.map_err(|error| Failure::failed(format!("{name} is no JSON: {error}")))?;
        let several = match value {
            Value::Array(several) => several,
            one => vec![one],
        };
        for value in several {
            let number = events.len() + 1;
            events.push(
                complete(value).map_err(|why| Failure::failed(format!("{name}, event {number}: {why}")))?,
            );
        }
    }
    if events.is_empty() {
        return Err(Failure::failed(format!("{name} holds no event")));
    }
    Ok(events)
}

/// Derives what a sample may leave out (`issue_ref`, `event_id`), then reads the event as strictly as the gateway will.
pub(crate) fn complete(mut value: Value) -> Result<IssueEvent, String> {
    let Some(fields) = value.as_object_mut() else {
        return Err("an event is a JSON object".into());
    };
    // Canonical: serde_json's map keeps its keys sorted, and writes no white space.
    let canonical = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
    // What looks like a webhook is said before what an event would need.
    if fields.contains_key("issue") {
        return Err("this looks like a webhook: `breakdown deliver`; an event's shape is in events/schemas/issues.json".into());
    }
    if !fields.contains_key("issue_ref")
        && fields.keys().all(|name| IssueEvent::field_names().any(|known| known == name))
    {
        let derived = derive_issue_ref(&Value::Object(fields.clone()))?;
        fields.insert("issue_ref".into(), derived.into());
    }
    fields.entry("event_id").or_insert_with(|| id::published_event(&canonical).into());
    IssueEvent::by_hand(std::mem::take(fields))
        .map_err(|mistake| format!("{mistake}; the shape is in events/schemas/issues.json"))
}

fn derive_issue_ref(value: &Value) -> Result<String, String> {
    let text = |field: &str| value[field].as_str();
    match text("source") {
        Some(source) if source == Source::Github.as_str() => {
            let repo =
                text("repo").ok_or("issue_ref is missing and cannot be derived: repo is missing too")?;
            let number = value["issue_number"]
                .as_u64()
                .ok_or("issue_ref is missing and cannot be derived: issue_number is missing too")?;
            Ok(issue_ref_of_github(repo, number))
        }
        Some(source) if source == Source::Jira.as_str() => {
            let key = text("issue_key")
                .ok_or("issue_ref is missing and cannot be derived: issue_key is missing too")?;
            let host = text("url")
                .and_then(|url| reqwest::Url::parse(url).ok())
                .and_then(|url| url.host_str().map(str::to_owned))
                .ok_or("issue_ref is missing and cannot be derived: url names no host")?;
            Ok(issue_ref_of_jira(&host, key))
        }
        _ => Err("source must be \"github\" or \"jira\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: &str =
        r#"{"project_id":"alpha","source":"github","type":"issue_opened","repo":"O/R","issue_number":7}"#;

    #[test]
    fn what_is_missing_is_derived_and_the_same_each_time() {
        let spaced = GITHUB.replace(':', " : ");
        let all = parse(format!("{GITHUB}\n{spaced}").as_bytes(), "f").unwrap();
        assert_eq!(all[0].issue_ref, "github:o/r#7");
        assert!(all[0].event_id.starts_with("p-"));
        assert_eq!(all[0], all[1], "white space does not make another event");
    }

    #[test]
    fn a_given_id_stays() {
        let event = GITHUB.replacen('{', r#"{"event_id":"mine","#, 1);
        assert_eq!(parse(format!("[{event}]").as_bytes(), "f").unwrap()[0].event_id, "mine");
    }

    #[test]
    fn mistakes_name_the_event_and_the_field() {
        for (field, says) in [(r#""lables":[]"#, "lables"), (r#""issue":{}"#, "breakdown deliver")] {
            let error = parse(GITHUB.replacen('{', &format!("{{{field},"), 1).as_bytes(), "f")
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{error}");
        }
        let error =
            parse(GITHUB.replace("issue_opened", "issue_openned").as_bytes(), "f").unwrap_err().to_string();
        assert!(error.contains("issue_openned") && error.contains("issue_opened,"), "{error}");
        let wrong = GITHUB.replacen('{', r#"{"due_at":"tomorrow","#, 1);
        let error = parse(format!("{GITHUB}\n{wrong}").as_bytes(), "f").unwrap_err().to_string();
        assert!(error.contains("f, event 2") && error.contains("due_at"), "{error}");
        for (bad, says) in [("", "no event"), ("{", "no JSON"), ("7", "JSON object"), ("{}", "source")] {
            let error = parse(bad.as_bytes(), "f").unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
