//! One provider's API: requests one at a time, as often and as fast as it lets us.
//!
//! - **Limits are kept.** Told to wait (`Retry-After`, or nothing left until `X-RateLimit-Reset`, in seconds since the epoch at GitHub and in
//!   ISO 8601 at Jira), nothing is asked before that;
//!   told so without a time, a minute, then twice as long each time
//!   (<https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api>,
//!   <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>).
//! - **What passes is tried again**, a few times: no connection, no answer in time, 5xx. The rest is for the next sweep.
//! - **Nothing of an answer is repeated** in errors but its status.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventlog::Clock;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER},
};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    AppKey, SweepError,
    wire::{NoAnswer, Wire},
};
use crate::Provider;

/// How long an answer may take, to its last byte.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often a request is tried that gets no answer, or 5xx.
const TRIES: u32 = 3;
/// The first wait between two tries; four times as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a request may be told to wait before the sweep is given up.
const WAITS: u32 = 6;
/// How long is waited where we are told to wait and not how long; twice as long each time.
const WAIT: Duration = Duration::from_secs(60);
/// The longest wait that is believed: GitHub counts by the hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Who asks.
#[derive(Clone)]
pub(super) enum Login {
    Bearer(SecretString),
    Basic { email: String, token: SecretString },
    App(AppKey),
}

/// One provider's API, as one of its users.
pub(super) struct Api {
    provider: Provider,
    wire: Arc<dyn Wire>,
    base: Url,
    login: Login,
    clock: Arc<dyn Clock>,
    /// The longest body of an answer that is read, in bytes.
    most: usize,
    /// Nothing is asked before.
    rests_until: Mutex<Option<Instant>>,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It answered so, and will again.
    Status(StatusCode),
    /// The answer is longer than is read.
    TooLong,
    /// Not now; why.
    Away(Away),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Away {
    #[error("{0}")]
    NoAnswer(NoAnswer),
    #[error("did not answer within {} s", ANSWER_WITHIN.as_secs())]
    TooSlow,
    #[error("answered {}", .0.as_u16())]
    Status(StatusCode),
    #[error("keeps answering {}: its limit of requests", .0.as_u16())]
    Limited(StatusCode),
}

/// What an answer means.
enum Verdict {
    Done,
    /// Ask again after this, where it is said.
    Wait(Option<Duration>),
    /// Ask again.
    Again(Option<Duration>),
    Refused,
}

impl Api {
    /// `key` is the configuration's, for errors.
    pub(super) fn new(
        provider: Provider,
        key: &str,
        base: &Url,
        login: Login,
        most: usize,
        wire: Arc<dyn Wire>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SweepError> {
        check_base(key, base)?;
        Ok(Self { provider, wire, base: base.clone(), login, clock, most, rests_until: Mutex::default() })
    }

    /// The host of the API, with its port where that is not the usual one.
    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// `GET path?query`, where `path` is below the base.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Bytes>, Failed> {
        self.ask(&Method::GET, path, query, &Bytes::new()).await
    }

    /// `POST path` with JSON, or with nothing.
    pub(super) async fn post(&self, path: &str, json: Vec<u8>) -> Result<Response<Bytes>, Failed> {
        self.ask(&Method::POST, path, &[], &json.into()).await
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Bytes,
    ) -> Result<Response<Bytes>, Failed> {
        let (mut tries, mut waits) = (0, 0);
        loop {
            self.rest().await;
            let request = self.request(method, path, query, body);
            let (away, pause) = match timeout(ANSWER_WITHIN, self.wire.send(request, self.most)).await {
                Err(_) => (Away::TooSlow, None),
                Ok(Err(NoAnswer::TooLong)) => return Err(Failed::TooLong),
                Ok(Err(error)) => (Away::NoAnswer(error), None),
                Ok(Ok(answer)) => match self.judge(&answer) {
                    Verdict::Done => return Ok(answer),
                    Verdict::Refused => return Err(Failed::Status(answer.status())),
                    Verdict::Again(pause) => (Away::Status(answer.status()), pause),
                    Verdict::Wait(after) => {
                        waits += 1;
                        if waits > WAITS {
                            return Err(Failed::Away(Away::Limited(answer.status())));
                        }
                        self.rest_for(after.unwrap_or(WAIT * (1 << (waits - 1))));
                        continue;
                    }
                },
            };
            tries += 1;
            if tries == TRIES {
                return Err(Failed::Away(away));
            }
            sleep(pause.unwrap_or(PAUSE * 4_u32.pow(tries - 1))).await;
        }
    }

    fn request(&self, method: &Method, path: &str, query: &[(&str, &str)], body: &Bytes) -> Request<Bytes> {
        let mut url = self.base.clone();
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::new(body.clone());
        *request.method_mut() = method.clone();
        // What a Url holds, a Uri takes; where it should not, the provider has no such path.
        *request.uri_mut() = url.as_str().parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Some(authorisation) = self.authorisation() {
            headers.insert(AUTHORIZATION, authorisation);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        match self.provider {
            Provider::Github => {
                headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
                let version = HeaderName::from_static("x-github-api-version");
                headers.insert(version, HeaderValue::from_static("2022-11-28"));
            }
            _ => _ = headers.insert(ACCEPT, HeaderValue::from_static("application/json")),
        }
        request
    }

    fn authorisation(&self) -> Option<HeaderValue> {
        let text = match &self.login {
            Login::Bearer(token) => format!("Bearer {}", token.expose_secret()),
            Login::Basic { email, token } => {
                format!("Basic {}", STANDARD.encode(format!("{email}:{}", token.expose_secret())))
            }
            Login::App(key) => format!("Bearer {}", key.token(self.clock.now())?.expose_secret()),
        };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn judge(&self, answer: &Response<Bytes>) -> Verdict {
        let (status, headers) = (answer.status(), answer.headers());
        let now = self.clock.now();
        let after = retry_after(headers, now);
        // GitHub says with every answer when the hour ends; Jira, refusing, when the limit does that was met.
        let met = status == StatusCode::TOO_MANY_REQUESTS && self.provider == Provider::Jira;
        let reset = (spent(headers) || met).then(|| until_reset(headers, now)).flatten();
        if status.is_success() {
            if let Some(reset) = reset {
                self.rest_for(reset);
            }
            return Verdict::Done;
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS => Verdict::Wait(after.or(reset)),
            StatusCode::FORBIDDEN if after.is_some() || spent(headers) || names_limit(answer.body()) => {
                Verdict::Wait(after.or(reset))
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Verdict::Again(after)
            }
            _ => Verdict::Refused,
        }
    }

    fn rest_for(&self, wait: Duration) {
        let wait = wait.min(LONGEST_WAIT);
        if wait.is_zero() {
            return;
        }
        tracing::info!(provider = %self.provider, seconds = wait.as_secs(), "a sweep waits: that is the limit of requests");
        metrics::counter!("breakdown_sweep_waits_total", "provider" => self.provider.as_str()).increment(1);
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
    }

    async fn rest(&self) {
        let until = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}

/// Tokens go to this address: it is encrypted, or this machine.
fn check_base(key: &str, base: &Url) -> Result<(), SweepError> {
    let wrong = |why: &str| Err(SweepError(format!("{key}: {why}")));
    if !base.username().is_empty() || base.password().is_some() {
        return wrong("leave user and password out of the address");
    }
    if base.query().is_some() || base.fragment().is_some() {
        return wrong("write the address without ? and #");
    }
    let host = base.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match base.scheme() {
        "https" if !host.is_empty() => Ok(()),
        "http" if here => Ok(()),
        _ => wrong("it must be an https address (or http on this machine): the token is sent there"),
    }
}

/// Whether there are no requests left.
fn spent(headers: &HeaderMap) -> bool {
    headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
}

/// GitHub says so in words alone where a limit has no time of its own.
fn names_limit(body: &[u8]) -> bool {
    let body = body.get(..body.len().min(4_096)).unwrap_or_default();
    String::from_utf8_lossy(body).to_ascii_lowercase().contains("rate limit")
}

/// Until `X-RateLimit-Reset`, in seconds since the epoch or in ISO 8601, by the clock of whoever set it.
fn until_reset(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let reset = headers.get("x-ratelimit-reset")?.to_str().ok()?.trim();
    let reset = match reset.parse() {
        Ok(seconds) => DateTime::from_timestamp(seconds, 0)?,
        Err(_) => events::provider_instant(reset)?,
    };
    // A second more: both are whole seconds, or the limit ends within the one that is named.
    Some((reset - their_now(headers).unwrap_or(now)).to_std().unwrap_or_default() + Duration::from_secs(1))
}

/// `Retry-After`, as seconds or as a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(LONGEST_WAIT));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    Some((at - their_now(headers).unwrap_or(now)).to_std().unwrap_or_default().min(LONGEST_WAIT))
}

/// When it was answered, by their clock, since it may differ from ours.
pub(super) fn their_now(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://api.github.com", true)]
    #[case("https://ghe.example.com/api/v3/", true)]
    #[case("http://127.0.0.1:9/", true)]
    #[case("http://[::1]:9", true)]
    #[case("http://localhost:9", true)]
    #[case("http://api.github.com", false)]
    #[case("http://localhost.example.com", false)]
    #[case("ftp://127.0.0.1/", false)]
    #[case("https://me:secret@example.com", false)]
    #[case("https://example.com/?x=1", false)]
    fn a_token_is_sent_encrypted_or_not_off_this_machine(#[case] base: &str, #[case] fine: bool) {
        let checked = check_base("github.api_base", &base.parse().unwrap());
        assert_eq!(checked.is_ok(), fine);
        if let Err(error) = checked {
            assert!(
                !error.to_string().contains("secret") && error.to_string().starts_with("github.api_base: ")
            );
        }
    }

    #[test]
    fn waits_are_reckoned_by_their_clock() {
        let now: DateTime<Utc> = "2026-02-02T10:00:00Z".parse().unwrap();
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
        };
        let seconds = Duration::from_secs;
        assert_eq!(retry_after(&headers(&[("retry-after", "30")]), now), Some(seconds(30)));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "99999999999999999999")]), now),
            Some(LONGEST_WAIT)
        );
        let date = ("retry-after", "Mon, 02 Feb 2026 10:00:20 GMT");
        assert_eq!(retry_after(&headers(&[date]), now), Some(seconds(20)));
        let theirs = ("date", "Mon, 02 Feb 2026 10:00:15 GMT");
        assert_eq!(retry_after(&headers(&[date, theirs]), now), Some(seconds(5)));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")]), now), None);
        let reset = ("x-ratelimit-reset", "1770026430");
        assert_eq!(until_reset(&headers(&[reset]), now), Some(seconds(31)));
        assert_eq!(until_reset(&headers(&[reset, theirs]), now), Some(seconds(16)));
        assert_eq!(until_reset(&headers(&[("x-ratelimit-reset", "1")]), now), Some(seconds(1)));
        assert_eq!(until_reset(&headers(&[("x-ratelimit-reset", "-")]), now), None);
        let minute = ("x-ratelimit-reset", "2026-02-02T10:01Z");
        assert_eq!(until_reset(&headers(&[minute]), now), Some(seconds(61)));
        assert_eq!(until_reset(&headers(&[minute, theirs]), now), Some(seconds(46)));
    }
}
