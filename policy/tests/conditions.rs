//! What conditions say of one issue.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use events::IssueEvent;
use policy::{Input, Note, State, decide, load};
use serde_json::json;

/// Whether a condition holds; `None` when it errs.
fn holds(condition: &str) -> Option<bool> {
    let text = json!({
        "version": 1,
        "rules": [{
            "id": "r", "when": condition, "rationale": "r", "on_closed": true,
            "then": { "action": "post_nudge", "target": "owner:x" },
        }],
    });
    // JSON is YAML.
    let ruleset =
        load(&text.to_string()).unwrap_or_else(|diagnostics| panic!("{condition}\n{diagnostics:?}"));
    let event: IssueEvent = serde_json::from_value(json!({
        "event_id": "e", "project_id": "alpha", "source": "github", "type": "issue_updated",
        "issue_ref": "github:o/r#12", "repo": "o/r", "issue_number": 12, "title": "Crash in AREA/Web at start",
        "labels": ["Bug", "Area/Web", "ÜBER"], "assignee": "kim", "assignees": ["kim", "lee"], "priority": "Highest",
        "state": "open", "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-20T09:00:00Z", "due_at": null,
        "actor": "Ann", "change": { "labels": { "added": ["Area/Web"] }, "title": {} },
    }))
    .unwrap();
    let now = "2026-11-20T10:00:00Z".parse().unwrap();
    let decision =
        decide(&State::default(), Input::Event { event: &event, payload_hash: None }, now, &ruleset);
    match decision.notes.as_slice() {
        [Note::ConditionError { .. }] => None,
        [] => Some(!decision.actions.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verdicts() {
    let cases = [
        // Every field is there, null when unknown.
        (
            r#"issue.ref == "github:o/r#12" && issue.project == "alpha" && issue.source == "github""#,
            Some(true),
        ),
        (
            r#"issue.repo == "o/r" && issue.number == 12 && issue.key == null && issue.url == null"#,
            Some(true),
        ),
        (r#"issue.status == null && issue.due_at == null && issue.state == "open""#, Some(true)),
        (r#"issue.created_at < issue.updated_at && issue.updated_at < now"#, Some(true)),
        (r#"event.type == "issue_updated" && event.source == "github" && event.actor == "Ann""#, Some(true)),
        (
            r#""title" in event.changed && !("state" in event.changed) && size(event.labels_removed) == 0"#,
            Some(true),
        ),
        (r#"issue.due_at <= now"#, None),
        (r#"!(issue.due_at <= now)"#, None),
        (r#"issue.due_at <= now || "bug" in issue.labels"#, Some(true)),
        (r#"issue.due_at <= now && "none" in issue.labels"#, Some(false)),
        (r#"issue.due_at == now"#, Some(false)),
        (r#"issue.due_at != now"#, Some(true)),
        // Labels and priorities compare without regard to case, on either side and through lists and variables.
        (r#""BUG" in issue.labels && "area/web" in issue.labels && "über" in issue.labels"#, Some(true)),
        (
            r#"issue.priority == "HIGHEST" && "hiGhest" == issue.priority && issue.priority != "High""#,
            Some(true),
        ),
        (r#"issue.priority in ["P0", "HIGHEST"]"#, Some(true)),
        (r#"issue.labels.exists(l, l.startsWith("AREA/"))"#, Some(true)),
        (
            r#"issue.labels.exists(l, l.endsWith("/WEB")) && issue.labels.exists(l, l.contains("A/W"))"#,
            Some(true),
        ),
        (r#"issue.labels.exists(l, l.matches("^AREA/\\S+$"))"#, Some(true)),
        (r#"issue.labels.all(l, l in ["BUG", "Area/Web", "Über", "x"])"#, Some(true)),
        (r#"["BUG", "none"].exists(w, w in issue.labels)"#, Some(true)),
        (r#"issue.labels.exists(l, issue.title.contains(l))"#, Some(true)),
        (r#"issue.title.contains("area/web")"#, Some(false)),
        (r#"(issue.priority == null ? "NONE" : issue.priority) == "Highest""#, Some(true)),
        (r#"(issue.number == 1 ? issue.priority : "NONE") == "None""#, Some(true)),
        (r#"[issue.priority, "OTHER"].exists(p, p == "Other")"#, Some(true)),
        (r#""area/WEB" in event.labels_added"#, Some(true)),
        (r#"event.labels_added.exists(a, a in issue.labels)"#, Some(true)),
        // All else regards it.
        (r#"issue.assignee == "KIM" || event.actor == "ann" || issue.repo == "O/R""#, Some(false)),
        (r#"issue.title.startsWith("Crash") && !issue.title.startsWith("crash")"#, Some(true)),
        // Arithmetic on times.
        (
            r#"now - issue.created_at > duration("456h") && now - issue.created_at == duration("466h")"#,
            Some(true),
        ),
        (r#"issue.created_at + duration("1h30m") > timestamp("2026-11-01T01:00:00Z")"#, Some(true)),
        (r#"issue.created_at + duration("87600h") + duration("-1h") > now"#, Some(true)),
        (r#"timestamp("9999-12-31T23:00:00Z") + duration("2h") > now"#, None),
        (r#"now - duration("8760h") - issue.created_at < duration("0s")"#, Some(true)),
        // Other than RE2, which CEL names: classes know all scripts.
        (r#"!"٣".matches("[0-9]") && "٣".matches("^\\d$") && "ü".matches("^\\w$")"#, Some(true)),
        // Beyond 292 years a duration is none.
        (r#"timestamp("9000-01-01T00:00:00Z") - now > duration("1h")"#, None),
        (r#"timestamp("2318-01-01T00:00:00Z") - now > duration("1h")"#, Some(true)),
        // Null in a list, in a choice, for a list.
        (
            r#"issue.status in [null, "x"] && !(issue.title in [null, "x"]) && issue.labels != null"#,
            Some(true),
        ),
        (r#"(issue.due_at == null ? now : issue.due_at) <= now"#, Some(true)),
        (r#"issue.number in [11, 12] && issue.number > -1 && issue.number >= 12"#, Some(true)),
        (r#"size(issue.labels) == 3 && issue.labels.size() == 3 && size("ü") == 1"#, Some(true)),
    ];
    for (condition, verdict) in cases {
        assert_eq!(holds(condition), verdict, "{condition}");
    }
}
