//! Faults on request: what is to go wrong with the next requests that make, change or delete something, or ask who is busy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Collection;

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// With [`Fault::status`] instead of the true answer.
    Status,
    /// Never: the connection stays open without an answer.
    Hang,
    /// With the connection closed and no answer.
    Close,
    /// As it would have, after [`Fault::delay_ms`].
    Delay,
}

/// Something that befalls the next [`Fault::times`] requests to [`Fault::on`], those with GET left out.
///
/// As JSON: `{"kind": "status", "status": 429, "retry_after": "30", "on": "meetings", "times": 2}`; only `kind` is
/// required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// How the request ends.
    pub kind: Kind,
    /// The status (400 to 599) of [`Kind::Status`].
    #[serde(default = "internal_error")]
    pub status: u16,
    /// `Retry-After` beside the status: seconds or an HTTP date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Google's word for the status, in `errors[0].reason`, e.g. `quotaExceeded`; without, the status' usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Waits this long first, in milliseconds (at most 60,000).
    #[serde(default)]
    pub delay_ms: u64,
    /// Whether the thing is made before the request goes wrong.
    #[serde(default)]
    pub after_work: bool,
    /// Which requests; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Collection>,
    /// How many requests.
    #[serde(default = "once")]
    pub times: u32,
}

fn internal_error() -> u16 {
    500
}

fn once() -> u32 {
    1
}

impl Fault {
    fn new(kind: Kind) -> Self {
        let (status, times) = (internal_error(), once());
        Self {
            kind,
            status,
            retry_after: None,
            reason: None,
            delay_ms: 0,
            after_work: false,
            on: None,
            times,
        }
    }

    /// The next request gets this status (400 to 599) and makes nothing.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::new(Kind::Status) }
    }

    /// The next request never gets an answer and makes nothing.
    pub fn hang() -> Self {
        Self::new(Kind::Hang)
    }

    /// The next request finds its connection closed and makes nothing.
    pub fn close() -> Self {
        Self::new(Kind::Close)
    }

    /// The next request waits this long (at most a minute) before it is served.
    pub fn delay(delay: Duration) -> Self {
        Self { delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), ..Self::new(Kind::Delay) }
    }

    /// Says when to come back: seconds or an HTTP date.
    pub fn retry_after(self, value: impl Into<String>) -> Self {
        Self { retry_after: Some(value.into()), ..self }
    }

    /// Says why, in Google's word.
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Goes wrong only after the work was done.
    pub fn after_work(self) -> Self {
        Self { after_work: true, ..self }
    }

    /// Only for requests to `collection`.
    pub fn on(self, collection: Collection) -> Self {
        Self { on: Some(collection), ..self }
    }

    /// For this many requests.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// What is wrong with this fault itself.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if !(400..600).contains(&self.status) {
            return Some("status must lie between 400 and 599");
        }
        let printable = |text: &String| text.len() <= 64 && text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !self.reason.as_ref().is_none_or(printable) {
            return Some("reason must be at most 64 printable ASCII characters");
        }
        if !self.retry_after.as_ref().is_none_or(printable) {
            return Some("retry_after must be at most 64 printable ASCII characters");
        }
        (self.delay_ms > 60_000).then_some("delay_ms must be at most 60000")
    }
}

/// Takes the first fault that concerns a request to `collection`.
pub(crate) fn take(faults: &mut Vec<Fault>, collection: Collection) -> Option<Fault> {
    let at = faults.iter().position(|f| f.times > 0 && f.on.is_none_or(|on| on == collection))?;
    faults[at].times -= 1;
    let fault = faults[at].clone();
    faults.retain(|f| f.times > 0);
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_go_by_order_collection_and_count() {
        let mut faults =
            vec![Fault::status(500).on(Collection::Nudges).times(2), Fault::hang(), Fault::close().times(0)];
        assert_eq!(take(&mut faults, Collection::Meetings).map(|f| f.kind), Some(Kind::Hang));
        assert_eq!(take(&mut faults, Collection::Meetings), None);
        assert_eq!(take(&mut faults, Collection::Nudges).map(|f| f.status), Some(500));
        assert_eq!(take(&mut faults, Collection::Nudges).map(|f| f.status), Some(500));
        assert_eq!(take(&mut faults, Collection::Nudges), None);
        assert!(faults.is_empty());
    }
}
