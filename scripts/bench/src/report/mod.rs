//! `bench report`: the tables, from the lines that the other subcommands printed. Every figure is the median over the rounds.

mod alone;
mod cost;
mod peers;
mod recovery;
mod results;
mod targets;

use std::{fmt::Write, path::PathBuf};

use self::results::Results;
use crate::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line
    #[arg(value_name = "FILE")]
    results: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let results = Results::parse(&std::fs::read_to_string(&args.results)?)?;
    let mut out = String::new();
    machine(&results, &mut out)?;
    // Whatever was measured.
    if results.has("ingest/embedded") {
        alone::write(&results, &mut out)?;
    }
    if results.has("peers/breakdown") {
        peers::write(&results, &mut out)?;
    }
    recovery::write(&results, &mut out)?;
    if results.has("targets/answers") {
        targets::write(&results, &mut out)?;
    }
    if results.has("cost/before") {
        cost::write(&results, &mut out)?;
    }
    print!("{out}");
    Ok(())
}

fn machine(results: &Results, out: &mut String) -> std::fmt::Result {
    let fact = |name| results.text("machine", name).filter(|fact| !fact.is_empty()).unwrap_or("–");
    writeln!(out, "# Bench, {}\n", fact("at"))?;
    writeln!(
        out,
        "{} cores, {}; load average {} before, {} after; data on {}; broker: {}. {}, interleaved; medians.",
        fact("cores"),
        fact("model"),
        fact("load_before"),
        results.text("machine-after", "load_after").unwrap_or("–"),
        fact("filesystem"),
        fact("broker"),
        fact("rounds"),
    )?;
    if results.text("machine", "payload").is_some_and(|payload| !payload.is_empty()) {
        writeln!(
            out,
            "Server on core {}, load on core {}. Payload: {}.",
            fact("server_core"),
            fact("load_core"),
            fact("payload")
        )?;
    }
    Ok(())
}
