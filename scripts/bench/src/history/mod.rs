//! `bench history`: weeks of an organisation's events on an embedded log, and two policies to try on them.

mod draw;
mod policies;
mod world;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use eventlog::{Clock, Log, embedded::EmbeddedLog};
use serde_json::{Value, json};

use crate::{
    Result,
    log::{self, record},
    measured,
};

/// Records appended at once: they share the log's stamp, as those of a busy moment do.
const FILL: u64 = 32;
const BEGAN_AT: &str = "2026-01-05T08:00:00Z";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data directory of the embedded log; must hold no events yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where `current.yaml` and `candidate.yaml` are written, of a hundred rules
    #[arg(long, value_name = "DIR")]
    policies: PathBuf,
    /// How many events
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// How many issues they are about; one in five stays open
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    issues: u64,
    /// Over how many projects they spread, the first busier than the last
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1000))]
    projects: u64,
    /// Over how many days
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=3650))]
    days: i64,
    /// A history whose titles are taken
    #[arg(long, value_name = "FILE", default_value = "samples/history.ndjson")]
    titles: PathBuf,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

/// A clock that shows what it was last set to.
#[derive(Debug)]
struct HistoryClock(Mutex<DateTime<Utc>>);

impl Clock for HistoryClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let projects = args.projects as usize;
    fs::create_dir_all(&args.policies)?;
    for (name, text) in ["current.yaml", "candidate.yaml"].iter().zip(policies::policies(projects)) {
        fs::write(args.policies.join(name), text)?;
    }
    let titles = titles(&fs::read_to_string(&args.titles)?)?;
    let began_at: DateTime<Utc> = BEGAN_AT.parse()?;
    let clock = Arc::new(HistoryClock(Mutex::new(began_at)));
    let log = EmbeddedLog::hold(&args.data_dir, Arc::<HistoryClock>::clone(&clock))?;
    log.create_topics(&log::topics()).await?;
    let issues = log.topics().await?.into_iter().find(|info| info.name == events::topic::ISSUES);
    if issues.is_some_and(|info| info.partitions.iter().any(|bounds| bounds.end > 0)) {
        return Err("issues has records already: use an empty data directory".into());
    }

    let began = Instant::now();
    let mut world = world::World::new(titles, projects, args.events, args.issues);
    let length = TimeDelta::days(args.days).num_milliseconds();
    let at = |n: u64| {
        began_at + TimeDelta::milliseconds((length as i128 * i128::from(n) / i128::from(args.events)) as i64)
    };
    let mut bytes = 0;
    for first in (0..args.events).step_by(FILL as usize) {
        let last = args.events.min(first + FILL);
        let messages = (first..last).map(|n| world.next(at(n).trunc_subsecs(3)));
        let records = messages.map(|message| Ok(record(message?))).collect::<Result<Vec<_>>>()?;
        bytes += records.iter().filter_map(|record| Some(record.value.as_ref()?.len())).sum::<usize>();
        *clock.0.lock().unwrap_or_else(PoisonError::into_inner) = at(last).trunc_subsecs(3);
        log.append(records).await?;
    }
    measured::print(
        args.label.as_deref(),
        json!({
            "events": args.events,
            "issues": args.issues,
            "projects": projects,
            "days": args.days,
            "event_bytes": bytes as u64 / args.events,
            "seconds": began.elapsed().as_secs_f64(),
        }),
    );
    Ok(())
}

fn titles(history: &str) -> Result<Vec<String>> {
    let mut titles: Vec<String> = history
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["title"].as_str().unwrap_or_default().to_owned()))
        .collect::<Result<_>>()?;
    titles.sort();
    titles.dedup();
    titles.retain(|title| !title.is_empty());
    if titles.is_empty() { Err("the history has no titles".into()) } else { Ok(titles) }
}
