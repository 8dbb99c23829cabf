//! One partition's fold: records and timers in, decisions out.

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{DeadLetter, IssueEvent, Origin, Outcome, topic};
use metrics::counter;
use policy::{Key, State};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::{
    GatewayError,
    batch::Batch,
    course::{Course, Lane},
};

/// The longest id taken from a record: ids become keys of the state, and many of them one entry.
const MAX_ID_BYTES: usize = 512;

/// A partition that is held. Both courses take the same events in the same order; each has timers of its own.
pub(crate) struct Partition {
    pub(crate) number: u32,
    pub(crate) production: Course,
    pub(crate) shadow: Option<Course>,
    /// Keys under which `gateway-state` does not have what it should of the shadow; the last one goes first.
    pub(crate) unwritten: Vec<Key>,
}

impl Partition {
    fn courses(&mut self) -> impl Iterator<Item = &mut Course> {
        std::iter::once(&mut self.production).chain(&mut self.shadow)
    }

    pub(crate) fn next_timer_at(&self) -> Option<DateTime<Utc>> {
        let production = self.production.next_timer_at();
        production.into_iter().chain(self.shadow.as_ref().and_then(Course::next_timer_at)).min()
    }

    /// The changelog's key and value of an entry as it is now; no value when there is none.
    pub(crate) fn entry(&self, lane: Lane, key: &Key) -> (Vec<u8>, Option<Vec<u8>>) {
        let (key, value) = match (lane, &self.shadow) {
            (Lane::Production, _) => self.production.state.entry(key),
            (Lane::Shadow, Some(shadow)) => shadow.state.entry(key),
            (Lane::Shadow, None) => State::default().entry(key),
        };
        (lane.prefixed(key), value)
    }

    /// Takes one record of an input, after every timer that was due by then.
    pub(crate) fn take(&mut self, record: &Record, batch: &mut Batch) -> Result<(), GatewayError> {
        batch.decides_for(self.number);
        let state = &mut self.production.state;
        if record.offset < state.consumed(&record.topic) {
            // The group's offsets were set back by hand; the state says that this was decided.
            debug!(topic = record.topic, partition = self.number, offset = record.offset, "already decided");
            return Ok(());
        }
        let consumed = state.set_consumed(&record.topic, record.offset + 1);
        batch.changes(self.number, Lane::Production, [consumed]);
        if record.topic == topic::OUTCOMES {
            if let Some(outcome) = read::<Outcome>(
                record,
                |it| [&it.project_id, &it.event_id, it.action_id.as_deref().unwrap_or("-")],
                batch,
            )? {
                batch.risk_changes(self.number, &outcome.project_id);
                // A shadow has none: nothing that it decides is done.
                self.production.take_outcome(&outcome, record.timestamp, batch)?;
            }
            return Ok(());
        }
        let event = read::<IssueEvent>(record, |it| [&it.project_id, &it.event_id, &it.issue_ref], batch)?;
        let Some(event) = event else { return self.fire(record.timestamp, usize::MAX, batch) };
        counter!("breakdown_events_total", "type" => known_type(&event)).increment(1);
        let hash = record.header("payload_hash");
        self.courses().try_for_each(|course| course.take_event(&event, hash, record.timestamp, batch))
    }

    /// Decides the timers due at or before `until`, at most `limit` of each policy.
    pub(crate) fn fire(
        &mut self,
        until: DateTime<Utc>,
        limit: usize,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        self.courses().try_for_each(|course| course.fire(until, limit, batch))
    }
}

/// The record's value, or `None` and a dead letter: the partition moves on. The first of `ids` is the project.
fn read<T: DeserializeOwned>(
    record: &Record,
    ids: impl Fn(&T) -> [&str; 3],
    batch: &mut Batch,
) -> Result<Option<T>, GatewayError> {
    let value = record.value.as_deref().unwrap_or_default();
    let (reason, detail) = match serde_json::from_slice::<T>(value) {
        Ok(read) if ids(&read).iter().any(|id| id.is_empty() || id.len() > MAX_ID_BYTES) => {
            ("unreadable", format!("an id has none or more than {MAX_ID_BYTES} bytes"))
        }
        Ok(read) if ids(&read)[0].as_bytes() == &record.key[..] => return Ok(Some(read)),
        Ok(_) => ("wrong_key", "the record's key is not its project_id".to_owned()),
        // serde_json's own text can quote the value; its place cannot.
        Err(error) => (
            "unreadable",
            format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()),
        ),
    };
    warn!(topic = record.topic, partition = record.partition, offset = record.offset, reason, "dead letter");
    counter!("breakdown_dead_letters_total", "reason" => reason).increment(1);
    let origin =
        Origin::Record { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
    let letter = DeadLetter::new(origin, None, reason, detail, record.timestamp, value);
    batch.says(letter.to_message()?);
    Ok(None)
}

/// The type as a metric label; a word from outside is never a label.
fn known_type(event: &IssueEvent) -> &'static str {
    let word = event.event_type.as_str();
    events::EventType::KNOWN.iter().find(|known| **known == word).copied().unwrap_or("other")
}
