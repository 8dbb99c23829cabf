//! Priorities written as labels: `p0`, `P1`, `priority:high`, `priority/P2`, `prio: low`.

/// The most urgent priority that any of the labels says, in the label's own word.
pub(super) fn of_labels<'a>(labels: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // `min_by_key` keeps the first of equals.
    labels.filter_map(word).min_by_key(|word| urgency(word))
}

/// The priority that a label says: the whole label where it is `p` and a digit, else what follows `priority`.
fn word(label: &str) -> Option<&str> {
    let label = label.trim();
    if numbered(label).is_some() {
        return Some(label);
    }
    let prefix = ["priority", "prio"]
        .into_iter()
        .find(|prefix| label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))?;
    let rest = &label[prefix.len()..];
    let word = rest.trim_start_matches([':', '/', '-', '_', '=', ' ']).trim_end();
    // Something must stand between, or `prioritised` would be a priority.
    (word.len() < rest.trim_end().len() && !word.is_empty()).then_some(word)
}

fn numbered(word: &str) -> Option<u8> {
    match word.as_bytes() {
        [b'p' | b'P', digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Lower is more urgent; a word that is not known comes last.
fn urgency(word: &str) -> u8 {
    match word.to_lowercase().as_str() {
        "critical" | "highest" | "urgent" | "blocker" | "immediate" => 0,
        "high" | "major" => 1,
        "medium" | "normal" | "moderate" => 2,
        "low" | "minor" => 3,
        "lowest" | "trivial" => 4,
        other => numbered(other).unwrap_or(10),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["bug", "p0"], Some("p0"))]
    #[case(&["P1"], Some("P1"))]
    #[case(&["priority:high"], Some("high"))]
    #[case(&["Priority/High"], Some("High"))]
    #[case(&["priority: P2 "], Some("P2"))]
    #[case(&["prio-low", "p3"], Some("low"))]
    #[case(&["p2", "priority:critical"], Some("critical"))]
    #[case(&["priority:someday", "p9"], Some("p9"))]
    #[case(&["prioritised", "priority", "priority:", "p", "p10", "pp0", "überpriority:high"], None)]
    #[case(&[], None)]
    fn reads_labels(#[case] labels: &[&str], #[case] expected: Option<&str>) {
        assert_eq!(of_labels(labels.iter().copied()), expected);
    }
}
