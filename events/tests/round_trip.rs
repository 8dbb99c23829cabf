//! Whatever the types write, they read back the same, and the schemas agree.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{
    Action, ActionKind, Carried, Control, DeadLetter, EventType, FieldChange, IssueEvent, IssueState, Letter,
    NoAnswer, Origin, Original, Outcome, PolicyChange, Redone, Redrive, Redriven, Risk, Said, Source, Unsent,
    schema,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    // 1970 to 9999, whole milliseconds as the log keeps them.
    (0..253_402_300_799_999_i64).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
}

fn said<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Said<T>> {
    prop_oneof![Just(Said::Nothing), Just(Said::Null), value.prop_map(Said::Value)]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(".{0,12}", 0..4)
}

fn json() -> impl Strategy<Value = Value> {
    // Null is what Said::Null says, so it is no value of its own.
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from)
    ]
}

fn change() -> impl Strategy<Value = BTreeMap<String, FieldChange>> {
    let field = (said(json()), said(json()), texts(), texts())
        .prop_map(|(old, new, added, removed)| FieldChange { old, new, added, removed });
    prop::collection::btree_map("[a-z_]{1,8}", field, 0..3)
}

prop_compose! {
    fn issue_event()(
        ids in (".{1,20}", ".{1,20}", ".{1,40}"),
        source in prop_oneof![Just(Source::Github), Just(Source::Jira)],
        event_type in prop_oneof![prop::sample::select(EventType::KNOWN), Just("issue_danced")],
        place in (prop::option::of(".{0,9}"), prop::option::of(any::<u64>()), prop::option::of(".{0,9}")),
        texts_said in (said(".*"), said(".*"), said(".*"), said(".*"), said(".*")),
        lists in (said(texts()), said(texts())),
        state in said(prop_oneof![Just(IssueState::Open), Just(IssueState::Closed)]),
        times in (prop::option::of(instant()), prop::option::of(instant()), said(instant())),
        due_milestone in said(any::<u64>()),
        who in (prop::option::of(".{0,9}"), prop::option::of(".{0,9}")),
        change in change(),
        no_answer in prop::option::of(prop_oneof![prop::sample::select(NoAnswer::KNOWN), Just("unheard")]),
    ) -> IssueEvent {
        let mut event = IssueEvent::new(ids.0, ids.1, source, EventType::from(event_type), ids.2);
        (event.repo, event.issue_number, event.issue_key) = place;
        (event.title, event.url, event.assignee, event.priority, event.status) = texts_said;
        (event.labels, event.assignees) = lists;
        event.state = state;
        (event.created_at, event.updated_at, event.due_at) = times;
        event.due_milestone = due_milestone;
        (event.actor, event.delivery_id) = who;
        event.change = change;
        event.no_answer = no_answer.map(NoAnswer::from);
        event
    }
}

prop_compose! {
    fn action()(
        words in (".{1,20}", ".{1,20}", ".*", ".*", ".*"),
        kind in prop_oneof![prop::sample::select(ActionKind::KNOWN), Just("dance")],
        more in (prop::option::of(".*"), prop::option::of(".*"), prop::option::of(".*"), prop::option::of(".*")),
        evaluated_at in prop::option::of(instant()),
        params in prop::collection::btree_map("[a-z]{1,6}", json(), 0..3),
    ) -> Action {
        Action {
            event_id: words.0, project_id: words.1, action: ActionKind::from(kind), target: words.2,
            rationale: words.3, source_ref: words.4, issue_ref: more.0, cause: more.1, rule: more.2,
            policy_hash: more.3, evaluated_at, params: params.into_iter().collect(),
        }
    }
}

prop_compose! {
    fn carried()(by in ".*", ack: bool, attempts: u32, error in prop::option::of(".*"),
        reference in prop::option::of(".*"), said in (".*", ".*", prop::option::of(".*"), json()), dry: bool, otherwise: bool,
    ) -> Carried {
        let unsent = Unsent { method: said.0, host: said.1, path: said.2, body: said.3 };
        Carried { by, ack, attempts, error, reference, otherwise, unsent: if dry { vec![unsent] } else { vec![] } }
    }
}

prop_compose! {
    fn outcome()(action in action(), thousandths in -1_000_000..1_000_000_i64, ack: bool, at in instant(),
        attempts in prop::option::of(any::<u32>()), error in prop::option::of(".*"),
        reference in prop::option::of(".*"), supersedes in prop::option::of(".*"),
        carried in prop::collection::vec(carried(), 0..3),
    ) -> Outcome {
        Outcome { attempts, error, reference, supersedes, carried, ..Outcome::of(&action, Risk(thousandths), ack, at) }
    }
}

fn holds<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(topic: &str, value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
    let schema = schema::all().into_iter().find(|(name, _)| *name == topic).unwrap().1;
    let validator = jsonschema::validator_for(schema.as_value()).unwrap();
    validator.validate(&serde_json::from_str(&text).unwrap()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn issue_events(event in issue_event()) { holds("issues", &event) }

    #[test]
    fn actions(action in action()) { holds("actions", &action) }

    #[test]
    fn outcomes(outcome in outcome()) { holds("outcomes", &outcome) }

    #[test]
    fn dead_letters(original in prop::collection::vec(any::<u8>(), 0..300), at in instant(), kind in 0..3, round: u32) {
        let (provider, delivery_id) = ("github".to_owned(), None);
        let origin = match kind {
            0 => Origin::Delivery { provider, delivery_id, event: Some("issues".into()) },
            1 => Origin::Spooled { provider, delivery_id, payload_hash: Some("ab".into()) },
            _ => Origin::Record { topic: "issues".into(), partition: 3, offset: 9 },
        };
        let letter = DeadLetter::new(origin, None, "unreadable", "expected a map", at, &original);
        prop_assert_eq!(letter.whole_original().unwrap(), original.as_slice());
        let letter = letter.after(Some(&Redrive { round, letter: "d-1".into(), supersedes: None }));
        prop_assert_eq!(letter.round, round);
        holds("dead-letters", &Letter::Dead(letter.into()));
    }

    #[test]
    fn redriven_letters(at in instant(), ignored: bool, offset: u64) {
        let origin = Origin::Record { topic: "actions".into(), partition: 3, offset: 9 };
        let letter = DeadLetter::new(origin, Some("alpha".into()), "undeliverable", "", at, b"{}");
        let became = match ignored {
            true => Redone::Ignored { why: "ping".into() },
            false => Redone::Appended { topic: "actions".into(), partition: 3, offset },
        };
        let note = Redriven::of(&letter, became, at);
        prop_assert_eq!(&note.to_message().unwrap().key, &letter.to_message().unwrap().key);
        holds("dead-letters", &Letter::Redriven(note));
    }

    #[test]
    fn controls(project in prop::option::of(".{1,9}"), paused: bool, at in instant()) {
        holds("control", &Control::new(project.as_deref(), paused, at));
    }

    #[test]
    fn policy_changes(partition: u32, at in instant(), on_trial: bool, policy in ".*") {
        let offsets = BTreeMap::from([("issues".to_owned(), 7_u64)]);
        let policy_hash = "ab".into();
        let change = PolicyChange { partition, policy_hash, offsets, at, clock: Some(at), on_trial, policy };
        holds("policies", &change);
    }

    #[test]
    fn risk_is_exact_in_thousandths(parts in prop::collection::vec(-1000..1000_i64, 0..50)) {
        let read = parts.iter().map(|&part| {
            serde_json::from_str::<Risk>(&serde_json::to_string(&Risk(part)).unwrap()).unwrap()
        });
        prop_assert_eq!(read.sum::<Risk>(), Risk(parts.iter().sum()));
    }
}

#[test]
fn absent_and_null_are_told_apart() {
    let required =
        r#""event_id":"e","project_id":"p","source":"jira","type":"issue_updated","issue_ref":"r""#;
    let read = |rest: &str| serde_json::from_str::<IssueEvent>(&format!("{{{required}{rest}}}")).unwrap();
    assert_eq!(read("").due_at, Said::Nothing);
    assert_eq!(read(r#","due_at":null"#).due_at, Said::Null);
    assert_eq!(read(r#","field_of_tomorrow":1"#).labels, Said::Nothing);
    assert!(serde_json::to_string(&read(r#","assignee":null"#)).unwrap().contains(r#""assignee":null"#));
}

#[test]
fn a_message_carries_cloudevents_headers() {
    let mut event = IssueEvent::new(
        "gh-00112233445566778899aabbccddeeff",
        "alpha",
        Source::Github,
        EventType::IssueOpened,
        "github:o/r#1",
    );
    event.repo = Some("o/r".into());
    event.updated_at = Some("2026-11-20T10:00:00Z".parse().unwrap());
    let message = event.to_message(Some("hash")).unwrap();
    let header = |name: &str| {
        message.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default()
    };
    assert_eq!((message.topic, message.key.as_str()), ("issues", "alpha"));
    assert_eq!(header("ce_id"), event.event_id);
    assert_eq!(header("ce_type"), "breakdown.issue_opened");
    assert_eq!(header("ce_source"), "/github/o/r");
    assert_eq!(header("ce_specversion"), "1.0");
    assert_eq!(header("ce_time"), "2026-11-20T10:00:00Z");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("payload_hash"), "hash");
    assert!(header("traceparent").starts_with("00-00112233445566778899aabbccddeeff-"));
}

#[test]
fn an_original_keeps_its_first_512_kib_and_its_whole_hash() {
    let original = vec![b'"'; events::MAX_ORIGINAL_BYTES + 7];
    let origin = Origin::Delivery { provider: "jira".into(), delivery_id: Some("1".into()), event: None };
    let letter = DeadLetter::new(origin, None, "unreadable", "", DateTime::UNIX_EPOCH, &original);
    assert_eq!(letter.original_length, original.len() as u64);
    assert_eq!(letter.original_sha256, events::id::sha256(&original));
    assert!(letter.whole_original().is_none(), "it is not whole");
    let Original::Utf8(text) = letter.original else { panic!("plain text is kept as text") };
    assert_eq!(text.len(), events::MAX_ORIGINAL_BYTES);
}

#[test]
fn a_redrive_that_was_made_twice_ends_in_one_letter() {
    let at = |offset| Origin::Record { topic: "issues".into(), partition: 0, offset };
    let letter = |offset| DeadLetter::new(at(offset), None, "unreadable", "", DateTime::UNIX_EPOCH, b"x");
    assert_ne!(letter(1).event_id, letter(2).event_id);
    let redrive = Redrive { round: 1, letter: letter(1).event_id, supersedes: None };
    let (first, second) = (letter(7).after(Some(&redrive)), letter(8).after(Some(&redrive)));
    assert_eq!(first.event_id, second.event_id);
    assert_ne!(first.event_id, letter(1).event_id);
    let next = Redrive { round: 2, letter: first.event_id.clone(), supersedes: None };
    assert_ne!(letter(9).after(Some(&next)).event_id, first.event_id);
}
