//! Transactions that stay undecided: what stands behind them is read by nobody, and brokers do not say so.
//!
//! A step of ours is aborted by the broker one session after its member fell silent, so one that is open for many
//! sessions has been forgotten by its coordinator ("hanging"). That is a fault of the broker, and only its operator can
//! end it; here it is noticed, and said: once in the log, and to whoever asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use super::cluster::{Cluster, Edge};
use crate::{LogError, Stuck};

/// How many sessions a transaction may be open before it is said.
const SESSIONS: u32 = 6;
/// Where groups keep their offsets.
pub(super) const OFFSETS: &str = "__consumer_offsets";

/// A group, the partition that it cannot read on in, and the topic that it is about.
type Place = (String, u32, String);

/// Something undecided.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// The first offset that is not decided, where it is known.
    from: Option<u64>,
    since: Instant,
    said: bool,
}

/// Everything undecided that the members of this process wait for.
#[derive(Default)]
pub(super) struct Watch(Mutex<BTreeMap<Place, Wait>>);

impl Watch {
    fn waits(&self) -> MutexGuard<'_, BTreeMap<Place, Wait>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What `group` found at `topic`'s `partition` just now: the first offset that is not decided. Another one than before
    /// is another wait.
    pub(super) fn undecided(
        &self,
        group: &str,
        partition: u32,
        topic: &str,
        from: Option<u64>,
        session: Duration,
        now: Instant,
    ) {
        let mut waits = self.waits();
        let wait = waits.entry((group.to_owned(), partition, topic.to_owned())).or_insert(Wait {
            from,
            since: now,
            said: false,
        });
        if wait.from != from {
            *wait = Wait { from, since: now, said: false };
        }
        if wait.said || now.saturating_duration_since(wait.since) <= SESSIONS * session {
            return;
        }
        wait.said = true;
        tracing::error!(
            group,
            partition,
            topic,
            from,
            "a transaction has been open for {} s, so nothing behind it can be read: the broker has forgotten it; find and end it \
             with its tools (kafka-transactions.sh find-hanging, abort)",
            now.saturating_duration_since(wait.since).as_secs()
        );
        drop(waits);
        self.count(group);
    }

    /// It cannot be found out whether anything at `topic`'s `partition` is undecided. What was said stands until that is known;
    /// anything else counts from when it is found again.
    pub(super) fn unknown(&self, group: &str, partition: u32, topic: &str) {
        let place = (group.to_owned(), partition, topic.to_owned());
        self.waits().retain(|at, wait| *at != place || wait.said);
    }

    /// Everything at `topic`'s `partition` is decided.
    pub(super) fn decided(&self, group: &str, partition: u32, topic: &str) {
        let wait = self.waits().remove(&(group.to_owned(), partition, topic.to_owned()));
        if wait.is_some_and(|wait| wait.said) {
            tracing::info!(group, partition, topic, "the transaction that was open for so long is decided");
            self.count(group);
        }
    }

    /// Of `group`, only these partitions are held here by now.
    pub(super) fn holds(&self, group: &str, partitions: &BTreeSet<u32>) {
        self.waits().retain(|(of, partition, _), _| of != group || partitions.contains(partition));
        self.count(group);
    }

    /// What has been waited for too long.
    pub(super) fn stuck(&self) -> Vec<Stuck> {
        let waits = self.waits();
        let said = waits.iter().filter(|(_, wait)| wait.said);
        said.map(|((group, partition, topic), wait)| Stuck {
            group: group.clone(),
            partition: *partition,
            topic: topic.clone(),
            from: wait.from,
            waiting: wait.since.elapsed(),
        })
        .collect()
    }

    fn count(&self, group: &str) {
        let count = self.waits().iter().filter(|((of, ..), wait)| of == group && wait.said).count();
        metrics::gauge!("breakdown_undecided_partitions", "group" => group.to_owned()).set(count as f64);
    }

    /// Looks at the partitions of `topics`.
    pub(super) fn look(
        &self,
        cluster: &Cluster,
        group: &str,
        topics: &[&str],
        partitions: &BTreeSet<u32>,
    ) -> Result<(), LogError> {
        let places: Vec<_> =
            topics.iter().flat_map(|topic| partitions.iter().map(|p| (*topic, *p))).collect();
        // The ends first: what is written between the two questions does not look undecided.
        let ends = cluster.edges(Edge::End, &places)?;
        let stable = cluster.edges(Edge::Stable, &places)?;
        let now = Instant::now();
        for ((topic, partition), (end, stable)) in places.into_iter().zip(ends.into_iter().zip(stable)) {
            match stable < end {
                true => {
                    self.undecided(group, partition, topic, Some(stable), cluster.config.session_timeout, now)
                }
                false => self.decided(group, partition, topic),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    #[test]
    fn what_stays_undecided_is_said_and_what_moves_is_not() {
        let (watch, began) = (Watch::default(), Instant::now());
        let look = |from, seconds| {
            watch.undecided("g", 3, "state", Some(from), SESSION, began + Duration::from_secs(seconds))
        };
        look(7, 0);
        look(9, 50);
        look(9, 109);
        assert_eq!(watch.stuck(), [], "each of two transactions was open for less than a minute");
        look(9, 111);
        let stuck = watch.stuck();
        assert_eq!(stuck.len(), 1);
        assert_eq!(
            (&*stuck[0].group, stuck[0].partition, &*stuck[0].topic, stuck[0].from),
            ("g", 3, "state", Some(9))
        );
        watch.decided("g", 3, "state");
        assert_eq!(watch.stuck(), []);
        look(9, 112);
        assert_eq!(watch.stuck(), [], "another wait begins");
    }

    #[test]
    fn only_what_is_known_to_be_undecided_counts() {
        let (watch, began) = (Watch::default(), Instant::now());
        let look =
            |seconds| watch.undecided("g", 3, OFFSETS, None, SESSION, began + Duration::from_secs(seconds));
        look(0);
        // The coordinator does not answer for a minute.
        watch.unknown("g", 3, OFFSETS);
        look(61);
        assert_eq!(watch.stuck(), []);
        look(122);
        assert_eq!(watch.stuck().len(), 1);
        watch.unknown("g", 3, OFFSETS);
        assert_eq!(watch.stuck().len(), 1, "what was said is not taken back unknown");
    }

    #[test]
    fn what_is_held_no_more_is_not_stuck_here() {
        let (watch, began) = (Watch::default(), Instant::now());
        for (group, partition) in [("g", 1), ("g", 2), ("h", 1)] {
            for seconds in [0, 61] {
                watch.undecided(
                    group,
                    partition,
                    OFFSETS,
                    None,
                    SESSION,
                    began + Duration::from_secs(seconds),
                );
            }
        }
        assert_eq!(watch.stuck().len(), 3);
        watch.holds("g", &BTreeSet::from([2]));
        let left: Vec<_> = watch.stuck().into_iter().map(|stuck| (stuck.group, stuck.partition)).collect();
        assert_eq!(left, [("g".to_owned(), 2), ("h".to_owned(), 1)]);
    }
}
