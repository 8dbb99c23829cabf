//! Records that a broker will never take.

use bytes::Bytes;
use eventlog::{LogError, NewRecord};
use events::{DeadLetter, IssueEvent, Origin, topic};
use webhooks::Appended;

use crate::{
    broker::Mood,
    harness::{World, limits, text},
};

/// An event as the receivers write it.
fn event(number: u64) -> NewRecord {
    let value = serde_json::json!({
        "event_id": format!("gh-{number}"), "project_id": "alpha", "source": "github", "type": "issue_opened",
        "issue_ref": format!("github:o/r#{number}"), "delivery_id": format!("delivery-{number}"),
        "title": format!("issue {number}."),
    });
    let event: IssueEvent = serde_json::from_value(value).unwrap();
    let message = event.to_message(None).unwrap();
    NewRecord {
        topic: message.topic.to_owned(),
        partition: None,
        key: Bytes::from(message.key),
        value: Some(Bytes::from(message.value)),
        headers: message.headers,
    }
}

#[tokio::test]
async fn directly_the_sender_is_told() {
    let world = World::new(Mood::Up, limits()).await;
    world.broker.never_takes(b"big");
    assert!(matches!(world.append("a", "big").await, Err(LogError::Unfit(_))));
    assert!(!world.spool().report().spooling, "that says nothing about the broker");
}

#[tokio::test]
async fn from_the_spool_it_becomes_a_dead_letter_and_holds_up_nothing() {
    let world = World::new(Mood::Down, limits()).await;
    for number in 0..40 {
        assert_eq!(world.spool().append(vec![event(number)]).await, Ok(Appended::Spooled));
    }
    // Told by words that its dead letter, which has it in a string, does not have.
    world.broker.never_takes(b"\"issue 17.\"");
    world.broker.is(Mood::Up);
    world.until_direct().await;
    let records = world.broker.records();
    let letters: Vec<DeadLetter> = records
        .iter()
        .filter(|record| record.topic == topic::DEAD_LETTERS)
        .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
        .collect();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    let (provider, delivery_id) = ("github".into(), Some("delivery-17".into()));
    let origin = Origin::Spooled { provider, delivery_id, payload_hash: None };
    assert_eq!((&letter.origin, letter.reason.as_str()), (&origin, "unfit"));
    assert_eq!(letter.original_sha256, events::id::sha256(event(17).value.as_deref().unwrap()));
    let mut seen = Vec::new();
    for record in records.iter().filter(|record| record.topic == topic::ISSUES) {
        if !seen.contains(record) {
            seen.push(record.clone());
        }
    }
    let wanted: Vec<_> = (0..40).filter(|number| *number != 17).map(event).collect();
    assert_eq!(seen, wanted);
    assert_eq!(world.contents().await.unfit.records, 0);
}

#[tokio::test]
async fn what_cannot_even_be_a_dead_letter_is_set_aside() {
    let mut world = World::new(Mood::Down, limits()).await;
    world.broker.never_takes(b"issue 1.");
    world.broker.never_takes(b"no event");
    for record in [event(0), event(1), crate::harness::record("a", "no event"), event(2)] {
        world.spool().append(vec![record]).await.unwrap();
    }
    world.broker.is(Mood::Up);
    world.until_direct().await;
    let taken: Vec<_> = world.broker.records().iter().map(text).collect();
    assert_eq!(taken, [text(&event(0)), text(&event(2))]);
    let contents = world.contents().await;
    assert_eq!((contents.waiting.records, contents.unfit.records), (0, 2));
    world.crash().await;
    world.start().await;
    assert_eq!(world.contents().await.unfit.records, 2);
}
