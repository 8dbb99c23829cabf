//! Sharing partitions, consuming, pausing, lag.

use std::{collections::BTreeSet, time::Duration};

use eventlog::SubscriptionSpec;

use super::{Backend, Case, Member, key_for, text};

pub async fn one_member_gets_everything<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 4).await;
    log.append((0..40).map(|i| case.record_in("in", i % 4, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let mut member = case.member(&*log).await;
    member.until_records(40).await;
    assert_eq!(member.held, (0..4).collect());
    log.append(vec![case.record("in", "k", "later")]).await.unwrap();
    member.until_records(41).await;
    assert_eq!(member.values().last().unwrap(), "later");
}

pub async fn two_members_share_and_one_takes_over<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 4).await;
    let mut first = case.member(&*log).await;
    first.until_held(4).await;
    let mut second = case.member(&*log).await;
    first.until_with(&mut second, "two partitions each", |a, b| a.held.len() == 2 && b.held.len() == 2).await;
    assert!(first.held.is_disjoint(&second.held));

    log.append((0..4).map(|p| case.record_in("in", p, "k", Some("shared"))).collect()).await.unwrap();
    first
        .until_with(&mut second, "two records each", |a, b| a.records.len() == 2 && b.records.len() == 2)
        .await;
    first.commit_held().await;
    second.commit_held().await;

    drop(first);
    second.until_held(4).await;
    log.append((0..4).map(|p| case.record_in("in", p, "k", Some("alone"))).collect()).await.unwrap();
    second.until_records(6).await;
    assert_eq!(
        second.values()[2..],
        ["alone", "alone", "alone", "alone"],
        "what was committed does not come again"
    );
}

pub async fn inputs_are_copartitioned<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 4).await;
    for topic in ["in", "also-in"] {
        log.append((0..4).map(|p| case.record_in(topic, p, "k", Some(topic))).collect()).await.unwrap();
    }
    let spec = SubscriptionSpec { inputs: vec![case.name("in"), case.name("also-in")], ..case.group() };
    let mut first = Member::join(&*log, spec.clone()).await;
    let mut second = Member::join(&*log, spec).await;
    first
        .until_with(&mut second, "two partitions each, with both inputs", |a, b| {
            // What came before the partitions were shared does not count.
            let both = |m: &Member| {
                let places: BTreeSet<_> = m.records.iter().map(|r| (&r.topic, r.partition)).collect();
                m.held.iter().map(|p| places.iter().filter(|(_, q)| q == p).count()).sum::<usize>() == 4
            };
            a.held.len() == 2 && b.held.len() == 2 && both(a) && both(b)
        })
        .await;
    for member in [&first, &second] {
        for p in &member.held {
            let topics: BTreeSet<_> =
                member.records.iter().filter(|r| r.partition == *p).map(|r| &r.topic).collect();
            assert_eq!(topics.len(), 2, "partition {p} of both inputs");
        }
    }
}

pub async fn offsets_survive_a_restart<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    log.append((0..6).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let mut member = case.member(&*log).await;
    member.until_records(6).await;
    member.commit_held().await;
    log.append((6..8).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    drop(member);
    drop(log);

    let log = case.backend.serve().await;
    let mut member = case.member(&*log).await;
    member.until_records(2).await;
    let values: BTreeSet<_> = member.values().into_iter().collect();
    assert_eq!(values, BTreeSet::from(["6".to_owned(), "7".to_owned()]));
}

pub async fn uncommitted_records_come_again<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    log.append((0..5).map(|i| case.record("in", "k", &i.to_string())).collect()).await.unwrap();
    for _ in 0..2 {
        let mut member = case.member(&*log).await;
        member.until_records(5).await;
        assert_eq!(member.values(), ["0", "1", "2", "3", "4"]);
    }
}

pub async fn paused_partitions_say_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let spec = SubscriptionSpec { inputs: vec![case.name("in"), case.name("also-in")], ..case.group() };
    let mut member = Member::join(&*log, spec).await.patient(B::PATIENCE);
    member.until_held(2).await;
    member.pause(&case.name("in"), 0, true).await;
    log.append((0..20).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    log.append(vec![case.record_in("also-in", 0, "k", Some("meanwhile"))]).await.unwrap();
    // `Member::poll` asserts that nothing of what is paused comes. The partition's other input does.
    member.until_records(11).await;
    for _ in 0..3 {
        member.poll(100, Duration::from_millis(100)).await;
    }
    assert_eq!(member.records.len(), 11);
    assert!(member.values().contains(&"meanwhile".to_owned()));
    assert!(!member.caught_up(&case.name("in"), 0).await.unwrap());
    assert!(member.caught_up(&case.name("also-in"), 0).await.unwrap());
    // A step of a paused partition keeps the place.
    member.commit_held().await;
    member.pause(&case.name("in"), 0, false).await;
    member.until_records(21).await;
    let late: Vec<_> = member.records[11..].iter().map(text).collect();
    assert_eq!(late, (0..10).map(|i| (2 * i).to_string()).collect::<Vec<_>>());
}

pub async fn caught_up_is_true_only_at_the_end<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut member = case.member(&*log).await;
    member.until_held(2).await;
    let topic = case.name("in");
    assert!(member.caught_up(&topic, 0).await.unwrap());
    let key = key_for(0, 2);
    for round in 1..=5 {
        log.append((0..30).map(|i| case.record("in", &key, &i.to_string())).collect()).await.unwrap();
        while !member.caught_up(&topic, 0).await.unwrap() {
            assert!(member.records.len() < round * 30, "all came, and it is not said");
            member.poll(7, B::PATIENCE).await;
        }
        assert_eq!(member.records.len(), round * 30, "caught up was said too early");
        assert!(member.largest_batch <= 7);
        assert!(member.caught_up(&topic, 1).await.unwrap());
        member.commit_held().await;
    }
}

pub async fn groups_tell_the_lag<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    log.append((0..10).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let mut member = case.member(&*log).await;
    member.until_records(10).await;
    member.commit_held().await;
    let beside = case.backend.beside().await;
    let group = case.name("group");
    let of_group = async || -> Vec<_> {
        beside.groups().await.unwrap().into_iter().filter(|offset| offset.group == group).collect()
    };
    let offsets = of_group().await;
    assert_eq!(offsets.iter().map(|o| (o.partition, o.lag())).collect::<Vec<_>>(), [(0, 0), (1, 0)]);
    assert!(offsets.iter().all(|o| o.topic == case.name("in") && o.end == 5));
    log.append((0..3).map(|_| case.record_in("in", 1, "k", Some("more"))).collect()).await.unwrap();
    assert_eq!(of_group().await.iter().map(eventlog::GroupOffset::lag).collect::<Vec<_>>(), [0, 3]);
    member.until_records(13).await;
    member.commit_held().await;
    assert_eq!(of_group().await.iter().map(eventlog::GroupOffset::lag).collect::<Vec<_>>(), [0, 0]);
}

pub async fn groups_do_not_disturb_each_other<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    log.append((0..4).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let mut one = case.member(&*log).await;
    let mut other = Member::join(&*log, SubscriptionSpec { group: case.name("other"), ..case.group() }).await;
    one.until_with(&mut other, "all records in both groups", |a, b| {
        a.records.len() == 4 && b.records.len() == 4
    })
    .await;
    assert_eq!((one.held.len(), other.held.len()), (2, 2));
    one.commit_held().await;
    other.commit_held().await;
}

pub async fn a_cancelled_poll_loses_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut member = case.member(&*log).await;
    member.until_held(2).await;
    log.append((0..200).map(|i| case.record_in("in", i % 2, "k", Some(&i.to_string()))).collect())
        .await
        .unwrap();
    let give_up = tokio::time::Instant::now() + B::PATIENCE;
    let mut round = 0_u64;
    while member.records.len() < 200 {
        assert!(tokio::time::Instant::now() < give_up, "{} of 200 records came", member.records.len());
        // Dropped after 0, 50, 100, … µs, and let finish every fourth time.
        let cancelled = Duration::from_micros(50 * (round % 20));
        let wait = if round % 4 == 3 { B::PATIENCE } else { cancelled };
        let _ = tokio::time::timeout(wait, member.poll(3, Duration::from_millis(100))).await;
        round += 1;
    }
    let mut numbers: Vec<u32> = member.values().iter().map(|v| v.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}
