//! `breakdown policy explain`: why a decision is as it is.
//!
//! Reads the log only.

mod repeats;
mod replay;
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
use eventlog::{Clock, Log};
use events::IssueEvent;
use serde_json::{Value, json};

use self::replay::Told;
use crate::{
    clock::SystemClock,
    commands::{inert, inert_json, issue, publish},
    config::Settings,
    error::Failure,
    history,
    logs::{self, Access},
};

/// The largest file with an event, in bytes.
const MAX_EVENT_BYTES: u64 = 8 << 20;
/// How much is told of why an event cannot be read, in characters.
const MAX_REASON_CHARS: usize = 240;
/// How many rules are named where there is no such rule.
const MAX_RULES: usize = 20;

/// Explain a decision: each rule with its condition as a tree, what each part of it saw, which part decided, what was suppressed and
/// until when, and the smallest change that would have made a rule fire or not fire.
///
/// An action from the past is explained with the policy and the state of that moment, from the log. An issue is explained as it is known
/// now, by the configured policy. An event in a file is explained as the first that is known of its issue.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// An action's id (a-…), an issue (github:owner/repo#12, jira:host/KEY-7), or a file with one issue event
    #[arg(value_name = "ACTION|ISSUE|FILE")]
    subject: String,
    /// Explain this rule, and what would make it fire or not fire
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// The policy, for an event or an issue [default: the configured policy, else, for an issue, the one in force on the log, else the built-in one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The instant at which it is decided, for an event or an issue [default: the event's updated_at, else now]
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
    let subject = args.subject.as_str();
    let explanation = if let Some(id) = action_id(subject) {
        if args.policy.is_some() || args.at.is_some() {
            return Err(Failure::usage(
                "a past action is explained by the policy and at the instant that made it: leave out --policy and --at",
            ));
        }
        return of_action(&settings()?, &id, &args).await;
    } else if subject.starts_with("github:") || subject.starts_with("jira:") {
        of_issue(&settings()?, &args).await?
    } else {
        let ruleset = match &args.policy {
            Some(path) => super::load(Some(path))?,
            None => super::load(settings()?.policy.as_deref())?,
        };
        of_file(Path::new(subject), &args, &ruleset)?
    };
    if args.json {
        say!("{}", inert_json(&json!(explanation)));
    } else {
        // Texts from outside are quoted in it already.
        say!("{}", explanation.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of an action, in the case that ids have.
fn action_id(subject: &str) -> Option<String> {
    let id = subject.to_ascii_lowercase();
    let hex = id.strip_prefix("a-")?;
    (hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

async fn of_action(settings: &Settings, id: &str, args: &Explain) -> Result<ExitCode, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    match replay::tell(&*log, id, args.rule.as_deref(), SystemClock.now()).await? {
        Told::Explained { action, explanation } if args.json => {
            let mut document = json!(explanation);
            document["action"] = json!(action);
            say!("{}", inert_json(&document));
        }
        Told::Explained { action, explanation } => {
            say!("{}\n{}", unexplained::head(&action), explanation.to_string().trim_end());
        }
        Told::Unmet(unmet) => {
            match args.json {
                true => say!("{}", inert_json(&json!(unmet))),
                false => say!("{}", unmet.to_string().trim_end()),
            }
            return Err(Failure::failed(format!(
                "action {id} cannot be explained: {}; {}",
                unmet.not_explained,
                unmet.advice()
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
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

fn of_file(path: &Path, args: &Explain, ruleset: &Ruleset) -> Result<Explanation, Failure> {
    check_rule(args.rule.as_deref(), ruleset)?;
    let event = read_event(path)?;
    let now = args.at.or(event.updated_at).or(event.created_at).unwrap_or_else(|| SystemClock.now());
    let input = Input::Event { event: &event, payload_hash: None };
    let focus = Focus { rule: args.rule.as_deref(), issue_ref: None };
    let mut explanation = explain(&State::default(), Case::Input(input), now, ruleset, focus);
    explanation.remarks.push(
        "nothing is known of the issue but what the file says; what the log knows of it is not looked at"
            .to_owned(),
    );
    Ok(explanation)
}

fn read_event(path: &Path) -> Result<IssueEvent, Failure> {
    use std::{fs::File, io::Read};

    let name = inert(&path.display().to_string());
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_EVENT_BYTES + 1).read_to_end(&mut text)).map_err(|error| {
        Failure::usage(format!(
            "{name} cannot be read: {error}; `policy explain` takes an action's id (a- and 32 hex digits), an issue such as \
             github:owner/repo#12 or jira:host/KEY-7, or a file with one event, as `breakdown publish` takes it"
        ))
    })?;
    if text.len() as u64 > MAX_EVENT_BYTES {
        return Err(Failure::usage(format!("{name}: an event may have at most {MAX_EVENT_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!(
            "{name} is not one JSON object ({:?} error at {place}); a file holds one event, as `breakdown publish` takes it",
            error.classify()
        ))
    })?;
    publish::complete(value).map_err(|why| {
        // It may quote the file.
        let reason: String = inert(&why).chars().take(MAX_REASON_CHARS).collect();
        Failure::usage(format!("{name}: {reason}"))
    })
}

async fn of_issue(settings: &Settings, args: &Explain) -> Result<Explanation, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let (project, state) = issue::known(&*log, &args.subject).await?;
    let ruleset = match (&args.policy, &settings.policy) {
        (None, None) => match in_force(&*log, &state).await? {
            Some(ruleset) => ruleset,
            None => super::load(None)?,
        },
        (named, configured) => super::load(named.as_deref().or(configured.as_deref()))?,
    };
    check_rule(args.rule.as_deref(), &ruleset)?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let case = Case::Issue { project: &project, issue_ref: &args.subject, last_event: None };
    let focus = Focus { rule: args.rule.as_deref(), issue_ref: None };
    let mut explanation = explain(&state, case, now, &ruleset, focus);
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
    let changes = history::policies(log).await?;
    let change = changes.into_values().flatten().find(|change| change.policy_hash == hash);
    Ok(change.and_then(|change| ::policy::load(&change.policy).ok()))
}

/// The first characters of a policy's hash.
fn short(hash: &str) -> String {
    inert(&hash.chars().take(12).collect::<String>())
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
