//! What needs a hand inside: a full disk, a member's session, a partition under a commit, and a long write-ahead log.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use tokio::time::Instant;

use super::{
    EmbeddedLog,
    coordinator::{Claim, Coordinator, SESSION, Shuffle},
    database,
    writer::Job,
};
use crate::{
    Keep, Log, LogError, ManualClock, NewRecord, Polled, Step, Subscription, SubscriptionSpec, TopicSpec,
};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::UNIX_EPOCH))
}

fn spec() -> SubscriptionSpec {
    SubscriptionSpec { group: "group".into(), inputs: vec!["in".into()], changelog: "state".into() }
}

async fn held(directory: &tempfile::TempDir) -> EmbeddedLog {
    let log = EmbeddedLog::hold(directory.path(), clock()).unwrap();
    let topic = |name: &str| TopicSpec {
        name: name.into(),
        partitions: 2,
        keep: if name == "state" { Keep::Newest } else { Keep::ALL },
    };
    log.create_topics(&[topic("in"), topic("out"), topic("state")]).await.unwrap();
    log
}

fn record(topic: &str, bytes: usize) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(0),
        key: Bytes::from_static(b"k"),
        value: Some(vec![7; bytes].into()),
        headers: Vec::new(),
    }
}

/// Polls until both partitions are assigned.
async fn settle(member: &mut dyn Subscription) {
    let mut assigned = 0;
    while assigned < 2 {
        assigned += usize::from(matches!(
            member.poll(10, Duration::from_secs(1)).await.unwrap(),
            Polled::Assigned { .. }
        ));
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_survived() {
    let directory = tempfile::tempdir().unwrap();
    let log = held(&directory).await;
    let mut member = log.subscribe(spec()).await.unwrap();
    settle(&mut *member).await;
    log.append(vec![record("out", 100)]).await.unwrap();
    log.shared.writer.run(Job::LimitPages(1)).await.unwrap(); // SQLite takes the present size instead

    for _ in 0..2 {
        let step = Step { partitions: vec![0], append: vec![record("out", 100_000), record("state", 10)] };
        let (append, commit) =
            tokio::join!(log.append(vec![record("out", 100), record("out", 100_000)]), member.commit(step));
        for error in [append.map(drop).unwrap_err(), commit.unwrap_err()] {
            assert!(
                matches!(&error, LogError::Unavailable(why) if why.contains("no space left")),
                "{error:?}"
            );
        }
        assert!(matches!(member.poll(10, Duration::ZERO).await.unwrap(), Polled::Revoked { .. }));
        settle(&mut *member).await;
        // What had been written is still read, and nothing of what failed.
        let mut reader = log.read("out", &[(0, 0)]).await.unwrap();
        assert_eq!(reader.next(Duration::from_secs(1)).await.unwrap().len(), 1);
        assert!(reader.at_end().await.unwrap());
    }

    log.shared.writer.run(Job::LimitPages(1_000_000)).await.unwrap();
    member.commit(Step { partitions: vec![0], append: vec![record("out", 100_000)] }).await.unwrap();
    let positions = log.append(vec![record("out", 100_000)]).await.unwrap();
    assert_eq!(positions[0].offset, 2, "no offset was spent on what was rolled back");
}

#[tokio::test]
async fn whether_the_disk_takes_something_is_known_without_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let log = held(&directory).await;
    log.shared.room.refused();
    log.writable().await.unwrap();
    log.shared.writer.run(Job::LimitPages(1)).await.unwrap(); // SQLite takes the present size instead
    let failed = log.append(vec![record("out", 300_000)]).await;
    assert!(failed.is_err(), "{failed:?}");
    for _ in 0..2 {
        // The place is there since the first time, and takes no page more: another delivery would find some, too.
        log.writable().await.unwrap();
        log.shared.room.refused();
    }
    let ends = log.topics().await.unwrap();
    assert!(
        ends.iter().flat_map(|info| &info.partitions).all(|bounds| bounds.end == 0),
        "no record: {ends:?}"
    );

    // A file that is taken away is known at once, whatever was proven.
    log.writable().await.unwrap();
    let file = directory.path().join("log.db");
    std::fs::rename(&file, directory.path().join("elsewhere")).unwrap();
    let gone = log.writable().await.unwrap_err();
    assert!(gone.to_string().contains("removed or replaced"), "{gone}");
    std::fs::rename(directory.path().join("elsewhere"), &file).unwrap();
    log.writable().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_asked_anew_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let log = held(&directory).await;
    log.shared.writer.run(Job::LimitPages(1)).await.unwrap();
    // What was written before is no proof any more.
    log.append(vec![record("out", 300_000)]).await.unwrap_err();
    for _ in 0..2 {
        let full = log.writable().await.unwrap_err();
        assert!(
            full.to_string().contains("no space left") && full.to_string().contains("KiB are free"),
            "{full}"
        );
    }
    log.shared.writer.run(Job::LimitPages(1_000_000)).await.unwrap();
    log.writable().await.unwrap();
    assert_eq!(log.append(vec![record("out", 10)]).await.unwrap()[0].offset, 0);
}

#[tokio::test]
async fn the_write_ahead_log_is_cut_back_under_constant_reading() {
    let directory = tempfile::tempdir().unwrap();
    let log = held(&directory).await;
    let reading = log.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reading, stopped) = (reading.clone(), Arc::clone(&stopped));
            tokio::spawn(async move {
                let mut position = 0;
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut reader = reading.read("out", &[(0, position)]).await.unwrap();
                    let records = reader.next(Duration::from_millis(5)).await.unwrap();
                    position = records.last().map_or(position, |record| record.offset + 1);
                }
            })
        })
        .collect();
    let wal = directory.path().join("log.db-wal");
    let mut largest = 0;
    for _ in 0..40 {
        log.append(vec![record("out", 8 << 20)]).await.unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(largest < 200 << 20, "the write-ahead log of 320 MiB of records grew to {} MiB", largest >> 20);
}

/// A coordinator with one group over `partitions`.
fn group(partitions: u32, members: usize) -> (Arc<Coordinator>, Vec<u64>) {
    let coordinator = Arc::new(Coordinator::default());
    let seats = (0..members).map(|_| coordinator.join(&spec(), partitions).unwrap()).collect();
    (coordinator, seats)
}

fn call(coordinator: &Arc<Coordinator>, seat: u64, held: &mut Vec<Claim>) -> Shuffle {
    call_at(coordinator, seat, held, Instant::now())
}

fn call_at(coordinator: &Arc<Coordinator>, seat: u64, held: &mut Vec<Claim>, now: Instant) -> Shuffle {
    let _call = coordinator.enter("group", seat);
    let shuffle = coordinator.settle("group", seat, held.iter().copied(), now);
    held.retain(|claim| !shuffle.revoked.contains(&claim.partition));
    held.extend(&shuffle.claimed);
    shuffle
}

fn partitions(held: &[Claim]) -> Vec<u32> {
    held.iter().map(|claim| claim.partition).collect()
}

#[test]
fn partitions_are_cut_into_ranges_and_given_back_before_they_are_taken() {
    let (coordinator, seats) = group(8, 1);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    call(&coordinator, seats[0], &mut a);
    assert_eq!(partitions(&a), [0, 1, 2, 3, 4, 5, 6, 7]);
    let second = coordinator.join(&spec(), 8).unwrap();
    assert!(
        call(&coordinator, second, &mut b).claimed.is_empty(),
        "the holder has not given anything back yet"
    );
    assert_eq!(call(&coordinator, seats[0], &mut a).revoked, [4, 5, 6, 7]);
    call(&coordinator, second, &mut b);
    assert_eq!((partitions(&a), partitions(&b)), (vec![0, 1, 2, 3], vec![4, 5, 6, 7]));
    coordinator.leave("group", seats[0]);
    call(&coordinator, second, &mut b);
    assert_eq!(b.len(), 8);
}

#[test]
fn every_partition_has_one_holder_whatever_the_numbers() {
    for members in 1..6 {
        for count in 1..10 {
            let (coordinator, seats) = group(count, members);
            let mut all = Vec::new();
            for seat in seats {
                let mut held = Vec::new();
                call(&coordinator, seat, &mut held);
                let held = partitions(&held);
                assert!(held.windows(2).all(|pair| pair[1] == pair[0] + 1), "{held:?} is no range");
                assert!(held.len().abs_diff(count as usize / members) <= 1, "{held:?} is no fair share");
                all.extend(held);
            }
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_member_without_calls_is_taken_for_dead_and_may_come_back() {
    let (coordinator, seats) = group(2, 2);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    call(&coordinator, seats[0], &mut a);
    call(&coordinator, seats[1], &mut b);
    assert_eq!((a.len(), b.len()), (1, 1));

    let called_at = Instant::now();
    call_at(&coordinator, seats[1], &mut b, called_at + SESSION - Duration::from_secs(5));
    assert_eq!(b.len(), 1);
    assert!(coordinator.begin_commit("group", seats[0], &a).is_ok(), "nobody else holds it yet");
    assert!(coordinator.next_expiry("group", seats[1], called_at) <= called_at + SESSION);

    call_at(&coordinator, seats[1], &mut b, called_at + SESSION);
    assert_eq!(b.len(), 2);
    let fenced = coordinator.begin_commit("group", seats[0], &a);
    assert!(matches!(fenced, Err(LogError::Lost(_))));

    assert_eq!(call(&coordinator, seats[0], &mut a).revoked, [0]);
    call(&coordinator, seats[1], &mut b);
    call(&coordinator, seats[0], &mut a);
    assert_eq!((a.len(), b.len()), (1, 1));
    assert!(coordinator.begin_commit("group", seats[0], &a).is_ok());
}

#[test]
fn a_member_in_a_long_call_is_alive() {
    let (coordinator, seats) = group(2, 2);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    call(&coordinator, seats[0], &mut a);
    let calling = coordinator.enter("group", seats[0]);
    let late = Instant::now() + 10 * SESSION;
    call_at(&coordinator, seats[1], &mut b, late);
    assert_eq!(b.len(), 1);
    assert_eq!(coordinator.next_expiry("group", seats[1], late), late + SESSION);
    drop(calling);
    call_at(&coordinator, seats[1], &mut b, late);
    assert_eq!(b.len(), 2);
}

#[test]
fn a_partition_stays_while_a_step_of_it_is_written() {
    let (coordinator, seats) = group(1, 1);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    call(&coordinator, seats[0], &mut a);
    let writing = coordinator.begin_commit("group", seats[0], &a).unwrap();
    let second = coordinator.join(&spec(), 1).unwrap();
    // Its holder's task was dropped in the midst of the commit.
    coordinator.leave("group", seats[0]);
    assert!(call(&coordinator, second, &mut b).claimed.is_empty(), "the step may still be committed");
    assert!(coordinator.begin_commit("group", seats[0], &a).is_err(), "but no further one");
    let moves = coordinator.subscribe();
    drop(writing);
    assert!(moves.has_changed().unwrap(), "whoever waits for the partition is woken");
    call(&coordinator, second, &mut b);
    assert_eq!(partitions(&b), [0]);
}

#[test]
fn an_epoch_fences_the_same_member() {
    let (coordinator, seats) = group(1, 1);
    let mut held = Vec::new();
    call(&coordinator, seats[0], &mut held);
    let before = held.clone();
    coordinator.release_all("group", seats[0]);
    let shuffle = call(&coordinator, seats[0], &mut held);
    assert_eq!((shuffle.revoked.len(), shuffle.claimed.len()), (1, 1));
    assert!(
        coordinator.begin_commit("group", seats[0], &before).is_err(),
        "a step from before it was given up"
    );
    assert!(coordinator.begin_commit("group", seats[0], &held).is_ok());
}

#[test]
fn members_of_a_group_agree_on_its_topics() {
    let (coordinator, seats) = group(1, 1);
    let other = SubscriptionSpec { changelog: "other".into(), ..spec() };
    assert!(matches!(coordinator.join(&other, 1), Err(LogError::Refused(_))));
    coordinator.leave("group", seats[0]);
    coordinator.join(&other, 1).unwrap();
}

#[test]
fn a_lasting_lock_of_another_process_is_told_from_damage() {
    let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None);
    assert!(database::is_busy(&error));
    assert!(matches!(database::failure("log.db".as_ref(), "cannot", &error), LogError::Unavailable(_)));
    let error =
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None);
    assert!(matches!(database::failure("log.db".as_ref(), "cannot", &error), LogError::Refused(_)));
}

#[test]
fn every_commit_is_synced() {
    // `kill -9` cannot tell: what was written and not synced outlives the process, not the machine.
    let directory = tempfile::tempdir().unwrap();
    for make in [true, false] {
        let connection = database::open(&directory.path().join(database::FILE), make, false).unwrap();
        let pragma = |name: &str| {
            connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        assert_eq!(pragma("journal_mode").unwrap(), rusqlite::types::Value::Text("wal".into()));
        assert_eq!(pragma("synchronous").unwrap(), rusqlite::types::Value::Integer(2));
    }
}
