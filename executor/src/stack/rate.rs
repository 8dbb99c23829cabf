//! At most so many attempts a second, evenly, whoever asks.

use std::{
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

impl<S, R> Service<R> for Rate<S>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // The service that was made ready is the one to call; its fresh clone takes its place.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let limiter = self.limiter.clone();
        Box::pin(async move {
            while let Err(not_until) = limiter.check() {
                tokio::time::sleep(not_until.wait_time_from(DefaultClock::default().now())).await;
            }
            inner.call(request).await
        })
    }
}
