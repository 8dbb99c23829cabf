//! `breakdown dead-letters list`.

use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Filter,
    kept::{self, Kept},
    kinds, unfit,
};
use crate::{
    commands::{inert, inert_json},
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Also those that were redriven
    #[arg(long)]
    all: bool,
    /// One JSON object a letter
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, args: List) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let mut letters = kept::read(&*log).await?;
    letters.retain(|kept| args.all || kept.redriven.is_none());
    let what = if args.all { "in all" } else { "open" };
    let instead = unfit(letters.iter(), what);
    letters.retain(|kept| args.filter.takes(kept));
    if args.json {
        letters.iter().for_each(|kept| say!("{}", inert_json(&to_json(kept))));
    } else {
        letters.iter().for_each(|kept| say!("{}", to_line(kept)));
    }
    match (kinds(letters.iter()), instead) {
        (None, Some(instead)) => eprintln!("{instead}"),
        (_, _) if args.json => {}
        (Some(kinds), _) => say!("{} {what}: {kinds}", letters.len()),
        (None, None) => say!("no dead letter{}", if args.all { "" } else { " is open" }),
    }
    Ok(ExitCode::SUCCESS)
}

fn to_line(kept: &Kept) -> String {
    let letter = &kept.letter;
    let project = letter.project_id.as_deref().unwrap_or("-");
    let mut line = format!(
        "{} {} {} {} {}: {}",
        letter.event_id,
        letter.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        letter.reason,
        kept.origin(),
        project,
        letter.detail
    );
    if letter.round > 0 {
        line += &format!(" (redriven {} times before)", letter.round);
    }
    if let Some(note) = &kept.redriven {
        line += &format!(" [redriven {}]", note.at.to_rfc3339_opts(SecondsFormat::Secs, true));
    } else if let Err(why) = kept.way() {
        line += &format!(" [cannot be redriven: {why}]");
    }
    inert(&line)
}

/// The letter without its original; how often it stands there; the note that it was redriven; why it cannot be.
pub(super) fn to_json(kept: &Kept) -> Value {
    let mut letter = json!(kept.letter);
    if let Some(fields) = letter.as_object_mut() {
        fields.remove("original");
    }
    json!({"letter": letter, "times": kept.times, "redriven": kept.redriven, "not_redrivable": kept.way().err()})
}
