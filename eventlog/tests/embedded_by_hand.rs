//! The embedded log without a thread of its own: it writes when it is told to, and with the end that it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use eventlog::{
    Keep, Log, LogError, ManualClock, NewRecord, Polled, Step, Subscription, SubscriptionSpec, TopicSpec,
    embedded::{
        EmbeddedLog,
        by_hand::{Fate, Hand},
    },
};
use tokio::{join, task::yield_now};

async fn opened(directory: &tempfile::TempDir) -> (EmbeddedLog, Hand) {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let (log, mut hand) = EmbeddedLog::hold_by_hand(directory.path(), clock).unwrap();
    let topic = |name: &str, keep| TopicSpec { name: name.into(), partitions: 1, keep };
    let topics = [topic("in", Keep::ALL), topic("out", Keep::ALL), topic("state", Keep::Newest)];
    let (made, _) = join!(log.create_topics(&topics), next(&mut hand, Fate::Made));
    made.unwrap();
    (log, hand)
}

/// Writes what is asked for; how many requests were committed.
async fn next(hand: &mut Hand, fate: Fate) -> usize {
    assert!(hand.asked().await);
    // Whoever else asks at the same time is written with it.
    yield_now().await;
    hand.write(fate).len()
}

fn record(topic: &str, value: &'static str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        key: Bytes::from_static(b"k"),
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
    }
}

async fn values(log: &EmbeddedLog, topic: &str) -> Vec<String> {
    let mut reader = log.read(topic, &[(0, 0)]).await.unwrap();
    let records =
        if reader.at_end().await.unwrap() { Vec::new() } else { reader.next(Duration::ZERO).await.unwrap() };
    records.into_iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn what_waits_is_written_together_and_ends_as_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (log, mut hand) = opened(&directory).await;
    assert!(hand.write(Fate::Made).is_empty(), "nothing waits");

    let two = async { join!(log.append(vec![record("in", "a")]), log.append(vec![record("in", "b")])) };
    let ((a, b), committed) = join!(two, next(&mut hand, Fate::Made));
    assert_eq!((a.unwrap()[0].offset, b.unwrap()[0].offset, committed), (0, 1, 2));

    let (lost, committed) = join!(log.append(vec![record("in", "lost")]), next(&mut hand, Fate::RolledBack));
    assert!(matches!(lost, Err(LogError::Unavailable(why)) if why.contains("nothing was written")));
    assert_eq!(committed, 0);

    let (unknown, committed) = join!(log.append(vec![record("in", "c")]), next(&mut hand, Fate::Unknown));
    assert!(matches!(unknown, Err(LogError::Unavailable(why)) if why.contains("not known")));
    assert_eq!((committed, values(&log, "in").await), (1, vec!["a".into(), "b".into(), "c".into()]));
}

#[tokio::test]
async fn a_step_whose_end_is_not_known_is_found_again_by_the_next_holder() {
    let directory = tempfile::tempdir().unwrap();
    let (log, mut hand) = opened(&directory).await;
    let (appended, _) = join!(log.append(vec![record("in", "a")]), next(&mut hand, Fate::Made));
    appended.unwrap();
    let spec = SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() };
    let mut member = log.subscribe(spec).await.unwrap();
    let step = || Step { partitions: vec![0], append: vec![record("out", "x"), record("state", "s")] };
    for (fate, written) in [(Fate::RolledBack, 0), (Fate::Unknown, 1)] {
        assert!(matches!(polled(&mut *member).await, Polled::Assigned { .. }));
        assert!(matches!(polled(&mut *member).await, Polled::Records(records) if records.len() == 1));
        let (made, _) = join!(member.commit(step()), next(&mut hand, fate));
        assert!(made.is_err());
        assert_eq!(values(&log, "out").await.len(), written);
        assert!(matches!(polled(&mut *member).await, Polled::Revoked { .. }));
    }
    assert!(matches!(polled(&mut *member).await, Polled::Restoring { .. }));
    assert!(matches!(polled(&mut *member).await, Polled::Assigned { .. }));
    assert!(matches!(polled(&mut *member).await, Polled::Idle), "it was consumed");
}

async fn polled(member: &mut dyn Subscription) -> Polled {
    member.poll(10, Duration::ZERO).await.unwrap()
}
