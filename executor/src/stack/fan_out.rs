//! One action, several targets, at the same time: each in its own stack, so none waits for another. What has ended stays
//! ended: another attempt of the action goes to those targets only that want to be asked again, and to none of them before the
//! time that it named: one that wants to be left alone for an hour holds up no pager. Each end is told at once, so that it can be kept
//! before the others end.
//!
//! Where one has refused, people are told by other targets: they get a nudge that is made of the action, with an id of its own
//! that is always the same.

use std::{convert::Infallible, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use eventlog::Clock;
use events::{Action, ActionKind, Carried, id};
use futures::{FutureExt, future::join_all};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{Call, Report, Stack};
use crate::{Attempt, Verdict, conclude::delta, state::Leg};

/// Targets in their stacks, by their names.
pub(crate) type Legs = Vec<(&'static str, Stack)>;

/// `legs` as one; `otherwise` are told where one of them has refused.
pub(crate) fn fan_out(legs: Legs, otherwise: Legs, clock: Arc<dyn Clock>) -> Stack {
    let alone = legs.len() + otherwise.len() < 2;
    BoxCloneSyncService::new(service_fn(move |mut call: Call| {
        // Where there is one only, the report says it all.
        call.tell = call.tell.filter(|_| !alone);
        let (legs, otherwise, clock) = (legs.clone(), otherwise.clone(), Arc::clone(&clock));
        async move {
            let mut runs = all(legs, &call, false, &*clock).await;
            if runs.iter().any(|(leg, _)| leg.ended && !leg.carried.ack) {
                let attempt =
                    Attempt { action: Arc::new(nudge(&call.attempt.action)), ..call.attempt.clone() };
                runs.extend(all(otherwise, &Call { attempt, ..call }, true, &*clock).await);
            }
            Ok::<_, Infallible>(together(runs))
        }
        .boxed()
    }))
}

/// `otherwise`: they are those that tell people.
async fn all(legs: Legs, call: &Call, otherwise: bool, clock: &dyn Clock) -> Vec<(Leg, Option<Report>)> {
    join_all(legs.into_iter().map(|(name, stack)| run((name, stack), call, otherwise, clock))).await
}

/// What people are told of an action that was refused. Why is not in it: that may be another reason the next time, and the
/// same nudge has the same text.
pub(crate) fn nudge(action: &Action) -> Action {
    let missed = match action.action {
        ActionKind::ScheduleUnblocker => "No meeting could be booked",
        ActionKind::AssignOwner => "Nobody could be assigned",
        ActionKind::EscalateOwner => "Nobody could be called",
        _ => "This could not be carried out",
    };
    let (issue_ref, rule) = (action.issue_ref.as_deref(), action.rule.as_deref());
    Action {
        event_id: id::action(&action.event_id, issue_ref.unwrap_or_default(), rule.unwrap_or_default(), 0),
        action: ActionKind::PostNudge,
        rationale: match action.rationale.as_str() {
            "" => missed.to_owned(),
            // The rule's reason is why it was asked for, not why it failed.
            why => format!("{missed}. It was asked for because: {why}"),
        },
        cause: Some(action.event_id.clone()),
        ..action.clone()
    }
}

/// What came of one leg: itself, and its report where it was called.
async fn run(
    (name, stack): (&'static str, Stack),
    call: &Call,
    otherwise: bool,
    clock: &dyn Clock,
) -> (Leg, Option<Report>) {
    let before = call.legs.iter().find(|leg| leg.carried.by == name);
    if let Some(leg) = before.filter(|leg| leg.ended) {
        return (leg.clone(), None);
    }
    if let Some(leg) = before
        && let Some(after) = leg.not_before.and_then(|at| left(at, clock.now()))
    {
        let reason = leg.carried.error.clone().unwrap_or_default();
        let verdict = Verdict::Retry { after: Some(after), reason };
        return (leg.clone(), Some(Report { verdict, made: 0, held_back: None, legs: Vec::new() }));
    }
    let report = called(stack, Call { made: 0, legs: Vec::new(), ..call.clone() }).await;
    let (ack, error, reference) = match &report.verdict {
        Verdict::Done { reference } => (true, None, reference.clone()),
        Verdict::Retry { reason, .. } | Verdict::Reject { reason } => (false, Some(reason.clone()), None),
    };
    let attempts = before.map_or(0, |leg| leg.carried.attempts).saturating_add(report.made);
    let (by, unsent) = (name.to_owned(), Vec::new());
    let carried = Carried { by, ack, attempts, error, reference, otherwise, unsent };
    let not_before = match report.verdict {
        Verdict::Retry { after, .. } => after.and_then(|after| clock.now().checked_add_signed(delta(after))),
        _ => None,
    };
    let leg = Leg { ended: !matches!(report.verdict, Verdict::Retry { .. }), not_before, carried };
    if leg.ended {
        call.tell(&leg, report.made);
    }
    (leg, Some(report))
}

/// How long it is until `at`; `None` when that is over.
fn left(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (at - now).to_std().ok().filter(|left| !left.is_zero())
}

/// One leg's call; called off while it waits for a permit, it does not begin.
async fn called(mut stack: Stack, call: Call) -> Report {
    let ready = tokio::select! {
        biased;
        () = call.called_off.cancelled() => return Report::called_off(),
        Ok(ready) = stack.ready() => ready,
    };
    let Ok(report) = ready.call(call).await;
    report
}

/// All legs as one report: to be tried again while one of them is, at the earliest when the first of those wants to be asked;
/// done when all are done.
fn together(runs: Vec<(Leg, Option<Report>)>) -> Report {
    let made = runs.iter().filter_map(|(_, report)| report.as_ref()).map(|report| report.made).sum();
    let open: Vec<&Report> =
        runs.iter().filter(|(leg, _)| !leg.ended).filter_map(|(_, report)| report.as_ref()).collect();
    let held: Vec<Duration> = open.iter().filter_map(|report| report.held_back).collect();
    // Where one was called and failed, it is its wait that counts, not a breaker's.
    let held_back = if held.len() == open.len() { held.into_iter().min() } else { None };
    let after = open.iter().map(|report| match &report.verdict {
        Verdict::Retry { after, .. } => *after,
        _ => None,
    });
    // None is less than any time: it wants to be asked whenever we like.
    let after = after.min().flatten();
    let errors = |wanted: fn(&Leg) -> bool| {
        let of = runs.iter().map(|(leg, _)| leg).filter(|leg| wanted(leg));
        of.filter_map(|leg| leg.carried.error.clone()).collect::<Vec<_>>().join("; ")
    };
    let verdict = match () {
        () if !open.is_empty() => Verdict::Retry { after, reason: errors(|leg| !leg.carried.ack) },
        () if runs.iter().all(|(leg, _)| leg.carried.ack) => {
            let reference = runs.iter().find_map(|(leg, _)| leg.carried.reference.clone());
            Verdict::Done { reference }
        }
        () => Verdict::Reject { reason: errors(|leg| !leg.carried.ack) },
    };
    Report { verdict, made, held_back, legs: runs.into_iter().map(|(leg, _)| leg).collect() }
}
