//! One delivery: limit, verify, admit, answer.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
    routing::post,
};
use eventlog::{Clock, Position};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Appended, Config, Journal, Provider, Secrets,
    admission::{Admission, Admitted, Payload, Unconfirmed},
    body::Encoding,
    intake::{Intake, NotTaken},
    peers::FailingPeers,
    refusal::Refusal,
    signature::Signature,
};

/// Longest delivery id or event name that is believed; providers send at most 36 characters.
const MAX_NAME_BYTES: usize = 128;

/// What all receivers share.
struct Receivers {
    config: Arc<Config>,
    admission: Admission,
    intake: Intake,
    places: Semaphore,
    peers: FailingPeers,
}

/// How a delivery ended.
enum End {
    Accepted(Receipt),
    Ignored(&'static str),
    Refused(Refusal),
    /// The peer was too slow: the only answer that says so, 408, would make Jira send it all again.
    HungUp(&'static str),
}

/// The body of 202. What is spooled has no place on the log yet.
#[derive(Serialize)]
struct Receipt {
    event_id: String,
    topic: &'static str,
    #[serde(flatten)]
    place: Place,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Place {
    OnTheLog { partition: u32, offset: u64 },
    InTheSpool { spooled: bool },
}

impl From<Appended> for Place {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::At(Position { partition, offset }) => Self::OnTheLog { partition, offset },
            Appended::Spooled => Self::InTheSpool { spooled: true },
        }
    }
}

#[derive(Serialize)]
struct Unused {
    ignored: &'static str,
}

/// Marks a response that is not to be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body did not come in time")]
pub(crate) struct HangUp;

/// The receivers of all providers that have secrets, without a [`crate::Server`]'s guards: a connection's bounds, and what is
/// answered elsewhere. A request that carries no `ConnectInfo<SocketAddr>` has no peer whose failures are counted.
pub fn routes(config: Arc<Config>, journal: impl Into<Journal>, clock: Arc<dyn Clock>) -> Router {
    let limits = &config.limits;
    let receivers = Arc::new(Receivers {
        intake: Intake::new(limits),
        places: Semaphore::new(limits.concurrency),
        peers: FailingPeers::new(limits.failures_per_peer),
        admission: Admission::new(config.clone(), journal.into(), clock),
        config: config.clone(),
    });
    let mut router = Router::new();
    for provider in Provider::ALL {
        if config.secrets(provider).is_none() {
            continue;
        }
        let receivers = receivers.clone();
        let receive = move |request| async move { receivers.receive(provider, request).await };
        let wrong_method = move || async move {
            count_refusal(Some(provider), Refusal::MethodNotAllowed);
            Refusal::MethodNotAllowed.into_response()
        };
        router = router.route(provider.path(), post(receive).fallback(wrong_method));
    }
    router
}

/// The answer where no route is.
pub(crate) async fn nothing_here() -> Response {
    count_refusal(None, Refusal::NotFound);
    Refusal::NotFound.into_response()
}

pub(crate) fn count_refusal(provider: Option<Provider>, refusal: Refusal) {
    count(provider, refusal.status().as_u16(), refusal.reason());
}

fn count(provider: Option<Provider>, status: u16, reason: &'static str) {
    let provider = provider.map_or("none", Provider::as_str);
    metrics::counter!(
        "breakdown_deliveries_total",
        "provider" => provider, "status" => status.to_string(), "reason" => reason
    )
    .increment(1);
}

impl Receivers {
    async fn receive(&self, provider: Provider, request: Request) -> Response {
        let started = Instant::now();
        let end = self.take(provider, request).await.unwrap_or_else(End::Refused);
        let (reason, response) = match end {
            End::Accepted(receipt) => ("accepted", json(StatusCode::ACCEPTED, &receipt)),
            End::Ignored(why) => (why, json(StatusCode::OK, &Unused { ignored: why })),
            End::Refused(refusal) => (refusal.reason(), refusal.into_response()),
            End::HungUp(why) => {
                let mut response = Response::default();
                response.extensions_mut().insert(HangUp);
                count(Some(provider), 0, why);
                return response;
            }
        };
        count(Some(provider), response.status().as_u16(), reason);
        metrics::histogram!("breakdown_delivery_seconds", "provider" => provider.as_str())
            .record(started.elapsed().as_secs_f64());
        response
    }

    async fn take(&self, provider: Provider, request: Request) -> Result<End, Refusal> {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|info| self.config.senders.sender(info.0, &head.headers));
        if !self.config.senders.allows(provider, peer) {
            return Err(Refusal::SenderNetwork);
        }
        // A receiver is only mounted with secrets.
        let secrets = self.config.secrets(provider).ok_or(Refusal::NotFound)?;

        let signature =
            Signature::of(provider, &head.headers).map_err(|refusal| self.unverified(peer, refusal))?;
        let encoding = Encoding::of(provider, &head.headers)?;
        if self.intake.announces_too_much(&head.headers) {
            return Err(Refusal::TooLarge);
        }
        let taken = match self.intake.take(body).await {
            Ok(taken) => taken,
            Err(NotTaken::TooLarge) => return Err(Refusal::TooLarge),
            Err(NotTaken::Broken) => return Err(Refusal::BodyBroken),
            Err(NotTaken::TooSlow) => return Ok(End::HungUp("slow_body")),
        };
        // Bodies are read before a place is taken, so that slow senders hold none. The semaphore is never closed.
        let _place = self.places.acquire().await.map_err(|_| Refusal::Unavailable)?;
        verify(secrets, &signature, &taken.bytes).map_err(|refusal| self.unverified(peer, refusal))?;
        self.read(provider, encoding, &head.headers, &taken.bytes).await
    }

    /// What a request gets that failed verification.
    fn unverified(&self, peer: Option<IpAddr>, refusal: Refusal) -> Refusal {
        match peer {
            Some(peer) if self.peers.failed_too_often(peer) => Refusal::TooManyFailures,
            _ => refusal,
        }
    }

    /// Reads a verified body and appends what it says.
    async fn read(
        &self,
        provider: Provider,
        encoding: Encoding,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<End, Refusal> {
        let id = single(headers, provider.delivery_header());
        let event = provider.event_header().and_then(|name| single(headers, name));
        let payload = Payload { provider, encoding, event, id, body, signed: true };
        match self.admission.admit(payload).await {
            Ok(Admitted::Event { event_id, topic, place }) => {
                Ok(End::Accepted(Receipt { event_id, topic, place: place.into() }))
            }
            Ok(Admitted::Ignored(why)) => Ok(End::Ignored(why)),
            Ok(Admitted::Unreadable) => Err(Refusal::Unreadable),
            Err(Unconfirmed) => Err(Refusal::Unavailable),
        }
    }
}

fn verify(secrets: &Secrets, signature: &Signature, body: &[u8]) -> Result<(), Refusal> {
    if secrets.verify(signature, body) { Ok(()) } else { Err(Refusal::SignatureWrong) }
}

/// A header that stands there once, in a few visible ASCII characters.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().filter(|text| is_name(text))
}

/// Whether a delivery id, or the name of an event, is one that is believed.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
