//! `breakdown policy explain`: why a decision is as it is.
//!
//! Reads the log only. A past action is met again: its partition's history is folded from the first record on, under the policies
//! that held then, until the decision that made it.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ::policy::{
    Decided, Input, Repeats, Ruleset, State,
    explain::{Ask, Case, Explanation, explain},
    fire_timers, switch_policy, take_event,
};
use chrono::{DateTime, Utc};
use clap::Args;
use eventlog::{Clock, Log};
use events::{Action, IssueEvent, PolicyChange, topic};
use serde_json::{Value, json};

use crate::{
    clock::SystemClock,
    commands::{bounds, inert, inert_json, issue, publish, read_all},
    config::Settings,
    error::Failure,
    history::{self, Happened},
    logs::{self, Access},
};

/// The largest file with an event, in bytes.
const MAX_EVENT_BYTES: u64 = 8 << 20;

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
    /// The policy, for an event or an issue [default: the configured policy, else the built-in one]
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
    let explanation = if is_action_id(subject) {
        if args.policy.is_some() || args.at.is_some() {
            return Err(Failure::usage(
                "a past action is explained by the policy and at the instant that made it: leave out --policy and --at",
            ));
        }
        of_action(&settings()?, subject, args.rule.as_deref()).await?
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

fn is_action_id(subject: &str) -> bool {
    subject
        .strip_prefix("a-")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A rule of the policy, or why there is none.
fn check_rule(rule: Option<&str>, ruleset: &Ruleset) -> Result<(), Failure> {
    match rule.filter(|rule| ruleset.rule(rule).is_none()) {
        Some(unknown) => Err(Failure::usage(format!(
            "the policy has no rule {:?}; `--rule` names one by its id",
            inert(unknown)
        ))),
        None => Ok(()),
    }
}

fn of_file(path: &Path, args: &Explain, ruleset: &Ruleset) -> Result<Explanation, Failure> {
    check_rule(args.rule.as_deref(), ruleset)?;
    let event = read_event(path)?;
    let now = args.at.or(event.updated_at).or(event.created_at).unwrap_or_else(|| SystemClock.now());
    let input = Input::Event { event: &event, payload_hash: None };
    let ask = Ask { rule: args.rule.as_deref(), issue_ref: None };
    Ok(explain(&State::default(), Case::Input(input), now, ruleset, ask))
}

fn read_event(path: &Path) -> Result<IssueEvent, Failure> {
    use std::{fs::File, io::Read};

    let name = inert(&path.display().to_string());
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_EVENT_BYTES + 1).read_to_end(&mut text)).map_err(|error| {
        Failure::usage(format!(
            "{name} cannot be read: {error}; `policy explain` takes an action's id (a-… with 32 hex digits), an issue such as \
             github:owner/repo#12, or a file with an issue event"
        ))
    })?;
    if text.len() as u64 > MAX_EVENT_BYTES {
        return Err(Failure::usage(format!("{name}: an event may have at most {MAX_EVENT_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(&text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!("{name} is not one JSON object ({:?} error at {place})", error.classify()))
    })?;
    publish::complete(value).map_err(|why| Failure::usage(format!("{name}: {}", inert(&why))))
}

async fn of_issue(settings: &Settings, args: &Explain) -> Result<Explanation, Failure> {
    let ruleset = super::load(args.policy.as_deref().or(settings.policy.as_deref()))?;
    check_rule(args.rule.as_deref(), &ruleset)?;
    let log = logs::open(settings, Access::Read).await?;
    let (project, state) = issue::known(&*log, &args.subject).await?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let case = Case::Issue { project: &project, issue_ref: &args.subject };
    let ask = Ask { rule: args.rule.as_deref(), issue_ref: None };
    let mut explanation = explain(&state, case, now, &ruleset, ask);
    if let Some(hash) = state.policy_hash().filter(|hash| *hash != ruleset.hash()) {
        explanation.remarks.push(format!(
            "the log was last decided by another policy ({}); this is {}",
            short(hash),
            short(ruleset.hash())
        ));
    }
    Ok(explanation)
}

async fn of_action(settings: &Settings, id: &str, rule: Option<&str>) -> Result<Explanation, Failure> {
    let log = logs::open(settings, Access::Read).await?;
    let mut found: Option<(u32, Action)> = None;
    read_all(&*log, topic::ACTIONS, |record| {
        let action = record.value.as_deref().and_then(|value| serde_json::from_slice::<Action>(value).ok());
        found =
            found.take().or(action.filter(|action| action.event_id == id).map(|it| (record.partition, it)));
    })
    .await?;
    let Some((partition, action)) = found else {
        return Err(Failure::failed(format!(
            "the topic {} holds no action {id}; `breakdown tail {}` lists them, the id is `event_id`",
            topic::ACTIONS,
            topic::ACTIONS
        )));
    };
    let changes = history::policies(&*log).await?.remove(&partition).unwrap_or_default();
    let mut search = Search::new(&action, changes, rule);
    let bounds = bounds(&*log, topic::ISSUES).await?.get(partition as usize).copied();
    if let Some(bounds) = bounds {
        history::read_partition(&*log, partition, bounds, |happened| search.event(&happened)).await?;
    }
    search.end();
    if let Some(failure) = search.failure {
        return Err(failure);
    }
    search.explanation.ok_or_else(|| {
        let rule = action.rule.as_deref().unwrap_or("?");
        let at = action.evaluated_at.map_or("an unknown time".to_owned(), |at| at.to_rfc3339());
        Failure::failed(format!(
            "action {id} was decided at {at} by rule {:?} of policy {}, but what is kept on the log does not lead to it again: \
             records older than the retention are gone; `breakdown issue {}` shows what is known now",
            inert(rule),
            short(action.policy_hash.as_deref().unwrap_or("?")),
            inert(action.issue_ref.as_deref().unwrap_or("REF"))
        ))
    })
}

/// A partition's history on its way to one action.
struct Search<'a> {
    action: &'a Action,
    rule: Option<&'a str>,
    changes: VecDeque<PolicyChange>,
    state: State,
    ruleset: Option<Ruleset>,
    explanation: Option<Explanation>,
    failure: Option<Failure>,
}

impl<'a> Search<'a> {
    fn new(action: &'a Action, changes: Vec<PolicyChange>, rule: Option<&'a str>) -> Self {
        Self {
            action,
            rule,
            changes: changes.into(),
            state: State::default(),
            ruleset: None,
            explanation: None,
            failure: None,
        }
    }

    fn is_over(&self) -> bool {
        self.explanation.is_some() || self.failure.is_some()
    }

    fn event(&mut self, happened: &Happened) -> ControlFlow<()> {
        while !self.is_over()
            && let Some(change) = self.changes.front()
            && change.offsets.get(topic::ISSUES).is_none_or(|first| *first <= happened.offset)
        {
            self.change();
        }
        if let (false, Some(ruleset)) = (self.is_over(), self.ruleset.take()) {
            let mut meet =
                Meet { action: self.action, rule: self.rule, ruleset: &ruleset, now: happened.timestamp };
            let taken = take_event(
                &mut self.state,
                &happened.event,
                happened.payload_hash.as_deref(),
                happened.timestamp,
                Repeats::Each,
                &ruleset,
                &mut |decided| meet.look(decided),
            );
            self.conclude(taken);
            self.ruleset = Some(ruleset);
        }
        if self.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// After the last event: what timers did since.
    fn end(&mut self) {
        while !self.is_over() && !self.changes.is_empty() {
            self.change();
        }
        if let Some(until) = self.action.evaluated_at {
            self.timers(until);
        }
    }

    /// The next change of the policy takes effect, after the timers that the one before it decided.
    fn change(&mut self) {
        let Some(change) = self.changes.pop_front() else { return };
        if let Some(clock) = change.clock {
            self.timers(clock);
        }
        if self.is_over() {
            return;
        }
        match ::policy::load(&change.policy) {
            Ok(ruleset) => {
                let now = self.state.clock().unwrap_or(DateTime::UNIX_EPOCH);
                let decision = switch_policy(&self.state, now, &ruleset);
                self.state.apply(decision);
                self.ruleset = Some(ruleset);
            }
            Err(_) => {
                self.failure = Some(Failure::failed(format!(
                    "the policy {} of {} on the topic {} cannot be read by this version of breakdown: explain with the version \
                     that ran then",
                    short(&change.policy_hash),
                    change.at.to_rfc3339(),
                    topic::POLICIES
                )));
            }
        }
    }

    fn timers(&mut self, until: DateTime<Utc>) {
        let Some(ruleset) = self.ruleset.take().filter(|_| !self.is_over()) else { return };
        let mut meet = Meet { action: self.action, rule: self.rule, ruleset: &ruleset, now: until };
        let fired =
            fire_timers(&mut self.state, until, usize::MAX, Repeats::Each, &ruleset, &mut |decided| {
                meet.look(decided)
            });
        self.conclude(fired);
        self.ruleset = Some(ruleset);
    }

    fn conclude(&mut self, result: Result<(), Box<Result<Explanation, Failure>>>) {
        match result.map_err(|met| *met) {
            Ok(()) => {}
            Err(Ok(explanation)) => self.explanation = Some(explanation),
            Err(Err(failure)) => self.failure = Some(failure),
        }
    }
}

/// Looks at each decision whether it is the one that made the action.
struct Meet<'a> {
    action: &'a Action,
    rule: Option<&'a str>,
    ruleset: &'a Ruleset,
    now: DateTime<Utc>,
}

impl Meet<'_> {
    /// Ends the fold, before the decision is applied, when this is the one.
    fn look(&mut self, decided: Decided<'_>) -> Result<(), Box<Result<Explanation, Failure>>> {
        if !decided.decision.actions.iter().any(|action| action.event_id == self.action.event_id) {
            return Ok(());
        }
        if let Err(failure) = check_rule(self.rule, self.ruleset) {
            return Err(Box::new(Err(failure)));
        }
        let now = match decided.input {
            Input::Timer(timer) => timer.due_at,
            _ => self.now,
        };
        let ask = Ask { rule: self.rule, issue_ref: self.action.issue_ref.as_deref() };
        let mut explanation = explain(decided.before, Case::Input(decided.input), now, self.ruleset, ask);
        if self.action.policy_hash.as_deref() != Some(self.ruleset.hash()) {
            explanation.remarks.push(format!(
                "the action says that policy {} decided it",
                short(self.action.policy_hash.as_deref().unwrap_or("?"))
            ));
        }
        Err(Box::new(Ok(explanation)))
    }
}

fn short(hash: &str) -> String {
    inert(&hash.chars().take(12).collect::<String>())
}
