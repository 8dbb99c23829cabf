//! Reads bodies, bounded in length, time and in what all of them together hold.
//!
//! A body up to 64 KiB takes nothing but its connection's place, so that a few peers that announce much and send slowly
//! cannot keep out the deliveries that matter, which are small. A longer one takes, once it has outgrown that, its whole
//! announced length from a common budget in one go: two bodies can never wait for each other's parts.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
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
/// What one permit of the budget stands for, in bytes.
const PERMIT_BYTES: usize = 1024;

/// Reads bodies.
#[derive(Debug)]
pub(crate) struct Intake {
    limit: usize,
    within: Duration,
    budget: Arc<Semaphore>,
}

/// A body, and its part of the budget, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    _budget: Option<OwnedSemaphorePermit>,
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
        let bytes = limits.body_bytes_in_flight.max(limits.body_bytes);
        let permits = permits(bytes).min(Semaphore::MAX_PERMITS as u32) as usize;
        Self {
            limit: limits.body_bytes,
            within: limits.body_timeout,
            budget: Arc::new(Semaphore::new(permits)),
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
        let announced = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        let mut budget = None;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(NotTaken::Broken) };
            let Ok(data) = frame.into_data() else { continue };
            let length = first.len() + joined.len() + data.len();
            if length > self.limit {
                return Err(NotTaken::TooLarge);
            }
            if length > SMALL_BYTES && budget.is_none() {
                let wanted = permits(announced.unwrap_or(self.limit).min(self.limit));
                let taken = self.budget.clone().acquire_many_owned(wanted).await;
                budget = Some(taken.map_err(|_| NotTaken::Broken)?);
            }
            // Most bodies come in one piece, which is then kept as it is.
            if first.is_empty() && joined.is_empty() {
                first = data;
                continue;
            }
            if joined.is_empty() {
                // What was only announced takes no memory yet beyond a small body's.
                joined.reserve(announced.unwrap_or(length).min(SMALL_BYTES).max(length));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() { first } else { joined.freeze() };
        Ok(Taken { bytes, _budget: budget })
    }
}

/// Permits for so many bytes.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
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
