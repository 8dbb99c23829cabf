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

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, response::Redirect, routing::get};
    use http::StatusCode;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn http() -> (Http, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let long = || async { Body::new(Chunked(5)) };
        let router = Router::new()
            .route("/fits", get(|| async { ([("x-ratelimit-remaining", "7")], "x".repeat(1_000)) }))
            .route("/announces", get(|| async { "x".repeat(1_001) }))
            .route("/streams", get(long))
            .route("/moved", get(|| async { Redirect::permanent("/fits") }));
        tokio::spawn(async { axum::serve(listener, router).await });
        (Http::new("github.api_base", &address.parse().unwrap()).unwrap(), address)
    }

    /// So many pieces of 500 bytes, and no word before of how many.
    struct Chunked(usize);

    impl hyper::body::Body for Chunked {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            let left = self.0.checked_sub(1).inspect(|left| self.0 = *left);
            std::task::Poll::Ready(left.map(|_| Ok(hyper::body::Frame::data(vec![b'x'; 500].into()))))
        }
    }

    async fn ask(http: &Http, address: &str) -> Result<Response<Bytes>, NoAnswer> {
        http.send(Request::get(address).body(Bytes::new()).unwrap(), 1_000).await
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_and_no_redirect_is_followed() {
        let (http, address) = http().await;
        let answer = ask(&http, &format!("{address}/fits")).await.unwrap();
        assert_eq!(
            (answer.body().len(), &answer.headers()["x-ratelimit-remaining"]),
            (1_000, &"7".parse().unwrap())
        );
        for path in ["announces", "streams"] {
            assert_eq!(
                ask(&http, &format!("{address}/{path}")).await.unwrap_err(),
                NoAnswer::TooLong,
                "{path}"
            );
        }
        let moved = ask(&http, &format!("{address}/moved")).await.unwrap();
        assert_eq!(moved.status(), StatusCode::PERMANENT_REDIRECT);
    }

    #[tokio::test]
    async fn what_does_not_answer_is_told_apart() {
        let (http, _) = http().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let breaks_off = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
        });
        assert_eq!(ask(&http, &address).await.unwrap_err(), NoAnswer::BrokeOff);
        breaks_off.await.unwrap();
        assert_eq!(ask(&http, &address).await.unwrap_err(), NoAnswer::Unreachable, "nobody listens any more");
    }
}
