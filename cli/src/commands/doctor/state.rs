//! Whether the gateway's state is what a fresh fold of the log gives, under the policies of their offsets.
//!
//! One partition after the other: the state that is kept, and beside it one that is folded from the first record on, up to where the
//! kept one has come; then their entries are compared. What both would forget by now is left out: when that is done
//! changes no decision.
//!
//! Where retention has removed the beginning a fold cannot be complete. Then those issues are compared whose history is kept whole, that
//! begins with their opening, and a difference is a warning: what happened before may have left something that no record tells of.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    ops::ControlFlow,
};

use ::policy::{Decided, Issue, Key, Kind, Ruleset, State, expire, take_outcome};
use chrono::{DateTime, Utc};
use eventlog::{Bounds, Log, TopicInfo};
use events::{EventType, Outcome, Recorded, topic};

use super::finding::{Finding, Flaws, Report};
use crate::{
    commands::scan,
    error::Failure,
    history::{self, Change, Course, FiredRepeats, Look, Policies, Until},
};

/// How often a partition is folded anew when the log moved under the comparison.
const TRIES: usize = 3;

pub(super) async fn check(log: &dyn Log, topics: &[TopicInfo], report: &mut Report, moves: bool) {
    const CHECK: &str = "state";
    let bounds = |name: &str| topics.iter().find(|info| info.name == name).map(|info| &info.partitions[..]);
    let (Some(issues), Some(outcomes), Some(_), Some(_)) = (
        bounds(topic::ISSUES),
        bounds(topic::OUTCOMES),
        bounds(topic::GATEWAY_STATE),
        bounds(topic::POLICIES),
    ) else {
        return;
    };
    let mut sum = Sum::default();
    for (partition, (issues, outcomes)) in (0_u32..).zip(issues.iter().zip(outcomes)) {
        let place = Place { log, partition, issues: *issues, outcomes: *outcomes };
        if let Err(failure) = sum.partition(place, moves).await {
            sum.errors.add(|| format!("partition {partition}: {failure}"));
        }
    }
    let Sum { errors, warnings, events, outcomes, cut } = sum;
    let folded = format!("{events} events and {outcomes} outcomes folded again");
    let part = match cut {
        0 => String::new(),
        cut => format!(
            "; {cut} partitions of issues are not kept from their beginning: there, only issues whose opening is kept were compared"
        ),
    };
    report.tell(match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => Finding::error(
            CHECK,
            errors.told(),
            "gateway-state or the log was changed, or another version decided: keep a copy, and restore both from one backup",
        ),
        (true, false) => Finding::warning(
            CHECK,
            warnings.told(),
            "what is told here cannot be decided from what is kept; look at these issues with `breakdown issue`",
        ),
        (true, true) => Finding::ok(CHECK, &format!("{folded} give what is kept{part}")),
    });
}

/// A partition, and its ends when the check began.
#[derive(Clone, Copy)]
struct Place<'a> {
    log: &'a dyn Log,
    partition: u32,
    issues: Bounds,
    outcomes: Bounds,
}

#[derive(Default)]
struct Sum {
    errors: Flaws,
    warnings: Flaws,
    events: u64,
    outcomes: u64,
    /// Partitions whose beginning is gone.
    cut: usize,
}

impl Sum {
    async fn partition(&mut self, place: Place<'_>, moves: bool) -> Result<(), Failure> {
        let partition = place.partition;
        for attempt in 1.. {
            let Some(kept) = place.kept().await? else {
                // Nothing was ever decided there.
                return Ok(());
            };
            let policies = history::policies(place.log).await?;
            let folded = match place.fold(&kept, &policies).await? {
                Ok(folded) => folded,
                Err(why) => {
                    self.warnings.add(|| format!("partition {partition}: {why}"));
                    return Ok(());
                }
            };
            let (events, outcomes) = (folded.events, folded.outcomes);
            let differing = folded.differing(&kept);
            if moves && !differing.is_empty() {
                let again = place.kept().await?.unwrap_or_default();
                let consumed = |state: &State| [topic::ISSUES, topic::OUTCOMES].map(|it| state.consumed(it));
                if consumed(&again) != consumed(&kept) {
                    if attempt < TRIES {
                        continue;
                    }
                    self.warnings.add(|| {
                        format!("partition {partition}: it is busy; ask again when less is decided, or with the gateways stopped")
                    });
                    return Ok(());
                }
            }
            self.events += events;
            self.outcomes += outcomes;
            self.cut += usize::from(place.issues.first > 0);
            let flaws = if place.issues.first > 0 { &mut self.warnings } else { &mut self.errors };
            for (key, how) in differing {
                flaws.add(|| {
                    let Key { project, kind, identity } = &key;
                    let kind = format!("{kind:?}").to_lowercase();
                    let name = [kind.as_str(), identity.as_str()].join(" ");
                    let project =
                        if project.is_empty() { String::new() } else { format!(" of project {project}") };
                    format!("partition {partition}: {}{project} {how}", name.trim_end())
                });
            }
            return Ok(());
        }
        Ok(())
    }
}

impl Place<'_> {
    /// The state that is kept; none where nothing ever was decided.
    async fn kept(&self) -> Result<Option<State>, Failure> {
        let mut state = State::default();
        let mut broken = None;
        scan(self.log, topic::GATEWAY_STATE, &[(self.partition, 0)], |record| {
            if !gateway::is_of_shadow(&record.key)
                && let Err(error) = state.restore(&record.key, record.value.as_deref())
            {
                broken = Some(Failure::failed(format!(
                    "{} offset {} cannot be read: {error}",
                    topic::GATEWAY_STATE,
                    record.offset
                )));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .await?;
        match broken {
            Some(broken) => Err(broken),
            None => Ok(state.policy_hash().is_some().then_some(state)),
        }
    }

    /// Folds what the kept state has consumed; else why that cannot be done.
    async fn fold(&self, kept: &State, policies: &Policies) -> Result<Result<Folded, String>, Failure> {
        let repeats = FiredRepeats::read(self.log, topic::ACTIONS, self.partition, None).await?;
        let mut folding = Folding {
            course: Course { repeats, ..Course::default() },
            changes: policies.of(self.partition).iter().filter(|change| !change.on_trial).cloned().collect(),
            opened: (self.issues.first > 0).then(HashMap::new),
            events: 0,
        };
        let end = kept.consumed(topic::ISSUES);
        if end > self.issues.end {
            return Err(Failure::failed(format!(
                "the state has come to offset {end} of {}, which ends at {}: records are missing there",
                topic::ISSUES,
                self.issues.end
            )));
        }
        let bounds = Bounds { first: self.issues.first, end };
        let mut history = history::Partition::open(self.log, self.partition, bounds).await?;
        while let Some(happened) = history.next().await? {
            for happened in happened {
                while let Some(change) = folding.due(happened.offset) {
                    if let Err(why) = folding.change(self.log, &change, happened.timestamp, None).await? {
                        return Ok(Err(why));
                    }
                }
                folding.event(&happened);
            }
        }
        // After the last event: what timers did since, as far as the kept state's own time has come.
        let clock = kept.clock().unwrap_or(DateTime::UNIX_EPOCH);
        let waiting = kept.next_timer();
        while let Some(change) = folding.due(end) {
            if let Err(why) = folding.change(self.log, &change, clock, waiting.as_ref()).await? {
                return Ok(Err(why));
            }
        }
        folding.timers(Until { due: clock, latest: clock, before: waiting.as_ref() });
        let Folding { course, opened, events, .. } = folding;
        let Course { mut state, ruleset: Some(ruleset), .. } = course else {
            return Ok(Err(format!("no record of {} says which policy decided it", topic::POLICIES)));
        };
        let outcomes = self.take_outcomes(&mut state, &ruleset, kept.consumed(topic::OUTCOMES)).await?;
        let outcomes_are_whole = self.outcomes.first == 0;
        Ok(Ok(Folded { state, opened, outcomes_are_whole, clock, events, outcomes }))
    }

    /// Counts the outcomes before `end` in, which no decision looks at.
    async fn take_outcomes(&self, state: &mut State, ruleset: &Ruleset, end: u64) -> Result<u64, Failure> {
        let mut count = 0;
        scan(self.log, topic::OUTCOMES, &[(self.partition, self.outcomes.first)], |record| {
            if record.offset >= end {
                return ControlFlow::Break(());
            }
            if let Ok(outcome) =
                Outcome::from_record(&record.key, record.value.as_deref().unwrap_or_default())
            {
                count += 1;
                let Ok(()) = take_outcome(state, &outcome, record.timestamp, ruleset, &mut |_| {
                    Ok::<(), Infallible>(())
                });
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(count)
    }
}

/// A fold on its way.
struct Folding {
    course: Course,
    changes: VecDeque<Change>,
    /// Where the beginning is gone: by project and issue, whether the first event that is kept opens it.
    opened: Option<HashMap<[String; 2], bool>>,
    events: u64,
}

/// Nobody looks at the single decisions.
struct Nobody;

impl Look for Nobody {
    type End = Infallible;

    fn look(&mut self, _: &Decided<'_>, _: &Ruleset, _: DateTime<Utc>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Folding {
    /// The next change of the policy, if it took effect by that offset.
    fn due(&mut self, offset: u64) -> Option<Change> {
        let is_due = self.changes.front().is_some_and(|change| change.first <= offset);
        if is_due { self.changes.pop_front() } else { None }
    }

    /// A change takes effect, after the timers that were due before it; else why it cannot.
    async fn change(
        &mut self,
        log: &dyn Log,
        change: &Change,
        latest: DateTime<Utc>,
        before: Option<&::policy::Timer>,
    ) -> Result<Result<(), String>, Failure> {
        if let Some(clock) = change.clock {
            self.timers(Until { due: clock, latest, before });
        }
        let text = change.text(log).await?;
        Ok(match ::policy::load(&text) {
            Ok(ruleset) => {
                self.course.switch(ruleset, change.clock);
                Ok(())
            }
            Err(_) => Err(format!(
                "the policy that held from offset {} of {} on is not one to this version of breakdown: ask the version that ran then",
                change.first,
                topic::ISSUES
            )),
        })
    }

    fn timers(&mut self, until: Until<'_>) {
        let Ok(()) = self.course.timers(until, &mut Nobody);
    }

    fn event(&mut self, happened: &history::Happened) {
        self.events += 1;
        self.timers(Until::event(happened.timestamp));
        let Ok(()) = self.course.event(happened, &mut Nobody);
        if let Some(opened) = &mut self.opened {
            let event = &happened.event;
            let opens = matches!(event.event_type, EventType::IssueOpened | EventType::IssueCreated);
            opened.entry([event.project_id.clone(), event.issue_ref.clone()]).or_insert(opens);
        }
    }
}

/// What a fold came to.
struct Folded {
    state: State,
    opened: Option<HashMap<[String; 2], bool>>,
    outcomes_are_whole: bool,
    clock: DateTime<Utc>,
    events: u64,
    outcomes: u64,
}

impl Folded {
    /// The entries in which the kept state differs, and how.
    fn differing(self, kept: &State) -> Vec<(Key, &'static str)> {
        let clock = self.clock;
        let [mut fresh, mut kept] = [self.state, kept.clone()];
        for state in [&mut fresh, &mut kept] {
            forget(state, clock);
        }
        let mut differing = Vec::new();
        let keys = fresh.keys().chain(kept.keys().filter(|key| fresh.entry(key).1.is_none()));
        for key in keys {
            let ([folded, is], is_issue) =
                ([&fresh, &kept].map(|state| state.entry(&key).1), key.kind == Kind::Issue);
            if folded == is {
                continue;
            }
            let compares = match (&self.opened, key.kind) {
                // How far the inputs were consumed is what the fold was told.
                (_, Kind::Consumed) => false,
                (_, Kind::Project | Kind::Outcome) => self.outcomes_are_whole,
                (None, _) => true,
                (Some(opened), Kind::Issue) => {
                    let name = [key.project.to_string(), key.identity.to_string()];
                    opened.get(&name) == Some(&true) && !alike(&fresh, &kept, &key)
                }
                (Some(_), _) => false,
            };
            if compares {
                differing.push((
                    key,
                    match (folded.is_some(), is.is_some(), is_issue) {
                        (true, false, _) => "is missing in gateway-state",
                        (false, true, _) => "is kept, and nothing on the log tells of it",
                        (_, _, true) => "is kept otherwise than a fresh fold of its events gives it",
                        (_, _, false) => "is kept otherwise than a fresh fold gives it",
                    },
                ));
            }
        }
        differing.sort();
        differing
    }
}

/// Forgets all that is due to be forgotten.
fn forget(state: &mut State, now: DateTime<Utc>) {
    loop {
        let forgotten = expire(state, now);
        if forgotten.changes.is_empty() {
            return;
        }
        state.apply(forgotten);
    }
}

/// Whether two issues agree in all that their own events say: whose turn it was, and where a milestone's date was moved, depends on
/// what may be gone.
fn alike(fresh: &State, kept: &State, key: &Key) -> bool {
    let issue = |state: &State| -> Option<Issue> {
        let mut issue = state.issue(&key.project, &key.identity)?.clone();
        issue.assigned_to = None;
        Some(issue)
    };
    let (fresh, kept) = (issue(fresh), issue(kept));
    let follows = |issue: &Option<Issue>| {
        issue.as_ref().is_some_and(|issue| issue.facts.due_milestone.value().is_some())
    };
    follows(&fresh) || follows(&kept) || fresh == kept
}
