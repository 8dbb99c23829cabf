//! `breakdown policy explain`: why a decision is as it is. Reads the log only.
//!
//! ```text
//!   what was named ──subject──┬─ a file ──────────────────────────file───────────────────────────► first event of its issue ─┐
//!                             ├─ an issue ─► gateway-state, its last event (issues) ──known───────► issue as it is known ────┤
//!                             └─ an id ──find──► record ──replay (repeats)──► the decision of then ──────────────────────────┤
//!                                                   └─ no way leads there ──► unexplained: what is on the log                ▼
//!                                                                                            policy::explain, and what came of it, printed
//! ```

mod came_of;
mod file;
mod find;
mod known;
mod replay;
mod subject;
mod unexplained;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use ::policy::{
    Input, Ruleset, State,
    explain::{Case, Explanation, Focus, explain},
};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use eventlog::{Bounds, Clock, Log};
use events::{Action, IssueEvent, topic};
use serde_json::{Value, json};

use self::{
    file::Content,
    find::{Found, Place},
    replay::{Aim, Meant},
    subject::{Id, Lane, Subject},
    unexplained::Unexplained,
};
use crate::{
    became::Became,
    clock::SystemClock,
    commands::{bounds, inert, inert_json},
    config::Settings,
    error::Failure,
    history::{self, Kept},
    logs::{self, Access},
};

/// How many rules are named where there is no such rule.
const MAX_RULES: usize = 20;
/// Said of a file's event, where no policy is named.
const BUILT_IN: &str = "this is the built-in policy, since none is named with --policy; an event on the log is explained by its id, with the \
                        policy of then";

/// Explain a decision: each rule with its condition as a tree, what each part of it saw, which part decided, what was suppressed and
/// until when, and the smallest change that would have made a rule fire or not fire.
///
/// What is on the log, an action or an event, is explained with the policy and the state of that moment. An issue is explained as it
/// is known now. An event in a file is explained as the first that is known of its issue.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The id of an action (a-…) or of an event (gh-…, jr-…, p-…: what a webhook is answered), an issue (github:owner/repo#12,
    /// jira:host/KEY-7), or a file with one issue event or one line of `tail --json` (`-`: standard input)
    #[arg(value_name = "ID|ISSUE|FILE")]
    subject: String,
    /// Explain this rule, and what would make it fire or not fire
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Whose decision, for an id: of the policy in force, or of the one on trial (`serve --shadow`) [default: actions; where an
    /// action is not there, actions-shadow]
    #[arg(long, value_name = "TOPIC")]
    topic: Option<Lane>,
    /// The policy, for a file or an issue [default: the configured policy, else, for an issue, the one in force on the log, else the built-in one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The instant at which it is decided, for a file or an issue [default: when the log took a file's record, else the event's updated_at, else now]
    #[arg(long, value_name = "T")]
    at: Option<DateTime<Utc>>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains, and prints it.
pub(super) async fn run(
    args: Explain,
    settings: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<ExitCode, Failure> {
    let explanation = match Subject::of(&args.subject, Path::exists) {
        Subject::Id(id) => return of_id(&settings()?, &id, args.topic, &args).await,
        Subject::Issue(issue_ref) => {
            without_topic(&args)?;
            known::explained(&settings()?, issue_ref, &args).await?
        }
        Subject::File(path) => match file::read(path)? {
            Content::Action { id, lane } => return of_id(&settings()?, &id, Some(lane), &args).await,
            Content::Event { event, taken_at } => {
                without_topic(&args)?;
                let named = match &args.policy {
                    Some(path) => Some(path.clone()),
                    None => settings()?.policy,
                };
                let ruleset = super::load(named.as_deref())?;
                let mut explanation = of_file(&event, taken_at, &args, &ruleset)?;
                if named.is_none() {
                    explanation.remarks.push(BUILT_IN.into());
                }
                explanation
            }
        },
    };
    if args.json {
        say!("{}", inert_json(&json!(explanation)));
    } else {
        // Texts from outside are quoted in it already.
        say!("{}", explanation.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn without_topic(args: &Explain) -> Result<(), Failure> {
    match args.topic {
        None => Ok(()),
        Some(_) => Err(Failure::usage("--topic is for an id: it says whose decision is meant; leave it out")),
    }
}

/// Explains what has that id on the log, with the policy and the state of then.
async fn of_id(
    settings: &Settings,
    id: &Id,
    lane: Option<Lane>,
    args: &Explain,
) -> Result<ExitCode, Failure> {
    if args.policy.is_some() || args.at.is_some() {
        return Err(Failure::usage(
            "what is on the log is explained by the policy and at the instant that decided it: leave out --policy and --at",
        ));
    }
    let log = logs::open(settings, Access::Read).await?;
    match find::find(&*log, id, lane).await? {
        Found::Action { place, action, lane } => of_action(&*log, &place, *action, lane, args).await,
        Found::Event { place, event: Some(event) } => {
            of_event(&*log, &place, &event, lane.unwrap_or(Lane::InForce), args).await
        }
        Found::Event { place, event: None } => Err(Failure::failed(format!(
            "event {} stands on {place}, but no rule was asked: a gateway cannot read it and makes it a dead letter \
             (`breakdown tail dead-letters`)",
            inert(id.text())
        ))),
    }
}

async fn of_action(
    log: &dyn Log,
    place: &Place,
    action: Action,
    lane: Lane,
    args: &Explain,
) -> Result<ExitCode, Failure> {
    let aim = Aim::Action(&action);
    let Replayed { result, kept, policies, .. } =
        replayed(log, aim, lane, &action.project_id, place, args).await?;
    let (mut fate, mut more) = (String::new(), json!({"record": place, "history": kept}));
    if lane == Lane::InForce {
        let became = Became::read(log, std::slice::from_ref(&action)).await?.of(&action);
        fate = format!("  what became of it: {became}\n");
        more = with(more, json!(became));
    }
    let why = match result {
        Ok(explanation) => {
            let more = with(more, json!({"action": action}));
            print(&explanation, &(unexplained::head(&action) + &fate), "", more, args);
            return Ok(ExitCode::SUCCESS);
        }
        Err(why) => why,
    };
    let id = inert(&action.event_id);
    let unexplained = Unexplained::action(action, log, &policies, why).await?;
    match args.json {
        true => say!("{}", inert_json(&with(json!(unexplained), more))),
        false => say!("{}", format!("{unexplained}\n{fate}").trim_end()),
    }
    Err(Failure::failed(format!(
        "action {id} cannot be explained: {}; {}",
        unexplained.not_explained,
        unexplained.advice()
    )))
}

async fn of_event(
    log: &dyn Log,
    place: &Place,
    event: &IssueEvent,
    lane: Lane,
    args: &Explain,
) -> Result<ExitCode, Failure> {
    let aim = Aim::Event(place.offset);
    let Replayed { result, kept, policies, bounds } =
        replayed(log, aim, lane, &event.project_id, place, args).await?;
    let mut explanation = result.map_err(|why| {
        Failure::failed(format!(
            "event {} stands on {place}, but cannot be explained: {why}; `breakdown groups` says how far the gateway is",
            inert(&event.event_id)
        ))
    })?;
    let groups = log.groups().await?;
    let is_decided = |offset: u64| {
        groups.iter().any(|group| {
            group.group == gateway::GROUP
                && (group.topic.as_str(), group.partition) == (topic::ISSUES, place.partition)
                && group.committed > offset
        })
    };
    if !is_decided(place.offset) {
        explanation.remarks.push(
            "the gateway has not come to this event yet: by the policy in force, this is what it will decide"
                .into(),
        );
    }
    let (mut tail, mut more) = (String::new(), json!({"record": place, "history": kept}));
    if lane == Lane::InForce {
        let answer = match find::answer(log, place, event).await? {
            Some((at, answer)) if is_decided(at.offset) => {
                let (aim, now) = (Aim::Event(at.offset), SystemClock.now());
                let meant = Meant { aim, lane, project: &event.project_id, rule: None, now };
                let told = replay::replay(log, meant, &at, bounds, &policies).await?;
                Some((at, answer, told.map_or_else(|why| vec![why], |explanation| explanation.remarks)))
            }
            Some((at, answer)) => Some((at, answer, vec!["the gateway has not come to it yet".to_owned()])),
            None => None,
        };
        let came_of = came_of::of(log, place, event, answer).await?;
        tail = came_of.to_string();
        more = with(more, json!({"came_of": came_of}));
    }
    print(&explanation, &format!("it stands on {place}\n"), &tail, more, args);
    Ok(ExitCode::SUCCESS)
}

/// What became of a replay.
struct Replayed {
    result: Result<Box<Explanation>, String>,
    kept: Kept,
    policies: history::Policies,
    /// Of the partition of `issues`.
    bounds: Bounds,
}

async fn replayed(
    log: &dyn Log,
    aim: Aim<'_>,
    lane: Lane,
    project: &str,
    place: &Place,
    args: &Explain,
) -> Result<Replayed, Failure> {
    // A key is in the same partition of every topic.
    let all = bounds(log, topic::ISSUES).await?;
    let bounds = all.get(place.partition as usize).copied().unwrap_or(Bounds { first: 0, end: 0 });
    let kept = Kept::of(topic::ISSUES, [(place.partition, bounds)]);
    if let Some(warning) = kept.warning() {
        eprintln!("{warning}");
    }
    let policies = history::policies(log).await?;
    let meant = Meant { aim, lane, project, rule: args.rule.as_deref(), now: SystemClock.now() };
    let mut result = replay::replay(log, meant, place, bounds, &policies).await?;
    if let (Ok(explanation), Lane::OnTrial) = (&mut result, lane) {
        let hash = short(&explanation.policy_hash);
        explanation.remarks.push(match aim {
            Aim::Action(_) => format!("decided by policy {hash}, which was on trial (--shadow): nothing was done"),
            Aim::Event(_) => format!(
                "decided by policy {hash}, the last one that was put on trial (--shadow) before: nothing was done; the log does not say \
                 whether the trial had ended"
            ),
        });
    }
    Ok(Replayed { result, kept, policies, bounds })
}

/// `head` goes before the text, `tail` behind it, `more` into the document.
fn print(explanation: &Explanation, head: &str, tail: &str, more: Value, args: &Explain) {
    match args.json {
        true => say!("{}", inert_json(&with(json!(explanation), more))),
        // Texts from outside are quoted in it already.
        false => say!("{}", format!("{head}\n{explanation}{tail}").trim_end()),
    }
}

/// An object with the fields of another.
fn with(mut document: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (document.as_object_mut(), more) {
        fields.extend(more);
    }
    document
}

fn of_file(
    event: &IssueEvent,
    taken_at: Option<DateTime<Utc>>,
    args: &Explain,
    ruleset: &Ruleset,
) -> Result<Explanation, Failure> {
    check_rule(args.rule.as_deref(), ruleset)?;
    let said = taken_at.or(event.updated_at).or(event.created_at);
    let now = args.at.or(said).unwrap_or_else(|| SystemClock.now());
    let input = Input::Event { event, payload_hash: None };
    let focus = Focus { rule: args.rule.as_deref(), issue_ref: None };
    let mut explanation = explain(&State::default(), Case::Input(input), now, ruleset, focus);
    let look = match taken_at {
        Some(_) => format!(" (`breakdown policy explain {}` does)", inert(&event.event_id)),
        None => String::new(),
    };
    explanation.remarks.push(format!(
        "nothing is known of the issue but what the file says; what the log knows of it is not looked at{look}"
    ));
    Ok(explanation)
}

/// A rule of the policy, or why there is none.
fn check_rule(rule: Option<&str>, ruleset: &Ruleset) -> Result<(), Failure> {
    let Some(unknown) = rule.filter(|rule| ruleset.rule(rule).is_none()) else { return Ok(()) };
    let ids: Vec<_> = ruleset.rules().take(MAX_RULES).map(|rule| rule.id()).collect();
    let more = if ruleset.rules().nth(MAX_RULES).is_some() { ", …" } else { "" };
    Err(Failure::usage(format!(
        "policy {} has no rule {:?}; its rules are {}{more}",
        short(ruleset.hash()),
        inert(unknown),
        ids.join(", ")
    )))
}

/// The first characters of a policy's hash.
fn short(hash: &str) -> String {
    inert(&hash.chars().take(12).collect::<String>())
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
