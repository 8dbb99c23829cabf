//! Texts from payloads, made safe to keep: bounded, without NUL, and of the form that is expected.

use std::collections::BTreeMap;

use events::{FieldChange, Said, clean_text};
use http::Uri;
use serde_json::Value;

/// Longest label or name of a person, in characters; both providers allow less.
const MAX_NAME_CHARS: usize = 255;
/// Longest url, in bytes.
const MAX_URL_BYTES: usize = 1024;

/// A label, or the name of a person, a priority or a status.
pub(crate) fn name(text: &str) -> String {
    let mut name = clean_text(text);
    if let Some((end, _)) = name.char_indices().nth(MAX_NAME_CHARS) {
        name.truncate(end);
    }
    name
}

/// A url that a person can open: http or https, without anything that could end a link or begin markup, and without a
/// user's name or password, since what is kept is shown to everybody.
pub(crate) fn web_url(text: &str) -> Option<String> {
    let uri = web_uri(text)?;
    let names_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (!names_user).then(|| text.to_owned())
}

/// The host of a url, in lower case, with its port where one is written.
pub(crate) fn host(url: &str) -> Option<String> {
    let uri = web_uri(url)?;
    let (host, port) = (uri.host()?.to_ascii_lowercase(), uri.port_u16());
    Some(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

fn web_uri(text: &str) -> Option<Uri> {
    let fits = text.len() <= MAX_URL_BYTES
        && text.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\'' | b'`' | b'\\')
        });
    let uri: Uri = fits.then(|| text.parse().ok())??;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

/// What changed, by our field names.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<String, FieldChange>);

impl Changes {
    /// `field` went from `old` to `new`, each as far as it was said. Says nothing where neither was.
    pub(crate) fn moved<T: Into<Value>>(&mut self, field: &str, old: Said<T>, new: Said<T>) {
        let (old, new) = (value(old), value(new));
        if !(old.is_nothing() && new.is_nothing()) {
            self.0.insert(field.to_owned(), FieldChange { old, new, ..FieldChange::default() });
        }
    }

    /// The list `field` gained and lost members. Says nothing where neither happened.
    pub(crate) fn members(&mut self, field: &str, added: Vec<String>, removed: Vec<String>) {
        if !(added.is_empty() && removed.is_empty()) {
            self.0.insert(field.to_owned(), FieldChange { added, removed, ..FieldChange::default() });
        }
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, FieldChange> {
        self.0
    }
}

fn value<T: Into<Value>>(said: Said<T>) -> Said<Value> {
    map(said, Into::into)
}

/// The same said of `f`'s result.
pub(crate) fn map<T, U>(said: Said<T>, f: impl FnOnce(T) -> U) -> Said<U> {
    match said {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::Value(value) => Said::Value(f(value)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn names_are_short_and_without_nul() {
        assert_eq!(name("a\0b"), "a\u{FFFD}b");
        assert_eq!(name(&"é".repeat(1000)).chars().count(), MAX_NAME_CHARS);
    }

    #[rstest]
    #[case("https://github.com/acme/checkout/issues/1", Some("github.com"))]
    #[case("http://JIRA.example.org:8080/browse/OPS-7", Some("jira.example.org:8080"))]
    #[case("https://user:secret@example.org/x", Some("example.org"))]
    #[case("javascript:alert(1)", None)]
    #[case("https://example.org/<b>", None)]
    #[case("/browse/OPS-7", None)]
    #[case("https://", None)]
    #[case("", None)]
    fn hosts_of_web_urls(#[case] url: &str, #[case] expected: Option<&str>) {
        assert_eq!(host(url).as_deref(), expected);
    }

    #[rstest]
    #[case("https://github.com/acme/checkout/issues/1", true)]
    #[case("https://example.org/@acme?q=a@b", true)]
    #[case("https://user:secret@example.org/x", false)]
    #[case("https://user@example.org/x", false)]
    #[case("https://:@example.org/x", false)]
    fn urls_kept_name_no_user(#[case] url: &str, #[case] kept: bool) {
        assert_eq!(web_url(url).as_deref(), kept.then_some(url));
    }
}
