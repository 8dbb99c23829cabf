//! Brokers that go away and come back: librdkafka's MockCluster. Its transactions are hollow, so nothing here says
//! anything about atomicity.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use bytes::Bytes;
use eventlog::{
    Keep, Log, LogError, NewRecord, Polled, Subscription, SubscriptionSpec, TopicSpec,
    kafka::{KafkaConfig, KafkaLog},
};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::time::{Instant, sleep, timeout};

/// Between two tries of a call that may fail at once.
const RETRY: Duration = Duration::from_millis(50);

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, KafkaLog) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["in", "state"] {
        cluster.create_topic(topic, 2, 1).unwrap();
    }
    let log = KafkaLog::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    (cluster, log)
}

fn record(value: &str) -> NewRecord {
    NewRecord {
        topic: "in".into(),
        partition: Some(0),
        key: Bytes::from_static(b"k"),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![],
    }
}

fn group() -> SubscriptionSpec {
    SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() }
}

async fn next_value(subscription: &mut dyn Subscription) -> String {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < give_up, "no record came");
        match subscription.poll(1, Duration::from_millis(200)).await {
            Ok(Polled::Records(records)) => {
                return String::from_utf8(records[0].value.clone().unwrap().to_vec()).unwrap();
            }
            Ok(_) | Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn append_says_that_the_broker_is_down_and_goes_on_when_it_is_back() {
    let (cluster, log) = cluster();
    log.append(vec![record("before")]).await.unwrap();
    cluster.broker_down(1).unwrap();
    let began = Instant::now();
    let down = log.append(vec![record("during")]).await;
    assert!(matches!(down, Err(LogError::Unavailable(_))), "{down:?}");
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    cluster.broker_up(1).unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while let Err(error) = log.append(vec![record("after")]).await {
        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
        assert!(Instant::now() < give_up, "{error}");
        sleep(RETRY).await;
    }
}

/// As with fewer replicas in sync than `min.insync.replicas`: the broker tells of its topics, and takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_answers_and_takes_no_record_is_not_writable_until_it_does() {
    let (cluster, log) = cluster();
    log.append(vec![record("before")]).await.unwrap();
    log.writable().await.unwrap();
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1_000];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let failed = log.append(vec![record("during")]).await;
    assert!(matches!(failed, Err(LogError::Unavailable(_))), "{failed:?}");
    log.topics().await.unwrap();
    assert_eq!(log.writable().await.err(), failed.err());
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    log.append(vec![record("after")]).await.unwrap();
    log.writable().await.unwrap();
}

/// An idempotent producer that is refused its identity stops for good, whatever the brokers say later.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_cannot_go_on_is_replaced() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("in", 2, 1).unwrap();
    let refusal = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &refusal);
    let log = KafkaLog::new(KafkaConfig::new(cluster.bootstrap_servers())).unwrap();
    let stopped = log.append(vec![record("refused")]).await;
    assert!(stopped.is_err(), "{stopped:?}");
    let give_up = Instant::now() + Duration::from_secs(20);
    while let Err(error) = log.append(vec![record("after")]).await {
        assert!(Instant::now() < give_up, "{error}");
        sleep(RETRY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_broker_are_refusals() {
    let (cluster, log) = cluster();
    log.append(vec![record("before")]).await.unwrap();
    for (error, of_the_record) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, true),
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        match log.append(vec![record("refused")]).await {
            Err(LogError::Unfit(_)) if of_the_record => {}
            Err(LogError::Refused(_)) if !of_the_record => {}
            other => panic!("{error:?}: {other:?}"),
        }
        // The client remembers a lack of rights until it asks for the topic again.
        let give_up = Instant::now() + Duration::from_secs(30);
        while let Err(error) = log.append(vec![record("after")]).await {
            assert!(Instant::now() < give_up, "{error}");
            sleep(RETRY).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_survives_an_outage() {
    let (cluster, log) = cluster();
    log.append(vec![record("one")]).await.unwrap();
    let mut member = log.subscribe(group()).await.unwrap();
    assert_eq!(next_value(&mut *member).await, "one");
    cluster.broker_down(1).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        match member.poll(10, Duration::from_millis(200)).await {
            Ok(_) | Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("poll during an outage: {error}"),
        }
    }
    let cut_off =
        timeout(Duration::from_secs(12), member.caught_up("in", 0)).await.expect("an answer in time");
    assert!(cut_off.is_err(), "{cut_off:?}");
    cluster.broker_up(1).unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while let Err(error) = log.append(vec![record("two")]).await {
        assert!(Instant::now() < give_up, "{error}");
        sleep(RETRY).await;
    }
    // The mock keeps no offsets of transactions: what was not committed may come again.
    while next_value(&mut *member).await != "two" {}
}

/// The client says that no broker can be reached each time it tries; whoever waits after an error must not have to hear all
/// of it before it hears what came since.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_not_told_piece_by_piece_when_it_is_over() {
    let (cluster, log) = cluster();
    log.append(vec![record("one")]).await.unwrap();
    let mut member = log.subscribe(group()).await.unwrap();
    assert_eq!(next_value(&mut *member).await, "one");
    cluster.broker_down(1).unwrap();
    sleep(Duration::from_secs(8)).await;
    cluster.broker_up(1).unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    while let Err(error) = log.append(vec![record("two")]).await {
        assert!(Instant::now() < give_up, "{error}");
        sleep(RETRY).await;
    }
    // The member's client has found the broker again by then: it tries every second.
    sleep(Duration::from_secs(2)).await;
    let mut told = 0;
    loop {
        assert!(Instant::now() < give_up, "no record came");
        match member.poll(10, Duration::from_millis(200)).await {
            Err(LogError::Unavailable(_)) => told += 1,
            Ok(Polled::Records(records)) if records.iter().any(|r| r.value.as_deref() == Some(b"two")) => {
                break;
            }
            Ok(_) => {}
            Err(error) => panic!("poll after an outage: {error}"),
        }
    }
    assert!(told <= 2, "told {told} times of an outage that was over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_when_the_broker_is_back() {
    let (cluster, log) = cluster();
    log.append(vec![record("one")]).await.unwrap();
    let mut member = log.subscribe(group()).await.unwrap();
    cluster.broker_down(1).unwrap();
    let (began, mut said) = (Instant::now(), false);
    while !said {
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "poll does not say that the broker cannot be reached"
        );
        match member.poll(10, Duration::from_millis(200)).await {
            Ok(Polled::Idle) => {}
            Err(LogError::Unavailable(_)) => said = true,
            other => panic!("poll during an outage: {other:?}"),
        }
    }
    cluster.broker_up(1).unwrap();
    assert_eq!(next_value(&mut *member).await, "one");
}

/// Leaving ends, whatever the group is doing and whether or not the broker is still there. A runtime waits for members
/// that leave, so a close that hangs would hang the program.
#[test]
fn a_member_can_leave_at_any_moment() {
    let (left, leaving) = std::sync::mpsc::channel();
    for i in 0..16_u64 {
        let left = left.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let (cluster, log) = cluster();
                let mut member = log.subscribe(group()).await.unwrap();
                let until = Instant::now() + Duration::from_millis(i * 293 % 4_500);
                while Instant::now() < until {
                    let _ = member.poll(10, Duration::from_millis(50)).await;
                }
                if i % 2 == 1 {
                    cluster.broker_down(1).unwrap();
                }
            });
            drop(runtime);
            left.send(i).unwrap();
        });
    }
    for _ in 0..16 {
        leaving.recv_timeout(Duration::from_secs(60)).expect("a member does not come out of its group");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_said_to_be_so() {
    // Nothing listens on the discard port.
    let log = KafkaLog::new(KafkaConfig::new("127.0.0.1:9")).unwrap();
    let spec = TopicSpec { name: "t".into(), partitions: 1, keep: Keep::ALL };
    for (call, result) in [
        ("create_topics", timed(log.create_topics(&[spec])).await),
        ("append", timed(log.append(vec![record("v")])).await),
        ("topics", timed(log.topics()).await),
        ("groups", timed(log.groups()).await),
        ("read", timed(log.read("t", &[(0, 0)])).await),
        ("subscribe", timed(log.subscribe(group())).await),
    ] {
        let Err(LogError::Unavailable(why)) = result else { panic!("{call}: {result:?}") };
        assert!(why.contains("127.0.0.1:9") && why.contains("is the broker up"), "{call}: {why}");
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, LogError>>) -> Result<(), LogError> {
    timeout(Duration::from_secs(10), call).await.expect("an answer within ten seconds").map(drop)
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let tls =
        KafkaConfig { tls: true, ca_cert: Some("/does/not/exist.pem".into()), ..KafkaConfig::new("a:1") };
    assert!(matches!(KafkaLog::new(tls).err(), Some(LogError::Refused(_))));
}
