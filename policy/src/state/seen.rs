//! The events that were seen within seven days: as many as there were, so each takes little. Ids that we derive and hashes are kept as the
//! bytes that they stand for, and found by tables of their places.
//!
//! An entry of the state is what one instant of the log brought, in that order: a busy gateway, whose log stamps many records alike, writes
//! one entry for them all, and forgets them by one.

use std::{collections::BTreeMap, hash::BuildHasher};

use chrono::{DateTime, Utc};
use hashbrown::{
    DefaultHashBuilder, HashTable,
    hash_table::Entry::{Occupied, Vacant},
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use super::{Key, SEEN_AFTER, packed::Packed};

/// How many events one entry has at most: with ids as long as they can be, some 150 KiB.
const MAX_TOGETHER: usize = 128;

/// An event that was counted. Its id, and the hash of the delivery's body, where one came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenEvent {
    project: SmolStr,
    pub(super) id: Packed,
    #[serde(default, rename = "hash", skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<Packed>,
}

impl SeenEvent {
    pub(crate) fn new(project: &str, id: &str, payload_hash: Option<&str>) -> Self {
        Self { project: project.into(), id: Packed::of(id), payload: payload_hash.map(Packed::of) }
    }

    pub(super) fn project(&self) -> &SmolStr {
        &self.project
    }
}

/// What an entry is of: an instant in Unix milliseconds, and which part of what it brought, where that is much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    at: i64,
    part: u32,
}

impl Moment {
    /// `1795255200123`, `1795255200123-1`.
    fn key(self) -> Key {
        let Self { at, part } = self;
        Key::seen(if part == 0 { at.to_smolstr() } else { format_smolstr!("{at}-{part}") })
    }

    fn of(key: &Key) -> Option<Self> {
        let (at, part) = key.identity.split_once('-').unwrap_or((&key.identity, "0"));
        Some(Self { at: at.parse().ok()?, part: part.parse().ok()? })
    }

    fn is_recent(self, now: DateTime<Utc>) -> bool {
        self.at.saturating_add(SEEN_AFTER.num_milliseconds()) > now.timestamp_millis()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct SeenEvents {
    slots: Vec<Option<Slot>>,
    /// Places without anything.
    free: Vec<u32>,
    /// Places by each [`Name`]: of several events the last.
    found: [HashTable<u32>; 2],
    by_age: BTreeMap<Moment, SmallVec<[u32; 4]>>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone)]
struct Slot {
    moment: Moment,
    event: SeenEvent,
}

/// By what an event is found.
#[derive(Debug, Clone, Copy)]
enum Name {
    Id,
    Payload,
}

impl Name {
    const ALL: [Self; 2] = [Self::Id, Self::Payload];

    fn of(self, event: &SeenEvent) -> Option<&Packed> {
        match self {
            Self::Id => Some(&event.id),
            Self::Payload => event.payload.as_ref(),
        }
    }

    fn is_of_both(self, a: &SeenEvent, b: &SeenEvent) -> bool {
        self.of(a) == self.of(b) && a.project == b.project
    }

    fn hash(self, event: &SeenEvent, hasher: &DefaultHashBuilder) -> Option<u64> {
        Some(hasher.hash_one((event.project.as_str(), self.of(event)?)))
    }
}

impl SeenEvents {
    /// The key of the entry to which the next event of an instant is added.
    pub(super) fn next_key(&self, now: DateTime<Utc>) -> Key {
        let at = now.timestamp_millis();
        let (first, last) = (Moment { at, part: 0 }, Moment { at, part: u32::MAX });
        let moment = match self.by_age.range(first..=last).next_back() {
            Some((full, places)) if places.len() >= MAX_TOGETHER => {
                Moment { at, part: full.part.saturating_add(1) }
            }
            Some((moment, _)) => *moment,
            None => first,
        };
        moment.key()
    }

    /// The event that brought this one's id or payload, when it was seen within seven days before `now`.
    pub(super) fn recent(&self, event: &SeenEvent, now: DateTime<Utc>) -> Option<SmolStr> {
        let find = |name: Name| {
            let is_it =
                |place: &u32| self.slot(*place).is_some_and(|slot| name.is_of_both(&slot.event, event));
            let place = self.found[name as usize].find(name.hash(event, &self.hasher)?, is_it)?;
            self.slot(*place).filter(|slot| slot.moment.is_recent(now))
        };
        Name::ALL.into_iter().find_map(find).map(|slot| slot.event.id.text())
    }

    /// Whether a key is one of an entry.
    pub(super) fn is_key(key: &Key) -> bool {
        Moment::of(key).is_some()
    }

    /// Adds an event to an entry; false where the key is of none.
    pub(super) fn add(&mut self, key: &Key, event: SeenEvent) -> bool {
        Moment::of(key).map(|moment| self.insert(Slot { moment, event })).is_some()
    }

    /// Takes an entry out, and returns what was in it.
    pub(super) fn remove(&mut self, key: &Key) -> impl Iterator<Item = SeenEvent> {
        let places = Moment::of(key).and_then(|moment| self.by_age.remove(&moment)).unwrap_or_default();
        places.into_iter().filter_map(|place| self.take(place))
    }

    /// An entry's events, in order; none where there is no such entry.
    pub(super) fn get(&self, key: &Key) -> Option<Vec<&SeenEvent>> {
        Some(self.events(self.by_age.get(&Moment::of(key)?)?).collect())
    }

    /// Of every entry, oldest first.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.by_age.keys().map(|moment| moment.key())
    }

    /// Of the entries that are to be forgotten by `now`, oldest first.
    pub(super) fn due_to_forget(&self, now: DateTime<Utc>) -> impl Iterator<Item = Key> {
        let due = self.by_age.keys().take_while(move |moment| !moment.is_recent(now));
        due.map(|moment| moment.key())
    }

    fn slot(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    fn events(&self, places: &[u32]) -> impl Iterator<Item = &SeenEvent> {
        places.iter().filter_map(|place| Some(&self.slot(*place)?.event))
    }

    fn insert(&mut self, slot: Slot) {
        let moment = slot.moment;
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // More than fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(free) = self.slots.get_mut(place as usize) {
            *free = Some(slot);
        }
        self.by_age.entry(moment).or_default().push(place);
        let Self { slots, found, hasher, .. } = self;
        let at = |place: u32| slots.get(place as usize).and_then(Option::as_ref);
        let Some(Slot { event, .. }) = at(place) else { return };
        for name in Name::ALL {
            let Some(hash) = name.hash(event, hasher) else { continue };
            let is_it = |known: &u32| at(*known).is_some_and(|known| name.is_of_both(&known.event, event));
            // Tables hash their places again when they grow.
            let hash_of = |known: &u32| at(*known).and_then(|known| name.hash(&known.event, hasher));
            match found[name as usize].entry(hash, is_it, |known| hash_of(known).unwrap_or_default()) {
                Occupied(mut known) => {
                    // A changelog comes in any order.
                    if at(*known.get()).is_none_or(|known| known.moment <= moment) {
                        *known.get_mut() = place;
                    }
                }
                Vacant(free) => _ = free.insert(place),
            }
        }
    }

    fn take(&mut self, place: u32) -> Option<SeenEvent> {
        let Slot { event, .. } = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        for name in Name::ALL {
            // Not where a later one is found by it.
            if let Some(hash) = name.hash(&event, &self.hasher)
                && let Ok(entry) = self.found[name as usize].find_entry(hash, |known| *known == place)
            {
                entry.remove();
            }
        }
        Some(event)
    }
}

/// The same events, wherever they lie.
impl PartialEq for SeenEvents {
    fn eq(&self, other: &Self) -> bool {
        let mut both = self.by_age.iter().zip(&other.by_age);
        self.by_age.len() == other.by_age.len()
            && both.all(|((moment, places), (same, others))| {
                moment == same && self.events(places).eq(other.events(others))
            })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn one_instant_is_one_entry_until_it_is_full() {
        let mut seen = SeenEvents::default();
        for n in 0..2 * MAX_TOGETHER + 1 {
            let key = seen.next_key(at(1));
            assert!(seen.add(&key, SeenEvent::new("p", &format!("gh-{n:032x}"), None)));
        }
        let keys: Vec<_> = seen.keys().map(|key| (seen.get(&key).unwrap().len(), key.identity)).collect();
        let names = ["60000", "60000-1", "60000-2"].map(SmolStr::new_static);
        assert_eq!(keys, [MAX_TOGETHER, MAX_TOGETHER, 1].into_iter().zip(names).collect::<Vec<_>>());
        assert!(!seen.add(&Key::seen("gh-1".into()), SeenEvent::new("p", "e", None)));
        assert!(size_of::<Option<Slot>>() <= 120, "{}", size_of::<Option<Slot>>());
    }

    #[test]
    fn it_is_told_as_it_came() {
        let hash = "0123456789abcdef".repeat(4);
        let event = SeenEvent::new("alpha", "gh-fdef541c719416027c5cd3d00bcd54a2", Some(&hash));
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            format!(r#"{{"project":"alpha","id":"gh-fdef541c719416027c5cd3d00bcd54a2","hash":"{hash}"}}"#)
        );
        assert_eq!(serde_json::from_str::<SeenEvent>(&json).unwrap(), event);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// As a plain list does it.
        #[test]
        fn it_knows_what_was_added(steps in proptest::collection::vec((0..3_u8, 0..9_u8, proptest::option::of(0..4_u8), 0..300_i64, any::<bool>()), 0..120)) {
            let mut seen = SeenEvents::default();
            let mut plain: Vec<(DateTime<Utc>, Key, SeenEvent)> = Vec::new();
            let mut now = at(0);
            for (project, id, hash, minutes, forgets) in steps {
                now += TimeDelta::minutes(minutes * minutes);
                let hash = hash.map(|hash| format!("{hash:064x}"));
                let event = SeenEvent::new(&format!("p{project}"), &format!("gh-{id:032x}"), hash.as_deref());
                let recent = |known: &&(DateTime<Utc>, Key, SeenEvent)| known.0 + SEEN_AFTER > now;
                let by = |name: Name| plain.iter().filter(recent).rfind(|(.., known)| name.of(&event).is_some() && name.is_of_both(known, &event));
                let known = by(Name::Id).or_else(|| by(Name::Payload)).map(|(.., known)| known.id.text());
                prop_assert_eq!(seen.recent(&event, now), known.clone());
                if known.is_none() {
                    let key = seen.next_key(now);
                    prop_assert!(seen.add(&key, event.clone()));
                    plain.push((now, key, event));
                }
                if forgets {
                    let due: Vec<_> = seen.due_to_forget(now).collect();
                    let forgotten: Vec<_> = due.iter().flat_map(|key| seen.remove(key).collect::<Vec<_>>()).collect();
                    let (gone, kept) = plain.into_iter().partition(|(at, ..)| *at + SEEN_AFTER <= now);
                    plain = kept;
                    prop_assert_eq!(forgotten, gone.into_iter().map(|(.., event)| event).collect::<Vec<_>>());
                }
            }
            let mut keys: Vec<_> = plain.iter().map(|(_, key, _)| key.clone()).collect();
            keys.dedup();
            prop_assert_eq!(seen.keys().collect::<Vec<_>>(), keys.clone());
            for key in &keys {
                let own: Vec<_> = plain.iter().filter(|(_, of, _)| of == key).map(|(.., event)| event).collect();
                prop_assert_eq!(seen.get(key), Some(own));
            }
            // Restored in any order, it is the same, and knows the same.
            let mut again = SeenEvents::default();
            for key in keys.iter().rev() {
                seen.get(key).unwrap().into_iter().for_each(|event| _ = again.add(key, event.clone()));
            }
            prop_assert_eq!(&again, &seen);
            for (.., event) in &plain {
                prop_assert_eq!(again.recent(event, now), seen.recent(event, now));
            }
        }
    }
}
