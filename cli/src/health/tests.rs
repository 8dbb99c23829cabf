//! A log that fails and recovers, roles that move and do not: what is said of readiness.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_trait::async_trait;
use eventlog::{
    GroupOffset, Keep, LogError, ManualClock, NewRecord, Position, Reader, Subscription, SubscriptionSpec,
    TopicInfo, TopicSpec, embedded::EmbeddedLog,
};

use super::*;

/// A real log whose disk can be said to be full, and a role that says what it is told to.
struct Scene {
    clock: Arc<ManualClock>,
    log: Arc<FullLog>,
    told: Arc<Told>,
    roles: Arc<Vec<Role>>,
    _dir: tempfile::TempDir,
}

struct FullLog {
    inner: EmbeddedLog,
    full: AtomicBool,
    /// Whether a broker has forgotten a transaction.
    undecided: AtomicBool,
}

#[derive(Default)]
struct Told(StdMutex<Saying>);

#[derive(Default)]
struct Saying {
    moved_at: Option<DateTime<Utc>>,
    partitions: BTreeMap<u32, Phase>,
    stalled: Option<Value>,
}

impl Progress for Told {
    fn moved_at(&self) -> Option<DateTime<Utc>> {
        self.0.lock().unwrap().moved_at
    }

    fn partitions(&self) -> BTreeMap<u32, Phase> {
        self.0.lock().unwrap().partitions.clone()
    }

    fn stalled(&self) -> Option<Value> {
        self.0.lock().unwrap().stalled.clone()
    }
}

#[async_trait]
impl Log for FullLog {
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.create_topics(topics).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.inner.append(records).await
    }

    async fn writable(&self) -> Result<(), LogError> {
        match self.full.load(SeqCst) {
            true => Err(LogError::Unavailable("no space left".into())),
            false => Ok(()),
        }
    }

    async fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.inner.topics().await
    }

    async fn groups(&self) -> Result<Vec<GroupOffset>, LogError> {
        self.inner.groups().await
    }

    async fn read(&self, topic: &str, from: &[(u32, u64)]) -> Result<Box<dyn Reader>, LogError> {
        self.inner.read(topic, from).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>, LogError> {
        self.inner.subscribe(spec).await
    }

    fn stuck(&self) -> Vec<Stuck> {
        let stuck = Stuck {
            group: "gateway".into(),
            partition: 3,
            topic: "gateway-state".into(),
            from: Some(812),
            waiting: Duration::from_secs(90),
        };
        self.undecided.load(SeqCst).then_some(stuck).into_iter().collect()
    }
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()));
        let inner = EmbeddedLog::hold(dir.path(), clock.clone()).unwrap();
        let topic = |name: &str| TopicSpec { name: name.into(), partitions: 2, keep: Keep::ALL };
        inner.create_topics(&[topic("issues"), topic("outcomes")]).await.unwrap();
        let told = Arc::new(Told::default());
        let role = Role::new("gateway", "gateway", &["issues", "outcomes"], told.clone());
        let log =
            Arc::new(FullLog { inner, full: AtomicBool::new(false), undecided: AtomicBool::new(false) });
        let scene = Self { clock, log, told, roles: Arc::new(vec![role]), _dir: dir };
        scene.moves();
        scene
    }

    fn moves(&self) {
        self.told.0.lock().unwrap().moved_at = Some(self.clock.now());
    }

    fn holds(&self, partitions: &[(u32, Phase)]) {
        self.told.0.lock().unwrap().partitions = partitions.iter().copied().collect();
    }

    async fn append(&self, partition: u32) {
        let record = NewRecord {
            topic: "issues".into(),
            partition: Some(partition),
            key: "k".into(),
            value: Some("v".into()),
            headers: vec![],
        };
        self.log.append(vec![record]).await.unwrap();
    }

    async fn look(&self) {
        lag::look(&*self.log, &*self.clock, &self.roles[0]).await.unwrap();
    }

    /// As a new probe finds it, whatever an earlier one was told.
    async fn ready(&self) -> (bool, Value) {
        let log: Arc<dyn Log> = self.log.clone();
        let (ready, detail) =
            Health::new(Some(log), self.clock.clone(), self.roles.clone(), None).ready().await;
        assert_eq!(detail["ready"], ready);
        (ready, detail.into())
    }
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_not_ready_until_it_does() {
    let scene = Scene::new().await;
    assert!(scene.ready().await.0);
    scene.log.full.store(true, SeqCst);
    let (ready, detail) = scene.ready().await;
    assert!(!ready && detail["log"].as_str().unwrap().contains("no space left"), "{detail}");
    scene.log.full.store(false, SeqCst);
    assert!(scene.ready().await.0);
}

#[tokio::test]
async fn a_role_that_does_not_come_round_is_not_ready() {
    let scene = Scene::new().await;
    scene.clock.advance(TimeDelta::seconds(14));
    assert!(scene.ready().await.0);
    scene.clock.advance(TimeDelta::seconds(1));
    let (ready, detail) = scene.ready().await;
    assert_eq!((ready, &detail["gateway"]["moves"]), (false, &json!(false)));
    scene.moves();
    assert!(scene.ready().await.0);
}

#[tokio::test]
async fn a_group_that_is_behind_and_does_not_move_is_named() {
    let scene = Scene::new().await;
    scene.holds(&[(0, Phase::Held), (1, Phase::Restoring { records: 0 })]);
    scene.append(1).await;
    scene.look().await;
    scene.clock.advance(TimeDelta::seconds(61));
    scene.moves();
    assert!(scene.ready().await.0, "nobody has looked since");
    scene.look().await;
    let (ready, detail) = scene.ready().await;
    assert_eq!(
        (ready, &detail["gateway"]["stuck"], &detail["gateway"]["lag"]),
        (
            false,
            &json!([{"topic": "issues", "partition": 1, "lag": 1, "since": "2026-03-02T10:00:00Z"}]),
            &json!(1)
        )
    );
    assert_eq!(detail["gateway"]["restoring"], 1);
    // Its state comes after all.
    scene.holds(&[(0, Phase::Held), (1, Phase::Restoring { records: 7 })]);
    scene.look().await;
    let (ready, detail) = scene.ready().await;
    assert!(ready && detail["gateway"].get("stuck").is_none(), "{detail}");
}

#[tokio::test]
async fn what_is_overdue_is_told_and_does_not_end_readiness() {
    let scene = Scene::new().await;
    assert!(scene.ready().await.1["gateway"].get("stalled").is_none());
    scene.told.0.lock().unwrap().stalled = Some(json!({"timers": 2}));
    let (ready, detail) = scene.ready().await;
    assert_eq!((ready, &detail["gateway"]["stalled"]["timers"]), (true, &json!(2)));
}

#[tokio::test]
async fn what_the_broker_has_forgotten_is_said_and_the_process_is_not_ready() {
    let scene = Scene::new().await;
    scene.log.undecided.store(true, SeqCst);
    let (ready, detail) = scene.ready().await;
    let said = &detail["undecided"][0];
    assert_eq!(
        (ready, &said["partition"], &said["topic"], &said["from"], &said["since"]),
        (false, &json!(3), &json!("gateway-state"), &json!(812), &json!("2026-03-02T09:58:30Z"))
    );
    assert!(said["hint"].as_str().unwrap().contains("kafka-transactions.sh"));
    // Receivers append, whatever others wait for.
    let log: Arc<dyn Log> = scene.log.clone();
    let (ready, detail) = Health::new(Some(log), scene.clock.clone(), Arc::default(), None).ready().await;
    assert!(ready && !detail.contains_key("undecided"), "{detail:?}");
}
