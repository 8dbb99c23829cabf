//! Another commit and this one, side by side.

use std::fmt::{Result, Write};

use super::results::{Results, number};

pub(super) fn write(results: &Results, out: &mut String) -> Result {
    writeln!(
        out,
        "\n## What was added since {} costs: {} beside it\n",
        results.text("cost/before", "commit").unwrap_or("–"),
        results.text("cost/after", "commit").unwrap_or("–")
    )?;
    writeln!(
        out,
        "| | a second, before | after | after / before | CPU µs each, before | after | after / before |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
    for (name, means, per_second, cpu) in [
        ("ingest/embedded", "signed requests, embedded log", "per_second", "server_cpu_us"),
        ("ingest/broker", "signed requests, broker", "per_second", "server_cpu_us"),
        (
            "gateway/embedded",
            "events through the gateway, embedded log",
            "events_per_second",
            "process_cpu_us",
        ),
        ("gateway/broker", "events through the gateway, broker", "events_per_second", "process_cpu_us"),
    ] {
        let (before, after) = (format!("cost/before/{name}"), format!("cost/after/{name}"));
        if !results.has(&after) {
            continue;
        }
        writeln!(
            out,
            "| {means} | {} | {} | {} | {} | {} | {} |",
            number(results.median(&before, per_second), 0),
            number(results.median(&after, per_second), 0),
            number(results.by_rounds(&after, &before, per_second), 2),
            number(results.median(&before, cpu), 1),
            number(results.median(&after, cpu), 1),
            number(results.by_rounds(&after, &before, cpu), 2),
        )?;
    }
    writeln!(
        out,
        "\nRatios are medians of the rounds' own ratios: before and after take turns within each round, and the second of the two in \
         one round is the first in the next."
    )
}
