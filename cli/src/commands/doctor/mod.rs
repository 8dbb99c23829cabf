//! `breakdown doctor`: whether what is kept is whole, agrees with itself, and will go on being kept. Reads only.
//!
//! ```text
//!   house ── configuration, disk, permissions ─────────────┐
//!   embedded log: Snapshot (one moment, beside a serve) ───┤ database, tables, offsets, timestamps, headers, committed offsets
//!   broker: its topics' settings ──────────────────────────┤
//!   either, read as a Log: records ► acting ► state ───────┴─► one finding a check: ok, warning, error, and what to do
//!   spool ─ a snapshot of its own
//! ```
//!
//! Memory holds the state of one partition twice, and some forty bytes for each outcome of one partition: sixteen of its id's
//! hash, in a table that has room for as many again.

mod acting;
mod broker;
mod finding;
mod house;
mod records;
mod spool;
mod state;

use std::{path::Path, process::ExitCode};

use chrono::TimeDelta;
use eventlog::{Clock, GroupOffset, Log, LogError, TopicInfo, embedded::Snapshot};
use events::topic;

use self::finding::{Finding, Report};
use crate::{clock::SystemClock, config::Settings, error::Failure, logs};

/// How far the last record's stamp may lie ahead of this machine's clock.
const AHEAD: TimeDelta = TimeDelta::seconds(5);

/// Prints a finding for each check; exit 1 where one is an error.
pub(crate) async fn run(settings: &Settings, as_json: bool) -> Result<ExitCode, Failure> {
    let mut report = Report::new(as_json);
    house::check(settings, &mut report);
    match &settings.redpanda {
        None => match Snapshot::take(&settings.data_dir) {
            Ok(snapshot) => embedded(settings, &snapshot, &mut report).await?,
            Err(error) => report.tell(refused("log", &error, restore(&settings.data_dir))),
        },
        Some(redpanda) => match broker::check(settings, redpanda, &mut report).await {
            Ok(log) => contents(&log, &mut report, true).await,
            Err(failure) => report.tell(Finding::error(
                "broker",
                vec![failure.to_string()],
                "bring the broker back, or correct its address",
            )),
        },
    }
    spool::check(settings, &mut report).await;
    Ok(report.end())
}

/// What to do about whatever else is found in a damaged file.
const DAMAGED: &str = "mend `database` first: this may come of the damage alone";
/// What to do about a damaged file.
const RESTORE: &str =
    "stop serve, keep a copy of the data directory, and restore log.db and log.db-wal together from a backup";

/// What to do about a log that cannot be opened.
fn restore(directory: &Path) -> &'static str {
    let there = |name: &str| directory.join(name).exists();
    let is_empty = directory.join("log.db").metadata().map_or(true, |metadata| metadata.len() == 0);
    match (is_empty, there("log.db-wal"), there("serve.lock")) {
        (false, ..) => RESTORE,
        (true, true, _) => {
            "start nothing on it, keep a copy of log.db-wal, and put the log.db that it belongs to back"
        }
        // Somebody served from here.
        (true, false, true) => RESTORE,
        (true, false, false) => {
            "name the directory that serve uses; where it never ran, start breakdown serve: it makes a log"
        }
    }
}

fn refused(check: &'static str, error: &LogError, todo: &'static str) -> Finding {
    Finding::error(check, vec![error.to_string()], todo)
}

async fn embedded(settings: &Settings, snapshot: &Snapshot, report: &mut Report) -> Result<(), Failure> {
    for examined in snapshot.examine().await? {
        let is_damage = examined.is_damage();
        report.tell(match examined.flaws.is_empty() {
            true => Finding::ok(examined.what, examined.sound),
            false => Finding::error(examined.what, examined.flaws, RESTORE),
        });
        if is_damage {
            report.distrust(Some(DAMAGED));
        }
    }
    if let Ok(topics) = snapshot.topics().await {
        report.tell(topics_as_configured(settings, &topics));
    }
    contents(snapshot, report, false).await;
    report.distrust(None);
    Ok(())
}

/// What stands on the log, whichever it is. `moves`: it is written meanwhile.
async fn contents(log: &dyn Log, report: &mut Report, moves: bool) {
    let (topics, groups) = match known(log).await {
        Ok(known) => known,
        Err(error) => return report.tell(refused("records", &error, "see above")),
    };
    let latest = records::check(log, &topics, &groups, report).await;
    acting::check(log, &topics, &groups, report).await;
    state::check(log, &topics, report, moves).await;
    let now = SystemClock.now();
    report.tell(match latest {
        Some(at) if at - now > AHEAD => Finding::warning(
            "clock",
            vec![format!(
                "the last record was stamped {at}, and here it is {now}: timers and stamps stand still until the clock has caught up"
            )],
            "correct the clock of this machine (or of the broker), and keep it synchronised",
        ),
        Some(at) => Finding::ok("clock", &format!("not behind the last record, of {at}")),
        None => Finding::ok("clock", "there is no record to compare it with"),
    });
}

async fn known(log: &dyn Log) -> Result<(Vec<TopicInfo>, Vec<GroupOffset>), LogError> {
    let mut groups = log.group(gateway::GROUP).await?;
    groups.extend(log.group(executor::GROUP).await?);
    Ok((log.topics().await?, groups))
}

/// Whether the topics are there, with as many partitions as the configuration says.
fn topics_as_configured(settings: &Settings, topics: &[TopicInfo]) -> Finding {
    let mut flaws = Vec::new();
    let mut missing = Vec::new();
    for spec in logs::topics(settings) {
        match topics.iter().find(|info| info.name == spec.name) {
            None => missing.push(spec.name),
            Some(info) if info.partitions.len() != spec.partitions as usize => flaws.push(format!(
                "{} has {} partitions, and [log] partitions is {}",
                spec.name,
                info.partitions.len(),
                spec.partitions
            )),
            Some(_) => {}
        }
    }
    match (flaws.is_empty(), missing.is_empty()) {
        (false, _) => Finding::error(
            "topics",
            flaws,
            "set [log] partitions to what the topics have: the number is fixed when they are made",
        ),
        (true, false) => Finding::warning(
            "topics",
            vec![format!("not there yet: {}", missing.join(", "))],
            "start breakdown serve once: it makes them",
        ),
        (true, true) => Finding::ok(
            "topics",
            &format!("all {} are there, each with {} partitions", topic::ALL.len(), settings.partitions),
        ),
    }
}
