//! `breakdown pause`, `breakdown resume`: effects stop and go on; decisions are made all the while.

use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::Args;
use eventlog::{Clock, Log, NewRecord, Position};
use events::{Control, topic};
use serde_json::json;

use crate::{
    clock::SystemClock,
    commands::{bounds, heard, inert, inert_json},
    config::Settings,
    error::Failure,
    logs::{self, Access},
    pauses::Pauses,
};

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Only of this project [default: of all projects]
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Says it on the log, unless it holds already, and waits until the executors have heard.
pub(crate) async fn run(settings: &Settings, args: Pause, pause: bool) -> Result<ExitCode, Failure> {
    let project = args.project.as_deref();
    if project.is_some_and(|project| !(1..=events::MAX_ID_BYTES).contains(&project.len())) {
        return Err(Failure::usage(format!("a project has 1 to {} bytes", events::MAX_ID_BYTES)));
    }
    let log = logs::open(settings, Access::Read).await?;
    log.create_topics(&logs::topics(settings)).await?;
    let partitions = bounds(&*log, topic::CONTROL).await?.len();
    let before = Pauses::read(&*log).await?;
    let paused_at = match project {
        Some(project) => before.own_paused_at(project),
        None => before.all_paused_at(),
    };
    let holds = paused_at.is_some() == pause && (project.is_some() || before.all_agree(partitions));
    let heard = match holds {
        true => None,
        false => {
            let said = say(&*log, project, pause, partitions).await?;
            let said = said.into_iter().map(|at| ((topic::CONTROL, at.partition), at.offset)).collect();
            Some(heard::by(&*log, executor::GROUP, &said).await?)
        }
    };
    let after = Pauses::read(&*log).await?;
    let all = after.all_paused_at().is_some();
    let named: Vec<&str> = after.projects().map(|(project, _)| project).collect();
    // What was asked for, and does not hold: it is let go, and all are not.
    let still = !pause && project.is_some() && all;
    if args.json {
        let said = json!({"project_id": project, "paused": pause, "changed": !holds, "heard": heard,
            "all_paused": all, "paused_projects": named});
        say!("{}", inert_json(&said));
        return Ok(ExitCode::from(u8::from(still)));
    }
    let of = project.map_or("all projects".to_owned(), |project| format!("project {}", inert(project)));
    match (holds, pause, paused_at) {
        (true, true, at) => {
            let since = at.map_or(String::new(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
            say!("nothing new: effects of {of} are paused since {since}");
        }
        (true, false, _) => say!("nothing new: effects of {of} were not paused"),
        (false, true, _) => {
            say!("effects of {of} are paused; actions are decided and wait, at most 24 hours")
        }
        (false, false, _) if still => {
            say!(
                "{of} is paused by name no more; it stays paused as long as all projects are: breakdown resume"
            );
        }
        (false, false, _) => say!("effects of {of} go on"),
    }
    if !pause && project.is_none() && !named.is_empty() {
        say!("paused by name, and still so: {} (resume --project …)", inert(&named.join(", ")));
    }
    if heard == Some(false) {
        eprintln!("no executor has heard it yet: it holds from the start of the next one");
    }
    if let Some(project) = project
        && !holds
        && settings.project_id != project
        && !settings.projects.contains_key(project)
    {
        eprintln!(
            "the configuration here names no project {}; look whether it is written so",
            inert(project)
        );
    }
    if still && holds {
        eprintln!("{of} stays paused as long as all projects are: breakdown resume");
    }
    Ok(ExitCode::from(u8::from(still)))
}

/// Puts it on `control`; of all projects, in every partition.
async fn say(
    log: &dyn Log,
    project: Option<&str>,
    pause: bool,
    partitions: usize,
) -> Result<Vec<Position>, Failure> {
    let message = Control::new(project, pause, SystemClock.now()).to_message();
    let message =
        message.map_err(|error| Failure::failed(format!("this cannot be written as JSON: {error}")))?;
    let places: Vec<Option<u32>> = match project {
        Some(_) => vec![None],
        None => (0_u32..).take(partitions).map(Some).collect(),
    };
    let record = |partition| NewRecord {
        topic: message.topic.to_owned(),
        partition,
        key: message.key.clone().into(),
        value: Some(message.value.clone().into()),
        headers: message.headers.clone(),
    };
    Ok(log.append(places.into_iter().map(record).collect()).await?)
}
