//! A text in which a pattern is found.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest example.
const MAX_BYTES: usize = 200;

/// A short text that the pattern is likely to be found in; whoever uses it tries it. None where there is no short one.
pub(super) fn of_pattern(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut text = Vec::new();
    add(&hir, &mut text)?;
    String::from_utf8(text).ok()
}

fn add(hir: &Hir, text: &mut Vec<u8>) -> Option<()> {
    if text.len() > MAX_BYTES {
        return None;
    }
    match hir.kind() {
        // A place asks for nothing; whether it is there is found by trying.
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.extend_from_slice(&literal.0),
        HirKind::Class(Class::Unicode(class)) => {
            let plain = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let starts = || class.ranges().iter().map(|range| range.start());
            let within = ['a', '1', 'A']
                .into_iter()
                .find(|c| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(c)));
            let c = starts().find(plain).or(within).or_else(|| starts().next())?;
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        HirKind::Class(Class::Bytes(class)) => text.push(class.ranges().first()?.start()),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                add(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => add(&capture.sub, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                add(part, text)?;
            }
        }
        HirKind::Alternation(parts) => add(parts.first()?, text)?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_short_and_match() {
        for (pattern, example) in [
            ("^area/(ui|api)$", Some("area/ui")),
            (r"OPS-\d{3}", Some("OPS-000")),
            (r"(?i)crash", Some("crash")),
            (r"[^a-z]+!", Some("1!")),
            (r"\w{100}\w{150}", None),
            ("[", None),
        ] {
            let found = of_pattern(pattern);
            assert_eq!(found.as_deref(), example, "{pattern}");
        }
    }
}
