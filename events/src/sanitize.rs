//! Text from outside, made safe to keep: bounded, and without NUL.

/// The longest text kept of anything that comes from outside (titles, labels, names), in characters.
pub const MAX_TEXT_CHARS: usize = 1024;

/// `text` cut to [`MAX_TEXT_CHARS`] characters, with NUL replaced by U+FFFD (some stores and terminals end there).
pub fn clean_text(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c == '\0' { '\u{FFFD}' } else { c }).collect()
}
