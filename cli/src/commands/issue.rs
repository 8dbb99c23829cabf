//! `breakdown issue REF`: what is known of one issue.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use eventlog::Log;
use events::{Action, topic};
use policy::{Acknowledged, State};
use serde_json::{Value, json};

use crate::{
    args::Issue,
    became::Became,
    commands::{indented, inert_json, read_all},
    config::Settings,
    error::Failure,
    logs::{self, Access},
};

/// How many actions a person is shown.
const NEWEST: usize = 10;

/// Prints facts, deciding rule, timers, actions, outcomes. Reads the log only, so it works beside a server.
pub(crate) async fn run(settings: &Settings, args: Issue) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let (project, state) = known(&*log, &args.issue_ref).await?;
    let issue = state.issue(&project, &args.issue_ref);
    let (mut actions, mut met) = (Vec::<Action>::new(), BTreeSet::new());
    read_all(&*log, topic::ACTIONS, |record| {
        let action = record.value.as_deref().and_then(|value| serde_json::from_slice::<Action>(value).ok());
        let of_this = action.filter(|action| action.issue_ref.as_deref() == Some(&args.issue_ref));
        // Redriven, it stands there again.
        actions.extend(of_this.filter(|action| met.insert(action.event_id.clone())));
    })
    .await?;
    let mut became = Became::read(&*log, &actions).await?;
    let pause = became.pause_of(&project);
    let newest = args.newest.unwrap_or(if args.json { usize::MAX } else { NEWEST });
    let (all, earlier) = (actions.len(), actions.len().saturating_sub(newest));
    let actions: Vec<_> = actions
        .into_iter()
        .skip(earlier)
        .map(|action| {
            let mut shown = json!(became.of(&action));
            shown["action"] = json!(action);
            shown
        })
        .collect();
    let mut whole = json!({"issue_ref": args.issue_ref, "project_id": project, "effects_paused_at": pause.as_ref().map(|pause| pause.at),
        "effects_paused_of": pause.map(|pause| pause.by),
        "acknowledged": issue.and_then(policy::Issue::acknowledged).map(answer), "state": issue, "actions": actions});
    if earlier > 0 {
        whole["earlier_actions"] = earlier.into();
    }
    if args.json {
        say!("{}", inert_json(&whole));
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", indented(&whole, 0).trim_end());
    if earlier > 0 {
        say!("\nthe newest {newest} of {all} actions; all of them: -n {all}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Who answered, when, through what, and how long that took from the last action before.
fn answer(acknowledged: &Acknowledged) -> Value {
    let mut shown = json!(acknowledged);
    let after = acknowledged.after().and_then(|after| u64::try_from(after.num_seconds()).ok());
    if let Some(seconds) = after {
        shown["after"] = humantime::format_duration(Duration::from_secs(seconds)).to_string().into();
    }
    shown
}

/// The state that knows an issue, and the issue's project.
///
/// # Errors
/// When no event named the issue, or the state on the log cannot be read.
pub(crate) async fn known(log: &dyn Log, issue_ref: &str) -> Result<(String, State), Failure> {
    let mut states: BTreeMap<u32, State> = BTreeMap::new();
    let mut broken = None;
    read_all(log, topic::GATEWAY_STATE, |record| {
        if gateway::is_of_shadow(&record.key) {
            return;
        }
        let state = states.entry(record.partition).or_default();
        if let Err(error) = state.restore(&record.key, record.value.as_deref()) {
            broken.get_or_insert((record.partition, record.offset, error));
        }
    })
    .await?;
    if let Some((partition, offset, error)) = broken {
        return Err(Failure::failed(format!(
            "the state on {} partition {partition} offset {offset} cannot be read: {error}; was it written by another \
             version of breakdown?",
            topic::GATEWAY_STATE
        )));
    }
    let project_of = |state: &State| {
        state.issues().find(|(_, known, _)| *known == issue_ref).map(|(project, ..)| project.to_owned())
    };
    states.into_values().find_map(|state| Some((project_of(&state)?, state))).ok_or_else(|| {
        Failure::failed(format!(
            "issue {issue_ref:?} is not known here; a reference looks like github:owner/repo#12 or jira:host/KEY-7, and an issue \
             is known from its first event on"
        ))
    })
}
