//! The letters that stand on `dead-letters`, with what is noted of them there.

use std::collections::BTreeMap;

use eventlog::Log;
use events::{DeadLetter, Letter, MAX_ORIGINAL_BYTES, Origin, Original, Redriven, topic};

use crate::{commands::read_all, error::Failure};

/// The topics on which a record is put again.
const AGAIN: [&str; 3] = [topic::ISSUES, topic::ACTIONS, topic::OUTCOMES];

/// A letter, without its original: there may be many.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) letter: DeadLetter,
    /// Partition and offset of the letter itself.
    pub(super) place: (u32, u64),
    /// How often it stands there: a delivery that is made again has the same letter again.
    pub(super) times: u32,
    /// The note that it was redriven; an open letter has none.
    pub(super) redriven: Option<Redriven>,
}

/// How a letter is redriven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Its record is put on its topic again.
    Again,
    /// Its delivery is read anew.
    Delivery,
    /// The event that it holds is put on `issues`.
    Event,
}

impl Kept {
    /// How it is redriven, or why it cannot be.
    pub(super) fn way(&self) -> Result<Way, String> {
        let whole = self.letter.original_length <= MAX_ORIGINAL_BYTES as u64;
        let cut = || {
            format!(
                "of its {} bytes the first {MAX_ORIGINAL_BYTES} were kept: have the provider deliver it again",
                self.letter.original_length
            )
        };
        match &self.letter.origin {
            _ if self.letter.reason == "wrong_key" => {
                Err("its key is not its project, and would not be next time: have it written anew".to_owned())
            }
            _ if self.letter.reason == "gone" => {
                Err("its record was removed from its topic, and nobody has a copy: look at the issue, and act by hand".to_owned())
            }
            Origin::Record { topic, .. } if topic == topic::CONTROL => {
                Err("what it said may hold no more: say it anew (breakdown pause, breakdown resume)"
                    .to_owned())
            }
            Origin::Record { topic, .. } if !AGAIN.contains(&topic.as_str()) => {
                Err(format!("nothing is put on the topic {topic:?} again"))
            }
            Origin::Record { .. } => Ok(Way::Again),
            Origin::Delivery { .. } => whole.then_some(Way::Delivery).ok_or_else(cut),
            Origin::Spooled { .. } => whole.then_some(Way::Event).ok_or_else(cut),
        }
    }

    /// Where its original came from, for people.
    pub(super) fn origin(&self) -> String {
        match &self.letter.origin {
            Origin::Record { topic, partition, offset } => format!("{topic}/{partition}@{offset}"),
            Origin::Delivery { provider, delivery_id, .. }
            | Origin::Spooled { provider, delivery_id, .. } => {
                format!("{provider}:{}", delivery_id.as_deref().unwrap_or("-"))
            }
        }
    }
}

/// Every letter, oldest first.
pub(super) async fn read(log: &dyn Log) -> Result<Vec<Kept>, Failure> {
    let mut letters: BTreeMap<String, Kept> = BTreeMap::new();
    // A note stands behind its letter; the letter before may be gone.
    let mut notes: BTreeMap<String, Redriven> = BTreeMap::new();
    read_all(log, topic::DEAD_LETTERS, |record| {
        let place = (record.partition, record.offset);
        match serde_json::from_slice(record.value.as_deref().unwrap_or_default()) {
            Ok(Letter::Redriven(note)) => _ = notes.insert(note.letter_id.clone(), note),
            Ok(Letter::Dead(mut letter)) => {
                letter.original = Original::Utf8(String::new());
                letters.entry(letter.event_id.clone()).and_modify(|kept| kept.times += 1).or_insert(Kept {
                    letter: *letter,
                    place,
                    times: 1,
                    redriven: None,
                });
            }
            // Its own words could quote it.
            Err(_) => tracing::warn!(
                partition = place.0,
                offset = place.1,
                "a record on dead-letters is no dead letter, and passed over"
            ),
        }
    })
    .await?;
    let mut letters: Vec<Kept> = letters.into_values().collect();
    for kept in &mut letters {
        kept.redriven = notes.remove(&kept.letter.event_id);
    }
    letters.sort_by_key(|kept| (kept.letter.at, kept.place));
    Ok(letters)
}
