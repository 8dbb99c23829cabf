//! Who says what the programs for operators say: pause and go on, and once more what failed.

use std::{sync::Arc, time::Duration};

use eventlog::{Clock, Log, NewRecord, embedded::EmbeddedLog};
use events::{Control, Message, Redone, Redrive, Redriven};
use tokio::time::sleep;

use crate::{PARTITIONS, sabotage::Sabotage, shared::Shared};

fn record(message: Message, partition: Option<u32>) -> NewRecord {
    NewRecord {
        topic: message.topic.to_owned(),
        partition,
        key: message.key.into(),
        value: Some(message.value.into()),
        headers: message.headers,
    }
}

/// Pauses a project, or all of them, or lets them go.
pub async fn say(log: EmbeddedLog, shared: Arc<Shared>, project: Option<String>, paused: bool) {
    let control = Control::new(project.as_deref(), paused, shared.clock.now());
    let message = || control.to_message().unwrap();
    let records = match project {
        Some(_) => vec![record(message(), None)],
        None => (0..PARTITIONS).map(|partition| record(message(), Some(partition))).collect(),
    };
    let said = log.append(records).await.is_ok();
    shared.trace(|| format!("{project:?} is {}: {said}", if paused { "paused" } else { "let go" }));
}

/// Puts every action that failed on the log again, and then notes that it was. Two operators may be at it at once.
pub async fn redrive(log: EmbeddedLog, shared: Arc<Shared>) {
    let letters = shared.lock().witness.open_letters();
    if letters.is_empty() {
        return;
    }
    let again = letters.iter().map(|(letter, original)| {
        let headers = Redrive::of(letter, original.value.as_deref()).headers(original.headers.iter());
        let plain = || original.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        NewRecord {
            topic: original.topic.clone(),
            partition: Some(original.partition),
            key: original.key.clone(),
            value: original.value.clone(),
            headers: if shared.is(Sabotage::RedrivesAsNew) { plain().collect() } else { headers },
        }
    });
    let Ok(positions) = log.append(again.collect()).await else { return };
    shared.trace(|| format!("{} actions are redriven", letters.len()));
    let moment = shared.lock().moment();
    sleep(Duration::from_millis(moment)).await;
    let notes = letters.iter().zip(positions).map(|((letter, original), position)| {
        let (topic, partition, offset) = (original.topic.clone(), position.partition, position.offset);
        let note = Redriven::of(letter, Redone::Appended { topic, partition, offset }, shared.clock.now());
        record(note.to_message().unwrap(), None)
    });
    let noted = log.append(notes.collect()).await.is_ok();
    shared.trace(|| format!("that they were is noted: {noted}"));
}
