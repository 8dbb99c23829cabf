//! Refusals, as RFC 9457 writes them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::Fault;

/// A refusal: `{"status", "title", "detail"}`; nothing of the request is repeated.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: &'static str,
    retry_after: Option<HeaderValue>,
}

impl Problem {
    pub(crate) fn new(status: u16, detail: &'static str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, detail, retry_after: None }
    }

    /// What a fault asked for.
    pub(crate) fn of(fault: &Fault) -> Self {
        Self::new(fault.status, "a fault was asked for").retry_after(fault.retry_after.as_deref())
    }

    fn retry_after(self, value: Option<&str>) -> Self {
        Self { retry_after: value.and_then(|v| HeaderValue::from_str(v).ok()), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        let body = json!({ "status": self.status.as_u16(), "title": title, "detail": self.detail });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(value) = self.retry_after {
            headers.insert(header::RETRY_AFTER, value);
        }
        response
    }
}
