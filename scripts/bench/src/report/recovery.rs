//! After a kill, and with many open issues.

use std::fmt::{Result, Write};

use super::results::{Results, mib, number};

const LOGS: [&str; 2] = ["embedded", "broker"];

pub(super) fn write(results: &Results, out: &mut String) -> Result {
    let rows = |name: &str| -> Vec<(&str, String)> {
        let labels = LOGS.map(|log| (log, format!("{name}/{log}")));
        labels.into_iter().filter(|(_, label)| results.has(label)).collect()
    };
    let killed = rows("recovery");
    if !killed.is_empty() {
        writeln!(
            out,
            "\n## `serve --roles webhooks,gateway`, killed (`kill -9`) at work, and started with many events behind\n"
        )?;
        writeln!(
            out,
            "| log | events behind | decided before | ready after, s | first decided after, s | nothing behind after, s | events/s between | CPU s | peak memory, MiB | actions of each event |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    }
    for (log, label) in &killed {
        let figure = |name, decimals| number(results.median(label, name), decimals);
        writeln!(
            out,
            "| {log} | {} | {} | {} | {} | {} | {} | {} | {} | 1 |",
            figure("behind", 0),
            figure("decided_before", 0),
            figure("ready_seconds", 2),
            figure("first_seconds", 2),
            figure("done_seconds", 2),
            figure("events_per_second", 0),
            figure("cpu_seconds", 1),
            mib(results.median(label, "peak_resident_kib")),
        )?;
    }
    let restored = rows("restore");
    if !restored.is_empty() {
        writeln!(out, "\n## `serve --roles webhooks,gateway`, started with many open issues\n")?;
        writeln!(
            out,
            "| log | open issues | records of the changelog | ready after, s | restored, and new events decided after, s | CPU s | peak memory, MiB | bytes an issue | memory afterwards, MiB |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    }
    for (log, label) in &restored {
        let figure = |name, decimals| number(results.median(label, name), decimals);
        let bytes = results.ratio((label, "peak_resident_kib"), (label, "issues")).map(|kib| kib * 1024.0);
        writeln!(
            out,
            "| {log} | {} | {} | {} | {} | {} | {} | {} | {} |",
            figure("issues", 0),
            figure("changelog", 0),
            figure("ready_seconds", 2),
            figure("restored_seconds", 2),
            figure("cpu_seconds", 1),
            mib(results.median(label, "peak_resident_kib")),
            number(bytes, 0),
            mib(results.median(label, "resident_kib")),
        )?;
    }
    Ok(())
}
