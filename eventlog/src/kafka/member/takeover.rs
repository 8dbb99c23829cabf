//! Taking over what the group gave: first what is kept of it, then the offsets, then the records.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, types::RDKafkaErrorCode as Code};

use super::{Assignment, Member, OFFSETS_WITHIN, Standing};
use crate::{
    LogError, Polled,
    kafka::{cluster::Edge, failure::classify, watch::OFFSETS},
};

impl Member {
    pub(super) fn restore(&mut self, max: usize, wait: Duration) -> Result<(), LogError> {
        let Some(Assignment { restore: Some(restore), .. }) = &mut self.assignment else { return Ok(()) };
        self.ready.extend(restore.advance(&self.cluster, &self.spec.changelog, max, wait)?);
        self.take_places()
    }

    /// Begins to fetch what is restored from the group's offsets. They are asked for only now: no step of a
    /// former holder that touched the changelog is undecided any more, and for one that did not, the broker makes
    /// readers of committed records wait.
    fn take_places(&mut self) -> Result<(), LogError> {
        let (Standing::In { consumer, .. }, Some(assignment)) = (&self.standing, &mut self.assignment) else {
            return Ok(());
        };
        let Some(restore) = &mut assignment.restore else { return Ok(()) };
        if restore.restored().is_empty() || !assignment.ask_offsets.left().is_zero() {
            return Ok(());
        }
        let group = &self.spec.group;
        let failed = |error| classify(&format!("ask for the offsets of group {group}"), &error);
        // The broker answers for all or for none. After one that is undecided the next gets its turn.
        let restored = restore.restored();
        let asked: BTreeSet<u32> = match assignment.one_by_one {
            None => restored.clone(),
            Some(last) => restored.range(last + 1..).chain(restored).copied().take(1).collect(),
        };
        let inputs = &self.spec.inputs;
        let places: Vec<(&str, u32)> =
            inputs.iter().flat_map(|t| asked.iter().map(|p| (t.as_str(), *p))).collect();
        let mut question = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in &places {
            question.add_partition(topic, *partition as i32);
        }
        let committed = match consumer.committed_offsets(question, OFFSETS_WITHIN) {
            Ok(committed) => committed,
            // A step is still undecided, or the coordinator is away; the group is listened to in between.
            Err(error) if error.rdkafka_error_code() == Some(Code::OperationTimedOut) => {
                if let (1, Some(partition)) = (asked.len(), asked.first()) {
                    let (watch, session) = (&self.cluster.watch, self.cluster.config.session_timeout);
                    match self.cluster.answers_for(group, &places) {
                        Ok(()) => watch.undecided(group, *partition, OFFSETS, None, session, Instant::now()),
                        Err(error) => {
                            tracing::debug!(%error, group, "it is not known whether the group's offsets are undecided");
                            watch.unknown(group, *partition, OFFSETS);
                        }
                    }
                }
                assignment.one_by_one = asked.last().copied();
                assignment.ask_offsets.lose();
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let firsts = self.cluster.edges(Edge::First, &places)?;
        for ((topic, partition), first) in places.into_iter().zip(firsts) {
            let found = committed.find_partition(topic, partition as i32);
            let offset = match found.as_ref().map(|found| (found.error(), found.offset())) {
                Some((Err(error), _)) => return Err(failed(error)),
                Some((Ok(()), Offset::Offset(offset))) => u64::try_from(offset).ok(),
                _ => None,
            };
            assignment.cursors.begin((topic.to_owned(), partition), offset, first);
        }
        // Partitions that were fetched before go on where they are.
        let mut start = TopicPartitionList::new();
        for ((topic, partition), offset) in assignment.cursors.fetching() {
            let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            start.add_partition_offset(topic, *partition as i32, offset).map_err(failed)?;
        }
        consumer.assign(&start).map_err(failed)?;
        let mut paused = TopicPartitionList::new();
        for (topic, partition) in &self.paused {
            paused.add_partition(topic, *partition as i32);
        }
        if let Err(error) = consumer.pause(&paused) {
            // What would come of them has no bound.
            tracing::warn!(%error, group, "partitions that were paused do not stay so; the member rejoins");
            self.lose();
            return Ok(());
        }
        restore.taken(&asked);
        if restore.is_over() {
            assignment.restore = None;
        }
        assignment.ask_offsets.renew();
        for partition in asked {
            self.cluster.watch.decided(group, partition, OFFSETS);
            self.ready.push_back(Polled::Assigned { partition });
        }
        Ok(())
    }
}
