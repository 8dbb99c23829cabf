//! `breakdown dead-letters show`.

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use clap::Args;
use events::{DeadLetter, Original};
use serde_json::json;

use super::{
    kept::{self, Kept},
    list::to_json,
    originals,
};
use crate::{
    commands::{indented, inert_json},
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The letter, d-…; its first digits are enough
    #[arg(value_name = "ID")]
    id: String,
    /// Nothing but the original, as it was
    #[arg(long, conflicts_with = "json")]
    original: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, args: Show) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let letters = kept::read(&*log).await?;
    let kept = find(&letters, &args.id)?;
    let mut whole = originals::letters(&*log, &BTreeSet::from([kept.place])).await?;
    let letter = whole.remove(&kept.place).ok_or_else(|| {
        Failure::failed(format!("the letter {} has just been removed", kept.letter.event_id))
    })?;
    if args.original {
        return original(&letter);
    }
    let mut shown = to_json(kept);
    // Text that is JSON is shown as such.
    shown["letter"]["original"] = match &letter.original {
        Original::Utf8(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Original::Base64(_) => json!(letter.original),
    };
    match args.json {
        true => say!("{}", inert_json(&shown)),
        false => say!("{}", indented(&shown, 0).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The letter that `id` means.
pub(super) fn find<'k>(letters: &'k [Kept], id: &str) -> Result<&'k Kept, Failure> {
    let mut meant = letters.iter().filter(|kept| !id.is_empty() && kept.letter.event_id.starts_with(id));
    match (meant.next(), meant.next()) {
        (Some(kept), None) => Ok(kept),
        (None, _) => Err(Failure::failed(format!(
            "there is no dead letter {id:?}; breakdown dead-letters list --all names those that there are"
        ))),
        (Some(_), Some(_)) => Err(Failure::failed(format!("more than one dead letter begins with {id:?}"))),
    }
}

fn original(letter: &DeadLetter) -> Result<ExitCode, Failure> {
    let bytes = letter.original.bytes().ok_or_else(|| Failure::failed("the original is no base64"))?;
    // Nobody reading any more is not an error.
    let _ = std::io::stdout().lock().write_all(&bytes);
    if (bytes.len() as u64) < letter.original_length {
        eprintln!("of {} bytes the first {} were kept", letter.original_length, bytes.len());
    }
    Ok(ExitCode::SUCCESS)
}
