//! One partition's fold: records and timers in, decisions out.

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{DeadLetter, IssueEvent, Origin, Outcome, Recorded, Redrive, topic};
use metrics::counter;
use policy::{Key, State};
use tracing::{debug, warn};

use crate::{
    GatewayError,
    batch::Batch,
    course::{Course, Lane},
};

/// A partition that is held. Both courses take the same events in the same order; each has timers of its own.
pub(crate) struct Partition {
    pub(crate) number: u32,
    pub(crate) production: Course,
    pub(crate) shadow: Option<Course>,
    /// Keys under which `gateway-state` does not have what it should of the shadow; the last one goes first.
    pub(crate) unwritten: Vec<Key>,
    /// Whether everything before its timers had been decided when that was last asked; none while the log does not answer.
    pub(crate) caught_up: Option<bool>,
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
            if let Some(outcome) = read::<Outcome>(record, batch)? {
                batch.risk_changes(self.number, &outcome.project_id);
                // A shadow has none: nothing that it decides is done.
                self.production.take_outcome(&outcome, record.timestamp, batch)?;
            }
            return Ok(());
        }
        let Some(event) = read::<IssueEvent>(record, batch)? else {
            return self.fire(record.timestamp, usize::MAX, batch);
        };
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

/// The record's value, or `None` and a dead letter: the partition moves on.
fn read<T: Recorded>(record: &Record, batch: &mut Batch) -> Result<Option<T>, GatewayError> {
    let value = record.value.as_deref().unwrap_or_default();
    let unsound = match T::from_record(&record.key, value) {
        Ok(read) => return Ok(Some(read)),
        Err(unsound) => unsound,
    };
    let reason = unsound.reason();
    warn!(topic = record.topic, partition = record.partition, offset = record.offset, reason, "dead letter");
    counter!("breakdown_dead_letters_total", "reason" => reason).increment(1);
    let origin =
        Origin::Record { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
    let letter = DeadLetter::new(origin, None, reason, unsound.to_string(), record.timestamp, value)
        .after(Redrive::from_headers(|name| record.header(name)).as_ref());
    batch.says(letter.to_message()?);
    Ok(None)
}

/// The type as a metric label; a word from outside is never a label.
fn known_type(event: &IssueEvent) -> &'static str {
    let word = event.event_type.as_str();
    events::EventType::KNOWN.iter().find(|known| **known == word).copied().unwrap_or("other")
}
