//! `bench report`: the table, from the lines that the other subcommands printed. Every figure is the median over the rounds.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use serde_json::Value;

use crate::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line
    #[arg(value_name = "FILE")]
    results: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<()> {
    print!("{}", table(&Results::parse(&std::fs::read_to_string(&args.results)?)?));
    Ok(())
}

/// All lines, by label.
struct Results(BTreeMap<String, Vec<Value>>);

impl Results {
    fn parse(text: &str) -> Result<Self> {
        let mut by_label: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
            let label =
                line["label"].as_str().ok_or_else(|| format!("a line without label: {line}"))?.to_owned();
            by_label.entry(label).or_default().push(line);
        }
        Ok(Self(by_label))
    }

    fn lines(&self, label: &str) -> &[Value] {
        self.0.get(label).map_or(&[], Vec::as_slice)
    }

    fn has(&self, label: &str) -> bool {
        !self.lines(label).is_empty()
    }

    /// The median of a figure over the rounds.
    fn median(&self, label: &str, figure: &str) -> Option<f64> {
        let mut all: Vec<_> = self.lines(label).iter().filter_map(|line| line[figure].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        match all.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(all[middle]),
            _ => Some((all[middle - 1] + all[middle]) / 2.0),
        }
    }

    fn sum(&self, label: &str, figure: &str) -> u64 {
        self.lines(label).iter().filter_map(|line| line[figure].as_u64()).sum()
    }

    fn text(&self, label: &str, figure: &str) -> Option<&str> {
        self.lines(label).first().and_then(|line| line[figure].as_str())
    }

    /// One figure as a multiple of another.
    fn ratio(&self, (label, figure): (&str, &str), (of, by): (&str, &str)) -> Option<f64> {
        Some(self.median(label, figure)? / self.median(of, by)?)
    }
}

const LOGS: [&str; 2] = ["embedded", "broker"];

fn table(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = machine(results, &mut out)
        .and_then(|()| ingest(results, &mut out))
        .and_then(|()| latency(results, &mut out))
        .and_then(|()| gateway(results, &mut out))
        .and_then(|()| size(results, &mut out));
    out
}

fn machine(results: &Results, out: &mut String) -> std::fmt::Result {
    let fact = |name| results.text("machine", name).unwrap_or("–");
    writeln!(out, "# Bench, {}\n", fact("at"))?;
    writeln!(
        out,
        "{} cores, {}; load average {} before, {} after; data on {}; server on core {}, load on core {}. {} rounds of {} s, \
         interleaved; medians. Payload: {}.",
        fact("cores"),
        fact("model"),
        fact("load_before"),
        results.text("machine-after", "load_after").unwrap_or("–"),
        fact("filesystem"),
        fact("server_core"),
        fact("load_core"),
        fact("rounds"),
        fact("seconds"),
        fact("payload"),
    )
}

fn ingest(results: &Results, out: &mut String) -> std::fmt::Result {
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

fn latency(results: &Results, out: &mut String) -> std::fmt::Result {
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

fn gateway(results: &Results, out: &mut String) -> std::fmt::Result {
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

fn size(results: &Results, out: &mut String) -> std::fmt::Result {
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

fn millis(microseconds: Option<f64>) -> String {
    number(microseconds.map(|us| us / 1000.0), 2)
}

/// A figure with its thousands grouped, or a dash where there is none.
fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".into() };
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut grouped = String::new();
    for (at, digit) in text.char_indices() {
        if at > 0 && at < whole && (whole - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
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
        let row = table(&results).lines().find(|line| line.contains("embedded log")).unwrap().to_owned();
        assert!(row.contains("| 60 | 0.30 | – | ≥ 0.25, ≥ 0.7 | 30.0 | 3.00 | – | – | 7 |"), "{row}");
    }

    #[test]
    fn thousands_are_grouped() {
        let written = [Some(0.5), Some(999.4), Some(1000.0), Some(1234567.25), None, Some(f64::NAN)];
        let written = written.map(|value| number(value, if value == Some(1234567.25) { 1 } else { 0 }));
        assert_eq!(written, ["0", "999", "1,000", "1,234,567.2", "–", "–"]);
    }
}
