//! What is wrong with a policy file that was to take effect.

use policy::{Diagnostic, Ruleset, Severity};

use crate::{commands::inert, policy_file};

/// Why a text is no policy.
pub(super) struct Mistakes {
    pub(super) errors: usize,
    /// Each, warnings among them, on one line.
    pub(super) lines: Vec<String>,
    /// The first error.
    pub(super) first: String,
}

impl Mistakes {
    /// The file as a whole is none.
    pub(super) fn one(line: String) -> Self {
        Self { errors: 1, first: line.clone(), lines: vec![line] }
    }
}

/// Loads a policy. Blocks.
pub(super) fn load(bytes: Vec<u8>) -> Result<Ruleset, Mistakes> {
    let text = policy_file::text(bytes).map_err(Mistakes::one)?;
    let diagnostics = match policy::load(&text) {
        Ok(ruleset) => return Ok(ruleset),
        Err(diagnostics) => diagnostics,
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

    #[test]
    fn every_mistake_is_one_line_that_moves_no_cursor() {
        let text = "version: 1\nrules:\n  - id: \"a\\u001b[2J\"\n    colour: red\n";
        let Mistakes { errors, lines, first } = load(text.into()).unwrap_err();
        assert!(errors >= 2 && lines.len() >= 2, "{lines:?}");
        assert!(lines[0].starts_with(&first), "{first}\n{lines:?}");
        assert!(lines.iter().chain([&first]).all(|line| !line.contains(char::is_control)), "{lines:?}");
    }

    #[test]
    fn what_is_no_text_or_too_long_is_said() {
        let none = load(b"version: 1\n# \xff\n".into()).unwrap_err();
        assert_eq!(none.first, "line 2 is not UTF-8; save the file as UTF-8");
        let long = load(vec![b'#'; policy::MAX_TEXT_BYTES + 1]).unwrap_err();
        assert!(long.first.contains(&policy::MAX_TEXT_BYTES.to_string()), "{}", long.first);
    }
}
