//! Crashes, and who may hold a spool.

use std::{collections::BTreeMap, sync::Arc};

use eventlog::{Log, LogError};
use webhooks::{Appended, Spool};

use crate::{
    broker::{Broker, End, Mood},
    harness::{World, limits, until},
};

#[tokio::test]
async fn what_was_spooled_outlives_a_crash_and_stays_ahead_of_what_comes_after_it() {
    let mut world = World::new(Mood::Down, limits()).await;
    for number in 0..5 {
        world.append("a", &number.to_string()).await.unwrap();
    }
    let before = world.spool().report();
    world.crash().await;
    world.start().await;
    assert_eq!(world.append("a", "5").await, Ok(Appended::Spooled));
    let after = world.spool().report();
    assert_eq!((after.records, after.oldest), (6, before.oldest));
    assert!(after.bytes > before.bytes && after.bytes < before.bytes * 3 / 2, "{before:?} {after:?}");
    world.broker.is(Mood::Up);
    // Also when the broker is back before anything was said to be wrong.
    world.crash().await;
    world.start().await;
    world.until_direct().await;
    assert_eq!(world.first_occurrences(), ["a=0", "a=1", "a=2", "a=3", "a=4", "a=5"]);
}

#[tokio::test]
async fn what_was_being_forwarded_at_a_crash_is_forwarded_again() {
    let mut world = World::new(Mood::Down, limits()).await;
    let mut acknowledged = BTreeMap::<_, Vec<_>>::new();
    for number in 0..600 {
        let (key, value) = (["a", "b"][number % 2], number.to_string());
        world.append(key, &value).await.unwrap();
        acknowledged.entry(key.to_owned()).or_default().push(value);
    }
    for round in 0..4 {
        world.broker.is(Mood::Up);
        until("some is forwarded", || world.all().len() > 50 * round).await;
        world.broker.is(Mood::Hangs);
        until("the broker hangs, or has it all", || {
            world.broker.hanging() > 0 || !world.spool().report().spooling
        })
        .await;
        // It takes what it was given, and nobody is left to be told.
        world.broker.answer(End::TakenUnheard);
        world.crash().await;
        world.start().await;
    }
    world.broker.is(Mood::Up);
    world.broker.answer(End::Taken);
    world.until_direct().await;
    world.check(&acknowledged);
}

#[tokio::test]
async fn a_stop_leaves_the_rest_for_the_next_start() {
    let mut world = World::new(Mood::Down, limits()).await;
    world.append("a", "1").await.unwrap();
    world.stop().await;
    assert_eq!(world.contents().await.waiting.records, 1);
    world.broker.is(Mood::Up);
    world.start().await;
    world.until_direct().await;
    assert_eq!(world.all(), ["a=1"]);
}

#[tokio::test]
async fn two_processes_do_not_share_a_spool() {
    let world = World::new(Mood::Down, limits()).await;
    let other: Arc<dyn Log> = Arc::new(Broker::new(Mood::Up));
    let refused = Spool::open(other, world.dir.path(), limits(), world.clock.clone()).await;
    let Err(LogError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("in use") && why.contains(&std::process::id().to_string()), "{why}");
}

#[tokio::test]
async fn where_there_is_no_spool_none_is_made_by_looking() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(eventlog::ManualClock::new(crate::harness::start()));
    assert_eq!(Spool::look(dir.path(), clock).await.unwrap(), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
