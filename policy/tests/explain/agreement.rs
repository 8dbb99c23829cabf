//! Explanations and decisions agree.

use std::collections::BTreeSet;

use events::{EventType, IssueEvent, Said, Source};
use policy::{
    Decision, Input, Note, Repeats, State, decide, explain,
    explain::{Became, Case, Focus, LastEvent, NotAsked, Occasion, OfIssue, Verdict},
    take_event,
};
use proptest::prelude::*;

use crate::world::{RULESET, histories, minutes, never};

/// What an explanation says of one issue is what was decided of it.
fn agrees(of_issue: &OfIssue, decision: &Decision) {
    let concerns = |issue_ref: &str| issue_ref == of_issue.issue_ref;
    let fired: Vec<_> = decision
        .actions
        .iter()
        // What is acknowledged or taken back is nothing that a rule does; the remarks tell of it.
        .filter(|action| !action.action.follows_up())
        .filter(|action| concerns(action.issue_ref.as_deref().unwrap()))
        .map(|action| (action.rule.clone().unwrap(), action.event_id.clone(), action.target.clone()))
        .collect();
    let (mut said, mut notes) = (Vec::new(), Vec::new());
    let issue_ref = || of_issue.issue_ref.clone();
    let (mut ended, mut capped) = (None, BTreeSet::new());
    for rule in &of_issue.rules {
        let asked = rule.not_asked.is_none();
        if let Some(condition) = &rule.condition {
            assert_eq!(Some(condition.verdict), rule.verdict, "{rule:?}");
        }
        assert!(asked || rule.became.is_none(), "{rule:?}");
        // Only what was asked and holds becomes anything, and then something becomes of it.
        let late_turn = matches!(rule.became, Some(Became::NoLongerDue));
        assert_eq!(
            rule.became.is_some() && !late_turn,
            asked && rule.verdict == Some(Verdict::Holds) && !late_turn,
            "{rule:?}"
        );
        assert_eq!(
            rule.not_asked.as_ref().is_some_and(|why| matches!(why, NotAsked::AboveDecided { .. })),
            ended.is_some()
                && rule.not_asked.is_some()
                && !matches!(rule.not_asked, Some(NotAsked::Closed | NotAsked::Late | NotAsked::ByUs)),
            "{rule:?}"
        );
        if rule.ends_walk {
            assert_eq!(ended.replace(rule.id.clone()), None, "two rules end the walk");
        }
        if asked && rule.verdict == Some(Verdict::CannotBeSaid) && !late_turn {
            notes.push(Note::ConditionError { rule: rule.id.clone(), issue_ref: issue_ref() });
        }
        let unresolved = |index| Note::Unresolved { rule: rule.id.clone(), issue_ref: issue_ref(), index };
        match &rule.became {
            Some(Became::Fired { actions, unresolved: without, capped: over }) => {
                if !over.is_empty() {
                    capped.insert(rule.id.clone());
                }
                said.extend(
                    actions
                        .iter()
                        .map(|action| (rule.id.clone(), action.id.clone().unwrap(), action.target.clone())),
                );
                notes.extend(without.iter().map(|index| unresolved(*index)));
            }
            Some(Became::Capped { most, .. }) => {
                assert_eq!(*most, 4);
                capped.insert(rule.id.clone());
            }
            Some(Became::Unresolved) => notes.extend([0].map(unresolved)),
            Some(Became::Suppressed { until, .. }) => {
                notes.push(Note::Suppressed { rule: rule.id.clone(), issue_ref: issue_ref(), until: *until });
            }
            Some(Became::DecidedAlready) => assert!(rule.before.decided && !rule.momentary, "{rule:?}"),
            Some(Became::AtDone { at }) => {
                assert_eq!((rule.before.at, rule.before.at_done), (Some(*at), Some(*at)), "{rule:?}");
                assert!(!rule.momentary, "{rule:?}");
            }
            Some(Became::ByUs) => assert!(
                !rule.momentary && rule.before.at_done.is_none_or(|at| Some(at) != rule.before.at),
                "{rule:?}"
            ),
            Some(Became::NoLongerDue) => assert_eq!(of_issue.occasion, Occasion::Timer),
            None => {}
        }
    }
    assert_eq!(said, fired);
    let mut noted: Vec<_> = decision
        .notes
        .iter()
        .filter(|note| match note {
            Note::ConditionError { issue_ref, .. }
            | Note::Suppressed { issue_ref, .. }
            | Note::Unresolved { issue_ref, .. } => concerns(issue_ref),
            _ => false,
        })
        .cloned()
        .collect();
    let over = decision.notes.iter().filter_map(|note| match note {
        Note::Capped { rule, issue_ref, .. } if concerns(issue_ref) => Some(rule.clone()),
        _ => None,
    });
    assert_eq!(capped, over.collect());
    // Of an action that is capped beside one without a target nothing is said of the target.
    noted.retain(|note| !matches!(note, Note::Unresolved { rule, .. } if capped.contains(rule)));
    notes.retain(|note| !matches!(note, Note::Unresolved { rule, .. } if capped.contains(rule)));
    // Errors are noted while the rules are asked, the rest when all were.
    let order = |note: &Note| format!("{note:?}");
    noted.sort_by_key(order);
    notes.sort_by_key(order);
    assert_eq!(notes, noted);
}

/// Explains every decision of a history, and compares.
fn follow(history: &[(i64, IssueEvent)]) -> usize {
    let (mut state, mut now, mut explained) = (State::default(), 0, 0);
    for (gap, event) in history {
        now += gap;
        let mut sink = |decided: policy::Decided<'_>| {
            let now = match decided.input {
                Input::Timer(timer) => timer.due_at,
                _ => minutes(now),
            };
            // Forgetting is no decision of an input.
            if *decided.decision != decide(decided.before, decided.input, now, &RULESET) {
                return Ok::<_, ()>(());
            }
            // One rule is enough to look for a change of; the search is tested by itself.
            let focus = Focus::default();
            let explanation = explain(decided.before, Case::Input(decided.input), now, &RULESET, focus);
            assert_eq!(explanation.now.max(now), decided.before.clock().unwrap_or(now).max(now));
            let rules: usize = explanation.issues.iter().map(|issue| issue.rules.len()).sum();
            assert_eq!(rules, explanation.issues.len() * RULESET.rules().count(), "every rule");
            let told = |words| explanation.remarks.iter().filter(|remark| remark.contains(words)).count();
            assert_eq!(
                told("takes back") + told("acknowledges"),
                decided.decision.actions.iter().filter(|action| action.action.follows_up()).count()
            );
            for issue in &explanation.issues {
                agrees(issue, decided.decision);
                let mut after = State::clone(decided.before);
                after.apply(decided.decision.clone());
                // The lasting rules that were asked and hold decide the issue now.
                let deciding = after.issue(&issue.project_id, &issue.issue_ref).map(|issue| &issue.deciding);
                let is_deleted = issue.state == "deleted";
                for rule in issue.rules.iter().filter(|_| issue.occasion == Occasion::Event && !is_deleted) {
                    let decides = deciding.unwrap().contains_key(rule.id.as_str());
                    let asked = rule.not_asked.is_none() && !rule.momentary;
                    assert!(!asked || decides == rule.became.is_some(), "{rule:?}");
                }
                let set = after.next_timer().filter(|timer| timer.issue_ref == issue.issue_ref);
                if let Some(set) = set {
                    let shown = &issue.timers[0];
                    assert_eq!((set.due_at, set.rule.as_str()), (shown.due_at, shown.rule.as_str()));
                }
            }
            if explanation.issues.is_empty() && explanation.more_issues == 0 {
                let mut unasked = decided.decision.actions.iter();
                assert!(unasked.all(|action| action.action.follows_up()));
                let is_milestone = matches!(decided.input,
                    Input::Event { event, .. } if event.event_type == EventType::MilestoneUpdated);
                let is_stale = |note: &Note| matches!(note, Note::Stale { .. });
                assert!(
                    is_milestone
                        || !explanation.remarks.is_empty()
                        || decided.decision.notes.iter().any(is_stale)
                );
            }
            assert!(!explanation.to_string().is_empty());
            explained += 1;
            Ok(())
        };
        take_event(&mut state, event, None, minutes(now), Repeats::Each, &RULESET, &mut sink).unwrap();
    }
    explained
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn explanations_and_decisions_agree(history in histories()) {
        follow(&history);
    }
}

#[test]
fn an_issue_as_it_is_known_is_asked_without_an_event() {
    let mut state = State::default();
    let mut event = IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueCommented, "github:o/r#1");
    event.labels = Said::Value(vec!["web".into()]);
    take_event(&mut state, &event, None, minutes(0), Repeats::Each, &RULESET, &mut never).unwrap();
    let last_event = LastEvent { event: &event, at: minutes(0) };
    let case = Case::Issue { project: "alpha", issue_ref: "github:o/r#1", last_event: Some(last_event) };
    let before = state.clone();
    let explanation = explain(&state, case, minutes(10), &RULESET, Focus::default());
    assert_eq!(state, before);
    let issue = &explanation.issues[0];
    assert_eq!(issue.occasion, Occasion::NoEvent);
    let of_rule = |id: &str| issue.rules.iter().find(|rule| rule.id == id).unwrap();
    assert_eq!(of_rule("web").became, Some(Became::DecidedAlready));
    assert_eq!(of_rule("comment").not_asked, Some(NotAsked::NoEvent));
    assert_eq!(of_rule("rest").not_asked, Some(NotAsked::AboveDecided { rule: "web".into() }));

    // The same comment again, ten minutes after the first: the cooldown is twenty.
    let again = issue.by_last_event.as_ref().unwrap();
    let ids: Vec<_> = again.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!((again.event_id.as_str(), ids), ("e1", vec!["comment", "gone", "first", "ours"]));
    let suppressed = Became::Suppressed { until: minutes(20), cooldown: "20m".into() };
    assert_eq!(again.rules[0].became, Some(suppressed));
    let later = explain(&state, case, minutes(20), &RULESET, Focus::default());
    let later = &later.issues[0].by_last_event.as_ref().unwrap().rules[0];
    let Some(Became::Fired { actions, .. }) = &later.became else { panic!("{later:?}") };
    assert_eq!(
        (&actions[0].id, actions[0].target.as_str()),
        (&None, "team:web"),
        "no other event is its cause"
    );

    let unknown = Case::Issue { project: "alpha", issue_ref: "github:o/r#9", last_event: None };
    let explanation = explain(&state, unknown, minutes(10), &RULESET, Focus::default());
    assert_eq!(explanation.remarks, ["nothing is known of this issue"]);
    assert_eq!(explanation.issues[0].by_last_event, None);
}
