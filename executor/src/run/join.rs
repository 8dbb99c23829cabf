//! Joining the group.

use eventlog::{Log, LogError, Subscription, SubscriptionSpec};
use events::topic;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{GROUP, LOG_RETRY_AFTER};
use crate::ExecutorError;

/// Joins the group; `None` when told to stop before the log could be reached.
pub(super) async fn subscribe(
    log: &dyn Log,
    shutdown: &CancellationToken,
) -> Result<Option<Box<dyn Subscription>>, ExecutorError> {
    loop {
        let spec = SubscriptionSpec {
            group: GROUP.to_owned(),
            inputs: vec![topic::ACTIONS.to_owned(), topic::CONTROL.to_owned()],
            changelog: topic::EXECUTOR_STATE.to_owned(),
        };
        let joined = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(None),
            joined = log.subscribe(spec) => joined,
        };
        match joined {
            Ok(subscription) => return Ok(Some(subscription)),
            Err(error @ LogError::Refused(_)) => return Err(ExecutorError::Log(error)),
            Err(error) => tracing::warn!(%error, "the executor cannot join its group yet and tries again"),
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(None),
            () = sleep(LOG_RETRY_AFTER) => {}
        }
    }
}
