//! Into the group, and what it says there.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rdkafka::{
    consumer::{Consumer as _, ConsumerGroupMetadata},
    error::KafkaError,
    producer::Producer as _,
};

use super::{Assignment, Heard, Member, OFFSETS_WITHIN, Standing};
use crate::{
    LogError,
    kafka::{
        blocking::retire,
        cluster::PATIENCE,
        cursors::{Cursors, Place},
        failure::{classify, of_consumer, poll_once},
        group::{GroupConsumer, GroupEvent},
        producer::Receipts,
        reader::record_of,
        restore::{Patience, Restore},
    },
};

impl Member {
    /// Brings the clients up, one call at a time.
    pub(super) fn join(&mut self, wait: Duration) -> Result<(), LogError> {
        let group = &self.spec.group;
        let failed = |error| classify(&format!("join group {group}"), &error);
        match std::mem::replace(&mut self.standing, Standing::Out) {
            Standing::Out => {
                // Unique: a start never waits for, or fences, the one before it. Offsets are guarded by the group.
                let id = format!("{group}-{}", uuid::Uuid::new_v4());
                let producer = self.cluster.config.stepper(&id).create_with_context(Receipts);
                self.standing = Standing::Preparing(Arc::new(producer.map_err(failed)?));
                Ok(())
            }
            Standing::Preparing(producer) => {
                match producer.init_transactions(wait.max(Duration::from_millis(50))) {
                    Ok(()) => {
                        let consumer = GroupConsumer::join(&self.cluster.config, group, &self.spec.inputs)
                            .map_err(failed)?;
                        self.standing = Standing::In { producer, consumer };
                        Ok(())
                    }
                    Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                        self.standing = Standing::Preparing(producer);
                        match self.out_since.elapsed() > PATIENCE {
                            true => Err(failed(KafkaError::Transaction(error))),
                            false => Ok(()),
                        }
                    }
                    Err(error) => {
                        retire(producer);
                        Err(failed(error))
                    }
                }
            }
            standing => {
                self.standing = standing;
                Ok(())
            }
        }
    }

    /// Takes one message from the group's consumer, and what the group has to say.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Heard, LogError> {
        let Standing::In { consumer, .. } = &self.standing else { return Ok(Heard::Changed) };
        let heard = match poll_once(|wait| consumer.poll(wait), wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(record_of(&message))),
            Some(Err(error)) => Err(error),
        };
        let events = consumer.context().take();
        let changed = !events.is_empty();
        for event in events {
            self.forget();
            if let GroupEvent::Assigned { places, generation } = event {
                self.assign(&places, generation);
            }
        }
        match heard {
            Ok(_) if changed => Ok(Heard::Changed),
            Ok(None) => Ok(Heard::Nothing),
            Ok(Some((record, size))) => {
                let cursors = self.assignment.as_mut().map(|assignment| &mut assignment.cursors);
                let awaited =
                    cursors.is_some_and(|c| c.fetched(&record.topic, record.partition, record.offset));
                Ok(if awaited { Heard::Record(record, size) } else { Heard::Nothing })
            }
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                tracing::warn!(%error, group = self.spec.group, "the member cannot go on and rejoins");
                self.lose();
                Ok(Heard::Changed)
            }
            Err(error) => {
                let nothing = if changed { Heard::Changed } else { Heard::Nothing };
                of_consumer(&format!("poll group {}", self.spec.group), &error).map_or(Ok(nothing), Err)
            }
        }
    }

    /// Listens to the group while nothing is fetched.
    pub(super) fn listen(&mut self, wait: Duration) -> Result<(), LogError> {
        self.hear(wait).map(drop)
    }

    pub(super) fn assign(&mut self, places: &[Place], generation: ConsumerGroupMetadata) {
        let whole =
            |p: &u32| self.spec.inputs.iter().all(|input| places.iter().any(|(t, q)| t == input && q == p));
        let partitions: BTreeSet<u32> = places.iter().map(|(_, p)| *p).filter(whole).collect();
        if partitions.len() * self.spec.inputs.len() != places.len() {
            tracing::error!(
                group = self.spec.group,
                "a partition was not given with all inputs; it is left alone"
            );
        }
        self.cluster.watch.holds(&self.spec.group, &partitions);
        if !partitions.is_empty() {
            let session = self.cluster.config.session_timeout;
            let mut look = Patience::new(session, session);
            look.lose();
            self.assignment = Some(Assignment {
                generation: Arc::new(generation),
                restore: Some(Restore::of(partitions.clone())),
                partitions,
                ask_offsets: Patience::new(OFFSETS_WITHIN, 4 * OFFSETS_WITHIN),
                one_by_one: None,
                cursors: Cursors::default(),
                look,
            });
        }
    }

    /// Looks now and then whether anything that is read here stays undecided.
    pub(super) fn look(&mut self) {
        let Some(assignment) = &mut self.assignment else { return };
        if !assignment.look.left().is_zero() {
            return;
        }
        let topics: Vec<&str> =
            self.spec.inputs.iter().chain([&self.spec.changelog]).map(String::as_str).collect();
        let (cluster, group) = (&self.cluster, &self.spec.group);
        if let Err(error) = cluster.watch.look(cluster, group, &topics, &assignment.partitions) {
            tracing::debug!(%error, group, "it is not known whether anything stays undecided");
        }
        assignment.look.lose();
    }
}
