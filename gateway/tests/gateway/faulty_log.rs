//! A real embedded log whose steps can be made to fail.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Log, LogError, NewRecord, Polled, Position, Reader, Step, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec, embedded::EmbeddedLog,
};
use events::topic;

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// What goes wrong, and what was seen.
#[derive(Clone, Default)]
pub struct Faults {
    /// Commits to fail before anything was written.
    pub fail_before: Arc<AtomicU32>,
    /// Commits to make, and then report as failed.
    pub fail_after: Arc<AtomicU32>,
    /// Commits with something of a shadow in them to fail before anything was written.
    pub fail_shadow: Arc<AtomicU32>,
    /// The same, refused.
    pub refuse_shadow: Arc<AtomicU32>,
    /// After so many commits with something of a shadow in them the next one does not end; 0: never.
    pub stall_shadow_after: Arc<AtomicU32>,
    /// A commit does not end.
    pub stalled: Arc<AtomicBool>,
    /// The most records of a shadow on `gateway-state` in one commit.
    pub largest_of_shadow: Arc<AtomicU32>,
    /// Questions whether the end of a partition other than the first is reached, that go unanswered.
    pub fail_asking: Arc<AtomicU32>,
    /// Polls that fail.
    pub fail_polls: Arc<AtomicU32>,
    /// The end of a partition is said never to be reached.
    pub endless: Arc<AtomicBool>,
    /// How often a poll found nothing.
    pub quiet: Arc<AtomicU32>,
    /// What is to happen when the next part of a changelog has been given.
    pub when_restoring: Hook,
}

/// The embedded log, whose next commits can be made to fail before or after they were made.
pub struct FaultyLog {
    inner: Option<Arc<EmbeddedLog>>,
    faults: Faults,
}

impl Deref for FaultyLog {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.faults
    }
}

impl FaultyLog {
    pub fn over(inner: Option<EmbeddedLog>) -> Self {
        Self { inner: inner.map(Arc::new), faults: Faults::default() }
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
            faults: self.faults.clone(),
        }))
    }
}

struct FaultySubscription {
    log: Arc<EmbeddedLog>,
    inner: Option<Box<dyn Subscription>>,
    spec: SubscriptionSpec,
    faults: Faults,
}

impl FaultySubscription {
    fn fail(&mut self, error: LogError) -> Result<(), LogError> {
        self.inner = None;
        Err(error)
    }
}

/// How many records are of a shadow's state: set, deleted; and whether anything is there only because of it.
fn of_shadow(step: &Step) -> (u32, bool) {
    let state =
        |record: &&NewRecord| record.topic == topic::GATEWAY_STATE && record.key.starts_with(b"shadow:");
    let count = step.append.iter().filter(state).count() as u32;
    // That a shadow no longer stands is said by the step of production that it has no part in.
    let end = |record: &NewRecord| record.value.is_none() && record.key.ends_with(b"\"policy\",\"\"]");
    let any = step
        .append
        .iter()
        .any(|record| record.topic == topic::ACTIONS_SHADOW || state(&record) && !end(record));
    (count, any)
}

fn take(left: &AtomicU32) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Subscription for FaultySubscription {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        if take(&self.faults.fail_polls) {
            return Err(LogError::Unavailable("made to fail".into()));
        }
        if self.inner.is_none() {
            self.inner = Some(self.log.subscribe(self.spec.clone()).await?);
            // As a broker's member is quiet while it joins again.
            return Ok(Polled::Idle);
        }
        let polled = self.inner.as_mut().unwrap().poll(max_records, max_wait).await;
        if let Ok(Polled::Restoring { .. }) = polled
            && let Some(hook) = self.faults.when_restoring.lock().unwrap().take()
        {
            hook();
        }
        if let Ok(Polled::Idle) = polled {
            self.faults.quiet.fetch_add(1, SeqCst);
        }
        polled
    }

    async fn commit(&mut self, step: Step) -> Result<(), LogError> {
        if take(&self.faults.fail_before) {
            return self.fail(LogError::Lost("made to fail before the step".into()));
        }
        let (count, any) = of_shadow(&step);
        self.faults.largest_of_shadow.fetch_max(count, SeqCst);
        if any && take(&self.faults.fail_shadow) {
            return self.fail(LogError::Lost("made to fail because of the shadow".into()));
        }
        if any && take(&self.faults.refuse_shadow) {
            return self.fail(LogError::Refused("made to be refused because of the shadow".into()));
        }
        self.inner.as_mut().unwrap().commit(step).await?;
        if any && take(&self.faults.stall_shadow_after) && self.faults.stall_shadow_after.load(SeqCst) == 0 {
            self.faults.stalled.store(true, SeqCst);
            std::future::pending::<()>().await;
        }
        if take(&self.faults.fail_after) {
            return self.fail(LogError::Lost("made to fail after the step".into()));
        }
        Ok(())
    }

    async fn caught_up(&mut self, topic: &str, partition: u32) -> Result<bool, LogError> {
        if partition > 0 && take(&self.faults.fail_asking) {
            return Err(LogError::Unavailable("made to fail".into()));
        }
        let caught_up = self.inner.as_mut().unwrap().caught_up(topic, partition).await?;
        Ok(caught_up && !self.faults.endless.load(SeqCst))
    }

    async fn pause(&mut self, topic: &str, partition: u32, paused: bool) -> Result<(), LogError> {
        self.inner.as_mut().unwrap().pause(topic, partition, paused).await
    }
}
