//! Breakdown's receiver beside servers that do the same job.

use std::fmt::{Result, Write};

use super::results::{Results, mib, millis, number};

const BREAKDOWN: &str = "peers/breakdown";

pub(super) fn write(results: &Results, out: &mut String) -> Result {
    writeln!(
        out,
        "\n## Beside other servers: one process each, 64 connections, as many as go through, acks=all\n"
    )?;
    writeln!(
        out,
        "| | requests/s | Breakdown has | CPU µs a request | Breakdown takes | peak memory, MiB | Breakdown takes | p50 ms | p99 ms | not 202 | 202 and not on the log | load's core busy |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (candidate, means) in [
        ("breakdown", "`serve --roles webhooks`"),
        ("node", "Node, @octokit/webhooks, kafkajs; gathers records by hand"),
        ("node-plain", "the same, one `send` a request"),
        ("fastapi", "FastAPI, uvicorn, aiokafka"),
    ] {
        let label = format!("peers/{candidate}");
        if !results.has(&label) {
            continue;
        }
        let ours = |figure| match label == BREAKDOWN {
            true => String::new(),
            false => format!("{} ×", number(results.by_rounds(BREAKDOWN, &label, figure), 2)),
        };
        // An answer that was given up on may be on the log all the same, so there may be more; never less.
        let missing =
            results.sum(&label, "accepted").saturating_sub(results.sum(&format!("{label}/kept"), "events"));
        writeln!(
            out,
            "| {means} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {missing} | {} % |",
            number(results.median(&label, "per_second"), 0),
            ours("per_second"),
            number(results.median(&label, "server_cpu_us"), 1),
            ours("server_cpu_us"),
            mib(results.median(&label, "peak_resident_kib")),
            ours("peak_resident_kib"),
            millis(results.median(&label, "p50_us")),
            millis(results.median(&label, "p99_us")),
            results.sum(&label, "not_202") + results.sum(&label, "failed"),
            number(results.median(&label, "load_busy").map(|busy| busy * 100.0), 0),
        )?;
    }
    writeln!(
        out,
        "\nThe broker is not pinned: it takes its time from both cores, the same for all. CPU a request is the server's alone."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_not_there_is_told() {
        let lines = r#"
            {"label":"peers/breakdown","per_second":80.0,"peak_resident_kib":1024,"accepted":100}
            {"label":"peers/breakdown/kept","events":101}
            {"label":"peers/node","per_second":10.0,"peak_resident_kib":4096,"accepted":20,"failed":1}
            {"label":"peers/node/kept","events":17}
        "#;
        let mut out = String::new();
        write(&Results::parse(lines).unwrap(), &mut out).unwrap();
        let row = |name: &str| out.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(row("serve").contains("| 80 |  | – |  | 1.0 |  | – | – | 0 | 0 |"), "{out}");
        assert!(row("kafkajs").contains("| 10 | 8.00 × | – | – × | 4.0 | 0.25 × | – | – | 1 | 3 |"), "{out}");
    }
}
