//! Retries that are worth waiting for with the attempt in hand.

use std::{convert::Infallible, time::Duration};

use tower::retry::Policy;

use super::{Call, Report, spread};
use crate::{Limits, Verdict};

/// Tries again while the verdict is [`Verdict::Retry`], tries are left, and the wait is short; the last report counts
/// every call that was made.
#[derive(Debug, Clone)]
pub(super) struct QuickRetry {
    attempts: u32,
    wait: Duration,
    wait_max: Duration,
    tried: u32,
}

impl QuickRetry {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            attempts: limits.quick_attempts,
            wait: limits.quick_wait,
            wait_max: limits.quick_wait_max,
            tried: 0,
        }
    }
}

impl Policy<Call, Report, Infallible> for QuickRetry {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, call: &mut Call, result: &mut Result<Report, Infallible>) -> Option<Self::Future> {
        let report = match result {
            Ok(report) => report,
            Err(never) => match *never {},
        };
        self.tried += 1;
        call.made += report.made;
        report.made = call.made;
        let Verdict::Retry { after, .. } = &report.verdict else { return None };
        let wait = after.unwrap_or_else(|| self.wait.saturating_mul(1 << (self.tried - 1).min(16)));
        if self.tried >= self.attempts || wait > self.wait_max {
            return None;
        }
        Some(tokio::time::sleep(spread(wait, &call.attempt.action.event_id, self.tried)))
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        Some(call.clone())
    }
}
