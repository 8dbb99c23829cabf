//! Whether a group moves while it is behind: what was seen of its offsets, from one look to the next.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Phase;
use serde::Serialize;

/// How long a partition may be behind without anything coming of it before it counts as stuck.
pub(crate) const STUCK_AFTER: TimeDelta = TimeDelta::seconds(60);

/// How far a group is in one partition, at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) topic: &'static str,
    pub(crate) partition: u32,
    /// Offset of the next record that the group will be given.
    pub(crate) next: u64,
    /// How many offsets lie before the end.
    pub(crate) lag: u64,
}

/// A partition that is behind and does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stuck {
    pub(crate) topic: &'static str,
    pub(crate) partition: u32,
    /// How many offsets lie before the end.
    pub(crate) lag: u64,
    /// When it last moved.
    pub(crate) since: DateTime<Utc>,
}

/// What is known of one partition.
#[derive(Debug)]
struct Place {
    next: u64,
    lag: u64,
    /// Records of its changelog that were given while it was restored here.
    restored: u64,
    advanced_at: DateTime<Utc>,
    /// When the log took the next record; none where it was not read.
    stamp: Option<DateTime<Utc>>,
}

/// A group's partitions, by topic and number.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    looked_at: Option<DateTime<Utc>>,
    places: BTreeMap<(&'static str, u32), Place>,
}

impl Watch {
    /// Takes in one look. A partition advances when its offset rises, its lag falls, there is nothing left of it, or records of its
    /// changelog come here; one that is paused here waits by intention.
    pub(crate) fn look(
        &mut self,
        now: DateTime<Utc>,
        positions: Vec<Position>,
        holding: &BTreeMap<u32, Phase>,
    ) {
        self.looked_at = Some(now);
        for Position { topic, partition, next, lag } in positions {
            let phase = holding.get(&partition);
            let restored = match phase {
                Some(Phase::Restoring { records }) => *records,
                _ => 0,
            };
            let place = self.places.entry((topic, partition)).or_insert(Place {
                next,
                lag,
                restored,
                advanced_at: now,
                stamp: None,
            });
            let moved = next > place.next || lag < place.lag || lag == 0 || restored > place.restored;
            // A clock that was set back must not make it wait.
            if moved || phase == Some(&Phase::Paused) || place.advanced_at > now {
                place.advanced_at = now;
            }
            if next != place.next || lag == 0 {
                place.stamp = None;
            }
            (place.next, place.lag, place.restored) = (next, lag, restored);
        }
    }

    /// Where records wait whose age is not known: by topic, the partitions and the offsets to read from.
    pub(crate) fn unread(&self) -> BTreeMap<&'static str, Vec<(u32, u64)>> {
        let mut unread: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((topic, partition), place) in &self.places {
            if place.lag > 0 && place.stamp.is_none() {
                unread.entry(*topic).or_default().push((*partition, place.next));
            }
        }
        unread
    }

    /// The next record of a partition was taken by the log then.
    pub(crate) fn stamped(&mut self, topic: &'static str, partition: u32, at: DateTime<Utc>) {
        if let Some(place) = self.places.get_mut(&(topic, partition)) {
            place.stamp = Some(at);
        }
    }

    /// No record waits there after all: what lies before the end are a broker's markers.
    pub(crate) fn at_end(&mut self, topic: &'static str, partition: u32) {
        if let (Some(place), Some(now)) = (self.places.get_mut(&(topic, partition)), self.looked_at) {
            (place.lag, place.advanced_at) = (0, now);
        }
    }

    /// Each partition: topic, number, lag in offsets, age of the oldest record that waits.
    pub(crate) fn lags(
        &self,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (&'static str, u32, u64, TimeDelta)> {
        self.places.iter().map(move |((topic, partition), place)| {
            let waits = place.stamp.filter(|_| place.lag > 0);
            let age = waits.map_or(TimeDelta::zero(), |at| (now - at).max(TimeDelta::zero()));
            (*topic, *partition, place.lag, age)
        })
    }

    /// What all partitions lack together, in offsets.
    pub(crate) fn lag(&self) -> u64 {
        self.places.values().map(|place| place.lag).sum()
    }

    /// Partitions that are behind and have not moved for [`STUCK_AFTER`], as of the last look. Of a process that holds some, those
    /// that it holds; of one that holds none, all: it may be the one that was to be given them.
    pub(crate) fn stuck(&self, holding: &BTreeMap<u32, Phase>) -> Vec<Stuck> {
        let Some(looked_at) = self.looked_at else { return Vec::new() };
        let is_ours = |partition: &u32| holding.is_empty() || holding.contains_key(partition);
        let stuck = self.places.iter().filter(|((_, partition), place)| {
            place.lag > 0 && looked_at - place.advanced_at > STUCK_AFTER && is_ours(partition)
        });
        stuck
            .map(|((topic, partition), place)| Stuck {
                topic,
                partition: *partition,
                lag: place.lag,
                since: place.advanced_at,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn position(partition: u32, next: u64, end: u64) -> Position {
        Position { topic: "issues", partition, next, lag: end - next }
    }

    fn held(phase: Phase) -> BTreeMap<u32, Phase> {
        BTreeMap::from([(0, phase)])
    }

    /// Partitions that are stuck after looks at (second, next, end) of partition 0.
    fn stuck(looks: &[(i64, u64, u64)], phase: Phase) -> Vec<(u64, i64)> {
        let mut watch = Watch::default();
        for (second, next, end) in looks {
            watch.look(at(*second), vec![position(0, *next, *end)], &held(phase));
        }
        watch.stuck(&held(phase)).iter().map(|it| (it.lag, it.since.timestamp())).collect()
    }

    #[test]
    fn what_is_behind_and_does_not_move_for_a_minute_is_stuck() {
        let still = [(0, 5, 9), (30, 5, 9), (60, 5, 12)];
        assert_eq!(stuck(&still, Phase::Held), []);
        assert_eq!(stuck(&[&still[..], &[(61, 5, 14)]].concat(), Phase::Held), [(9, 0)]);
        for (case, looks) in [
            ("it moved, however little", [(0, 5, 9), (50, 6, 99), (100, 6, 99)]),
            ("retention removed some of what waits", [(0, 5, 9), (50, 8, 11), (100, 8, 11)]),
            ("it was at its end until then", [(0, 9, 9), (70, 9, 9), (110, 9, 12)]),
            ("the clock was set back", [(500, 5, 9), (100, 5, 9), (150, 5, 9)]),
        ] {
            assert_eq!(stuck(&looks, Phase::Held), [], "{case}");
        }
        assert_eq!(stuck(&[(0, 5, 9), (900, 5, 9)], Phase::Paused), [], "it waits by intention");
    }

    #[test]
    fn a_restore_is_progress_while_records_of_it_come() {
        let mut watch = Watch::default();
        for (second, records) in [(0, 0), (50, 1_000), (100, 2_000), (150, 2_000), (160, 2_000)] {
            let holding = held(Phase::Restoring { records });
            watch.look(at(second), vec![position(0, 5, 9)], &holding);
            assert_eq!(watch.stuck(&holding), [], "{second}");
        }
        let holding = held(Phase::Restoring { records: 2_000 });
        watch.look(at(161), vec![position(0, 5, 9)], &holding);
        assert_eq!(watch.stuck(&holding).len(), 1, "none came for a minute");
        watch.look(at(170), vec![position(0, 5, 9)], &held(Phase::Restoring { records: 2_001 }));
        assert_eq!(watch.stuck(&holding), []);
    }

    #[test]
    fn what_others_hold_is_theirs_and_of_whoever_holds_nothing_all_is() {
        let mut watch = Watch::default();
        for second in [0, 100] {
            watch.look(at(second), vec![position(0, 5, 9), position(1, 5, 9)], &BTreeMap::new());
        }
        let stuck = |holding: &[u32]| -> Vec<u32> {
            let holding = holding.iter().map(|partition| (*partition, Phase::Held)).collect();
            watch.stuck(&holding).iter().map(|it| it.partition).collect()
        };
        assert_eq!((stuck(&[1]), stuck(&[7]), stuck(&[])), (vec![1], vec![], vec![0, 1]));
    }

    #[test]
    fn the_age_is_that_of_the_next_record_and_nothing_at_the_end() {
        let mut watch = Watch::default();
        watch.look(at(100), vec![position(0, 5, 9), position(1, 4, 4), position(2, 3, 4)], &BTreeMap::new());
        assert_eq!(watch.unread(), BTreeMap::from([("issues", vec![(0, 5), (2, 3)])]));
        watch.stamped("issues", 0, at(40));
        watch.at_end("issues", 2);
        let lags = |watch: &Watch, now| -> Vec<_> {
            watch.lags(at(now)).map(|(_, partition, lag, age)| (partition, lag, age.num_seconds())).collect()
        };
        assert_eq!(lags(&watch, 100), [(0, 4, 60), (1, 0, 0), (2, 0, 0)]);
        assert_eq!(lags(&watch, 10), [(0, 4, 0), (1, 0, 0), (2, 0, 0)], "stamped by a clock that is ahead");
        assert_eq!(watch.lag(), 4);
        // The same record still waits: it is not read again. Another is.
        watch.look(at(110), vec![position(0, 5, 12)], &BTreeMap::new());
        assert!(watch.unread().is_empty());
        watch.look(at(120), vec![position(0, 6, 12)], &BTreeMap::new());
        assert_eq!(watch.unread().len(), 1);
        watch.look(at(130), vec![position(0, 12, 12)], &BTreeMap::new());
        assert!(watch.unread().is_empty());
    }
}
