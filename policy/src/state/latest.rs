//! Which events said the newest that is known.

use std::borrow::Cow;

use events::id;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{SeenEvent, Shared, packed::Packed};

/// The most marks: two for each of sixteen events.
const MAX_MARKS: usize = 32;
/// The longest id or hash, in bytes; of a longer one its hash is kept.
const MAX_BYTES: usize = 152;
const PAYLOAD: &str = "payload:";

/// The ids and payload hashes of the events that said `updated_at`, or came without one since: the last sixteen. By
/// `updated_at` a replay of these cannot be told from news, however late it comes. Both, because a delivery's id is not
/// signed and its payload is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Latest(Shared<Vec<Mark>>);

/// By what an event is known. JSON: its id, or `payload:` and the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    Id(Packed),
    Payload(Packed),
}

impl Latest {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds the event, or one of the same payload.
    pub(crate) fn holds(&self, event: &SeenEvent) -> bool {
        !self.is_empty() && marks(event).any(|mark| self.0.contains(&mark))
    }

    pub(super) fn fit(&mut self) {
        self.0.fit();
    }

    pub(crate) fn note(&mut self, event: &SeenEvent) {
        if self.is_empty() {
            // Mostly: the event is younger than all that were known.
            self.0 = marks(event).collect::<Vec<_>>().into();
            return;
        }
        let known = &mut *self.0;
        for mark in marks(event) {
            if known.contains(&mark) {
                continue;
            }
            if known.len() >= MAX_MARKS {
                known.remove(0);
            }
            known.push(mark);
        }
    }
}

fn marks(event: &SeenEvent) -> impl Iterator<Item = Mark> {
    let payload = event.payload.as_ref().map(|hash| Mark::Payload(bounded(hash)));
    [Some(Mark::Id(bounded(&event.id))), payload].into_iter().flatten()
}

fn bounded(name: &Packed) -> Packed {
    match name {
        Packed::Text(text) if text.len() > MAX_BYTES => Packed::of(&id::sha256(text.as_bytes())),
        name => name.clone(),
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => id.serialize(serializer),
            Self::Payload(hash) => serializer.collect_str(&format_args!("{PAYLOAD}{}", hash.text())),
        }
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        Ok(match text.strip_prefix(PAYLOAD) {
            Some(hash) => Self::Payload(Packed::of(hash)),
            None => Self::Id(Packed::of(&text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, hash: Option<&str>) -> SeenEvent {
        SeenEvent::new("p", id, hash)
    }

    #[test]
    fn an_event_is_known_by_its_id_and_by_its_payload() {
        let mut latest = Latest::default();
        latest.note(&event("gh-1", Some("aa")));
        assert!(latest.holds(&event("gh-1", None)) && latest.holds(&event("gh-1", Some("bb"))));
        assert!(latest.holds(&event("gh-2", Some("aa"))), "an id is not signed");
        assert!(!latest.holds(&event("gh-2", Some("bb"))) && !latest.holds(&event("gh-2", None)));
        assert!(!latest.holds(&event("aa", None)), "an id is no payload");
        let json = serde_json::to_string(&latest).unwrap();
        assert_eq!(json, r#"["gh-1","payload:aa"]"#);
        assert_eq!(serde_json::from_str::<Latest>(&json).unwrap(), latest);
    }

    #[test]
    fn it_is_bounded_whatever_comes() {
        let mut latest = Latest::default();
        let long = |n: usize| format!("{n}{}", "x".repeat(100_000));
        for n in 0..1000 {
            latest.note(&event(&long(n), Some(&long(n))));
        }
        assert!(
            latest.holds(&event(&long(984), None)) && latest.holds(&event("e", Some(&long(984)))),
            "the last sixteen"
        );
        assert!(!latest.holds(&event(&long(983), Some(&long(983)))));
        assert!(serde_json::to_string(&latest).unwrap().len() < 8 * 1024);
    }
}
