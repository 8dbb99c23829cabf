//! What is sent: text as data. `&`, `<` and `>` are escaped, which leaves no mention and no link; blocks are plain text; names
//! are not linked and addresses not unfolded.

use chrono::{DateTime, TimeDelta, Utc};
use events::{Action, Recipients};
use serde::Serialize;
use serde_json::{Value, json};

use crate::message::Message;

/// The longest text of a block, in characters (Slack's is 3,000).
const TEXT_MAX: usize = 2900;
/// Of it for the address.
const URL_MAX: usize = 1000;
/// What tells our messages from others in a channel's history.
const EVENT_TYPE: &str = "breakdown_action";
/// How much their clock may be ahead of ours.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A channel, by its id.
    Channel(String),
    /// A person, by their member id.
    Member(String),
}

impl Address {
    pub(super) fn id(&self) -> &str {
        let (Self::Channel(id) | Self::Member(id)) = self;
        id
    }
}

/// The team's channel; without one its people, or the person; else `fallback`. None: nobody can be reached.
pub(crate) fn addresses(to: &Recipients, fallback: Option<&str>) -> Vec<Address> {
    if let Some(channel) = to.team.as_ref().and_then(|team| team.slack.as_ref()).filter(|id| is_id(id)) {
        return vec![Address::Channel(channel.clone())];
    }
    let people = to.people.iter().filter_map(|person| person.slack.clone()).filter(|id| is_id(id));
    let mut addresses: Vec<Address> = Vec::new();
    for member in people.map(Address::Member) {
        if !addresses.contains(&member) {
            addresses.push(member);
        }
    }
    if addresses.is_empty() {
        addresses.extend(fallback.map(|id| Address::Channel(id.to_owned())));
    }
    addresses
}

/// Slack's ids are capital letters and digits.
pub(super) fn is_id(text: &str) -> bool {
    (2..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// `text` without anything that Slack would take for markup, at most `max` characters.
fn escaped(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let part = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += part.len().max(1);
        if length >= max {
            out.push('…');
            break;
        }
        if part.is_empty() { out.push(c) } else { out.push_str(part) }
    }
    out
}

/// What is said: one line.
pub(super) fn text(action: &Action) -> Option<String> {
    let mut message = Message::of(action)?;
    let url = message.url.take().map(|url| escaped(&url, URL_MAX)).filter(|url| !url.ends_with('…'));
    let text = escaped(&message.line(), TEXT_MAX - URL_MAX - 3);
    Some(match url {
        Some(url) => format!("{text} · {url}"),
        None => text,
    })
}

/// A message, for `chat.postMessage` and for incoming webhooks.
#[derive(Debug, Serialize)]
pub(super) struct Post<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    text: &'a str,
    blocks: [Value; 1],
    mrkdwn: bool,
    parse: &'static str,
    link_names: bool,
    unfurl_links: bool,
    unfurl_media: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

impl<'a> Post<'a> {
    /// To `channel` with a note of the action in its metadata, or, without a channel, to a webhook's.
    pub(super) fn new(channel: Option<&'a str>, text: &'a str, action_id: &str) -> Self {
        let plain = json!({ "type": "plain_text", "text": text, "emoji": false });
        let metadata = json!({ "event_type": EVENT_TYPE, "event_payload": { "id": action_id } });
        Self {
            channel,
            text,
            blocks: [json!({ "type": "section", "text": plain })],
            mrkdwn: false,
            parse: "none",
            link_names: false,
            unfurl_links: false,
            unfurl_media: false,
            metadata: channel.map(|_| metadata),
        }
    }
}

/// The query of `conversations.history` for what was posted since an action can have been carried out.
pub(super) fn history(channel: &str, since: DateTime<Utc>, cursor: &str) -> Vec<(&'static str, String)> {
    let oldest = since.checked_sub_signed(SKEW).unwrap_or(since);
    let mut query = vec![
        ("channel", channel.to_owned()),
        ("oldest", format!("{}.000000", oldest.timestamp().max(0))),
        ("limit", "200".to_owned()),
        ("include_all_metadata", "true".to_owned()),
    ];
    if !cursor.is_empty() {
        query.push(("cursor", cursor.to_owned()));
    }
    query
}

/// Whether a message's metadata says that it is this action's.
pub(super) fn is_of(metadata: &Value, action_id: &str) -> bool {
    metadata["event_type"] == EVENT_TYPE && metadata["event_payload"]["id"] == action_id
}
