//! What people write, and what they mean.

use crate::diagnostic::closest;

/// The actions that a rule can say: all but `acknowledge` and `resolve`.
pub(super) const ACTIONS: [&str; 4] = ["assign_owner", "post_nudge", "schedule_unblocker", "escalate_owner"];

/// The forms of a target.
pub(super) const TARGETS: &str = "a target is `assignee`, \"owner:NAME\" or \"team:NAME\"";

/// The action that a word means: a part of its name, another word for it, or a misspelling.
pub(super) fn action(word: &str) -> Option<&'static str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace(['-', ' '], "_");
    let meant = match lower.as_str() {
        "notify" | "remind" | "reminder" | "ping" | "comment" | "message" => Some("post_nudge"),
        "meeting" | "meet" | "book" | "schedule_meeting" => Some("schedule_unblocker"),
        "page" | "call" | "alert" => Some("escalate_owner"),
        "reassign" => Some("assign_owner"),
        _ => None,
    };
    let part = |name: &&&'static str| {
        lower.len() >= 4 && lower != "owner" && name.split('_').any(|part| part.starts_with(&lower))
    };
    meant.or_else(|| ACTIONS.iter().find(part).copied()).or_else(|| closest(&lower, ACTIONS))
}

/// The key in `id:triage-new`, which lacks a blank.
pub(super) fn glued_key(text: &str) -> Option<&str> {
    let (key, rest) = text.split_once(':')?;
    let is_key =
        !key.is_empty() && key.len() <= 20 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (is_key && !rest.starts_with([' ', '\n'])).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_actions() {
        for (word, meant) in [
            ("nudge", "post_nudge"),
            ("Post-Nudge", "post_nudge"),
            ("escalate", "escalate_owner"),
            ("assign", "assign_owner"),
            ("schedule", "schedule_unblocker"),
            ("escalate_ownr", "escalate_owner"),
            ("notify", "post_nudge"),
        ] {
            assert_eq!(action(word), Some(meant), "{word}");
        }
        for word in ["owner", "delete_everything", "", "a"] {
            assert_eq!(action(word), None, "{word}");
        }
    }
}
