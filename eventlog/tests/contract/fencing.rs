//! A member that is cut off can no longer write, and comes back by itself.

use eventlog::{LogError, Step};

use super::{Backend, Case, text};

pub async fn a_stalled_member_cannot_commit<B: Backend>(case: Case<B>) {
    stalled(case, true).await;
}

pub async fn a_stalled_member_cannot_commit_a_timer_step<B: Backend>(case: Case<B>) {
    stalled(case, false).await;
}

/// The first member holds everything and then never polls; another joins, and takes over when the session of the first
/// is over. Whether the first had consumed anything makes no difference.
async fn stalled<B: Backend>(case: Case<B>, consumed: bool) {
    let log = case.backend.serve().await;
    case.create(&*log, 2).await;
    let mut stalled = case.member(&*log).await;
    stalled.until_held(2).await;
    if consumed {
        log.append((0..2).map(|p| case.record_in("in", p, "k", Some("cause"))).collect()).await.unwrap();
        stalled.until_records(2).await;
    }
    let mut other = case.member(&*log).await;
    other.until_held(2).await;
    if consumed {
        other.until_records(2).await;
    }
    let step = |by: &str| Step {
        partitions: vec![0, 1],
        append: vec![case.record("out", "k", by), case.record_in("state", 0, "by", Some(by))],
    };
    // The new holder has not committed anything yet: the former one is refused all the same.
    let fenced = stalled.commit(step("stalled")).await;
    assert!(fenced.is_err(), "a member that lost its partitions committed");
    other.commit(step("other")).await.unwrap();
    let cut_off = stalled.caught_up(&case.name("in"), 0).await;
    assert!(cut_off.is_err(), "{cut_off:?}");
    stalled.until_with(&mut other, "one partition each", |a, b| a.held.len() == 1 && b.held.len() == 1).await;
    assert!(stalled.revocations >= 1);
    let p = *stalled.held.first().unwrap();
    if p == 0 {
        assert_eq!(stalled.state[&0]["by"], "other");
    }
    let again = Step { partitions: vec![p], append: vec![case.record("out", "k", "recovered")] };
    match stalled.commit(again.clone()).await {
        Ok(()) => {}
        // A broker may shuffle once more after the members have settled.
        Err(LogError::Lost(_)) if B::PATIENCE.as_secs() > 30 => {
            stalled
                .until_with(&mut other, "settled again", |a, b| a.held.len() == 1 && b.held.len() == 1)
                .await;
            let partitions = stalled.held.iter().copied().collect();
            stalled.commit(Step { partitions, ..again }).await.unwrap();
        }
        Err(error) => panic!("the member did not recover: {error}"),
    }
    let out: Vec<_> = case.all(&*log, "out", 2).await.iter().map(text).collect();
    assert_eq!(out, ["other", "recovered"], "a committed reader never sees the fenced step");
}
