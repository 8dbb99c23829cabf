//! What came of an event, as the log has it: the actions that it caused and what became of each; and, of a delivery, the person's answer that
//! lies in it, whether that counts, and what it did.
//!
//! ```text
//!   event ──cause──► actions ──► outcomes, or what they wait for
//!     └──derived id──► issue_acknowledged ──cause──► acknowledge, … ──► the same
//! ```

use std::fmt::{self, Display, Formatter};

use eventlog::Log;
use events::{Action, Earlier, IssueEvent};
use serde::Serialize;

use super::{
    find::{self, Place},
    unexplained::field,
};
use crate::{
    became::{Became, Fate},
    error::Failure,
};

/// How many actions are shown to a person.
const MAX_ACTIONS: usize = 20;

/// What came of an event.
#[derive(Debug, Serialize)]
pub(super) struct CameOf {
    actions: Vec<Followed>,
    /// The answer that lies in the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// An action, and what became of it.
#[derive(Debug, Serialize)]
struct Followed {
    action: Action,
    #[serde(flatten)]
    fate: Fate,
}

/// A person's answer.
#[derive(Debug, Serialize)]
struct Answer {
    /// `issue_acknowledged`.
    event: IssueEvent,
    record: Place,
    /// What there is to say of its decision.
    remarks: Vec<String>,
    actions: Vec<Followed>,
}

/// Looks for what an event caused. `answer`: the one that lies in it, and what there is to say of its decision.
pub(super) async fn of(
    log: &dyn Log,
    place: &Place,
    event: &IssueEvent,
    answer: Option<(Place, IssueEvent, Vec<String>)>,
) -> Result<CameOf, Failure> {
    let causes: Vec<&str> = [Some(event), answer.as_ref().map(|(_, answer, _)| answer)]
        .into_iter()
        .flatten()
        .map(id_of)
        .collect();
    let actions = find::caused_by(log, place.partition, &causes).await?;
    let mut became = Became::read(log, &actions).await?;
    let mut followed = |cause: &str| -> Vec<Followed> {
        let of_it = actions.iter().filter(|action| action.cause.as_deref() == Some(cause));
        of_it.map(|action| Followed { action: action.clone(), fate: became.of(action) }).collect()
    };
    let of_event = followed(&event.event_id);
    let answer = answer.map(|(record, event, mut remarks)| {
        let actions = followed(&event.event_id);
        // What follows an action up is told with it.
        remarks.retain(|remark| !actions.iter().any(|it| remark.contains(&it.action.event_id)));
        Answer { event, record, remarks, actions }
    });
    Ok(CameOf { actions: of_event, answer })
}

fn id_of(event: &IssueEvent) -> &str {
    &event.event_id
}

impl Display for CameOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.actions.is_empty() {
            writeln!(f, "\nwhat came of it")?;
            list(f, &self.actions)?;
        }
        let Some(Answer { event, record, remarks, actions }) = &self.answer else { return Ok(()) };
        writeln!(
            f,
            "\nsomebody answered by it: {} {} (through {}, by {}) at {record}",
            field(event.event_type.as_str()),
            field(&event.event_id),
            field(event.through.as_ref().map_or("?", |through| through.as_str())),
            field(event.actor.as_deref().unwrap_or("?")),
        )?;
        remarks.iter().try_for_each(|remark| writeln!(f, "  {remark}"))?;
        match actions.is_empty() {
            true => writeln!(f, "  no action followed"),
            false => list(f, actions),
        }
    }
}

fn list(f: &mut Formatter<'_>, actions: &[Followed]) -> fmt::Result {
    for Followed { action, fate } in actions.iter().take(MAX_ACTIONS) {
        let of = match Earlier::of(action) {
            Some(of) => format!(", of {} {}", field(of.action.as_str()), field(&of.action_id)),
            None => String::new(),
        };
        writeln!(
            f,
            "  {} for {} ({}){of}: {fate}",
            field(action.action.as_str()),
            field(&action.target),
            field(&action.event_id)
        )?;
    }
    match actions.len().saturating_sub(MAX_ACTIONS) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more (--json has all)"),
    }
}
