//! Actions of one partition whose targets have as many pending as are kept in memory: taken note of, and to be read again from
//! `actions` when there is room. Of each is known where its record stands and what it takes to recognise it, not what it says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::state::DeferredEntry;

/// Under this and the action's id it stands in `executor-state`, beside what is kept of the action's earlier rounds. An id has no space.
const PREFIX: &str = "deferred ";

/// The key under which `executor-state` says that the action of this id is deferred.
pub fn deferred_key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// The action that a key says is deferred.
pub(crate) fn id_of(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX)
}

/// What many deferred actions have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct About {
    /// The carrier behind whose actions it waits; `None` where it is none of the configuration's (any more).
    pub(crate) carrier: Option<usize>,
    pub(crate) project: String,
    /// What is to be done, in the action's word.
    pub(crate) kind: String,
}

/// One deferred action.
#[derive(Debug)]
pub(crate) struct Deferred {
    /// Of its record.
    pub(crate) offset: u64,
    pub(crate) round: u32,
    pub(crate) about: Arc<About>,
    /// The action that it is to take back.
    pub(crate) takes_back: Option<Arc<str>>,
}

/// Invariants: `lanes` has each of `known` once, under its carrier and offset, and nothing else; no lane is empty.
#[derive(Debug, Default)]
pub(crate) struct Deferrals {
    known: HashMap<Arc<str>, Deferred>,
    /// By carrier, in the order of the log: offset and id. Two may have one offset where `actions` was made anew in between; then one of
    /// them at most is what stands there.
    lanes: BTreeMap<Option<usize>, BTreeSet<(u64, Arc<str>)>>,
    abouts: BTreeSet<Arc<About>>,
}

impl Deferrals {
    pub(crate) fn get(&self, id: &str) -> Option<&Deferred> {
        self.known.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many there are of each carrier.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Option<usize>, usize)> {
        self.lanes.iter().map(|(carrier, lane)| (*carrier, lane.len()))
    }

    /// How many there are of a carrier.
    pub(crate) fn of(&self, carrier: Option<usize>) -> usize {
        self.lanes.get(&carrier).map_or(0, BTreeSet::len)
    }

    /// A carrier's first ones: their offsets, in order, and their ids.
    pub(crate) fn first(&self, carrier: Option<usize>) -> impl Iterator<Item = &(u64, Arc<str>)> {
        self.lanes.get(&carrier).into_iter().flatten()
    }

    /// Whether an action waits behind this carrier, and is to be found there.
    pub(crate) fn waits_at(&self, carrier: Option<usize>, place: &(u64, Arc<str>)) -> bool {
        self.lanes.get(&carrier).is_some_and(|lane| lane.contains(place))
    }

    /// The action is deferred; nothing else is known of it from here on.
    pub(crate) fn put(&mut self, id: Arc<str>, carrier: Option<usize>, entry: &DeferredEntry) {
        self.remove(&id);
        let about =
            About { carrier, project: entry.project_id.clone(), kind: entry.action.as_str().to_owned() };
        let about = match self.abouts.get(&about) {
            Some(known) => known.clone(),
            None => {
                let about = Arc::new(about);
                self.abouts.insert(about.clone());
                about
            }
        };
        self.lanes.entry(carrier).or_default().insert((entry.offset, id.clone()));
        let takes_back = entry.takes_back.as_deref().map(Arc::from);
        self.known.insert(id, Deferred { offset: entry.offset, round: entry.round, about, takes_back });
    }

    /// The action is deferred no more.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Deferred> {
        let (id, deferred) = self.known.remove_entry(id)?;
        let carrier = deferred.about.carrier;
        if let Some(lane) = self.lanes.get_mut(&carrier) {
            lane.remove(&(deferred.offset, id));
            if lane.is_empty() {
                self.lanes.remove(&carrier);
            }
        }
        if self.known.is_empty() {
            // What grew with many of them is given back.
            *self = Self::default();
        }
        Some(deferred)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64, project: &str) -> DeferredEntry {
        DeferredEntry {
            offset,
            round: 0,
            by: "pager".to_owned(),
            project_id: project.to_owned(),
            action: "post_nudge".into(),
            takes_back: None,
        }
    }

    #[test]
    fn they_come_in_the_order_of_the_log_and_each_once() {
        let mut deferrals = Deferrals::default();
        for (offset, carrier) in [(7, Some(1)), (3, Some(1)), (5, Some(2)), (4, None)] {
            deferrals.put(format!("a-{offset}").into(), carrier, &entry(offset, "alpha"));
        }
        let first = |deferrals: &Deferrals, carrier| -> Vec<u64> {
            deferrals.first(carrier).map(|(offset, _)| *offset).collect()
        };
        assert_eq!(first(&deferrals, Some(1)), [3, 7]);
        assert_eq!(deferrals.lanes().collect::<Vec<_>>(), [(None, 1), (Some(1), 2), (Some(2), 1)]);
        assert!(Arc::ptr_eq(
            &deferrals.get("a-3").expect("known").about,
            &deferrals.get("a-7").expect("known").about
        ));

        // It waits behind another carrier from now on.
        deferrals.put("a-3".into(), Some(2), &entry(3, "alpha"));
        assert_eq!((first(&deferrals, Some(1)), first(&deferrals, Some(2))), (vec![7], vec![3, 5]));
        assert_eq!(deferrals.len(), 4);
        for id in ["a-3", "a-4", "a-5", "a-7"] {
            assert_eq!(deferrals.remove(id).map(|deferred| deferred.round), Some(0));
            assert!(deferrals.remove(id).is_none());
        }
        assert_eq!((deferrals.len(), deferrals.lanes().count(), deferrals.abouts.len()), (0, 0, 0));
    }

    #[test]
    fn one_offset_may_be_that_of_two_topics() {
        let mut deferrals = Deferrals::default();
        for id in ["a-old", "a-new"] {
            deferrals.put(id.into(), Some(1), &entry(3, "alpha"));
        }
        assert_eq!((deferrals.of(Some(1)), deferrals.len()), (2, 2));
        let [old, new] = ["a-old", "a-new"].map(|id| (3, Arc::from(id)));
        deferrals.remove("a-old");
        assert!(deferrals.waits_at(Some(1), &new) && !deferrals.waits_at(Some(1), &old));
        assert_eq!(deferrals.first(Some(1)).collect::<Vec<_>>(), [&new]);
    }
}
