//! Which events said the newest that is known.

use std::borrow::Cow;

use events::id;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::Shared;

/// The most entries: two for each of sixteen events.
const MAX_ENTRIES: usize = 32;
/// The longest entry, in bytes; of a longer one its hash is kept.
const MAX_BYTES: usize = 160;
const PAYLOAD: &str = "payload:";

/// The ids and payload hashes of the events that said `updated_at`, or came without one since: the last sixteen. By
/// `updated_at` a replay of these cannot be told from news, however late it comes. Both, because a delivery's id is not
/// signed and its payload is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Latest(Shared<Vec<SmolStr>>);

impl Latest {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds the event, or one of the same payload.
    pub(crate) fn holds(&self, event_id: &str, payload_hash: Option<&str>) -> bool {
        if self.is_empty() {
            return false;
        }
        let id = bounded(event_id);
        self.0.iter().any(|known| *known == *id) || payload_hash.is_some_and(|hash| self.holds_payload(hash))
    }

    fn holds_payload(&self, hash: &str) -> bool {
        if is_short(hash) {
            return self.0.iter().any(|known| known.strip_prefix(PAYLOAD) == Some(hash));
        }
        let entry = payload(hash);
        self.0.contains(&entry)
    }

    pub(super) fn fit(&mut self) {
        self.0.fit();
    }

    pub(crate) fn note(&mut self, event_id: &str, payload_hash: Option<&str>) {
        let new = [Some(SmolStr::from(bounded(event_id))), payload_hash.map(payload)].into_iter().flatten();
        if self.is_empty() {
            // Mostly: the event is younger than all that were known.
            self.0 = new.collect::<Vec<_>>().into();
            return;
        }
        let entries = &mut *self.0;
        for entry in new {
            if entries.contains(&entry) {
                continue;
            }
            if entries.len() >= MAX_ENTRIES {
                entries.remove(0);
            }
            entries.push(entry);
        }
    }
}

fn payload(hash: &str) -> SmolStr {
    match is_short(hash) {
        true => format_smolstr!("{PAYLOAD}{hash}"),
        false => bounded(&format!("{PAYLOAD}{hash}")).into(),
    }
}

/// Whether its entry is kept as it is.
fn is_short(hash: &str) -> bool {
    PAYLOAD.len() + hash.len() <= MAX_BYTES
}

fn bounded(entry: &str) -> Cow<'_, str> {
    match entry.len() > MAX_BYTES {
        true => id::sha256(entry.as_bytes()).into(),
        false => entry.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_id_and_by_its_payload() {
        let mut latest = Latest::default();
        latest.note("gh-1", Some("aa"));
        assert!(latest.holds("gh-1", None) && latest.holds("gh-1", Some("bb")));
        assert!(latest.holds("gh-2", Some("aa")), "an id is not signed");
        assert!(!latest.holds("gh-2", Some("bb")) && !latest.holds("gh-2", None));
        assert!(!latest.holds("aa", None), "an id is no payload");
    }

    #[test]
    fn it_is_bounded_whatever_comes() {
        let mut latest = Latest::default();
        let long = |n: usize| format!("{n}{}", "x".repeat(100_000));
        for n in 0..1000 {
            latest.note(&long(n), Some(&long(n)));
        }
        assert!(latest.holds(&long(984), None) && latest.holds("e", Some(&long(984))), "the last sixteen");
        assert!(!latest.holds(&long(983), Some(&long(983))));
        assert!(serde_json::to_string(&latest).unwrap().len() < 8 * 1024);
    }

    #[test]
    fn what_earlier_versions_kept_is_read() {
        // They kept ids only; these stand in changelogs in the field.
        let latest: Latest = serde_json::from_str(r#"["gh-1","p-2"]"#).unwrap();
        assert!(latest.holds("p-2", Some("aa")));
    }
}
