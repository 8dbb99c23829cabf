//! Reads bodies, bounded in length, time and in what all of them together hold.
//!
//! A body up to 64 KiB takes nothing but its connection's place. A longer one takes from a common budget what its buffer
//! holds, as the buffer grows: what a peer only announces costs nobody anything, and to use up the budget it has to be sent.
//!
//! Bodies that hold parts and wait for more could then wait for each other for ever. So room for one longest body is kept
//! out of the budget: when the rest is used up, whoever waited longest gets that room, gives back its parts, and needs
//! nothing more to come to its end, which takes no longer than a body may take; then the next has its turn.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::Limits;

/// Largest body that takes nothing from the common budget.
const SMALL_BYTES: usize = 64 * 1024;
/// By how much a buffer grows at most, and so what a body asks the budget for at a time: little, since whoever asks stands in
/// the way of those behind it.
const STEP_BYTES: usize = 1024 * 1024;
/// What one permit of the budget stands for, in bytes.
const PERMIT_BYTES: usize = 1024;

/// Reads bodies.
#[derive(Debug)]
pub(crate) struct Intake {
    limit: usize,
    within: Duration,
    parts: Arc<Semaphore>,
    whole: Arc<Semaphore>,
}

/// A body, and its part of the budget, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    _room: Room,
}

/// What a body has of the budget.
#[derive(Debug)]
enum Room {
    /// Its connection's place.
    Small,
    /// So many permits' bytes.
    Parts(OwnedSemaphorePermit),
    /// As much as a body may have.
    Whole { _held: OwnedSemaphorePermit },
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    TooLarge,
    TooSlow,
    Broken,
}

impl Intake {
    pub(crate) fn new(limits: &Limits) -> Self {
        let parts = permits(limits.body_bytes_in_flight.saturating_sub(limits.body_bytes));
        Self {
            limit: limits.body_bytes,
            within: limits.body_timeout,
            parts: Arc::new(Semaphore::new((parts as usize).min(Semaphore::MAX_PERMITS))),
            whole: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether the head announces a body that is too long to begin with.
    pub(crate) fn announces_too_much(&self, headers: &HeaderMap) -> bool {
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        announced.is_some_and(|length| length.parse().map_or(true, |length: u64| length > self.limit as u64))
    }

    /// Reads `body` to its end.
    pub(crate) async fn take(&self, body: Body) -> Result<Taken, NotTaken> {
        timeout(self.within, self.read(body)).await.unwrap_or(Err(NotTaken::TooSlow))
    }

    async fn read(&self, mut body: Body) -> Result<Taken, NotTaken> {
        let announced =
            body.size_hint().exact().map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let longest = announced.min(self.limit);
        let mut room = Room::Small;
        let mut first = Bytes::new();
        let mut joined = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(NotTaken::Broken) };
            let Ok(data) = frame.into_data() else { continue };
            let length = first.len() + joined.len() + data.len();
            if length > self.limit {
                return Err(NotTaken::TooLarge);
            }
            // Most bodies come in one piece, which is then kept as it is.
            if first.is_empty() && joined.is_empty() {
                room = self.enlarge(room, data.len()).await?;
                first = data;
                continue;
            }
            if length > joined.capacity() {
                let step = joined.capacity().clamp(SMALL_BYTES, STEP_BYTES);
                let capacity = (joined.capacity() + step).clamp(length, longest.max(length));
                room = self.enlarge(room, capacity).await?;
                joined.reserve_exact(capacity - joined.len());
            }
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() { first } else { joined.into() };
        Ok(Taken { bytes, _room: room })
    }

    /// Room for so many bytes, at least what `room` is already. The semaphores are never closed.
    async fn enlarge(&self, room: Room, bytes: usize) -> Result<Room, NotTaken> {
        let held = match &room {
            _ if bytes <= SMALL_BYTES => return Ok(room),
            Room::Whole { .. } => return Ok(room),
            Room::Parts(parts) => parts.num_permits(),
            Room::Small => 0,
        };
        let more = permits(bytes).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        tokio::select! {
            biased;
            more = self.parts.clone().acquire_many_owned(more) => {
                let mut more = more.map_err(|_| NotTaken::Broken)?;
                if let Room::Parts(parts) = room {
                    more.merge(parts);
                }
                Ok(Room::Parts(more))
            }
            whole = self.whole.clone().acquire_owned() => {
                Ok(Room::Whole { _held: whole.map_err(|_| NotTaken::Broken)? })
            }
        }
    }
}

/// Permits for so many bytes.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;
    use tokio::{
        sync::mpsc::{UnboundedReceiver, unbounded_channel},
        task::JoinSet,
    };

    use super::*;

    fn intake(limit: usize, in_flight: usize) -> Intake {
        let limits = Limits {
            body_bytes: limit,
            body_bytes_in_flight: in_flight,
            body_timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        Intake::new(&limits)
    }

    #[tokio::test]
    async fn takes_up_to_the_limit() {
        let intake = intake(100, 100);
        assert_eq!(intake.take(Body::from(vec![1; 100])).await.unwrap().bytes.len(), 100);
        assert_eq!(intake.take(Body::from(vec![1; 101])).await.unwrap_err(), NotTaken::TooLarge);
        assert!(intake.take(Body::empty()).await.unwrap().bytes.is_empty());
    }

    /// A body in pieces that come when they are sent.
    struct Pieces(UnboundedReceiver<Bytes>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn bodies_that_have_used_up_the_budget_end_one_after_the_other() {
        const MIB: usize = 1024 * 1024;
        let limits = Limits {
            body_bytes: MIB,
            body_bytes_in_flight: 2 * MIB,
            body_timeout: Duration::from_secs(10),
            ..Limits::default()
        };
        let intake = Arc::new(Intake::new(&limits));
        let piece = Bytes::from(vec![b' '; MIB / 16]);
        let mut senders = Vec::new();
        let mut bodies = JoinSet::new();
        for _ in 0..16 {
            let (sender, receiver) = unbounded_channel();
            for _ in 0..2 {
                sender.send(piece.clone()).unwrap();
            }
            senders.push(sender);
            let intake = intake.clone();
            bodies.spawn(async move {
                intake.take(Body::new(Pieces(receiver))).await.map(|taken| taken.bytes.len())
            });
        }
        while intake.parts.available_permits() > 0 || intake.whole.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for sender in senders {
            for _ in 2..16 {
                sender.send(piece.clone()).unwrap();
            }
        }
        for taken in bodies.join_all().await {
            assert_eq!(taken.unwrap(), MIB);
        }
        assert_eq!((intake.parts.available_permits(), intake.whole.available_permits()), (1024, 1));
    }

    #[tokio::test]
    async fn what_is_only_announced_takes_nothing() {
        let intake = Arc::new(intake(25 * 1024 * 1024, 256 * 1024 * 1024));
        let before = intake.parts.available_permits();
        let (sender, receiver) = unbounded_channel();
        for _ in 0..3 {
            sender.send(Bytes::from(vec![b' '; SMALL_BYTES])).unwrap();
        }
        let task = tokio::spawn({
            let intake = intake.clone();
            async move { intake.take(Body::new(Pieces(receiver))).await.unwrap_err() }
        });
        while intake.parts.available_permits() == before {
            tokio::task::yield_now().await;
        }
        assert!(before - intake.parts.available_permits() <= permits(4 * SMALL_BYTES) as usize);
        assert_eq!(task.await.unwrap(), NotTaken::TooSlow);
        assert_eq!(intake.parts.available_permits(), before);
        drop(sender);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_the_budget_and_small_ones_do_not() {
        let intake = intake(200 * 1024, 1);
        let first = intake.take(Body::from(vec![1; 200 * 1024])).await.unwrap();
        let waited = intake.take(Body::from(vec![2; 200 * 1024])).await;
        assert_eq!(waited.unwrap_err(), NotTaken::TooSlow);
        assert!(intake.take(Body::from(vec![3; SMALL_BYTES])).await.is_ok());
        drop(first);
        assert!(intake.take(Body::from(vec![2; 200 * 1024])).await.is_ok());
    }
}
