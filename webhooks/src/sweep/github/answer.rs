//! What GitHub answers of its deliveries, and what the log says of those that came.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, Utc};
use http::{HeaderMap, header::LINK};
use reqwest::Url;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Provider,
    signature::{Secrets, Signature},
};

/// A delivery, as it is listed. One that is not as documented must not keep us from the others.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Item {
    pub(super) id: Option<u64>,
    pub(super) guid: Option<String>,
    pub(super) delivered_at: Option<DateTime<Utc>>,
    pub(super) event: Option<String>,
}

/// A delivery with what was sent.
#[derive(Deserialize)]
pub(super) struct Whole<'a> {
    #[serde(borrow)]
    pub(super) guid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) request: Sent<'a>,
}

#[derive(Deserialize)]
pub(super) struct Sent<'a> {
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
}

/// The delivery's id in an event of GitHub's, or in a dead letter of such a delivery.
pub(super) fn delivery_of(value: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow, default)]
        source: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        delivery_id: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        origin: Option<Origin<'a>>,
    }
    #[derive(Deserialize)]
    struct Origin<'a> {
        #[serde(borrow, default)]
        provider: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        delivery_id: Option<Cow<'a, str>>,
    }
    let Told { source, delivery_id, origin } = serde_json::from_slice(value).ok()?;
    let (source, id) = match origin {
        Some(Origin { provider, delivery_id }) => (provider, delivery_id),
        None => (source, delivery_id),
    };
    id.filter(|_| source.as_deref() == Some(Provider::Github.as_str()))
}

/// The cursor of the next page. Only that is taken from the address: the token goes where the configuration says.
pub(super) fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

/// The payload's bytes as they were signed, where they can be told: as they are, or without what makes an answer legible.
pub(super) fn signed_bytes(
    secrets: Option<&Secrets>,
    headers: Option<&BTreeMap<String, serde_json::Value>>,
    payload: &str,
) -> Option<Vec<u8>> {
    let mut headers = headers?.iter();
    let name = Provider::Github.signature_header();
    let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name.as_str()))?;
    let signature = Signature::parse(Provider::Github, value.as_str()?.as_bytes())?;
    let fits = |bytes: &Vec<u8>| secrets.is_some_and(|secrets| secrets.verify(&signature, bytes));
    Some(payload.as_bytes().to_vec()).filter(fits).or_else(|| Some(compact(payload).into()).filter(fits))
}

/// JSON without white space between its parts.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keeps = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keeps).collect()
}

#[cfg(test)]
mod unit {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_goes_where_it_says_nothing() {
        let pretty = "{\n  \"a b\" : [ 1, \"x \\\" y\\\\\" , \"\t\" ],\r\n \"c\": null }";
        assert_eq!(compact(pretty), "{\"a b\":[1,\"x \\\" y\\\\\",\"\t\"],\"c\":null}");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "[ \\\\\"a\n\u{e9}]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[ \\\\\"b]{0,4}", inner), 0..4)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_was_indented_comes_back(value in json()) {
            prop_assert_eq!(compact(&serde_json::to_string_pretty(&value).unwrap()), value.to_string());
        }

        #[test]
        fn no_answer_is_too_odd(text in ".{0,200}") {
            compact(&text);
            delivery_of(text.as_bytes());
            signed_bytes(None, None, &text);
        }
    }

    #[test]
    fn of_a_link_only_the_cursor_is_taken() {
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(link));
            next_cursor(&headers)
        };
        let first = "<https://api.github.com/repos/o/r/hooks/1/deliveries?per_page=100&cursor=v1_123%3D>; rel=\"next\"";
        assert_eq!(next(first).as_deref(), Some("v1_123="));
        assert_eq!(
            next("<https://x/?cursor=a>; rel=\"prev\", <https://x/?cursor=b>; rel=\"next\"").as_deref(),
            Some("b")
        );
        for none in [
            "<https://x/?cursor=a>; rel=\"prev\"",
            "<https://x/>; rel=\"next\"",
            "rel=\"next\"",
            "<:>; rel=\"next\"",
        ] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn a_delivery_is_told_from_an_event_and_from_a_dead_letter() {
        let told = |value: &str| delivery_of(value.as_bytes()).map(Cow::into_owned);
        assert_eq!(told(r#"{"source":"github","delivery_id":"d"}"#).as_deref(), Some("d"));
        assert_eq!(
            told(r#"{"origin":{"kind":"delivery","provider":"github","delivery_id":"d"}}"#).as_deref(),
            Some("d")
        );
        for none in [
            r#"{"source":"jira","delivery_id":"d"}"#,
            r#"{"source":"github"}"#,
            r#"{"origin":{"kind":"record"}}"#,
            "x",
        ] {
            assert_eq!(told(none), None, "{none}");
        }
    }
}
