//! What became of actions, as the log tells it: their outcomes, and what is still to be done, when, and what holds it back.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::{self, Display, Formatter},
    ops::ControlFlow,
};

use eventlog::{Log, Record, partition_of};
use events::{Action, Outcome, topic};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    commands::{bounds, inert, scan},
    error::Failure,
    pauses::{Pause, Pauses},
};

/// How `executor-state` says that something is still to be done.
const STILL_TO_DO: [&str; 2] = ["pending", "deferred"];
/// How much of a text is shown, in characters.
const MAX_CHARS: usize = 240;

/// What the log says of some actions.
#[derive(Debug, Default)]
pub(crate) struct Became {
    outcomes: BTreeMap<String, Vec<Outcome>>,
    waiting: BTreeMap<String, Map<String, Value>>,
    pauses: Pauses,
}

/// What became of one action.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Fate {
    /// Its outcomes, one for each round.
    outcomes: Vec<Outcome>,
    /// What is still to be done: how often it was tried, and when it is again; or behind which target it waits; or since when a pause holds
    /// it back, and of what that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Map<String, Value>>,
    /// The pause in words.
    #[serde(skip)]
    held_back: Option<String>,
}

impl Became {
    /// Of these actions.
    pub(crate) async fn read(log: &dyn Log, actions: &[Action]) -> Result<Self, Failure> {
        let ids: HashSet<&str> = actions.iter().map(|action| action.event_id.as_str()).collect();
        let projects: BTreeSet<&str> = actions.iter().map(|action| action.project_id.as_str()).collect();
        let mut became = Self { pauses: Pauses::read(log).await?, ..Self::default() };
        each(log, topic::OUTCOMES, &projects, |record| {
            let value = record.value.as_deref().unwrap_or_default();
            let outcome = serde_json::from_slice::<Outcome>(value).ok();
            if let Some((id, outcome)) = outcome.and_then(|it| Some((it.action_id.clone()?, it)))
                && ids.contains(id.as_str())
            {
                became.outcomes.entry(id).or_default().push(outcome);
            }
        })
        .await?;
        let prefix = executor::deferred_key("");
        // An action that is taken up stands under another key than before.
        let mut entries: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        each(log, topic::EXECUTOR_STATE, &projects, |record| {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            if !ids.contains(key.strip_prefix(&prefix).unwrap_or(&key)) {
                return;
            }
            let state = record.value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok());
            match state {
                Some(Value::Object(fields))
                    if STILL_TO_DO.map(Value::from).contains(fields.get("state").unwrap_or(&Value::Null)) =>
                {
                    entries.insert(key, fields);
                }
                _ => _ = entries.remove(&key),
            }
        })
        .await?;
        for (key, mut fields) in entries {
            // The action, which whoever asks has.
            fields.remove("record");
            became.waiting.insert(key.strip_prefix(&prefix).unwrap_or(&key).to_owned(), fields);
        }
        Ok(became)
    }

    /// Of one of them; to be asked once.
    pub(crate) fn of(&mut self, action: &Action) -> Fate {
        let outcomes = self.outcomes.remove(&action.event_id).unwrap_or_default();
        let mut pending = self.waiting.remove(&action.event_id);
        let pause = self.pauses.of(&action.project_id).filter(|pause| match &pending {
            Some(_) => true,
            // Not taken up: no executor runs, or it holds back so many that it reads no more of them.
            None => outcomes.is_empty() && action.evaluated_at.is_some_and(|at| at >= pause.at),
        });
        if let Some(Pause { at, by }) = &pause {
            let pending = pending.get_or_insert_default();
            // Nothing is attempted then.
            pending.remove("next_attempt_at");
            for (field, value) in
                [("state", json!("held_back")), ("paused_at", json!(at)), ("paused_of", json!(by))]
            {
                pending.insert(field.into(), value);
            }
        }
        let held_back = pause.map(|pause| pause.in_words(&action.project_id));
        Fate { outcomes, pending, held_back }
    }

    /// Since when effects of a project are paused, and by which words.
    pub(crate) fn pause_of(&self, project: &str) -> Option<Pause> {
        self.pauses.of(project)
    }
}

/// Each record that stands now where these projects' stand; none where there is no such topic yet.
async fn each(
    log: &dyn Log,
    topic: &str,
    projects: &BTreeSet<&str>,
    mut see: impl FnMut(Record),
) -> Result<(), Failure> {
    if projects.is_empty() || !log.topics().await?.iter().any(|info| info.name == topic) {
        return Ok(());
    }
    let partitions = bounds(log, topic).await?;
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    let theirs: BTreeSet<u32> =
        projects.iter().map(|project| partition_of(project.as_bytes(), count)).collect();
    let from = (0_u32..).zip(partitions).filter(|(partition, _)| theirs.contains(partition));
    let from: Vec<_> = from.map(|(partition, bounds)| (partition, bounds.first)).collect();
    scan(log, topic, &from, |record| {
        see(record);
        ControlFlow::Continue(())
    })
    .await
}

impl Display for Fate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |name: &str| {
            let value = self.pending.as_ref().and_then(|pending| pending.get(name));
            value.map(|value| value.as_str().map_or_else(|| value.to_string(), shown)).unwrap_or_default()
        };
        if let Some(pause) = &self.held_back {
            return write!(f, "held back: {pause}");
        }
        if self.pending.is_some() {
            return match (text("state").as_str(), text("attempts").as_str()) {
                ("deferred", _) => write!(f, "waits until those before it have ended, behind {}", text("by")),
                (_, "0" | "") => f.write_str("not done yet, nor tried"),
                (_, times) => {
                    let times = if times == "1" { "once".to_owned() } else { format!("{times} times") };
                    match text("last_error").as_str() {
                        "" => write!(f, "not done yet: tried {times}"),
                        why => {
                            let at = text("next_attempt_at");
                            write!(f, "not done yet: tried {times}, again at {at}, because {why}")
                        }
                    }
                }
            };
        }
        match self.outcomes.last() {
            // What came too late leaves no letter.
            Some(outcome) if outcome.is_failure() && outcome.error.as_deref() != Some(Outcome::EXPIRED) => {
                write!(f, "{} (`breakdown dead-letters list` has it)", in_words(outcome))
            }
            Some(outcome) => f.write_str(&in_words(outcome)),
            None => f.write_str("no outcome yet"),
        }
    }
}

/// An outcome in a line: whether it was done, why not, and what it does to the risk.
pub(crate) fn in_words(outcome: &Outcome) -> String {
    let how = match (outcome.ack, outcome.error.as_deref()) {
        (true, None) if outcome.attempts == Some(0) => {
            "done without a call: there was nothing to tell, or nobody to be told".to_owned()
        }
        (true, None) => "done".to_owned(),
        (true, Some(why)) if outcome.attempts == Some(0) => format!("done without a call: {}", shown(why)),
        (true, Some(why)) => format!("done without a further call: {}", shown(why)),
        (false, Some(Outcome::DRY_RUN)) => "dry run, nothing was sent".to_owned(),
        (false, Some(Outcome::EXPIRED)) => "expired, it was too old when its turn came".to_owned(),
        (false, Some(Outcome::WITHDRAWN)) => Outcome::WITHDRAWN.to_owned(),
        (false, why) => format!("failed: {}", shown(why.unwrap_or("for an unknown reason"))),
    };
    let made = outcome.reference.as_deref().map(|made| format!(", made {}", shown(made)));
    format!("{how}, risk {:+.2}{}", outcome.risk_delta.0 as f64 / 1000.0, made.unwrap_or_default())
}

fn shown(text: &str) -> String {
    inert(text).chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_in_words() {
        let outcome = |more: Value| {
            let mut fields =
                json!({"event_id": "o-1", "project_id": "alpha", "risk_delta": 0.1, "ack": false});
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            in_words(&serde_json::from_value(fields).unwrap())
        };
        for (more, says) in [
            (
                json!({"ack": true, "risk_delta": -0.3, "ref": "n-1\u{1b}"}),
                "done, risk -0.30, made n-1\u{FFFD}",
            ),
            (
                json!({"ack": true, "risk_delta": 0.0, "attempts": 0}),
                "done without a call: there was nothing to tell",
            ),
            (json!({"error": "dry_run", "risk_delta": 0.0}), "dry run, nothing was sent, risk +0.00"),
            (json!({"error": "expired", "risk_delta": 0.0}), "expired, it was too old"),
            (
                json!({"error": Outcome::WITHDRAWN, "risk_delta": -0.1, "attempts": 0, "supersedes": "o-0"}),
                "withdrawn: the issue was closed meanwhile, so this is not done any more, risk -0.10",
            ),
            (
                json!({"ack": true, "risk_delta": 0.0, "attempts": 3, "error": "not taken back: a later page"}),
                "done without a further call: not taken back: a later page, risk +0.00",
            ),
            (json!({"error": "slack answered 500"}), "failed: slack answered 500, risk +0.10"),
            (json!({}), "failed: for an unknown reason"),
        ] {
            let told = outcome(more);
            assert!(told.starts_with(says), "{told}");
        }
    }

    #[test]
    fn what_is_in_the_dead_letters_is_said_of_what_failed_alone() {
        let fate = |error: &str, risk: f64, supersedes: Option<&str>| {
            let said = json!({"event_id": "o-1", "project_id": "alpha", "risk_delta": risk, "ack": false, "error": error,
                              "supersedes": supersedes});
            let outcomes = vec![serde_json::from_value(said).unwrap()];
            Fate { outcomes, ..Fate::default() }.to_string()
        };
        for (error, risk, supersedes, has_letter) in [
            ("slack answered 500", 0.1, None, true),
            ("slack answered 500", 0.0, Some("o-0"), true),
            (Outcome::WITHDRAWN, -0.1, Some("o-0"), false),
            (Outcome::EXPIRED, 0.0, None, false),
            (Outcome::EXPIRED, -0.1, Some("o-0"), false),
            (Outcome::DRY_RUN, -0.1, Some("o-0"), false),
        ] {
            let told = fate(error, risk, supersedes);
            assert_eq!(told.contains("dead-letters list"), has_letter, "{told}");
        }
    }

    #[test]
    fn what_waits_says_how_often_it_was_tried() {
        let fate = |pending: Value| {
            let pending = Some(pending.as_object().unwrap().clone());
            Fate { pending, ..Fate::default() }.to_string()
        };
        assert_eq!(
            fate(json!({"attempts": 0, "next_attempt_at": "2026-03-02T10:00:05Z"})),
            "not done yet, nor tried"
        );
        assert_eq!(
            fate(json!({"attempts": 1, "next_attempt_at": "2026-03-02T10:00:05Z"})),
            "not done yet: tried once"
        );
        assert_eq!(
            fate(
                json!({"attempts": 2, "next_attempt_at": "2026-03-02T10:00:05Z", "last_error": "slack answered 500"})
            ),
            "not done yet: tried 2 times, again at 2026-03-02T10:00:05Z, because slack answered 500"
        );
    }
}
