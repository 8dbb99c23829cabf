//! The keys of a test file's maps.

use crate::load::shape::{Shape, may, must};

pub(super) const FILE: Shape = Shape {
    what: "a test file",
    keys: &[may("policy"), must("cases", "cases: []")],
    instead: &[
        ("tests", "cases"),
        ("case", "cases"),
        ("file", "policy"),
        ("rules", "they stand in the policy's own file"),
    ],
    example: "a file begins with `cases:`",
};

pub(super) const CASE: Shape = Shape {
    what: "a case",
    keys: &[must("name", "name: what the policy is to do"), must("steps", "steps: []")],
    instead: &[
        ("id", "name"),
        ("about", "name"),
        ("title", "name"),
        ("description", "name"),
        ("events", "steps"),
    ],
    example: "a case begins with `- name: …` and has steps",
};

pub(super) const STEP: Shape = Shape {
    what: "a step",
    keys: &[
        may("at"),
        may("advance"),
        may("event"),
        may("file"),
        may("policy"),
        may("expect"),
        may("expect_some"),
        may("expect_none"),
    ],
    instead: &[
        ("time", "at"),
        ("now", "at"),
        ("after", "advance"),
        ("wait", "advance"),
        ("sleep", "advance"),
        ("input", "event"),
        ("events", "one event a step"),
        ("issue", "it belongs to the event: `event: { type: issue_opened, issue: \"github:acme/app#12\" }`"),
        ("type", "it belongs to the event: `event: { type: issue_opened }`"),
        ("actions", "expect"),
        ("expected", "expect"),
        ("then", "expect"),
        ("contains", "expect_some"),
        ("expect_not", "expect_none"),
    ],
    example: "such as `event: { type: issue_opened }` or `advance: 26h`, with `expect: [ … ]`",
};

pub(super) const EXPECTED: Shape = Shape {
    what: "an expected action",
    keys: &[
        may("action"),
        may("target"),
        may("rule"),
        may("at"),
        may("issue"),
        may("project"),
        may("rationale"),
        may("params"),
    ],
    instead: &[
        ("id", "rule"),
        ("to", "target"),
        ("now", "at"),
        ("evaluated_at", "at"),
        ("issue_ref", "issue"),
        ("project_id", "project"),
        ("reason", "rationale"),
        ("duration", "write `params: { duration_min: 15 }`"),
        ("duration_min", "write `params: { duration_min: 15 }`"),
        ("start_at", "write `params: { start_at: \"…\" }`"),
        ("participants", "write `params: { participants: [ … ] }`"),
    ],
    example: "such as `{ action: post_nudge, target: \"team:triage\" }`",
};
