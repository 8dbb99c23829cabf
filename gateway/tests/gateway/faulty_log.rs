//! A real embedded log whose steps can be made to fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Step, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec, embedded::EmbeddedLog,
};

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// The embedded log, whose next commits can be made to fail before or after they were made.
pub struct FaultyLog {
    inner: Option<Arc<EmbeddedLog>>,
    /// Commits to fail before anything was written.
    pub fail_before: Arc<AtomicU32>,
    /// Commits to make, and then report as failed.
    pub fail_after: Arc<AtomicU32>,
    /// Questions whether the end of a partition other than the first is reached, that go unanswered.
    pub fail_asking: Arc<AtomicU32>,
    /// What is to happen when the next part of a changelog has been given.
    pub when_restoring: Hook,
}

impl FaultyLog {
    pub fn over(inner: Option<EmbeddedLog>) -> Self {
        Self {
            inner: inner.map(Arc::new),
            fail_before: Arc::default(),
            fail_after: Arc::default(),
            fail_asking: Arc::default(),
            when_restoring: Arc::default(),
        }
    }

    fn inner(&self) -> &Arc<EmbeddedLog> {
        self.inner.as_ref().unwrap()
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner().create_topics(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.inner().append(records).await
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.inner().topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.inner().groups().await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.inner().read(topic, from).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(FaultySubscription {
            log: self.inner().clone(),
            inner: Some(self.inner().subscribe(spec.clone()).await?),
            spec,
            fail_before: self.fail_before.clone(),
            fail_after: self.fail_after.clone(),
            fail_asking: self.fail_asking.clone(),
            when_restoring: self.when_restoring.clone(),
        }))
    }
}

struct FaultySubscription {
    log: Arc<EmbeddedLog>,
    inner: Option<Box<dyn Subscription>>,
    spec: SubscriptionSpec,
    fail_before: Arc<AtomicU32>,
    fail_after: Arc<AtomicU32>,
    fail_asking: Arc<AtomicU32>,
    when_restoring: Hook,
}

fn take(left: &AtomicU32) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Subscription for FaultySubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        if self.inner.is_none() {
            self.inner = Some(self.log.subscribe(self.spec.clone()).await?);
            // As a broker's member is quiet while it joins again.
            return Ok(Polled::Idle);
        }
        let polled = self.inner.as_mut().unwrap().poll(max_records, max_wait).await;
        if let Ok(Polled::Restoring { .. }) = polled
            && let Some(hook) = self.when_restoring.lock().unwrap().take()
        {
            hook();
        }
        polled
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        if take(&self.fail_before) {
            self.inner = None;
            return Err(LogError::Lost("made to fail before the step".into()));
        }
        self.inner.as_mut().unwrap().commit(step).await?;
        if take(&self.fail_after) {
            self.inner = None;
            return Err(LogError::Lost("made to fail after the step".into()));
        }
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        if partition > 0 && take(&self.fail_asking) {
            return Err(LogError::Unavailable("made to fail".into()));
        }
        self.inner.as_mut().unwrap().caught_up(topic, partition).await
    }

    async fn pause(&mut self, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.as_mut().unwrap().pause(partition, paused).await
    }
}
