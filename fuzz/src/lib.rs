//! Whatever comes from outside, put to whoever reads it. Each target takes any bytes, and panics when a promise is broken:
//! that is what the engine looks for, and what `cargo test` looks for in the corpus.
//!
//! Inputs are text as far as they can be, so that a finding can be read, and a seed written by hand.

mod deliveries;
mod files;
mod policies;
mod recorder;
mod records;
mod wire;

/// Every target, by name: also the name of its folder under `corpus/`.
pub const TARGETS: [(&str, fn(&[u8])); 11] = [
    ("github", deliveries::github),
    ("jira", deliveries::jira),
    ("pagerduty", deliveries::pagerduty),
    ("signature", deliveries::signature),
    ("wire", wire::wire),
    ("policy", policies::policy),
    ("condition", policies::condition),
    ("cases", policies::cases),
    ("records", records::records),
    ("settings", files::settings),
    ("history", files::history),
];

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(of, _)| *of == name).map(|(_, target)| *target)
}

/// What every refusal promises: it is short, on one line, and nothing that a terminal obeys.
fn is_plain(words: &str) {
    assert!(words.len() < 2_000, "too long: {words:?}");
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!words.contains(unseen), "not plain: {words:?}");
}
