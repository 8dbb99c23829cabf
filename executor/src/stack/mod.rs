//! The one stack around every target, on tower. From the outside in: quick retries, lane, turn, permits, circuit breaker, rate,
//! metrics, timeout, target.
//!
//! Permits lie inside the retries, the lanes and the turns, so that an attempt that waits for its next try, for its channel or for another's
//! end holds none; the breaker lies outside the rate, so that a target that is down costs no permits of it.

mod breaker;
mod fan_out;
mod jitter;
mod lane;
mod meter;
mod quick_retry;
mod rate;
mod turns;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use chrono::{DateTime, Utc};
use eventlog::Clock;
pub(crate) use fan_out::{Legs, fan_out, nudge};
use futures::{FutureExt, poll};
pub(crate) use jitter::spread;
use tokio::{
    sync::mpsc::UnboundedSender,
    task::Id,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{Attempt, Limits, Target, Verdict, state::Leg};

/// An attempt on its way through the stack.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) attempt: Attempt,
    /// How often the target was called for it already, in this pass.
    pub(crate) made: u32,
    /// What is known of its targets from earlier passes, where a route names several.
    pub(crate) legs: Vec<Leg>,
    /// Once cancelled, no call of a target begins.
    pub(crate) called_off: CancellationToken,
    /// When it first had a permit.
    pub(crate) begun_at: Arc<OnceLock<DateTime<Utc>>>,
    /// Whom to tell that one of several targets has ended, and as which task.
    pub(crate) tell: Option<(Id, UnboundedSender<EndedLeg>)>,
}

/// One of several targets of an attempt has ended; others may not have.
#[derive(Debug)]
pub(crate) struct EndedLeg {
    /// The attempt's.
    pub(crate) task: Id,
    pub(crate) at: Instant,
    pub(crate) leg: Leg,
    /// How often it was called, in this attempt.
    pub(crate) made: u32,
}

impl Call {
    /// No target was called for this attempt yet.
    pub(crate) fn new(attempt: Attempt, legs: Vec<Leg>, called_off: CancellationToken) -> Self {
        Self { attempt, made: 0, legs, called_off, begun_at: Arc::default(), tell: None }
    }

    fn tell(&self, leg: &Leg, made: u32) {
        if let Some((task, to)) = &self.tell {
            // Nobody listens any more: then the attempt will be made again.
            let _ = to.send(EndedLeg { task: *task, at: Instant::now(), leg: leg.clone(), made });
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    /// How often the target was called.
    pub(crate) made: u32,
    /// How long the breaker keeps attempts away, where it held this one back: our own wait, not the target's word.
    pub(crate) held_back: Option<Duration>,
    /// Each target of a route; none without a route.
    pub(crate) legs: Vec<Leg>,
}

impl Report {
    /// The target was not called: the attempt was called off. It stays as it was, and may be made at once.
    fn called_off() -> Self {
        let verdict = Verdict::Retry { after: None, reason: "called off before it began".to_owned() };
        Self { verdict, made: 0, held_back: Some(Duration::ZERO), legs: Vec::new() }
    }
}

/// Calls once `wait` is over, and keeps what it gave until then. `ready` is the service that was made ready; where there is something to wait
/// for, its permit goes back meanwhile, and `fresh` is made ready instead.
async fn without_permit<S, W>(wait: W, ready: S, mut fresh: S, call: Call) -> Result<S::Response, S::Error>
where
    S: Service<Call>,
    W: Future,
{
    let mut wait = pin!(wait);
    let (mut service, _given) = match poll!(&mut wait) {
        Poll::Ready(given) => (ready, given),
        Poll::Pending => {
            drop(ready);
            let given = wait.await;
            fresh.ready().await?;
            (fresh, given)
        }
    };
    service.call(call).await
}

/// A target in its stack. Clones share permits, rate and breaker.
pub(crate) type Stack = BoxCloneSyncService<Call, Report, Infallible>;

/// `target` in a stack of its own.
pub(crate) fn around(target: Arc<dyn Target>, limits: &Limits, clock: Arc<dyn Clock>) -> Stack {
    let name = target.name();
    let within = limits.attempt_timeout;
    let stack = ServiceBuilder::new()
        .retry(quick_retry::QuickRetry::new(limits))
        .layer(lane::LaneLayer::new(target.clone()))
        .layer(turns::TurnLayer::new(target.clone()))
        .concurrency_limit(limits.concurrency)
        .layer(breaker::BreakerLayer::new(name, limits, clock))
        .layer(rate::RateLayer::new(limits.per_second))
        .layer(meter::MeterLayer::new(name))
        .service(service_fn(move |call: Call| {
            let target = target.clone();
            async move {
                // Not tower's timeout: an attempt that takes too long is a verdict, not an error.
                let verdict = timeout(within, target.attempt(&call.attempt)).await.unwrap_or_else(|_| {
                    let reason = format!("{name} did not answer within {} ms", within.as_millis());
                    Verdict::Retry { after: None, reason }
                });
                Ok::<_, Infallible>(Report { verdict, made: 1, held_back: None, legs: Vec::new() })
            }
            .boxed()
        }));
    BoxCloneSyncService::new(stack)
}
