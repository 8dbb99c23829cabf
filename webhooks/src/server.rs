//! Accepts connections, and drains them.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::{Router, response::IntoResponse};
use eventlog::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Journal, Limits,
    connection::{self, Handle, cut},
    receive,
    refusal::Refusal,
};

/// How long accepting rests after it failed: most often file descriptors ran out, and some come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long until it is looked again whether a connection can give way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is served on one listener, behind the bounds of [`Limits`].
#[derive(Debug)]
pub struct Server {
    name: &'static str,
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
        let router = receive::routes(Arc::new(config), journal, clock)
            .merge(extra)
            .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed.into_response() })
            .fallback(receive::nothing_here);
        Self { name: "webhooks", router, limits }
    }

    /// Only `router`, without receivers. `name` is the metrics' label `listener`. Requests and answers are as those of
    /// [`Server::new`]'s `extra`.
    pub fn plain(name: &'static str, router: Router, limits: Limits) -> Self {
        Self { name, router, limits: Arc::new(limits) }
    }

    /// Serves until `shutdown` is cancelled; then takes no new connection, closes idle ones, and gives open requests
    /// [`Limits::drain_timeout`] to finish.
    ///
    /// # Errors
    /// None today: a failing accept is retried.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let Self { name, router, limits } = self;
        // Routes are made for good here, not for every request.
        let router: Router = router.with_state(());
        let places = Places::new(limits.connections);
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = async {
                match listener.accept().await {
                    Ok((stream, peer)) => Some((places.take().await?, stream, peer)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection; trying again");
                        sleep(ACCEPT_PAUSE).await;
                        None
                    }
                }
            };
            let ((place, handle), stream, peer) = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = accepted => match accepted {
                    Some(accepted) => accepted,
                    None => continue,
                },
            };
            send_at_once(&stream);
            let connection = connection::serve(
                stream,
                peer,
                handle,
                router.clone(),
                limits.clone(),
                name,
                shutdown.clone(),
            );
            connections.spawn(async move {
                let open = Open::new(name);
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
                cut(name, "drain");
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
struct Open(&'static str);

impl Open {
    fn new(listener: &'static str) -> Self {
        metrics::gauge!("breakdown_connections", "listener" => listener).increment(1.0);
        Self(listener)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("breakdown_connections", "listener" => self.0).decrement(1.0);
    }
}

/// The places of connections. When all are taken, whoever has owed us bytes for the longest gives way to the next: so those who
/// only hold a connection open, however many, keep nobody out who has something to say. A connection whose request
/// was read never gives way; while there are no others, the next one waits.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<(Weak<()>, Handle)>>,
    most: usize,
}

/// A place, free again when this is dropped.
struct Place {
    _alive: Arc<()>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), taken: Mutex::default(), most }
    }

    /// A place for the next connection; `None` never, since the semaphore is not closed.
    async fn take(&self) -> Option<(Place, Handle)> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => loop {
                self.make_way();
                if let Ok(permit) = timeout(LOOK_AGAIN, self.free.clone().acquire_owned()).await {
                    break permit.ok()?;
                }
            },
        };
        let (alive, handle) = (Arc::new(()), Handle::new());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= 2 * self.most {
            taken.retain(|(alive, _)| alive.strong_count() > 0);
        }
        taken.push((Arc::downgrade(&alive), handle.clone()));
        Some((Place { _alive: alive, _permit: permit }, handle))
    }

    fn make_way(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let living = taken.iter().filter(|(alive, _)| alive.strong_count() > 0);
        let owing = living.filter_map(|(_, handle)| handle.owing_since().map(|since| (since, handle)));
        if let Some((_, longest)) = owing.min_by_key(|(since, _)| *since) {
            longest.give_way();
        }
    }
}
