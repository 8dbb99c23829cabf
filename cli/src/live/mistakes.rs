//! What is wrong with a policy file that was to take effect.

use policy::{Diagnostic, MAX_TEXT_BYTES, Ruleset, Severity};
use tokio::task::spawn_blocking;

use crate::commands::inert;

/// Why a text is no policy.
pub(super) struct Mistakes {
    pub(super) errors: usize,
    /// Each, warnings among them, on one line.
    pub(super) lines: Vec<String>,
    /// The first error.
    pub(super) first: String,
}

/// Loads a policy, where that holds nobody up.
pub(super) async fn load(bytes: Vec<u8>) -> Result<Ruleset, Mistakes> {
    let one = |line: String| Mistakes { errors: 1, first: line.clone(), lines: vec![line] };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // Cut off somewhere; the loader says what is allowed.
        Err(error) if error.as_bytes().len() > MAX_TEXT_BYTES => {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
        Err(error) => {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n');
            return Err(one(format!("{}:1: the text is not UTF-8", line.count() + 1)));
        }
    };
    let loaded = spawn_blocking(move || policy::load(&text)).await;
    let diagnostics = match loaded {
        Ok(Ok(ruleset)) => return Ok(ruleset),
        Ok(Err(diagnostics)) => diagnostics,
        Err(broken) => return Err(one(format!("1:1: the policy could not be read: {broken}"))),
    };
    let mut errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let first =
        errors.next().map(|first| format!("{}:{}: {}", first.line, first.column, inert(&first.message)));
    Err(Mistakes {
        errors: errors.count() + 1,
        lines: diagnostics.iter().map(on_one_line).collect(),
        first: first.unwrap_or_default(),
    })
}

/// Log lines are read by machines, too: one diagnostic, one line. Pieces of the file that it repeats stay inert.
pub(super) fn on_one_line(diagnostic: &Diagnostic) -> String {
    inert(&diagnostic.to_string().replace("\n  hint: ", "; hint: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_mistake_is_one_line_that_moves_no_cursor() {
        let text = "version: 1\nrules:\n  - id: \"a\\u001b[2J\"\n    colour: red\n";
        let Mistakes { errors, lines, first } = load(text.into()).await.unwrap_err();
        assert!(errors >= 2 && lines.len() >= 2, "{lines:?}");
        assert!(lines[0].starts_with(&first), "{first}\n{lines:?}");
        assert!(lines.iter().chain([&first]).all(|line| !line.contains(char::is_control)), "{lines:?}");
    }

    #[tokio::test]
    async fn what_is_no_text_or_too_long_is_said() {
        let none = load(b"version: 1\n# \xff\n".into()).await.unwrap_err();
        assert_eq!(none.first, "2:1: the text is not UTF-8");
        let mut long = vec![b'#'; MAX_TEXT_BYTES + 1];
        long[MAX_TEXT_BYTES - 1..].copy_from_slice("é".as_bytes());
        let cut = load(long[..=MAX_TEXT_BYTES].to_vec()).await.unwrap_err();
        assert!(cut.first.contains(&MAX_TEXT_BYTES.to_string()), "{}", cut.first);
    }
}
