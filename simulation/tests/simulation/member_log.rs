//! The log as one member has it: the embedded one, behind moments that the dice choose. Every call can be late, and every member
//! can be frozen, cut off or killed wherever it waits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Record, Step, Subscription,
    SubscriptionSpec, TopicInfo, TopicSpec, embedded::EmbeddedLog,
};
use events::{Action, topic};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{sabotage::Sabotage, schedule::Role, shared::Shared};

/// Most records that one poll gives: so few that a history takes several.
const BATCH: usize = 6;

pub struct MemberLog {
    pub log: EmbeddedLog,
    pub shared: Arc<Shared>,
    pub role: Role,
}

fn away() -> LogError {
    LogError::Unavailable("made to be away".into())
}

#[async_trait]
impl Log for MemberLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }

    async fn append(&self, mut records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.shared.dawdle(self.role).await;
        if self.shared.is_away(self.role) {
            return Err(away());
        }
        if self.shared.is(Sabotage::AckBeforeAppend) && self.shared.lock().up_to(4) == 1 {
            return Ok(vec![Position { partition: 0, offset: 1_000 }]);
        }
        if self.shared.is(Sabotage::AnyPartition) {
            let partition = self.shared.lock().up_to(crate::PARTITIONS as usize) as u32 - 1;
            records.iter_mut().for_each(|record| record.partition = Some(partition));
        }
        if self.shared.is(Sabotage::NewIdentity) {
            records.iter_mut().for_each(|record| self.rename(record));
        }
        let appended = self.log.append(records).await;
        self.shared.dawdle(self.role).await;
        appended
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.log.topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.log.groups().await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.shared.dawdle(self.role).await;
        if self.shared.is_away(self.role) {
            return Err(away());
        }
        self.log.read(topic, from).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        self.shared.dawdle(self.role).await;
        if self.shared.is_away(self.role) {
            return Err(away());
        }
        if self.shared.is(Sabotage::WritesAtRest) {
            let record = NewRecord {
                topic: topic::DEAD_LETTERS.into(),
                partition: None,
                key: Bytes::new(),
                value: None,
                headers: Vec::new(),
            };
            self.log.append(vec![record]).await?;
        }
        let inner = self.log.subscribe(spec).await?;
        self.shared.news.notify_waiters();
        let (log, shared, role) = (self.log.clone(), self.shared.clone(), self.role);
        Ok(Box::new(MemberSubscription { log, shared, role, inner, polled: BTreeMap::new() }))
    }
}

impl MemberLog {
    /// The event under another id, without the hash of its payload.
    fn rename(&self, record: &mut NewRecord) {
        let Some(value) = &record.value else { return };
        let mut event: serde_json::Value = serde_json::from_slice(value).unwrap();
        let new = self.shared.lock().turns;
        event["event_id"] = format!("{}-{new}", event["event_id"].as_str().unwrap()).into();
        record.value = Some(serde_json::to_vec(&event).unwrap().into());
        record.headers.retain(|(name, _)| name != "payload_hash");
    }
}

struct MemberSubscription {
    log: EmbeddedLog,
    shared: Arc<Shared>,
    role: Role,
    inner: Box<dyn Subscription>,
    /// By partition: up to where `control` was polled.
    polled: BTreeMap<u32, u64>,
}

impl Drop for MemberSubscription {
    fn drop(&mut self) {
        self.shared.news.notify_waiters();
    }
}

impl MemberSubscription {
    async fn unless_away(&mut self, within: Duration) -> Result<(), LogError> {
        if self.shared.is_away(self.role) {
            sleep(within.min(Duration::from_millis(200))).await;
            return Err(away());
        }
        Ok(())
    }

    /// What an executor is told of `control`.
    fn hear(&mut self, polled: &Polled) {
        match polled {
            Polled::Assigned { partition } if matches!(self.role, Role::Executor(_)) => {
                self.polled.remove(partition);
                self.shared.watch(|witness| witness.assigned(self.role, *partition));
            }
            Polled::Records(records) => {
                let control = records.iter().filter(|record| record.topic == topic::CONTROL);
                self.polled.extend(control.map(|record| (record.partition, record.offset + 1)));
            }
            _ => {}
        }
    }

    fn doctor(&self, step: &mut Step) {
        let twice = |step: &mut Step, topic: &str| {
            let again: Vec<_> = step.append.iter().filter(|record| record.topic == topic).cloned().collect();
            step.append.extend(again);
        };
        let without = |step: &mut Step, topic: &str| step.append.retain(|record| record.topic != topic);
        match self.shared.sabotage {
            Some(Sabotage::ActionsTwice) => twice(step, topic::ACTIONS),
            Some(Sabotage::OutcomesTwice) => twice(step, topic::OUTCOMES),
            Some(Sabotage::ForgetsActions) => without(step, topic::ACTIONS),
            Some(Sabotage::ForgetsOutcomes) => without(step, topic::OUTCOMES),
            Some(Sabotage::CountsBoth) => {
                for record in step.append.iter_mut().filter(|record| record.topic == topic::OUTCOMES) {
                    let Some(value) = &record.value else { continue };
                    let mut outcome: serde_json::Value = serde_json::from_slice(value).unwrap();
                    if outcome["supersedes"].is_string() {
                        outcome["risk_delta"] = 0.1.into();
                    }
                    record.value = Some(serde_json::to_vec(&outcome).unwrap().into());
                }
            }
            Some(Sabotage::ForgetsState) => step.append.retain(|record| {
                // How far it is consumed stays: that is another checker's.
                let consumed = record.key.windows(8).any(|part| part == b"consumed");
                record.topic != topic::GATEWAY_STATE || consumed
            }),
            _ => {}
        }
    }
}

#[async_trait]
impl Subscription for MemberSubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + max_wait;
        let shared = self.shared.clone();
        loop {
            let news = shared.news.notified();
            self.shared.dawdle(self.role).await;
            self.unless_away(max_wait).await?;
            let max = max_records.min(self.shared.lock().up_to(BATCH));
            // Nothing is waited for after this: what the log has given is in the caller's hand.
            let mut polled = self.inner.poll(max, Duration::ZERO).await?;
            self.hear(&polled);
            match &mut polled {
                Polled::Idle if Instant::now() < deadline => {
                    let _ = timeout_at(deadline, news).await;
                    continue;
                }
                Polled::Revoked { .. } => self.shared.news.notify_waiters(),
                Polled::Restoring { records, .. } if self.shared.is(Sabotage::RestoresLess) => {
                    records.pop();
                }
                Polled::Restoring { records, .. } if self.shared.is(Sabotage::RestoresNoPauses) => {
                    records.retain(|record| !record.key.starts_with(b"control "));
                }
                Polled::Records(records) if self.shared.is(Sabotage::DeafToControl) => {
                    records.retain(|record| record.topic != topic::CONTROL);
                }
                Polled::Records(records) if self.shared.is(Sabotage::DeafToRedrives) => {
                    for record in records {
                        let headers = record.headers.iter().filter(|(name, _)| *name != "redrive");
                        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                        record.headers = headers.collect();
                    }
                }
                Polled::Records(records) if self.shared.is(Sabotage::FollowUpsLast) => {
                    let follows_up = |record: &&mut Record| {
                        let value = record.value.as_deref().unwrap_or_default();
                        let action = serde_json::from_slice::<Action>(value);
                        record.topic == topic::ACTIONS && action.is_ok_and(|it| it.action.follows_up())
                    };
                    records.iter_mut().filter(follows_up).for_each(|record| record.offset += 1_000_000);
                }
                Polled::Records(records) if self.shared.is(Sabotage::Reversed) => records.reverse(),
                _ => {}
            }
            return Ok(polled);
        }
    }

    async fn commit(&mut self, mut step: Step) -> Result<(), LogError> {
        let frozen = self.shared.lock().next_step();
        if let Some(millis) = frozen {
            self.shared.trace(|| format!("{} is frozen before a step, for {millis} ms", self.role));
            self.shared.freeze(self.role, millis);
        }
        self.shared.dawdle(self.role).await;
        self.doctor(&mut step);
        let executor = matches!(self.role, Role::Executor(_));
        if self.shared.is(Sabotage::RefusesSteps) {
            return Err(LogError::Refused("made to be refused".into()));
        }
        if self.shared.is(Sabotage::StepsInMemoryOnly) && executor {
            return Ok(());
        }
        if self.shared.is(Sabotage::ForgetsOffsets) && !step.append.is_empty() {
            return self.log.append(step.append).await.map(drop);
        }
        let (again, partitions) = (step.append.clone(), step.partitions.clone());
        let mut made = self.inner.commit(step).await;
        match &made {
            Err(LogError::Lost(_)) => self.shared.watch(|witness| witness.meet("step of who had lost it")),
            Err(_) => self.shared.watch(|witness| witness.meet("step that failed")),
            Ok(()) => {}
        }
        if self.shared.is(Sabotage::Unfenced) && matches!(made, Err(LogError::Lost(_))) && !again.is_empty() {
            made = self.log.append(again).await.map(drop);
        }
        self.shared.dawdle(self.role).await;
        if made.is_ok() {
            let heard = self.polled.iter().filter(|(partition, _)| partitions.contains(partition));
            for (partition, until) in heard {
                self.shared.watch(|witness| witness.heard(self.role, *partition, *until));
            }
        }
        made
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        self.shared.dawdle(self.role).await;
        self.unless_away(Duration::ZERO).await?;
        if self.shared.is(Sabotage::AtEndAtOnce) && topic == topic::CONTROL {
            return Ok(true);
        }
        Ok(self.inner.caught_up(topic, partition).await? && !self.shared.is(Sabotage::NeverAtEnd))
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.pause(topic, partition, paused).await
    }
}
