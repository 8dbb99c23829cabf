//! At most so many attempts a second, evenly, whoever asks. This is the last wait before the target is called, so here it
//! is seen whether the attempt was called off meanwhile: while it waited for its lane, its permit, or its next quick try.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use tower::{Layer, Service};

use super::{Call, Report};

/// Lets `per_second` attempts through a second, as many at once.
#[derive(Clone)]
pub(super) struct RateLayer(Arc<DefaultDirectRateLimiter>);

impl RateLayer {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self(Arc::new(DefaultDirectRateLimiter::direct(Quota::per_second(per_second))))
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = Rate<S>;

    fn layer(&self, inner: S) -> Rate<S> {
        Rate { inner, limiter: self.0.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Rate<S> {
    inner: S,
    limiter: Arc<DefaultDirectRateLimiter>,
}

impl<S> Service<Call> for Rate<S>
where
    S: Service<Call, Response = Report, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Report;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Report, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        // The service that was made ready is the one to call; its fresh clone takes its place.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let limiter = self.limiter.clone();
        Box::pin(async move {
            while let Err(not_until) = limiter.check() {
                tokio::time::sleep(not_until.wait_time_from(DefaultClock::default().now())).await;
            }
            if call.called_off.is_cancelled() {
                return Ok(Report::called_off());
            }
            inner.call(call).await
        })
    }
}
