//! What is read of PagerDuty's payloads. Everything may be absent, null or of another shape.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{Field, objects};

type Text<'a> = Field<Cow<'a, str>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Payload<'a> {
    pub(super) event: Field<Event<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Event<'a> {
    /// The same whenever it is sent again.
    pub(super) id: Text<'a>,
    pub(super) event_type: Text<'a>,
    pub(super) occurred_at: Text<'a>,
    /// Who or what did it.
    pub(super) agent: Field<Agent<'a>>,
    pub(super) data: Field<Incident<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Agent<'a> {
    pub(super) id: Text<'a>,
    /// A person's name.
    pub(super) summary: Text<'a>,
    /// `user_reference` for a person; a service or an integration otherwise.
    #[serde(rename = "type")]
    pub(super) kind: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct Incident<'a> {
    /// The `dedup_key` that it was triggered under.
    pub(super) incident_key: Text<'a>,
}

objects!(Payload, Event, Agent, Incident);
