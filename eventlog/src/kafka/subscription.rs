//! A member, for callers that do not block.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{blocking::Shared, cluster::Cluster, member::Member};
use crate::{LogError, Polled, Step, Subscription, SubscriptionSpec};

/// Membership in a group. The member joins at the first poll.
pub(super) struct KafkaSubscription {
    member: Shared<Member>,
    /// A commit was begun and has not returned: if it was dropped, what it did is not known.
    committing: bool,
}

impl KafkaSubscription {
    /// Checks that the topics fit together. Blocks.
    pub(super) fn open(cluster: Arc<Cluster>, spec: SubscriptionSpec) -> Result<Self, LogError> {
        let wanted = cluster.partitions_of(&spec.changelog)?;
        for input in &spec.inputs {
            let count = cluster.partitions_of(input)?;
            if count != wanted {
                return Err(LogError::Refused(format!(
                    "group {}: {input} has {count} partitions and {} has {wanted}: they must have as many",
                    spec.group, spec.changelog
                )));
            }
        }
        if spec.inputs.is_empty() {
            return Err(LogError::Refused(format!("group {} has no input topic", spec.group)));
        }
        Ok(Self { member: Shared::new(Member::new(cluster, spec)), committing: false })
    }

    async fn run<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Member, &std::sync::atomic::AtomicBool) -> Result<R, LogError> + Send + 'static,
    ) -> Result<R, LogError> {
        let cancelled = self.committing;
        let result = self.member.run(move |member, wanted| {
            if cancelled {
                member.lose();
            }
            work(member, wanted)
        });
        let result = result.await;
        // Not before: a call that was dropped may not have come to `lose`.
        self.committing = false;
        result
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let max = max_records.max(1);
        let until = Instant::now() + max_wait;
        self.run(move |member, wanted| member.poll(max, until, wanted)).await?;
        // Only now, when it is handed out for certain, does it count as said.
        Ok(self.member.with(|member| member.take(max)).unwrap_or(Polled::Idle))
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        let cancelled = self.committing;
        self.committing = true;
        let made = self.member.run(move |member, _| {
            if cancelled {
                member.lose();
                return Err(LogError::Lost(
                    "the step before was cancelled: what it did is not known".to_owned(),
                ));
            }
            member.commit(step)
        });
        let made = made.await;
        self.committing = false;
        made
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        let topic = topic.to_owned();
        self.run(move |member, _| member.caught_up(&topic, partition)).await
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        let topic = topic.to_owned();
        self.run(move |member, _| member.pause(&topic, partition, paused)).await
    }
}
