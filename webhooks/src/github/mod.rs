//! GitHub's deliveries: `issues`, `issue_comment` and `milestone`
//! (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>).

mod absence;
mod fields;
mod normalise;
mod payload;
mod priority;

use payload::Payload;

use crate::{
    delivery::{Delivery, Reading, Unreadable},
    json,
};

/// Reads one delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, Unreadable> {
    let normalise = match delivery.event {
        Some("issues") => normalise::issue,
        Some("issue_comment") => normalise::comment,
        Some("milestone") => normalise::milestone,
        Some("ping") => return Ok(Reading::Ignored("ping")),
        Some(
            "pull_request"
            | "pull_request_review"
            | "pull_request_review_comment"
            | "pull_request_review_thread",
        ) => {
            return Ok(Reading::Ignored("pull_request"));
        }
        Some(_) => return Ok(Reading::Ignored("event_not_used")),
        None => return Err(Unreadable::because("there is not exactly one readable X-GitHub-Event header")),
    };
    let payload: Option<Payload<'_>> = json::object(delivery.json)?;
    let payload = payload.ok_or(Unreadable::because("the payload is not an object"))?;
    if !delivery.event.is_some_and(|event| payload.is_of(event)) {
        return Err(Unreadable::because("the payload is not of the event that X-GitHub-Event names"));
    }
    normalise(delivery, &payload)
}
