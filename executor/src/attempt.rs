//! One attempt, in a task of its own.

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use crate::{
    Verdict,
    stack::{Call, Report, Stack},
};

/// Makes one attempt; `None` where it was called off while it waited for a permit, and so never began.
pub(crate) async fn attempt(mut stack: Stack, call: Call, called_off: CancellationToken) -> Option<Report> {
    let ready = tokio::select! {
        biased;
        () = called_off.cancelled() => return None,
        ready = stack.ready() => ready,
    };
    match ready {
        Ok(ready) => match ready.call(call).await {
            Ok(report) => Some(report),
            Err(never) => match never {},
        },
        Err(never) => match never {},
    }
}

/// What an attempt that ended without a report counts as.
pub(crate) fn broken_off(error: &JoinError) -> Option<Report> {
    error.is_panic().then(|| Report {
        verdict: Verdict::Retry { after: None, reason: "the attempt broke off inside".to_owned() },
        made: 1,
        held_back: None,
        legs: Vec::new(),
    })
}
