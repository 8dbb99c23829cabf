//! Reading single records by their place.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use eventlog::{Log, Record};
use events::DeadLetter;

use crate::{
    commands::{bounds, scan},
    error::Failure,
};

/// A place on a topic: partition and offset.
pub(super) type Place = (u32, u64);

/// Those of the records at `places` that are still there. Places that lie together are read together.
pub(super) async fn records(
    log: &dyn Log,
    topic: &str,
    places: &BTreeSet<Place>,
) -> Result<BTreeMap<Place, Record>, Failure> {
    let mut found = BTreeMap::new();
    if places.is_empty() {
        return Ok(found);
    }
    let bounds = bounds(log, topic).await?;
    let mut ranges: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for &(partition, offset) in places {
        let kept = usize::try_from(partition).ok().and_then(|partition| bounds.get(partition));
        if kept.is_some_and(|kept| (kept.first..kept.end).contains(&offset)) {
            let (_, last) = ranges.entry(partition).or_insert((offset, offset));
            *last = (*last).max(offset);
        }
    }
    let from: Vec<_> = ranges.iter().map(|(partition, (first, _))| (*partition, *first)).collect();
    if from.is_empty() {
        return Ok(found);
    }
    scan(log, topic, &from, |record| {
        let place = (record.partition, record.offset);
        if ranges.get(&place.0).is_some_and(|(_, last)| place.1 >= *last) {
            ranges.remove(&place.0);
        }
        if places.contains(&place) {
            found.insert(place, record);
        }
        if ranges.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    Ok(found)
}

/// The letters at these places, with their originals.
pub(super) async fn letters(
    log: &dyn Log,
    places: &BTreeSet<Place>,
) -> Result<BTreeMap<Place, DeadLetter>, Failure> {
    let records = records(log, events::topic::DEAD_LETTERS, places).await?;
    let read = |record: Record| serde_json::from_slice(record.value.as_deref().unwrap_or_default()).ok();
    Ok(records.into_iter().filter_map(|(place, record)| Some((place, read(record)?))).collect())
}
