//! HTTP, in one place: where a request may go (`guard.rs`), how it goes out (`client.rs`), and what its answer means.

mod client;
mod guard;
mod trouble;

use std::{error::Error, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
pub(crate) use client::Place;
pub use client::http_client;
use eventlog::Clock;
use events::Unsent;
use guard::{Barred, Guard};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{ExecutorError, Verdict, Whereabouts, plain_text::one_line};

/// How much of an answer is read, in bytes, where it is one thing.
pub(crate) const ONE: usize = 256 * 1024;
/// How much of an answer is read, in bytes, where it is a page of things.
pub(crate) const PAGE: usize = 8 * 1024 * 1024;
/// How much of a request is shown in a dry run's outcome, in bytes.
const UNSENT_MAX: usize = 16 * 1024;
/// The longest wait that a target is believed, in `Retry-After`.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long the body of an answer that says "done" may take: it can only add the reference.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// How long a name may take to be resolved, where nothing is called yet.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(5);
/// The longest reference that is kept, in characters.
const MAX_REFERENCE: usize = 256;

/// One outside API: its address, and the one way to it.
#[derive(Clone)]
pub(crate) struct Api {
    /// The target's name, in reasons.
    pub(crate) name: &'static str,
    /// Host and port, and the key of the configuration that says so, in reasons. Nothing else of the address: it may be a secret.
    at: Arc<str>,
    base: Url,
    /// Through which requests go.
    proxy: Option<Url>,
    client: Client,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
}

impl Api {
    /// Fails where `place` must not be reached, or TLS cannot be set up.
    pub(crate) fn new(
        name: &'static str,
        place: &Place,
        attempt_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        let (client, guard) = client::guarded(place, attempt_timeout)?;
        let (base, proxy) = (place.base.clone(), place.proxied().cloned());
        Ok(Self { name, at: place.told().into(), client, guard, base, proxy, clock })
    }

    /// Where requests go now.
    pub(crate) async fn whereabouts(&self) -> Whereabouts {
        let port = self.base.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
        let host = format!("{}{port}", self.base.host_str().unwrap_or_default());
        let proxied = self.proxy.is_some();
        let looked = self.guard.look(self.proxy.as_ref().unwrap_or(&self.base));
        let (addresses, unresolved) = match timeout(LOOKED_UP_WITHIN, looked).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => (addresses, None),
            Ok(_) => (Vec::new(), Some("its name cannot be resolved")),
            Err(_) => (Vec::new(), Some("its name is not resolved in time")),
        };
        Whereabouts { host, proxied, addresses, unresolved }
    }

    /// The base itself.
    pub(crate) fn base(&self) -> Url {
        self.base.clone()
    }

    /// The base with these path segments after it, each of them text: slashes in them are written as such. A segment
    /// must be neither empty nor dots: whoever takes one from outside looks at it before.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// A request to `url`, which lies below the base, with this body, for a dry run.
    pub(crate) fn unsent(&self, method: Method, url: &Url, body: impl Serialize) -> Unsent {
        let body = serde_json::to_value(body).unwrap_or_default();
        let length = body.to_string().len();
        let body = if length > UNSENT_MAX { format!("{length} bytes of JSON").into() } else { body };
        let port = self.base.port().map_or(String::new(), |port| format!(":{port}"));
        let host = format!("{}{port}", self.base.host_str().unwrap_or_default());
        let below = url.path().strip_prefix(self.base.path().trim_end_matches('/'));
        let path = below.filter(|below| below.len() > 1).map(ToOwned::to_owned);
        Unsent { method: method.to_string(), host, path, body }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Sends. Whatever answers is a reply, whatever its status; no answer is a verdict.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Reply, Verdict> {
        match request.send().await {
            Ok(response) => {
                Ok(Reply { name: self.name, at: self.at.clone(), response, now: self.clock.now() })
            }
            Err(error) => Err(unsent(self.name, &self.at, &error)),
        }
    }

    /// Sends `body` as JSON with `key` as `Idempotency-Key` and judges the answer by its status.
    pub(crate) async fn post(&self, url: Url, key: &str, body: &impl Serialize) -> Verdict {
        let request = self.request(Method::POST, url).header("Idempotency-Key", key).json(body);
        match self.send(request).await {
            Ok(reply) if reply.status().is_success() => {
                Verdict::Done { reference: reply.reference("id").await }
            }
            Ok(reply) => reply.refused(),
            Err(verdict) => verdict,
        }
    }
}

/// What no answer means. reqwest's own text holds the url; ours says what matters.
fn unsent(name: &str, at: &str, error: &reqwest::Error) -> Verdict {
    if error.is_builder() {
        return Verdict::Reject { reason: format!("the request for {name} could not be written") };
    }
    let reason = match (barred(error), error.is_connect(), error.is_timeout()) {
        (Some(barred), ..) => {
            format!("{name} was not called ({at}): {barred}; if that is meant, set allow_private = true")
        }
        (_, true, _) => format!("{name} could not be reached ({at}): {}", trouble::of(error)),
        (_, _, true) => format!("{name} did not answer in time ({at})"),
        _ => format!("{name} broke off without an answer ({at})"),
    };
    Verdict::Retry { after: None, reason }
}

/// What the guard had against it, where it was the guard.
fn barred(error: &reqwest::Error) -> Option<Barred> {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = source {
        if let Some(barred) = error.downcast_ref() {
            return Some(*barred);
        }
        source = error.source();
    }
    None
}

/// An answer, of which the head is there.
#[derive(Debug)]
pub(crate) struct Reply {
    name: &'static str,
    at: Arc<str>,
    response: Response,
    now: DateTime<Utc>,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Now, by their clock where the answer has a date: ours may differ.
    pub(crate) fn their_now(&self) -> DateTime<Utc> {
        self.header(DATE.as_str()).and_then(date).unwrap_or(self.now)
    }

    /// When to come back, where it says.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.response.headers(), self.now)
    }

    /// `NAME answered STATUS (HOST:PORT, KEY)`, and what that means here.
    pub(crate) fn reason(&self, meaning: &str) -> String {
        let (name, at, status) = (self.name, &self.at, self.status().as_u16());
        match meaning {
            "" => format!("{name} answered {status} ({at})"),
            meaning => format!("{name} answered {status} ({at}): {meaning}"),
        }
    }

    /// Never like this.
    pub(crate) fn reject(&self, meaning: &str) -> Verdict {
        Verdict::Reject { reason: self.reason(meaning) }
    }

    /// Not now.
    pub(crate) fn retry(&self, after: Option<Duration>, meaning: &str) -> Verdict {
        Verdict::Retry { after, reason: self.reason(meaning) }
    }

    /// What a status other than success means wherever the API gives it no meaning of its own.
    pub(crate) fn refused(&self) -> Verdict {
        let status = self.status();
        let retriable = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT
                    | StatusCode::CONFLICT // the first request with this key still runs
                    | StatusCode::TOO_EARLY
                    | StatusCode::TOO_MANY_REQUESTS
            );
        if retriable { self.retry(self.retry_after(), "") } else { self.reject("") }
    }

    /// The body; `None` where it is longer than `max` bytes. What breaks off is taken as far as it came.
    pub(crate) async fn bytes(self, max: usize) -> Option<Vec<u8>> {
        body(self.response, max).await
    }

    /// The body as JSON of this form; `None` where it is another, breaks off, or is longer than `max` bytes.
    pub(crate) async fn json<T: DeserializeOwned>(self, max: usize) -> Option<T> {
        serde_json::from_slice(&body(self.response, max).await?).ok()
    }

    /// The same where the answer must be read to know what was done: else the verdict is to ask again.
    pub(crate) async fn readable<T: DeserializeOwned>(self, max: usize) -> Result<T, Verdict> {
        let reason = self.reason("in a form that cannot be read");
        self.json(max).await.ok_or(Verdict::Retry { after: None, reason })
    }

    /// What a JSON answer names under `key`, text or number. The status has said that it was done: whatever is wrong with
    /// the body, its slowness too, only costs the reference.
    pub(crate) async fn reference(self, key: &str) -> Option<String> {
        let answer: serde_json::Value = timeout(BODY_WITHIN, self.json(ONE)).await.ok()??;
        referring(answer.get(key)?)
    }
}

/// A reference as it is kept.
pub(crate) fn referring(id: &serde_json::Value) -> Option<String> {
    let id = match id {
        serde_json::Value::String(id) => one_line(id, MAX_REFERENCE),
        serde_json::Value::Number(id) => id.to_string(),
        _ => return None,
    };
    (!id.is_empty()).then_some(id)
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// `Retry-After`, as seconds or as a date; at most a day.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    // Their date against their clock: ours may differ.
    let their_now = headers.get(DATE).and_then(|d| d.to_str().ok()).and_then(date).unwrap_or(now);
    let wait = (date(text)? - their_now).to_std().unwrap_or(Duration::ZERO);
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The body; `None` where it is too long. What breaks off is taken as far as it came.
async fn body(mut response: Response, max: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > max {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(784_111_777, 0).expect("an instant") // Sun, 06 Nov 1994 08:49:37 GMT
    }

    fn wait(value: &'static str, date: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_static(date));
        }
        retry_after(&headers, now()).map(|d| d.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("120", None), Some(120));
        assert_eq!(wait("99999999999999999999999", None), Some(86_400), "never longer than a day");
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", None), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT")), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0), "a past date is now");
        for nonsense in ["", "soon", "-1", "1.5", "0x10"] {
            assert_eq!(wait(nonsense, None), None, "{nonsense}");
        }
    }

    fn api(base: &str, attempt_timeout: Duration) -> Result<Api, ExecutorError> {
        let place = Place {
            key: "calendar.api_base".into(),
            base: base.parse().expect("a url"),
            allow_private: false,
            proxy: None,
        };
        Api::new("calendar", &place, attempt_timeout, Arc::new(eventlog::ManualClock::new(now())))
    }

    #[test]
    fn a_path_is_added_with_or_without_a_slash() {
        for base in ["http://127.0.0.1:1/api", "http://127.0.0.1:1/api/"] {
            let api = api(base, Duration::from_secs(1)).expect("an API");
            assert_eq!(api.url(&["nudges"]).as_str(), "http://127.0.0.1:1/api/nudges");
            assert_eq!(api.url(&["a b", "c/d?e#f"]).as_str(), "http://127.0.0.1:1/api/a%20b/c%2Fd%3Fe%23f");
        }
        for base in ["mailto:x@y", "ftp://127.0.0.1/"] {
            assert!(api(base, Duration::from_secs(1)).is_err());
        }
        let https = http_client(&Url::parse("https://h/").expect("a url"), Duration::from_secs(1));
        assert!(matches!(https, Ok(_) | Err(ExecutorError::Config(_))), "with or without certificates");
    }

    #[tokio::test]
    async fn a_request_ends_before_its_attempt_does() {
        // Accepts, and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let attempt = Duration::from_millis(1500);
        let api = api(&url, attempt).expect("an API");
        let asked = api.post(api.base(), "a-1", &());
        let verdict = timeout(attempt * 9 / 10, asked).await;
        let at = listener.local_addr().expect("an address");
        let reason = format!("calendar did not answer in time ({at}, calendar.api_base)");
        assert_eq!(verdict, Ok(Verdict::Retry { after: None, reason }));
    }

    #[tokio::test]
    async fn a_reason_says_where_and_nothing_of_a_path() {
        let server = wiremock::MockServer::start().await;
        let answer = wiremock::ResponseTemplate::new(401).set_body_string("c4n4ry");
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let here = api(&format!("{}/c4n4ry?c4n4ry", server.uri()), Duration::from_secs(5)).expect("an API");
        let reason = format!("calendar answered 401 ({}, calendar.api_base)", server.address());
        assert_eq!(here.post(here.base(), "a-1", &()).await, Verdict::Reject { reason });
    }
}
