//! A policy with something of everything, and histories to decide by it.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, IssueState, Said, Source};
use policy::{Decided, Ruleset, load};
use proptest::prelude::*;

pub(crate) fn never(_: Decided<'_>) -> Result<(), ()> {
    Ok(())
}

const POLICY: &str = r#"
version: 1
limits: { actions_per_issue: 4 }
teams: { web: { members: [maria, tom, ann] } }
rules:
  - { id: comment, when: 'event.type == "issue_commented"', then: { action: post_nudge, target: [assignee, "team:web"] }, rationale: r, continue: true, cooldown: 20m }
  - { id: gone, when: 'event.type == "issue_closed" && "bug" in event.labels_removed', then: { action: post_nudge, target: assignee }, rationale: r, on_closed: true }
  - { id: erring, when: 'issue.due_at - duration("2h") <= now && issue.labels.exists(l, l.startsWith("v"))', then: { action: post_nudge, target: "owner:x" }, rationale: r, continue: true }
  - { id: vip, when: '"VIP" in issue.labels && !(issue.priority in ["P2", "P3"])', then: { action: escalate_owner, target: "owner:boss" }, rationale: r, continue: true, cooldown: 0s }
  - { id: web, when: '"web" in issue.labels', then: [{ action: assign_owner, target: "team:web" }, { action: post_nudge, target: assignee }], rationale: r, cooldown: 1h }
  - { id: deadline, at: issue.due_at, when: 'issue.due_at != null && issue.due_at <= now || "late" in issue.labels', then: { action: schedule_unblocker, target: assignee }, rationale: r, repeat: 7h }
  - { id: stuck, at: 'issue.updated_at + duration("30h")', when: 'issue.updated_at + duration("30h") <= now', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 11h }
  - { id: all, when: 'issue.labels.all(l, size(l) == 3) && size(issue.labels) >= 1', then: { action: post_nudge, target: "team:web" }, rationale: r }
  - { id: first, when: 'event.type == "issue_opened" && (issue.title.contains("crash") || issue.assignee != null)', then: { action: post_nudge, target: "team:web" }, rationale: r }
  - { id: ours, when: 'event.by_us && "web" in issue.labels || event.type == "issue_closed" && !event.by_us', then: { action: post_nudge, target: "owner:ops" }, rationale: r, continue: true, on_closed: true }
  - { id: rest, when: 'issue.state == "open"', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 13h }
"#;

/// Loaded once: parsing takes longer than a history.
pub(crate) static RULESET: LazyLock<Ruleset> = LazyLock::new(|| load(POLICY).unwrap());
pub(crate) const LABELS: [&str; 4] = ["bug", "VIP", "web", "late"];

pub(crate) fn minutes(n: i64) -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(n)
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(LABELS.to_vec(), 0..=4)
        .prop_map(|labels| labels.into_iter().map(str::to_owned).collect())
}

fn said<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Said<T>> {
    prop_oneof![3 => Just(Said::Nothing), 1 => Just(Said::Null), 4 => value.prop_map(Said::Value)]
}

fn events() -> impl Strategy<Value = IssueEvent> {
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueCommented,
        EventType::IssueClosed,
        EventType::IssueReopened,
        EventType::IssueAcknowledged,
        EventType::IssueDeleted,
        EventType::MilestoneUpdated,
    ]);
    let person = proptest::sample::select(vec!["kim", "lee"]).prop_map(str::to_owned);
    let priority = proptest::sample::select(vec!["p0", "P2"]).prop_map(str::to_owned);
    let title = proptest::sample::select(vec!["a crash", "none"]).prop_map(str::to_owned);
    let facts = (
        said(labels()),
        said(person),
        said(-600_i64..6000),
        said(1_u64..3),
        labels(),
        said(priority),
        said(title),
    );
    let by_us = prop_oneof![4 => Just(false), 1 => Just(true)];
    (types, 0..4_u8, proptest::option::of(-300_i64..3000), facts, by_us).prop_map(
        |(
            event_type,
            number,
            updated,
            (labels, assignee, due, milestone, removed, priority, title),
            by_us,
        )| {
            let issue_ref = match event_type {
                EventType::MilestoneUpdated => format!("github:o/r/milestone/{}", number % 3),
                _ => format!("github:o/r#{number}"),
            };
            let mut event = IssueEvent::new("", "alpha", Source::Github, event_type, issue_ref);
            (event.labels, event.assignee, event.due_milestone) = (labels, assignee, milestone);
            (event.priority, event.title, event.by_us) = (priority, title, by_us);
            event.due_at = match due {
                Said::Value(n) => Said::Value(minutes(n)),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            };
            event.updated_at = updated.map(minutes);
            let change = FieldChange { removed, ..FieldChange::default() };
            event.change = BTreeMap::from([("labels".to_owned(), change)]);
            event
        },
    )
}

/// Events, each some minutes after the one before. Ids are of a small set, so that some come twice.
pub(crate) fn histories() -> impl Strategy<Value = Vec<(i64, IssueEvent)>> {
    let gap = prop_oneof![8 => 0..20_i64, 3 => 20..600_i64, 1 => 600..9000_i64];
    let event = (events(), 0..60_u8).prop_map(|(mut event, id)| {
        event.event_id = format!("e{id}");
        event
    });
    proptest::collection::vec((gap, event), 1..25)
}

/// An event that says everything, the first of its issue.
pub(crate) fn whole_events() -> impl Strategy<Value = IssueEvent> {
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueClosed,
    ]);
    let maybe = |words: Vec<&'static str>| {
        proptest::option::of(proptest::sample::select(words))
            .prop_map(|word| Said::of(word.map(str::to_owned)))
    };
    let due = proptest::option::of(-300_i64..300);
    (
        types,
        labels(),
        labels(),
        maybe(vec!["kim"]),
        maybe(vec!["p0", "P2"]),
        maybe(vec!["a crash", "x"]),
        due,
        -3000..0_i64,
    )
        .prop_map(|(event_type, labels, removed, assignee, priority, title, due, updated)| {
            let mut event = IssueEvent::new("e1", "alpha", Source::Github, event_type, "github:o/r#1");
            let closed = event.event_type == EventType::IssueClosed;
            event.state = Said::Value(if closed { IssueState::Closed } else { IssueState::Open });
            event.labels = Said::Value(labels);
            (event.assignee, event.priority, event.title) = (assignee, priority, title);
            event.due_at = Said::of(due.map(minutes));
            event.updated_at = Some(minutes(updated));
            let change = FieldChange { removed, ..FieldChange::default() };
            event.change = BTreeMap::from([("labels".to_owned(), change)]);
            event
        })
}
