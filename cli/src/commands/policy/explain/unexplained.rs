//! What can be said of an action to which the kept history does not lead.

use std::fmt::{self, Display, Formatter, Write};

use eventlog::Log;
use events::Action;
use serde::Serialize;

use super::short;
use crate::{commands::inert, error::Failure, history::Policies};

/// How much of a text of an action is shown, in characters.
const MAX_CHARS: usize = 240;

/// What is on the log, but cannot be decided again.
#[derive(Debug, Serialize)]
pub(super) struct Unexplained {
    /// As it is on the log.
    action: Action,
    /// Its rule, as it stood in the policy that decided; none where that policy is not on the log, or cannot be read.
    rule: Option<RuleThen>,
    /// Why it is not explained.
    pub(super) not_explained: String,
}

/// A rule as it stood.
#[derive(Debug, Serialize)]
struct RuleThen {
    id: String,
    line: usize,
    condition: String,
}

impl Unexplained {
    /// `policies`: all that ever held or were on trial.
    pub(super) async fn action(
        action: Action,
        log: &dyn Log,
        policies: &Policies,
        why: String,
    ) -> Result<Self, Failure> {
        let text = match &action.policy_hash {
            Some(hash) => policies.text(log, hash).await?,
            None => None,
        };
        let ruleset = text.and_then(|text| ::policy::load(&text).ok());
        let rule = ruleset.and_then(|ruleset| {
            let rule = ruleset.rule(action.rule.as_deref()?)?;
            Some(RuleThen {
                id: rule.id().to_owned(),
                line: rule.line(),
                condition: rule.condition_text().to_owned(),
            })
        });
        Ok(Self { action, rule, not_explained: why })
    }

    /// Where to look further.
    pub(super) fn advice(&self) -> String {
        let Action { event_id, issue_ref, source_ref, .. } = &self.action;
        let mut advice = format!(
            "`breakdown issue {}` shows what is known now",
            field(issue_ref.as_deref().unwrap_or("REF"))
        );
        if !source_ref.is_empty() {
            _ = write!(advice, ", {} what the tracker says", field(source_ref));
        }
        advice + &format!("; what the executor did: `breakdown tail outcomes --json`, `action_id` {event_id}")
    }
}

impl Display for Unexplained {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&head(&self.action))?;
        let of_policy = self.action.policy_hash.as_deref().unwrap_or("?");
        match &self.rule {
            Some(RuleThen { id, line, condition }) => {
                writeln!(f, "\nrule `{id}` (line {line} of policy {}):", short(of_policy))?;
                // Blanks at the ends belong to the way it stands in the file.
                condition.trim().lines().try_for_each(|line| writeln!(f, "  {}", inert(line)))
            }
            None => writeln!(
                f,
                "\nits rule cannot be shown: policy {} is not on the log, or not of this version",
                short(of_policy)
            ),
        }
    }
}

/// An action in a few lines.
pub(super) fn head(action: &Action) -> String {
    let Action { event_id, action: kind, target, rationale, issue_ref, cause, rule, evaluated_at, .. } =
        action;
    let or_unknown = |text: &Option<String>| field(text.as_deref().unwrap_or("?"));
    let at = evaluated_at.map_or_else(|| "an unknown time".into(), super::time);
    format!(
        "action {event_id}: {} for {}, about {}\n  decided at {at} by rule `{}`, caused by {}\n  {}\n",
        field(kind.as_str()),
        field(target),
        or_unknown(issue_ref),
        or_unknown(rule),
        or_unknown(cause),
        field(rationale),
    )
}

/// A text of an action: an action can come from any writer of the topic.
pub(super) fn field(text: &str) -> String {
    let mut shown: String = inert(text).chars().take(MAX_CHARS).collect();
    if shown.len() < text.len() && text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
