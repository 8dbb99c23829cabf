//! What was measured, as Markdown.

use std::path::Path;

use crate::{SIZES, world::Kind};

pub(crate) fn print(dir: &Path, rounds: usize, facts: &[(usize, Kind, String)]) {
    let median = |group: &str, engine: &str| {
        let mut rounds: Vec<f64> = (0..rounds)
            .filter_map(|round| estimate(&dir.join(group).join(engine).join(round.to_string())))
            .collect();
        rounds.sort_by(f64::total_cmp);
        (!rounds.is_empty()).then(|| rounds[rounds.len() / 2])
    };
    for kind in Kind::ALL {
        println!(
            "\n### {}\n",
            match kind {
                Kind::Usual => "1 % of the rules cannot be indexed",
                Kind::AllIndexable => "Every rule can be indexed",
                Kind::Skewed => "1 % cannot be indexed, labels of skewed frequency",
            }
        );
        println!("| rules | index | plain scan | cel | regorus | scan / index | best other / index |");
        println!("|---:|---:|---:|---:|---:|---:|---:|");
        for size in SIZES {
            let group = format!("{size}-{}", kind.name());
            let [index, scan, cel, regorus] =
                ["indexed", "scan", "cel", "regorus"].map(|engine| median(&group, engine));
            let best = [cel, regorus].into_iter().flatten().reduce(f64::min);
            let ratio = |other: Option<f64>| {
                other.zip(index).map_or("–".to_owned(), |(other, index)| format!("{:.0}", other / index))
            };
            println!(
                "| {size} | {} | {} | {} | {} | {} | {} |",
                shown(index),
                shown(scan),
                shown(cel),
                shown(regorus),
                ratio(scan),
                ratio(best)
            );
        }
        println!();
        for (size, _, facts) in facts.iter().filter(|(_, of, _)| *of == kind) {
            println!("{size} rules: {facts}.");
        }
    }
    let load = median("load", "load");
    println!("\nLoading 10,000 rules: {} ms.", load.map_or("–".to_owned(), |ns| format!("{:.0}", ns / 1e6)));
}

fn shown(ns: Option<f64>) -> String {
    ns.map_or("–".to_owned(), |ns| {
        let digits = format!("{ns:.0}");
        let groups: Vec<_> =
            digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
        groups.join(",")
    })
}

/// The median of one measurement, in nanoseconds.
fn estimate(dir: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(dir.join("new/estimates.json")).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
