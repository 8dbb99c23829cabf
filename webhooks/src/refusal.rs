//! Every answer that is not 200 or 202, as problem+json (RFC 9457). Nothing of the input is echoed.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    SenderNetwork,
    SignatureMissing,
    SignatureMalformed,
    SignatureWrong,
    TooManyFailures,
    ContentType,
    ContentEncoding,
    TooLarge,
    AmbiguousLength,
    BodyBroken,
    Unreadable,
    Unavailable,
    MethodNotAllowed,
    NotFound,
}

#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::SignatureMissing | Self::SignatureMalformed | Self::SignatureWrong => {
                StatusCode::UNAUTHORIZED
            }
            Self::SenderNetwork => StatusCode::FORBIDDEN,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::ContentType | Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AmbiguousLength | Self::BodyBroken | Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    /// One word for programs: the metric's `reason`, and a member of the problem.
    pub(crate) fn reason(self) -> &'static str {
        self.words().0
    }

    /// The reason, and what a person needs to know and do.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::SenderNetwork => (
                "sender_network",
                "Deliveries are not taken from this address: compare it with allow_networks and trusted_proxies.",
            ),
            Self::SignatureMissing => (
                "signature_missing",
                "The request carries no SHA-256 signature: set the webhook's secret at the provider.",
            ),
            Self::SignatureMalformed => (
                "signature_malformed",
                "The signature must be one header: sha256= (PagerDuty: v1=) and 64 lower-case hex digits.",
            ),
            Self::SignatureWrong => (
                "signature_wrong",
                "The signature does not fit the body under any secret set here: compare the secrets on both sides.",
            ),
            Self::TooManyFailures => (
                "too_many_failures",
                "Too many requests from this address failed verification. Rightly signed ones are still taken.",
            ),
            Self::ContentType => ("content_type", "Send application/json (GitHub: or its form encoding)."),
            Self::ContentEncoding => ("content_encoding", "Send the body without any content encoding."),
            Self::TooLarge => ("too_large", "The body is longer than this server takes."),
            Self::AmbiguousLength => {
                ("ambiguous_length", "Send either Content-Length or Transfer-Encoding, not both.")
            }
            Self::BodyBroken => {
                ("body_broken", "The body ended before its announced end, or its chunks are malformed.")
            }
            Self::Unreadable => (
                "unreadable",
                "The signature is right, but the payload cannot be read. It was kept as a dead letter.",
            ),
            Self::Unavailable => (
                "unavailable",
                "The log did not confirm the delivery in time. Send it again: if it was written after all, its id tells.",
            ),
            Self::MethodNotAllowed => ("method_not_allowed", "Deliveries are sent with POST."),
            Self::NotFound => ("not_found", "Nothing is served here."),
        }
    }

    /// An extra header that the status asks for.
    fn header(self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::TooManyFailures => Some((header::RETRY_AFTER, "60")),
            Self::Unavailable => Some((header::RETRY_AFTER, "5")),
            Self::MethodNotAllowed => Some((header::ALLOW, "POST")),
            _ => None,
        }
    }

    /// Whether the body may still lie unread: then the connection cannot be used again.
    fn leaves_body_unread(self) -> bool {
        !matches!(self, Self::SignatureWrong | Self::Unreadable | Self::Unavailable)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (reason, detail) = self.words();
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail,
            reason,
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.leaves_body_unread() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
