//! Records of every topic, put to whoever reads it. Three lines a record: topic, key, value; an empty value deletes.
//!
//! Records of the changelogs are restored first, in their order; a gateway that refuses one starts with nothing known.

use bytes::Bytes;
use eventlog::{Headers, NewRecord, Record};
use events::{Action, Letter, PolicyChange, topic};
use gateway::fuzzing::Held;

use crate::{
    policies::sample,
    recorder::{as_read, now},
};

pub fn records(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let records = lines.chunks(3).enumerate().map(|(offset, lines)| {
        let line = |at: usize| lines.get(at).copied().unwrap_or_default();
        Record {
            topic: String::from_utf8_lossy(line(0)).into_owned(),
            partition: 0,
            offset: offset as u64,
            timestamp: now(),
            key: Bytes::copy_from_slice(line(1)),
            value: (!line(2).is_empty()).then(|| Bytes::copy_from_slice(line(2))),
            headers: Headers::default(),
        }
    });
    let records: Vec<Record> = records.collect();
    let of = |topic: &str| records.iter().filter(|record| record.topic == topic).cloned().collect::<Vec<_>>();

    if let Err(error) = executor::fuzzing::restored(&of(topic::EXECUTOR_STATE)) {
        crate::is_plain(&error.to_string());
    }
    let mut gateway = match Held::restored(sample(), &of(topic::GATEWAY_STATE)) {
        Ok(gateway) => gateway,
        Err(error) => {
            crate::is_plain(&error.to_string());
            Held::restored(sample(), &[]).expect("nothing to restore")
        }
    };
    for record in &records {
        let value = record.value.as_deref().unwrap_or_default();
        match record.topic.as_str() {
            topic::ISSUES | topic::OUTCOMES => {
                let step = gateway.take(record).expect("a step");
                restores(&step);
            }
            topic::ACTIONS => {
                executor::fuzzing::accepts(record);
                if let Ok(action) = serde_json::from_slice::<Action>(value) {
                    let message = action.to_message().expect("a message");
                    assert_eq!(serde_json::from_slice::<Action>(&message.value).expect("an action"), action);
                }
            }
            topic::DEAD_LETTERS => match serde_json::from_slice::<Letter>(value) {
                Ok(Letter::Dead(letter)) => {
                    letter.to_message().expect("a message");
                    letter.whole_original();
                }
                Ok(Letter::Redriven(note)) => _ = note.to_message().expect("a message"),
                Err(_) => {}
            },
            topic::CONTROL => _ = executor::fuzzing::hears(record),
            topic::POLICIES => {
                if let Ok(change) = serde_json::from_slice::<PolicyChange>(value) {
                    change.to_message().expect("a message");
                }
            }
            _ => {}
        }
    }
}

/// What a gateway writes of its state, it reads.
fn restores(step: &[NewRecord]) {
    let written: Vec<Record> = step
        .iter()
        .filter(|record| record.topic == topic::GATEWAY_STATE)
        .map(|record| as_read(record.clone(), 0))
        .collect();
    Held::restored(sample(), &written).expect("what was written is read");
}
