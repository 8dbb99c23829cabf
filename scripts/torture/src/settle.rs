//! When nothing is under way any more.

use std::time::Duration;

use eventlog::Log;
use events::topic;
use tokio::time::{Instant, sleep};

use crate::{
    Result,
    evidence::{Logged, Shown, shown},
    world::World,
};

/// How long everything may take to settle once the faults are over: an action that was parked again and again waits for two minutes
/// at most, a target that kept failing is left alone for half a minute.
pub(crate) const SETTLED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// So long nothing may come before it counts as settled: longer than a session, so that steps of the dead have been given up.
const QUIET: Duration = Duration::from_secs(12);

/// What stands when everything has settled, or when the time for it is up.
pub(crate) struct Settled {
    pub(crate) logged: Logged,
    pub(crate) shown: Vec<Shown>,
    /// How long it took; none where it did not settle.
    pub(crate) after: Option<Duration>,
}

/// Waits until each topic has been consumed to its end, each action has its outcome, no timer is due, and all that has stayed so for
/// longer than a session; redrives what failed, and waits again, until nothing has.
pub(crate) async fn settle(world: &World, log: &dyn Log, say: impl Fn(String)) -> Result<Settled> {
    let began = Instant::now();
    let mut quiet: Option<(Instant, Vec<u64>)> = None;
    loop {
        let over = began.elapsed() > SETTLED_WITHIN;
        let now = ends(log).await;
        let still = match (&quiet, &now) {
            (Some((since, before)), Some(now)) if before == now => Some(since.elapsed()),
            _ => None,
        };
        if still.is_none() {
            quiet = now.map(|now| (Instant::now(), now));
        }
        if over || still.is_some_and(|still| still > QUIET) {
            let logged = Logged::read(log).await?;
            let (done, failed) = (logged.is_done(), logged.failed());
            if done && failed > 0 && !over {
                say(format!("         {failed} actions have failed and are redriven"));
                world.command(&["dead-letters", "redrive", "--yes"]).await?;
            } else if over || done {
                let shown = shown(&world.client, &world.gateways()).await;
                return Ok(Settled { logged, shown, after: (!over).then(|| began.elapsed() - QUIET) });
            }
            quiet = None;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Where every topic ends; none while anything is still to be consumed.
async fn ends(log: &dyn Log) -> Option<Vec<u64>> {
    let groups = log.groups().await.ok()?;
    let read = |group: &str, topic: &str| {
        let mut offsets = groups.iter().filter(|at| at.group == group && at.topic == topic).peekable();
        offsets.peek().is_some() && offsets.all(|at| at.lag() == 0)
    };
    let executor = groups.iter().find(|at| at.topic == topic::ACTIONS)?.group.clone();
    let consumed =
        [(gateway::GROUP, topic::ISSUES), (gateway::GROUP, topic::OUTCOMES), (&executor, topic::ACTIONS)];
    if !consumed.into_iter().all(|(group, topic)| read(group, topic)) {
        return None;
    }
    let topics = log.topics().await.ok()?;
    Some(topics.iter().flat_map(|topic| topic.partitions.iter().map(|bounds| bounds.end)).collect())
}
