//! The keys that a policy asks for, and which of them an issue and its event have.

use std::collections::BTreeMap;

use chrono::{Datelike, TimeDelta};
use rustc_hash::FxHashMap;

use crate::condition::{
    View,
    field::{FIELDS, Field, Type},
};

/// A key's number; 0 is [`super::ALWAYS`].
pub(super) type KeyId = u32;

/// Something that holds of an issue and its event, or does not. A field that is a list has each of its elements as a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'f> {
    Word(&'f str),
    Prefix(&'f str),
    Number(i64),
    /// A list has so many members, or more.
    AtLeast(i64),
    /// A time lies so far back, or further.
    OfAge(TimeDelta),
    Null,
    NotNull,
}

#[derive(Debug)]
pub(super) struct Vocabulary {
    /// Of the fields that are asked for.
    fields: Vec<FieldKeys>,
    /// Where a field's keys stand in `fields`.
    places: [Option<u8>; FIELDS.len()],
    /// What each key is of.
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    Word(Field),
    OfNull,
    Other,
}

#[derive(Debug)]
struct FieldKeys {
    field: Field,
    words: FxHashMap<Box<str>, KeyId>,
    prefixes: FxHashMap<Box<str>, KeyId>,
    /// The same prefixes, for looking up.
    sorted: Vec<Prefix>,
    at_least: BTreeMap<i64, KeyId>,
    ages: BTreeMap<TimeDelta, KeyId>,
    /// The keys whose tests are an error where the field is null: of a list all, of a text its prefixes, of a time its ages.
    on_null: Vec<KeyId>,
    /// The bytes with which prefixes begin, as bits: most texts begin with none of them.
    first_bytes: [u64; 4],
    numbers: FxHashMap<i64, KeyId>,
    null: Option<KeyId>,
    not_null: Option<KeyId>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    key: KeyId,
    /// The longest other that this one begins with.
    parent: Option<u32>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self { fields: Vec::new(), places: [None; FIELDS.len()], kinds: vec![Kind::Always] }
    }
}

impl Vocabulary {
    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn is_word_of(&self, key: KeyId, field: Field) -> bool {
        self.kinds.get(key as usize) == Some(&Kind::Word(field))
    }

    pub(super) fn is_of_null(&self, key: KeyId) -> bool {
        self.kinds.get(key as usize) == Some(&Kind::OfNull)
    }

    /// The number of a key, known or new.
    pub(super) fn add(&mut self, field: Field, key: Key<'_>) -> KeyId {
        if let Some(known) = self.find(field, key) {
            return known;
        }
        let id = self.kinds.len() as KeyId;
        self.kinds.push(match key {
            Key::Word(_) => Kind::Word(field),
            Key::Null | Key::NotNull => Kind::OfNull,
            Key::Prefix(_) | Key::Number(_) | Key::AtLeast(_) | Key::OfAge(_) => Kind::Other,
        });
        let place = self.places[field as usize].unwrap_or_else(|| {
            self.fields.push(FieldKeys::new(field));
            (self.fields.len() - 1) as u8
        });
        self.places[field as usize] = Some(place);
        let keys = &mut self.fields[usize::from(place)];
        match key {
            Key::Word(word) => drop(keys.words.insert(word.into(), id)),
            Key::Prefix(prefix) => drop(keys.prefixes.insert(prefix.into(), id)),
            Key::Number(number) => drop(keys.numbers.insert(number, id)),
            Key::AtLeast(count) => drop(keys.at_least.insert(count, id)),
            Key::OfAge(age) => drop(keys.ages.insert(age, id)),
            Key::Null => keys.null = Some(id),
            Key::NotNull => keys.not_null = Some(id),
        }
        id
    }

    /// The number of a key that was added.
    pub(super) fn find(&self, field: Field, key: Key<'_>) -> Option<KeyId> {
        let keys = self.keys(field)?;
        match key {
            Key::Word(word) => keys.words.get(word).copied(),
            Key::Prefix(prefix) => keys.prefixes.get(prefix).copied(),
            Key::Number(number) => keys.numbers.get(&number).copied(),
            Key::AtLeast(count) => keys.at_least.get(&count).copied(),
            Key::OfAge(age) => keys.ages.get(&age).copied(),
            Key::Null => keys.null,
            Key::NotNull => keys.not_null,
        }
    }

    fn keys(&self, field: Field) -> Option<&FieldKeys> {
        self.places[field as usize].and_then(|place| self.fields.get(usize::from(place)))
    }

    /// Makes it ready for looking up. Nothing is added afterwards.
    pub(super) fn finish(&mut self) {
        self.fields.sort_by_key(|keys| keys.field);
        for (place, keys) in self.fields.iter_mut().enumerate() {
            self.places[keys.field as usize] = Some(place as u8);
            let words = keys.words.values().filter(|_| keys.field.spec().is_list);
            let others = keys.at_least.values().chain(keys.ages.values());
            keys.on_null = words.chain(keys.prefixes.values()).chain(others).copied().collect();
            keys.sort_prefixes();
        }
    }

    /// The key of what a field that is a text is.
    pub(super) fn word(&self, field: Field, view: &View<'_>) -> Option<KeyId> {
        self.keys(field)?.words.get(view.text(field)?).copied()
    }

    /// The keys that a view has; one may come more than once. Where a null is an error for a test, the test's keys are there.
    pub(super) fn keys_of(&self, view: &View<'_>, mut found: impl FnMut(KeyId)) {
        for keys in &self.fields {
            let spec = keys.field.spec();
            let known = if spec.is_list {
                let words = view.list(keys.field);
                match words {
                    Some(words) => {
                        words.iter().for_each(|word| keys.of_text(word, &mut found));
                        let size = i64::try_from(words.len()).unwrap_or(i64::MAX);
                        up_to(&keys.at_least, size, &mut found);
                    }
                    None => keys.on_null.iter().copied().for_each(&mut found),
                }
                words.is_some()
            } else {
                match spec.value_type {
                    Type::Text => {
                        let text = view.text(keys.field);
                        match text {
                            Some(text) => keys.of_text(text, &mut found),
                            None => keys.on_null.iter().copied().for_each(&mut found),
                        }
                        text.is_some()
                    }
                    Type::Int => {
                        let number = view.int(keys.field);
                        number
                            .and_then(|number| keys.numbers.get(&number))
                            .into_iter()
                            .for_each(|&key| found(key));
                        number.is_some()
                    }
                    Type::Bool => true,
                    Type::Time | Type::Duration => {
                        let time = view.time(keys.field);
                        match time {
                            Some(time) => {
                                // Near the ends of the calendar a sum can be an error.
                                let plain = |year: i32| (1000..9000).contains(&year);
                                let age = match plain(time.year()) && plain(view.now().year()) {
                                    true => view.now().signed_duration_since(time),
                                    false => TimeDelta::MAX,
                                };
                                up_to(&keys.ages, age, &mut found);
                            }
                            None => keys.on_null.iter().copied().for_each(&mut found),
                        }
                        time.is_some()
                    }
                }
            };
            (if known { keys.not_null } else { keys.null }).into_iter().for_each(&mut found);
        }
    }
}

/// The keys of the bounds that a value reaches.
fn up_to<T: Ord>(bounds: &BTreeMap<T, KeyId>, value: T, found: &mut impl FnMut(KeyId)) {
    bounds.range(..=value).for_each(|(_, key)| found(*key));
}

impl FieldKeys {
    fn new(field: Field) -> Self {
        Self {
            field,
            words: FxHashMap::default(),
            prefixes: FxHashMap::default(),
            sorted: Vec::new(),
            on_null: Vec::new(),
            first_bytes: [0; 4],
            at_least: BTreeMap::new(),
            ages: BTreeMap::new(),
            numbers: FxHashMap::default(),
            null: None,
            not_null: None,
        }
    }

    fn of_text(&self, text: &str, found: &mut impl FnMut(KeyId)) {
        if !self.words.is_empty()
            && let Some(&key) = self.words.get(text)
        {
            found(key);
        }
        let Some(&first) = text.as_bytes().first() else { return };
        if self.first_bytes[usize::from(first / 64)] & 1 << (first % 64) == 0 {
            return;
        }
        // Whatever stands between a prefix of the text and the text itself begins with that prefix: so every prefix is
        // among the last one that is not after the text, and what that one begins with.
        let after = self.sorted.partition_point(|prefix| *prefix.text <= *text);
        let mut next = after.checked_sub(1);
        while let Some(prefix) = next.and_then(|place| self.sorted.get(place)) {
            if text.starts_with(&*prefix.text) {
                found(prefix.key);
            }
            next = prefix.parent.map(|parent| parent as usize);
        }
    }

    fn sort_prefixes(&mut self) {
        let prefixes = std::mem::take(&mut self.prefixes);
        let sorted = prefixes.into_iter().map(|(text, key)| Prefix { text, key, parent: None });
        self.sorted = sorted.collect();
        self.sorted.sort_unstable_by(|a, b| a.text.cmp(&b.text));
        for first in self.sorted.iter().filter_map(|prefix| prefix.text.as_bytes().first()) {
            self.first_bytes[usize::from(first / 64)] |= 1 << (first % 64);
        }
        let mut open: Vec<u32> = Vec::new();
        for place in 0..self.sorted.len() {
            while let Some(&last) = open.last()
                && !self.sorted[place].text.starts_with(&*self.sorted[last as usize].text)
            {
                open.pop();
            }
            self.sorted[place].parent = open.last().copied();
            open.push(place as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_text_is_found() {
        let mut vocabulary = Vocabulary::default();
        let prefixes = ["a", "ab", "abc", "abd", "b", "area/", "area/web", "ä", "zz"];
        let added = prefixes.map(|prefix| vocabulary.add(Field::Title, Key::Prefix(prefix)));
        vocabulary.finish();
        for text in ["abcd", "abce", "abzz", "ab", "area/", "area/w", "area/webby", "äb", "z", "zzz", "", "c"]
        {
            let mut found = Vec::new();
            vocabulary.keys(Field::Title).unwrap().of_text(text, &mut |key| found.push(key));
            found.sort_unstable();
            let expected = added.iter().zip(prefixes).filter(|(_, prefix)| text.starts_with(prefix));
            assert_eq!(found, expected.map(|(&key, _)| key).collect::<Vec<_>>(), "{text}");
        }
    }
}
