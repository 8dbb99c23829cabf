//! Timers that should have been decided and were not.
//!
//! A timer of a partition that is held waits for two things only: the records before it, and its instant. When nothing is left to
//! read and the instant has passed by more than [`STALLED_AFTER`], something stands against it that nobody noticed. It is
//! logged and counted once, until it is decided.

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Overdue;
use policy::{State, Timer};
use serde::Serialize;

/// By how much a timer may be overdue. At the end of its partition it is released [`crate::END_MARGIN`] after its instant, and a step of
/// a thousand timers takes less than a second.
pub const STALLED_AFTER: TimeDelta = TimeDelta::seconds(60);
/// What is overdue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// How many timers.
    pub timers: usize,
    /// When the first of them was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Its partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The rule that set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A partition that is held.
pub(crate) struct Held<'a> {
    pub(crate) number: u32,
    /// Nothing is left to read before its timers.
    pub(crate) caught_up: bool,
    pub(crate) state: &'a State,
}

/// A timer, and its partition.
pub(crate) type Due = (Timer, u32);

/// The timers of partitions that are not behind which were due more than `bound` before `now`.
pub(crate) fn overdue<'a>(
    held: impl IntoIterator<Item = Held<'a>>,
    now: DateTime<Utc>,
    bound: TimeDelta,
) -> Overdue<Due> {
    let limit = now - bound;
    let late = |held: Held<'a>| {
        let late = held.state.timers().take_while(move |timer| timer.due_at < limit);
        late.map(move |timer| (timer, held.number))
    };
    let Overdue { count, named } = held.into_iter().filter(|held| held.caught_up).flat_map(late).collect();
    Overdue { count, named: named.into_iter().map(|(timer, number)| (timer.clone(), number)).collect() }
}

#[cfg(test)]
mod tests {
    use policy::{Repeats, Ruleset, fire_timers, switch_policy, take_event};
    use serde_json::json;

    use super::*;

    const POLICY: &str = "
version: 1
rules:
  - id: deadline
    at: issue.due_at
    when: issue.due_at != null && issue.due_at <= now
    then: { action: post_nudge, target: owner:kim }
    rationale: It is due
";

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A partition with timers at these instants.
    fn state(ruleset: &Ruleset, due: &[&str]) -> State {
        let mut state = State::default();
        let switched = switch_policy(&state, DateTime::UNIX_EPOCH, ruleset);
        state.apply(switched);
        for (number, due_at) in due.iter().enumerate() {
            let event = serde_json::from_value(json!({
                "event_id": format!("e-{number}"), "project_id": "alpha", "source": "github", "type": "issue_opened",
                "issue_ref": format!("github:o/r#{number}"), "state": "open", "due_at": due_at,
            }));
            let now = at("2026-03-02T09:00:00Z");
            let taken =
                take_event(&mut state, &event.unwrap(), None, now, Repeats::Last, ruleset, &mut |_| {
                    Ok::<_, std::convert::Infallible>(())
                });
            taken.unwrap();
        }
        state
    }

    #[test]
    fn only_what_is_late_by_more_than_the_bound_and_has_nothing_before_it_is_overdue() {
        let ruleset = policy::load(POLICY).unwrap();
        let ten = ["2026-03-02T10:00:00Z", "2026-03-02T10:00:30Z", "2026-03-02T12:00:00Z"];
        let state = state(&ruleset, &ten);
        let look = |now: &str, caught_up| {
            let held = Held { number: 3, caught_up, state: &state };
            overdue([held], at(now), STALLED_AFTER)
        };
        for (now, caught_up, count) in [
            ("2026-03-02T09:00:00Z", true, 0),
            ("2026-03-02T10:01:00Z", true, 0),
            ("2026-03-02T10:01:01Z", true, 1),
            ("2026-03-02T10:01:31Z", true, 2),
            ("2026-03-02T10:01:31Z", false, 0),
            ("2026-03-02T23:00:00Z", true, 3),
        ] {
            let Overdue { count: found, named } = look(now, caught_up);
            assert_eq!((found, named.len()), (count, count), "{now}");
            assert!(named.iter().all(|(timer, number)| *number == 3 && timer.rule == "deadline"));
        }
    }

    #[test]
    fn each_is_told_once_until_it_is_decided() {
        let ruleset = policy::load(POLICY).unwrap();
        let mut state = state(&ruleset, &["2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"]);
        let mut auditor = eventlog::Auditor::default();
        let mut news = |state: &State, now: &str| {
            let Overdue { named, .. } =
                overdue([Held { number: 0, caught_up: true, state }], at(now), STALLED_AFTER);
            let refs = auditor.news(named).into_iter().map(|(timer, _)| timer.issue_ref.to_string());
            refs.collect::<Vec<_>>()
        };
        assert_eq!(news(&state, "2026-03-02T10:05:00Z"), ["github:o/r#0"]);
        assert!(news(&state, "2026-03-02T10:06:00Z").is_empty());
        assert_eq!(news(&state, "2026-03-02T11:05:00Z"), ["github:o/r#1"]);
        fire_timers(&mut state, at("2026-03-02T10:30:00Z"), 9, Repeats::Last, &ruleset, &mut |_| {
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
        assert!(news(&state, "2026-03-02T11:06:00Z").is_empty());
    }
}
