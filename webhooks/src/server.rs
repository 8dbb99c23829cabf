//! Accepts connections, and drains them.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, response::IntoResponse};
use eventlog::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Journal, Limits,
    connection::{self, cut},
    receive,
    refusal::Refusal,
};

/// How long accepting rests after it failed: most often file descriptors ran out, and some come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The receivers of one process.
#[derive(Debug)]
pub struct Server {
    router: Router,
    limits: Arc<Limits>,
}

impl Server {
    /// Receivers that append to `journal`. `extra` is served beside them (health and metrics); each request carries
    /// `ConnectInfo<SocketAddr>`. Its answers are made whole, not streamed: time to read one is [`Limits::answer_timeout`].
    ///
    /// # Panics
    /// When `extra` has a route of its own at a receiver's path.
    pub fn new(config: Config, journal: impl Into<Journal>, clock: Arc<dyn Clock>, extra: Router) -> Self {
        let limits = Arc::new(config.limits.clone());
        let router = receive::routes(Arc::new(config), journal.into(), clock)
            .merge(extra)
            .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed.into_response() })
            .fallback(receive::nothing_here);
        Self { router, limits }
    }

    /// Serves until `shutdown` is cancelled; then takes no new connection, closes idle ones, and gives open requests
    /// [`Limits::drain_timeout`] to finish.
    ///
    /// # Errors
    /// None today: a failing accept is retried.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let Self { router, limits } = self;
        let places = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                // The semaphore is never closed; without a place, connections wait in the listener's queue.
                let place = places.clone().acquire_owned().await.ok()?;
                match listener.accept().await {
                    Ok((stream, peer)) => Some((place, stream, peer)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection; trying again");
                        sleep(ACCEPT_PAUSE).await;
                        None
                    }
                }
            };
            let (place, stream, peer) = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accepted => match accepted {
                    Some(accepted) => accepted,
                    None => continue,
                },
            };
            send_at_once(&stream);
            let connection =
                connection::serve(stream, peer, router.clone(), limits.clone(), shutdown.clone());
            connections.spawn(async move {
                let open = Open::new();
                connection.await;
                drop((open, place));
            });
        }
        drop(listener);
        let drained =
            timeout(limits.drain_timeout, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(
                open = connections.len(),
                "connections were still open after the drain time and were cut"
            );
            for _ in 0..connections.len() {
                cut("drain");
            }
            connections.shutdown().await;
        }
        Ok(())
    }
}

/// Answers are small and single: waiting to fill a segment only delays them.
fn send_at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// Counts an open connection while it lives, also when its task panics or is aborted.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!("breakdown_webhook_connections").increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("breakdown_webhook_connections").decrement(1.0);
    }
}
