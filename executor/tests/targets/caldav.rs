//! On Radicale; on a fake, what cannot be asked of it.

use std::sync::Arc;

use chrono::TimeDelta;
use executor::{Target, Verdict};
use serde_json::{Value, json};

use super::{
    HOSTILE, attempt, carried_at_once, clock,
    fake::{Fault, caldav::Caldav, inert, radicale::Radicale},
    later, open, reference, rejected, resolve,
};

fn said(base: &str, calendar: &str) -> Value {
    json!({ "kind": "caldav", "base": base, "user": "breakdown", "password": { "env": "DAV_PASSWORD" },
            "calendar": calendar, "organizer": "breakdown@acme.test" })
}

async fn start(home: &str) -> (Radicale, Arc<dyn Target>) {
    let radicale = Radicale::start(home).await;
    let target = open("dav", said(&radicale.base, &radicale.calendars()[2]), &clock());
    (radicale, target)
}

fn meeting(radicale: &Radicale, id: &str) -> Value {
    super::meeting(id, radicale.calendars().each_ref().map(String::as_str))
}

fn value<'a>(event: &'a [String], name: &str) -> &'a str {
    event.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {event:?}"))
}

fn is_cancelled(event: &[String]) -> bool {
    event.iter().any(|line| line == "STATUS:CANCELLED")
}

/// When the meetings in the team's calendar begin that were not called off.
async fn starts(radicale: &Radicale) -> Vec<String> {
    let meetings = radicale.meetings().await;
    let stand = meetings.iter().filter(|event| !is_cancelled(event));
    let mut starts: Vec<String> = stand.map(|event| value(event, "DTSTART:20260302T").to_owned()).collect();
    starts.sort();
    starts
}

#[tokio::test]
async fn everybody_meets_at_the_earliest_time_at_which_all_can() {
    let (radicale, target) = start("earliest").await;
    radicale.busy("alice", "one", "100000", "110000", "").await;
    radicale.busy("bo", "two", "110500", "113100", "STATUS:TENTATIVE\r\n").await;
    // What is cancelled or does not count takes no time; what comes again does.
    radicale.busy("bo", "three", "114500", "120000", "STATUS:CANCELLED\r\n").await;
    radicale.busy("alice", "four", "114500", "120000", "TRANSP:TRANSPARENT\r\n").await;
    let verdict = attempt(&target, &meeting(&radicale, "a-1")).await;
    let [event] = &radicale.meetings().await[..] else { panic!("one") };
    for (name, expected) in [
        ("DTSTART:", "20260302T114500Z"),
        ("DTEND:", "20260302T120000Z"),
        ("SUMMARY:", "Unblock: Login fails"),
        ("DESCRIPTION:", "team:triage please meet about this\\nNew issue needs triage"),
        ("URL:", "https://github.com/o/r/issues/1"),
        ("ORGANIZER:", "mailto:breakdown@acme.test"),
    ] {
        assert_eq!(value(event, name), expected);
    }
    let guests = event.iter().filter(|line| line.starts_with("ATTENDEE")).count();
    assert_eq!(guests, 2, "{event:?}");
    let path = reference(&verdict).unwrap();
    assert!(path.starts_with("/earliest/team/") && path.ends_with(".ics"), "{path}");
    assert_eq!(radicale.ask("GET", path, "").await.0, 200);
}

#[tokio::test]
async fn a_retry_finds_its_own_meeting_wherever_others_are_busy_by_then() {
    let (radicale, target) = start("retry").await;
    // Booked, and nobody wrote down that it is: to whoever comes next the action is new.
    let first = attempt(&target, &meeting(&radicale, "a-1")).await;
    assert_eq!(starts(&radicale).await, ["101500Z"]);
    radicale.busy("alice", "all-day", "000000", "235900", "RRULE:FREQ=DAILY\r\n").await;
    for _ in 0..3 {
        assert_eq!(attempt(&target, &meeting(&radicale, "a-1")).await, first);
    }
    // Another one does see that she is busy.
    let why = rejected(attempt(&target, &meeting(&radicale, "a-2")).await);
    let expected = "dav: there are no 15 minutes within 7 days at which all are free and at work: alice, bo, team:triage";
    assert_eq!(why, expected);
    assert_eq!(starts(&radicale).await, ["101500Z"]);
    radicale.free("alice", "all-day").await;
    radicale.busy("alice", "short", "103000", "104500", "").await;
    reference(&attempt(&target, &meeting(&radicale, "a-2")).await);
    assert_eq!(starts(&radicale).await, ["101500Z", "104500Z"], "after the first meeting, and after hers");
}

#[tokio::test]
async fn who_is_asked_for_twice_at_once_has_two_meetings_one_after_the_other() {
    let (radicale, target) = start("twice").await;
    let actions: Vec<Value> = (0..4).map(|n| meeting(&radicale, &format!("a-{n}"))).collect();
    let outcomes = carried_at_once(&target, &actions).await;
    assert!(outcomes.iter().all(|outcome| outcome.ack && outcome.attempts == Some(1)), "{outcomes:?}");
    assert_eq!(starts(&radicale).await, ["101500Z", "103000Z", "104500Z", "110000Z"]);
}

#[tokio::test]
async fn what_comes_again_every_day_is_busy_every_day() {
    let (radicale, target) = start("daily").await;
    radicale.busy("bo", "mornings", "060000", "153000", "RRULE:FREQ=DAILY\r\n").await;
    reference(&attempt(&target, &meeting(&radicale, "a-1")).await);
    assert_eq!(starts(&radicale).await, ["153000Z"]);
    // All of his hours: never.
    radicale.busy("bo", "mornings", "060000", "163000", "RRULE:FREQ=DAILY\r\n").await;
    assert!(
        rejected(attempt(&target, &meeting(&radicale, "a-2")).await).contains("no 15 minutes within 7 days")
    );
}

#[tokio::test]
async fn who_has_no_calendar_there_is_named() {
    let (radicale, target) = start("missing").await;
    let [alice, _, team] = radicale.calendars();
    let stranger = super::meeting("a-1", [&alice, "/missing/stranger/", &team]);
    let why = rejected(attempt(&target, &stranger).await);
    assert!(
        why.starts_with("dav answered 404") && why.ends_with("there is no free/busy calendar of bo"),
        "{why}"
    );
    for bad in ["/../x/", "https://evil.test/", "missing/alice", "/missing//x"] {
        let why = rejected(attempt(&target, &super::meeting("a-1", [bad, &alice, &team])).await);
        assert_eq!(why, "dav: alice: the calendar in the policy is no path on the server", "{bad}");
    }
    let nowhere = open("dav", said(&radicale.base, "/missing/nowhere/"), &clock());
    let why = rejected(attempt(&nowhere, &meeting(&radicale, "a-1")).await);
    assert!(why.ends_with("there is no free/busy calendar of the meetings' own"), "{why}");
    let mut without = meeting(&radicale, "a-1");
    without["params"]["to"]["people"][1].as_object_mut().unwrap().remove("calendar");
    assert!(rejected(attempt(&target, &without).await).starts_with("dav: bo: no calendar in the policy"));
    assert!(radicale.meetings().await.is_empty());
}

#[tokio::test]
async fn a_credential_that_is_not_valid_any_more_is_refused() {
    let (radicale, _) = start("revoked").await;
    let mut revoked = said(&radicale.base, "/revoked/team/");
    revoked["password"] = json!({ "env": "OLD_DAV_PASSWORD" });
    let target = open("dav", revoked.clone(), &clock());
    let why = rejected(attempt(&target, &meeting(&radicale, "a-1")).await);
    assert!(why.starts_with("dav answered 401") && why.contains("the user or the password"), "{why}");
    // Somebody else's, who may not look.
    revoked["user"] = json!("stranger");
    assert!(
        rejected(attempt(&open("dav", revoked, &clock()), &meeting(&radicale, "a-1")).await).contains("401")
    );
    assert!(radicale.meetings().await.is_empty());
}

#[tokio::test]
async fn text_is_data() {
    let (radicale, target) = start("hostile").await;
    let mut hostile = meeting(&radicale, "{quote}\r\nUID:x");
    let long = format!("{HOSTILE}\\,;:\"END:VEVENT\u{85}é{}", "😀é".repeat(60));
    hostile["params"]["title"] = json!(long);
    hostile["rationale"] = json!(format!("{HOSTILE}\r\nBEGIN:VALARM\nACTION:PROCEDURE"));
    hostile["source_ref"] = json!("https://x.test/a\r\nATTENDEE:mailto:x@y");
    hostile["params"]["to"]["people"][0]["email"] = json!("x@y\r\nATTENDEE:mailto:z@y");
    reference(&attempt(&target, &hostile).await).unwrap();
    let resolve = resolve("a-2", &hostile);
    let [event] = &radicale.meetings().await[..] else { panic!("one") };
    // Called off, it is the same to the letter, but for its state.
    reference(&attempt(&target, &resolve).await).unwrap();
    let [called_off] = &radicale.meetings().await[..] else { panic!("one") };
    let state = ["DTSTAMP:20260302T100058Z", "SEQUENCE:1", "STATUS:CANCELLED"];
    let rest = |event: &[String]| -> Vec<String> {
        let state = |line: &&String| !line.starts_with("DTSTAMP:") && !state.contains(&line.as_str());
        event.iter().filter(state).cloned().collect()
    };
    assert_eq!(rest(called_off), rest(event));
    assert!(state.iter().all(|line| called_off.iter().any(|said| said == line)), "{called_off:?}");
    assert_eq!(called_off.len(), event.len() + 2);
    let known =
        ["UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "URL", "ORGANIZER", "ATTENDEE"];
    for line in event {
        let name = line.split([':', ';']).next().unwrap();
        assert!(known.contains(&name), "{line:?}");
        inert(line);
    }
    let guests: Vec<&String> = event.iter().filter(|line| line.starts_with("ATTENDEE")).collect();
    assert!(guests.len() == 1 && guests[0].ends_with("mailto:bo@acme.test"), "{guests:?}");
    let title = value(event, "SUMMARY:");
    assert!(
        title.contains("ATTENDEE:mailto:x@y") && title.contains("\\\\\\,\\;:\"END:VEVENT é😀é"),
        "{title:?}"
    );
}

#[tokio::test]
async fn a_meeting_that_has_not_begun_is_cancelled_once() {
    let (radicale, target) = start("cancelled").await;
    let action = meeting(&radicale, "a-1");
    let resolve = resolve("a-2", &action);
    assert_eq!(reference(&attempt(&target, &resolve).await), None, "there is none as yet");
    let booked = attempt(&target, &action).await;
    reference(&attempt(&target, &meeting(&radicale, "a-3")).await);
    for _ in 0..2 {
        assert_eq!(attempt(&target, &resolve).await, booked);
        assert_eq!(starts(&radicale).await, ["103000Z"], "the other stays");
    }
    // It stays for all to see, invited as they were, and takes no time: another meets then.
    let meetings = radicale.meetings().await;
    let [called_off] = &meetings.iter().filter(|event| is_cancelled(event)).collect::<Vec<_>>()[..] else {
        panic!("one: {meetings:?}")
    };
    for (name, expected) in
        [("SEQUENCE:", "1"), ("DTSTAMP:", "20260302T100058Z"), ("DTSTART:", "20260302T101500Z")]
    {
        assert_eq!(value(called_off, name), expected);
    }
    assert_eq!(called_off.iter().filter(|line| line.starts_with("ATTENDEE")).count(), 2);
    reference(&attempt(&target, &meeting(&radicale, "a-4")).await);
    assert_eq!(starts(&radicale).await, ["101500Z", "103000Z"]);
    // Nobody wrote down that it was booked, and called off: who comes again finds it, and does nothing.
    let before = radicale.meetings().await;
    assert_eq!(attempt(&target, &action).await, booked);
    assert_eq!(attempt(&target, &resolve).await, booked);
    assert_eq!(radicale.meetings().await, before);
}

#[tokio::test]
async fn what_others_made_of_a_meeting_stays_when_it_is_called_off() {
    let (radicale, target) = start("changed").await;
    let action = meeting(&radicale, "a-1");
    let booked = attempt(&target, &action).await;
    let path = reference(&booked).unwrap();
    let (_, text) = radicale.ask("GET", path, "").await;
    // Moved to Tuesday, by a program of their own; Bo comes, and is reminded.
    let theirs = "SEQUENCE:3\r\nLAST-MODIFIED:20260302T110000Z\r\nX-ROOM;X-FLOOR=\"2;left:door\":blue\r\n";
    let alarm =
        "BEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:soon\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\nEND:VEVENT";
    let moved = text
        .replace("20260302T101500Z", "20260303T101500Z")
        .replace("20260302T103000Z", "20260303T103000Z")
        .replace("SUMMARY:", &format!("{theirs}SUMMARY:"))
        .replace("END:VEVENT", alarm);
    assert_eq!(radicale.ask("PUT", path, &moved).await.0, 204);
    assert_eq!(attempt(&target, &resolve("a-2", &action)).await, booked);
    let (_, text) = radicale.ask("GET", path, "").await;
    for line in ["SEQUENCE:4", "STATUS:CANCELLED", "DTSTART:20260303T101500Z", "DTSTAMP:20260302T100058Z"] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
    }
    assert!(text.contains("X-FLOOR=\"2;left:door\":blue") && text.contains("BEGIN:VALARM"), "{text}");
    assert!(!text.contains("SEQUENCE:3") && !text.contains("LAST-MODIFIED"), "{text}");
    assert_eq!(text.matches("ATTENDEE").count(), 2, "{text}");
}

#[tokio::test]
async fn a_meeting_that_had_begun_stays_and_the_outcome_says_so() {
    let (radicale, target) = start("begun").await;
    let action = meeting(&radicale, "a-1");
    let booked = attempt(&target, &action).await;
    // Somebody has moved it: it began at ten, by their clocks.
    let path = reference(&booked).unwrap();
    let (_, text) = radicale.ask("GET", path, "").await;
    let moved = text.replace("DTSTART:20260302T101500Z", "DTSTART;TZID=Europe/Berlin:20260302T110000");
    assert_ne!(moved, text);
    assert_eq!(radicale.ask("PUT", path, &moved).await.0, 204);
    let resolve = resolve("a-2", &action);
    assert_eq!(
        reference(&attempt(&target, &resolve).await),
        Some(format!("{path} (had begun, stays)").as_str())
    );
    assert_eq!(radicale.meetings().await.len(), 1);
}

#[tokio::test]
async fn what_stands_there_and_is_another_is_left_alone() {
    let (radicale, target) = start("another").await;
    let booked = attempt(&target, &meeting(&radicale, "a-1")).await;
    let path = reference(&booked).unwrap();
    let (_, text) = radicale.ask("GET", path, "").await;
    let uid = text.lines().find_map(|line| line.strip_prefix("UID:")).unwrap();
    assert_eq!(radicale.ask("DELETE", path, "").await.0, 200);
    assert_eq!(radicale.ask("PUT", path, &text.replace(uid, "somebody-elses")).await.0, 201);
    let why = "dav: another meeting stands at the place of this one";
    assert_eq!(rejected(attempt(&target, &meeting(&radicale, "a-1")).await), why);
    assert_eq!(rejected(attempt(&target, &resolve("a-2", &meeting(&radicale, "a-1"))).await), why);
    assert_eq!(radicale.meetings().await.len(), 1);
}

fn on_fake(id: &str) -> Value {
    super::meeting(id, ["/alice/calendar", "/bo/calendar", "/team/meetings"])
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_not_free() {
    let dav = Caldav::start().await;
    let target = open("dav", said(&dav.base, "/team/meetings"), &clock());
    let whole = "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n";
    for body in [
        "",
        "<html>",
        "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        &whole[..whole.len() / 2],
        &whole.replace("END:VFREEBUSY", "FREEBUSY:yesterday\r\nEND:VFREEBUSY"),
    ] {
        dav.way.fault("REPORT /bo", Fault::Answer(200, Vec::new(), body.to_owned()));
        let (after, why) = later(attempt(&target, &on_fake("a-1")).await);
        assert!(after.is_none() && why.starts_with("dav answered 200"), "{why}");
    }
    for (status, why) in
        [(403, "may not have free/busy calendar of bo"), (501, "no CalDAV server"), (207, "")]
    {
        dav.way.fault("REPORT /bo", Fault::status(status));
        let said = rejected(attempt(&target, &on_fake("a-1")).await);
        assert!(said.starts_with(&format!("dav answered {status}")) && said.contains(why), "{said}");
    }
    assert!(dav.objects().is_empty());
    reference(&attempt(&target, &on_fake("a-1")).await);
}

#[tokio::test]
async fn after_an_outage_nobody_meets_in_the_past_and_what_has_begun_stays() {
    let (dav, clock) = (Caldav::start().await, clock());
    let target = open("dav", said(&dav.base, "/team/meetings"), &clock);
    dav.way.fault("PUT ", Fault::status(503));
    later(attempt(&target, &on_fake("a-1")).await);
    clock.advance(TimeDelta::hours(3));
    dav.way.fault("PUT ", Fault::BrokenAfter);
    later(attempt(&target, &on_fake("a-1")).await);
    clock.advance(TimeDelta::minutes(15));
    let booked = attempt(&target, &on_fake("a-1")).await;
    let [object] = &dav.objects()[..] else { panic!("one") };
    assert!(object.contains("DTSTART:20260302T131500Z"), "{object}");
    let stays = attempt(&target, &resolve("a-2", &on_fake("a-1"))).await;
    let expected = format!("{} (had begun, stays)", reference(&booked).unwrap());
    assert_eq!(reference(&stays), Some(expected.as_str()));
    assert_eq!(dav.objects().len(), 1);
}

#[tokio::test]
async fn a_meeting_that_is_there_when_it_is_put_is_looked_at() {
    let dav = Caldav::start().await;
    let target = open("dav", said(&dav.base, "/team/meetings"), &clock());
    let booked = attempt(&target, &on_fake("a-1")).await;
    // Not found at first: another attempt of ours was a moment before.
    dav.way.fault("GET ", Fault::status(404));
    assert_eq!(attempt(&target, &on_fake("a-1")).await, booked);
    assert_eq!(dav.objects().len(), 1);
    // Somebody writes to it between our look and our changing it: it is looked at again.
    let resolve = resolve("a-2", &on_fake("a-1"));
    dav.way.fault("PUT ", Fault::status(412));
    let (_, why) = later(attempt(&target, &resolve).await);
    assert!(why.ends_with("somebody changes the meeting"), "{why}");
    dav.touch();
    dav.way.fault("PUT ", Fault::HangAfter);
    assert!(matches!(attempt(&target, &resolve).await, Verdict::Retry { .. }));
    let called_off = dav.objects();
    assert!(called_off[0].contains("\r\nSEQUENCE:1\r\nSTATUS:CANCELLED\r\n"), "{called_off:?}");
    let put = dav.way.seen().into_iter().rfind(|seen| seen.method == "PUT").unwrap();
    assert_eq!(
        (&put.headers["if-match"], put.headers.get("if-none-match")),
        (&"\"2\"".parse().unwrap(), None)
    );
    // It is called off, and nobody heard: neither that nor the booking is done once more, though it is not found at first.
    assert_eq!(attempt(&target, &resolve).await, booked);
    dav.way.fault("GET ", Fault::status(404));
    assert_eq!(attempt(&target, &on_fake("a-1")).await, booked);
    assert_eq!(dav.objects(), called_off);
    // Another takes its time.
    reference(&attempt(&target, &on_fake("a-3")).await);
    assert!(dav.objects().iter().all(|object| object.contains("DTSTART:20260302T101500Z")));
    // What somebody deleted stays so.
    dav.clear();
    assert_eq!(reference(&attempt(&target, &resolve).await), None);
    assert!(dav.objects().is_empty());
}
