//! Parts of an issue that most decisions leave as they are.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use events::Said;
use litemap::LiteMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::{Facts, Firing, OpenAction, issue::IssueTimer, latest::Mark};

/// A value that is shared until it is changed: cloning it costs nothing, changing it copies it first where it is shared. An empty
/// one takes no memory of its own.
#[derive(Debug)]
pub struct Shared<T>(Option<Arc<T>>);

/// What can be empty.
pub trait Empty: 'static {
    /// As `Default` makes it.
    const EMPTY: &'static Self;
}

impl Empty for Facts {
    const EMPTY: &'static Self = &Self::EMPTY;
}

impl Empty for LiteMap<SmolStr, Option<DateTime<Utc>>> {
    const EMPTY: &'static Self = &Self::new();
}

impl Empty for LiteMap<SmolStr, Firing> {
    const EMPTY: &'static Self = &Self::new();
}

impl Empty for Vec<IssueTimer> {
    const EMPTY: &'static Self = &Self::new();
}

impl Empty for Vec<OpenAction> {
    const EMPTY: &'static Self = &Self::new();
}

impl Empty for Vec<Mark> {
    const EMPTY: &'static Self = &Self::new();
}

impl Empty for Vec<String> {
    const EMPTY: &'static Self = &Self::new();
}

/// What grows by more than it needs, and can give the rest back. With a rule or two an issue, that rest was a fifth of all memory.
pub trait Fit {
    /// Keeps what is there, and room for nothing more.
    fn fit(&mut self);
}

impl<T> Fit for Vec<T> {
    fn fit(&mut self) {
        self.shrink_to_fit();
    }
}

impl<V> Fit for LiteMap<SmolStr, V> {
    fn fit(&mut self) {
        let mut entries = std::mem::take(self).into_tuple_vec();
        entries.fit();
        // In the order in which they were.
        *self = Self::from_sorted_store_unchecked(entries);
    }
}

impl Fit for Facts {
    fn fit(&mut self) {
        for list in [&mut self.labels, &mut self.assignees] {
            if let Said::Value(list) = list {
                list.fit();
            }
        }
    }
}

impl<T: Fit> Shared<T> {
    /// Of what is shared already, nothing is changed.
    pub(super) fn fit(&mut self) {
        if let Some(own) = self.0.as_mut().and_then(Arc::get_mut) {
            own.fit();
        }
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Empty> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty + Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(T::EMPTY.clone())))
    }
}

impl<T: Empty + PartialEq> Shared<T> {
    /// Takes a value; when it is what is there, that stays shared.
    pub(crate) fn set(&mut self, value: T) {
        if **self != value {
            *self = Self::from(value);
        }
    }
}

impl<T: Empty + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(&**self, &**other) || **self == **other
    }
}

impl<T: Empty + Eq> Eq for Shared<T> {}

impl<T: Empty + PartialEq> PartialEq<T> for Shared<T> {
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl<T: Empty + PartialEq> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self((value != *T::EMPTY).then(|| Arc::new(value)))
    }
}

/// As the value itself.
impl<T: Empty + Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Empty + PartialEq + Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitting_changes_nothing_but_the_room() {
        let mut list: Shared<Vec<String>> = Shared::default();
        for name in ["a", "b", "c", "d", "e"] {
            list.push(name.to_owned());
        }
        let before = list.clone();
        list.fit();
        assert_eq!(list, before, "shared, so left alone");
        drop(before);
        assert!(list.capacity() > 5);
        list.fit();
        assert_eq!((list.len(), list.capacity()), (5, 5));

        let mut map: Shared<LiteMap<SmolStr, Firing>> = Shared::default();
        for rule in ["c", "a", "b"] {
            map.insert(rule.into(), Firing::default());
        }
        let before = (*map).clone();
        map.fit();
        assert_eq!(*map, before);
        assert!(map.get("a").is_some() && map.get("b").is_some() && map.get("c").is_some());
    }
}
