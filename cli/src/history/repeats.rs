//! Which repeats a gateway decided: the actions that it made of them are witnesses.
//!
//! A gateway that was away lets all but the last of the repeats that it missed give way. Nothing on the log says so, but those that
//! made something are on `actions` (a shadow's on `actions-shadow`), caused by the repeat's timer.

use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
};

use ::policy::{Timer, TimerKind};
use chrono::{DateTime, Utc};
use eventlog::Log;
use events::{Action, id};

use crate::{
    commands::{bounds, scan},
    error::Failure,
};

/// The repeats that made an action.
#[derive(Debug, Default)]
pub(crate) struct FiredRepeats {
    /// By issue and rule; in milliseconds, as a timer's id has them.
    made: HashMap<[String; 2], BTreeSet<i64>>,
    /// When the first action that is kept was decided.
    first_at: Option<DateTime<Utc>>,
    /// Whether actions before that one are gone.
    is_cut: bool,
}

impl FiredRepeats {
    /// Reads the actions of a partition of a topic; of one project, where one is named.
    pub(crate) async fn read(
        log: &dyn Log,
        topic: &str,
        partition: u32,
        project: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut repeats = Self::default();
        let Some(bounds) = bounds(log, topic).await?.get(partition as usize).copied() else {
            return Ok(repeats);
        };
        scan(log, topic, &[(partition, bounds.first)], |record| {
            let value = record.value.as_deref().unwrap_or_default();
            if let Some(action) = serde_json::from_slice::<Action>(value)
                .ok()
                .filter(|it| project.is_none_or(|project| it.project_id == project))
            {
                repeats.hear(&action);
            }
            ControlFlow::Continue(())
        })
        .await?;
        if bounds.first > 0 {
            repeats.cut();
        }
        Ok(repeats)
    }

    /// Hears of an action, in the order of the log.
    fn hear(&mut self, action: &Action) {
        let Some(at) = action.evaluated_at else { return };
        self.first_at.get_or_insert(at);
        if let (Some(cause), Some(issue_ref), Some(rule)) = (&action.cause, &action.issue_ref, &action.rule)
            && cause.starts_with("t-")
            && *cause == id::timer(issue_ref, rule, TimerKind::Repeat.as_str(), at)
        {
            let key = [issue_ref, rule].map(String::clone);
            self.made.entry(key).or_default().insert(at.timestamp_millis());
        }
    }

    /// Says that actions from the beginning are gone.
    fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether a repeat that would make an action gave way to a later one.
    pub(crate) fn gave_way(&self, timer: &Timer) -> bool {
        let is_kept = !self.is_cut || self.first_at.is_some_and(|first_at| first_at <= timer.due_at);
        let due_at = timer.due_at.timestamp_millis();
        timer.kind == TimerKind::Repeat
            && is_kept
            && !self.of(timer).is_some_and(|repeats| repeats.contains(&due_at))
    }

    /// The first later one that made an action, by `latest`.
    pub(crate) fn after(&self, timer: &Timer, latest: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let due_at = timer.due_at.timestamp_millis();
        let next = *self.of(timer)?.range(due_at + 1..).next()?;
        DateTime::from_timestamp_millis(next).filter(|at| *at <= latest)
    }

    fn of(&self, timer: &Timer) -> Option<&BTreeSet<i64>> {
        self.made.get(&[timer.issue_ref.to_string(), timer.rule.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use events::ActionKind;
    use serde_json::Map;

    use super::*;

    fn timer(at: &str) -> Timer {
        Timer {
            due_at: at.parse().unwrap(),
            project_id: "alpha".into(),
            issue_ref: "github:o/r#1".into(),
            rule: "again".into(),
            kind: TimerKind::Repeat,
        }
    }

    fn made_by(timer: &Timer) -> Action {
        Action {
            event_id: id::action(&timer.id(), &timer.issue_ref, &timer.rule, 0),
            project_id: timer.project_id.to_string(),
            action: ActionKind::PostNudge,
            target: "owner:kim".into(),
            rationale: String::new(),
            source_ref: String::new(),
            issue_ref: Some(timer.issue_ref.to_string()),
            cause: Some(timer.id()),
            rule: Some(timer.rule.to_string()),
            policy_hash: None,
            evaluated_at: Some(timer.due_at),
            params: Map::new(),
        }
    }

    const TEN: &str = "2026-03-02T10:00:00Z";
    const NOON: &str = "2026-03-02T12:00:00Z";
    const ONE: &str = "2026-03-02T13:00:00Z";

    #[test]
    fn a_repeat_that_made_nothing_gave_way_to_the_next_that_did() {
        let mut repeats = FiredRepeats::default();
        for at in [NOON, ONE] {
            repeats.hear(&made_by(&timer(at)));
        }
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert!(repeats.gave_way(&timer(TEN)));
        assert!(!repeats.gave_way(&timer(NOON)));
        assert_eq!(repeats.after(&timer(TEN), at(ONE)), Some(at(NOON)));
        assert_eq!(repeats.after(&timer(NOON), at(ONE)), Some(at(ONE)));
        assert_eq!(repeats.after(&timer(TEN), at(TEN)), None, "later than what is asked about");
        assert_eq!(repeats.after(&timer(ONE), at("2026-04-01T00:00:00Z")), None);
        let others = [
            Timer { kind: TimerKind::At, ..timer(TEN) },
            Timer { rule: "other".into(), ..timer(NOON) },
            Timer { issue_ref: "github:o/r#2".into(), ..timer(NOON) },
        ];
        assert_eq!(others.map(|timer| repeats.gave_way(&timer)), [false, true, true]);
    }

    #[test]
    fn only_a_repeat_of_that_instant_is_a_witness() {
        let repeat = timer(NOON);
        let at = Timer { kind: TimerKind::At, ..timer(NOON) };
        let by_event = Action { cause: Some("gh-1".into()), ..made_by(&repeat) };
        let later = Action { evaluated_at: Some(ONE.parse().unwrap()), ..made_by(&repeat) };
        for action in [made_by(&at), by_event, later] {
            let mut repeats = FiredRepeats::default();
            repeats.hear(&action);
            assert!(repeats.gave_way(&repeat), "{action:?}");
        }
    }

    #[test]
    fn of_what_was_cut_off_nothing_is_said() {
        let mut repeats = FiredRepeats::default();
        repeats.cut();
        assert!(!repeats.gave_way(&timer(NOON)), "nothing is kept");
        repeats.hear(&made_by(&timer(NOON)));
        assert!(!repeats.gave_way(&timer(TEN)), "it may have been there");
        assert!(repeats.gave_way(&timer(ONE)), "it would be there");
    }
}
