//! The contract on a real broker, and what only a broker can do wrong: transactions that are still open when something is
//! read, and the markers that they leave. `REDPANDA_BROKERS` names the broker (`scripts/kafka.sh up`).
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

#[macro_use]
mod contract;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{Backend, Case, Member, text};
use eventlog::{
    Keep, Log, LogError, Step, SubscriptionSpec, TopicSpec,
    kafka::{KafkaConfig, KafkaLog, Sasl, SaslMechanism},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::time::Instant;

/// A real broker.
struct Broker {
    config: KafkaConfig,
}

impl Broker {
    fn find() -> Result<Self, String> {
        let brokers =
            std::env::var("REDPANDA_BROKERS").map_err(|_| "set REDPANDA_BROKERS (scripts/kafka.sh up)")?;
        // Short, so that a takeover does not take ten seconds; scripts/kafka.sh allows it.
        Ok(Self {
            config: KafkaConfig { session_timeout: Duration::from_secs(5), ..KafkaConfig::new(brokers) },
        })
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::new(KafkaLog::new(self.config.clone()).unwrap())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.config.brokers);
        config
    }

    /// A transaction that is begun on `topic`'s partition 0 with one record, and left open.
    fn open_transaction(&self, topic: &str, id: &str, value: &str) -> BaseProducer {
        let mut config = self.client();
        config.set("transactional.id", id).set("transaction.timeout.ms", "60000");
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(Duration::from_secs(10)).unwrap();
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::to(topic).partition(0).key("k").payload(value))
            .map_err(|(e, _)| e)
            .unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
        producer
    }
}

#[async_trait]
impl Backend for Broker {
    const PATIENCE: Duration = Duration::from_secs(60);
    const KILLS: usize = 4;

    async fn start() -> Result<Self, String> {
        Self::find()
    }

    async fn serve(&self) -> Arc<dyn Log> {
        self.log()
    }

    async fn beside(&self) -> Arc<dyn Log> {
        self.log()
    }

    fn child_env(&self) -> Vec<(&'static str, String)> {
        vec![("REDPANDA_BROKERS", self.config.brokers.clone())]
    }

    fn in_child() -> Self {
        Self::find().unwrap()
    }
}

contract!(Broker);

const WAIT: Duration = Duration::from_secs(10);

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let give_up = Instant::now() + Broker::PATIENCE;
    while !holds().await {
        assert!(Instant::now() < give_up, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_is_not_the_end_of_a_topic() {
    let Some(case) = Case::<Broker>::begin("an_open_transaction_is_not_the_end_of_a_topic").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let topic = case.name("out");
    for commits in [true, false] {
        let before = case.all(&*log, "out", 1).await;
        let open = case.backend.open_transaction(&topic, &case.name("writer"), "late");
        let mut reader = log.read(&topic, &[(0, 0)]).await.unwrap();
        let seen = case.take(&mut *reader, before.len()).await;
        assert_eq!(seen, before);
        assert_eq!(
            reader.next(Duration::from_millis(300)).await.unwrap(),
            [],
            "nothing of an open transaction is read"
        );
        assert!(
            !reader.at_end().await.unwrap(),
            "what is open may have been committed before this was asked"
        );
        if commits {
            open.commit_transaction(WAIT).unwrap();
            assert_eq!(case.take(&mut *reader, 1).await.iter().map(text).collect::<Vec<_>>(), ["late"]);
        } else {
            open.abort_transaction(WAIT).unwrap();
        }
        let give_up = Instant::now() + WAIT;
        while !reader.at_end().await.unwrap() {
            assert!(Instant::now() < give_up, "the end behind the marker");
            assert_eq!(reader.next(Duration::from_millis(100)).await.unwrap(), []);
        }
        assert_eq!(case.all(&*log, "out", 1).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restoring_waits_for_a_step_that_is_not_decided() {
    let Some(case) = Case::<Broker>::begin("restoring_waits_for_a_step_that_is_not_decided").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    for (commits, expected) in [(false, None), (true, Some("late"))] {
        let open = case.backend.open_transaction(&case.name("state"), &case.name("holder"), "late");
        let mut member = case.member(&*log).await;
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            member.poll(100, Duration::from_millis(100)).await;
            assert!(member.held.is_empty(), "assigned while the changelog is undecided");
        }
        match commits {
            true => open.commit_transaction(WAIT).unwrap(),
            false => open.abort_transaction(WAIT).unwrap(),
        }
        member.until_held(1).await;
        assert_eq!(member.state[&0].get("k").map(String::as_str), expected);
    }
}

/// The former holder's step touched no changelog; its offsets are accepted, its commit has not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_wait_for_offsets_that_are_not_decided() {
    let Some(case) = Case::<Broker>::begin("positions_wait_for_offsets_that_are_not_decided").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    log.append((0..4).map(|i| case.record("in", "k", &i.to_string())).collect()).await.unwrap();
    let spec = case.group();
    let mut config = case.backend.client();
    config.set("group.id", &spec.group).set("session.timeout.ms", "6000").set("enable.auto.commit", "false");
    let former: BaseConsumer = config.create().unwrap();
    former.subscribe(&[&spec.inputs[0]]).unwrap();
    let joined = Instant::now();
    while former.assignment().unwrap().count() == 0 {
        assert!(joined.elapsed() < WAIT, "the former holder joins");
        former.poll(Duration::from_millis(100));
    }
    let open = case.backend.open_transaction(&case.name("out"), &case.name("holder"), "effect");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&spec.inputs[0], 0, Offset::Offset(3)).unwrap();
    open.send_offsets_to_transaction(&offsets, &former.group_metadata().unwrap(), WAIT).unwrap();
    tokio::task::spawn_blocking(move || drop(former)).await.unwrap();

    let mut member = case.member(&*log).await;
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        member.poll(100, Duration::from_millis(100)).await;
        assert!(member.held.is_empty(), "assigned while the offsets are undecided");
    }
    open.commit_transaction(WAIT).unwrap();
    member.until_records(1).await;
    assert_eq!(member.values(), ["3"]);
}

/// A log whose sessions are short, so that what stays undecided is said after twelve seconds.
fn impatient(broker: &Broker) -> Arc<dyn Log> {
    let session_timeout = Duration::from_secs(2);
    Arc::new(KafkaLog::new(KafkaConfig { session_timeout, ..broker.config.clone() }).unwrap())
}

/// Where a transaction stays open.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    Changelog,
    Input,
    Offsets,
}

/// A transaction that touches partition 0 stays open for longer than any of ours can. Partition 1 goes on as if nothing were; of
/// partition 0 it is said that it is stuck; when the transaction is ended, it goes on, too, and 1 misses and repeats nothing.
async fn stays_open(open: Open) {
    let Some(case) = Case::<Broker>::begin(&format!("stays_open-{open:?}")).await else { return };
    let log = impatient(&case.backend);
    case.create(&*log, 2).await;
    let spec = case.group();
    let to = |partition, value: u32| case.record_in("in", partition, "k", Some(&value.to_string()));
    let topic = match open {
        Open::Changelog => case.name("state"),
        Open::Input => case.name("in"),
        Open::Offsets => case.name("out"),
    };
    let transaction = case.backend.open_transaction(&topic, &case.name("holder"), "late");
    if open == Open::Offsets {
        let mut config = case.backend.client();
        config
            .set("group.id", &spec.group)
            .set("session.timeout.ms", "6000")
            .set("enable.auto.commit", "false");
        let former: BaseConsumer = config.create().unwrap();
        former.subscribe(&[&spec.inputs[0]]).unwrap();
        let joined = Instant::now();
        while former.assignment().unwrap().count() == 0 {
            assert!(joined.elapsed() < WAIT, "the former holder joins");
            former.poll(Duration::from_millis(100));
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&spec.inputs[0], 0, Offset::Offset(0)).unwrap();
        transaction.send_offsets_to_transaction(&offsets, &former.group_metadata().unwrap(), WAIT).unwrap();
        tokio::task::spawn_blocking(move || drop(former)).await.unwrap();
    }
    log.append(vec![to(0, 0)]).await.unwrap();
    let mut member = case.member(&*log).await;
    let mut sent = 0;
    let began = Instant::now();
    while log.stuck().is_empty() {
        assert!(began.elapsed() < Broker::PATIENCE, "what is stuck is said");
        log.append(vec![to(1, sent)]).await.unwrap();
        sent += 1;
        member.until("partition 1 goes on", |m| m.records.len() == sent as usize).await;
        member
            .commit(Step { partitions: vec![1], append: vec![case.record_in("state", 1, "k", Some("v"))] })
            .await
            .unwrap();
    }
    assert!(began.elapsed() > Duration::from_secs(10), "said too early");
    let stuck = log.stuck();
    let named = if open == Open::Offsets { "__consumer_offsets" } else { &topic };
    let said: Vec<_> =
        stuck.iter().map(|stuck| (&*stuck.group, stuck.partition, &*stuck.topic, stuck.from)).collect();
    assert_eq!(said, [(&*spec.group, 0, named, (open != Open::Offsets).then_some(0))]);
    assert!(stuck[0].waiting > Duration::from_secs(10), "{stuck:?}");
    let held: &[u32] = if open == Open::Input { &[0, 1] } else { &[1] };
    assert!(member.held.iter().eq(held), "{:?}", member.held);
    // Fetched before the other partition is taken over, and given after; one of them is paused meanwhile.
    log.append((0..50).map(|i| to(1, sent + i)).collect()).await.unwrap();
    sent += 50;
    member.until("some of them", |m| m.records.len() > sent as usize - 50).await;
    member.pause(&case.name("in"), 1, true).await;
    transaction.abort_transaction(WAIT).unwrap();
    member.until_held(2).await;
    member.until("what waited", |m| m.records.iter().any(|record| record.partition == 0)).await;
    member.pause(&case.name("in"), 1, false).await;
    log.append(vec![to(1, sent)]).await.unwrap();
    sent += 1;
    member
        .until("everything", |m| m.records.iter().filter(|r| r.partition == 1).count() >= sent as usize)
        .await;
    let of_1: Vec<_> = member.records.iter().filter(|record| record.partition == 1).map(text).collect();
    assert_eq!(of_1, (0..sent).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(member.revocations, 0);
    let member = tokio::sync::Mutex::new(member);
    eventually("nothing is stuck", async || {
        member.lock().await.poll(100, Duration::from_millis(100)).await;
        log.stuck().is_empty()
    })
    .await;
    member.lock().await.commit_held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecided_changelog_holds_up_no_other_partition_and_is_said() {
    stays_open(Open::Changelog).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecided_input_holds_up_no_other_partition_and_is_said() {
    stays_open(Open::Input).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecided_offsets_hold_up_no_other_partition_and_are_said() {
    stays_open(Open::Offsets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_behind_nothing_but_markers_has_no_lag() {
    let Some(case) = Case::<Broker>::begin("a_group_behind_nothing_but_markers_has_no_lag").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut first = case.member(&*log).await;
    first.until_held(1).await;
    let second = SubscriptionSpec {
        group: case.name("second"),
        inputs: vec![case.name("out")],
        changelog: case.name("also-in"),
    };
    let mut second = Member::join(&*log, second).await;
    second.until_held(1).await;
    for round in 1..=3 {
        first.commit(Step { partitions: vec![0], append: vec![case.record("out", "k", "v")] }).await.unwrap();
        second.until_records(round).await;
        second.commit_held().await;
        let give_up = Instant::now() + WAIT;
        loop {
            second.poll(100, Duration::from_millis(100)).await;
            // A member that does not poll is put out.
            first.poll(100, Duration::ZERO).await;
            let groups = log.groups().await.unwrap();
            let found = groups.iter().find(|o| o.group == case.name("second")).unwrap();
            if found.lag() == 0 {
                assert_eq!(found.end, 2 * round as u64, "one record and one marker a step");
                break;
            }
            assert!(Instant::now() < give_up, "a lag of {}", found.lag());
        }
        assert!(second.caught_up(&case.name("out"), 0).await.unwrap());
    }
    assert_eq!((second.records.len(), second.revocations), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_partition_is_caught_up_before_a_marker() {
    let Some(case) = Case::<Broker>::begin("a_paused_partition_is_caught_up_before_a_marker").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    member.pause(&case.name("in"), 0, true).await;
    let open = case.backend.open_transaction(&case.name("in"), &case.name("writer"), "never");
    assert!(!member.caught_up(&case.name("in"), 0).await.unwrap());
    open.abort_transaction(WAIT).unwrap();
    let member = tokio::sync::Mutex::new(member);
    eventually("caught up before a marker", async || {
        member.lock().await.caught_up(&case.name("in"), 0).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_internals_are_not_topics_of_ours() {
    let Some(case) = Case::<Broker>::begin("broker_internals_are_not_topics_of_ours").await else { return };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    member.commit_held().await;
    assert!(log.topics().await.unwrap().iter().all(|t| !t.name.starts_with('_')));
    assert!(log.groups().await.unwrap().iter().all(|g| !g.topic.starts_with('_')));
    let refused = log.read("__consumer_offsets", &[(0, 0)]).await.err();
    assert!(matches!(refused, Some(LogError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_made_at_once_by_several_are_made_once() {
    let Some(case) = Case::<Broker>::begin("topics_made_at_once_by_several_are_made_once").await else {
        return;
    };
    let spec = vec![TopicSpec { name: case.name("t"), partitions: 3, keep: Keep::Newest }];
    let making: Vec<_> = (0..4)
        .map(|_| {
            let (log, spec) = (case.backend.log(), spec.clone());
            tokio::spawn(async move { log.create_topics(&spec).await })
        })
        .collect();
    for made in making {
        made.await.unwrap().unwrap();
    }
    let topics = case.backend.log().topics().await.unwrap();
    assert_eq!(topics.iter().find(|t| t.name == spec[0].name).unwrap().partitions.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_unlike_the_others_cannot_be_an_input() {
    let Some(case) = Case::<Broker>::begin("a_topic_unlike_the_others_cannot_be_an_input").await else {
        return;
    };
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    log.create_topics(&[TopicSpec { name: case.name("odd"), partitions: 3, keep: Keep::ALL }]).await.unwrap();
    let spec = SubscriptionSpec { inputs: vec![case.name("in"), case.name("odd")], ..case.group() };
    let Err(LogError::Refused(why)) = log.subscribe(spec).await else { panic!("subscribed") };
    assert!(why.contains("3 partitions") && why.contains("has 2"), "{why}");
}

/// Polling keeps a member in its group, also when there is nothing to fetch for longer than a member may be silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_member_stays() {
    let Some(case) = Case::<Broker>::begin("an_idle_member_stays").await else { return };
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    let until = Instant::now() + 4 * case.backend.config.session_timeout;
    while Instant::now() < until {
        member.poll(100, Duration::from_secs(1)).await;
    }
    assert_eq!((member.revocations, member.held.len()), (0, 1));
    member.commit(Step { partitions: vec![0], append: vec![case.record("out", "k", "v")] }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_security_is_refused_and_said() {
    let Some(case) = Case::<Broker>::begin("wrong_security_is_refused_and_said").await else { return };
    let plain = &case.backend.config;
    let sasl = Sasl {
        username: "nobody".into(),
        password: "hunter2".to_owned().into(),
        mechanism: SaslMechanism::ScramSha256,
    };
    let log = KafkaLog::new(KafkaConfig { sasl: Some(sasl), ..plain.clone() }).unwrap();
    let refused = log.topics().await;
    let Err(LogError::Refused(why)) = refused else { panic!("not refused: {refused:?}") };
    assert!(why.contains("check the SASL user") && !why.contains("hunter2"), "{why}");
    // A broker that does not speak TLS hangs up: that looks like an outage, and the hint names TLS.
    let log = KafkaLog::new(KafkaConfig { tls: true, ..plain.clone() }).unwrap();
    let unavailable = log.topics().await;
    let Err(LogError::Unavailable(why)) = unavailable else { panic!("{unavailable:?}") };
    assert!(why.contains("TLS"), "{why}");
}
