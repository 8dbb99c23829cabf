//! How a request goes out and its answer comes in: over HTTP, or in tests straight to a fake.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use reqwest::{Client, Url};

use super::SweepError;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Carries one request to its answer. Whoever asks bounds the time.
#[async_trait]
pub(super) trait Wire: Send + Sync {
    /// Sends `request` and reads the whole answer, whose body has at most `most` bytes.
    async fn send(&self, request: Request<Bytes>, most: usize) -> Result<Response<Bytes>, NoAnswer>;
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("could not be reached")]
    Unreachable,
    #[error("broke off in the middle of an answer")]
    BrokeOff,
    #[error("answered more than is read")]
    TooLong,
}

/// HTTP. TLS is rustls with ring and the system's certificates.
pub(super) struct Http(Client);

impl Http {
    /// A client for the API at `base`: no redirects, which could lead a token elsewhere, and no proxy from the environment.
    pub(super) fn new(key: &str, base: &Url) -> Result<Self, SweepError> {
        // The one process-wide provider that reqwest takes; an error means that somebody installed theirs already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("breakdown/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .pool_max_idle_per_host(1);
        // Certificates are read only where they are needed: a machine may have none.
        let builder = match base.scheme() {
            "https" => builder.https_only(true),
            _ => builder.tls_certs_only([]),
        };
        builder.build().map(Self).map_err(|error| {
            SweepError(format!(
                "{key}: no HTTP client can be made for it: {error}; are the system's CA certificates installed?"
            ))
        })
    }
}

#[async_trait]
impl Wire for Http {
    async fn send(&self, request: Request<Bytes>, most: usize) -> Result<Response<Bytes>, NoAnswer> {
        // reqwest's own errors hold the address.
        let request = reqwest::Request::try_from(request).map_err(|_| NoAnswer::Unreachable)?;
        let mut answer = self.0.execute(request).await.map_err(|error| match error.is_connect() {
            true => NoAnswer::Unreachable,
            false => NoAnswer::BrokeOff,
        })?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        if answer.content_length().is_some_and(|length| length > most as u64) {
            return Err(NoAnswer::TooLong);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| NoAnswer::BrokeOff)? {
            if body.len() + chunk.len() > most {
                return Err(NoAnswer::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = Response::new(Bytes::from(body));
        *whole.status_mut() = status;
        *whole.headers_mut() = headers;
        Ok(whole)
    }
}
