//! Retries that are worth waiting for with the attempt in hand.

use std::{convert::Infallible, time::Duration};

use tower::retry::Policy;

use super::{Call, Report, spread};
use crate::{Limits, Verdict};

/// Tries again while the verdict is [`Verdict::Retry`], tries are left, the wait is short, and nobody calls it off; the last report counts
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
        let doubled = self.wait.saturating_mul(1 << (self.tried - 1).min(16));
        // The target's word can only lengthen our own wait: one that says "at once" is not called in a circle.
        let wait = report.held_back.unwrap_or(doubled).max(after.unwrap_or_default());
        if self.tried >= self.attempts || wait > self.wait_max || call.called_off.is_cancelled() {
            return None;
        }
        Some(tokio::time::sleep(spread(wait, &call.attempt.action.event_id, self.tried)))
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        Some(call.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Attempt;

    /// How long after the second failure the third try waits; `None` when there is none in hand.
    fn wait(after: Option<Duration>, held_back: Option<Duration>) -> Option<Duration> {
        let action = serde_json::from_value(json!({
            "event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "team:triage", "rationale": "r",
            "source_ref": "",
        }));
        let action = std::sync::Arc::new(action.expect("an action"));
        let mut call = Call::new(
            Attempt { action, asked_at: chrono::DateTime::UNIX_EPOCH },
            Vec::new(),
            CancellationToken::new(),
        );
        let mut policy = QuickRetry::new(&Limits::default());
        let failure = |after| {
            let verdict = Verdict::Retry { after, reason: String::new() };
            Ok(Report { verdict, made: 1, held_back, legs: Vec::new() })
        };
        policy.retry(&mut call, &mut failure(None));
        let before = Instant::now();
        let sleep = policy.retry(&mut call, &mut failure(after))?;
        Some(sleep.deadline() - before)
    }

    #[tokio::test]
    async fn a_targets_word_lengthens_the_wait_and_never_shortens_it() {
        let doubled = Some(Duration::from_millis(500));
        assert!(wait(None, None) >= doubled);
        for less in [0, 1, 499] {
            assert!(wait(Some(Duration::from_millis(less)), None) >= doubled, "{less}");
        }
        assert!(wait(Some(Duration::from_secs(4)), None) >= Some(Duration::from_secs(4)));
        for long in [Duration::from_secs(6), Duration::MAX] {
            assert_eq!(wait(Some(long), None), None, "that is parked");
            assert_eq!(wait(None, Some(long)), None, "that is parked");
        }
    }
}
