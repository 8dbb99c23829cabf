//! Attempts that must not overlap: between asking who is free and booking, nobody else may book those people, or each would be told
//! the same time. They take turns; while one waits for its turn it holds no permit, and its time does not run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tower::{Layer, Service};

use super::{Call, without_permit};
use crate::Target;

/// One turn at a time for each name; of this process: another one may be at it at the same instant.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<String, Arc<Turn<()>>>>);

impl Turns {
    /// Waits until nobody else has any of these; until what is returned is dropped, nobody gets them.
    async fn take(&self, mut names: Vec<String>) -> Vec<OwnedMutexGuard<()>> {
        // In one order for all, so that no two wait for each other.
        names.sort_unstable();
        names.dedup();
        let turns: Vec<Arc<Turn<()>>> = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are forgotten.
            known.retain(|_, turn| Arc::strong_count(turn) > 1);
            names.into_iter().map(|name| known.entry(name).or_default().clone()).collect()
        };
        let mut taken = Vec::with_capacity(turns.len());
        for turn in turns {
            taken.push(turn.lock_owned().await);
        }
        taken
    }
}

/// Attempts that share something of [`Target::alone_at`] one after the other.
#[derive(Clone)]
pub(super) struct TurnLayer {
    target: Arc<dyn Target>,
    turns: Arc<Turns>,
}

impl TurnLayer {
    pub(super) fn new(target: Arc<dyn Target>) -> Self {
        Self { target, turns: Arc::default() }
    }
}

impl<S> Layer<S> for TurnLayer {
    type Service = InTurn<S>;

    fn layer(&self, inner: S) -> InTurn<S> {
        InTurn { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct InTurn<S> {
    inner: S,
    layer: TurnLayer,
}

impl<S> Service<Call> for InTurn<S>
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
        let names = self.layer.target.alone_at(&call.attempt);
        if names.is_empty() {
            return ready.call(call).boxed();
        }
        let turns = self.layer.turns.clone();
        async move { without_permit(turns.take(names), ready, fresh, call).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use async_trait::async_trait;
    use events::ActionKind;
    use serde_json::json;
    use tokio::time::{Instant, sleep};
    use tokio_util::sync::CancellationToken;
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::{Attempt, Verdict};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn who_shares_a_calendar_waits_and_nobody_else_does() {
        let turns = Turns::default();
        let first = turns.take(names(&["b", "a", "b"])).await;
        assert_eq!(first.len(), 2);
        let mut second = Box::pin(turns.take(names(&["c", "b"])));
        assert!(second.as_mut().now_or_never().is_none());
        let third = turns.take(names(&["d"])).await;
        drop(first);
        drop(second.await);
        drop(third);
        drop(turns.take(names(&["a", "b", "c"])).await);
        assert_eq!(turns.take(Vec::new()).await.len(), 0);
        assert!(
            turns.0.lock().expect("the map").is_empty(),
            "nothing is kept of calendars that nobody books"
        );
    }

    struct Rooms;

    #[async_trait]
    impl Target for Rooms {
        fn name(&self) -> &'static str {
            "rooms"
        }

        fn carries(&self, _: &ActionKind) -> bool {
            true
        }

        fn alone_at(&self, attempt: &Attempt) -> Vec<String> {
            attempt.action.target.strip_prefix("team:").map(ToOwned::to_owned).into_iter().collect()
        }

        async fn attempt(&self, _: &Attempt) -> Verdict {
            Verdict::Done { reference: None }
        }
    }

    fn call(to: &str) -> Call {
        let action = json!({
            "event_id": "a-1", "project_id": "alpha", "action": "schedule_unblocker", "target": to, "rationale": "",
            "source_ref": "",
        });
        let action = Arc::new(serde_json::from_value(action).expect("an action"));
        let asked_at = chrono::DateTime::UNIX_EPOCH;
        Call::new(Attempt { action, asked_at }, Vec::new(), CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_holds_no_permit_and_nobody_overlaps() {
        let begun = Instant::now();
        let inner = service_fn(|_: Call| async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(())
        });
        let stack = ServiceBuilder::new().layer(TurnLayer::new(Arc::new(Rooms)));
        let stack = stack.concurrency_limit(2).service(inner);
        let calls = ["team:busy", "team:busy", "team:busy", "owner:bo", "team:other"];
        let mut running = tokio::task::JoinSet::new();
        for to in calls {
            let stack = stack.clone();
            running.spawn(
                async move { stack.oneshot(call(to)).await.map(|()| (to, begun.elapsed().as_secs())) },
            );
        }
        let mut ended: Vec<_> = running.join_all().await.into_iter().map(|Ok(end)| end).collect();
        ended.sort_unstable();
        let busy: Vec<u64> = ended.iter().filter(|(to, _)| *to == "team:busy").map(|(_, at)| *at).collect();
        assert_eq!(busy, [1, 2, 3], "one after the other");
        // Two permits: had those that wait for their turn kept theirs, the others would have come last.
        let others = ended.iter().filter(|(to, _)| *to != "team:busy").map(|(_, at)| *at).max();
        assert!(others <= Some(2), "{ended:?}");
    }
}
