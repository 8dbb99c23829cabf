//! Pending actions that do not run, in a queue for each partition and carrier.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

/// A partition, and whatever carries its actions: `None` for what nothing carries.
pub(super) type Lot = (u32, Option<usize>);

/// When an action is to be attempted or, where it is held back, expires; its offset, so that of several the one that was decided
/// first goes first.
type Parked = (DateTime<Utc>, u64, Arc<str>);

#[derive(Default)]
struct Queue {
    parked: BTreeSet<Parked>,
    /// Attempts that run.
    running: usize,
    /// When something last stayed here though it was due, because too many ran.
    crowded_at: Option<DateTime<Utc>>,
}

/// Of each lot at most so many attempts run at a time; the others stay here, and take no task.
pub(super) struct Parking {
    lots: BTreeMap<Lot, Queue>,
    running_max: usize,
}

impl Parking {
    pub(super) fn new(running_max: usize) -> Self {
        Self { lots: BTreeMap::new(), running_max: running_max.max(1) }
    }

    pub(super) fn park(&mut self, lot: Lot, at: DateTime<Utc>, offset: u64, id: &Arc<str>) {
        self.lots.entry(lot).or_default().parked.insert((at, offset, id.clone()));
    }

    /// Takes out one that is due, of a lot of which more may run.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Option<(u32, Arc<str>)> {
        for ((partition, _), queue) in &mut self.lots {
            if queue.parked.first().is_none_or(|(at, ..)| *at > now) {
                continue;
            }
            if queue.running >= self.running_max {
                queue.crowded_at = Some(now);
            } else if let Some((.., id)) = queue.parked.pop_first() {
                return Some((*partition, id));
            }
        }
        None
    }

    /// When the next one of a lot of which more may run is due.
    pub(super) fn next_at(&self) -> Option<DateTime<Utc>> {
        let open = self.lots.values().filter(|queue| queue.running < self.running_max);
        open.filter_map(|queue| queue.parked.first().map(|(at, ..)| *at)).min()
    }

    /// An attempt runs.
    pub(super) fn begin(&mut self, lot: Lot) {
        self.lots.entry(lot).or_default().running += 1;
    }

    /// An attempt runs no more.
    pub(super) fn end(&mut self, lot: Lot) {
        self.lots.entry(lot).and_modify(|queue| queue.running = queue.running.saturating_sub(1));
    }

    /// Nothing of a partition is parked any more.
    pub(super) fn clear(&mut self, partition: u32) {
        let of = self.lots.iter_mut().filter(|((of, _), _)| *of == partition);
        of.for_each(|(_, queue)| queue.parked.clear());
    }

    /// The partition is held no more; nothing of it runs.
    pub(super) fn lose(&mut self, partition: u32) {
        self.lots.retain(|(of, _), _| *of != partition);
    }

    /// All that were to be looked at before `limit`, and could be: when, their partition, their id.
    pub(super) fn before(
        &self,
        limit: DateTime<Utc>,
    ) -> impl Iterator<Item = (DateTime<Utc>, u32, &Arc<str>)> {
        self.lots.iter().flat_map(move |((partition, _), queue)| {
            let at = |at: DateTime<Utc>| queue.crowded_at.map_or(at, |crowded_at| crowded_at.max(at));
            let early = queue.parked.iter().take_while(move |(at, ..)| *at < limit);
            early.map(move |(due_at, _, id)| (at(*due_at), *partition, id))
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn of_a_lot_so_many_run_and_the_others_wait_for_them() {
        let mut parking = Parking::new(2);
        let (busy, other) = ((0, Some(1)), (0, Some(2)));
        for offset in [3, 1, 2] {
            parking.park(busy, at(10), offset, &format!("a-{offset}").into());
        }
        parking.park(other, at(30), 4, &"a-4".into());
        assert_eq!((parking.due(at(9)), parking.next_at()), (None, Some(at(10))));
        for id in ["a-1", "a-2"] {
            assert_eq!(parking.due(at(20)), Some((0, id.into())));
            parking.begin(busy);
        }
        assert_eq!((parking.due(at(20)), parking.next_at()), (None, Some(at(30))), "the loop can wait");
        assert_eq!(
            parking.before(at(15)).collect::<Vec<_>>(),
            [(at(20), 0, &"a-3".into())],
            "it is not late"
        );
        assert_eq!(parking.due(at(30)), Some((0, "a-4".into())), "the other has room");
        parking.end(busy);
        assert_eq!(parking.due(at(30)), Some((0, "a-3".into())));
        assert_eq!((parking.due(at(30)), parking.next_at()), (None, None));
    }

    #[test]
    fn a_lost_partition_leaves_nothing_behind() {
        let mut parking = Parking::new(1);
        for partition in [0, 1] {
            parking.park((partition, None), at(0), 0, &"a-1".into());
            parking.begin((partition, None));
        }
        parking.clear(1);
        parking.end((1, None));
        parking.lose(0);
        assert_eq!((parking.due(at(1)), parking.next_at()), (None, None));
        parking.park((0, None), at(0), 0, &"a-1".into());
        assert!(parking.due(at(1)).is_some(), "what ran was lost, too");
    }
}
