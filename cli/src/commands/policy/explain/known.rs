//! An issue as it is known now.

use ::policy::{
    Ruleset, State,
    explain::{Case, Explanation, Focus, LastEvent, explain},
};
use eventlog::{Clock, Log, partition_of};
use events::topic;

use super::{Explain, check_rule, short};
use crate::{
    clock::SystemClock,
    commands::{bounds, issue},
    config::Settings,
    error::Failure,
    history::{self, Happened},
    logs::{self, Access},
    pauses::Pauses,
};

/// Explains an issue by the policy that is named, configured, in force on the log, or built in.
pub(super) async fn explained(
    settings: &Settings,
    issue_ref: &str,
    args: &Explain,
) -> Result<Explanation, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let (project, state) = issue::known(&*log, issue_ref).await?;
    let ruleset = match (&args.policy, &settings.policy) {
        (None, None) => match in_force(&*log, &state).await? {
            Some(ruleset) => ruleset,
            None => super::super::load(None)?,
        },
        (named, configured) => super::super::load(named.as_deref().or(configured.as_deref()))?,
    };
    check_rule(args.rule.as_deref(), &ruleset)?;
    let last = last_event(&*log, &project, issue_ref).await?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let last_event = last.as_ref().map(|last| LastEvent { event: &last.event, at: last.timestamp });
    let case = Case::Issue { project: &project, issue_ref, last_event };
    let focus = Focus { rule: args.rule.as_deref(), issue_ref: None };
    let mut explanation = explain(&state, case, now, &ruleset, focus);
    if last.is_none() && ruleset.rules().any(::policy::Rule::is_momentary) {
        explanation.remarks.push(
            "none of the issue's events is kept on the log: what rules that read `event` say to one is not shown"
                .to_owned(),
        );
    }
    if let Some(pause) = Pauses::read(&*log).await?.of(&project) {
        explanation.remarks.push(format!("what is decided is held back: {}", pause.in_words(&project)));
    }
    if let Some(hash) = state.policy_hash().filter(|hash| *hash != ruleset.hash()) {
        explanation.remarks.push(format!(
            "the log was last decided by another policy ({}); this is {}",
            short(hash),
            short(ruleset.hash())
        ));
    }
    Ok(explanation)
}

/// The policy that decided a state last, as the topic `policies` has it.
async fn in_force(log: &dyn Log, state: &State) -> Result<Option<Ruleset>, Failure> {
    let Some(hash) = state.policy_hash() else { return Ok(None) };
    let text = history::policies(log).await?.text(log, hash).await?;
    let Some(text) = text else { return Ok(None) };
    ::policy::load(&text).map(Some).map_err(|_| {
        Failure::failed(format!(
            "the policy in force ({}) cannot be read by this version of breakdown: name one that can with --policy",
            short(hash)
        ))
    })
}

/// The last event of an issue that the log keeps.
async fn last_event(log: &dyn Log, project: &str, issue_ref: &str) -> Result<Option<Happened>, Failure> {
    let partitions = bounds(log, topic::ISSUES).await?;
    let partition = partition_of(project.as_bytes(), u32::try_from(partitions.len()).unwrap_or(u32::MAX));
    let Some(bounds) = partitions.get(partition as usize) else { return Ok(None) };
    let mut last = None;
    let mut history = history::Partition::open(log, partition, *bounds).await?;
    while let Some(happened) = history.next().await? {
        let own = |it: &Happened| it.event.project_id == project && it.event.issue_ref == issue_ref;
        last = happened.filter(own).last().or(last);
    }
    Ok(last)
}
