//! Attempts of one lane, evenly apart: a channel, a repository, whatever the API behind a target limits by itself.
//!
//! While an attempt waits for its lane it holds no permit: a busy channel takes nothing from the others.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service};

use super::{Call, without_permit};
use crate::Target;

/// How many lanes are remembered before those at rest are forgotten.
const LANES_MAX: usize = 4096;

/// The runtime's clock, so that a test can turn it.
#[derive(Debug, Clone)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

type Limiter = RateLimiter<String, DashMapStateStore<String>, RuntimeClock, NoOpMiddleware<Nanos>>;

struct Lanes {
    target: Arc<dyn Target>,
    /// `None` when the target's lanes are as wide as itself.
    limiter: Option<Limiter>,
    clock: RuntimeClock,
}

impl Lanes {
    async fn wait(&self, lane: &String, limiter: &Limiter) {
        while let Err(not_until) = limiter.check_key(lane) {
            sleep(not_until.wait_time_from(self.clock.now())).await;
        }
        if limiter.len() > LANES_MAX {
            limiter.retain_recent();
        }
    }
}

/// One attempt at a time and lane, `Target::lane_every` apart.
#[derive(Clone)]
pub(super) struct LaneLayer(Arc<Lanes>);

impl LaneLayer {
    pub(super) fn new(target: Arc<dyn Target>) -> Self {
        let clock = RuntimeClock(Instant::now());
        let quota = Quota::with_period(target.lane_every());
        let limiter = quota.map(|quota| RateLimiter::dashmap_with_clock(quota, clock.clone()));
        Self(Arc::new(Lanes { target, limiter, clock }))
    }
}

impl<S> Layer<S> for LaneLayer {
    type Service = Laned<S>;

    fn layer(&self, inner: S) -> Laned<S> {
        Laned { inner, lanes: self.0.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Laned<S> {
    inner: S,
    lanes: Arc<Lanes>,
}

impl<S> Service<Call> for Laned<S>
where
    S: Service<Call> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        // The service that was made ready is the one to call; its fresh clone takes its place.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh.clone());
        let lanes = self.lanes.clone();
        async move {
            match (&lanes.limiter, lanes.target.lane(&call.attempt.action)) {
                (Some(limiter), Some(lane)) => {
                    without_permit(lanes.wait(&lane, limiter), ready, fresh, call).await
                }
                _ => ready.call(call).await,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Mutex, time::Duration};

    use async_trait::async_trait;
    use events::{Action, ActionKind};
    use serde_json::json;
    use tokio_util::sync::CancellationToken;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::{Attempt, Verdict};

    struct Channels;

    #[async_trait]
    impl Target for Channels {
        fn name(&self) -> &'static str {
            "channels"
        }

        fn carries(&self, _: &ActionKind) -> bool {
            true
        }

        fn lane(&self, action: &Action) -> Option<String> {
            action.target.strip_prefix("team:").map(ToOwned::to_owned)
        }

        fn lane_every(&self) -> Duration {
            Duration::from_secs(1)
        }

        async fn attempt(&self, _: &Attempt) -> Verdict {
            Verdict::Done { reference: None }
        }
    }

    fn call(to: &str) -> Call {
        let action = json!({
            "event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": to, "rationale": "",
            "source_ref": "",
        });
        let action = Arc::new(serde_json::from_value(action).expect("an action"));
        Call::new(
            Attempt { action, asked_at: chrono::DateTime::UNIX_EPOCH },
            Vec::new(),
            CancellationToken::new(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn one_a_second_a_channel_and_the_others_do_not_wait() {
        let (begun, made) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let noted = made.clone();
        let inner = service_fn(move |call: Call| {
            let made = noted.clone();
            async move {
                let to = call.attempt.action.target.clone();
                made.lock().expect("a list").push((to, begun.elapsed().as_millis()));
                Ok::<_, Infallible>(())
            }
        });
        // One permit in all: whoever waits for the busy channel must not hold it.
        let stack = ServiceBuilder::new().layer(LaneLayer::new(Arc::new(Channels)));
        let stack = stack.concurrency_limit(1).service(inner);
        let calls = ["team:busy", "team:busy", "team:busy", "team:other", "owner:bo", "owner:bo"];
        let running = calls.map(|to| {
            let stack = stack.clone();
            tokio::spawn(async move { stack.oneshot(call(to)).await })
        });
        for one in running {
            assert_eq!(one.await.expect("a task"), Ok(()));
        }
        let mut made = made.lock().expect("a list").clone();
        made.sort();
        let at = |to: &str| made.iter().filter(|(of, _)| of == to).map(|(_, at)| *at).collect::<Vec<_>>();
        let busy = at("team:busy");
        assert!(
            busy[0] < 10 && (1000..1010).contains(&busy[1]) && (2000..2010).contains(&busy[2]),
            "{busy:?}"
        );
        assert!(at("team:other")[0] < 10 && at("owner:bo").iter().all(|at| *at < 10), "{made:?}");
    }
}
