//! A spool over a real disk, a broker that does as it is told, and what must hold of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventlog::{Log, LogError, ManualClock, NewRecord};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use webhooks::{Appended, Spool, SpoolContents, SpoolLimits};

use crate::broker::{Broker, End, Mood};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn start() -> DateTime<Utc> {
    "2026-02-02T10:00:00Z".parse().unwrap()
}

/// No test waits for the broker to be slow but those that say so.
pub fn limits() -> SpoolLimits {
    SpoolLimits { max_bytes: 1 << 20, slow_after: PATIENCE, retry_after: Duration::from_millis(1) }
}

/// A broker that is slow after the twentieth of a second.
pub fn impatient() -> SpoolLimits {
    SpoolLimits { slow_after: Duration::from_millis(50), ..limits() }
}

pub struct World {
    pub dir: TempDir,
    pub broker: Arc<Broker>,
    pub clock: Arc<ManualClock>,
    limits: SpoolLimits,
    running: Option<Running>,
}

struct Running {
    spool: Spool,
    stop: CancellationToken,
    forward: JoinHandle<Result<(), LogError>>,
}

impl World {
    /// A spool that forwards.
    pub async fn new(mood: Mood, limits: SpoolLimits) -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            broker: Arc::new(Broker::new(mood)),
            clock: Arc::new(ManualClock::new(start())),
            limits,
            running: None,
        };
        world.start().await;
        world
    }

    pub async fn start(&mut self) {
        let broker: Arc<dyn Log> = self.broker.clone();
        let spool =
            Spool::open(broker, self.dir.path(), self.limits.clone(), self.clock.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let forward = tokio::spawn(spool.clone().forward(stop.clone()));
        self.running = Some(Running { spool, stop, forward });
    }

    /// Ends everything where it stands, as a crash would.
    pub async fn crash(&mut self) {
        let Running { spool, forward, .. } = self.running.take().unwrap();
        forward.abort();
        let _ = forward.await;
        drop(spool);
        // Appends that the broker has not answered hold the disk.
        self.broker.answer(End::Lost);
        until("the directory is given up", || {
            let file = std::fs::File::open(self.dir.path().join("spool/serve.lock")).unwrap();
            file.try_lock().is_ok()
        })
        .await;
    }

    /// Stops as the program does.
    pub async fn stop(&mut self) {
        let Running { spool, stop, forward } = self.running.take().unwrap();
        stop.cancel();
        timeout(PATIENCE, forward).await.expect("the forwarder stops").unwrap().unwrap();
        drop(spool);
        until("the directory is given up", || {
            let file = std::fs::File::open(self.dir.path().join("spool/serve.lock")).unwrap();
            file.try_lock().is_ok()
        })
        .await;
    }

    pub fn spool(&self) -> Spool {
        self.running.as_ref().unwrap().spool.clone()
    }

    pub async fn append(&self, key: &str, value: &str) -> Result<Appended, LogError> {
        timeout(PATIENCE, self.spool().append(vec![record(key, value)])).await.expect("an answer")
    }

    /// Appends beside the test.
    pub fn begin(&self, key: &str, value: &str) -> JoinHandle<Result<Appended, LogError>> {
        let (spool, record) = (self.spool(), record(key, value));
        tokio::spawn(async move { timeout(PATIENCE, spool.append(vec![record])).await.expect("an answer") })
    }

    pub async fn until_direct(&self) {
        until("deliveries go to the broker", || !self.spool().report().spooling).await;
    }

    pub async fn contents(&self) -> SpoolContents {
        Spool::look(self.dir.path(), self.clock.clone()).await.unwrap().unwrap()
    }

    /// `key=value` of all that the broker has, in order.
    pub fn all(&self) -> Vec<String> {
        self.broker.records().iter().map(text).collect()
    }

    /// The same, without what it has a second time: as a reader counts.
    pub fn first_occurrences(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.all().into_iter().filter(|text| seen.insert(text.clone())).collect()
    }

    /// Everything acknowledged is there, and of one key in the order in which it was acknowledged.
    pub fn check(&self, acknowledged: &BTreeMap<String, Vec<String>>) {
        let all = self.first_occurrences();
        for (key, values) in acknowledged {
            let wanted: Vec<_> = values.iter().map(|value| format!("{key}={value}")).collect();
            let found: Vec<_> = all.iter().filter(|text| wanted.contains(text)).cloned().collect();
            assert_eq!(found, wanted, "{key}");
        }
    }
}

pub fn record(key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: "issues".into(),
        partition: None,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![
            ("ce_id".into(), format!("gh-{}", value.split(' ').next().unwrap())),
            ("traceparent".into(), "00-\"é\"".into()),
        ],
    }
}

pub fn text(record: &NewRecord) -> String {
    let value = record.value.as_deref().unwrap();
    format!("{}={}", String::from_utf8_lossy(&record.key), String::from_utf8_lossy(value))
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Bytes of the spool's files.
pub fn bytes_on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("spool")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
