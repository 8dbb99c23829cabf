//! A message as it goes onto a topic: key, CloudEvents headers, JSON value.

use chrono::{DateTime, SecondsFormat, Utc};

/// A message as it goes onto a topic. Headers are CloudEvents 1.0 in binary mode
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>) and
/// `traceparent` (<https://www.w3.org/TR/trace-context/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: &'static str,
    /// The key: the project.
    pub key: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The JSON value.
    pub value: Vec<u8>,
}

impl Message {
    /// A message; `ce` is id, type (without the leading `breakdown.`) and source.
    pub(crate) fn new(
        topic: &'static str,
        key: &str,
        (ce_id, ce_type, ce_source): (&str, &str, &str),
        ce_time: Option<DateTime<Utc>>,
        traceparent: String,
        value: Vec<u8>,
    ) -> Self {
        let mut headers = vec![
            ("ce_specversion".to_owned(), "1.0".to_owned()),
            ("ce_id".to_owned(), ce_id.to_owned()),
            ("ce_type".to_owned(), format!("breakdown.{ce_type}")),
            ("ce_source".to_owned(), ce_source.to_owned()),
        ];
        if let Some(time) = ce_time {
            headers.push(("ce_time".to_owned(), time.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
        }
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        headers.push(("traceparent".to_owned(), traceparent));
        Self { topic, key: key.to_owned(), headers, value }
    }
}
