//! `breakdown policy backtest`: a candidate and the current policy over the same history.
//!
//! The log is read only, and what decides lives in `policy`, which sees neither the log nor an executor.

mod shown;

use std::{
    fs::File,
    io::{BufReader, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use ::policy::{
    Ruleset,
    backtest::{Both, Replay, Report},
};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args;
use eventlog::{Bounds, Clock, Log};
use events::topic;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    clock::SystemClock,
    commands::{bounds, inert, inert_json},
    config::Settings,
    error::Failure,
    history::{self, Happened, Skipped},
    logs::{self, Access},
};

/// How far ahead of this machine's clock a history may be: the clock that stamped it can be another.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);
/// How many events pass between two looks at the progress bar.
const TICK: u64 = 1024;

/// Replay history through a candidate and the current policy, and show what differs.
///
/// Each event of the log (or of a file) goes through both policies, and so does each timer that would have come due between
/// them, in the order in which a gateway that is never away decides them. Nothing is written, and nobody is reached.
///
/// An action is `added` when only the candidate makes it, and `removed` when only the current policy does. Where both make one of the same kind
/// for the same issue at that time, it is one action: `changed` when its rule, its target or its meeting differs, else the same. An escalation
/// in the place of a nudge is one added and one removed.
/// Under the candidate people would have reacted to other actions, and other events would have come: this is the direct difference only.
#[derive(Debug, Args)]
#[command(after_long_help = JSON_HELP)]
pub(super) struct Backtest {
    /// The policy file to try
    candidate: PathBuf,
    /// The policy to compare with [default: the configured policy, else the built-in one]
    #[arg(long, value_name = "CURRENT")]
    against: Option<PathBuf>,
    /// Report only what is decided from then on; all that came before is still folded. A time (2026-02-03T08:15:00Z) or a
    /// date, which is its beginning (UTC)
    #[arg(long, value_name = "T", value_parser = parse_from)]
    from: Option<DateTime<Utc>>,
    /// End the replay there: timers due by then still fire. A time, or a date, which is its end (UTC) [default: the last
    /// event's stamp]
    #[arg(long, value_name = "T", value_parser = parse_to)]
    to: Option<DateTime<Utc>>,
    /// `log`, or a file with one event a line (`-`: standard input): bare events as `publish` takes them, stamped updated_at, else
    /// created_at; or records as `tail issues --json` prints them, which keep their stamp and partition
    #[arg(long, value_name = "FILE|log", default_value = "log")]
    input: PathBuf,
    /// Examples of each kind of difference, for each rule
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(..=1000))]
    examples: u16,
    /// Exit 1 when more actions are added
    #[arg(long, value_name = "N")]
    max_added: Option<u64>,
    /// Exit 1 when more actions are removed
    #[arg(long, value_name = "N")]
    max_removed: Option<u64>,
    /// Exit 1 when more actions are changed
    #[arg(long, value_name = "N")]
    max_changed: Option<u64>,
    /// Print one JSON document (--help says what is in it)
    #[arg(long)]
    json: bool,
}

const JSON_HELP: &str = "\
Exit codes: 0; 1 when a budget (--max-added, --max-removed, --max-changed) is exceeded or the log cannot be read; 2 for a policy with mistakes, a
bad line in a file, or wrong usage.

--json prints one document. The same history and policies always give the same text.
  current, candidate   {name, hash}: the policies
  input                \"log\", or the file's name
  from, to             what is reported: from (null: the beginning) to the end of the replay (null: there was no event)
  history              events (folded), reported (of these, from `from` on), duplicates, late and old_answers (of the reported), issues (known
                       at the end), timers and unnamed_errors (conditions that erred beyond those counted by rule) {current, candidate},
                       first_at, last_at
  gone                 partitions of `issues` whose first records the log no longer keeps (retention), and how many records these were:
                       what was known of their issues is missing, to both policies
  skipped              unreadable (dead letters), other_topics (lines of a file), raised (stamps of a file that went back)
  total                actions {current, candidate}, added, removed, changed, unchanged, reworded (of the unchanged: another
                       rationale)
  rules                by rule id: the same counts; defined {current, candidate}; condition_errors, suppressed (by cooldown),
                       unresolved (no target), capped (over the issue's actions of an hour), each {current, candidate}; examples {added, removed, changed}, each
                       {at, project_id, issue_ref, title, cause, current, candidate, differs}, where current and candidate are
                       {rule, action, target, rationale}. What one rule does in one policy and another in the other
                       counts as changed for both rules
  projects             by project: the same counts
  targets              by owner:NAME or team:NAME: actions {current, candidate}, busiest_day {current, candidate} of {day (UTC), actions}
  budgets              max_added, max_removed, max_changed, where given: {limit, actual, exceeded}";

/// A policy and what it is called.
struct Named {
    name: String,
    ruleset: Arc<Ruleset>,
}

/// Records that the log no longer keeps, so that the replay did not begin with the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Gone {
    /// Partitions of `issues` that do not begin with their first record.
    partitions: u64,
    /// How many records they had before.
    records: u64,
}

impl Gone {
    fn before(partitions: &[Bounds]) -> Self {
        let cut = partitions.iter().filter(|bounds| bounds.first > 0);
        cut.fold(Self::default(), |gone, bounds| Self {
            partitions: gone.partitions + 1,
            records: gone.records + bounds.first,
        })
    }
}

/// What was replayed, and how.
struct Replayed {
    report: Report,
    skipped: Skipped,
    gone: Gone,
    /// The end of the replay.
    to: Option<DateTime<Utc>>,
    /// The policy that was in force on the log last.
    last_policy: Option<String>,
}

/// Replays, reports, and says whether the budgets hold.
pub(super) async fn run(
    args: Backtest,
    settings: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<ExitCode, Failure> {
    if args.from.zip(args.to).is_some_and(|(from, to)| from > to) {
        return Err(Failure::usage("--from lies after --to: nothing would be reported"));
    }
    let from_log = args.input.as_os_str() == "log";
    // A file against a named policy needs no configuration.
    let settings = (from_log || args.against.is_none()).then(settings).transpose()?;
    let configured = settings.as_ref().and_then(|settings| settings.policy.as_deref());
    let policies = Both {
        current: named(args.against.as_deref().or(configured))?,
        candidate: named(Some(&args.candidate))?,
    };
    let replay = || {
        let rulesets = Both {
            current: Arc::clone(&policies.current.ruleset),
            candidate: Arc::clone(&policies.candidate.ruleset),
        };
        Replay::new(rulesets, args.from, usize::from(args.examples))
    };
    let replayed = match settings.filter(|_| from_log) {
        Some(settings) => {
            let log = logs::open(&settings, Access::Read).await?;
            replay_log(log, args.to, replay).await?
        }
        None => replay_file(&args.input, args.to, replay).await?,
    };

    let total = &replayed.report.total;
    let budgets = [
        ("max_added", args.max_added, total.added),
        ("max_removed", args.max_removed, total.removed),
        ("max_changed", args.max_changed, total.changed),
    ];
    let budgets: Vec<_> =
        budgets.into_iter().filter_map(|(name, limit, actual)| Some((name, limit?, actual))).collect();
    if args.json {
        let name = |policy: &Named| json!({"name": policy.name, "hash": policy.ruleset.hash()});
        let budget = |&(name, limit, actual): &(&str, u64, u64)| {
            (name.to_owned(), json!({"limit": limit, "actual": actual, "exceeded": actual > limit}))
        };
        let Skipped { unreadable, other_topics, raised } = replayed.skipped;
        let mut document = json!({
            "current": name(&policies.current),
            "candidate": name(&policies.candidate),
            "input": args.input.display().to_string(),
            "from": args.from,
            "to": replayed.to,
            "gone": replayed.gone,
            "skipped": {"unreadable": unreadable, "other_topics": other_topics, "raised": raised},
            "budgets": budgets.iter().map(budget).collect::<serde_json::Map<_, _>>(),
        });
        let report = serde_json::to_value(&replayed.report)
            .map_err(|error| Failure::failed(format!("the report cannot be written as JSON: {error}")))?;
        if let (Some(document), serde_json::Value::Object(report)) = (document.as_object_mut(), report) {
            document.extend(report);
        }
        say!("{}", inert_json(&document));
    } else {
        say!("{}", shown::text(&args, &policies, &replayed));
    }
    let exceeded: Vec<_> = budgets
        .iter()
        .filter(|(_, limit, actual)| actual > limit)
        .map(|(name, limit, actual)| {
            let (flag, what) = (name.replace('_', "-"), name.trim_start_matches("max_"));
            format!("{actual} actions are {what}, and --{flag} allows {limit}")
        })
        .collect();
    match exceeded.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::failed(format!("over budget: {}", exceeded.join("; ")))),
    }
}

fn named(path: Option<&Path>) -> Result<Named, Failure> {
    // What is odd about a policy is for `policy check` to say.
    let (name, ruleset) = super::load_named(path)?;
    Ok(Named { name, ruleset: Arc::new(ruleset) })
}

/// Partitions are independent: as many at a time as there are cores.
async fn replay_log(
    log: Arc<dyn Log>,
    to: Option<DateTime<Utc>>,
    replay: impl Fn() -> Replay,
) -> Result<Replayed, Failure> {
    let partitions = bounds(&*log, topic::ISSUES).await?;
    let gone = Gone::before(&partitions);
    let policies = history::policies(&*log).await?;
    let progress =
        progress(partitions.iter().map(|bounds| bounds.end.saturating_sub(bounds.first)).sum(), "events");
    let cores = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
    let mut reading = JoinSet::new();
    for (partition, bounds) in (0_u32..).zip(partitions) {
        let (log, progress, cores) = (Arc::clone(&log), progress.clone(), Arc::clone(&cores));
        let mut replay = replay();
        reading.spawn(async move {
            let _core = cores.acquire_owned().await;
            let mut last = None;
            let mut since = 0;
            let each = |happened: Happened| {
                if to.is_some_and(|to| happened.timestamp > to) {
                    return ControlFlow::Break(());
                }
                take(&mut replay, &happened);
                last = Some(happened.timestamp);
                since += 1;
                if since == TICK {
                    progress.inc(std::mem::take(&mut since));
                }
                ControlFlow::Continue(())
            };
            let skipped = history::read_partition(&*log, partition, bounds, each).await?;
            Ok::<_, Failure>((partition, replay, last, skipped))
        });
    }
    let mut replays = Vec::new();
    let mut skipped = Skipped::default();
    while let Some(read) = reading.join_next().await {
        let (partition, replay, last, passed) = read.map_err(broken)??;
        skipped.unreadable += passed.unreadable;
        replays.push((partition, replay, last));
    }
    replays.sort_by_key(|(partition, ..)| *partition);
    let to = to.or(replays.iter().filter_map(|(.., last)| *last).max());
    let report = finish(replays.into_iter().map(|(_, replay, _)| replay), to).await?;
    progress.finish_and_clear();
    Ok(Replayed { report, skipped, gone, to, last_policy: policies.last().map(str::to_owned) })
}

async fn replay_file(
    input: &Path,
    to: Option<DateTime<Utc>>,
    replay: impl Fn() -> Replay,
) -> Result<Replayed, Failure> {
    let name = inert(&input.display().to_string());
    let unreadable = |error| Failure::usage(format!("{name} cannot be read: {error}"));
    let (file, length): (Box<dyn Read>, _) = match input.as_os_str() == "-" {
        true => (Box::new(std::io::stdin()), 0),
        false => {
            let file = File::open(input).map_err(unreadable)?;
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            (Box::new(file), length)
        }
    };
    let progress = progress(length, "bytes");
    let input = BufReader::with_capacity(1 << 16, progress.wrap_read(file));
    let mut replays: Vec<(u32, Replay)> = Vec::new();
    let mut last: Option<DateTime<Utc>> = None;
    let skipped = history::read_file(input, &name, SystemClock.now() + MAX_AHEAD, |happened| {
        if to.is_some_and(|to| happened.timestamp > to) {
            return;
        }
        last = last.max(Some(happened.timestamp));
        let place = match replays.binary_search_by_key(&happened.partition, |(partition, _)| *partition) {
            Ok(place) => place,
            Err(place) => {
                replays.insert(place, (happened.partition, replay()));
                place
            }
        };
        if let Some((_, replay)) = replays.get_mut(place) {
            take(replay, &happened);
        }
    })?;
    let to = to.or(last);
    let report = finish(replays.into_iter().map(|(_, replay)| replay), to).await?;
    progress.finish_and_clear();
    Ok(Replayed { report, skipped, gone: Gone::default(), to, last_policy: None })
}

fn take(replay: &mut Replay, happened: &Happened) {
    replay.take(&happened.event, happened.payload_hash.as_deref(), happened.timestamp);
}

/// Every partition's time passes to the same end.
async fn finish(replays: impl Iterator<Item = Replay>, to: Option<DateTime<Utc>>) -> Result<Report, Failure> {
    let finish = |replay: Replay| {
        tokio::task::spawn_blocking(move || replay.finish(to.unwrap_or(DateTime::UNIX_EPOCH)))
    };
    let finishing: Vec<_> = replays.map(finish).collect();
    let mut report = Report::default();
    for partition in finishing {
        report.merge(partition.await.map_err(broken)?);
    }
    Ok(report)
}

fn broken(error: tokio::task::JoinError) -> Failure {
    Failure::failed(format!("the replay broke off: {error}"))
}

/// Shown on a terminal only.
fn progress(length: u64, unit: &str) -> ProgressBar {
    let progress = if length == 0 { ProgressBar::no_length() } else { ProgressBar::new(length) };
    let template = match (unit, length) {
        (_, 0) => "{spinner} {elapsed}".to_owned(),
        ("bytes", _) => "{wide_bar} {bytes} of {total_bytes}, {eta} left".to_owned(),
        _ => format!("{{wide_bar}} {{human_pos}} of {{human_len}} {unit}, {{per_sec}}, {{eta}} left"),
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

fn parse_from(text: &str) -> Result<DateTime<Utc>, String> {
    parse_time(text, NaiveTime::MIN)
}

fn parse_to(text: &str) -> Result<DateTime<Utc>, String> {
    // The log's stamps are whole milliseconds.
    parse_time(text, NaiveTime::from_hms_milli_opt(23, 59, 59, 999).unwrap_or_default())
}

fn parse_time(text: &str, of_date: NaiveTime) -> Result<DateTime<Utc>, String> {
    let date = text.parse::<NaiveDate>().map(|date| date.and_time(of_date).and_utc());
    date.or_else(|_| text.parse())
        .map_err(|_| "write a time as 2026-02-03T08:15:00Z, or a date as 2026-02-03".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_without_its_beginning_is_told() {
        let bounds = |first, end| Bounds { first, end };
        assert_eq!(Gone::before(&[bounds(0, 7), bounds(0, 0)]), Gone::default());
        let gone = Gone::before(&[bounds(3, 7), bounds(0, 9), bounds(20, 20)]);
        assert_eq!(gone, Gone { partitions: 2, records: 23 });
        assert_eq!(json!(gone), json!({"partitions": 2, "records": 23}));
        assert_eq!(shown::gone(Gone::default()), None);
        let text = shown::gone(gone).unwrap();
        assert!(text.contains("2 partitions") && text.contains("23 records"), "{text}");
    }
}
