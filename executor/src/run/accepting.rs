//! Step one: what becomes of an action when its record comes. It is pending from here on, has ended without an attempt, or is deferred
//! because its carrier has no room; so nothing that comes has to wait for a target.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{Action, ActionKind, DeadLetter, Earlier, Recorded, Redrive, topic};

use super::{Executor, count_dead_letter, parking::Lot};
use crate::{
    ExecutorError, accept, conclude,
    conclude::{Ended, Gone},
    deferred::deferred_key,
    partition::{Met, Partition},
    pauses,
    state::{DeferredEntry, Entry, Pending},
    step::Draft,
};

/// An action of a partition.
type Place = (u32, Arc<str>);

/// Step one as it is put together. Memory does not know of it before it is made.
#[derive(Default)]
pub(super) struct Acceptance {
    pub(super) draft: Draft,
    accepted: Vec<(u32, Arc<str>, Pending)>,
    ended: Vec<(u32, Arc<str>, Ended)>,
    deferred: BTreeMap<Place, (Option<usize>, DeferredEntry)>,
    /// What was deferred, and is no more.
    taken_up: BTreeSet<Place>,
    met: BTreeSet<Place>,
    /// What is taken back: a redrive in the same step is to know.
    taken_back: BTreeSet<Place>,
    /// Places that are taken in this step.
    filled: BTreeMap<Lot, usize>,
    /// Of which something was deferred, or stayed so: whatever follows has to wait, too.
    closed: BTreeSet<Lot>,
    dead: Vec<DeadLetter>,
    duplicates: u64,
}

impl Executor {
    /// Step one for all that was polled.
    pub(super) async fn accept(&mut self, records: &[Record]) -> Result<(), ExecutorError> {
        let now = self.clock.now();
        let (mut step, mut words) = (Acceptance::default(), BTreeMap::new());
        for record in records {
            let partition = record.partition;
            let Some(held) = self.held.get(&partition) else { continue };
            step.draft.decide_for(partition);
            if record.topic != topic::CONTROL {
                self.judge(record, held, None, &mut step, now)?;
                continue;
            }
            match pauses::read(record, now) {
                Ok(control) => {
                    words.insert((partition, control.project_id().to_owned()), (control, record.timestamp));
                }
                Err(letter) => step.bury(letter)?,
            }
        }
        let words = self.news(words, &mut step.draft)?;
        // Before the step: once it is made, whoever said it takes it for heard.
        self.call_off(&words);
        if self.commit(std::mem::take(&mut step.draft)).await? {
            self.heed(words);
            self.accepted(step, now);
        }
        Ok(())
    }

    /// Step one for deferred actions of a lot. `records`, in their order, are those of `wanted` that are still there; of the others it is
    /// known that they are not.
    pub(super) async fn accept_deferred(
        &mut self,
        (partition, carrier): Lot,
        wanted: &[(u64, Arc<str>)],
        records: &[Record],
    ) -> Result<(), ExecutorError> {
        let now = self.clock.now();
        let mut step = Acceptance::default();
        let Some(held) = self.held.get(&partition) else { return Ok(()) };
        for place in wanted {
            // Taken up meanwhile, or by another.
            if !held.deferrals().waits_at(carrier, place) {
                continue;
            }
            let (offset, id) = place;
            match records.binary_search_by_key(offset, |record| record.offset) {
                Ok(there) => self.judge(&records[there], held, Some((carrier, id)), &mut step, now)?,
                Err(_) => give_up(partition, held, id, Gone::Removed, &mut step, now)?,
            }
        }
        if self.commit(std::mem::take(&mut step.draft)).await? {
            self.accepted(step, now);
        }
        Ok(())
    }

    /// What becomes of an action whose record came; `again` where it was deferred, behind which carrier and under which id.
    fn judge(
        &self,
        record: &Record,
        held: &Partition,
        again: Option<(Option<usize>, &Arc<str>)>,
        step: &mut Acceptance,
        now: DateTime<Utc>,
    ) -> Result<(), ExecutorError> {
        let partition = record.partition;
        let target = |action: &Action| self.routes.carrier_of(action);
        let read = accept::read(record, now, target);
        if let Some((_, known)) = again
            && !read.as_ref().is_ok_and(|pending| pending.action.event_id == **known)
        {
            // Not what was there: the topic is another one. What stands there now came, or comes, by itself.
            return give_up(partition, held, known, Gone::Replaced, step, now);
        }
        let mut pending = match read {
            Ok(pending) => pending,
            Err(letter) => return step.bury(letter),
        };
        let id: Arc<str> = pending.action.event_id.as_str().into();
        let place = (partition, id.clone());
        let deferred_before = again.is_none() && held.deferrals().get(&id).is_some();
        match held.meet(&id, pending.entry.redrive.as_ref()) {
            Met::New(supersedes) if !deferred_before && step.met.insert(place.clone()) => {
                pending.entry.supersedes = supersedes;
            }
            _ => {
                step.duplicates += 1;
                if again.is_some() {
                    step.take_up(partition, &id);
                }
                return Ok(());
            }
        }
        let taken_back = Earlier::taken_back_by(&pending.action);
        step.taken_back.extend(taken_back.map(|of| (partition, of.action_id.as_str().into())));
        // What follows another up is not to overtake it, wherever that waits.
        let behind = Earlier::of(&pending.action)
            .and_then(|of| step.behind(held, partition, &of.action_id, record.offset));
        if let Some(carrier) = behind {
            return self.defer(place, carrier, &pending, again.map(|(carrier, _)| carrier), step);
        }
        let end = match pending.entry.redrive {
            Some(_) if pending.action.action.leaves_open() && step.is_taken_back(held, &place) => {
                Some(conclude::withdrawn(&pending, now))
            }
            _ => self.without_attempt(&pending, partition, now),
        };
        let lot = (partition, pending.target);
        if end.is_none() && !self.has_room(lot, held, again.map(|(carrier, _)| carrier), step) {
            return self.defer(place, pending.target, &pending, again.map(|(carrier, _)| carrier), step);
        }
        if again.is_some() {
            step.take_up(partition, &id);
        }
        match end {
            Some(end) => {
                step.draft.end(partition, &id, &end, now)?;
                step.ended.push((partition, id, end));
            }
            None => {
                step.draft.keep(partition, &id, &Entry::Pending(pending.entry.clone()))?;
                if !held.holds_back(&pending) {
                    *step.filled.entry(lot).or_default() += 1;
                }
                step.accepted.push((partition, id, pending));
            }
        }
        Ok(())
    }

    /// Whether one more action of the lot may become pending: fewer than the most are, and nothing before it waits, but those that are
    /// taken up from behind the carrier `from`.
    fn has_room(&self, lot: Lot, held: &Partition, from: Option<Option<usize>>, step: &Acceptance) -> bool {
        let (_, carrier) = lot;
        let is_next = from == Some(carrier) || held.deferrals().of(carrier) == 0;
        let waiting = carrier.and_then(|carrier| held.waiting().get(&carrier)).copied().unwrap_or_default();
        let filled = step.filled.get(&lot).copied().unwrap_or_default();
        is_next && !step.closed.contains(&lot) && waiting + filled < self.config.pending_max.max(1)
    }

    /// The action waits behind those of this carrier; it did so before where that is `from`.
    fn defer(
        &self,
        (partition, id): Place,
        carrier: Option<usize>,
        pending: &Pending,
        from: Option<Option<usize>>,
        step: &mut Acceptance,
    ) -> Result<(), ExecutorError> {
        step.closed.insert((partition, carrier));
        if from == Some(carrier) {
            return Ok(());
        }
        let by = carrier.and_then(|carrier| self.routes.get(carrier)).map_or("", |carrier| &carrier.key);
        let entry = DeferredEntry {
            offset: pending.entry.offset,
            round: pending.entry.round(),
            by: by.to_owned(),
            project_id: pending.action.project_id.clone(),
            action: pending.action.action.clone(),
            takes_back: Earlier::taken_back_by(&pending.action).map(|of| of.action_id),
        };
        step.draft.keep(partition, &deferred_key(&id), &Entry::Deferred(entry.clone()))?;
        step.deferred.insert((partition, id), (carrier, entry));
        Ok(())
    }

    /// The step was made.
    fn accepted(&mut self, step: Acceptance, now: DateTime<Utc>) {
        metrics::counter!("breakdown_duplicate_actions_total").increment(step.duplicates);
        for letter in step.dead {
            tracing::warn!(reason = letter.reason, detail = letter.detail, "a record is a dead letter");
            count_dead_letter(&letter.reason);
        }
        for (partition, id) in &step.taken_up {
            if let Some(held) = self.held.get_mut(partition) {
                held.take_up(id);
            }
        }
        for ((partition, id), (carrier, entry)) in step.deferred {
            if let Some(held) = self.held.get_mut(&partition) {
                held.defer(id, carrier, &entry);
            }
        }
        self.put(step.accepted);
        self.end(step.ended, now);
    }
}

/// The end of a deferred action whose record is there no more.
fn give_up(
    partition: u32,
    held: &Partition,
    id: &Arc<str>,
    why: Gone,
    step: &mut Acceptance,
    now: DateTime<Utc>,
) -> Result<(), ExecutorError> {
    let Some(deferred) = held.deferrals().get(id) else { return Ok(()) };
    step.take_up(partition, id);
    let redrive = Redrive { round: deferred.round, letter: String::new(), supersedes: None };
    match held.meet(id, Some(&redrive).filter(|redrive| redrive.round > 0)) {
        Met::New(before) => {
            let opened = deferred.round > 0 && ActionKind::from(deferred.about.kind.as_str()).leaves_open();
            let is_back = opened && step.is_taken_back(held, &(partition, id.clone()));
            let why = if is_back { Gone::Withdrawn } else { why };
            let end = conclude::gone((partition, id), deferred, why, before, held.tie_of(id), now);
            step.draft.end(partition, id, &end, now)?;
            step.ended.push((partition, id.clone(), end));
        }
        Met::Duplicate => step.duplicates += 1,
    }
    Ok(())
}

impl Acceptance {
    /// A record that is a dead letter.
    fn bury(&mut self, letter: Box<DeadLetter>) -> Result<(), ExecutorError> {
        self.draft.say(letter.to_message())?;
        self.dead.push(*letter);
        Ok(())
    }

    /// Whether something takes an action back, or has.
    fn is_taken_back(&self, held: &Partition, place: &Place) -> bool {
        held.is_taken_back(&place.1) || self.taken_back.contains(place)
    }

    /// The action is deferred no more.
    fn take_up(&mut self, partition: u32, id: &Arc<str>) {
        self.draft.forget(partition, &deferred_key(id));
        self.taken_up.insert((partition, id.clone()));
    }

    /// The carrier behind which an action waits that stands before `offset`; `None` where it does not wait.
    fn behind(&self, held: &Partition, partition: u32, id: &str, offset: u64) -> Option<Option<usize>> {
        let place = (partition, Arc::from(id));
        if let Some((carrier, entry)) = self.deferred.get(&place) {
            return Some(*carrier).filter(|_| entry.offset < offset);
        }
        let deferred = held.deferrals().get(id).filter(|deferred| deferred.offset < offset)?;
        (!self.taken_up.contains(&place)).then_some(deferred.about.carrier)
    }
}
