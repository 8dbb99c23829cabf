//! One partition's fold: records and timers in, decisions out.

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{DeadLetter, IssueEvent, Origin, Outcome, PolicyChange, topic};
use metrics::counter;
use policy::{
    Decided, Decision, Input, Repeats, Ruleset, State, fire_timers, switch_policy, take_event, take_outcome,
};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

use crate::{GatewayError, batch::Batch};

/// The longest id taken from a record: ids become keys of the state, and many of them one entry.
const MAX_ID_BYTES: usize = 512;

/// A partition that is held, or being restored.
pub(crate) struct Partition {
    number: u32,
    pub(crate) state: State,
}

impl Partition {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, state: State::default() }
    }

    pub(crate) fn next_timer_at(&self) -> Option<DateTime<Utc>> {
        self.state.next_timer().map(|timer| timer.due_at)
    }

    /// Takes one record of the changelog back.
    pub(crate) fn restore(&mut self, record: &Record) -> Result<(), GatewayError> {
        self.state.restore(&record.key, record.value.as_deref()).map_err(|error| GatewayError::State {
            partition: self.number,
            offset: record.offset,
            error,
        })
    }

    /// The state is whole. If another policy decided last, this one takes over, silently, before the first decision.
    pub(crate) fn assigned(
        &mut self,
        ruleset: &Ruleset,
        wall: DateTime<Utc>,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        if self.state.policy_hash() == Some(ruleset.hash()) {
            return Ok(());
        }
        batch.decides_for(self.number);
        // The partition's own time, not the wall's: what is still unread on the log keeps its order with the timers.
        let now = self.state.clock().unwrap_or(DateTime::UNIX_EPOCH);
        let decision = switch_policy(&self.state, now, ruleset);
        write(self.number, &decision, batch)?;
        self.state.apply(decision);
        info!(partition = self.number, policy = ruleset.hash(), "policy takes effect");
        let inputs = [topic::ISSUES, topic::OUTCOMES];
        batch.says(
            PolicyChange {
                partition: self.number,
                policy_hash: ruleset.hash().to_owned(),
                offsets: inputs.map(|input| (input.to_owned(), self.state.consumed(input))).into(),
                at: wall,
                clock: self.state.clock(),
                policy: ruleset.text().to_owned(),
            }
            .to_message()?,
        );
        Ok(())
    }

    /// Takes one record of an input, after every timer that was due by then.
    pub(crate) fn take(
        &mut self,
        record: &Record,
        ruleset: &Ruleset,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        batch.decides_for(self.number);
        if record.offset < self.state.consumed(&record.topic) {
            // The group's offsets were set back by hand; the state says that this was decided.
            debug!(topic = record.topic, partition = self.number, offset = record.offset, "already decided");
            return Ok(());
        }
        let consumed = self.state.set_consumed(&record.topic, record.offset + 1);
        batch.changes(self.number, [consumed]);
        if record.topic == topic::OUTCOMES {
            if let Some(outcome) = self.read::<Outcome>(
                record,
                |it| [&it.project_id, &it.event_id, it.action_id.as_deref().unwrap_or("-")],
                batch,
            )? {
                batch.risk_changes(self.number, &outcome.project_id);
                let mut sink = sink(self.number, batch);
                take_outcome(&mut self.state, &outcome, record.timestamp, ruleset, &mut sink)?;
            }
            return Ok(());
        }
        let event =
            self.read::<IssueEvent>(record, |it| [&it.project_id, &it.event_id, &it.issue_ref], batch)?;
        match event {
            Some(event) => {
                counter!("breakdown_events_total", "type" => known_type(&event)).increment(1);
                let hash = record.header("payload_hash");
                let mut sink = sink(self.number, batch);
                take_event(&mut self.state, &event, hash, record.timestamp, Repeats::Last, ruleset, &mut sink)
            }
            None => self.fire(record.timestamp, usize::MAX, ruleset, batch),
        }
    }

    /// Decides the timers due at or before `until`, at most `limit`.
    pub(crate) fn fire(
        &mut self,
        until: DateTime<Utc>,
        limit: usize,
        ruleset: &Ruleset,
        batch: &mut Batch,
    ) -> Result<(), GatewayError> {
        if self.next_timer_at().is_some_and(|due| due <= until) {
            batch.decides_for(self.number);
        }
        let mut sink = sink(self.number, batch);
        fire_timers(&mut self.state, until, limit, Repeats::Last, ruleset, &mut sink)
    }

    /// The record's value, or `None` and a dead letter: the partition moves on. The first of `ids` is the project.
    fn read<T: DeserializeOwned>(
        &self,
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
        warn!(
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            reason,
            "dead letter"
        );
        counter!("breakdown_dead_letters_total", "reason" => reason).increment(1);
        let origin = Origin::Record {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
        };
        let letter = DeadLetter::new(origin, None, reason, detail, record.timestamp, value);
        batch.says(letter.to_message()?);
        Ok(None)
    }
}

/// Writes what is decided into the batch.
fn sink(number: u32, batch: &mut Batch) -> impl FnMut(Decided<'_>) -> Result<(), GatewayError> {
    move |decided| {
        if let Input::Timer(_) = decided.input {
            counter!("breakdown_timers_total").increment(1);
        }
        write(number, decided.decision, batch)
    }
}

fn write(number: u32, decision: &Decision, batch: &mut Batch) -> Result<(), GatewayError> {
    batch.changes(number, decision.keys());
    for note in &decision.notes {
        counter!("breakdown_notes_total", "note" => note.name()).increment(1);
        debug!(partition = number, ?note, "noted");
    }
    for action in &decision.actions {
        let rule = action.rule.clone().unwrap_or_default();
        counter!("breakdown_decided_actions_total", "action" => action.action.to_string(), "rule" => rule)
            .increment(1);
        info!(
            action = %action.action, target = action.target, rule = action.rule, issue = action.issue_ref,
            id = action.event_id, "decided"
        );
        batch.says(action.to_message()?);
    }
    Ok(())
}

/// The type as a metric label; a word from outside is never a label.
fn known_type(event: &IssueEvent) -> &'static str {
    let word = event.event_type.as_str();
    events::EventType::KNOWN.iter().find(|known| **known == word).copied().unwrap_or("other")
}
