use std::sync::Arc;

use calendar_mock::{Collection, Fault as MockFault, google::Busy};
use chrono::TimeDelta;
use eventlog::ManualClock;
use executor::{Target, Verdict};
use serde_json::{Value, json};

use super::{
    HOSTILE, attempt, carried_at_once, clock,
    fake::{
        Fault, client,
        google::{CALENDARS, Google},
        inert,
    },
    later, meeting, open, reference, rejected, resolve,
};

const EVENTS: &str = "POST /calendar/v3/calendars/primary/events";

fn target(google: &Google, clock: &Arc<ManualClock>) -> Arc<dyn Target> {
    open(
        "google",
        json!({ "kind": "google-calendar", "token": { "env": "GOOGLE_TOKEN" }, "base": google.base }),
        clock,
    )
}

async fn start() -> (Google, Arc<dyn Target>) {
    let clock = clock();
    let google = Google::start(clock.clone()).await;
    let target = target(&google, &clock);
    (google, target)
}

fn busy(periods: &[(&str, &str)]) -> Vec<Busy> {
    let at = |text: &str| format!("2026-03-{text}:00Z").parse().unwrap();
    periods.iter().map(|(start, end)| Busy { start: at(start), end: at(end) }).collect()
}

fn starts(google: &Google) -> Vec<String> {
    let mut starts: Vec<String> =
        google.booked().iter().map(|event| event["start"]["dateTime"].as_str().unwrap().to_owned()).collect();
    starts.sort();
    starts
}

#[tokio::test]
async fn everybody_meets_at_the_earliest_time_at_which_all_can() {
    let (google, target) = start().await;
    google.mock.add_calendar(CALENDARS[0], busy(&[("02T10:00", "02T11:00")]));
    google.mock.add_calendar(CALENDARS[1], busy(&[("02T11:05", "02T11:31")]));
    google.mock.add_calendar(CALENDARS[2], busy(&[("02T10:45", "02T11:10")]));
    let verdict = attempt(&target, &meeting("a-1", CALENDARS)).await;
    let [event] = &google.booked()[..] else { panic!("one") };
    assert_eq!(reference(&verdict), event["htmlLink"].as_str());
    assert_eq!(event["summary"], "Unblock: Login fails");
    assert_eq!(event["start"], json!({ "dateTime": "2026-03-02T11:45:00Z" }));
    assert_eq!(event["end"], json!({ "dateTime": "2026-03-02T12:00:00Z" }));
    let guests: Vec<&str> =
        event["attendees"].as_array().unwrap().iter().filter_map(|g| g["email"].as_str()).collect();
    assert_eq!(guests, CALENDARS);
    assert_eq!(event["extendedProperties"]["private"]["breakdown"], "a-1");
    let about = "team:triage please meet about this\nNew issue needs triage\nhttps://github.com/o/r/issues/1";
    assert_eq!(event["description"], about);
    let insert =
        google.way.seen().into_iter().find(|seen| format!("{} {}", seen.method, seen.path) == EVENTS);
    assert_eq!(insert.unwrap().query, "sendUpdates=all");
    // Those who are invited are busy then; the next meeting is the next quarter of an hour.
    reference(&attempt(&target, &meeting("a-2", CALENDARS)).await);
    assert_eq!(starts(&google), ["2026-03-02T11:45:00Z", "2026-03-02T12:00:00Z"]);
}

#[tokio::test]
async fn who_is_asked_for_twice_at_once_has_two_meetings_one_after_the_other() {
    let (google, target) = start().await;
    let actions: Vec<Value> = (0..6).map(|n| meeting(&format!("a-{n}"), CALENDARS)).collect();
    let outcomes = carried_at_once(&target, &actions).await;
    assert!(outcomes.iter().all(|outcome| outcome.ack && outcome.attempts == Some(1)), "{outcomes:?}");
    let times = ["10:15", "10:30", "10:45", "11:00", "11:15", "11:30"];
    assert_eq!(starts(&google), times.map(|time| format!("2026-03-02T{time}:00Z")));
}

#[tokio::test]
async fn a_retry_finds_its_own_meeting_though_everybody_is_busy_by_it() {
    let (google, target) = start().await;
    google.way.fault(EVENTS, Fault::BrokenAfter);
    assert!(matches!(attempt(&target, &meeting("a-1", CALENDARS)).await, Verdict::Retry { .. }));
    google.mock.add_calendar(CALENDARS[0], busy(&[("02T09:00", "20T11:00")]));
    let again = attempt(&target, &meeting("a-1", CALENDARS)).await;
    assert_eq!(reference(&again), google.booked()[0]["htmlLink"].as_str());
    assert_eq!(starts(&google), ["2026-03-02T10:15:00Z"]);
    // Also where it is not found at first.
    google.mock.add_calendar(CALENDARS[0], Vec::new());
    google.way.fault("GET ", Fault::status(404));
    assert_eq!(attempt(&target, &meeting("a-1", CALENDARS)).await, again);
    assert_eq!(google.booked().len(), 1);
}

#[tokio::test]
async fn another_event_of_the_same_id_is_not_taken_for_ours() {
    let (google, target) = start().await;
    reference(&attempt(&target, &meeting("a-1", CALENDARS)).await);
    let id = google.booked()[0]["id"].as_str().unwrap().to_owned();
    let url = format!("{}/calendars/primary/events/{id}", google.base);
    let stolen = json!({ "extendedProperties": { "private": { "breakdown": "a-2" } } });
    let patched = client().patch(url).bearer_auth("ya29.1").json(&stolen).send().await.unwrap();
    assert_eq!(patched.status(), 200);
    let why = "google: another event has the id of this meeting";
    assert_eq!(rejected(attempt(&target, &meeting("a-1", CALENDARS)).await), why);
    google.way.fault("GET ", Fault::status(404));
    assert_eq!(rejected(attempt(&target, &meeting("a-1", CALENDARS)).await), why);
    assert_eq!(rejected(attempt(&target, &resolve("a-3", &meeting("a-1", CALENDARS))).await), why);
    assert_eq!(google.booked().len(), 1);
}

#[tokio::test]
async fn who_is_never_free_or_not_to_be_seen_is_named_and_nothing_is_booked() {
    let (google, target) = start().await;
    google.mock.add_calendar(CALENDARS[1], busy(&[("01T09:00", "09T17:00")]));
    assert_eq!(
        rejected(attempt(&target, &meeting("a-1", CALENDARS)).await),
        "google: there are no 15 minutes within 7 days at which all are free and at work: alice, bo, team:triage",
    );
    let strangers = [CALENDARS[0], "stranger@acme.test", CALENDARS[2]];
    let why = rejected(attempt(&target, &meeting("a-2", strangers)).await);
    assert!(why.starts_with("google: bo: Google does not say when they are busy"), "{why}");
    google.mock.break_calendar(CALENDARS[2], "internalError");
    let (after, why) = later(attempt(&target, &meeting("a-3", CALENDARS)).await);
    assert!(after.is_none() && why.contains("without saying when everybody is busy"), "{why}");
    let mut nobody = meeting("a-4", CALENDARS);
    nobody["params"]["to"]["people"][0]["calendar"] = Value::Null;
    assert!(
        rejected(attempt(&target, &nobody).await).starts_with("google: alice: no calendar in the policy")
    );
    assert!(google.booked().is_empty());
}

#[tokio::test]
async fn fifty_people_and_their_team_are_asked_about_in_two_queries() {
    let (google, target) = start().await;
    let mut action = meeting("a-1", CALENDARS);
    let people: Vec<Value> =
        (0..50).map(|n| json!({ "name": format!("p{n}"), "calendar": format!("p{n}@acme.test") })).collect();
    people.iter().for_each(|one| google.mock.add_calendar(one["calendar"].as_str().unwrap(), Vec::new()));
    action["params"]["to"]["people"] = json!(people);
    // The last of them all, in the second query.
    google.mock.add_calendar(CALENDARS[2], busy(&[("02T09:00", "02T11:00")]));
    reference(&attempt(&target, &action).await);
    assert_eq!(starts(&google), ["2026-03-02T11:00:00Z"]);
    assert_eq!(google.booked()[0]["attendees"].as_array().unwrap().len(), 51);
    let asked = google.way.seen().into_iter().filter(|seen| seen.path.ends_with("/freeBusy"));
    let items: Vec<usize> = asked.map(|seen| seen.json()["items"].as_array().unwrap().len()).collect();
    assert_eq!(items, [50, 1]);
}

#[tokio::test]
async fn limits_pass_and_refusals_stay() {
    let (google, target) = start().await;
    let forbidden = |reason: &str| MockFault::status(403).reason(reason);
    for on in [Collection::FreeBusy, Collection::Events] {
        for reason in ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"] {
            google.mock.inject(forbidden(reason).on(on));
            let (after, why) = later(attempt(&target, &meeting("a-1", CALENDARS)).await);
            assert!(
                after.is_none() && why.contains("answered 403") && why.ends_with("a rate limit"),
                "{why}"
            );
        }
        google.mock.inject(MockFault::status(429).retry_after("17").on(on));
        assert_eq!(later(attempt(&target, &meeting("a-1", CALENDARS)).await).0, Some(17));
        google.mock.inject(MockFault::status(503).on(on));
        assert_eq!(later(attempt(&target, &meeting("a-1", CALENDARS)).await).0, None);
        for (reason, why) in [
            ("forbidden", "this account may not do that"),
            ("forbiddenForServiceAccounts", "set subject"),
            ("insufficientPermissions", "lacks a scope"),
        ] {
            google.mock.inject(forbidden(reason).on(on));
            let said = rejected(attempt(&target, &meeting("a-1", CALENDARS)).await);
            assert!(said.contains(why), "{said}");
        }
    }
    google.way.fault(EVENTS, Fault::status(403).header("content-type", "text/html"));
    later(attempt(&target, &meeting("a-1", CALENDARS)).await);
    assert!(google.booked().is_empty() && google.mock.faults().is_empty());
    google.state.lock().unwrap().live.clear();
    assert!(rejected(attempt(&target, &meeting("a-1", CALENDARS)).await).contains("token is not valid"));
}

#[tokio::test]
async fn a_meeting_that_has_not_begun_is_cancelled_once() {
    let (google, target) = start().await;
    let action = meeting("a-1", CALENDARS);
    let resolve = resolve("a-2", &action);
    assert_eq!(reference(&attempt(&target, &resolve).await), None, "there is none as yet");
    let booked = attempt(&target, &action).await;
    google.way.fault("DELETE ", Fault::BrokenAfter);
    assert!(matches!(attempt(&target, &resolve).await, Verdict::Retry { .. }));
    assert!(google.booked().is_empty());
    assert_eq!(attempt(&target, &resolve).await, booked);
    // Though Google says that it is gone already.
    google.way.fault(
        "GET ",
        Fault::Answer(
            200,
            Vec::new(),
            json!({ "id": "x", "status": "confirmed",
        "extendedProperties": { "private": { "breakdown": "a-1" } } })
            .to_string(),
        ),
    );
    assert!(matches!(attempt(&target, &resolve).await, Verdict::Done { .. }));
    // What was cancelled is not booked again.
    assert_eq!(attempt(&target, &action).await, booked);
    assert!(google.booked().is_empty());
    let mut of_a_page = resolve.clone();
    of_a_page["params"]["of"]["action"] = json!("escalate_owner");
    let before = google.way.seen().len();
    assert_eq!(reference(&attempt(&target, &of_a_page).await), None);
    assert_eq!(google.way.seen().len(), before, "a page is none of the calendar's");
}

#[tokio::test]
async fn a_meeting_that_had_begun_stays_and_the_outcome_says_so() {
    let (google, target) = start().await;
    let action = meeting("a-1", CALENDARS);
    let booked = attempt(&target, &action).await;
    let mut late = resolve("a-2", &action);
    late["evaluated_at"] = json!("2026-03-02T10:15:00Z");
    let stays = attempt(&target, &late).await;
    assert_eq!(
        reference(&stays),
        Some(format!("{} (had begun, stays)", reference(&booked).unwrap()).as_str())
    );
    assert_eq!(google.booked().len(), 1);
    late["evaluated_at"] = json!("2026-03-02T10:14:59Z");
    assert_eq!(attempt(&target, &late).await, booked);
    assert!(google.booked().is_empty());
}

#[tokio::test]
async fn after_an_outage_nobody_meets_in_the_past_and_what_has_begun_stays() {
    let clock = clock();
    let google = Google::start(clock.clone()).await;
    let target = target(&google, &clock);
    google.way.fault(EVENTS, Fault::status(503));
    later(attempt(&target, &meeting("a-1", CALENDARS)).await);
    clock.advance(TimeDelta::hours(3));
    google.way.fault(EVENTS, Fault::BrokenAfter);
    later(attempt(&target, &meeting("a-1", CALENDARS)).await);
    assert_eq!(starts(&google), ["2026-03-02T13:15:00Z"]);
    // Booked, and nobody heard: whatever the clock says by then, it is found.
    clock.advance(TimeDelta::minutes(10));
    let booked = attempt(&target, &meeting("a-1", CALENDARS)).await;
    reference(&attempt(&target, &meeting("a-2", CALENDARS)).await);
    assert_eq!(starts(&google), ["2026-03-02T13:15:00Z", "2026-03-02T13:30:00Z"]);
    // The issue was closed long before either began; at a quarter past one that is cancelled which has not begun.
    clock.advance(TimeDelta::minutes(5));
    let stays = attempt(&target, &resolve("a-3", &meeting("a-1", CALENDARS))).await;
    let expected = format!("{} (had begun, stays)", reference(&booked).unwrap());
    assert_eq!(reference(&stays), Some(expected.as_str()));
    reference(&attempt(&target, &resolve("a-4", &meeting("a-2", CALENDARS))).await);
    assert_eq!(starts(&google), ["2026-03-02T13:15:00Z"]);
}

#[tokio::test]
async fn a_service_account_gets_a_token_and_another_before_it_ends() {
    let clock = clock();
    let google = Google::start(clock.clone()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), google.key_file().to_string()).unwrap();
    let said = json!({ "kind": "google-calendar", "service_account": { "file": file.path() }, "base": google.base,
                       "subject": "bot@acme.test" });
    let target = open("google", said, &clock);
    let issued = || google.state.lock().unwrap().issued.len();
    for (id, minutes, tokens) in [("a-1", 0, 1), ("a-2", 50, 1), ("a-3", 6, 2)] {
        clock.advance(TimeDelta::minutes(minutes));
        reference(&attempt(&target, &meeting(id, CALENDARS)).await);
        assert_eq!(issued(), tokens, "{id}");
    }
    assert_eq!(google.state.lock().unwrap().issued[0]["sub"], "bot@acme.test");
    // Revoked before its time: another is asked for.
    google.state.lock().unwrap().live.clear();
    let (_, why) = later(attempt(&target, &meeting("a-4", CALENDARS)).await);
    assert!(why.contains("another is asked for"), "{why}");
    reference(&attempt(&target, &meeting("a-4", CALENDARS)).await);
    assert_eq!(issued(), 3);
    // Two bear it when it is revoked: both try again.
    google.state.lock().unwrap().live.clear();
    let both = [meeting("a-6", CALENDARS), meeting("a-7", CALENDARS)];
    let verdicts = futures::future::join_all(both.iter().map(|action| attempt(&target, action))).await;
    verdicts.into_iter().for_each(|verdict| assert!(later(verdict).1.contains("another is asked for")));
    for action in &both {
        reference(&attempt(&target, action).await);
    }
    assert_eq!(issued(), 4);
    // One that was just issued is refused, too: another would be no better.
    google.state.lock().unwrap().live.clear();
    later(attempt(&target, &meeting("a-8", CALENDARS)).await);
    google.way.fault("GET ", Fault::status(401));
    let why = rejected(attempt(&target, &meeting("a-8", CALENDARS)).await);
    assert!(why.contains("token is not valid"), "{why}");
    reference(&attempt(&target, &meeting("a-8", CALENDARS)).await);
    // The key is no more.
    google.state.lock().unwrap().live.clear();
    later(attempt(&target, &meeting("a-5", CALENDARS)).await);
    google.way.fault("POST /token", Fault::status(503));
    assert_eq!(later(attempt(&target, &meeting("a-5", CALENDARS)).await).0, None);
    let gone = json!({ "error": "invalid_grant", "error_description": "c4n4ry" });
    google.way.fault("POST /token", Fault::status(400).body(gone));
    let why = rejected(attempt(&target, &meeting("a-5", CALENDARS)).await);
    assert!(why.contains("gives the service account no token") && !why.contains("c4n4ry"), "{why}");
}

#[tokio::test]
async fn text_is_data() {
    let (google, target) = start().await;
    let mut hostile = meeting("{quote}", CALENDARS);
    hostile["params"]["title"] = json!(HOSTILE);
    hostile["rationale"] = json!(HOSTILE);
    hostile["params"]["to"]["people"][0]["email"] = json!("x@y\r\nATTENDEE:mailto:z@y");
    assert!(reference(&attempt(&target, &hostile).await).is_some());
    let event = google.booked().remove(0);
    inert(event["summary"].as_str().unwrap());
    let description = event["description"].as_str().unwrap();
    inert(description);
    assert!(!description.contains(['<', '>']), "{description}");
    assert_eq!(event["attendees"][0]["email"], CALENDARS[0], "an address that is none is not written to");
}
