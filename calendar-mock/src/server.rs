//! The HTTP server: bounded header time, graceful stop, and connections that close without an answer when told to.

use std::{convert::Infallible, fmt, future::Future, io, pin::pin, time::Duration};

use axum::{Router, body::Body, http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{CalendarMock, router};

/// How long the headers of a request may take.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long running requests may take once the server is told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Marks a response that is not to be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloseConnection;

impl fmt::Display for CloseConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed on request")
    }
}

impl std::error::Error for CloseConnection {}

/// Serves the calendar on `listener` until `shutdown` ends; then accepts nothing more, gives running requests two
/// seconds, and returns. An error means that the listener itself failed.
pub async fn serve(
    listener: TcpListener,
    mock: CalendarMock,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = router(mock);
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // The peer was gone before it was accepted, or descriptors ran out: neither is the listener's end.
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let router = router.clone();
        let service = service_fn(move |request| answer(router.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A peer that breaks off is no concern of the server.
            let _ = connection.await;
        });
    }
    drop(listener);
    // Whatever still hangs after that is dropped with `connections`.
    let _ = tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await;
    Ok(())
}

fn is_passing(error: &io::Error) -> bool {
    // 23 and 24: too many open files, in the system and in the process.
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, CloseConnection> {
    let answered: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    match answered {
        Ok(response) if response.extensions().get::<CloseConnection>().is_some() => Err(CloseConnection),
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}
