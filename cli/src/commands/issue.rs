//! `breakdown issue REF`: what is known of one issue.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use eventlog::Log;
use events::{Action, Outcome, topic};
use policy::{Acknowledged, State};
use serde_json::{Value, json};

use crate::{
    args::Issue,
    commands::{indented, inert_json, read_all},
    config::Settings,
    error::Failure,
    logs::{self, Access},
    pauses::Pauses,
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
    let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    read_all(&*log, topic::OUTCOMES, |record| {
        let outcome = record.value.as_deref().and_then(|value| serde_json::from_slice::<Outcome>(value).ok());
        if let Some((id, outcome)) = outcome.and_then(|outcome| Some((outcome.action_id.clone()?, outcome))) {
            outcomes.entry(id).or_default().push(outcome);
        }
    })
    .await?;
    let mut pending = pending(&*log).await?;
    let paused_at = Pauses::read(&*log).await?.paused_at(&project);
    let newest = args.newest.unwrap_or(if args.json { usize::MAX } else { NEWEST });
    let (all, earlier) = (actions.len(), actions.len().saturating_sub(newest));
    let actions: Vec<_> = actions
        .into_iter()
        .skip(earlier)
        .map(|action| {
            let outcomes = outcomes.remove(&action.event_id).unwrap_or_default();
            let mut shown = json!({"action": action, "outcomes": outcomes});
            if let Some(pending) = pending.remove(&action.event_id) {
                shown["pending"] = pending;
            }
            shown
        })
        .collect();
    let mut whole = json!({"issue_ref": args.issue_ref, "project_id": project, "effects_paused_at": paused_at,
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

/// How `executor-state` says that something is still to be done.
const STILL_TO_DO: [&str; 2] = ["pending", "deferred"];

/// What the executor has still to do, by action id: attempts so far, and when the next one is due; or behind which target it waits to be
/// taken up.
async fn pending(log: &dyn Log) -> Result<BTreeMap<String, Value>, Failure> {
    let mut pending = BTreeMap::new();
    read_all(log, topic::EXECUTOR_STATE, |record| {
        let key = String::from_utf8_lossy(&record.key).into_owned();
        let state = record.value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok());
        match state {
            Some(Value::Object(mut fields))
                if STILL_TO_DO.map(Value::from).contains(fields.get("state").unwrap_or(&Value::Null)) =>
            {
                // Shown already.
                fields.remove("record");
                pending.insert(key, Value::Object(fields));
            }
            _ => _ = pending.remove(&key),
        }
    })
    .await?;
    let prefix = executor::deferred_key("");
    let of = |key: String| key.strip_prefix(&prefix).map(str::to_owned).unwrap_or(key);
    Ok(pending.into_iter().map(|(key, fields)| (of(key), fields)).collect())
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
