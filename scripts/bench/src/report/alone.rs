//! Breakdown alone: ingest, latencies, the gateway, size.

use std::fmt::{Result, Write};

use super::results::{Results, millis, number};

const LOGS: [&str; 2] = ["embedded", "broker"];

pub(super) fn write(results: &Results, out: &mut String) -> Result {
    ingest(results, out)?;
    latency(results, out)?;
    gateway(results, out)?;
    size(results, out)
}

fn ingest(results: &Results, out: &mut String) -> Result {
    writeln!(out, "\n## Ingest, 64 connections, as many as go through\n")?;
    writeln!(
        out,
        "| | requests/s | of read | of verify | aim | CPU µs a request | of read (aim ≤ 4) | p50 ms | p99 ms | not 202 | load's core busy |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for (candidate, means, aim) in [
        ("read", "axum, body read", "–"),
        ("verify", "axum, verified and parsed", "–"),
        ("embedded", "`serve`, embedded log", "≥ 0.25, ≥ 0.7"),
        ("broker", "`serve`, broker, acks=all", "≥ 0.28, ≥ 0.75"),
    ] {
        let label = format!("ingest/{candidate}");
        if !results.has(&label) {
            continue;
        }
        let of = |other| results.ratio((&label, "per_second"), (other, "per_second"));
        writeln!(
            out,
            "| {means} | {} | {} | {} | {aim} | {} | {} | {} | {} | {} | {} % |",
            number(results.median(&label, "per_second"), 0),
            number(of("ingest/read"), 2),
            number(of("ingest/verify"), 2),
            number(results.median(&label, "server_cpu_us"), 1),
            number(results.ratio((&label, "server_cpu_us"), ("ingest/read", "server_cpu_us")), 2),
            millis(results.median(&label, "p50_us")),
            millis(results.median(&label, "p99_us")),
            results.sum(&label, "not_202") + results.sum(&label, "failed"),
            number(results.median(&label, "load_busy").map(|busy| busy * 100.0), 0),
        )?;
    }
    if results.has("ingest/broker") {
        writeln!(
            out,
            "\nThe broker ({}) is not pinned: it takes its time from both cores, so its requests/s are those of a server that \
             has less than one core; CPU a request is the server's alone.",
            results.text("machine", "broker").unwrap_or("a JVM on the same machine")
        )?;
    }
    Ok(())
}

fn latency(results: &Results, out: &mut String) -> Result {
    writeln!(out, "\n## Latency at a fixed rate, ms (as a multiple of one append's p50)\n")?;
    writeln!(
        out,
        "| | requests/s | answer p50 | answer p99 | action readable p50 | action readable p99 | missing |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
    for log in LOGS {
        let append = format!("append/{log}");
        if !results.has(&append) {
            continue;
        }
        let figure = |label: &str, figure: &str| {
            let multiple = results.ratio((label, figure), (&append, "p50_us"));
            format!("{} ({} ×)", millis(results.median(label, figure)), number(multiple, 1))
        };
        writeln!(
            out,
            "| {log}: one append | {} | {} | {} | | | |",
            number(results.median(&append, "rate"), 0),
            figure(&append, "p50_us"),
            figure(&append, "p99_us")
        )?;
        for rate in ["500", "2000"] {
            let label = format!("actions/{log}/{rate}");
            if !results.has(&label) {
                continue;
            }
            writeln!(
                out,
                "| {log} | {rate} | {} | {} | {} | {} | {} |",
                figure(&label, "p50_us"),
                figure(&label, "p99_us"),
                figure(&label, "action_p50_us"),
                figure(&label, "action_p99_us"),
                results.sum(&label, "actions_missing")
                    + results.sum(&label, "not_202")
                    + results.sum(&label, "failed"),
            )?;
        }
        writeln!(
            out,
            "| {log}: appends from 64 tasks | {} | {} | | | | |",
            number(results.median(&append, "tasks_per_second"), 0),
            figure(&append, "tasks_p50_us")
        )?;
    }
    writeln!(
        out,
        "\nLatencies count from the instant at which a request was due. Whether an action can be read is asked {} times a \
         second of the embedded log, and adds half of that interval to its figures; a broker tells by itself.",
        number(results.median("actions/embedded/500", "asking"), 0)
    )
}

fn gateway(results: &Results, out: &mut String) -> Result {
    writeln!(out, "\n## The gateway alone, from `issues` to `actions`\n")?;
    writeln!(
        out,
        "| | events/s | events | actions | steps | filled at, events/s |\n|---|--:|--:|--:|--:|--:|"
    )?;
    for log in LOGS {
        let label = format!("gateway/{log}");
        if !results.has(&label) {
            continue;
        }
        let figure = |name| number(results.median(&label, name), 0);
        writeln!(
            out,
            "| {log} | {} | {} | {} | {} | {} |",
            figure("events_per_second"),
            figure("events"),
            figure("actions"),
            figure("steps"),
            figure("fill_per_second")
        )?;
    }
    Ok(())
}

fn size(results: &Results, out: &mut String) -> Result {
    writeln!(out, "\n## Size\n\n| | | aim |\n|---|--:|--:|")?;
    let resident = |figure, per| results.median("resident", figure).map(|value| value / per);
    writeln!(
        out,
        "| `serve` idle, resident | {} MiB | < 40 MiB |",
        number(resident("resident_kib", 1024.0), 1)
    )?;
    writeln!(
        out,
        "| start to ready, empty log | {} ms ({} to {}) | < 300 ms |",
        number(resident("ready_ms", 1.0), 0),
        number(resident("ready_min_ms", 1.0), 0),
        number(resident("ready_max_ms", 1.0), 0)
    )?;
    let binary = results.median("binary", "bytes").map(|bytes| bytes / 1024.0 / 1024.0);
    writeln!(out, "| release binary | {} MiB | |", number(binary, 1))?;
    if results.has("build") {
        writeln!(
            out,
            "| clean release build, CPU | {} s | |",
            number(results.median("build", "cpu_seconds"), 0)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_and_ratios_of_medians() {
        let lines = r#"
            {"label":"ingest/read","per_second":100.0,"server_cpu_us":10}
            {"label":"ingest/read","per_second":400.0,"server_cpu_us":10}
            {"label":"ingest/read","per_second":200.0,"server_cpu_us":10}
            {"label":"ingest/embedded","per_second":50.0,"server_cpu_us":30.0,"not_202":1,"failed":2}
            {"label":"ingest/embedded","per_second":70.0,"server_cpu_us":30.0,"not_202":4}
        "#;
        let results = Results::parse(lines).unwrap();
        assert_eq!(results.median("ingest/read", "per_second"), Some(200.0));
        assert_eq!(results.median("ingest/embedded", "per_second"), Some(60.0));
        let row = written(&results).lines().find(|line| line.contains("embedded log")).unwrap().to_owned();
        assert!(row.contains("| 60 | 0.30 | – | ≥ 0.25, ≥ 0.7 | 30.0 | 3.00 | – | – | 7 |"), "{row}");
    }

    fn written(results: &Results) -> String {
        let mut out = String::new();
        write(results, &mut out).unwrap();
        out
    }
}
