//! A circuit breaker: a target that fails again and again is left alone for a while.
//!
//! ```text
//!            n failures in a row              time is up, one probe goes through
//!  closed ───────────────────────► open ──────────────────────────────► half open
//!     ▲                              ▲ ◄──────────── it fails ───────────── │ │
//!     └──────────────────────────────┼───────────── it succeeds ────────────┘ │
//!                                    └ (a probe that is dropped: the next one probes)
//! ```
//!
//! It says so twice: when the target begins to fail, and when it is well again, with what happened in between. Each single failure is
//! said by whoever parks the action, for those who look closer.
//!
//! A failure is a retry of which the target did not say when: no connection, no answer, a 5xx. A refusal, or a wait
//! that the target asked for, comes from a target that is well. While it is not closed, attempts are held back: they get
//! a `Retry` at once, and the wait beside it, so that nobody takes it for the target's word.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::Clock;
use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::{Call, Report};
use crate::{Limits, Verdict};

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: DateTime<Utc> },
    HalfOpen,
}

/// What happened since a target began to fail.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trouble {
    since: DateTime<Utc>,
    /// Attempts that failed, those that opened the breaker among them.
    failed: u64,
    /// Attempts that were kept away.
    held_back: u64,
}

#[derive(Debug)]
struct Watched {
    state: State,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Breaker {
    target: &'static str,
    failures: u32,
    open_for: Duration,
    clock: Arc<dyn Clock>,
    watched: Mutex<Watched>,
}

impl Breaker {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn opened(&self) -> State {
        State::Open { until: self.clock.now() + self.open_for }
    }

    /// Measures the state that holds from now on.
    fn measure(&self, state: State) -> State {
        let code = match state {
            State::Closed { .. } => 0.0,
            State::HalfOpen => 1.0,
            State::Open { .. } => 2.0,
        };
        metrics::gauge!("breakdown_breaker_state", "target" => self.target).set(code);
        state
    }

    /// Whether an attempt may go; if not, how long to stay away.
    fn admit(self: &Arc<Self>) -> Result<Pass, Duration> {
        let mut watched = self.watched();
        let now = self.clock.now();
        let left = match watched.state {
            State::Closed { .. } => None,
            State::Open { until } => match (until - now).to_std() {
                // Longer than it was opened for: the clock was turned back.
                Ok(left) if !left.is_zero() && left <= self.open_for => Some(left),
                _ => {
                    watched.state = self.measure(State::HalfOpen);
                    return Ok(Pass { breaker: self.clone(), probe: true, used: false });
                }
            },
            // Whether it is well will be known soon.
            State::HalfOpen => Some(self.open_for / 4),
        };
        match left {
            None => Ok(Pass { breaker: self.clone(), probe: false, used: false }),
            Some(left) => {
                if let Some(trouble) = &mut watched.trouble {
                    trouble.held_back += 1;
                }
                Err(left)
            }
        }
    }

    /// A target that was well is so no more.
    fn begins_to_fail(&self, reason: &str) -> Trouble {
        tracing::warn!(
            target = self.target,
            failed = self.failures,
            reason,
            left_alone_for_s = self.open_for.as_secs(),
            "the target keeps failing: it is left alone for a while, then one attempt at a time looks whether it answers; its actions wait \
             meanwhile, and are given up after give_up_after. RUST_LOG=debug shows each retry"
        );
        Trouble { since: self.clock.now(), failed: self.failures.into(), held_back: 0 }
    }

    fn is_well_again(&self, trouble: Trouble) {
        let Trouble { since, failed, held_back } = trouble;
        tracing::info!(
            target = self.target,
            %since,
            failing_for_s = (self.clock.now() - since).num_seconds(),
            failed,
            held_back,
            "the target answers again"
        );
    }
}

/// Leave to make one attempt; a probe that is dropped unused lets the next attempt probe.
#[derive(Debug)]
struct Pass {
    breaker: Arc<Breaker>,
    probe: bool,
    used: bool,
}

impl Pass {
    fn ended(mut self, verdict: &Verdict) {
        self.used = true;
        let breaker = &self.breaker;
        let failed = matches!(verdict, Verdict::Retry { after: None, .. });
        let mut watched = breaker.watched();
        if let Some(trouble) = watched.trouble.as_mut().filter(|_| failed) {
            trouble.failed += 1;
        }
        let next = match (watched.state, self.probe, failed) {
            (State::Closed { .. }, _, false) | (State::HalfOpen, true, false) => {
                State::Closed { failures: 0 }
            }
            (State::Closed { failures }, _, true) if failures + 1 < breaker.failures => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, _, true) | (State::HalfOpen, true, true) => {
                if watched.trouble.is_none()
                    && let Verdict::Retry { reason, .. } = verdict
                {
                    watched.trouble = Some(breaker.begins_to_fail(reason));
                }
                metrics::counter!("breakdown_breaker_openings_total", "target" => breaker.target)
                    .increment(1);
                breaker.opened()
            }
            // Sent before it opened: no news.
            (unchanged, ..) => unchanged,
        };
        if let State::Closed { .. } = next
            && let Some(trouble) = watched.trouble.take()
        {
            breaker.is_well_again(trouble);
        }
        watched.state = breaker.measure(next);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe && !self.used {
            let mut watched = self.breaker.watched();
            watched.state = self.breaker.measure(State::Open { until: self.breaker.clock.now() });
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct BreakerLayer(Arc<Breaker>);

impl BreakerLayer {
    pub(super) fn new(target: &'static str, limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        let (failures, open_for) = (limits.breaker_failures.max(1), limits.breaker_open);
        let state = State::Closed { failures: 0 };
        let watched = Mutex::new(Watched { state, trouble: None });
        let breaker = Breaker { target, failures, open_for, clock, watched };
        breaker.measure(state);
        Self(Arc::new(breaker))
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, breaker: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Guarded<S> {
    inner: S,
    breaker: Arc<Breaker>,
}

impl<S> Service<Call> for Guarded<S>
where
    S: Service<Call, Response = Report, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Report;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Report, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match self.breaker.admit() {
            Ok(pass) => {
                call.begun_at.get_or_init(|| self.breaker.clock.now());
                let future = self.inner.call(call);
                Box::pin(async move {
                    let Ok(report) = future.await;
                    // Called off, it says nothing about the target.
                    if report.made > 0 {
                        pass.ended(&report.verdict);
                    }
                    Ok(report)
                })
            }
            Err(left) => {
                let target = self.breaker.target;
                metrics::counter!("breakdown_breaker_rejections_total", "target" => target).increment(1);
                let reason = format!("{target} keeps failing and is left alone for a while");
                let verdict = Verdict::Retry { after: None, reason };
                Box::pin(
                    async move { Ok(Report { verdict, made: 0, held_back: Some(left), legs: Vec::new() }) },
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use eventlog::ManualClock;

    use super::*;

    fn breaker() -> (Arc<ManualClock>, Arc<Breaker>) {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let limits =
            Limits { breaker_failures: 3, breaker_open: Duration::from_secs(30), ..Limits::default() };
        (clock.clone(), BreakerLayer::new("test", &limits, clock).0)
    }

    fn failure() -> Verdict {
        Verdict::Retry { after: None, reason: String::new() }
    }

    fn success() -> Verdict {
        Verdict::Done { reference: None }
    }

    fn attempt(breaker: &Arc<Breaker>, verdict: &Verdict) -> bool {
        breaker.admit().map(|pass| pass.ended(verdict)).is_ok()
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (_, breaker) = breaker();
        for verdict in [failure(), failure(), success(), failure(), failure()] {
            assert!(attempt(&breaker, &verdict));
        }
        for verdict in [
            Verdict::Retry { after: Some(Duration::from_secs(60)), reason: String::new() },
            failure(),
            failure(),
            Verdict::Reject { reason: String::new() },
            failure(),
            failure(),
            failure(),
        ] {
            assert!(attempt(&breaker, &verdict), "whoever answers is well");
        }
        assert!(!attempt(&breaker, &success()));
    }

    #[test]
    fn one_probe_decides() {
        let (clock, breaker) = breaker();
        for _ in 0..3 {
            attempt(&breaker, &failure());
        }
        clock.advance(TimeDelta::seconds(10));
        assert_eq!(breaker.admit().err(), Some(Duration::from_secs(20)));

        clock.advance(TimeDelta::seconds(20));
        let probe = breaker.admit().expect("a probe");
        assert!(breaker.admit().is_err(), "one probe at a time");
        probe.ended(&failure());
        assert_eq!(breaker.admit().err(), Some(Duration::from_secs(30)), "open again");

        clock.advance(TimeDelta::seconds(30));
        drop(breaker.admit());
        let probe = breaker.admit().expect("a dropped probe makes room for the next");
        probe.ended(&success());
        assert!(attempt(&breaker, &failure()) && attempt(&breaker, &failure()), "counting starts anew");
        assert_eq!(breaker.watched().state, State::Closed { failures: 2 });
    }

    #[test]
    fn what_happened_is_counted_until_it_is_well_again() {
        let (clock, breaker) = breaker();
        let late = breaker.admit().expect("closed");
        for _ in 0..3 {
            attempt(&breaker, &failure());
        }
        late.ended(&failure());
        assert!(!attempt(&breaker, &success()) && !attempt(&breaker, &success()));
        clock.advance(TimeDelta::seconds(30));
        assert!(attempt(&breaker, &failure()), "a probe");
        let trouble = Trouble { since: DateTime::UNIX_EPOCH, failed: 5, held_back: 2 };
        assert_eq!(breaker.watched().trouble, Some(trouble), "opened twice, it is one trouble");
        clock.advance(TimeDelta::seconds(30));
        assert!(attempt(&breaker, &success()));
        assert_eq!(breaker.watched().trouble, None);
    }

    #[test]
    fn an_attempt_from_before_is_no_news() {
        let (_, breaker) = breaker();
        let late = breaker.admit().expect("closed");
        for _ in 0..3 {
            attempt(&breaker, &failure());
        }
        late.ended(&success());
        assert!(breaker.admit().is_err());
    }
}
