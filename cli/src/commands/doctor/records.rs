//! Whether every record is what its topic is for, or is known not to be.

use std::{collections::BTreeSet, ops::ControlFlow};

use chrono::{DateTime, Utc};
use eventlog::{GroupOffset, Log, Record, TopicInfo};
use events::{Control, DeadLetter, IssueEvent, Letter, Origin, Outcome, PolicyChange, Recorded, topic};
use policy::State;

use super::finding::{Finding, Flaws, Report};
use crate::{
    commands::{scan, starts},
    error::Failure,
};

/// A record that became a dead letter: topic, partition, offset.
type Place = (&'static str, u32, u64);

/// The topics of which unreadable records become dead letters, and who reads them.
const READ: [(&str, &str); 4] = [
    (topic::ISSUES, gateway::GROUP),
    (topic::OUTCOMES, gateway::GROUP),
    (topic::ACTIONS, executor::GROUP),
    (topic::CONTROL, executor::GROUP),
];

/// Tells of all topics; returns the stamp of the last record.
pub(super) async fn check(
    log: &dyn Log,
    topics: &[TopicInfo],
    groups: &[GroupOffset],
    report: &mut Report,
) -> Option<DateTime<Utc>> {
    let (mut flaws, mut lost) = (Flaws::default(), Flaws::default());
    let (mut count, mut letters_met, mut latest) = (0_u64, 0_u64, None);
    let named = |name: &str| topics.iter().find(|info| info.name == name);
    let letters = match dead_letters(log, named(topic::DEAD_LETTERS)).await {
        Ok(letters) => letters,
        Err(failure) => {
            flaws.add(|| format!("{}: {failure}", topic::DEAD_LETTERS));
            BTreeSet::new()
        }
    };
    let letters_are_cut =
        named(topic::DEAD_LETTERS).is_some_and(|info| info.partitions.iter().any(|bounds| bounds.first > 0));
    for name in topic::ALL {
        if named(name).is_none() {
            continue;
        }
        let reader = READ.iter().find(|(topic, _)| *topic == name);
        let each = |record: Record| {
            count += 1;
            latest = latest.max(Some(record.timestamp));
            let Err(why) = read(name, &record) else { return ControlFlow::Continue(()) };
            let (partition, offset) = (record.partition, record.offset);
            let what = || format!("{name} partition {partition} offset {offset}: {why}");
            match reader {
                None => flaws.add(what),
                Some(_) if letters.contains(&(name, partition, offset)) => letters_met += 1,
                Some((_, group)) => {
                    let at = groups
                        .iter()
                        .find(|at| at.group == **group && at.topic == name && at.partition == partition);
                    // What nobody has come to yet becomes a dead letter then.
                    if at.is_some_and(|at| offset < at.committed) {
                        if letters_are_cut { lost.add(what) } else { flaws.add(what) }
                    }
                }
            }
            ControlFlow::Continue(())
        };
        let read = async { scan(log, name, &starts(log, name, |bounds| bounds.first).await?, each).await };
        if let Err(failure) = read.await {
            flaws.add(|| format!("{name}: {failure}"));
        }
    }
    report.tell(match (flaws.is_empty(), lost.is_empty()) {
        (false, _) => Finding::error(
            "records",
            flaws.told(),
            "these were read, and are neither sound nor known as dead letters: the log was changed afterwards, or written by \
             something else; compare it with a backup",
        ),
        (true, false) => Finding::warning(
            "records",
            lost.told(),
            "they cannot be read; that they are known as dead letters cannot be seen any more, since those are not all kept",
        ),
        (true, true) => {
            Finding::ok("records", &format!("{count} can be read; {letters_met} that cannot are known as dead letters"))
        }
    });
    latest
}

/// The places of records that became dead letters.
async fn dead_letters(log: &dyn Log, info: Option<&TopicInfo>) -> Result<BTreeSet<Place>, Failure> {
    let mut letters = BTreeSet::new();
    if info.is_none() {
        return Ok(letters);
    }
    let from = starts(log, topic::DEAD_LETTERS, |bounds| bounds.first).await?;
    scan(log, topic::DEAD_LETTERS, &from, |record| {
        let value = record.value.as_deref().unwrap_or_default();
        if let Ok(DeadLetter { origin: Origin::Record { topic, partition, offset }, .. }) =
            serde_json::from_slice(value)
            && let Some((name, _)) = READ.iter().find(|(name, _)| *name == topic)
        {
            letters.insert((*name, partition, offset));
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(letters)
}

/// Why a record is not what its topic is for.
fn read(name: &str, record: &Record) -> Result<(), String> {
    let value = record.value.as_deref().unwrap_or_default();
    // serde's own text may quote the record; the place is enough to find it.
    let place = |error: serde_json::Error| {
        format!("its value cannot be read, at line {} column {}", error.line(), error.column())
    };
    match name {
        topic::ISSUES => {
            IssueEvent::from_record(&record.key, value).map(drop).map_err(|unsound| unsound.to_string())
        }
        topic::OUTCOMES => {
            Outcome::from_record(&record.key, value).map(drop).map_err(|unsound| unsound.to_string())
        }
        topic::ACTIONS | topic::ACTIONS_SHADOW => executor::read_action(record).map(drop),
        topic::DEAD_LETTERS => serde_json::from_slice::<Letter>(value).map(drop).map_err(place),
        topic::CONTROL => serde_json::from_slice::<Control>(value).map(drop).map_err(place),
        topic::POLICIES => serde_json::from_slice::<PolicyChange>(value).map(drop).map_err(place),
        // A gateway drops what it cannot read of a shadow, and begins it anew.
        topic::GATEWAY_STATE if gateway::is_of_shadow(&record.key) => Ok(()),
        topic::GATEWAY_STATE => {
            State::default().restore(&record.key, record.value.as_deref()).map_err(|error| error.to_string())
        }
        topic::EXECUTOR_STATE => executor::standing(record).map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}
