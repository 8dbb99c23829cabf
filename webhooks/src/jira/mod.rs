//! Jira's deliveries, of Cloud and of Data Center (<https://developer.atlassian.com/cloud/jira/platform/webhooks/>,
//! <https://developer.atlassian.com/server/jira/platform/webhooks/>).

mod changelog;
mod normalise;
mod payload;

use payload::Payload;

use crate::{
    delivery::{Delivery, Reading, Unreadable},
    json,
};

/// Reads one delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, Unreadable> {
    let payload: Option<Payload<'_>> = json::object(delivery.json)?;
    let payload = payload.ok_or(Unreadable::because("the payload is not an object"))?;
    match payload.webhook_event.text() {
        Some("jira:issue_created" | "jira:issue_updated" | "jira:issue_deleted") => {
            normalise::issue(delivery, &payload)
        }
        Some("comment_created" | "comment_updated" | "comment_deleted") => {
            normalise::comment(delivery, &payload)
        }
        Some(_) => Ok(Reading::Ignored("event_not_used")),
        None => Err(Unreadable::because("webhookEvent is missing")),
    }
}
