//! One atomic step, and the state that comes back.

use std::{collections::BTreeMap, time::Duration};

use eventlog::{LogError, NewRecord, Step};

use super::{Backend, Case, Member, key_for, text};

pub async fn a_step_is_visible_whole<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let key = key_for(0, 2);
    log.append(vec![case.record("in", &key, "cause")]).await.unwrap();
    let mut member = case.member(&*log).await;
    member.until_records(1).await;
    member
        .commit(Step {
            partitions: vec![0],
            append: vec![
                case.record("out", &key, "effect"),
                case.record("more-out", &key, "trace"),
                case.record_in("state", 0, &key, Some("done")),
            ],
        })
        .await
        .unwrap();
    let beside = case.backend.beside().await;
    for (topic, value) in [("out", "effect"), ("more-out", "trace"), ("state", "done")] {
        assert_eq!(case.all(&*beside, topic, 2).await.iter().map(text).collect::<Vec<_>>(), [value]);
    }
    let committed = beside.groups().await.unwrap();
    let offset = committed.iter().find(|o| o.group == case.name("group") && o.partition == 0).unwrap();
    assert_eq!(offset.lag(), 0);
}

/// Sets, changes and deletes keys; returns what must be left.
fn changes<B: Backend>(case: &Case<B>, partition: u32) -> (Vec<Vec<NewRecord>>, BTreeMap<String, String>) {
    let mut left = BTreeMap::new();
    let steps = (0..12)
        .map(|step| {
            (0..6)
                .map(|i| {
                    let key = format!("p{partition}-{}", (step * 5 + i * 3) % 9);
                    let value = (step * i % 4 != 1).then(|| format!("{step}.{i}"));
                    match &value {
                        Some(value) => left.insert(key.clone(), value.clone()),
                        None => left.remove(&key),
                    };
                    case.record_in("state", partition, &key, value.as_deref())
                })
                .collect()
        })
        .collect();
    assert!(!left.is_empty() && left.len() < 9, "some are deleted, some are left");
    (steps, left)
}

pub async fn state_is_restored_with_tombstones<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut member = case.member(&*log).await;
    member.until_held(2).await;
    let mut expected = BTreeMap::new();
    for p in 0..2 {
        let (steps, left) = changes(&case, p);
        for append in steps {
            member.commit(Step { partitions: vec![p], append }).await.unwrap();
        }
        expected.insert(p, left);
    }
    drop(member);
    let mut next = case.member(&*log).await;
    next.until_held(2).await;
    assert_eq!(next.state, expected);
    drop(next);
    drop(log);
    let log = case.backend.serve().await;
    let mut next = case.member(&*log).await;
    next.until_held(2).await;
    assert_eq!(next.state, expected);
}

pub async fn takeover_right_after_a_commit<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut member = case.member(&*log).await;
    for round in 0..4 {
        member.until_held(2).await;
        for p in 0..2 {
            let count = |m: &Member| m.state[&p].get("count").map_or(0, |c| c.parse::<u32>().unwrap());
            assert_eq!(count(&member), round, "the state as of the last step");
        }
        let append =
            (0..2).map(|p| case.record_in("state", p, "count", Some(&(round + 1).to_string()))).collect();
        member.commit(Step { partitions: vec![0, 1], append }).await.unwrap();
        // The former holder goes in the moment its commit returned.
        drop(std::mem::replace(&mut member, case.member(&*log).await));
    }
}

pub async fn large_state_is_restored_in_batches<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    for chunk in 0..4 {
        let append = (0..500)
            .map(|i| case.record_in("state", 0, &format!("k{}", chunk * 500 + i), Some("v")))
            .collect();
        member.commit(Step { partitions: vec![0], append }).await.unwrap();
    }
    drop(member);
    let mut next = case.member(&*log).await;
    // `Member::poll` asks for at most 100 at a time.
    next.until_held(1).await;
    assert_eq!(next.state[&0].len(), 2_000);
    assert!(next.restore_batches >= 20, "{}", next.restore_batches);
}

pub async fn a_failed_step_leaves_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    log.append(vec![case.record("in", "k", "cause")]).await.unwrap();
    let mut member = case.member(&*log).await;
    member.until_records(1).await;
    let step = |topic: &str| Step {
        partitions: vec![0],
        append: vec![
            case.record("out", "k", topic),
            case.record_in("state", 0, "k", Some(topic)),
            case.record(topic, "k", topic),
        ],
    };
    member.commit(step("nowhere")).await.unwrap_err();
    let again = member.commit(step("more-out")).await;
    assert!(again.is_err(), "after an error everything is lost until poll has said so");
    member.until("Revoked", |m| m.revocations > 0).await;
    member.until_held(1).await;
    assert_eq!(member.state[&0], BTreeMap::new());
    member.until_records(2).await;
    assert_eq!(member.values(), ["cause", "cause"]);
    member.commit(step("more-out")).await.unwrap();
    for topic in ["out", "state", "more-out"] {
        let values: Vec<_> = case.all(&*log, topic, 1).await.iter().map(text).collect();
        assert_eq!(values, ["more-out"], "{topic}");
    }
}

pub async fn a_cancelled_commit_is_all_or_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    let rounds = if B::PATIENCE > Duration::from_secs(30) { 4 } else { 30 };
    for round in 0..rounds {
        let value = format!("{round}");
        let append = vec![case.record("out", "k", &value), case.record_in("state", 0, &value, Some("made"))];
        let wait = Duration::from_micros(150 * (round % 10));
        let before = member.revocations;
        match tokio::time::timeout(wait, member.commit(Step { partitions: vec![0], append })).await {
            Ok(made) => made.unwrap(),
            Err(_) => {
                let refused = member.commit(Step { partitions: vec![0], append: Vec::new() }).await;
                assert!(refused.is_err(), "a step after a cancelled one");
                member.until("Revoked", |m| m.revocations > before).await;
            }
        }
        member.until_held(1).await;
    }
    drop(member);
    let mut next = case.member(&*log).await;
    next.until_held(1).await;
    let mut out: Vec<_> = case.all(&*log, "out", 1).await.iter().map(text).collect();
    out.sort_unstable();
    let state: Vec<_> = next.state[&0].keys().cloned().collect();
    assert_eq!(out, state, "each step is on both topics or on none, and once");
}

pub async fn a_step_may_name_a_partition_of_which_nothing_came<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut member = case.member(&*log).await;
    member.until_held(2).await;
    member
        .commit(Step { partitions: vec![0, 1], append: vec![case.record("out", "k", "by timer")] })
        .await
        .unwrap();
    assert_eq!(case.all(&*log, "out", 2).await.len(), 1);
    log.append((0..2).map(|p| case.record_in("in", p, "k", Some("first"))).collect()).await.unwrap();
    member.until_records(2).await;
    drop(member);
    let mut next = case.member(&*log).await;
    next.until_records(2).await;
    let unheld = next.commit(Step { partitions: vec![7], append: Vec::new() }).await;
    assert!(matches!(unheld, Err(LogError::Lost(_))), "{unheld:?}");
}

pub async fn an_empty_step_is_nothing<B: Backend>(case: Case<B>) {
    let log = case.backend.serve().await;
    case.create(&*log, 1).await;
    let mut member = case.member(&*log).await;
    member.until_held(1).await;
    member.commit(Step::default()).await.unwrap();
    member.commit(Step { partitions: vec![], append: vec![case.record("out", "k", "v")] }).await.unwrap();
    assert_eq!(case.all(&*log, "out", 1).await.len(), 1);
}
