//! Timers that should have been decided and were not.
//!
//! A timer of a partition that is held waits for two things only: the records before it, and its instant. When nothing is left to
//! read and the instant has passed by more than [`STALLED_AFTER`], something stands against it that nobody noticed. It is
//! logged and counted once, until it is decided.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use policy::{State, Timer};
use serde::Serialize;

/// By how much a timer may be overdue. At the end of its partition it is released [`crate::END_MARGIN`] after its instant, and a step of
/// a thousand timers takes less than a second.
pub const STALLED_AFTER: TimeDelta = TimeDelta::seconds(60);
/// How often it is looked.
pub(crate) const AUDIT_EVERY: TimeDelta = TimeDelta::seconds(10);
/// How many of them are named; the others are counted.
const MAX_NAMED: usize = 1_000;

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

/// The timers of partitions that are not behind which were due more than `bound` before `now`: how many, and the first of all,
/// in order.
pub(crate) fn overdue<'a>(
    held: impl IntoIterator<Item = Held<'a>>,
    now: DateTime<Utc>,
    bound: TimeDelta,
) -> (usize, BTreeSet<(Timer, u32)>) {
    let limit = now - bound;
    let (mut count, mut named) = (0, BTreeSet::new());
    for Held { number, state, .. } in held.into_iter().filter(|held| held.caught_up) {
        for timer in state.timers().take_while(|timer| timer.due_at < limit) {
            count += 1;
            named.insert((timer, number));
            if named.len() > MAX_NAMED {
                named.pop_last();
            }
        }
    }
    (count, named.into_iter().map(|(timer, number)| (timer.clone(), number)).collect())
}

/// Remembers what was noted.
#[derive(Default)]
pub(crate) struct Auditor {
    looked_at: Option<DateTime<Utc>>,
    noted: BTreeSet<(Timer, u32)>,
}

impl Auditor {
    /// Whether it is time to look again, whichever way the clock was turned.
    pub(crate) fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        let is_due = self.looked_at.is_none_or(|at| (now - at).abs() >= AUDIT_EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Those that were not overdue when it last looked.
    pub(crate) fn news(&mut self, overdue: BTreeSet<(Timer, u32)>) -> Vec<(Timer, u32)> {
        let news = overdue.difference(&self.noted).cloned().collect();
        self.noted = overdue;
        news
    }
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
            let (found, named) = look(now, caught_up);
            assert_eq!((found, named.len()), (count, count), "{now}");
            assert!(named.iter().all(|(timer, number)| *number == 3 && timer.rule == "deadline"));
        }
    }

    #[test]
    fn each_is_told_once_until_it_is_decided() {
        let ruleset = policy::load(POLICY).unwrap();
        let mut state = state(&ruleset, &["2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"]);
        let mut auditor = Auditor::default();
        let mut news = |state: &State, now: &str| {
            let (_, named) = overdue([Held { number: 0, caught_up: true, state }], at(now), STALLED_AFTER);
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
        assert_eq!(auditor.noted.len(), 1, "what was decided is forgotten");
    }

    #[test]
    fn of_too_many_the_oldest_are_named_whichever_partition_has_them() {
        let ruleset = policy::load(POLICY).unwrap();
        let late = vec!["2026-03-02T11:00:00Z"; MAX_NAMED + 5];
        let (late, first) = (state(&ruleset, &late), state(&ruleset, &["2026-03-02T10:00:00Z"]));
        let held = [
            Held { number: 0, caught_up: true, state: &late },
            Held { number: 1, caught_up: true, state: &first },
        ];
        let (count, named) = overdue(held, at("2026-03-02T12:00:00Z"), STALLED_AFTER);
        assert_eq!((count, named.len()), (MAX_NAMED + 6, MAX_NAMED));
        let since = named.first().map(|(timer, number)| (timer.due_at, *number));
        assert_eq!(since, Some((at("2026-03-02T10:00:00Z"), 1)));
    }

    #[test]
    fn it_looks_every_ten_seconds_whichever_way_the_clock_is_turned() {
        let mut auditor = Auditor::default();
        let due: Vec<bool> = ["00:00", "00:09", "00:10", "00:15", "00:21", "00:09"]
            .map(|time| auditor.is_due(at(&format!("2026-03-02T10:{time}Z"))))
            .into();
        assert_eq!(due, [true, false, true, false, true, true]);
    }
}
