//! The events that were seen within seven days: as many as there were, so each takes little. Ids that we derive and hashes are kept as the
//! bytes that they stand for, and found by tables of their places.

use std::{collections::BTreeSet, hash::BuildHasher};

use chrono::{DateTime, Utc};
use hashbrown::{DefaultHashBuilder, HashTable};
use smol_str::SmolStr;

use super::{Key, SEEN_AFTER, Seen};

#[derive(Debug, Clone, Default)]
pub(super) struct SeenEvents {
    slots: Vec<Option<Slot>>,
    /// Places without anything.
    free: Vec<u32>,
    by_id: HashTable<u32>,
    /// Of several events that brought one payload the last.
    by_payload: HashTable<u32>,
    by_age: BTreeSet<(DateTime<Utc>, u32)>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    project: SmolStr,
    id: Packed,
    at: DateTime<Utc>,
    payload: Option<Packed>,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Packed {
    /// A derived id: `gh-` and 32 hex digits.
    Id { prefix: [u8; 2], digest: [u8; 16] },
    /// SHA-256: 64 hex digits.
    Hash([u8; 32]),
    /// Any other.
    Text(SmolStr),
}

impl Packed {
    fn of(text: &str) -> Self {
        let id = || {
            let (prefix, digits) = text.as_bytes().split_at_checked(3)?;
            let [a, b, b'-'] = *prefix else { return None };
            Some(Self::Id { prefix: [a, b], digest: digits_of(digits)? })
        };
        id().or_else(|| digits_of(text.as_bytes()).map(Self::Hash)).unwrap_or_else(|| Self::Text(text.into()))
    }

    fn text(&self) -> SmolStr {
        match self {
            // Of a text, so the two bytes before a dash are one character or two.
            Self::Id { prefix, digest } => {
                let mut text = String::with_capacity(2 + prefix.len() + 2 * digest.len());
                text.push_str(&String::from_utf8_lossy(prefix));
                text.push('-');
                push_hex(&mut text, digest);
                text.into()
            }
            Self::Hash(digest) => {
                let mut text = String::with_capacity(2 * digest.len());
                push_hex(&mut text, digest);
                text.into()
            }
            Self::Text(text) => text.clone(),
        }
    }
}

/// The bytes that hex digits stand for, where they are as we write them: lower case, and as many as fit.
fn digits_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    // Several times an event: without a branch for each digit.
    let (mut bytes, mut all) = ([0; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| VALUES[usize::from(digit)]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    (all < 16).then_some(bytes)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What each byte stands for as a digit; 255 where it is none.
const VALUES: [u8; 256] = {
    let (mut values, mut value) = ([u8::MAX; 256], 0);
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

impl SeenEvents {
    pub(super) fn get(&self, project: &str, id: &str) -> Option<Seen> {
        let slot = self.slot(self.place(project, &Packed::of(id))?)?;
        Some(Seen { at: slot.at, payload_hash: slot.payload.as_ref().map(Packed::text) })
    }

    /// When an event of this id was seen.
    pub(super) fn at(&self, project: &str, id: &str) -> Option<DateTime<Utc>> {
        Some(self.slot(self.place(project, &Packed::of(id))?)?.at)
    }

    /// The last event that brought a payload of this hash, and when it was seen.
    pub(super) fn of_payload(&self, project: &str, hash: &str) -> Option<(SmolStr, DateTime<Utc>)> {
        let slot = self.slot(self.place_of_payload(project, &Packed::of(hash))?)?;
        Some((slot.id.text(), slot.at))
    }

    /// Sets what is known of an event, or forgets it; says whether it was known before.
    pub(super) fn put(&mut self, key: &Key, seen: Option<Seen>) -> bool {
        let id = Packed::of(&key.identity);
        let known = self.place(&key.project, &id);
        if let Some(place) = known {
            self.remove(place);
        }
        if let Some(Seen { at, payload_hash }) = seen {
            let payload = payload_hash.as_deref().map(Packed::of);
            self.insert(Slot { project: key.project.clone(), id, at, payload });
        }
        known.is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.slots.iter().flatten().map(|slot| Key::seen(&slot.project, &slot.id.text()))
    }

    /// What is to be forgotten by `now`, oldest first.
    pub(super) fn due_to_forget(&self, now: DateTime<Utc>) -> impl Iterator<Item = Key> {
        let due = self.by_age.iter().take_while(move |(at, _)| *at + SEEN_AFTER <= now);
        due.filter_map(|(_, place)| self.slot(*place).map(|slot| Key::seen(&slot.project, &slot.id.text())))
    }

    fn slot(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    fn place(&self, project: &str, id: &Packed) -> Option<u32> {
        let is_it =
            |place: &u32| self.slot(*place).is_some_and(|slot| slot.id == *id && slot.project == project);
        self.by_id.find(self.hasher.hash_one((project, id)), is_it).copied()
    }

    fn place_of_payload(&self, project: &str, payload: &Packed) -> Option<u32> {
        let is_it = |place: &u32| {
            self.slot(*place)
                .is_some_and(|slot| slot.payload.as_ref() == Some(payload) && slot.project == project)
        };
        self.by_payload.find(self.hasher.hash_one((project, payload)), is_it).copied()
    }

    fn insert(&mut self, slot: Slot) {
        let before = slot.payload.as_ref().and_then(|payload| self.place_of_payload(&slot.project, payload));
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.slots.push(None);
                // More than fit into memory.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Self { slots, by_id, by_payload, by_age, hasher, .. } = self;
        // Tables hash their places again when they grow.
        let hash_of = |slots: &[Option<Slot>], place: u32, of: fn(&Slot) -> Option<&Packed>| {
            let slot = slots.get(place as usize).and_then(Option::as_ref);
            slot.map_or(0, |slot| hasher.hash_one((slot.project.as_str(), of(slot).unwrap_or(&slot.id))))
        };
        by_age.insert((slot.at, place));
        let (at, has_payload) = (slot.at, slot.payload.is_some());
        if let Some(free) = slots.get_mut(place as usize) {
            *free = Some(slot);
        }
        let id: fn(&Slot) -> Option<&Packed> = |slot| Some(&slot.id);
        by_id.insert_unique(hash_of(slots, place, id), place, |place| hash_of(slots, *place, id));
        if !has_payload {
            return;
        }
        let payload: fn(&Slot) -> Option<&Packed> = |slot| slot.payload.as_ref();
        let hash = hash_of(slots, place, payload);
        if let Some(before) = before {
            let last = slots.get(before as usize).and_then(Option::as_ref);
            // A changelog comes in any order.
            let brought = || slots.get(place as usize).and_then(Option::as_ref).map(|slot| slot.id.text());
            if last.is_some_and(|last| last.at > at || (last.at == at && Some(last.id.text()) > brought())) {
                return;
            }
            if let Ok(entry) = by_payload.find_entry(hash, |known| *known == before) {
                entry.remove();
            }
        }
        by_payload.insert_unique(hash, place, |place| hash_of(slots, *place, payload));
    }

    fn remove(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.by_age.remove(&(slot.at, place));
        let hash = self.hasher.hash_one((slot.project.as_str(), &slot.id));
        if let Ok(entry) = self.by_id.find_entry(hash, |known| *known == place) {
            entry.remove();
        }
        if let Some(payload) = &slot.payload {
            // Not when a later event brought the same payload: that one is looked for.
            let hash = self.hasher.hash_one((slot.project.as_str(), payload));
            if let Ok(entry) = self.by_payload.find_entry(hash, |known| *known == place) {
                entry.remove();
            }
        }
    }
}

/// The same events, wherever they lie.
impl PartialEq for SeenEvents {
    fn eq(&self, other: &Self) -> bool {
        let same = |slot: &Slot| {
            other.place(&slot.project, &slot.id).and_then(|place| other.slot(place)) == Some(slot)
        };
        self.by_id.len() == other.by_id.len() && self.slots.iter().flatten().all(same)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        let sha = "0123456789abcdef".repeat(4);
        for text in [
            "gh-fdef541c719416027c5cd3d00bcd54a2",
            "gh-fdef541c719416027c5cd3d00bcd54aG",
            "GH-FDEF541C719416027C5CD3D00BCD54A2",
            "ü-fdef541c719416027c5cd3d00bcd54a2",
            "--fdef541c719416027c5cd3d00bcd54a2",
            "p-fdef541c719416027c5cd3d00bcd54a2",
            sha.as_str(),
            "",
            "sample-triage-1",
            &sha.to_uppercase(),
        ] {
            assert_eq!(Packed::of(text).text(), text);
        }
        assert!(matches!(Packed::of(&sha), Packed::Hash(_)));
        assert!(size_of::<Option<Slot>>() <= 120, "{}", size_of::<Option<Slot>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// As a plain list does it.
        #[test]
        fn it_knows_what_was_put(steps in proptest::collection::vec((0..3_u8, 0..9_u8, proptest::option::of(0..4_u8), 0..50_i64, any::<bool>()), 0..120)) {
            let start = DateTime::UNIX_EPOCH;
            let mut seen = SeenEvents::default();
            let mut plain: Vec<(Key, Seen)> = Vec::new();
            for (project, id, hash, at, forgets) in steps {
                let key = Key::seen(&format!("p{project}"), &format!("gh-{id:032x}"));
                let entry = (!forgets).then(|| Seen {
                    at: start + TimeDelta::hours(at),
                    payload_hash: hash.map(|hash| format!("{hash:064x}").into()),
                });
                let known = plain.iter().any(|(known, _)| *known == key);
                plain.retain(|(known, _)| *known != key);
                plain.extend(entry.clone().map(|entry| (key.clone(), entry)));
                prop_assert_eq!(seen.put(&key, entry), known);
            }
            for (key, entry) in &plain {
                prop_assert_eq!(seen.get(&key.project, &key.identity), Some(entry.clone()));
                if let Some(hash) = &entry.payload_hash {
                    let (id, at) = seen.of_payload(&key.project, hash).into_iter().next().unwrap_or_default();
                    let same = plain.iter().find(|(other, _)| other.project == key.project && other.identity == id);
                    // Where the last one was put anew or forgotten, an earlier one is not looked for any more.
                    prop_assert!(id.is_empty() || same.is_some_and(|(_, other)| other.at == at && other.payload_hash.as_ref() == Some(hash)));
                }
            }
            let mut keys: Vec<_> = seen.keys().collect();
            let mut expected: Vec<_> = plain.iter().map(|(key, _)| key.clone()).collect();
            keys.sort();
            expected.sort();
            prop_assert_eq!(keys, expected);
            let now = start + SEEN_AFTER + TimeDelta::hours(25);
            let due: Vec<_> = seen.due_to_forget(now).collect();
            prop_assert_eq!(due.len(), plain.iter().filter(|(_, entry)| entry.at + SEEN_AFTER <= now).count());
            let mut again = SeenEvents::default();
            plain.iter().rev().for_each(|(key, entry)| _ = again.put(key, Some(entry.clone())));
            prop_assert_eq!(&again, &seen);
            prop_assert_eq!(&seen, &again);
            due.iter().for_each(|key| _ = seen.put(key, None));
            prop_assert_eq!(seen.due_to_forget(now).count(), 0);
        }
    }
}
