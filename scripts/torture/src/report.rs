//! The tables.

use std::{collections::BTreeMap, fmt::Write};

use crate::{check::CHECKERS, evidence::Evidence, faults::KINDS, inflict::Inflicted, letters::How};

/// So many cases of each finding are shown in the table's foot; all of them are in findings.txt.
const SHOWN: usize = 5;

/// What each checker found, in the order of [`CHECKERS`].
pub(crate) fn findings(evidence: &Evidence) -> Vec<Vec<String>> {
    CHECKERS.iter().map(|checker| (checker.find)(evidence)).collect()
}

/// Faults by kind.
pub(crate) fn faults(inflicted: &Inflicted, failed_starts: u32) -> String {
    let mut table = String::from("| fault | times |\n|---|---:|\n");
    for kind in KINDS {
        let times = inflicted.kinds.iter().filter(|befell| **befell == kind).count();
        if times > 0 {
            let _ = writeln!(table, "| {kind} | {times} |");
        }
    }
    let _ = writeln!(table, "| **all** | **{}** |", inflicted.kinds.len());
    if inflicted.missed > 0 {
        let _ = writeln!(table, "| found nothing to befall | {} |", inflicted.missed);
    }
    let _ =
        writeln!(table, "| starts that failed while the broker was away, tried again | {failed_starts} |");
    table
}

/// Deliveries by how they were made, and all their attempts by status.
pub(crate) fn deliveries(evidence: &Evidence) -> String {
    let kinds: [(&str, &[How]); 4] = [
        ("for the first time", &[How::First]),
        ("the same delivery again, at once or later", &[How::Twin, How::Again]),
        ("the same payload under another delivery id", &[How::Replay]),
        ("forged", &[How::Forged]),
    ];
    let mut table = String::from("| deliveries | made | attempts by status |\n|---|---:|---|\n");
    let mut line = |name: &str, hows: &[How]| {
        let of_kind = evidence
            .stories
            .iter()
            .filter(|story| hows.contains(&evidence.post.deliveries[story.delivery].how));
        let (mut made, mut statuses) = (0, BTreeMap::new());
        for story in of_kind {
            made += 1;
            for status in &story.statuses {
                *statuses.entry(*status).or_insert(0) += 1;
            }
        }
        let told = |(status, times): (u16, i32)| match status {
            0 => format!("no answer × {times}"),
            status => format!("{status} × {times}"),
        };
        let statuses: Vec<_> = statuses.into_iter().map(told).collect();
        let _ = writeln!(table, "| {name} | {made} | {} |", statuses.join(", "));
    };
    for (name, hows) in kinds {
        line(name, hows);
    }
    line("**all**", &kinds.map(|(_, hows)| hows).concat());
    let spooled = |story: &&crate::load::Story| {
        let receipt = story.receipt.as_ref();
        receipt.is_some_and(|receipt| receipt.spooled)
    };
    let _ = writeln!(
        table,
        "\nspooled {}; issues {}, actions {}, redriven {}, outcomes {}, effects {}",
        evidence.stories.iter().filter(spooled).count(),
        evidence.issues.len(),
        evidence.actions.len(),
        evidence.redriven.len(),
        evidence.outcomes.len(),
        evidence.effects.len()
    );
    table
}

/// Each checker's count.
pub(crate) fn checkers(findings: &[Vec<String>]) -> String {
    let mut table = String::from("| checker | finds | cases |\n|---|---|---:|\n");
    for (checker, found) in CHECKERS.iter().zip(findings) {
        let _ = writeln!(table, "| {} | {} | {} |", checker.name, checker.means, found.len());
    }
    for (checker, found) in CHECKERS.iter().zip(findings).filter(|(_, found)| !found.is_empty()) {
        let _ = writeln!(table, "\n{}:", checker.name);
        for case in found.iter().take(SHOWN) {
            let _ = writeln!(table, "  {}", case.chars().take(400).collect::<String>());
        }
    }
    table
}

/// Every case of every finding.
pub(crate) fn all_cases(findings: &[Vec<String>]) -> String {
    let cases = CHECKERS
        .iter()
        .zip(findings)
        .flat_map(|(checker, found)| found.iter().map(|case| (checker.name, case)));
    cases.map(|(name, case)| format!("{name}: {case}\n")).collect()
}
