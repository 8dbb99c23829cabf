//! A member's consumer, and what the group tells it.

use std::{
    ops::Deref,
    sync::Mutex,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};

use super::{KafkaConfig, cluster::trace};

/// A change of what a member holds. All partitions are dealt out anew at each change (eager protocol).
pub(super) enum GroupEvent {
    /// The member may take these `(topic, partition)` over.
    Assigned {
        places: Vec<(String, u32)>,
        /// Who the member is, in the generation in which it was given them: a step says so, and is refused when
        /// another generation has begun.
        generation: ConsumerGroupMetadata,
    },
    /// The member holds nothing any more.
    Revoked,
}

/// Keeps what the group says until the member looks.
#[derive(Default)]
pub(super) struct GroupContext(Mutex<Vec<GroupEvent>>);

impl GroupContext {
    pub(super) fn take(&self) -> Vec<GroupEvent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn push(&self, event: GroupEvent) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(event);
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for GroupContext {
    /// Accepts every change, and starts to fetch nothing: the member assigns its partitions to the consumer, with
    /// explicit offsets, when they are restored. Runs within the consumer's poll.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        change: RDKafkaRespErr,
        places: &mut TopicPartitionList,
    ) {
        let (accepted, event) = if change == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let generation = consumer.group_metadata();
            let places =
                places.elements().iter().map(|e| (e.topic().to_owned(), e.partition() as u32)).collect();
            let event = generation.map(|generation| GroupEvent::Assigned { places, generation });
            (consumer.assign(&TopicPartitionList::new()), event)
        } else {
            (consumer.unassign(), Some(GroupEvent::Revoked))
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "the consumer did not accept a change of its partitions");
        }
        self.push(event.unwrap_or(GroupEvent::Revoked));
    }
}

/// A consumer in a group.
pub(super) struct GroupConsumer(BaseConsumer<GroupContext>);

impl GroupConsumer {
    /// Joins `group` for `inputs`.
    pub(super) fn join(config: &KafkaConfig, group: &str, inputs: &[String]) -> Result<Self, KafkaError> {
        let consumer = Self(config.member(group).create_with_context(GroupContext::default())?);
        consumer.subscribe(&inputs.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(consumer)
    }

    /// Stops fetching `places`. Unlike the client's own call, which always succeeds, it looks at what was said of each place.
    pub(super) fn pause(&self, places: &TopicPartitionList) -> KafkaResult<()> {
        self.0.pause(places)?;
        places.elements().iter().try_for_each(|place| place.error())
    }
}

impl Deref for GroupConsumer {
    type Target = BaseConsumer<GroupContext>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for GroupConsumer {
    /// Leaves the group before the consumer is closed. A change that arrives while librdkafka closes would be answered
    /// with a call that, when it comes too late, is never answered itself: the close would hang for ever.
    fn drop(&mut self) {
        const QUIET: Duration = Duration::from_millis(50);
        let give_up = Instant::now() + Duration::from_secs(2);
        self.unsubscribe();
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < give_up {
            let message = self.poll(QUIET).is_some();
            let changed = !self.context().take().is_empty();
            quiet = if message || changed { 0 } else { quiet + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_paused_is_an_error() {
        // Nothing listens on the discard port: no broker has told of the topic.
        let consumer =
            GroupConsumer::join(&KafkaConfig::new("127.0.0.1:9"), "g", &["in".to_owned()]).unwrap();
        let mut places = TopicPartitionList::new();
        consumer.pause(&places).unwrap();
        places.add_partition("in", 0);
        let error = consumer.pause(&places).unwrap_err();
        assert!(error.rdkafka_error_code().is_some(), "{error}");
    }
}
