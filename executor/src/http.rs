//! HTTP, judged in one place: how a request goes out and what its answer means.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde::Serialize;
use tokio::time::timeout;

use crate::{ExecutorError, Verdict, plain_text::one_line};

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest wait that a target is believed, in `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long the body of an answer that says "done" may take: it can only add the reference.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// The longest reference that is kept, in characters.
const MAX_REFERENCE: usize = 256;

/// A client for one outside API at `base`: no redirects, no proxy from the environment, bounded connections and times.
///
/// TLS is rustls with ring and the system's certificates, read only when `base` is https: a machine without any can
/// still speak http. A request takes at most four fifths of `attempt_timeout`, from connecting to the last byte: it ends
/// before the attempt's own timeout, so that whoever has the head of the answer can judge by it. Fails when there are none to read, or `base` is neither.
pub fn http_client(base: &Url, attempt_timeout: Duration) -> Result<Client, ExecutorError> {
    // The one process-wide provider that reqwest takes; an error means that somebody installed theirs already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("breakdown/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(attempt_timeout * 4 / 5)
        .connect_timeout(attempt_timeout.min(Duration::from_secs(5)))
        .pool_max_idle_per_host(32)
        .pool_idle_timeout(Duration::from_secs(30));
    let builder = match base.scheme() {
        "http" => builder.tls_certs_only([]),
        "https" => builder.https_only(true),
        _ => return Err(ExecutorError::Config("CALENDAR_API_BASE must be an http or https address".into())),
    };
    builder.build().map_err(|error| {
        ExecutorError::Config(format!(
            "the HTTP client for {} cannot be made: {error}; are the system's CA certificates installed?",
            base.host_str().unwrap_or("the target"),
        ))
    })
}

/// `base` with one more path segment.
pub(crate) fn under(base: &Url, segment: &str) -> Result<Url, ExecutorError> {
    let mut url = base.clone();
    let no_base = |()| ExecutorError::Config("CALENDAR_API_BASE must be an http or https address".into());
    url.path_segments_mut().map_err(no_base)?.pop_if_empty().push(segment);
    Ok(url)
}

/// Sends `body` as JSON with `key` as `Idempotency-Key` and judges the answer. `name` stands in reasons; `now` is what
/// a date in `Retry-After` is compared with where the answer has no date of its own.
pub(crate) async fn post(
    client: &Client,
    name: &str,
    url: Url,
    key: &str,
    body: &impl Serialize,
    now: DateTime<Utc>,
) -> Verdict {
    match client.post(url).header("Idempotency-Key", key).json(body).send().await {
        Ok(response) => judge(name, response, now).await,
        // reqwest's own text holds the url; ours says what matters.
        Err(error) if error.is_builder() => {
            Verdict::Reject { reason: format!("the request for {name} could not be written") }
        }
        Err(error) => {
            let what = match () {
                () if error.is_connect() => "could not be reached",
                () if error.is_timeout() => "did not answer in time",
                () => "broke off without an answer",
            };
            Verdict::Retry { after: None, reason: format!("{name} {what}") }
        }
    }
}

async fn judge(name: &str, response: Response, now: DateTime<Utc>) -> Verdict {
    let status = response.status();
    let reason = || format!("{name} answered {}", status.as_u16());
    if status.is_success() {
        return Verdict::Done { reference: reference(response).await };
    }
    let retriable = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT // the first request with this key still runs
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    if retriable {
        return Verdict::Retry { after: retry_after(response.headers(), now), reason: reason() };
    }
    Verdict::Reject { reason: reason() }
}

/// `Retry-After`, as seconds or as a date; at most a day.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let date = |text: &str| DateTime::parse_from_rfc2822(text).ok().map(|d| d.to_utc());
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

/// The `id` of a JSON answer, text or number. The status has said that it was done: whatever is wrong with the body,
/// its slowness too, only costs the reference.
async fn reference(response: Response) -> Option<String> {
    let body = timeout(BODY_WITHIN, body(response)).await.ok()??;
    let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let id = match answer.get("id")? {
        serde_json::Value::String(id) => one_line(id, MAX_REFERENCE),
        serde_json::Value::Number(id) => id.to_string(),
        _ => return None,
    };
    (!id.is_empty()).then_some(id)
}

/// The body; `None` where it is too long. What breaks off is taken as far as it came.
async fn body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_ANSWER {
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

    #[test]
    fn a_path_is_added_with_or_without_a_slash() {
        for base in ["http://h:1/api", "http://h:1/api/"] {
            let url = under(&Url::parse(base).expect("a url"), "nudges").expect("a base");
            assert_eq!(url.as_str(), "http://h:1/api/nudges");
        }
        assert!(under(&Url::parse("mailto:x@y").expect("a url"), "nudges").is_err());
        let https = http_client(&Url::parse("https://h/").expect("a url"), Duration::from_secs(1));
        assert!(matches!(https, Ok(_) | Err(ExecutorError::Config(_))), "with or without certificates");
        assert!(http_client(&Url::parse("ftp://h/").expect("a url"), Duration::from_secs(1)).is_err());
    }

    #[tokio::test]
    async fn a_request_ends_before_its_attempt_does() {
        // Accepts, and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let url = Url::parse(&url).expect("a url");
        let attempt = Duration::from_millis(1500);
        let client = http_client(&url, attempt).expect("a client");
        let asked = post(&client, "calendar", url, "a-1", &(), now());
        let verdict = timeout(attempt * 9 / 10, asked).await;
        let reason = "calendar did not answer in time".to_owned();
        assert_eq!(verdict, Ok(Verdict::Retry { after: None, reason }));
    }
}
