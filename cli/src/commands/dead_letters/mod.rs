//! `breakdown dead-letters …`: what could not be read or delivered, and doing it again.

mod kept;
mod list;
mod originals;
mod redrive;
mod show;

use std::{collections::BTreeMap, process::ExitCode};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::{Args, Subcommand};
use eventlog::Clock;

use self::kept::Kept;
use crate::{clock::SystemClock, commands::inert, config::Settings, error::Failure};

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them: those that are open, oldest first
    List(list::List),
    /// Print one with its original and what became of it
    Show(show::Show),
    /// Put their originals on their topics again, after counting them and asking
    Redrive(redrive::Redrive),
}

pub(crate) async fn run(settings: &Settings, args: DeadLetters) -> Result<ExitCode, Failure> {
    match args.command {
        Command::List(args) => list::run(settings, args).await,
        Command::Show(args) => show::run(settings, args).await,
        Command::Redrive(args) => redrive::run(settings, args).await,
    }
}

/// Which letters are meant.
#[derive(Debug, Args)]
struct Filter {
    /// Only those of this reason: undeliverable, unreadable, wrong_key, gone or unfit
    #[arg(long)]
    reason: Option<String>,
    /// Only those whose original stood on this topic, or was to: issues, actions, outcomes or control
    #[arg(long)]
    topic: Option<String>,
    /// Only those of this project
    #[arg(long)]
    project: Option<String>,
    /// Only those since then: 2026-11-20, 2026-11-20T08:00:00Z, or so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<DateTime<Utc>>,
}

impl Filter {
    fn takes(&self, kept: &Kept) -> bool {
        let letter = &kept.letter;
        self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.topic.as_deref().is_none_or(|topic| topic == letter.origin.topic())
            && self.project.is_none() | (self.project == letter.project_id)
            && self.since.is_none_or(|since| letter.at >= since)
    }
}

/// How many there are, by reason and topic; nothing of none.
fn kinds<'k>(letters: impl Iterator<Item = &'k Kept>) -> Option<String> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    letters.for_each(|kept| {
        *counts.entry((&kept.letter.reason, kept.letter.origin.topic())).or_default() += 1;
    });
    let counts: Vec<_> = counts
        .iter()
        .map(|((reason, topic), count)| format!("{count} {} of {}", inert(reason), inert(topic)))
        .collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

/// Which letters there are instead, where none fits what was asked for.
fn unfit<'k>(letters: impl Iterator<Item = &'k Kept>, what: &str) -> Option<String> {
    let letters: Vec<&Kept> = letters.collect();
    let kinds = kinds(letters.iter().copied())?;
    Some(format!("none of the {} dead letters {what} fits; {what}: {kinds}", letters.len()))
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    let ago = || humantime::parse_duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
    let at = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    let day = || text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    at.or_else(|| day().map(|midnight| midnight.and_utc()))
        .or_else(|| ago().and_then(|ago| SystemClock.now().checked_sub_signed(ago)))
        .ok_or_else(|| {
            "write a day (2026-11-20), an instant (2026-11-20T08:00:00Z) or how long ago (2h)".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_an_instant_or_so_long_ago() {
        assert_eq!(since("2026-11-20").unwrap().to_rfc3339(), "2026-11-20T00:00:00+00:00");
        assert_eq!(since("2026-11-20T09:00:00+01:00").unwrap().to_rfc3339(), "2026-11-20T08:00:00+00:00");
        let ago = SystemClock.now() - since("2h").unwrap();
        assert!((7200..7260).contains(&ago.num_seconds()), "{ago}");
        for wrong in ["", "yesterday", "2026-13-01", "99999999999y"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
