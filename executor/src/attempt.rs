//! One attempt, in a task of its own.

use tokio::{
    sync::mpsc::UnboundedSender,
    task::{self, JoinError},
};
use tower::{Service, ServiceExt};

use crate::{
    Verdict,
    stack::{Call, EndedLeg, Report, Stack},
};

/// Makes one attempt, in a task; `None` where it was called off before it called a target, and so never began. Of several targets each
/// that has ended is told.
pub(crate) async fn attempt(
    mut stack: Stack,
    mut call: Call,
    legs: UnboundedSender<EndedLeg>,
) -> Option<Report> {
    call.tell = Some((task::id(), legs));
    let called_off = call.called_off.clone();
    let ready = tokio::select! {
        biased;
        () = called_off.cancelled() => return None,
        ready = stack.ready() => ready,
    };
    match ready {
        Ok(ready) => match ready.call(call).await {
            Ok(report) => Some(report).filter(|report| report.made > 0 || !called_off.is_cancelled()),
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
