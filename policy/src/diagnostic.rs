//! What is wrong with a policy file, where, and what to do about it.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy holds, but is probably not what was meant.
    Warning,
}

/// One thing that is wrong with a policy file.
///
/// Prints as `LINE:COLUMN: message`, followed by a line `  hint: …` where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, in characters from 1.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error((line, column): (usize, usize), message: impl Into<String>) -> Self {
        Self {
            line: line.max(1),
            column: column.max(1),
            severity: Severity::Error,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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
    // The distance costs the product of the lengths, and nothing close to a known word is long.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    // What a word begins is as close as a slip of the finger: `prio` is not far from `priority`.
    let distance = |candidate: &str| match word.len() >= 3 && candidate.to_lowercase().starts_with(&word) {
        true => 1,
        false => strsim::damerau_levenshtein(&word, &candidate.to_lowercase()),
    };
    let (distance, candidate) = known.into_iter().map(|candidate| (distance(candidate), candidate)).min()?;
    (distance <= 1 + word.chars().count() / 4).then(|| format!("did you mean `{candidate}`?"))
}

/// Whether a character is one that a terminal obeys, or that nobody sees.
pub(crate) fn unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// `word` in back ticks, cut to what a message can carry, without characters that are [`unseen`].
pub(crate) fn quoted(word: &str) -> String {
    const MAX: usize = 40;
    let mut cut: String = word.chars().take(MAX).map(|c| if unseen(c) { '\u{FFFD}' } else { c }).collect();
    if word.chars().nth(MAX).is_some() {
        cut.push('…');
    }
    format!("`{cut}`")
}
