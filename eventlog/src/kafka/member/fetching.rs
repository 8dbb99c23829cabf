//! Records: how they come, how far they have come, and how they are stopped.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, error::KafkaResult};

use super::{Heard, Member, SETTLE_AFTER, Standing, is_at};
use crate::{
    LogError, Polled, Record,
    kafka::{
        cluster::Edge,
        cursors::Place,
        failure::classify,
        reader::{BATCH_BYTES, is_gap},
    },
};

impl Member {
    /// Fetches records: waits for the first, and takes whatever else is there already.
    pub(super) fn fetch(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let (mut records, mut bytes, mut left) = (Vec::new(), 0, wait);
        self.dry = false;
        while records.len() < max && bytes < BATCH_BYTES {
            match self.hear(left) {
                Ok(Heard::Record(record, size)) => {
                    (bytes, left) = (bytes + size, Duration::ZERO);
                    match self.paused.iter().find(|place| is_at(&record, place)) {
                        Some(place) => self.aside.entry(place.clone()).or_default().push_back(record),
                        None => records.push(record),
                    }
                }
                Ok(Heard::Changed) => return Ok(()),
                Ok(Heard::Nothing) => {
                    self.dry = true;
                    break;
                }
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if !records.is_empty() {
            self.ready.push_back(Polled::Records(records));
        } else if Instant::now() >= self.settle_at {
            self.settle_at = Instant::now() + SETTLE_AFTER;
            self.settle();
        }
        Ok(())
    }

    /// Where the consumer stands in each input partition, past records that were given and past markers. Nothing, while
    /// there are records that it has passed and that were not given.
    pub(super) fn seen(&self) -> BTreeMap<Place, u64> {
        let Standing::In { consumer, .. } = &self.standing else { return BTreeMap::new() };
        let waiting = self.aside.values().any(|records| !records.is_empty());
        if waiting || self.ready.iter().any(|said| matches!(said, Polled::Records(_))) {
            return BTreeMap::new();
        }
        let positions: KafkaResult<TopicPartitionList> = consumer.position();
        let known = |((topic, partition), offset): ((String, i32), Offset)| match offset {
            Offset::Offset(offset) if offset >= 0 => Some(((topic, partition as u32), offset as u64)),
            _ => None,
        };
        positions
            .map_or_else(|_| BTreeMap::new(), |p| p.to_topic_map().into_iter().filter_map(known).collect())
    }

    pub(in crate::kafka) fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        let place = (topic.to_owned(), partition);
        let (true, Some(assignment)) = (self.held.contains(&partition), &self.assignment) else {
            return Err(LogError::Lost(format!(
                "partition {partition} is not held by this member of {}",
                self.spec.group
            )));
        };
        let Some(position) = assignment.cursors.position(&place, &self.seen()) else {
            return Err(LogError::Refused(format!("{topic} is no input of group {}", self.spec.group)));
        };
        let end =
            self.cluster.edges(Edge::End, &[(topic, partition)])?.into_iter().next().unwrap_or(u64::MAX);
        let waiting = self.aside.contains_key(&place)
            || self
                .ready
                .iter()
                .any(|said| matches!(said, Polled::Records(r) if r.iter().any(|r| is_at(r, &place))));
        if waiting || position >= end {
            return Ok(!waiting);
        }
        Ok((self.dry || self.paused.contains(&place))
            && is_gap(&self.cluster, topic, partition, position, end)?)
    }

    pub(in crate::kafka) fn pause(
        &mut self,
        topic: &str,
        partition: u32,
        paused: bool,
    ) -> Result<(), LogError> {
        let (Standing::In { consumer, .. }, true) = (&self.standing, self.held.contains(&partition)) else {
            return Err(LogError::Lost(format!(
                "partition {partition} is not held by this member of {}",
                self.spec.group
            )));
        };
        let mut places = TopicPartitionList::new();
        places.add_partition(topic, partition as i32);
        let failed = |error| classify(&format!("pause {topic} partition {partition}"), &error);
        let place = (topic.to_owned(), partition);
        if paused {
            consumer.pause(&places).map_err(failed)?;
            for said in &mut self.ready {
                if let Polled::Records(records) = said {
                    let (stopped, go_on) =
                        std::mem::take(records).into_iter().partition(|record| is_at(record, &place));
                    *records = go_on;
                    let stopped: Vec<Record> = stopped;
                    self.aside.entry(place.clone()).or_default().extend(stopped);
                }
            }
            self.ready.retain(|said| !matches!(said, Polled::Records(records) if records.is_empty()));
            self.aside.retain(|_, records| !records.is_empty());
            self.paused.insert(place);
        } else {
            self.paused.remove(&place);
            if let Some(records) = self.aside.remove(&place) {
                self.ready.push_front(Polled::Records(records.into()));
            }
            consumer.resume(&places).map_err(failed)?;
        }
        Ok(())
    }
}
