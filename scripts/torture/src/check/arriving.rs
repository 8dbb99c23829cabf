//! From the delivery to `issues`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use events::{IssueEvent, topic};

use crate::{
    evidence::Evidence,
    faults::LogKind,
    letters::{How, project_id},
    load::Story,
};

fn of_forgery(evidence: &Evidence, story: &Story) -> bool {
    evidence.post.deliveries[story.delivery].how == How::Forged
}

/// Whatever was answered 2xx stands on `issues`, and where the answer says so.
pub(super) fn lost_write(evidence: &Evidence) -> Vec<String> {
    let known: HashSet<&str> = evidence.issues.iter().map(|placed| placed.value.event_id.as_str()).collect();
    let at: HashMap<(u32, u64), &str> = evidence
        .issues
        .iter()
        .map(|placed| ((placed.partition, placed.offset), placed.value.event_id.as_str()))
        .collect();
    let titles: HashSet<usize> =
        evidence.issues.iter().filter_map(|placed| Some(evidence.letter(&placed.value)?.number)).collect();
    let mut lost = Vec::new();
    for story in
        evidence.stories.iter().filter(|story| story.accepted.is_some() && !of_forgery(evidence, story))
    {
        let letter = evidence.post.deliveries[story.delivery].letter;
        match &story.receipt {
            None if titles.contains(&letter) => {}
            None => lost.push(format!("letter {letter} was accepted and is not on issues")),
            Some(receipt) if !known.contains(receipt.event_id.as_str()) => {
                lost.push(format!("letter {letter}: {} is not on issues", receipt.event_id));
            }
            Some(receipt) if receipt.topic != topic::ISSUES => {
                lost.push(format!("letter {letter}: {} was put on another topic", receipt.event_id));
            }
            Some(receipt) if receipt.spooled && evidence.log == LogKind::Embedded => {
                lost.push(format!(
                    "letter {letter}: {} was spooled, and there is no broker",
                    receipt.event_id
                ));
            }
            // It is on issues by now, wherever there.
            Some(receipt) if receipt.spooled => {}
            Some(receipt) => {
                let Some(place) = receipt.partition.zip(receipt.offset) else {
                    lost.push(format!("letter {letter}: nobody was told where {} stands", receipt.event_id));
                    continue;
                };
                let there = at.get(&place);
                if there != Some(&receipt.event_id.as_str()) {
                    let (partition, offset) = place;
                    lost.push(format!(
                        "letter {letter}: {} was to be at {partition}/{offset}, there is {there:?}",
                        receipt.event_id
                    ));
                }
            }
        }
    }
    lost
}

/// A delivery that is signed right is never refused.
pub(super) fn refused_signed(evidence: &Evidence) -> Vec<String> {
    let refused = |status: &&u16| (400..500).contains(*status);
    let signed = evidence.stories.iter().filter(|story| !of_forgery(evidence, story));
    signed
        .filter_map(|story| Some((story, *story.statuses.iter().find(refused)?)))
        .map(|(story, status)| format!("delivery {} was answered {status}", story.delivery))
        .collect()
}

/// Once the faults are over, everything that is signed right gets through.
pub(super) fn never_accepted(evidence: &Evidence) -> Vec<String> {
    let told: HashSet<usize> = evidence.stories.iter().map(|story| story.delivery).collect();
    let untold = (0..evidence.post.deliveries.len()).filter(|number| !told.contains(number));
    let stories =
        evidence.stories.iter().filter(|story| !of_forgery(evidence, story) && story.accepted.is_none());
    let tried =
        stories.map(|story| format!("delivery {} after {} attempts", story.delivery, story.statuses.len()));
    tried.chain(untold.map(|number| format!("delivery {number} was never made"))).collect()
}

/// Nothing that is not signed as it should be is believed.
pub(super) fn acted_on_refused(evidence: &Evidence) -> Vec<String> {
    let mut believed = Vec::new();
    for story in evidence.stories.iter().filter(|story| of_forgery(evidence, story)) {
        if let Some(status) = story.statuses.iter().find(|status| (200..300).contains(*status)) {
            believed.push(format!("forged delivery {} was answered {status}", story.delivery));
        }
    }
    let answers = evidence.answers();
    let honest = |event: &IssueEvent| {
        let letter = evidence.letter(event).or_else(|| answers.get(&event.event_id).copied());
        letter.is_some_and(|letter| letter.forged.is_none())
    };
    for placed in evidence.issues.iter().filter(|placed| !honest(&placed.value)) {
        believed.push(format!("issues {}/{} is of no honest letter", placed.partition, placed.offset));
    }
    let titles =
        evidence.post.letters.iter().filter(|letter| letter.forged.is_some()).map(|letter| letter.title());
    let titles: HashSet<String> = titles.collect();
    let of_forgery = |title: &str| titles.contains(title);
    for placed in &evidence.actions {
        if placed.value.params.get("title").and_then(|title| title.as_str()).is_some_and(of_forgery) {
            believed.push(format!("action {} is of a forgery", placed.value.event_id));
        }
    }
    for effect in
        evidence.effects.iter().filter(|effect| titles.iter().any(|title| effect.text.contains(title)))
    {
        believed.push(format!("effect {} is of a forgery", effect.id));
    }
    believed
}

/// Nobody sends what cannot be read, so nothing is put aside but actions that failed.
pub(super) fn unreadable(evidence: &Evidence) -> Vec<String> {
    let dead = (0..evidence.dead_letters).map(|number| format!("dead letter {number}"));
    evidence.unreadable.iter().cloned().chain(dead).collect()
}

/// In a project, what was sent after something else had been accepted stands behind it; and actions stand in the order of the
/// events that caused them.
pub(super) fn out_of_order(evidence: &Evidence) -> Vec<String> {
    let mut first: HashMap<&str, (u32, u64)> = HashMap::new();
    for placed in &evidence.issues {
        first.entry(&placed.value.event_id).or_insert((placed.partition, placed.offset));
    }
    let mut wrong = arrivals_out_of_order(evidence, &first);

    let mut last: HashMap<&str, u64> = HashMap::new();
    for placed in &evidence.actions {
        let cause = placed.value.cause.as_deref().and_then(|cause| first.get(cause));
        let Some((_, offset)) = cause else { continue };
        let last = last.entry(&placed.value.project_id).or_insert(*offset);
        if offset < last {
            wrong.push(format!("action {} stands behind one of a later event", placed.value.event_id));
        }
        *last = (*last).max(*offset);
    }
    wrong
}

fn arrivals_out_of_order(evidence: &Evidence, first: &HashMap<&str, (u32, u64)>) -> Vec<String> {
    /// What happened to a delivery; an acceptance goes before whatever was sent at the same instant.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum What {
        Accepted,
        Sent,
    }
    let mut moments: Vec<(Duration, What, usize, (u32, u64))> = Vec::new();
    let mut places: BTreeMap<usize, std::collections::BTreeSet<u32>> = BTreeMap::new();
    for story in &evidence.stories {
        let delivery = evidence.post.deliveries[story.delivery];
        // Replays and repetitions stand behind their first arrival wherever they are: only first arrivals have an order.
        if delivery.how != How::First {
            continue;
        }
        let Some(place) = story.receipt.as_ref().and_then(|receipt| first.get(receipt.event_id.as_str()))
        else {
            continue;
        };
        let project = evidence.post.letters[delivery.letter].project;
        places.entry(project).or_default().insert(place.0);
        moments.push((story.sent, What::Sent, project, *place));
        moments.extend(story.accepted.map(|accepted| (accepted, What::Accepted, project, *place)));
    }
    moments.sort();
    let split = places.iter().filter(|(_, partitions)| partitions.len() > 1);
    let mut wrong: Vec<String> =
        split.map(|(project, _)| format!("{} stands in several partitions", project_id(*project))).collect();
    let mut accepted: HashMap<usize, u64> = HashMap::new();
    for (_, what, project, (_, offset)) in moments {
        let behind = accepted.entry(project).or_insert(0);
        match what {
            What::Accepted => *behind = (*behind).max(offset),
            What::Sent if offset < *behind => {
                wrong.push(format!(
                    "{}: offset {offset} was sent after {behind} was accepted",
                    project_id(project)
                ));
            }
            What::Sent => {}
        }
    }
    wrong
}
