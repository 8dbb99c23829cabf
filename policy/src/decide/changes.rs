//! What a decision changes.

use std::{collections::BTreeMap, slice, vec};

use crate::{Entry, Key, Kind, Member};

/// Entries of the state as they are to be: set, or removed where none. Each key stands once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    list: Vec<(Key, Option<Entry>)>,
    /// Where members stand: a decision can change one several times, and reads what it has changed.
    members: BTreeMap<Key, usize>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each key, and what it is to be, in the order in which they were decided.
    pub fn iter(&self) -> slice::Iter<'_, (Key, Option<Entry>)> {
        self.list.iter()
    }

    /// A key other than a member's may be set once.
    pub(crate) fn set(&mut self, key: Key, entry: Option<Entry>) {
        if key.kind == Kind::Member {
            let place = *self.members.entry(key.clone()).or_insert(self.list.len());
            if let Some(known) = self.list.get_mut(place) {
                known.1 = entry;
                return;
            }
        }
        self.list.push((key, entry));
    }

    /// Takes in what another part of the decision changes: other keys.
    pub(crate) fn append(&mut self, others: Self) {
        match self.is_empty() {
            true => *self = others,
            false => others.into_iter().for_each(|(key, entry)| self.set(key, entry)),
        }
    }

    /// A member's load, when it changes.
    pub(crate) fn member(&self, key: &Key) -> Option<Member> {
        match self.list.get(*self.members.get(key)?) {
            Some((_, Some(Entry::Member(member)))) => Some(*member),
            _ => None,
        }
    }
}

impl IntoIterator for Changes {
    type Item = (Key, Option<Entry>);
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = &'a (Key, Option<Entry>);
    type IntoIter = slice::Iter<'a, (Key, Option<Entry>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Each key may stand once.
impl FromIterator<(Key, Option<Entry>)> for Changes {
    fn from_iter<T: IntoIterator<Item = (Key, Option<Entry>)>>(changes: T) -> Self {
        let mut all = Self::default();
        changes.into_iter().for_each(|(key, entry)| all.set(key, entry));
        all
    }
}
