//! However large: explained within bounds.

use events::{EventType, IssueEvent, Said, Source};
use policy::{
    Input, State, explain,
    explain::{Case, Focus, Verdict},
    load,
};

use crate::world::minutes;

/// A condition that takes as long as one may, and every list as long as it can be: the search gives up, and says so.
#[test]
fn a_search_ends() {
    let text = r#"
version: 1
rules:
  - { id: slow, when: 'issue.labels.exists(a, issue.labels.exists(b, a.startsWith("x") && b.endsWith("y") && issue.title.startsWith(b)))', then: { action: post_nudge, target: "owner:x" }, rationale: r }
"#;
    let ruleset = load(text).unwrap();
    let mut event = IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1");
    event.labels = Said::Value((0..256).map(|n| format!("x{n}")).collect());
    event.title = Said::Value("a title".into());
    let case = Case::Input(Input::Event { event: &event, payload_hash: None });
    let explanation = explain(&State::default(), case, minutes(0), &ruleset, Focus::default());
    let rule = &explanation.issues[0].rules[0];
    assert_eq!(rule.verdict, Some(Verdict::DoesNotHold));
    let what_if = rule.what_if.as_ref().unwrap();
    assert!(!what_if.complete && what_if.tried < 1000, "{what_if:?}");
    assert!(explanation.to_string().contains("the search was cut short"), "{explanation}");
}

/// A policy as large as one can be, and an event that meets nothing: explained within seconds, in bounded size.
#[test]
fn a_large_policy_is_explained_within_bounds() {
    use std::fmt::Write;
    let mut text = String::from("version: 1\nrules:\n");
    for n in 0..10_000 {
        let _ = writeln!(
            text,
            "  - {{ id: r{n}, when: '\"l{n}\" in issue.labels && issue.priority == \"P{n}\"', then: {{ action: post_nudge, target: \"owner:x\" }}, rationale: r }}"
        );
    }
    let ruleset = load(&text).unwrap();
    // Its labels are not known, so that no condition can be said.
    let event = IssueEvent {
        priority: Said::Value("P5000".into()),
        ..IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1")
    };
    let case = Case::Input(Input::Event { event: &event, payload_hash: None });
    let explanation = explain(&State::default(), case, minutes(0), &ruleset, Focus::default());
    let text = explanation.to_string();
    assert!(text.len() < 100_000, "{}", text.len());
    assert!(text.contains("… 9900 more rules, of which nothing became"), "{text}");
    let focus = Focus { rule: Some("r9999"), issue_ref: None };
    let text = explain(&State::default(), case, minutes(0), &ruleset, focus).to_string();
    assert!(text.contains("→ would fire with label l9999 and at priority P9999"), "{text}");
}

/// Thousands of rules above, with lists that could be long: only what is really evaluated counts, so a change is found, and no cut
/// is made.
#[test]
fn a_large_policy_does_not_cut_a_search_short() {
    use std::fmt::Write;
    let mut text = String::from("version: 1\nteams: { web: { members: [ann] } }\nrules:\n");
    for n in 0..3000 {
        let _ = writeln!(
            text,
            "  - {{ id: r{n}, when: 'issue.project == \"p{n}\" && issue.labels.exists(l, l.startsWith(\"l{n}\")) && issue.due_at < now', then: {{ action: post_nudge, target: \"owner:x\" }}, rationale: r }}"
        );
    }
    text += "  - { id: last, when: 'issue.due_at - duration(\"2h\") <= now && \"web\" in issue.labels && issue.assignee != null', then: { action: post_nudge, target: \"team:web\" }, rationale: r }\n";
    let ruleset = load(&text).unwrap();
    let mut event = IssueEvent::new("e1", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1");
    event.labels = Said::Value(vec!["bug".into()]);
    event.due_at = Said::Value(minutes(600));
    event.assignee = Said::Null;
    let case = Case::Input(Input::Event { event: &event, payload_hash: None });
    let focus = Focus { rule: Some("last"), ..Focus::default() };
    let explanation = explain(&State::default(), case, minutes(0), &ruleset, focus);
    let last = explanation.issues[0].rules.iter().find(|rule| rule.id == "last").unwrap();
    let what_if = last.what_if.as_ref().unwrap();
    assert!(what_if.complete, "{what_if:?}");
    assert!(
        explanation.to_string().contains(
            "would fire with due_at at or before 2026-11-20T12:00:00Z and with label web and with any assignee, or from 2026-11-20T18:00:00Z on and with label web"
        ),
        "{explanation}"
    );
}
