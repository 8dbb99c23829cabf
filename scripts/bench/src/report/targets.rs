//! Ten targets, and one that hangs.

use std::fmt::{Result, Write};

use super::results::{Results, mib, number};

const TENTH: [(&str, &str); 3] =
    [("answers", "the tenth answers"), ("idles", "nine alone"), ("hangs", "the tenth hangs")];

pub(super) fn write(results: &Results, out: &mut String) -> Result {
    let label = |tenth: &str| format!("targets/{tenth}");
    writeln!(
        out,
        "\n## `serve --roles executor`, embedded log, ten webhooks on this machine, each with as many actions\n"
    )?;
    writeln!(
        out,
        "| | actions each | concluded/s | of the nine/s | against nine alone | CPU µs an action | memory after a third, MiB | at the end, MiB |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for (tenth, name) in TENTH.iter().filter(|(tenth, _)| results.has(&label(tenth))) {
        let label = label(tenth);
        let figure = |name, decimals| number(results.median(&label, name), decimals);
        writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            figure("each", 0),
            figure("actions_per_second", 0),
            figure("of_nine_per_second", 0),
            number(results.by_rounds(&label, "targets/idles", "of_nine_per_second"), 2),
            figure("cpu_us", 0),
            mib(results.median(&label, "third_resident_kib")),
            mib(results.median(&label, "resident_kib")),
        )?;
    }
    Ok(())
}
