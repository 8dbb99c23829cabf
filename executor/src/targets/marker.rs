//! What a comment of ours carries, so that a retry finds it: `breakdown:` and the action's id.

use sha2::{Digest, Sha256};

/// The longest id that stands as it is, in bytes; ours have 34.
const ID_MAX: usize = 64;

/// The marker of an action. An id that could mean something where it is written stands as its hash.
///
/// No secret: an action that a timer makes has an id that derives from the issue, the rule's id and the moment, so others can work it out
/// before us. A comment with the marker is ours only where [`super::ourselves`] wrote it.
pub(crate) fn marker(action_id: &str) -> String {
    let plain = action_id.len() <= ID_MAX
        && action_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !action_id.contains("--")
        && !action_id.ends_with('-');
    if plain {
        return format!("breakdown:{action_id}");
    }
    format!("breakdown:{}", hex::encode(Sha256::digest(action_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_one_plain_word() {
        assert_eq!(marker("a-0123abcd"), "breakdown:a-0123abcd");
        for id in ["-->", "a--b", "a-", "a]b", "{color}", &"a".repeat(65)] {
            let marker = marker(id);
            assert!(marker.len() == 74 && marker[10..].bytes().all(|b| b.is_ascii_hexdigit()), "{marker}");
        }
    }
}
