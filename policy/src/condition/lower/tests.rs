//! Where a message points: what is wrong is underlined, and nothing else. What the messages say stands in
//! `tests/bad/condition-*.txt`.

use super::super::{Budget, Condition};

#[track_caller]
fn underlined(condition: &str, expected: &[&str]) {
    let problems = Condition::parse(condition, &mut Budget::default()).expect_err(condition);
    let text = |span: std::ops::Range<usize>| condition[span].to_owned();
    let found: Vec<_> =
        problems.iter().map(|problem| problem.span.clone().map_or("everywhere".into(), text)).collect();
    assert_eq!(found, expected, "{condition}\n{problems:#?}");
}

#[test]
fn messages_point_at_what_is_wrong() {
    for (condition, wrong) in [
        // Of the parser.
        ("issue.state = \"open\"", "="),
        ("issue.title == 'ü' and true", "and"),
        ("issue.state == “open”", "“"),
        ("issue.state == \"open", "\"open"),
        ("issue.title == 'it's'", "'"),
        ("(issue.state == \"open\"", "("),
        ("true && (size(issue.labels) > 1", "("),
        ("issue.state == \"open\")", ")"),
        ("issue.number in [1, 2)", ")"),
        ("issue.number in (1, 2)", ","),
        ("issue.state ==  ", "=="),
        ("issue.state == == \"open\"", "=="),
        ("issue.due_at < now + 24h", "24h"),
        ("issue.due_at < 2026-11-21T16:00:00Z", "2026-11-21T16:00:00Z"),
        ("issue.number == 99999999999999999999", "99999999999999999999"),
        ("issue.title.matches(\"\\d+\")", "\"\\d+\""),
        ("issue?.title == \"x\"", "?."),
        ("issue.labels.exists(\"bug\", true)", "\"bug\""),
        ("true &&\n  issue.state = 'x'", "="),
        ("\u{a0}true", "\u{a0}"),
        // Of the checker.
        ("true && issue.lables == null", "issue.lables"),
        ("'x' in ['x'] && has( issue.due_at )", "has( issue.due_at )"),
        ("true && issue.labels.map(l, l).size() > 1", "issue.labels.map(l, l)"),
        ("true && issue.labels[0] == 'x'", "issue.labels[0]"),
        ("issue.number > 1.5", "1.5"),
        ("true && (issue.labels == 'x')", "issue.labels == 'x'"),
        ("size(issue.labels > 1)", "issue.labels > 1"),
        ("!issue.labels && true", "issue.labels"),
        ("issue.priority == 'P0' || 'P1'", "'P1'"),
        ("!'bug' in issue.labels", "!'bug'"),
        ("1 < issue.number < 5", "1 < issue.number < 5"),
        ("issue.due_at < 2026-11-21", "2026-11-21"),
        ("event.type == 'labeled'", "'labeled'"),
        ("issue.number in [1, '2']", "'2'"),
        ("good-first-issue in issue.labels", "good-first-issue"),
        ("issue.title.matches('ü(b')", "("),
        ("issue.title.matches('(\\\\d')", "'(\\\\d'"),
        ("issue.labels.exists(l, lable == 'x')", "lable"),
        ("now - issue.created_at > duration('2d')", "'2d'"),
        ("matches(issue.title, 'x')", "matches(issue.title, 'x')"),
        ("issue.created_at.getFullYear() == 2026", "issue.created_at.getFullYear()"),
        ("type(issue.title) == string", "type(issue.title)"),
        ("issue.labels.contains == 'x'", "issue.labels.contains"),
    ] {
        underlined(condition, &[wrong]);
    }
}

#[test]
fn everything_that_is_wrong_is_said_once() {
    underlined(
        "issue.lables == null && (issue.titel == 'x' || bug in issue.labels) && issue.number == '1'",
        &["issue.lables", "issue.titel", "bug", "issue.number == '1'"],
    );
    underlined("issue.lables.exists(l, l == foo) ? issue.x == 1 : y", &["issue.lables", "issue.x", "y"]);
    underlined("[issue.x, 1, 'a'].exists(l, l == 1)", &["issue.x", "'a'"]);
}
