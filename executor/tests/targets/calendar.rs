//! The calendar that `CALENDAR_API_BASE` names: calendar-mock itself.

use std::{collections::BTreeMap, sync::Arc};

use calendar_mock::{CalendarMock, Collection, Fault, google::Busy};
use chrono::TimeDelta;
use eventlog::Clock;
use executor::{Mode, Route, Target};
use serde_json::json;

use super::{environment, fake::google::CALENDARS, later, meeting, reference, resolve, world::World};

fn target(world: &World) -> Arc<dyn Target> {
    let clock: Arc<dyn Clock> = world.clock.clone();
    let targets = executor::open(&BTreeMap::new(), &world.config, &environment, &clock).unwrap();
    targets.into_iter().find(|target| target.name() == "calendar").unwrap()
}

#[tokio::test]
async fn a_meeting_is_cancelled_by_the_action_that_made_it() {
    let world = World::new().await;
    let target = target(&world);
    let (action, other) = (meeting("a-1", CALENDARS), meeting("a-2", CALENDARS));
    let cancel = resolve("a-3", &action);
    assert_eq!(reference(&super::attempt(&target, &cancel).await), None, "there is none as yet");
    let booked = super::attempt(&target, &action).await;
    super::attempt(&target, &other).await;
    let mut late = cancel.clone();
    late["evaluated_at"] = json!("2026-03-02T10:15:00Z");
    assert_eq!(reference(&super::attempt(&target, &late).await), Some("m-1 (had begun, stays)"));
    // It is deleted, and the answer lost.
    world.mock.inject(Fault::status(503).on(Collection::Meetings).after_work());
    assert_eq!(later(super::attempt(&target, &cancel).await).0, None);
    assert_eq!(reference(&super::attempt(&target, &cancel).await), None, "gone already");
    let left: Vec<Option<String>> = world.mock.meetings().into_iter().map(|m| m.idempotency_key).collect();
    assert_eq!(left, [Some("a-2".to_owned())]);
    // Whoever asks for it once more makes no second one.
    assert_eq!(super::attempt(&target, &action).await, booked);
    assert_eq!(world.mock.meetings().len(), 1);
    assert_eq!(reference(&super::attempt(&target, &resolve("a-4", &other)).await), Some("m-2"));
    assert!(world.mock.meetings().is_empty());
}

#[tokio::test]
async fn after_an_outage_nobody_meets_in_the_past_and_what_was_booked_is_found() {
    let world = World::new().await;
    let target = target(&world);
    let starts = || world.mock.meetings().into_iter().map(|m| m.item.start_at).collect::<Vec<_>>();
    world.clock.advance(TimeDelta::hours(3));
    let booked = super::attempt(&target, &meeting("a-1", CALENDARS)).await;
    assert_eq!(reference(&booked), Some("m-1"));
    let first = starts();
    let ahead = first[0].to_utc() - world.clock.now();
    assert!((TimeDelta::minutes(5)..TimeDelta::minutes(20)).contains(&ahead), "{ahead}");
    // Nobody heard that it is booked: asked for twice more, each time at another quarter of an hour.
    for _ in 0..2 {
        world.clock.advance(TimeDelta::minutes(31));
        assert_eq!(super::attempt(&target, &meeting("a-1", CALENDARS)).await, booked);
        assert_eq!(starts(), first);
    }
    let cancel = resolve("a-2", &meeting("a-1", CALENDARS));
    assert_eq!(reference(&super::attempt(&target, &cancel).await), Some("m-1 (had begun, stays)"));
    assert_eq!(starts(), first);
}

#[tokio::test]
async fn without_routes_a_closed_issue_cancels_its_meeting() {
    let mut world = World::new().await;
    world.start();
    let action = meeting("a-1", CALENDARS);
    world.publish(&action).await;
    world.outcome().await;
    world.publish(&resolve("a-2", &action)).await;
    let outcome = world.outcomes_of(2).await.remove(1);
    assert!(
        outcome.ack && outcome.risk_delta.0 == 0 && outcome.reference.as_deref() == Some("m-1"),
        "{outcome:?}"
    );
    // What was no meeting leaves nothing to be undone.
    let mut page = resolve("a-3", &action);
    page["params"]["of"]["action"] = json!("escalate_owner");
    world.publish(&page).await;
    assert!(world.outcomes_of(3).await.remove(2).ack);
    assert!(world.mock.meetings().is_empty() && world.dead_letters().is_empty());
    world.stop().await;
}

/// The whole way, with Google's calendar: nobody is free, people are told; somebody is again, they meet; the issue is closed.
#[tokio::test]
async fn where_nobody_is_free_people_are_told_and_a_redriven_meeting_takes_place() {
    let mut world = World::new().await;
    let base = world.config.calendar_api_base.join("/calendar/v3").unwrap();
    world.config.routes = vec![Route {
        project: None,
        action: "schedule_unblocker".to_owned(),
        targets: vec!["google".to_owned()],
        otherwise: vec!["notification".to_owned()],
        mode: Mode::Live,
    }];
    let said = json!({ "kind": "google-calendar", "token": { "env": "GOOGLE_TOKEN" },
                       "base": base.as_str() });
    let named = BTreeMap::from([("google".to_owned(), super::table(said).unwrap())]);
    let clock: Arc<dyn Clock> = world.clock.clone();
    let start = async |world: &mut World, mock: &CalendarMock| {
        CALENDARS[1..].iter().for_each(|id| mock.add_calendar(id, Vec::new()));
        world.start_with(executor::open(&named, &world.config, &environment, &clock).unwrap());
    };
    let mock = world.mock.clone();
    start(&mut world, &mock).await;
    let away =
        Busy { start: "2026-03-01T00:00:00Z".parse().unwrap(), end: "2026-03-20T00:00:00Z".parse().unwrap() };
    mock.add_calendar(CALENDARS[0], vec![away]);

    let action = meeting("a-1", CALENDARS);
    world.publish(&action).await;
    let outcome = world.outcome().await;
    assert!(
        !outcome.ack && outcome.error.as_ref().unwrap().contains("no 15 minutes within 7 days"),
        "{outcome:?}"
    );
    let carried: Vec<(&str, bool)> =
        outcome.carried.iter().map(|carried| (&*carried.by, carried.ack)).collect();
    assert_eq!(carried, [("google", false), ("notification", true)]);
    let told = "No meeting could be booked. It was asked for because: New issue needs triage";
    assert!(mock.nudges()[0].item.message.contains(told));

    mock.add_calendar(CALENDARS[0], Vec::new());
    let letter = world.dead_letters().remove(0);
    world.redrive(&letter).await;
    let outcome = world.outcomes_of(2).await.remove(1);
    assert!(outcome.ack && outcome.risk_delta.0 == -300, "what it failed for is taken back: {outcome:?}");
    assert_eq!((mock.events("primary").len(), mock.nudges().len()), (1, 1));

    world.publish(&resolve("a-2", &action)).await;
    assert!(world.outcomes_of(3).await.remove(2).ack);
    assert!(mock.events("primary")[0].is_cancelled());
    // Once more from the beginning of the log: nothing changes.
    world.kill().await;
    start(&mut world, &mock).await;
    world.publish(&action).await;
    world.publish(&resolve("a-2", &action)).await;
    world.settle().await;
    assert_eq!((mock.events("primary").len(), mock.nudges().len()), (1, 1));
    assert!(mock.events("primary")[0].is_cancelled());
}
