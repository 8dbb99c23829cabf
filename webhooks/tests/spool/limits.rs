//! Bounds: of the spool's size, and of the disk's patience.

use eventlog::LogError;
use webhooks::{Appended, SpoolLimits};

use crate::{
    broker::{End, Mood},
    harness::{World, bytes_on_disk, impatient, limits, until},
};

fn small() -> SpoolLimits {
    SpoolLimits { max_bytes: 1_000, ..limits() }
}

#[tokio::test]
async fn beyond_its_bound_it_refuses_and_takes_again_when_it_was_emptied() {
    let world = World::new(Mood::Down, small()).await;
    let mut taken = Vec::new();
    let refused = loop {
        match world.append("a", &taken.len().to_string()).await {
            Ok(appended) => taken.push(appended),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&refused, LogError::Unavailable(why) if why.contains("spool_max_bytes = 1000")),
        "{refused}"
    );
    assert!(taken.len() > 3 && taken.iter().all(|appended| *appended == Appended::Spooled), "{taken:?}");
    let report = world.spool().report();
    assert!(report.bytes <= 1_000 && report.bytes > 800 && report.full, "{report:?}");
    let full = world.spool().writable().await.unwrap_err();
    assert!(full.to_string().contains("spool_max_bytes = 1000"), "{full}");
    world.broker.is(Mood::Up);
    world.until_direct().await;
    assert_eq!(world.all().len(), taken.len());
    world.broker.is(Mood::Down);
    assert_eq!(world.append("a", "more").await, Ok(Appended::Spooled));
    assert!(!world.spool().report().full);
    world.spool().writable().await.unwrap();
}

#[tokio::test]
async fn where_there_is_no_room_the_broker_has_the_last_word() {
    let world = World::new(Mood::Hangs, SpoolLimits { max_bytes: 10, ..impatient() }).await;
    let (first, second) = (world.begin("a", "1"), world.begin("b", "1"));
    until("the broker has both", || world.broker.hanging() == 2).await;
    until("it is away", || world.spool().report().spooling).await;
    assert!(world.append("c", "1").await.is_err());
    world.broker.is(Mood::Up);
    world.broker.answer(End::Taken);
    assert!(matches!(first.await.unwrap(), Ok(Appended::At(_))));
    assert!(matches!(second.await.unwrap(), Ok(Appended::At(_))));
    world.until_direct().await;
    assert!(matches!(world.append("c", "2").await, Ok(Appended::At(_))));
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_the_way_to_the_broker_stays_open() {
    let world = World::new(Mood::Down, limits()).await;
    assert_eq!(world.append("a", "1").await, Ok(Appended::Spooled));
    world.broker.is(Mood::Up);
    world.until_direct().await;
    world.broker.is(Mood::Down);
    std::fs::remove_file(world.dir.path().join("spool/log.db")).unwrap();
    let refused = world.append("a", "2").await;
    assert!(matches!(&refused, Err(LogError::Unavailable(why)) if why.contains("removed")), "{refused:?}");
    assert!(!world.spool().report().full);
    let gone = world.spool().writable().await.unwrap_err();
    assert!(gone.to_string().contains("removed"), "{gone}");
    world.broker.is(Mood::Up);
    world.until_direct().await;
    assert!(matches!(world.append("a", "3").await, Ok(Appended::At(_))));
    assert_eq!(world.all(), ["a=1", "a=3"]);
}

#[tokio::test]
async fn space_is_given_back_after_forwarding() {
    let world = World::new(Mood::Down, SpoolLimits { max_bytes: 64 << 20, ..limits() }).await;
    let large = "x".repeat(400_000);
    for number in 0..120 {
        world.append("a", &format!("{number} {large}")).await.unwrap();
    }
    let full = bytes_on_disk(world.dir.path());
    assert!(full > 48_000_000, "{full}: {:?}", world.spool().report());
    world.broker.is(Mood::Up);
    world.until_direct().await;
    // The files keep 16 MiB for what comes next, beside the write-ahead log.
    let file = || std::fs::metadata(world.dir.path().join("spool/log.db")).unwrap().len();
    until("the file shrinks", || file() < 20_000_000).await;
    assert_eq!(world.all().len(), 120);
}
