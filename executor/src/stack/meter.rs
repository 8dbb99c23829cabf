//! Counts and times attempts: `breakdown_attempts_total{target,verdict}`, `breakdown_attempt_seconds{target}`.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{Call, Report};
use crate::Verdict;

#[derive(Debug, Clone, Copy)]
pub(super) struct MeterLayer(&'static str);

impl MeterLayer {
    pub(super) fn new(target: &'static str) -> Self {
        Self(target)
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Meter<S>;

    fn layer(&self, inner: S) -> Meter<S> {
        Meter { inner, target: self.0 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Meter<S> {
    inner: S,
    target: &'static str,
}

impl<S> Service<Call> for Meter<S>
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
        let (target, started) = (self.target, Instant::now());
        let future = self.inner.call(call);
        Box::pin(async move {
            let Ok(report) = future.await;
            let verdict = match report.verdict {
                Verdict::Done { .. } => "done",
                Verdict::Retry { .. } => "retry",
                Verdict::Reject { .. } => "reject",
            };
            metrics::counter!("breakdown_attempts_total", "target" => target, "verdict" => verdict)
                .increment(1);
            metrics::histogram!("breakdown_attempt_seconds", "target" => target)
                .record(started.elapsed().as_secs_f64());
            Ok(report)
        })
    }
}
