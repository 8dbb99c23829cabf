//! Deliveries, put to the receivers, and what they append to the gateway, and what that decides to the executor: whatever a
//! receiver answers 202 is read by all who come after it.
//!
//! `github`, `jira` and `pagerduty`: the first line is the event, the content type and the delivery id, each from the one before by a tab, as far
//! as they are said; the rest is the body. It is signed here.
//!
//! `signature`: each line but the last is a signature header's value, the last is the body. Nothing is signed here.

use std::{cell::RefCell, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Request, StatusCode, header},
};
use eventlog::{ManualClock, NewRecord};
use events::{DeadLetter, IssueEvent, topic};
use gateway::fuzzing::Held;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use webhooks::{Accounts, Config, Limits, Projects, Provider, Secrets, sign};

use crate::{
    policies::sample,
    recorder::{Recorder, as_read, now},
};

const SECRET: &str = "It's a Secret to Everybody";

struct World {
    runtime: Runtime,
    router: Router,
    log: Arc<Recorder>,
}

thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));

/// Receivers of all providers, which know who we are.
pub(crate) fn config() -> Config {
    let secrets = Secrets::parse(SECRET).ok();
    Config {
        github: secrets.clone(),
        jira: secrets.clone(),
        pagerduty: secrets,
        accounts: Accounts::new(["breakdown[bot]"], ["5d3e"]),
        projects: Projects::new("alpha"),
        limits: Limits { body_bytes: 256 * 1024, ..Limits::default() },
        ..Config::default()
    }
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let log = Arc::new(Recorder::default());
        let router = webhooks::routes(Arc::new(config()), log.clone(), Arc::new(ManualClock::new(now())));
        Self { runtime: runtime.expect("a runtime"), router, log }
    }

    /// Sends one request. Returns the answer, and what was appended.
    fn post(
        &self,
        provider: Provider,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
    ) -> (StatusCode, Bytes, Vec<NewRecord>) {
        let mut request = Request::post(provider.path()).body(Body::from(body.to_vec())).expect("a request");
        request.headers_mut().extend(headers.iter().cloned());
        let answer = self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.expect("an answer");
            let (head, body) = answer.into_parts();
            (head.status, body.collect().await.expect("a whole answer").to_bytes())
        });
        (answer.0, answer.1, self.log.take())
    }
}

pub fn github(data: &[u8]) {
    WORLD.with_borrow(|world| deliver(world, Provider::Github, data));
}

pub fn jira(data: &[u8]) {
    WORLD.with_borrow(|world| deliver(world, Provider::Jira, data));
}

pub fn pagerduty(data: &[u8]) {
    WORLD.with_borrow(|world| deliver(world, Provider::Pagerduty, data));
}

fn deliver(world: &World, provider: Provider, data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (first, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let mut said = first.split(|byte| *byte == b'\t');
    let mut or = |default: &str| match said.next() {
        Some(word) if !word.is_empty() => HeaderValue::from_bytes(word).ok(),
        _ => HeaderValue::from_str(default).ok(),
    };
    let (Some(event), Some(kind), Some(id)) = (or("issues"), or("application/json"), or("72d3162e")) else {
        return;
    };
    let secrets = Secrets::parse(SECRET).expect("a secret");
    let signed = sign(provider, &secrets, "issues", "72d3162e", body).into_iter().map(|(name, value)| {
        let name = HeaderName::try_from(name).expect("a name");
        let value = match () {
            () if name == provider.delivery_header() => id.clone(),
            () if Some(&name) == provider.event_header().as_ref() => event.clone(),
            () if name == header::CONTENT_TYPE => kind.clone(),
            () => HeaderValue::try_from(value).expect("a value"),
        };
        (name, value)
    });
    let headers: Vec<_> = signed.collect();
    let (status, answer, appended) = world.post(provider, &headers, body);
    match status.as_u16() {
        202 => {
            let accepted = accepted(provider, &answer, &appended);
            let (again, _, twice) = world.post(provider, &headers, body);
            assert_eq!(again, status);
            assert_eq!(appended, twice, "sent again, {accepted} is another");
        }
        200 => assert!(appended.is_empty() && answer.starts_with(b"{\"ignored\":\"")),
        400 => buried(&answer, &appended, body),
        413 | 415 => assert!(appended.is_empty()),
        other => panic!("{other} for a delivery that is signed right"),
    }
}

/// What was appended is an event that a gateway takes, and what it then decides an executor takes.
fn accepted(provider: Provider, answer: &[u8], appended: &[NewRecord]) -> String {
    let (record, answer_to) = match appended {
        [record] => (record, None),
        [record, answer] => (record, Some(answer)),
        _ => panic!("{} records", appended.len()),
    };
    assert_eq!(record.topic, topic::ISSUES);
    let value = record.value.as_deref().expect("a value");
    let event: IssueEvent = serde_json::from_slice(value).expect("an event");
    assert_eq!(event.project_id, "alpha");
    assert_eq!(record.key, event.project_id);
    let prefix = match provider {
        Provider::Github => "gh-",
        Provider::Jira => "jr-",
        Provider::Pagerduty => "pd-",
    };
    let digits = event.event_id.strip_prefix(prefix).expect("whose id it is");
    assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", event.event_id);
    let receipt: serde_json::Value = serde_json::from_slice(answer).expect("a receipt");
    assert_eq!(receipt["event_id"], event.event_id);
    for (name, value) in &record.headers {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}: {value:?}");
    }
    if let Some(url) = event.url.value() {
        let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        assert!(["http", "https"].contains(&scheme.as_str()), "{url:?}");
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    }
    assert!(!value.windows(6).any(|part| part == b"\\u0000"), "NUL");
    let mut gateway = Held::restored(sample(), &[]).expect("nothing to restore");
    let mut decided = gateway.take(&as_read(record.clone(), 0)).expect("a step");
    if let Some(record) = answer_to {
        let answer: IssueEvent =
            serde_json::from_slice(record.value.as_deref().expect("a value")).expect("an event");
        assert_eq!(answer, event.acknowledgement(answer.through.clone().expect("a way")));
        assert!(!event.by_us && event.actor.is_some());
        decided.extend(gateway.take(&as_read(record.clone(), 1)).expect("a step"));
    }
    for (offset, message) in (0..).zip(decided) {
        assert_ne!(message.topic, topic::DEAD_LETTERS, "a gateway does not read {event:?}");
        if message.topic == topic::ACTIONS {
            assert!(
                executor::fuzzing::accepts(&as_read(message, offset)),
                "an executor does not read {event:?}"
            );
        }
    }
    event.event_id
}

/// What was appended is a dead letter with the body in it, and the answer says nothing of that.
fn buried(answer: &[u8], appended: &[NewRecord], body: &[u8]) {
    let [record] = appended else { panic!("{} records", appended.len()) };
    assert_eq!(record.topic, topic::DEAD_LETTERS);
    let letter: DeadLetter =
        serde_json::from_slice(record.value.as_deref().expect("a value")).expect("a dead letter");
    assert_eq!(letter.original_length, body.len() as u64);
    assert_eq!((letter.reason.as_str(), letter.project_id), ("unreadable", None));
    crate::is_plain(&letter.detail);
    let problem: serde_json::Value = serde_json::from_slice(answer).expect("a problem");
    assert_eq!(problem["reason"], "unreadable");
    assert!(answer.len() < 300);
}

pub fn signature(data: &[u8]) {
    let mut lines: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let body = lines.pop().unwrap_or_default();
    let Ok(values) = lines.iter().map(|line| HeaderValue::from_bytes(line)).collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let secrets = Secrets::parse(SECRET).expect("a secret");
    WORLD.with_borrow(|world| {
        for provider in Provider::ALL {
            let name = provider.signature_header();
            let right = sign(provider, &secrets, "issues", "d", body);
            let right = right.iter().find(|(of, _)| *of == name.as_str()).expect("a signature").1.as_bytes();
            let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
            let (status, answer, appended) = world.post(provider, &headers, body);
            let has_right = |value: &HeaderValue| {
                value.as_bytes() == right
                    || provider == Provider::Pagerduty
                        && value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii() == right)
            };
            let well_formed = |value: &HeaderValue| well_formed(provider, value.as_bytes());
            if let [value] = &values[..]
                && has_right(value)
                && well_formed(value)
            {
                assert_ne!(status, StatusCode::UNAUTHORIZED);
                continue;
            }
            let reason = match &values[..] {
                [] => "signature_missing",
                [one] if well_formed(one) => "signature_wrong",
                _ => "signature_malformed",
            };
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            let problem: serde_json::Value = serde_json::from_slice(&answer).expect("a problem");
            assert_eq!(problem["reason"], reason);
            assert!(appended.is_empty());
        }
    });
}

/// Whether a signature header has the form of `provider`'s.
fn well_formed(provider: Provider, value: &[u8]) -> bool {
    let right = |value: &[u8]| {
        let digits = value.strip_prefix(provider.signature_scheme().as_bytes());
        let digits = digits.and_then(|digits| digits.strip_prefix(b"=")).unwrap_or_default();
        digits.len() == 64 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    if provider != Provider::Pagerduty {
        return right(value);
    }
    // Of several any may be right; those of other versions are passed over.
    let of_another_version = |part: &[u8]| {
        let end = part.iter().position(|byte| *byte == b'=');
        let number = end.and_then(|end| part[..end].strip_prefix(b"v")).unwrap_or_default();
        number != b"1" && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    };
    let parts: Vec<_> = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let ours = parts.iter().filter(|part| right(part)).count();
    (1..=8).contains(&ours) && parts.iter().all(|part| right(part) || of_another_version(part))
}
