//! What holds for any history.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::LazyLock,
};

use chrono::{DateTime, TimeDelta, Utc};
use events::{Action, ActionKind, Earlier, EventType, FieldChange, IssueEvent, Outcome, Risk, Said, Source};
use policy::{Facts, Input, Note, Repeats, Ruleset, State, decide, expire, fire_timers, load, switch_policy};
use proptest::prelude::*;

const POLICY: &str = r#"
version: 1
teams: { web: { members: [maria, tom, ann] } }
rules:
  - { id: comment, when: 'event.type == "issue_commented"', then: { action: post_nudge, target: [assignee, "team:web"] }, rationale: r, continue: true, cooldown: 2m }
  - { id: gone, when: 'event.type == "issue_closed" && "bug" in event.labels_removed', then: { action: post_nudge, target: "team:web" }, rationale: r, on_closed: true }
  - { id: vip, when: '"vip" in issue.labels', then: { action: escalate_owner, target: "owner:boss" }, rationale: r, continue: true, cooldown: 0s }
  - { id: web, when: '"web" in issue.labels', then: [{ action: assign_owner, target: "team:web" }, { action: post_nudge, target: assignee }], rationale: r, cooldown: 1h }
  - { id: deadline, at: issue.due_at, when: 'issue.due_at != null && issue.due_at <= now || "late" in issue.labels', then: { action: schedule_unblocker, target: assignee }, rationale: r, repeat: 7h }
  - { id: stuck, at: 'issue.updated_at + duration("30h")', when: 'issue.updated_at + duration("30h") <= now', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 11h }
  - { id: unanswered, when: '"bug" in issue.labels && issue.acknowledged_at == null', then: { action: escalate_owner, target: "team:web" }, rationale: r, repeat: 5h, continue: true }
  - { id: answered, at: 'issue.acknowledged_at + duration("4h")', when: 'issue.acknowledged_at + duration("4h") <= now', then: { action: escalate_owner, target: "team:web" }, rationale: r, continue: true }
  - { id: ours, when: 'event.by_us && "web" in event.labels_removed', then: { action: post_nudge, target: "team:web" }, rationale: r, continue: true, cooldown: 0s, on_closed: true }
  - { id: rest, when: 'issue.state == "open"', then: { action: post_nudge, target: "team:web" }, rationale: r, repeat: 13h }
"#;

const OTHER_POLICY: &str = r#"
version: 1
rules:
  - { id: deadline, at: 'issue.due_at - duration("2h")', when: 'issue.due_at != null && issue.due_at - duration("2h") <= now', then: { action: post_nudge, target: "owner:x" }, rationale: r, repeat: 5h, continue: true }
  - { id: rest, when: 'true', then: { action: post_nudge, target: "owner:x" }, rationale: r, repeat: 3h, on_closed: true }
"#;

/// Loaded once: parsing takes longer than a history.
static RULESETS: LazyLock<[Ruleset; 3]> =
    LazyLock::new(|| [POLICY, OTHER_POLICY, "{ version: 1, rules: [] }"].map(|text| load(text).unwrap()));

fn start() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn minutes(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::minutes(n)
}

#[derive(Debug, Clone)]
enum Step {
    Event(Box<IssueEvent>, Option<String>),
    Outcome(u8, i64),
    Switch(bool),
}

fn said<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Said<T>> {
    prop_oneof![3 => Just(Said::Nothing), 1 => Just(Said::Null), 4 => value.prop_map(Said::Value)]
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(vec!["bug", "VIP", "web", "late"], 0..=4)
        .prop_map(|labels| labels.into_iter().map(str::to_owned).collect())
}

fn events() -> impl Strategy<Value = IssueEvent> {
    let types = proptest::sample::select(vec![
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueClosed,
        EventType::IssueReopened,
        EventType::IssueAcknowledged,
        EventType::IssueDeleted,
        EventType::MilestoneUpdated,
        EventType::Other("issue_moved".into()),
    ]);
    let people = proptest::sample::select(vec!["kim", "lee"]).prop_map(str::to_owned);
    let facts = (said(labels()), said(people), said(-600_i64..6000), said(1_u64..3), labels());
    let by_us = prop_oneof![4 => Just(false), 1 => Just(true)];
    (types, 0..4_u8, proptest::option::of(-300_i64..3000), facts, by_us).prop_map(
        |(event_type, number, updated, (labels, assignee, due, milestone, changed), by_us)| {
            let issue_ref = match event_type {
                EventType::MilestoneUpdated => format!("github:o/r/milestone/{}", number % 3),
                _ => format!("github:o/r#{number}"),
            };
            let mut event = IssueEvent::new("", "alpha", Source::Github, event_type, issue_ref);
            event.labels = labels;
            event.assignee = assignee;
            event.due_at = match due {
                Said::Value(n) => Said::Value(minutes(n)),
                Said::Null => Said::Null,
                Said::Nothing => Said::Nothing,
            };
            (event.due_milestone, event.by_us) = (milestone, by_us);
            event.updated_at = updated.map(minutes);
            let change = FieldChange { removed: changed, ..FieldChange::default() };
            event.change = BTreeMap::from([("labels".to_owned(), change)]);
            event
        },
    )
}

/// Steps, each some minutes after the one before. Event ids are of a small set, so that some come twice.
fn histories() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        12 => (events(), 0..60_u8, proptest::option::of(0..60_u8)).prop_map(|(mut event, id, hash)| {
            event.event_id = format!("e{id}");
            Step::Event(Box::new(event), hash.map(|hash| format!("h{hash}")))
        }),
        1 => (0..20_u8, -300..300_i64).prop_map(|(id, delta)| Step::Outcome(id, delta)),
        1 => any::<bool>().prop_map(Step::Switch),
    ];
    let gap = prop_oneof![8 => 0..20_i64, 3 => 20..600_i64, 1 => 600..9000_i64, 1 => 100_000..150_000_i64];
    proptest::collection::vec((gap, step), 1..40)
}

struct Run {
    state: State,
    current: usize,
    now: i64,
    forgets: bool,
    said: Vec<(Vec<Action>, Vec<Note>)>,
}

impl Run {
    fn new(forgets: bool) -> Self {
        Self { state: State::default(), current: 0, now: 0, forgets, said: Vec::new() }
    }

    fn take(&mut self, input: Input<'_>, now: DateTime<Utc>) {
        let decision = decide(&self.state, input, now, &RULESETS[self.current]);
        self.state.apply(decision.clone());
        self.said.push((decision.actions, decision.notes));
    }

    fn step(&mut self, (gap, step): &(i64, Step)) {
        self.now += gap;
        let now = minutes(self.now);
        // A long gap is an outage; stepping through every repeat of months says nothing more.
        let outage = *gap > 10_000;
        let mut turns = 0;
        while let Some(timer) = self.state.next_timer().filter(|timer| timer.due_at <= now) {
            self.take(Input::Timer(&timer), if outage { now } else { timer.due_at });
            turns += 1;
            assert!(turns < 50_000, "timers without end: {timer:?}, {:?}", self.said.last());
        }
        match step {
            Step::Event(event, hash) => self.take(Input::Event { event, payload_hash: hash.as_deref() }, now),
            Step::Outcome(id, delta) => {
                let outcome = Outcome {
                    event_id: format!("o{id}"),
                    project_id: "alpha".into(),
                    risk_delta: Risk(*delta),
                    ack: *delta < 0,
                    action_id: None,
                    action: None,
                    target: None,
                    attempts: None,
                    error: None,
                    at: None,
                    reference: None,
                    supersedes: None,
                    carried: Vec::new(),
                };
                self.take(Input::Outcome(&outcome), now);
            }
            Step::Switch(other) => {
                self.current = usize::from(*other);
                let decision = switch_policy(&self.state, now, &RULESETS[self.current]);
                assert!(decision.actions.is_empty());
                self.state.apply(decision.clone());
            }
        }
        if self.forgets {
            let forgotten = expire(&self.state, now);
            self.state.apply(forgotten);
        }
    }

    /// As a restart has it.
    fn restored(&self) -> State {
        let mut state = State::default();
        for key in self.state.keys() {
            let (key, value) = self.state.entry(&key);
            state.restore(&key, value.as_deref()).unwrap();
        }
        state
    }
}

/// Events of one issue, of different instants, each of which says some facts.
fn tellings() -> impl Strategy<Value = (Vec<IssueEvent>, Vec<IssueEvent>)> {
    let types = proptest::sample::select(vec![
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueClosed,
        EventType::IssueReopened,
    ]);
    let names = proptest::sample::subsequence(vec!["kim", "lee", "ann"], 0..=3);
    let event = (
        types,
        said("[a-c]"),
        said(labels()),
        said(names),
        said(-600_i64..600),
        said(1_u64..3),
        said("[P][0-2]"),
    );
    proptest::collection::vec(event, 1..8)
        .prop_map(|tellings| {
            let tell = |(n, (event_type, title, labels, names, due, milestone, priority)): (usize, _)| {
                let mut event =
                    IssueEvent::new(format!("e{n}"), "alpha", Source::Github, event_type, "github:o/r#1");
                event.updated_at = Some(start() - TimeDelta::minutes(n as i64));
                event.title = title;
                event.labels = labels;
                let names: Said<Vec<&str>> = names;
                event.assignee = match &names {
                    Said::Value(names) => Said::of(names.first().map(|name| (*name).to_owned())),
                    Said::Null => Said::Null,
                    Said::Nothing => Said::Nothing,
                };
                event.assignees = match names {
                    Said::Value(names) => Said::Value(names.into_iter().map(str::to_owned).collect()),
                    Said::Null => Said::Null,
                    Said::Nothing => Said::Nothing,
                };
                event.due_at = Said::of(match due {
                    Said::Value(n) => Some(minutes(n)),
                    _ => None,
                });
                event.due_milestone = milestone;
                event.priority = priority;
                event
            };
            tellings.into_iter().enumerate().map(tell).collect::<Vec<_>>()
        })
        .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
}

fn facts_after(events: &[IssueEvent]) -> Facts {
    let mut state = State::default();
    for event in events {
        let decision = decide(&state, Input::Event { event, payload_hash: None }, start(), &RULESETS[2]);
        state.apply(decision.clone());
    }
    Facts::clone(&state.issue("alpha", "github:o/r#1").unwrap().facts)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_anywhere_changes_nothing(history in histories(), stop in any::<prop::sample::Index>()) {
        let (mut whole, mut broken) = (Run::new(true), Run::new(true));
        let stop = stop.index(history.len());
        for (place, step) in history.iter().enumerate() {
            if place == stop {
                broken.state = broken.restored();
            }
            whole.step(step);
            broken.step(step);
        }
        prop_assert_eq!(&whole.said, &broken.said);
        prop_assert_eq!(&whole.state, &broken.state);
        prop_assert_eq!(&whole.state, &whole.restored());
    }

    #[test]
    fn no_action_is_decided_twice(mut history in histories()) {
        // An id that comes back after a week with other contents is no replay that anything could tell.
        let mut now = 0;
        for (gap, step) in &mut history {
            now += *gap;
            if let Step::Event(event, _) = step {
                event.event_id = format!("{}-{}", event.event_id, now / (7 * 24 * 60));
            }
        }
        let mut run = Run::new(true);
        history.iter().for_each(|step| run.step(step));
        let mut ids = HashSet::new();
        for action in run.said.iter().flat_map(|(actions, _)| actions) {
            prop_assert!(ids.insert(&action.event_id), "{action:?}");
        }
    }

    /// A page is acknowledged once at most, and before it is taken back. What counts as an answer is no older than the last page, and then none
    /// is left without.
    #[test]
    fn answers_are_told_to_the_pages_before_them(mut history in histories()) {
        for (number, (_, step)) in history.iter_mut().enumerate() {
            if let Step::Event(event, hash) = step {
                event.event_id = format!("e{number}");
                *hash = None;
            }
        }
        let mut run = Run::new(true);
        history.iter().for_each(|step| run.step(step));
        let mut pages = BTreeMap::<String, BTreeMap<&str, bool>>::new();
        let mut asked_at = BTreeMap::new();
        for (actions, notes) in &run.said {
            for action in actions {
                let issue_ref = action.issue_ref.clone().unwrap();
                let open = pages.entry(issue_ref.clone()).or_default();
                match (&action.action, Earlier::of(action)) {
                    (ActionKind::EscalateOwner, _) => {
                        asked_at.insert(issue_ref, action.evaluated_at.unwrap());
                        open.insert(&action.event_id, false);
                    }
                    (ActionKind::Acknowledge, Some(of)) => {
                        let page = open.get_mut(of.action_id.as_str());
                        let before = page.map(|is_acknowledged| std::mem::replace(is_acknowledged, true));
                        prop_assert_eq!(before, Some(false), "{:?}", action);
                    }
                    (ActionKind::Resolve, Some(of)) => _ = open.remove(of.action_id.as_str()),
                    _ => {}
                }
            }
            for note in notes {
                if let Note::Unresolvable { issue_ref, action_id, .. } = note {
                    pages.get_mut(issue_ref).unwrap().remove(action_id.as_str());
                }
            }
        }
        for (_, issue_ref, issue) in run.state.issues() {
            let Some(answer) = issue.acknowledged() else { continue };
            prop_assert!(asked_at.get(issue_ref).is_none_or(|asked_at| answer.at >= *asked_at));
            let open = pages.remove(issue_ref).unwrap_or_default();
            prop_assert!(open.values().all(|is_acknowledged| *is_acknowledged), "{issue_ref}: {open:?}");
        }
    }

    #[test]
    fn forgetting_changes_no_decision(history in histories()) {
        let (mut forgets, mut remembers) = (Run::new(true), Run::new(false));
        for step in &history {
            forgets.step(step);
            remembers.step(step);
        }
        // A timer of an issue that is forgotten goes with it; decided before that, it is noted to be obsolete.
        let said = |run: Run| {
            run.said.into_iter().filter(|(actions, notes)| {
                !actions.is_empty() || !notes.iter().all(|note| matches!(note, Note::Obsolete { .. }))
            })
        };
        prop_assert!(said(forgets).eq(said(remembers)));
    }

    #[test]
    fn facts_do_not_depend_on_the_order_of_delivery((events, shuffled) in tellings()) {
        prop_assert_eq!(facts_after(&events), facts_after(&shuffled));
    }

    /// What we did is known as if somebody else had done it, and fires only what asks for it.
    #[test]
    fn what_we_did_fires_nothing_else(history in histories(), last in events(), at in 0..600_i64) {
        let mut run = Run::new(true);
        history.iter().for_each(|step| run.step(step));
        let now = run.state.clock().unwrap_or_else(start) + TimeDelta::minutes(at);
        let (mut before, rules) = (run.state, &RULESETS[run.current]);
        let Ok(()) = fire_timers(&mut before, now, usize::MAX, Repeats::Last, rules, &mut |_| Ok::<_, Infallible>(()));
        let after = |by_us| {
            let event = IssueEvent { event_id: "last".into(), by_us, ..last.clone() };
            let decision = decide(&before, Input::Event { event: &event, payload_hash: None }, now, rules);
            let mut state = before.clone();
            state.apply(decision.clone());
            (state, decision)
        };
        let ((ours, decision), (theirs, _)) = (after(true), after(false));
        // What was left open is taken back whoever closes.
        for action in decision.actions.iter().filter(|action| !action.action.follows_up()) {
            prop_assert_eq!(action.rule.as_deref(), Some("ours"));
        }
        for (project, issue_ref, issue) in theirs.issues() {
            let known = ours.issue(project, issue_ref).unwrap();
            prop_assert_eq!(&known.facts, &issue.facts);
        }
        let unheard = |note: &Note| {
            matches!(
                note,
                Note::Stale { .. }
                    | Note::TooOld { .. }
                    | Note::OldAnswer { .. }
                    | Note::Duplicate { .. }
                    | Note::Deleted { .. }
            )
        };
        if ours.issue("alpha", &last.issue_ref).is_some() && !decision.notes.iter().any(unheard) {
            // Nor does what we did fire a lasting rule at the next event of somebody else.
            let next = EventType::Other("nothing".into());
            let next = IssueEvent::new("next", "alpha", Source::Github, next, &last.issue_ref);
            let heard = decide(&ours, Input::Event { event: &next, payload_hash: None }, now, rules);
            prop_assert_eq!(&heard.actions, &[]);
        }
    }

    #[test]
    fn members_carry_what_is_open(history in histories()) {
        let mut run = Run::new(true);
        history.iter().for_each(|step| run.step(step));
        let mut open = BTreeMap::<String, u64>::new();
        for (_, _, issue) in run.state.issues().filter(|(_, _, issue)| issue.is_open()) {
            issue.assigned_to.iter().for_each(|name| *open.entry(name.to_string()).or_default() += 1);
        }
        for key in run.state.keys().filter(|key| key.kind == policy::Kind::Member) {
            let (_, value) = run.state.entry(&key);
            let member: policy::Member = serde_json::from_slice(&value.unwrap()).unwrap();
            prop_assert_eq!(member.open, open.remove(key.identity.as_str()).unwrap_or_default(), "{}", key.identity);
        }
        prop_assert!(open.is_empty());
    }
}

/// Many partitions, on many threads, decide by one ruleset.
#[test]
fn a_ruleset_is_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Ruleset>();
    shared::<State>();
}

#[test]
fn the_changelog_is_read_strictly() {
    let mut state = State::default();
    let error = |state: &mut State, key: &[u8], value: &[u8]| {
        state.restore(key, Some(value)).unwrap_err().to_string()
    };
    assert!(error(&mut state, b"nonsense", b"1").contains("key"));
    assert!(error(&mut state, br#"["alpha","wishes","x"]"#, b"1").contains("`wishes`"));
    assert!(error(&mut state, br#"["alpha","issue","x"]"#, b"1").contains("Issue"));
    assert_eq!(state, State::default());
    let key = state.set_consumed("issues", 7);
    assert_eq!(state.entry(&key), (br#"["","consumed","issues"]"#.to_vec(), Some(b"7".to_vec())));
    state.restore(br#"["","consumed","issues"]"#, None).unwrap();
    assert_eq!(state, State::default());
}
