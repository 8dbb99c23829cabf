//! Away and back: nothing is lost, nothing changes places.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use webhooks::Appended;

use crate::{
    broker::{End, Mood},
    harness::{World, impatient, limits, record, start, until},
};

#[tokio::test]
async fn while_the_broker_is_there_nothing_is_spooled() {
    let world = World::new(Mood::Up, limits()).await;
    for offset in 0..3 {
        let appended = world.append("a", &offset.to_string()).await.unwrap();
        assert!(
            matches!(appended, Appended::At(position) if (position.partition, position.offset) == (5, offset))
        );
    }
    assert_eq!(world.all(), ["a=0", "a=1", "a=2"]);
    assert_eq!(world.contents().await.waiting.records, 0);
    let report = world.spool().report();
    assert!(!report.spooling && !report.full && report.oldest.is_none());
}

#[tokio::test]
async fn while_it_is_away_they_wait_and_later_ones_queue_behind() {
    let mut world = World::new(Mood::Down, limits()).await;
    assert_eq!(world.append("a", "1").await, Ok(Appended::Spooled));
    world.clock.advance(TimeDelta::seconds(30));
    assert_eq!(world.append("b", "1").await, Ok(Appended::Spooled));
    assert_eq!(world.append("a", "2").await, Ok(Appended::Spooled));
    let report = world.spool().report();
    assert!(report.spooling && !report.full, "{report:?}");
    assert_eq!((report.records, report.oldest), (3, Some(start())));
    let seen_beside = world.contents().await.waiting;
    assert_eq!((seen_beside.records, seen_beside.oldest), (3, Some(start())));
    assert_eq!(world.all(), [""; 0]);

    world.broker.is(Mood::Up);
    world.until_direct().await;
    assert!(matches!(world.append("a", "3").await, Ok(Appended::At(_))));
    // Nothing that is sure not to have arrived is there twice.
    assert_eq!(world.all(), ["a=1", "b=1", "a=2", "a=3"]);
    assert_eq!(world.broker.records()[0], record("a", "1"), "key, headers and value as they came");
    let report = world.spool().report();
    assert_eq!((report.records, report.bytes, report.oldest), (0, 0, None));
    world.stop().await;
}

#[tokio::test]
async fn a_broker_that_hangs_is_away_and_what_it_still_takes_is_a_double() {
    let world = World::new(Mood::Hangs, impatient()).await;
    let mut unanswered = Vec::new();
    for number in 0..4 {
        unanswered.push(world.begin("a", &number.to_string()));
        until("the broker has it", || world.broker.hanging() == number + 1).await;
    }
    for answer in unanswered {
        assert_eq!(answer.await.unwrap(), Ok(Appended::Spooled));
    }
    world.broker.is(Mood::Up);
    assert_eq!(world.append("a", "4").await, Ok(Appended::Spooled), "behind the others");
    // What the broker may still take comes first: nothing is forwarded before it has said so.
    assert_eq!(world.all(), [""; 0]);
    world.broker.answer(End::Taken);
    world.until_direct().await;
    assert_eq!(world.all(), ["a=0", "a=1", "a=2", "a=3", "a=0", "a=1", "a=2", "a=3", "a=4"]);
    assert_eq!(world.first_occurrences(), ["a=0", "a=1", "a=2", "a=3", "a=4"]);
}

#[tokio::test]
async fn the_first_that_fails_takes_along_who_is_not_answered() {
    let world = World::new(Mood::Hangs, limits()).await;
    let first = world.begin("a", "1");
    until("the broker has it", || world.broker.hanging() == 1).await;
    world.broker.is(Mood::Down);
    assert_eq!(world.append("a", "2").await, Ok(Appended::Spooled));
    assert_eq!(first.await.unwrap(), Ok(Appended::Spooled), "without waiting for the broker any longer");
    world.broker.is(Mood::Up);
    world.broker.answer(End::Lost);
    world.until_direct().await;
    assert_eq!(world.all(), ["a=1", "a=2"]);
}

#[tokio::test]
async fn a_lack_of_rights_is_waited_out() {
    let world = World::new(Mood::Forbids, limits()).await;
    for number in 0..20 {
        assert_eq!(world.append("a", &number.to_string()).await, Ok(Appended::Spooled));
    }
    world.broker.is(Mood::Up);
    world.until_direct().await;
    let wanted: Vec<_> = (0..20).map(|number| format!("a={number}")).collect();
    assert_eq!(world.all(), wanted);
    assert!(world.broker.longest() > 1, "batches grow");
}

#[tokio::test]
async fn a_broker_that_takes_and_denies_it_makes_doubles_in_order() {
    let world = World::new(Mood::Lying, limits()).await;
    let mut acknowledged = BTreeMap::<_, Vec<_>>::new();
    for number in 0..30 {
        let (key, value) = (["a", "b", "c"][number % 3], number.to_string());
        world.append(key, &value).await.unwrap();
        acknowledged.entry(key.to_owned()).or_default().push(value);
    }
    world.broker.is(Mood::Up);
    world.until_direct().await;
    world.check(&acknowledged);
}

#[tokio::test]
async fn a_slow_broker_is_given_batches_until_it_is_quick() {
    let world = World::new(Mood::Hangs, impatient()).await;
    assert_eq!(world.append("a", "1").await, Ok(Appended::Spooled));
    world.broker.answer(End::Lost);
    until("the broker is given what is spooled", || world.broker.hanging() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.broker.answer(End::Taken);
    until("it is forwarded", || world.spool().report().records == 0).await;
    assert_eq!(world.append("a", "2").await, Ok(Appended::Spooled), "it took too long for a delivery");
    until("the broker is given the next", || world.broker.hanging() == 1).await;
    world.broker.is(Mood::Up);
    world.broker.answer(End::Taken);
    world.until_direct().await;
    assert!(matches!(world.append("a", "3").await, Ok(Appended::At(_))));
    assert_eq!(world.all(), ["a=1", "a=2", "a=3"]);
}

/// There is always something on its way onto the disk, and yet the spool comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_steady_load_deliveries_go_to_the_broker_again() {
    let world = World::new(Mood::Down, limits()).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (spool, stop) = (world.spool(), stop.clone());
            tokio::spawn(async move {
                let (mut values, mut direct) = (Vec::new(), 0);
                while !stop.is_cancelled() {
                    let value = values.len().to_string();
                    match spool.append(vec![record(&format!("k{sender}"), &value)]).await.unwrap() {
                        Appended::At(_) => direct += 1,
                        Appended::Spooled => assert_eq!(direct, 0, "the broker was there all the time"),
                    }
                    values.push(value);
                    // A memory that answers at once would take all of the machine.
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                (format!("k{sender}"), values)
            })
        })
        .collect();
    until("much is spooled", || world.spool().report().records > 1_000).await;
    world.broker.is(Mood::Up);
    world.until_direct().await;
    let then = world.all().len();
    until("more is appended directly", || world.all().len() > then + 200).await;
    stop.cancel();
    let mut acknowledged = BTreeMap::new();
    for sender in senders {
        acknowledged.extend([sender.await.unwrap()]);
    }
    world.check(&acknowledged);
    assert_eq!(world.all().len(), world.first_occurrences().len(), "no doubles");
}
