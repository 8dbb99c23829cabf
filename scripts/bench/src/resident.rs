//! `bench resident`: an idle `serve` on an empty embedded log.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{Result, connection::Connection, measured, process};

type Output = Lines<BufReader<ChildStdout>>;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
        // Also the current directory: no breakdown.toml of somebody else is read.
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&args.work_dir)?;
        let began = Instant::now();
        let mut server = Command::new(&program)
            .args(["serve", "--webhooks-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--calendar-listen", "127.0.0.1:0", "--data-dir", "data"])
            .current_dir(dir.path())
            .env_clear()
            .env("GITHUB_WEBHOOK_SECRET", "bench")
            .env("JIRA_WEBHOOK_SECRET", "bench")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let ready = tokio::time::timeout(PATIENCE, ready(&mut server)).await;
        let _output =
            ready.map_err(|_| format!("start {start}: not ready after {} s", PATIENCE.as_secs()))??;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        if start == args.starts {
            tokio::time::sleep(idle).await;
            memory = process::resident(server.id().ok_or("the server has ended")?)?;
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

/// Waits until `/health/ready` is 200. Gives the rest of the server's output back: it must not run into a closed pipe.
async fn ready(server: &mut Child) -> Result<Output> {
    let mut lines = BufReader::new(server.stdout.take().ok_or("the server's output is not piped")?).lines();
    let origin = loop {
        let line = lines.next_line().await?.ok_or("the server ended before it listened: run it by hand")?;
        if let Some(rest) = line.trim_start().strip_prefix("admin ") {
            break rest.trim_start().split(' ').next().unwrap_or_default().to_owned();
        }
    };
    let address = origin.strip_prefix("http://").ok_or("the server told no address of its admin listener")?;
    let request = format!("GET /health/ready HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut connection = Connection::open(address).await?;
    while connection.exchange(request.as_bytes()).await?.status != 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(lines)
}
