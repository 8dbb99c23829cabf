//! `bench resident`: an idle `serve` on an empty embedded log.

use std::{path::PathBuf, time::Duration};

use serde_json::json;

use crate::{Result, measured, process, server::Server};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program `breakdown`
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// How often to start it
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// How long it lies idle until its memory is looked at
    #[arg(long, default_value_t = 5.0)]
    idle: f64,
    /// Where the data directories are made
    #[arg(long, value_name = "DIR", default_value = "target")]
    work_dir: PathBuf,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let program =
        args.program.canonicalize().map_err(|error| format!("no {}: {error}", args.program.display()))?;
    let idle = Duration::try_from_secs_f64(args.idle)?;
    let mut starts = Vec::new();
    let mut memory = 0;
    for start in 1..=args.starts {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&args.work_dir)?;
        let arguments = ["--calendar-listen", "127.0.0.1:0", "--data-dir", "data"].map(Into::into);
        let server = Server::start(&program, dir.path(), &arguments).await?;
        starts.push((server.ready().await? - server.began).as_secs_f64() * 1e3);
        if start == args.starts {
            tokio::time::sleep(idle).await;
            memory = process::resident(server.id()?)?;
        }
        server.kill().await?;
    }
    starts.sort_by(f64::total_cmp);
    let line = json!({
        "starts": args.starts,
        "ready_ms": starts[starts.len() / 2],
        "ready_min_ms": starts[0],
        "ready_max_ms": starts[starts.len() - 1],
        "resident_kib": memory,
    });
    measured::print(args.label.as_deref(), line);
    Ok(())
}
