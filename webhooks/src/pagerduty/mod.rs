//! PagerDuty's deliveries: generic webhooks, version 3
//! (<https://developer.pagerduty.com/docs/webhooks/v3-overview/>). Of all events one is used: that an incident was acknowledged.
//!
//! An incident of ours has the reference as its `incident_key`: that is what the executor's target triggers under, so it
//! leads back. (A reference of more than 255 bytes is hashed there, and does not.) Others' incidents are ignored.

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
    let event = payload.event.get().ok_or(Unreadable::because("there is no event"))?;
    match event.event_type.text() {
        Some("incident.acknowledged") => normalise::acknowledged(delivery, event),
        Some("pagey.ping") => Ok(Reading::Ignored("ping")),
        Some(_) => Ok(Reading::Ignored("event_not_used")),
        None => Err(Unreadable::because("event.event_type is missing")),
    }
}
