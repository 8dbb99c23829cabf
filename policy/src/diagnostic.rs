//! What is wrong with a policy file, where, and what to do about it.

use std::{fmt, ops::Range};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy holds, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong with a policy file.
///
/// Prints as `LINE:COLUMN: message`, followed by a line `  hint: …` where there is one. `message` and `hint` may repeat short
/// pieces of the file; whoever shows them keeps their characters from acting on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, in characters from 1.
    pub column: usize,
    /// The line on which it ends, from 1.
    pub end_line: usize,
    /// The column after its last character, in characters from 1.
    pub end_column: usize,
    /// The same part of the text in bytes. It can be empty (something is missing here), also at the text's end.
    pub span: Range<usize>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Whether nothing is wrong but what the evaluation of a condition could cost: it would be taken were there less of it.
    pub is_dear: bool,
}

impl Diagnostic {
    /// An error that concerns the file as a whole.
    pub(crate) fn of_file(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
            span: 0..0,
            severity: Severity::Error,
            message: message.into(),
            hint: hint.map(Into::into),
            is_dear: false,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}:{}: {kind}{}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// "did you mean `…`?", when one of `known` is close to `word`.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The one of `known` that is close to `word`.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and nothing close to a known word is long.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = 1 + word.chars().count() / 4;
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // What a word begins is as close as a slip of the finger: `prio` is not far from `priority`.
        if word.len() >= 3 && candidate.starts_with(&word) {
            return 1;
        }
        match candidate.len().abs_diff(word.len()) > 4 * allowed {
            true => usize::MAX,
            false => strsim::osa_distance(&word, &candidate),
        }
    };
    let (distance, candidate) = known.into_iter().map(|candidate| (distance(candidate), candidate)).min()?;
    (distance <= allowed).then_some(candidate)
}

/// Whether a character is one that a terminal obeys, or that nobody sees.
pub(crate) fn unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// `word` in back ticks, cut to what a message can carry, without characters that are [`unseen`].
pub(crate) fn quoted(word: &str) -> String {
    format!("`{}`", cut(word, 40))
}

/// The first `most` characters, without those that are [`unseen`].
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut cut: String = text.chars().take(most).map(|c| if unseen(c) { '\u{FFFD}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        cut.push('…');
    }
    cut
}
