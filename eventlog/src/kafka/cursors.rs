//! How far a member has come in its input partitions.

use std::collections::BTreeMap;

/// One input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    /// The offset after the last record that the member was given, or where it began.
    next: u64,
    /// The offset after the last record that was fetched, given or not, or where fetching began.
    fetched: u64,
    /// What the group's offset was when last heard of.
    committed: Option<u64>,
}

/// An input's topic and partition.
pub(super) type Place = (String, u32);

/// All input partitions that are held.
#[derive(Debug, Default)]
pub(super) struct Cursors(BTreeMap<Place, Cursor>);

impl Cursors {
    /// A partition begins: from the committed offset; where there is none, or what it points to is gone, from the first
    /// record that is kept. Returns where.
    pub(super) fn begin(&mut self, place: Place, committed: Option<u64>, first: u64) -> u64 {
        let next = committed.map_or(first, |committed| committed.max(first));
        self.0.insert(place, Cursor { next, fetched: next, committed });
        next
    }

    /// Whether nothing is fetched yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record at `offset` was fetched. False when it is not awaited: it was fetched before, or is of a place that is not
    /// fetched.
    pub(super) fn fetched(&mut self, topic: &str, partition: u32, offset: u64) -> bool {
        let cursor = self.0.get_mut(&(topic.to_owned(), partition)).filter(|cursor| offset >= cursor.fetched);
        cursor.is_some_and(|cursor| {
            cursor.fetched = offset + 1;
            true
        })
    }

    /// Where fetching goes on.
    pub(super) fn fetching(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.0.iter().map(|(place, cursor)| (place, cursor.fetched))
    }

    /// The member was given the record at `offset`.
    pub(super) fn given(&mut self, topic: &str, partition: u32, offset: u64) {
        if let Some(cursor) = self.0.get_mut(&(topic.to_owned(), partition)) {
            cursor.next = offset + 1;
        }
    }

    /// The offset to commit for a place, which is always one: after the last record given, or further, where the consumer
    /// has passed transaction markers since.
    pub(super) fn position(&self, place: &Place, seen: &BTreeMap<Place, u64>) -> Option<u64> {
        let cursor = self.0.get(place)?;
        Some(seen.get(place).map_or(cursor.next, |seen| cursor.next.max(*seen)))
    }

    /// Places where everything given is committed and the consumer has passed nothing but markers since, with where it
    /// stands now.
    pub(super) fn behind_markers(&self, seen: &BTreeMap<Place, u64>) -> Vec<(Place, u64)> {
        let behind = |(place, cursor): (&Place, &Cursor)| {
            let seen = *seen.get(place)?;
            (cursor.committed == Some(cursor.next) && seen > cursor.next).then(|| (place.clone(), seen))
        };
        self.0.iter().filter_map(behind).collect()
    }

    /// These offsets were committed.
    pub(super) fn committed(&mut self, offsets: &[(Place, u64)]) {
        for (place, offset) in offsets {
            if let Some(cursor) = self.0.get_mut(place) {
                (cursor.next, cursor.committed) = (*offset, Some(*offset));
                cursor.fetched = cursor.fetched.max(*offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        ("in".to_owned(), 3)
    }

    #[test]
    fn a_partition_begins_at_the_committed_offset_or_the_first() {
        for (committed, first, start) in [(None, 0, 0), (None, 7, 7), (Some(9), 7, 9), (Some(5), 7, 7)] {
            let mut cursors = Cursors::default();
            assert_eq!(cursors.begin(place(), committed, first), start);
            // A partition of which nothing came still has an offset to commit.
            assert_eq!(cursors.position(&place(), &BTreeMap::new()), Some(start));
        }
    }

    #[test]
    fn what_is_fetched_is_fetched_once() {
        let mut cursors = Cursors::default();
        assert!(cursors.is_empty() && !cursors.fetched("in", 3, 0), "a place that is not held");
        cursors.begin(place(), Some(4), 0);
        assert!(!cursors.fetched("in", 3, 3));
        assert!(cursors.fetched("in", 3, 4) && !cursors.fetched("in", 3, 4));
        assert!(cursors.fetched("in", 3, 9));
        assert_eq!(cursors.fetching().collect::<Vec<_>>(), [(&place(), 10)]);
        assert_eq!(cursors.position(&place(), &BTreeMap::new()), Some(4), "fetched is not given");
    }

    #[test]
    fn positions_pass_markers_and_never_go_back() {
        let mut cursors = Cursors::default();
        cursors.begin(place(), Some(4), 0);
        cursors.given("in", 3, 6);
        for (seen, position) in [(5, 7), (7, 7), (8, 8)] {
            assert_eq!(cursors.position(&place(), &BTreeMap::from([(place(), seen)])), Some(position));
        }
        assert_eq!(cursors.position(&("in".to_owned(), 4), &BTreeMap::new()), None);
    }

    #[test]
    fn only_markers_after_the_committed_offset_are_behind() {
        let mut cursors = Cursors::default();
        cursors.begin(place(), Some(4), 0);
        let seen = |offset| BTreeMap::from([(place(), offset)]);
        assert_eq!(cursors.behind_markers(&seen(4)), []);
        assert_eq!(cursors.behind_markers(&seen(5)), [(place(), 5)]);
        cursors.given("in", 3, 5);
        assert_eq!(cursors.behind_markers(&seen(7)), [], "a record is given and not committed");
        cursors.committed(&[(place(), 6)]);
        assert_eq!(cursors.behind_markers(&seen(7)), [(place(), 7)]);
        cursors.committed(&[(place(), 7)]);
        assert_eq!(cursors.behind_markers(&seen(7)), []);
    }
}
