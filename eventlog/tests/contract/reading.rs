//! Reading outside any group, and what is told of topics.

use std::time::Duration;

use eventlog::{Keep, LogError, TopicSpec};

use super::{Backend, Case, text};

const SHORT: Duration = Duration::from_millis(300);

pub async fn from_any_offset<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let positions =
        log.append((0..10).map(|i| case.record("in", "k", &i.to_string())).collect()).await.unwrap();
    for (start, position) in positions.iter().enumerate() {
        let mut reader = log.read(&case.name("in"), &[(0, position.offset)]).await.unwrap();
        let values: Vec<_> = case.take(&mut *reader, 10 - start).await.iter().map(text).collect();
        assert_eq!(values, (start..10).map(|i| i.to_string()).collect::<Vec<_>>());
        assert!(reader.at_end().await.unwrap());
    }
}

pub async fn past_the_end_waits_there<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    log.append((0..3).map(|i| case.record("in", "k", &i.to_string())).collect()).await.unwrap();
    let end = log.topics().await.unwrap().into_iter().find(|t| t.name == case.name("in")).unwrap().partitions
        [0]
    .end;
    let mut at_end = log.read(&case.name("in"), &[(0, end)]).await.unwrap();
    let mut beyond = log.read(&case.name("in"), &[(0, end + 2)]).await.unwrap();
    assert_eq!(at_end.next(SHORT).await.unwrap(), []);
    assert!(at_end.at_end().await.unwrap());
    assert_eq!(beyond.next(SHORT).await.unwrap(), []);
    log.append((3..8).map(|i| case.record("in", "k", &i.to_string())).collect()).await.unwrap();
    let values: Vec<_> = case.take(&mut *at_end, 5).await.iter().map(text).collect();
    assert_eq!(values, ["3", "4", "5", "6", "7"]);
    let last = case.take(&mut *beyond, 3).await;
    assert!(last.iter().all(|r| r.offset >= end + 2), "{last:?}");
    assert_eq!(last.iter().map(text).collect::<Vec<_>>(), ["5", "6", "7"]);
}

pub async fn only_named_partitions<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 3).await;
    log.append((0..30).map(|i| case.record_in("in", i % 3, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let mut reader = log.read(&case.name("in"), &[(0, 0), (2, 0)]).await.unwrap();
    let records = case.take(&mut *reader, 20).await;
    assert_eq!(records.len(), 20);
    assert!(records.iter().all(|r| r.partition != 1));
    assert!(reader.at_end().await.unwrap());
    assert_eq!(reader.next(SHORT).await.unwrap(), []);
}

pub async fn the_end_is_told_truthfully<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let beside = case.backend.beside().await;
    case.create(&*log, 2).await;
    let mut reader = beside.read(&case.name("in"), &[(0, 0), (1, 0)]).await.unwrap();
    assert!(reader.at_end().await.unwrap());
    for round in 0..5 {
        log.append((0..2).map(|p| case.record_in("in", p, "k", Some(&round.to_string()))).collect())
            .await
            .unwrap();
        assert!(!reader.at_end().await.unwrap(), "two records of round {round} are not yet returned");
        assert_eq!(case.take(&mut *reader, 2).await.len(), 2);
        assert!(reader.at_end().await.unwrap());
    }
}

pub async fn waits_for_what_is_appended_later<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let beside = case.backend.beside().await;
    case.create(&*log, 1).await;
    for (reading, writing) in [(&log, &log), (&beside, &log), (&log, &beside)] {
        let end = case.all(&*log, "in", 1).await.last().map_or(0, |r| r.offset + 1);
        let mut reader = reading.read(&case.name("in"), &[(0, end)]).await.unwrap();
        let waiting = tokio::spawn(async move { reader.next(B::PATIENCE).await.unwrap() });
        // Not needed for the outcome; makes it likely that the reader waits already.
        tokio::time::sleep(Duration::from_millis(150)).await;
        writing.append(vec![case.record("in", "k", "later")]).await.unwrap();
        assert_eq!(waiting.await.unwrap().iter().map(text).collect::<Vec<_>>(), ["later"]);
    }
}

pub async fn large_topics_come_in_batches<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 4).await;
    for chunk in 0..5 {
        let records =
            (0..1_000).map(|i| case.record("in", &format!("k{i}"), &format!("{}", chunk * 1_000 + i)));
        log.append(records.collect()).await.unwrap();
    }
    let mut numbers: Vec<u32> =
        case.all(&*log, "in", 4).await.iter().map(|record| text(record).parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
}

pub async fn unknown_places_are_refused<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let topic = log.read(&case.name("nowhere"), &[(0, 0)]).await.err();
    assert!(matches!(topic, Some(LogError::Refused(_))), "{topic:?}");
    let partition = log.read(&case.name("in"), &[(2, 0)]).await.err();
    assert!(matches!(partition, Some(LogError::Refused(_))), "{partition:?}");
    let mut spec = case.group();
    spec.inputs.push(case.name("nowhere"));
    let group = log.subscribe(spec).await.err();
    assert!(matches!(group, Some(LogError::Refused(_))), "{group:?}");
}

pub async fn topics_are_listed_with_their_ends<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    log.append((0..3).map(|i| case.record_in("in", 1, "k", Some(&i.to_string()))).collect()).await.unwrap();
    let topics = case.backend.beside().await.topics().await.unwrap();
    assert!(topics.is_sorted_by_key(|t| t.name.clone()));
    let topic = topics.iter().find(|t| t.name == case.name("in")).unwrap();
    assert_eq!(topic.partitions.len(), 2);
    assert_eq!((topic.partitions[0].first, topic.partitions[0].end), (0, 0));
    assert_eq!((topic.partitions[1].first, topic.partitions[1].end), (0, 3));
}

pub async fn partition_mismatch_is_refused<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    let spec = |name: &str, partitions| TopicSpec { name: case.name(name), partitions, keep: Keep::ALL };
    log.create_topics(&[spec("a", 3)]).await.unwrap();
    log.create_topics(&[spec("a", 3), spec("b", 2)]).await.unwrap();
    let refused = log.create_topics(&[spec("a", 4)]).await;
    assert!(matches!(&refused, Err(LogError::Refused(why)) if why.contains(&case.name("a"))), "{refused:?}");
    let topics = log.topics().await.unwrap();
    assert_eq!(topics.iter().find(|t| t.name == case.name("a")).unwrap().partitions.len(), 3);
    assert_eq!(topics.iter().find(|t| t.name == case.name("b")).unwrap().partitions.len(), 2);
}
