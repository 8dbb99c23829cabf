//! What was made, in order, and which idempotency key made it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// What the API is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collection {
    /// Meetings.
    Meetings,
    /// Nudges.
    Nudges,
    /// Events of Google Calendar.
    Events,
    /// Free/busy queries of Google Calendar, which make nothing.
    FreeBusy,
}

/// Something that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored<T> {
    /// `m-1`, `n-1`, …: counted from 1 when the process starts.
    pub id: String,
    /// The `Idempotency-Key` of the request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What was asked for.
    #[serde(flatten)]
    pub item: T,
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Its first request is still running.
    Running,
    /// It made the thing of this number.
    Made(u64),
}

/// What a request finds when it comes in.
#[derive(Debug, PartialEq)]
pub(crate) enum Begun<T> {
    /// It is the first; the key, if any, is now taken.
    First,
    /// It was made before.
    Made(Stored<T>),
    /// The key made something else.
    OtherBody,
    /// The first request with this key is still running.
    Running,
}

/// Invariants: `items` holds the numbers `next - items.len() .. next` in order; every [`Key::Made`] names one of them, and so does
/// `deleted`: what is deleted is shown no more, while its key still stands for it.
#[derive(Debug)]
pub(crate) struct Store<T> {
    prefix: &'static str,
    capacity: usize,
    next: u64,
    items: VecDeque<Stored<T>>,
    deleted: BTreeSet<u64>,
    keys: HashMap<String, Key>,
}

impl<T: Clone + PartialEq> Store<T> {
    pub(crate) fn new(prefix: &'static str, capacity: usize) -> Self {
        Self {
            prefix,
            capacity: capacity.max(1),
            next: 1,
            items: VecDeque::new(),
            deleted: BTreeSet::new(),
            keys: HashMap::new(),
        }
    }

    pub(crate) fn list(&self) -> Vec<Stored<T>> {
        let oldest = self.next - self.items.len() as u64;
        let kept = (oldest..).zip(&self.items).filter(|(number, _)| !self.deleted.contains(number));
        kept.map(|(_, stored)| stored.clone()).collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Stored<T>> {
        let number = self.number(id).filter(|number| !self.deleted.contains(number))?;
        self.by_number(number).cloned()
    }

    /// Whether it was there.
    pub(crate) fn delete(&mut self, id: &str) -> bool {
        self.number(id).is_some_and(|number| self.deleted.insert(number))
    }

    fn number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(self.prefix)?.strip_prefix('-')?.parse().ok()?;
        self.by_number(number).filter(|stored| stored.id == id).map(|_| number)
    }

    fn by_number(&self, number: u64) -> Option<&Stored<T>> {
        let oldest = self.next - self.items.len() as u64;
        self.items.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    /// A request for `item` comes in. After [`Begun::First`], [`Store::finish`] or [`Store::abandon`] must follow.
    pub(crate) fn begin(&mut self, key: Option<&str>, item: &T) -> Begun<T> {
        let Some(key) = key else { return Begun::First };
        match self.keys.get(key) {
            Some(Key::Running) => Begun::Running,
            Some(Key::Made(number)) => match self.by_number(*number) {
                Some(stored) if stored.item == *item => Begun::Made(stored.clone()),
                _ => Begun::OtherBody,
            },
            None => {
                self.keys.insert(key.to_owned(), Key::Running);
                Begun::First
            }
        }
    }

    /// Makes the thing.
    pub(crate) fn finish(&mut self, key: Option<&str>, item: T) -> Stored<T> {
        let number = self.next;
        self.next += 1;
        let stored =
            Stored { id: format!("{}-{number}", self.prefix), idempotency_key: key.map(str::to_owned), item };
        if let Some(key) = key {
            self.keys.insert(key.to_owned(), Key::Made(number));
        }
        self.items.push_back(stored.clone());
        if self.items.len() > self.capacity
            && let Some(oldest) = self.items.pop_front()
        {
            self.deleted.remove(&(number - self.items.len() as u64));
            if let Some(key) = oldest.idempotency_key {
                self.keys.remove(&key);
            }
        }
        stored
    }

    /// The first request ended without making anything.
    pub(crate) fn abandon(&mut self, key: &str) {
        if self.keys.get(key) == Some(&Key::Running) {
            self.keys.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_with_its_key() {
        let mut store = Store::new("x", 2);
        for (key, item) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(store.begin(Some(key), &item), Begun::First);
            store.finish(Some(key), item);
        }
        assert_eq!(store.list().iter().map(|s| s.item).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(store.keys.len(), 2);
        assert_eq!(store.get("x-1"), None);
        assert_eq!(store.get("x-3").map(|s| s.item), Some(3));
        assert_eq!(store.get("x-03"), None);
        assert_eq!(store.begin(Some("a"), &1), Begun::First, "a forgotten key is new");
        assert!(matches!(store.begin(Some("c"), &3), Begun::Made(s) if s.id == "x-3"));
        assert_eq!(store.begin(Some("c"), &4), Begun::OtherBody);
    }

    #[test]
    fn what_is_deleted_is_gone_and_its_key_is_not_free() {
        let mut store = Store::new("x", 2);
        store.begin(Some("a"), &1);
        store.finish(Some("a"), 1);
        assert!(store.delete("x-1") && !store.delete("x-1") && !store.delete("x-2"));
        assert_eq!((store.get("x-1"), store.list().len()), (None, 0));
        assert!(matches!(store.begin(Some("a"), &1), Begun::Made(_)), "nothing is made a second time");
        for item in 2..5 {
            store.finish(None, item);
        }
        assert!(store.deleted.is_empty() && !store.delete("x-1"));
        assert_eq!(store.list().iter().map(|s| s.item).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_key_is_free_again_when_its_request_made_nothing() {
        let mut store = Store::new("x", 2);
        assert_eq!(store.begin(Some("a"), &1), Begun::First);
        assert_eq!(store.begin(Some("a"), &1), Begun::Running);
        store.abandon("a");
        assert_eq!(store.begin(Some("a"), &2), Begun::First);
        store.finish(Some("a"), 2);
        store.abandon("a");
        assert!(matches!(store.begin(Some("a"), &2), Begun::Made(_)), "what was made stays made");
    }
}
