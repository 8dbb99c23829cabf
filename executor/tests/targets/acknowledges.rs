//! Somebody answered: the pages before that are told, where they can be.

use eventlog::Clock;
use executor::{Mode, Route};
use serde_json::{Value, json};

use super::{
    action,
    fake::Fault,
    routes::{Team, resolve, route},
};

const OVERTAKEN: &str = "not acknowledged: a later page took its place";
const CLOSED: &str = "not acknowledged: the issue was closed meanwhile";

fn page(id: &str) -> Value {
    action(id, "escalate_owner")
}

/// What acknowledges an earlier page, as the gateway writes it.
fn acknowledge(id: &str, of: &str) -> Value {
    let mut acknowledge = action(id, "acknowledge");
    acknowledge["rationale"] = json!("The issue is acknowledged");
    acknowledge["params"]["of"] = json!({ "action": "escalate_owner", "action_id": of });
    acknowledge
}

async fn team(targets: &[&str]) -> Team {
    let mut team = Team::new(vec![route(None, "escalate_owner", targets)]).await;
    team.start();
    team
}

impl Team {
    fn status(&self) -> &'static str {
        self.pagerduty.alerts()[0].1.status
    }

    /// PagerDuty is down for as long as one attempt is tried at once.
    fn down(&self) {
        (0..3).for_each(|_| self.pagerduty.way.fault("enqueue", Fault::status(503)));
    }
}

#[tokio::test]
async fn a_page_is_acknowledged_where_it_went_and_that_changes_no_risk() {
    let team = team(&["slack", "pager", "hook"]).await;
    team.world.publish(&page("a-1")).await;
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    let outcome = team.world.outcomes_of(2).await.remove(1);
    assert!(outcome.ack && outcome.risk_delta.0 == 0 && outcome.error.is_none(), "{outcome:?}");
    let by: Vec<&str> = outcome.carried.iter().map(|carried| &*carried.by).collect();
    assert_eq!((by, outcome.attempts), (vec!["pager", "hook"], Some(2)));
    assert_eq!((team.status(), team.pagerduty.alerts().len(), team.posted()), ("acknowledged", 1, 1));
    let taken = team.receiver.taken();
    assert_eq!(taken.len(), 2, "the endpoint gets it as it stands");
    // Then it is taken back.
    team.world.publish(&resolve("a-3", "a-1", "escalate_owner")).await;
    assert!(team.world.outcomes_of(3).await[2].ack);
    assert_eq!(team.status(), "resolved");
}

#[tokio::test]
async fn where_nothing_can_be_acknowledged_nobody_is_told_and_all_is_well() {
    for routes in [vec![route(None, "escalate_owner", &["slack"])], Vec::new()] {
        let mut team = Team::new(routes).await;
        team.start();
        team.world.publish(&page("a-1")).await;
        team.world.publish(&acknowledge("a-2", "a-1")).await;
        let outcomes = team.world.outcomes_of(2).await;
        let outcome = outcomes.iter().find(|it| it.action_id.as_deref() == Some("a-2")).unwrap();
        assert!(outcome.ack && outcome.error.is_none() && outcome.carried.is_empty(), "{outcome:?}");
        assert_eq!((outcome.attempts, outcome.risk_delta.0), (Some(0), 0));
        assert_eq!(team.posted() + team.world.mock.nudges().len(), 1, "the page alone");
        assert!(team.world.dead_letters().is_empty());
    }
}

#[tokio::test]
async fn it_waits_for_the_end_of_the_page_also_after_a_restart() {
    let mut team = team(&["pager"]).await;
    team.down();
    team.world.publish(&page("a-1")).await;
    let due = team.world.parked_until("a-1").await;
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    // The one that waits for nobody shows that the other had its turn.
    team.world.publish(&action("a-3", "post_nudge")).await;
    team.world.outcome().await;
    assert_eq!(team.pagerduty.way.seen().len(), 3, "the page may be there yet, or still come");
    team.world.kill().await;
    team.start();
    team.world.publish(&action("a-4", "post_nudge")).await;
    team.world.outcomes_of(2).await;
    assert_eq!(team.pagerduty.way.seen().len(), 3);
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    let outcomes = team.world.outcomes_of(4).await;
    let last: Vec<_> = outcomes[2..].iter().map(|outcome| outcome.action_id.as_deref().unwrap()).collect();
    assert_eq!(last, ["a-1", "a-2"]);
    assert!(outcomes.iter().all(|outcome| outcome.ack));
    assert_eq!(team.status(), "acknowledged");
}

#[tokio::test]
async fn a_page_that_called_nobody_leaves_nothing_to_acknowledge() {
    let mut team = team(&["pager"]).await;
    team.pagerduty.state.lock().unwrap().revoked = true;
    team.world.publish(&page("a-1")).await;
    assert!(!team.world.outcome().await.ack);
    team.world.kill().await;
    team.start();
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    let outcome = team.world.outcomes_of(2).await.remove(1);
    assert!(outcome.ack && outcome.attempts == Some(0) && outcome.error.is_none(), "{outcome:?}");
    assert_eq!((team.pagerduty.way.seen().len(), team.world.dead_letters().len()), (1, 1));
}

#[tokio::test]
async fn a_late_one_leaves_the_page_that_came_after_it_alone() {
    for restarted in [false, true] {
        let mut team = team(&["pager"]).await;
        team.world.publish(&page("a-1")).await;
        team.world.outcome().await;
        team.down();
        team.world.publish(&acknowledge("a-2", "a-1")).await;
        team.world.parked_until("a-2").await;
        if restarted {
            team.world.kill().await;
        }
        team.world.publish(&page("a-3")).await;
        if restarted {
            team.start();
        }
        let outcomes = team.world.outcomes_of(3).await;
        let ends: Vec<_> = outcomes.iter().map(|it| (it.action_id.as_deref().unwrap(), it.ack)).collect();
        assert_eq!(
            ends,
            [("a-1", true), ("a-2", true), ("a-3", true)],
            "the page waits for it to be called off"
        );
        assert_eq!(outcomes[1].error.as_deref(), Some(OVERTAKEN));
        team.world.advance(200);
        team.world.settle().await;
        assert_eq!(team.status(), "triggered");
        assert!(team.world.dead_letters().is_empty());

        // The later page is acknowledged by its own.
        team.world.publish(&acknowledge("a-4", "a-3")).await;
        // Whoever settles says something of its own.
        let outcome = team.world.outcomes_of(5).await.remove(4);
        assert!(outcome.ack && outcome.error.is_none(), "{restarted}: {outcome:?}");
        assert_eq!(team.status(), "acknowledged");
    }
}

#[tokio::test]
async fn what_is_taken_back_meanwhile_is_not_acknowledged_also_when_redriven() {
    let team = team(&["pager"]).await;
    team.world.publish(&page("a-1")).await;
    team.world.outcome().await;
    team.down();
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    let due = team.world.parked_until("a-2").await;
    team.pagerduty.state.lock().unwrap().revoked = true;
    team.world.publish(&acknowledge("a-3", "a-1")).await;
    assert!(!team.world.outcomes_of(2).await[1].ack);
    team.pagerduty.state.lock().unwrap().revoked = false;
    team.world.publish(&resolve("a-4", "a-1", "escalate_owner")).await;
    assert!(team.world.outcomes_of(3).await[2].ack);
    let called = team.pagerduty.way.seen().len();
    team.world.advance((due - team.world.clock.now()).num_seconds() + 1);
    team.world.redrive(&team.world.dead_letters()[0]).await;
    for outcome in &team.world.outcomes_of(5).await[3..] {
        assert!(outcome.ack && outcome.error.as_deref() == Some(CLOSED), "{outcome:?}");
    }
    assert_eq!((team.status(), team.pagerduty.way.seen().len()), ("resolved", called));
}

#[tokio::test]
async fn a_redriven_page_is_one_that_may_be_acknowledged() {
    let team = team(&["pager"]).await;
    team.pagerduty.state.lock().unwrap().revoked = true;
    team.world.publish(&page("a-1")).await;
    assert!(!team.world.outcome().await.ack);
    team.pagerduty.state.lock().unwrap().revoked = false;
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    team.world.outcomes_of(2).await;
    // That somebody answered takes nothing back: whoever redrives wants people called.
    team.world.redrive(&team.world.dead_letters()[0]).await;
    assert!(team.world.outcomes_of(3).await[2].ack);
    assert_eq!(team.status(), "triggered");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent() {
    let dry = Route { mode: Mode::DryRun, ..route(None, "escalate_owner", &["slack", "pager"]) };
    let mut team = Team::new(vec![dry]).await;
    team.start();
    team.world.publish(&page("a-1")).await;
    team.world.publish(&acknowledge("a-2", "a-1")).await;
    let outcome = team.world.outcomes_of(2).await.remove(1);
    assert_eq!((outcome.ack, outcome.error.as_deref()), (false, Some("dry_run")));
    let [carried] = outcome.carried.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(
        (carried.by.as_str(), &carried.unsent[0].body["event_action"]),
        ("pager", &json!("acknowledge"))
    );
    assert!(team.pagerduty.alerts().is_empty());
}
