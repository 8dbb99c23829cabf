use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    action, attempt, clock,
    fake::{
        Fault,
        receiver::{NEXT_KEY, Receiver},
    },
    open, reference, rejected,
};

fn said(receiver: &Receiver) -> Value {
    json!({ "kind": "webhook", "url": format!("{}/hook", receiver.base), "secret": { "env": "HOOK_SECRET" } })
}

#[tokio::test]
async fn every_action_is_told_and_signed() {
    let receiver = Receiver::start().await;
    let target = open("hook", said(&receiver), &clock());
    for (id, kind) in [("a-1", "assign_owner"), ("a-2", "resolve"), ("a-3", "launch_rocket")] {
        assert_eq!(reference(&attempt(&target, &action(id, kind)).await), None);
    }
    let taken = receiver.taken();
    assert_eq!(taken.len(), 3);
    assert_eq!(taken["a-1"]["type"], "breakdown.assign_owner");
    assert_eq!(taken["a-1"]["timestamp"], "2026-03-02T09:59:58Z");
    assert_eq!(taken["a-1"]["data"], action("a-1", "assign_owner"));
    assert_eq!(receiver.way.seen()[0].headers["webhook-timestamp"], "1772445600");
}

#[tokio::test]
async fn a_key_is_exchanged_without_a_gap() {
    let (receiver, clock) = (Receiver::start().await, clock());
    let mut both = said(&receiver);
    both["other_secret"] = json!({ "env": "NEXT_HOOK_SECRET" });
    let (old, both) = (open("hook", said(&receiver), &clock), open("hook", both, &clock));
    attempt(&both, &action("a-1", "post_nudge")).await;
    receiver.state.lock().unwrap().key = NEXT_KEY;
    attempt(&both, &action("a-2", "post_nudge")).await;
    assert_eq!(receiver.taken().len(), 2);
    assert!(rejected(attempt(&old, &action("a-3", "post_nudge")).await).contains("does it know our secret?"));
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_its_own_time() {
    let (receiver, clock) = (Receiver::start().await, clock());
    let target = open("hook", said(&receiver), &clock);
    receiver.way.fault("hook", Fault::BrokenAfter);
    attempt(&target, &action("a-1", "post_nudge")).await;
    clock.advance(TimeDelta::minutes(10));
    attempt(&target, &action("a-1", "post_nudge")).await;
    let seen = receiver.way.seen();
    let [first, second] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&first.headers["webhook-id"], &first.body), (&second.headers["webhook-id"], &second.body));
    assert_eq!((&first.headers["webhook-timestamp"], &second.headers["webhook-timestamp"]).1, "1772446200");
    assert_eq!(receiver.taken().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_alone_until_the_next_start() {
    let (receiver, clock) = (Receiver::start().await, clock());
    let target = open("hook", said(&receiver), &clock);
    receiver.way.fault("hook", Fault::status(410));
    assert!(rejected(attempt(&target, &action("a-1", "post_nudge")).await).contains("wants no more"));
    assert!(rejected(attempt(&target, &action("a-2", "post_nudge")).await).contains("410 before"));
    assert_eq!(receiver.way.seen().len(), 1, "not asked again");
    let started_anew = open("hook", said(&receiver), &clock);
    attempt(&started_anew, &action("a-2", "post_nudge")).await;
    assert_eq!(receiver.taken().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_a_failure() {
    let receiver = Receiver::start().await;
    let target = open("hook", said(&receiver), &clock());
    for status in [301, 302, 303, 307, 308, 304] {
        receiver
            .way
            .fault("hook", Fault::status(status).header("location", format!("{}/hook", receiver.base)));
        let reason = rejected(attempt(&target, &action("a-1", "post_nudge")).await);
        assert!(reason.contains("redirects are not followed"), "{reason}");
    }
    assert!(receiver.taken().is_empty());
}
