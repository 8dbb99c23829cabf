//! Refusals as Google writes them.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::Fault;

/// `{"error": {"errors": [{"domain", "reason", "message"}], "code", "message"}}`.
#[derive(Debug)]
pub(crate) struct Error {
    status: u16,
    reason: Cow<'static, str>,
    retry_after: Option<HeaderValue>,
}

impl Error {
    pub(crate) const NOT_FOUND: Self = Self::fixed(404, "notFound");
    pub(super) const DUPLICATE: Self = Self::fixed(409, "duplicate");
    pub(super) const DELETED: Self = Self::fixed(410, "deleted");
    pub(super) const CHANGED: Self = Self::fixed(412, "conditionNotMet");

    const fn fixed(status: u16, reason: &'static str) -> Self {
        Self { status, reason: Cow::Borrowed(reason), retry_after: None }
    }

    pub(super) fn named(status: u16, reason: &'static str) -> Self {
        Self::fixed(status, reason)
    }

    /// What a fault asked for.
    pub(super) fn of(fault: &Fault) -> Self {
        let usual = match fault.status {
            400 => "invalid",
            401 => "authError",
            403 => "forbidden",
            404 => "notFound",
            409 => "duplicate",
            410 => "deleted",
            412 => "conditionNotMet",
            429 => "rateLimitExceeded",
            _ => "backendError",
        };
        let reason = fault.reason.clone().map_or(usual.into(), Cow::Owned);
        let retry_after = fault.retry_after.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
        Self { status: fault.status, reason, retry_after }
    }

    pub(super) fn unless_authorized(headers: &HeaderMap) -> Result<(), Self> {
        let said = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match said.and_then(|said| said.strip_prefix("Bearer ")).is_some_and(|token| !token.is_empty()) {
            true => Ok(()),
            false => Err(Self::fixed(401, "required")),
        }
    }

    fn message(&self) -> &'static str {
        match &*self.reason {
            "authError" => "Invalid Credentials",
            "required" if self.status == 401 => "Login Required.",
            "notFound" => "Not Found",
            "forbidden" => "Forbidden",
            "duplicate" => "The requested identifier already exists.",
            "deleted" => "Resource has been deleted",
            "conditionNotMet" => "Precondition Failed",
            "rateLimitExceeded" => "Rate Limit Exceeded",
            "userRateLimitExceeded" => "User Rate Limit Exceeded",
            "quotaExceeded" => "Calendar usage limits exceeded.",
            "timeRangeEmpty" => "The specified time range is empty.",
            "parseError" => "Parse Error",
            "invalid" => "Invalid value.",
            "required" => "Missing end time.",
            "backendError" => "Backend Error",
            _ => "Refused.",
        }
    }

    fn domain(&self) -> &'static str {
        match &*self.reason {
            "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded" | "dailyLimitExceeded" => {
                "usageLimits"
            }
            "timeRangeEmpty" | "forbiddenForServiceAccounts" => "calendar",
            _ => "global",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (domain, message) = (self.domain(), self.message());
        let one = json!({ "domain": domain, "reason": self.reason, "message": message });
        let body = json!({ "error": { "errors": [one], "code": self.status, "message": message } });
        let mut response = (status, Json(body)).into_response();
        if let Some(value) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
