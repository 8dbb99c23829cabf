//! `bench targets`: `serve --roles executor` with ten webhooks to carry actions to, all of them in this process, the tenth of which may hang.
//!
//! The actions are on the log before it starts: each target has as many, each project has actions for all, so that whoever waits for
//! the tenth would hold up the nine in every partition. Concluded is an action whose outcome is on the log.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use eventlog::Log;
use events::{Action, topic};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    Result,
    filling::{ends, expect_empty},
    log::{self, SystemClock, run_number},
    measured, process,
    server::{Program, Server},
};

/// How long it may take; a stall is an error, not a low figure.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked how many are concluded.
const ASK_EVERY: Duration = Duration::from_millis(20);
const TARGETS: u64 = 10;
/// Records appended at once.
const BATCH: usize = 500;
/// The webhooks' secret; it protects nothing.
const SECRET: &str = "whsec_YmVuY2hiZW5jaGJlbmNoYmVuY2hiZW5jaA==";

/// What the tenth target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tenth {
    /// What the others do.
    Answers,
    /// It takes requests and never answers.
    Hangs,
    /// There is nothing for it to do.
    Idles,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// How many actions each target gets
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..))]
    each: u64,
    /// Over how many projects they spread
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    projects: u64,
    /// What the tenth target does
    #[arg(long, value_enum, default_value_t = Tenth::Answers)]
    tenth: Tenth,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let dir = args.program.dir()?;
    let log = args.program.log.open()?;
    log.create_topics(&log::topics()).await?;
    expect_empty(&*log).await?;

    let taken = Arc::new(AtomicU64::new(0));
    let mut configuration = String::from("[calendar]\napi_base = \"http://127.0.0.1:9/api\"\n");
    for number in 0..TARGETS {
        let hangs = args.tenth == Tenth::Hangs && number + 1 == TARGETS;
        let at = serve(if hangs { None } else { Some(Arc::clone(&taken)) }).await?;
        write!(
            configuration,
            "[targets.t{number}]\nkind = \"webhook\"\nurl = \"http://{at}/hook\"\nsecret = {{ file = \"secret\" }}\n\
             [[routes]]\naction = \"bench_{number}\"\ntargets = [\"t{number}\"]\n"
        )?;
    }
    std::fs::write(dir.path().join("secret"), SECRET)?;
    std::fs::write(dir.path().join("breakdown.toml"), configuration)?;

    let busy = if args.tenth == Tenth::Idles { TARGETS - 1 } else { TARGETS };
    let all = fill(&*log, args.each, busy, args.projects).await?;
    // Of whoever hangs, none is concluded before it is given up.
    let concluded = if args.tenth == Tenth::Hangs { args.each * (TARGETS - 1) } else { all };

    let server = args.program.start_roles(dir.path(), "executor").await?;
    let ran = watch(&*log, &server, concluded).await?;
    let pid = server.id()?;
    let cpu = process::cpu(Some(pid))?;
    let line = json!({
        "each": args.each,
        "concluded": concluded,
        "seconds": ran.seconds,
        "actions_per_second": concluded as f64 / ran.seconds,
        "of_nine_per_second": (args.each * (TARGETS - 1)) as f64 / ran.seconds,
        "received": taken.load(Ordering::Relaxed),
        "third_resident_kib": ran.third_resident,
        "resident_kib": process::resident(pid)?,
        "peak_resident_kib": process::peak_resident(pid)?,
        "cpu_us": cpu.as_secs_f64() * 1e6 / concluded as f64,
    });
    server.kill().await?;
    measured::print(args.label.as_deref(), line);
    Ok(())
}

/// An endpoint on a port of its own: it counts what it takes, or never answers.
async fn serve(taken: Option<Arc<AtomicU64>>) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    // It reads the body to its end, as whoever verifies a signature does.
    let hook = move |_: Bytes| {
        let taken = taken.clone();
        async move {
            let Some(taken) = taken else { return std::future::pending().await };
            taken.fetch_add(1, Ordering::Relaxed);
            StatusCode::NO_CONTENT
        }
    };
    let router = Router::new().route("/hook", post(hook));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(at)
}

/// Actions for each of `targets`, by turns. How many.
async fn fill(log: &dyn Log, each: u64, targets: u64, projects: u64) -> Result<u64> {
    let (run, now) = (run_number(), eventlog::Clock::now(&SystemClock));
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0..each * targets {
        let action: Action = serde_json::from_value(json!({
            "event_id": format!("a-{run:08x}{number:024x}"),
            // Projects take turns more slowly than targets: each has actions for all of them.
            "project_id": format!("bench-{}", number / targets % projects),
            "action": format!("bench_{}", number % targets),
            "target": "team:bench",
            "rationale": "The bench wants to know how fast this goes",
            "source_ref": format!("https://github.com/o/r/issues/{number}"),
            "issue_ref": format!("github:o/r#{number}"),
            "evaluated_at": now,
            "params": { "title": "An issue as good as any other" },
        }))?;
        batch.push(log::record(action.to_message()?));
        if batch.len() == BATCH {
            log.append(std::mem::take(&mut batch)).await?;
        }
    }
    log.append(batch).await?;
    Ok(each * targets)
}

struct Ran {
    /// From the first that is concluded to the last.
    seconds: f64,
    /// The server's resident memory when a third was concluded, in KiB.
    third_resident: u64,
}

async fn watch(log: &dyn Log, server: &Server, concluded: u64) -> Result<Ran> {
    let (mut began, mut third) = (None, None);
    loop {
        let outcomes: u64 = ends(log, topic::OUTCOMES).await?.into_iter().map(|(_, end)| end).sum();
        if outcomes > 0 {
            began.get_or_insert_with(Instant::now);
        }
        if outcomes >= concluded / 3 && third.is_none() {
            third = Some(process::resident(server.id()?)?);
        }
        if let (Some(began), Some(third_resident)) = (began, third)
            && outcomes >= concluded
        {
            return Ok(Ran { seconds: Instant::elapsed(&began).as_secs_f64(), third_resident });
        }
        if server.began.elapsed() > PATIENCE {
            return Err(format!(
                "{outcomes} of {concluded} are concluded after {} s: see serve.err",
                PATIENCE.as_secs()
            )
            .into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
