//! What a body's bytes are: JSON, or GitHub's form with JSON in its field `payload`.

use std::borrow::Cow;

use http::{HeaderMap, header};
use percent_encoding::percent_decode;

use crate::{Provider, delivery::Unreadable, refusal::Refusal};

/// What a form begins with.
const FORM: &[u8] = b"payload=";

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Form,
}

impl Encoding {
    /// Takes it from a request's head. Parameters such as `charset=UTF-8` make no difference: JSON is UTF-8.
    pub(crate) fn of(provider: Provider, headers: &HeaderMap) -> Result<Self, Refusal> {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::ContentEncoding);
        }
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::ContentType) };
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/json") {
            Ok(Self::Json)
        } else if provider == Provider::Github
            && kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        {
            Ok(Self::Form)
        } else {
            Err(Refusal::ContentType)
        }
    }

    /// Takes it from the bytes of a delivery that was kept without its head: JSON does not begin as a form does.
    pub(crate) fn of_kept(provider: Provider, body: &[u8]) -> Self {
        if provider == Provider::Github && body.starts_with(FORM) { Self::Form } else { Self::Json }
    }

    /// The JSON text in `body`.
    pub(crate) fn json(self, body: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
        const NOT_UTF8: Unreadable = Unreadable::because("the payload is not UTF-8");
        match self {
            Self::Json => std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| NOT_UTF8),
            Self::Form => {
                // The content type is not signed, the bytes are. GitHub's form is this one field and nothing else; were others
                // passed over, a JSON body with `&payload=` in a title could be sent again as a form of its author's making.
                let payload = body.strip_prefix(FORM).filter(|payload| !payload.contains(&b'&'));
                let payload = payload.ok_or(Unreadable::because("the form is not one field `payload`"))?;
                // The form crates decode what is not UTF-8 as U+FFFD; here it has to be noticed.
                // Decoded piece by piece into the one copy that there is: it can have 25 MiB. A `+` is a space, and
                // none of those that are written as %2B.
                let mut decoded = Vec::with_capacity(payload.len());
                for (place, piece) in payload.split(|byte| *byte == b'+').enumerate() {
                    if place > 0 {
                        decoded.push(b' ');
                    }
                    decoded.extend(percent_decode(piece));
                }
                String::from_utf8(decoded).map(Cow::Owned).map_err(|_| NOT_UTF8)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn encoding(provider: Provider, headers: &[(&'static str, &'static str)]) -> Result<Encoding, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Encoding::of(provider, &map)
    }

    #[rstest]
    #[case("application/json", Ok(Encoding::Json))]
    #[case("Application/JSON ; charset=UTF-8", Ok(Encoding::Json))]
    #[case("application/x-www-form-urlencoded", Ok(Encoding::Form))]
    #[case("text/json", Err(Refusal::ContentType))]
    #[case("application/json-seq", Err(Refusal::ContentType))]
    #[case("", Err(Refusal::ContentType))]
    fn content_types_of_github(#[case] kind: &'static str, #[case] expected: Result<Encoding, Refusal>) {
        assert_eq!(encoding(Provider::Github, &[("content-type", kind)]), expected);
    }

    #[test]
    fn refuses_what_is_missing_doubled_or_encoded() {
        let json = ("content-type", "application/json");
        assert_eq!(encoding(Provider::Github, &[]), Err(Refusal::ContentType));
        assert_eq!(encoding(Provider::Github, &[json, json]), Err(Refusal::ContentType));
        assert_eq!(
            encoding(Provider::Jira, &[("content-type", "application/x-www-form-urlencoded")]),
            Err(Refusal::ContentType)
        );
        assert_eq!(
            encoding(Provider::Jira, &[json, ("content-encoding", "gzip")]),
            Err(Refusal::ContentEncoding)
        );
    }

    #[test]
    fn finds_the_payload_of_a_form() {
        let text = |body: &str| Encoding::Form.json(body.as_bytes()).map(Cow::into_owned);
        assert_eq!(text("payload=%7B%22a+b%22%3A%22%C3%A9%22%7D").unwrap(), "{\"a b\":\"é\"}");
        assert_eq!(text("payload=++1%2B+%4").unwrap(), "  1+ %4");
        assert!(text("payload=1&y=2").is_err());
        assert!(text("{\"title\":\"x&payload=%7B%7D&z=\"}").is_err());
        assert!(text("x=1").is_err());
        assert!(text("payload=1&payload=2").is_err());
        assert!(text("payload=%FF").is_err());
    }
}
