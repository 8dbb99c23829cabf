//! One connection: HTTP/1.1, cut off when the peer keeps us waiting, and closed so that the answer arrives.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::IntoResponse};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    Limits, Provider,
    exchange::{Exchange, Overdue},
    receive::{HangUp, count_refusal},
    refusal::Refusal,
};

/// Largest head, in bytes. Providers send about 2 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Buffer of one connection, in bytes; grows up to here while a body comes in.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// How long a peer that is still sending gets to read the answer before the connection is gone.
const LINGER: Duration = Duration::from_secs(2);

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, HangUp>> + Send>>;

/// What others see of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    exchange: Arc<Mutex<Exchange>>,
    way: CancellationToken,
}

impl Handle {
    pub(crate) fn new() -> Self {
        Self { exchange: Arc::new(Mutex::new(Exchange::new(Instant::now()))), way: CancellationToken::new() }
    }

    /// Since when the peer owes us bytes of a request; `None` while it owes none.
    pub(crate) fn owing_since(&self) -> Option<Instant> {
        let since = lock(&self.exchange).owing_since();
        since.filter(|_| !self.way.is_cancelled())
    }

    /// Ends the connection: its place is needed.
    pub(crate) fn give_way(&self) {
        self.way.cancel();
    }
}

/// Serves one connection until it ends by itself, the peer keeps us waiting, it has to give way, or `shutdown` lets the
/// request that is being answered be the last.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    handle: Handle,
    router: Router,
    limits: Arc<Limits>,
    listener: &'static str,
    shutdown: CancellationToken,
) {
    let Handle { exchange, way } = handle;
    let service = {
        let exchange = exchange.clone();
        service_fn(move |request| answer(router.clone(), exchange.clone(), peer, request))
    };
    let stream = Watched { stream, exchange: exchange.clone(), reader: None };
    // The library's own head timer is off: it would also count the idle time between two requests.
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);

    let mut stopping = std::pin::pin!(shutdown.cancelled());
    let mut gone = std::pin::pin!(way.cancelled());
    let mut stopped = false;
    let mut alarm = std::pin::pin!(sleep_until(Instant::now() + limits.head_timeout));
    let end = poll_fn(|cx| {
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(End::Http(result));
        }
        // Looked at again: it may have begun to speak since it was chosen.
        if gone.as_mut().poll(cx).is_ready() && lock(&exchange).owing_since().is_some() {
            return Poll::Ready(End::GaveWay);
        }
        // The library waits for the first request even while it shuts down.
        if stopped && lock(&exchange).untouched() {
            return Poll::Ready(End::Http(Ok(())));
        }
        // Whatever moves the deadline happens inside the poll above, so looking after it is enough. The alarm is only ever
        // brought forward; one that rings early is set again.
        loop {
            let Some((deadline, overdue)) = lock(&exchange).deadline(&limits) else { return Poll::Pending };
            if Instant::now() >= deadline {
                return Poll::Ready(End::Overdue(overdue));
            }
            if alarm.deadline() > deadline || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
        }
    })
    .await;
    match end {
        End::Http(Ok(())) if lock(&exchange).peer_may_be_sending() => {
            linger(connection.into_parts().io.into_inner().stream, &way).await;
        }
        End::Http(Ok(())) => {}
        End::Http(Err(error)) if error.is_parse() => {
            cut(listener, "not_http");
            linger(connection.into_parts().io.into_inner().stream, &way).await;
        }
        // The peer went away, or a handler hung up and has counted that.
        End::Http(Err(error)) => tracing::debug!(%peer, %error, "connection ended"),
        End::Overdue(Overdue::SlowHead) => cut(listener, "slow_head"),
        End::Overdue(Overdue::SlowReader) => cut(listener, "slow_reader"),
        End::Overdue(Overdue::Idle) => cut(listener, "idle"),
        End::GaveWay => cut(listener, "gave_way"),
    }
}

enum End {
    Http(hyper::Result<()>),
    Overdue(Overdue),
    GaveWay,
}

pub(crate) fn cut(listener: &'static str, reason: &'static str) {
    metrics::counter!("breakdown_connections_cut_total", "listener" => listener, "reason" => reason)
        .increment(1);
}

/// Answers one request through the router.
fn answer(
    router: Router,
    exchange: Arc<Mutex<Exchange>>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Answer {
    let clear = lock(&exchange).begin(request.body().size_hint().exact(), Instant::now());
    Box::pin(async move {
        let mut request = request.map(|body| Body::new(Seen { body, exchange: exchange.clone() }));
        let mut response = if clear {
            request.extensions_mut().insert(ConnectInfo(peer));
            let Ok(response) = router.oneshot(request).await.map_err(|never: Infallible| match never {});
            response
        } else {
            count_refusal(Provider::of_path(request.uri().path()), Refusal::AmbiguousLength);
            Refusal::AmbiguousLength.into_response()
        };
        let last = lock(&exchange).answer(Instant::now());
        if let Some(hang_up) = response.extensions_mut().remove::<HangUp>() {
            return Err(hang_up);
        }
        if last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    })
}

/// Ends a connection whose peer may still be sending: closing with unread bytes would reset it, and the peer might never
/// see the answer. Its place may be needed sooner.
async fn linger(mut stream: TcpStream, way: &CancellationToken) {
    let drained = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut sink = [0; 16 * 1024];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    });
    // Nothing is left to be done whichever way this ends.
    tokio::select! {
        _ = drained => {}
        () = way.cancelled() => {}
    }
}

fn lock(exchange: &Mutex<Exchange>) -> MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A body whose end is shown to the [`Exchange`].
struct Seen {
    body: Incoming,
    exchange: Arc<Mutex<Exchange>>,
}

impl hyper::body::Body for Seen {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            lock(&self.exchange).body_ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose incoming bytes are shown to the [`Exchange`], and which gives none until an answer was sent.
struct Watched {
    stream: TcpStream,
    exchange: Arc<Mutex<Exchange>>,
    /// Who wanted to read meanwhile.
    reader: Option<Waker>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !lock(&self.exchange).reads() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        lock(&self.exchange).read(&buf.filled()[before..], Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// The library flushes when it has written out all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if lock(&self.exchange).sent(Instant::now())
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
