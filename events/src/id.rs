//! Derived ids: a prefix and 32 hex digits of SHA-256 over length-prefixed parts.
//!
//! Nothing is drawn at random: the same cause always has the same id, so a retry, a replay or a second process
//! can be recognised. Each part is preceded by its length (8 bytes, big endian), so that ("ab", "c") and
//! ("a", "bc") differ.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    // Every event and action has some: by hand, a tenth of what `{:02x}` takes.
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    out
}

fn derive(prefix: &str, parts: &[&[u8]]) -> String {
    format!("{prefix}-{}", &digest(parts)[..32])
}

/// SHA-256 of raw bytes, 64 hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The payload hash of a delivery: BLAKE3 of its raw bytes, 64 hex digits. A replay is known by it, so nobody may find two payloads with
/// one hash. SHA-256 would do; it is slower, and the signature takes one pass of it over the body already.
pub fn payload_hash(bytes: &[u8]) -> String {
    hex(blake3::hash(bytes).as_bytes())
}

/// Id of a GitHub delivery: `gh-…` over the site's host and the delivery id, or the body where there is none.
pub fn github_event(site: &str, delivery_id: Option<&str>, body: &[u8]) -> String {
    derive("gh", &[site.as_bytes(), delivery_id.map_or(body, str::as_bytes)])
}

/// Id of a Jira delivery: `jr-…` over the site's host and the delivery id, or the body where there is none.
pub fn jira_event(site: &str, delivery_id: Option<&str>, body: &[u8]) -> String {
    derive("jr", &[site.as_bytes(), delivery_id.map_or(body, str::as_bytes)])
}

/// Id of a PagerDuty event: `pd-…` over the id that PagerDuty gave it, or the body where there is none.
pub fn pagerduty_event(id: Option<&str>, body: &[u8]) -> String {
    derive("pd", &[id.map_or(body, str::as_bytes)])
}

/// Id of the acknowledgement that lies in an event: with the same prefix, over that event's id.
pub fn acknowledgement(event_id: &str) -> String {
    let prefix = event_id.split_once('-').map_or("p", |(prefix, _)| prefix);
    derive(prefix, &[b"acknowledged", event_id.as_bytes()])
}

/// The payload hash of that acknowledgement, from the event's own: it tells a payload that is sent again under another id, and is not taken
/// for that of the event itself.
pub fn acknowledgement_hash(hash: &str) -> String {
    digest(&[b"acknowledged", hash.as_bytes()])
}

/// Id of a published event that brought none: `p-…` over its canonical JSON (keys sorted, no white space).
pub fn published_event(canonical_json: &[u8]) -> String {
    derive("p", &[canonical_json])
}

/// Id of an action: `a-…` over what caused it (an event id or a timer id), the issue, the rule, and the place
/// of the action in the rule's `then`.
pub fn action(cause: &str, issue_ref: &str, rule: &str, index: usize) -> String {
    derive("a", &[cause.as_bytes(), issue_ref.as_bytes(), rule.as_bytes(), &(index as u64).to_be_bytes()])
}

/// Id of a `resolve`: `a-…` over what caused it, the issue, and the action that it takes back, which stands in the place of a rule.
pub fn resolve(cause: &str, issue_ref: &str, action_id: &str) -> String {
    action(cause, issue_ref, action_id, 0)
}

/// Id of an `acknowledge`: `a-…` over the same, of the action that is acknowledged.
pub fn acknowledge(cause: &str, issue_ref: &str, action_id: &str) -> String {
    action(cause, issue_ref, action_id, 1)
}

/// Id of a timer: `t-…` over the issue, the rule, what set it (`at` or `repeat`) and the instant it is due.
pub fn timer(issue_ref: &str, rule: &str, kind: &str, due_at: DateTime<Utc>) -> String {
    let instant = due_at.timestamp_millis().to_be_bytes();
    derive("t", &[issue_ref.as_bytes(), rule.as_bytes(), kind.as_bytes(), &instant])
}

/// Id of an outcome: `o-…` over the action and the redrive round (0 for the first).
pub fn outcome(action_id: &str, redrive_round: u32) -> String {
    derive("o", &[action_id.as_bytes(), &u64::from(redrive_round).to_be_bytes()])
}

/// Id of a dead letter: `d-…` over where it came from and the SHA-256 of the original.
pub fn dead_letter(origin: &str, original_sha256: &str) -> String {
    derive("d", &[origin.as_bytes(), original_sha256.as_bytes()])
}

/// Id of the note that a dead letter was redriven: `n-…` over the letter.
pub fn redriven(letter_id: &str) -> String {
    derive("n", &[letter_id.as_bytes()])
}

/// Id of a word to the executors: `c-…` over the project (empty: all), what is said, and when (milliseconds).
pub fn control(project_id: &str, paused: bool, at: DateTime<Utc>) -> String {
    derive("c", &[project_id.as_bytes(), &[u8::from(paused)], &at.timestamp_millis().to_be_bytes()])
}

/// A W3C `traceparent` (version 00, sampled). The trace id is taken from the id that began the story, the span id
/// from the message itself, so that one delivery's event, actions and outcomes are one trace.
pub fn traceparent(story: &str, message: &str) -> String {
    let digits = story.rsplit('-').next().unwrap_or_default();
    let valid = digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && digits.bytes().any(|b| b != b'0');
    let trace = if valid { digits.to_owned() } else { digest(&[story.as_bytes()])[..32].to_owned() };
    let span = &digest(&[message.as_bytes()])[..16];
    format!("00-{trace}-{span}-01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(github_event("ab", Some("c"), b""), github_event("a", Some("bc"), b""));
        assert_ne!(action("c", "i", "rule", 1), action("c", "i", "rule", 2));
        assert_ne!(outcome("a-1", 0), outcome("a-1", 1));
    }

    #[test]
    fn an_acknowledgement_is_told_from_its_event() {
        let event = github_event("github.com", Some("d"), b"");
        assert!(acknowledgement(&event).starts_with("gh-") && acknowledgement(&event) != event);
        assert_ne!(acknowledgement("gh-1"), acknowledgement("jr-1"));
        assert_ne!(acknowledgement_hash("aa"), "aa");
        assert_ne!(pagerduty_event(None, b"a"), pagerduty_event(Some("b"), b"a"));
    }

    #[test]
    fn ids_are_stable_across_releases() {
        // These stand on logs in the field: a change here makes every redelivery count a second time.
        assert_eq!(github_event("github.com", Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"), b""), GITHUB);
        assert_eq!(action("gh-1", "github:o/r#1", "triage", 0), ACTION);
    }
    const GITHUB: &str = "gh-fdef541c719416027c5cd3d00bcd54a2";
    const ACTION: &str = "a-7aa94f8c7910de2236c827e21408e450";

    #[test]
    fn hashes_agree_with_the_published_vectors() {
        assert_eq!(payload_hash(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_trace_follows_the_delivery() {
        let event = github_event("github.com", Some("d"), b"");
        let action = traceparent(&event, "a-1");
        assert_eq!(action[3..35], event[3..]);
        assert_eq!(action.len(), 55);
        assert_ne!(traceparent("anything", "m"), traceparent("else", "m"));
    }
}
