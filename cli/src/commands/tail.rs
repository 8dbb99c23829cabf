//! `breakdown tail TOPIC`.

use std::{io::Write, process::ExitCode, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::SecondsFormat;
use eventlog::Record;
use serde_json::{Map, Value, json};

use crate::{
    args::{From, Tail},
    commands::{inert, inert_json, starts},
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

/// Prints records; without `--follow` it ends at the end of the topic.
pub(crate) async fn run(settings: &Settings, args: Tail) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let last = args.n.unwrap_or(usize::MAX);
    let from = starts(&*log, &args.topic, |bounds| match args.from {
        // On a broker a transaction's marker takes an offset of its own: twice N offsets hold at least N records
        // unless steps append less than one record each.
        None => bounds.end.saturating_sub((last as u64).saturating_mul(2)).max(bounds.first),
        Some(From::Start) => bounds.first,
        Some(From::End) => bounds.end,
        Some(From::Offset(offset)) => offset,
    })
    .await?;
    let mut reader = log.read(&args.topic, &from).await?;
    // With -n the last N can only be known at the end; otherwise records are printed as they come.
    let mut held: Option<Vec<Record>> = args.n.map(|_| Vec::new());
    loop {
        let at_end = reader.at_end().await?;
        let wait =
            if at_end && (!args.follow || held.is_some()) { Duration::ZERO } else { Duration::from_secs(1) };
        let records = reader.next(wait).await?;
        let ended = at_end && records.is_empty();
        match &mut held {
            Some(all) => {
                all.extend(records);
                all.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
                all.drain(..all.len().saturating_sub(last));
            }
            None => {
                if !print(&records, args.json) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        if ended && (!print(&held.take().unwrap_or_default(), args.json) || !args.follow) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// False when nobody reads any more (`| head`).
fn print(records: &[Record], as_json: bool) -> bool {
    let mut out = std::io::stdout().lock();
    let written = records.iter().try_for_each(|record| {
        if as_json {
            writeln!(out, "{}", inert_json(&to_json(record)))
        } else {
            writeln!(out, "{}", to_line(record))
        }
    });
    written.and_then(|()| out.flush()).is_ok()
}

fn to_line(record: &Record) -> String {
    format!(
        "{}/{}@{} {} {} {}",
        record.topic,
        record.partition,
        record.offset,
        record.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
        inert(&String::from_utf8_lossy(&record.key)),
        record.value.as_deref().map_or("(deleted)".into(), |value| inert(&String::from_utf8_lossy(value)))
    )
}

/// One object: topic, partition, offset, key, headers, timestamp, value. A value that is not JSON is
/// `{"base64": …}`.
fn to_json(record: &Record) -> Value {
    let headers: Map<String, Value> =
        record.headers.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let value = match record.value.as_deref() {
        None => Value::Null,
        Some(bytes) => {
            serde_json::from_slice(bytes).unwrap_or_else(|_| json!({"base64": STANDARD.encode(bytes)}))
        }
    };
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": String::from_utf8_lossy(&record.key),
        "headers": headers,
        "timestamp": record.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
        "value": value,
    })
}
