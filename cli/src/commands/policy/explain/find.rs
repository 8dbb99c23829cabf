//! An id is looked for on the log: where it stands, and what has it.

use std::{collections::BTreeSet, fmt::Write, ops::ControlFlow};

use chrono::{DateTime, Utc};
use eventlog::{Bounds, Log, Record};
use events::{Action, EventType, IssueEvent, id, topic};
use serde::{Deserialize, Serialize};

use super::subject::{Id, Lane, SHAPES};
use crate::{
    commands::{bounds, inert, scan},
    error::Failure,
    history::{self, Kept},
};

/// The answer that lies in the delivery of an event, which stands behind it.
pub(super) async fn answer(
    log: &dyn Log,
    place: &Place,
    event: &IssueEvent,
) -> Result<Option<(Place, IssueEvent)>, Failure> {
    if event.event_type == EventType::IssueAcknowledged {
        return Ok(None);
    }
    let answer_id = id::acknowledgement(&event.event_id);
    let mut found = None;
    scan(log, topic::ISSUES, &[(place.partition, place.offset + 1)], |record| {
        let value = record.value.as_deref().unwrap_or_default();
        if !serde_json::from_slice::<Head>(value).is_ok_and(|head| head.event_id == answer_id) {
            return ControlFlow::Continue(());
        }
        let place = Place::of(topic::ISSUES, &record);
        found = history::read_record(record).map(|happened| (place, happened.event));
        ControlFlow::Break(())
    })
    .await?;
    Ok(found)
}

/// The actions that these events caused, each once, in the order of the log.
pub(super) async fn caused_by(
    log: &dyn Log,
    partition: u32,
    causes: &[&str],
) -> Result<Vec<Action>, Failure> {
    let Some(bounds) = bounds(log, topic::ACTIONS).await?.get(partition as usize).copied() else {
        return Ok(Vec::new());
    };
    let (mut actions, mut met) = (Vec::<Action>::new(), BTreeSet::new());
    scan(log, topic::ACTIONS, &[(partition, bounds.first)], |record| {
        let action = serde_json::from_slice::<Action>(record.value.as_deref().unwrap_or_default()).ok();
        let of_them = action
            .filter(|action| action.cause.as_deref().is_some_and(|cause| causes.contains(&cause)))
            // Redriven, it stands there again.
            .filter(|action| met.insert(action.event_id.clone()));
        actions.extend(of_them);
        ControlFlow::Continue(())
    })
    .await?;
    Ok(actions)
}

/// Where a record stands, and when the log took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) topic: &'static str,
    pub(super) partition: u32,
    pub(super) offset: u64,
    timestamp: DateTime<Utc>,
}

/// What has the id.
#[derive(Debug)]
pub(super) enum Found {
    /// An action, and whose decision it is.
    Action { place: Place, action: Box<Action>, lane: Lane },
    /// An event. None where a gateway makes the record a dead letter.
    Event { place: Place, event: Option<Box<IssueEvent>> },
}

/// Looks for an id. Of an action: on `actions`, then on `actions-shadow`, or on the one that `lane` names.
///
/// # Errors
/// Where it stands nowhere: which topics were looked through, and from where on.
pub(super) async fn find(log: &dyn Log, id: &Id, lane: Option<Lane>) -> Result<Found, Failure> {
    let mut looked = Looked::default();
    let found = match id {
        Id::Event(id) => event(log, id, &mut looked).await?,
        Id::Action(_) | Id::Timer(_) => {
            let lanes = lane.map_or(vec![Lane::InForce, Lane::OnTrial], |lane| vec![lane]);
            let mut found = None;
            for lane in lanes {
                found = action(log, id, lane, &mut looked).await?;
                if found.is_some() {
                    break;
                }
            }
            found
        }
    };
    found.ok_or_else(|| looked.in_vain(id))
}

async fn action(log: &dyn Log, id: &Id, lane: Lane, looked: &mut Looked) -> Result<Option<Found>, Failure> {
    let topic = lane.topic();
    let mut found = None;
    looked
        .through(log, topic, |record| {
            let value = record.value.as_deref().unwrap_or_default();
            let is_it = |action: &Action| match id {
                Id::Timer(id) => action.cause.as_ref() == Some(id),
                id => action.event_id == id.text(),
            };
            let Some(action) = serde_json::from_slice::<Action>(value).ok().filter(is_it) else {
                return false;
            };
            found = Some(Found::Action { place: Place::of(topic, &record), action: Box::new(action), lane });
            true
        })
        .await?;
    Ok(found)
}

/// What of an event tells it from others.
#[derive(Deserialize)]
struct Head {
    event_id: String,
}

async fn event(log: &dyn Log, id: &str, looked: &mut Looked) -> Result<Option<Found>, Failure> {
    let mut found = None;
    looked
        .through(log, topic::ISSUES, |record| {
            let value = record.value.as_deref().unwrap_or_default();
            if !serde_json::from_slice::<Head>(value).is_ok_and(|head| head.event_id == id) {
                return false;
            }
            let place = Place::of(topic::ISSUES, &record);
            let event = history::read_record(record).map(|happened| Box::new(happened.event));
            found = Some(Found::Event { place, event });
            true
        })
        .await?;
    Ok(found)
}

impl Place {
    fn of(topic: &'static str, record: &Record) -> Self {
        let Record { partition, offset, timestamp, .. } = *record;
        Self { topic, partition, offset, timestamp }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, offset, .. } = self;
        write!(f, "{topic} partition {partition} offset {offset}")
    }
}

/// Which topics were looked through.
#[derive(Default)]
struct Looked {
    kept: Vec<Kept>,
    is_cut: bool,
}

impl Looked {
    /// Reads a topic until `is_it`.
    async fn through(
        &mut self,
        log: &dyn Log,
        topic: &'static str,
        mut is_it: impl FnMut(Record) -> bool,
    ) -> Result<(), Failure> {
        let partitions: Vec<(u32, Bounds)> = (0..).zip(bounds(log, topic).await?).collect();
        let kept = Kept::of(topic, partitions.iter().copied());
        self.is_cut |= !kept.whole;
        self.kept.push(kept);
        let from: Vec<_> =
            partitions.into_iter().map(|(partition, bounds)| (partition, bounds.first)).collect();
        scan(log, topic, &from, |record| match is_it(record) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
        .await
    }

    /// Why nothing was found.
    fn in_vain(&self, id: &Id) -> Failure {
        let topics: Vec<_> = self.kept.iter().map(ToString::to_string).collect();
        let mut why = format!(
            "no {} {} is on the log{}; looked through: {}; ",
            id.kind(),
            inert(id.text()),
            if self.is_cut { ", or not any more" } else { "" },
            topics.join("; ")
        );
        if !id.is_derived() {
            why.push_str("there is no such file either; ");
            return Failure::usage(why + SHAPES);
        }
        _ = match id {
            Id::Event(_) => write!(why, "`breakdown tail issues` lists events, the id is `event_id`"),
            Id::Action(_) => write!(why, "`breakdown tail actions` lists actions, the id is `event_id`"),
            Id::Timer(_) => {
                write!(why, "a timer that made no action leaves nothing on the log: explain its issue")
            }
        };
        Failure::failed(why)
    }
}
