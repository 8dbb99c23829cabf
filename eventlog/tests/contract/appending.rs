//! Append: durable, in order per key, stamped.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chrono::TimeDelta;
use eventlog::{LogError, NewRecord, partition_of};

use super::{Backend, Case, text};

pub async fn positions_come_in_the_order_given<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 3).await;
    let records: Vec<_> = (0..60)
        .map(|i| case.record(if i % 3 == 0 { "in" } else { "out" }, &format!("k{}", i % 7), &i.to_string()))
        .collect();
    let positions = log.append(records.clone()).await.unwrap();
    assert_eq!(positions.len(), records.len());
    let stored: BTreeMap<_, _> = [case.all(&*log, "in", 3).await, case.all(&*log, "out", 3).await]
        .concat()
        .into_iter()
        .map(|r| ((r.topic.clone(), r.partition, r.offset), r))
        .collect();
    assert_eq!(stored.len(), records.len());
    for (record, position) in records.iter().zip(positions) {
        let found = &stored[&(record.topic.clone(), position.partition, position.offset)];
        assert_eq!((&found.key, &found.value), (&record.key, &record.value));
    }
}

pub async fn keys_choose_their_partition<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 8).await;
    let keys: Vec<_> =
        (0..50).map(|i| format!("project-{i}")).chain(["".into(), "ü".into(), "21".into()]).collect();
    let positions = log.append(keys.iter().map(|key| case.record("in", key, key)).collect()).await.unwrap();
    for (key, position) in keys.iter().zip(&positions) {
        // An empty key is not told from a missing one by every client: where it goes is only fixed for the others.
        if !key.is_empty() {
            assert_eq!(position.partition, partition_of(key.as_bytes(), 8), "{key}");
        }
    }
    assert!(positions.iter().map(|p| p.partition).collect::<std::collections::BTreeSet<_>>().len() == 8);
}

pub async fn explicit_partitions_are_kept<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 4).await;
    let positions = log
        .append((0..4).map(|p| case.record_in("in", p, "the same key", Some("v"))).collect())
        .await
        .unwrap();
    assert_eq!(positions.iter().map(|p| p.partition).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let beyond = log.append(vec![case.record_in("in", 4, "k", Some("v"))]).await;
    assert!(matches!(beyond, Err(LogError::Refused(_))), "{beyond:?}");
}

pub async fn every_part_of_a_record_survives<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let full = NewRecord {
        topic: case.name("in"),
        partition: Some(0),
        key: Bytes::from_static(b"\x00\xff key"),
        value: Some((0..=255).collect()),
        headers: vec![header("a", "1"), header("b", ""), header("a", "zwei ü \" \\ \n")],
    };
    let empty = NewRecord { value: Some(Bytes::new()), headers: vec![], ..full.clone() };
    let none = NewRecord { value: None, key: Bytes::from_static(b"k"), ..full.clone() };
    log.append(vec![full.clone(), empty.clone(), none.clone()]).await.unwrap();
    let stored = case.all(&*log, "in", 1).await;
    assert_eq!(stored.len(), 3);
    for (stored, given) in stored.iter().zip([full, empty, none]) {
        assert_eq!(stored.topic, given.topic);
        assert_eq!((&stored.key, &stored.value), (&given.key, &given.value));
        assert_eq!(stored.headers, given.headers.into_iter().collect());
    }
    assert_eq!(stored[0].header("a"), Some("1"));
}

pub async fn an_empty_append_is_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    assert_eq!(log.append(Vec::new()).await.unwrap(), []);
}

pub async fn sequential_appends_keep_order_per_key<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let beside = case.backend.beside().await;
    case.create(&*log, 4).await;
    for i in 0..20 {
        // Two processes append by turns: the second append begins after the first returned.
        let handle = if i % 2 == 0 { &log } else { &beside };
        handle
            .append((0..3).map(|k| case.record("in", &format!("k{k}"), &format!("{i:02}"))).collect())
            .await
            .unwrap();
    }
    let expected: Vec<_> = (0..20).map(|i| format!("{i:02}")).collect();
    let all = case.all(&*log, "in", 4).await;
    for k in 0..3 {
        let of_key: Vec<_> = all.iter().filter(|r| r.key == format!("k{k}")).map(text).collect();
        assert_eq!(of_key, expected, "k{k}");
    }
}

pub async fn concurrent_appends_keep_order_per_key<B: Backend>(case: Case<B>) {
    const TASKS: usize = 64;
    const EACH: usize = 20;
    let log = case.backend.serve().await;
    case.create(&*log, 8).await;
    let case = Arc::new(case);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (case, log) = (Arc::clone(&case), Arc::clone(&log));
            tokio::spawn(async move {
                let mut positions = Vec::new();
                for i in 0..EACH {
                    let record = case.record("in", &format!("task-{task}"), &format!("{i:04}"));
                    positions.extend(log.append(vec![record]).await.unwrap());
                }
                assert!(positions.is_sorted_by(|a, b| a.partition == b.partition && a.offset < b.offset));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = case.all(&*log, "in", 8).await;
    assert_eq!(all.len(), TASKS * EACH);
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for record in &all {
        by_key.entry(record.key.clone()).or_default().push(text(record));
    }
    let expected: Vec<_> = (0..EACH).map(|i| format!("{i:04}")).collect();
    assert_eq!(by_key.len(), TASKS);
    assert!(by_key.values().all(|values| *values == expected));
}

pub async fn large_records_survive<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    // Bytes that no codec makes small. A dead letter of 512 KiB in base64 is about this large.
    let mut x = 1_u32;
    let value: Bytes = std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    })
    .take(900_000)
    .collect();
    let record = NewRecord { value: Some(value.clone()), ..case.record("in", "k", "") };
    for _ in 0..6 {
        log.append(vec![record.clone()]).await.unwrap();
    }
    let all = case.all(&*log, "in", 1).await;
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|r| r.value.as_ref() == Some(&value)));
}

pub async fn oversized_records_are_refused<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let record = NewRecord { value: Some(vec![b'x'; 20 << 20].into()), ..case.record("in", "k", "") };
    let refused = log.append(vec![record]).await;
    assert!(matches!(refused, Err(LogError::Unfit(_))), "{refused:?}");
    log.append(vec![case.record("in", "k", "small")]).await.unwrap();
    assert_eq!(case.all(&*log, "in", 1).await.iter().map(text).collect::<Vec<_>>(), ["small"]);
}

pub async fn unknown_topics_are_refused<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let (bad, good) = tokio::join!(
        log.append(vec![case.record("in", "k", "beside"), case.record("nowhere", "k", "v")]),
        log.append(vec![case.record("in", "k", "good")]),
    );
    assert!(matches!(bad, Err(LogError::Refused(_))), "{bad:?}");
    good.unwrap();
    let all: Vec<_> = case.all(&*log, "in", 1).await.iter().map(text).collect();
    // What stood beside the refused record may or may not have been written; what others wrote has.
    assert!(all.contains(&"good".to_owned()), "{all:?}");
    assert!(
        log.topics().await.unwrap().iter().all(|t| t.name != case.name("nowhere")),
        "the topic was made by appending"
    );
}

pub async fn timestamps_never_go_back<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let turns = [0, 5_000, -60_000, 1, 100_000];
    for (i, turn) in turns.into_iter().enumerate() {
        if let Some(clock) = case.backend.clock() {
            clock.advance(TimeDelta::milliseconds(turn));
        }
        log.append(vec![case.record("in", "k", &i.to_string())]).await.unwrap();
    }
    let times: Vec<_> =
        case.all(&*log, "in", 1).await.iter().map(|r| r.timestamp.timestamp_millis()).collect();
    assert!(times.is_sorted(), "{times:?}");
    if case.backend.clock().is_some() {
        let since_first: Vec<_> = times.iter().map(|t| t - times[0]).collect();
        assert_eq!(since_first, [0, 5_000, 5_000, 5_000, 45_001]);
    }
}
