//! Whether a role has taken up what a command put on the log.

use std::{collections::BTreeMap, time::Duration};

use eventlog::Log;
use tokio::time::{Instant, sleep};

use crate::error::Failure;

/// How long a role is waited for. One that runs hears at once.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The last record of each topic and partition, by its offset.
pub(crate) type Said<'s> = BTreeMap<(&'s str, u32), u64>;

/// Whether the group has taken all of it into its state; waits a few seconds for it.
pub(crate) async fn by(log: &dyn Log, group: &str, said: &Said<'_>) -> Result<bool, Failure> {
    let give_up = Instant::now() + HEARD_WITHIN;
    loop {
        let offsets = log.group(group).await?;
        let heard = said.iter().all(|((topic, partition), offset)| {
            offsets
                .iter()
                .any(|at| at.topic == *topic && at.partition == *partition && at.committed > *offset)
        });
        if heard || Instant::now() >= give_up {
            return Ok(heard);
        }
        sleep(LOOK_EVERY).await;
    }
}
