//! Test files of policies: what is refused, and how it is said; how a failing case is explained; limits; and that the samples hold.
//!
//! `cases/bad/*.yaml` are refused with exactly what stands in the `.txt` beside them, and the cases of `cases/failing/*.yaml` fail with
//! exactly that (`UPDATE_EXPECTED=1` writes those anew).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use events::IssueEvent;
use policy::{
    Diagnostic, MAX_TEXT_BYTES, Ruleset,
    cases::{self, Files, MAX_STEPS, Ran, Suite, Work},
    load,
};
use serde_json::Value;

/// Files beside the test file. Events are whole ones here: what `publish` derives is the program's business.
struct Folder(PathBuf);

impl Files for Folder {
    fn event(&mut self, name: &str) -> Result<IssueEvent, String> {
        let text = self.policy(name)?;
        let mut value: Value =
            serde_json::from_str(&text).map_err(|error| format!("{name} is no JSON: {error}"))?;
        let fields = value.as_object_mut().ok_or("an event is a JSON object")?;
        let number = fields.get("issue_number").cloned().unwrap_or_default();
        let derived =
            format!("github:{}#{number}", fields.get("repo").and_then(Value::as_str).unwrap_or_default());
        fields.entry("issue_ref").or_insert(derived.into());
        fields.entry("event_id").or_insert(name.into());
        IssueEvent::by_hand(fields.clone()).map_err(|mistake| format!("{name}: {mistake}"))
    }

    fn policy(&mut self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(name)).map_err(|_| format!("{name} cannot be read"))
    }
}

fn parse(text: &str) -> Result<Suite, Vec<Diagnostic>> {
    cases::parse(text, &mut Folder(folder("failing")))
}

fn refused(text: &str) -> String {
    in_words(&parse(text).expect_err("the test file is refused"))
}

fn in_words(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

fn policy(text: &str) -> Ruleset {
    load(text).unwrap_or_else(|diagnostics| panic!("{}", in_words(&diagnostics)))
}

/// Runs the only case of a file.
fn run(policy: &Ruleset, text: &str) -> Ran {
    let suite = parse(text).unwrap_or_else(|diagnostics| panic!("{}", in_words(&diagnostics)));
    assert_eq!(suite.cases().len(), 1);
    suite.cases()[0].run(policy, &mut Work::default())
}

fn failures(ran: &Ran) -> String {
    let mut out = String::new();
    for failure in &ran.failures {
        let (step, line, at) = (failure.step, failure.line, failure.at.to_rfc3339());
        writeln!(out, "step {step}, line {line}, {at}, {}: {}", failure.what, failure.message).unwrap();
        failure.lines.iter().for_each(|line| writeln!(out, "  {line}").unwrap());
        failure.why.iter().for_each(|why| writeln!(out, "  why: {why}").unwrap());
    }
    out
}

/// Compares what is said of each file of a folder with the text beside it.
fn all_as_expected(name: &str, at_least: usize, said: impl Fn(&Path, &str) -> String) {
    let (mut files, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".test.yaml") {
            continue;
        }
        files += 1;
        let said = said(&path, &fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(files >= at_least, "only {files} files were found");
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn bad_files() {
    all_as_expected("bad", 8, |_, text| refused(text));
}

#[test]
fn failures_are_explained() {
    all_as_expected("failing", 3, |path, text| {
        let suite = parse(text).unwrap_or_else(|diagnostics| panic!("{}", in_words(&diagnostics)));
        let beside = path.to_string_lossy().replace(".test.yaml", ".yaml");
        let ruleset = policy(&fs::read_to_string(beside).unwrap());
        let mut out = in_words(&suite.unknown_names(&ruleset));
        let mut work = Work::default();
        for case in suite.cases() {
            let ran = case.run(&ruleset, &mut work);
            assert!(!ran.failures.is_empty(), "{:?} of {} passes", case.name(), path.display());
            writeln!(out, "{}\n{}", case.name(), failures(&ran)).unwrap();
        }
        out
    });
}

#[test]
fn the_samples_hold_and_every_rule_of_theirs_fires() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let mut count = 0;
    for dir in [samples.clone(), samples.join("policies")] {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".test.yaml") else {
                continue;
            };
            let suite = cases::parse(&fs::read_to_string(&path).unwrap(), &mut Folder(dir.clone()))
                .unwrap_or_else(|diagnostics| panic!("{}:\n{}", path.display(), in_words(&diagnostics)));
            let ruleset = policy(&fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap());
            assert!(ruleset.warnings().is_empty(), "{:?}", ruleset.warnings());
            assert_eq!(in_words(&suite.unknown_names(&ruleset)), "");
            let mut fired = std::collections::BTreeSet::new();
            let mut work = Work::default();
            for case in suite.cases() {
                count += 1;
                let ran = case.run(&ruleset, &mut work);
                assert!(ran.failures.is_empty(), "{}: {}\n{}", path.display(), case.name(), failures(&ran));
                fired.extend(ran.fired);
            }
            let silent: Vec<_> =
                ruleset.rules().map(|rule| rule.id()).filter(|id| !fired.contains(*id)).collect();
            assert!(silent.is_empty(), "{name}: no case makes {silent:?} fire");
        }
    }
    assert!(count >= 30, "only {count} cases were found");
}

/// A policy of one rule, which nudges whoever the issue is assigned to, else Bo.
fn nudging(condition: &str) -> Ruleset {
    let condition = condition.replace('\'', "''");
    policy(&format!(
        "version: 1\nrules:\n  - id: r\n    when: '{condition}'\n    then: {{ action: post_nudge, target: [assignee, \"owner:bo\"] }}\n    \
         rationale: r\n"
    ))
}

fn passes(condition: &str, steps: &str) {
    let ran = run(&nudging(condition), &format!("cases: [{{ name: x, steps: [{steps}] }}]"));
    assert!(ran.failures.is_empty(), "{condition}\n{steps}\n{}", failures(&ran));
}

#[test]
fn a_short_event_is_a_whole_one() {
    let fires = "expect: [post_nudge owner:bo r]";
    for (event, condition) in [
        (
            "type: issue_opened",
            "issue.ref == \"github:acme/app#1\" && issue.repo == \"acme/app\" && issue.number == 1",
        ),
        (
            "type: issue_opened",
            "issue.project == \"alpha\" && issue.source == \"github\" && issue.state == \"open\"",
        ),
        ("type: issue_opened", "size(issue.labels) == 0 && issue.assignee == null && issue.due_at == null"),
        (
            "type: issue_opened",
            "issue.created_at == now && issue.updated_at == now && now == timestamp(\"2026-01-05T09:00:00Z\")",
        ),
        (
            "type: issue_opened, issue: \"github:Acme/Shop#12\"",
            "issue.repo == \"Acme/Shop\" && issue.number == 12",
        ),
        ("type: issue_opened, issue_number: 7", "issue.ref == \"github:acme/app#7\""),
        ("type: issue_opened, repo: a/b", "issue.ref == \"github:a/b#1\""),
        (
            "type: issue_created, issue: \"jira:x.net/OPS-3\"",
            "issue.source == \"jira\" && issue.key == \"OPS-3\"",
        ),
        ("type: issue_created, issue_key: OPS-3", "issue.ref == \"jira:acme.atlassian.net/OPS-3\""),
        ("type: issue_created, source: jira", "issue.key == \"APP-1\""),
        (
            "type: issue_updated",
            "issue.labels == null && issue.created_at == null && issue.updated_at == now",
        ),
        (
            "type: issue_updated, updated_at: 2026-02-01T00:00:00Z",
            "now == timestamp(\"2026-02-01T00:00:00Z\")",
        ),
        ("type: issue_opened, created_at: 2026-02-01T00:00:00Z", "now == issue.created_at"),
    ] {
        passes(condition, &format!("{{ event: {{ {event} }}, {fires} }}"));
    }
}

#[test]
fn an_event_that_names_no_issue_is_about_the_last_one() {
    let opened = "{ event: { type: issue_opened, issue: \"jira:x.net/OPS-3\", project_id: beta } }";
    passes(
        "event.type == \"issue_commented\" && issue.key == \"OPS-3\"",
        &format!("{opened}, {{ event: {{ type: issue_commented }}, expect: [{{ project: beta }}] }}"),
    );
    passes(
        "event.type == \"issue_commented\" && issue.number == 2",
        &format!("{opened}, {{ event: {{ type: issue_commented, issue_number: 2 }}, expect: [post_nudge] }}"),
    );
    // A milestone is no issue.
    passes(
        "event.type == \"issue_commented\" && issue.key == \"OPS-3\"",
        &format!(
            "{opened}, {{ event: {{ type: milestone_updated, issue: \"github:a/b/milestone/3\" }} }}, \
             {{ event: {{ type: issue_commented }}, expect: [post_nudge] }}"
        ),
    );
}

#[test]
fn time_goes_as_the_steps_say() {
    let opened = "{ event: { type: issue_opened } }";
    for (step, at) in [
        ("event: { type: issue_commented }", "2026-01-05T09:01:00Z"),
        ("at: 2026-01-05T09:00:00Z, event: { type: issue_commented }", "2026-01-05T09:00:00Z"),
        ("at: 2026-01-05T10:00:00+01:00, event: { type: issue_commented }", "2026-01-05T09:00:00Z"),
        ("advance: 1h30m, event: { type: issue_commented }", "2026-01-05T10:30:00Z"),
        ("event: { type: issue_commented, updated_at: 2026-01-07T00:00:00Z }", "2026-01-07T00:00:00Z"),
        // It comes late.
        ("event: { type: issue_commented, updated_at: 2026-01-05T08:00:00Z }", "2026-01-05T09:01:00Z"),
    ] {
        passes(
            "event.type == \"issue_commented\"",
            &format!("{opened}, {{ {step}, expect: [post_nudge owner:bo r @{at}] }}"),
        );
    }
    // Two events of one instant, neither of which says when it was: the second is the younger.
    passes(
        "\"bug\" in issue.labels",
        &format!(
            "{opened}, {{ at: 2026-01-05T09:00:00Z, event: {{ type: issue_updated, labels: [bug] }}, expect: [post_nudge] }}"
        ),
    );
}

#[test]
fn each_of_several_expected_actions_needs_one_of_its_own() {
    let opened = |number: usize, who: &str| {
        format!(
            "{{ event: {{ type: issue_opened, issue_number: {number}, assignee: {who}, due_at: 2026-01-06T00:00:00Z }} }}"
        )
    };
    let both = format!("{}, {}", opened(1, "ann"), opened(2, "bea"));
    let ruleset = policy(
        "version: 1\nrules:\n  - { id: r, at: issue.due_at, when: \"issue.due_at <= now\", then: { action: post_nudge, target: assignee }, rationale: r }",
    );
    for (expected, holds) in [
        ("post_nudge, post_nudge", true),
        // The first must leave Ann to the second.
        ("post_nudge, post_nudge owner:ann", true),
        ("post_nudge owner:ann, post_nudge", true),
        ("post_nudge owner:ann, post_nudge owner:ann", false),
        ("post_nudge, post_nudge, post_nudge", false),
    ] {
        let ran = run(
            &ruleset,
            &format!(
                "cases: [{{ name: x, steps: [{both}, {{ advance: 24h, expect_some: [{expected}] }}] }}]"
            ),
        );
        assert_eq!(ran.failures.is_empty(), holds, "{expected}\n{}", failures(&ran));
    }
}

#[test]
fn params_are_compared_as_they_are_named() {
    let ruleset = policy(
        "version: 1\nrules:\n  - { id: r, when: \"true\", then: { action: schedule_unblocker, target: \"owner:bo\", duration: 45m }, rationale: Why }",
    );
    for (expected, holds) in [
        ("params: { duration_min: 45 }", true),
        (
            "params: { duration_min: 45, participants: [bo], start_at: \"2026-01-05T09:15:00Z\", title: It }",
            true,
        ),
        ("params: { start_at: 2026-01-05T10:15:00+01:00 }", true),
        ("params: { duration_min: 30 }", false),
        ("params: { minutes: 45 }", false),
        ("params: { participants: [] }", false),
        ("rationale: Why", true),
        ("rationale: why", false),
        ("issue: \"github:acme/app#1\", project: alpha, rule: r", true),
        ("issue: \"github:acme/app#2\"", false),
    ] {
        let text = format!(
            "cases: [{{ name: x, steps: [{{ event: {{ type: issue_opened, title: It }}, expect: [{{ {expected} }}] }}] }}]"
        );
        let ran = run(&ruleset, &text);
        assert_eq!(ran.failures.is_empty(), holds, "{expected}\n{}", failures(&ran));
    }
}

#[test]
fn another_policy_takes_effect_silently_and_is_not_the_one_that_is_covered() {
    let bug = nudging("\"bug\" in issue.labels");
    let text = "cases:
  - name: x
    steps:
      - event: { type: issue_opened, labels: [web] }
        expect: []
      - policy: explained.yaml
        expect: []
      - event: { type: issue_updated, labels: [bug, web] }
        expect: [escalate_owner team:platform bug]
";
    let ran = run(&bug, text);
    assert!(ran.failures.is_empty(), "{}", failures(&ran));
    assert!(ran.fired.is_empty());
    assert_eq!(in_words(&parse(text).unwrap().unknown_names(&bug)), "");
}

#[test]
fn nothing_is_larger_than_it_may_be() {
    let case = "  - { name: case N, steps: [{ advance: 1h, expect: [] }] }\n";
    let cases = |count: usize| {
        let cases: String = (0..count).map(|n| case.replace('N', &n.to_string())).collect();
        format!("cases:\n{cases}")
    };
    assert_eq!(parse(&cases(1000)).unwrap().cases().len(), 1000);
    assert!(refused(&cases(1001)).contains("at most 1000 entries; here are 1001"));
    let steps =
        format!("cases:\n  - name: x\n    steps:\n{}", "      - { advance: 1h, expect: [] }\n".repeat(1001));
    assert!(refused(&steps).contains("`steps` may have at most 1000"));
    let expected = format!(
        "cases: [{{ name: x, steps: [{{ advance: 1h, expect: [{}] }}] }}]",
        "post_nudge, ".repeat(201)
    );
    assert!(refused(&expected).contains("`expect` may have at most 200"));

    for (text, says) in [
        (" ".repeat(MAX_TEXT_BYTES + 1), "at most 2097152 bytes"),
        (format!("cases: {}", "[".repeat(10_000)), "nest more than"),
        (format!("cases:\n{}", "- ".repeat(10_000)), "nest more than"),
        (format!("cases:\n  - name: x\n    steps:\n      - event: {}", "{a: ".repeat(10_000)), "nest more than"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
             e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ncases: [*f,*f,*f,*f,*f,*f,*f,*f]"
                .to_owned(),
            "aliases repeat too much",
        ),
        (
            format!("a: &a \"{}\"\nb: [{}]\ncases: []", "x".repeat(1_000_000), "*a,".repeat(1000)),
            "aliases repeat too much: more than 16777216 bytes of text",
        ),
        ("cases: [{ name: x, steps: [{ advance: 999999999h, expect: [] }] }]".to_owned(), "at most 3650d"),
        ("cases: [{ name: \"a\\u0000b\", steps: [] }]".to_owned(), "on one line"),
    ] {
        let said = refused(&text);
        assert!(said.contains(says), "{said}");
        assert!(said.len() < 20_000, "{} bytes", said.len());
    }
}

/// A case of so many events of which each is asked about by every rule, and of as many hours in which one repeats.
fn long_case(name: usize, events: usize) -> String {
    let opened = "      - event: { type: issue_opened, labels: [a] }\n        expect: []\n";
    format!("  - name: case {name}\n    steps:\n{}      - advance: 100d\n", opened.repeat(events))
}

#[test]
fn the_cases_of_a_file_take_a_bounded_amount_of_work_together() {
    let rules: String = (0..500)
        .map(|n| {
            format!("  - {{ id: r{n}, when: 'issue.title.startsWith(\"{n}\")', then: {{ action: post_nudge, target: assignee }}, rationale: r }}\n")
        })
        .collect();
    let ruleset = policy(&format!("version: 1\nrules:\n{rules}"));
    let text = format!("cases:\n{}", (0..40).map(|n| long_case(n, 50)).collect::<String>());
    let suite = parse(&text).unwrap_or_else(|diagnostics| panic!("{}", in_words(&diagnostics)));
    let failed = |work: &mut Work| -> Vec<bool> {
        suite
            .cases()
            .iter()
            .map(|case| {
                let ran = case.run(&ruleset, work);
                let said = failures(&ran);
                assert!(
                    ran.failures.len() <= 1 && (said.is_empty() || said.contains("steps together")),
                    "{said}"
                );
                assert!(said.is_empty() || said.contains(&MAX_STEPS.to_string()), "{said}");
                !ran.failures.is_empty()
            })
            .collect()
    };
    // 40 cases of 50 events and 500 rules: a million and something.
    assert!(!failed(&mut Work::default()).contains(&true));
    let little = failed(&mut Work::of(600_000));
    let first = little.iter().position(|failed| *failed).unwrap();
    assert!((10..35).contains(&first), "{little:?}");
    assert!(little[first..].iter().all(|failed| *failed), "what comes after is not run: {little:?}");
    // The same again, whatever the machine.
    assert_eq!(failed(&mut Work::of(600_000)), little);
}

#[test]
fn timers_and_comparisons_are_work_too() {
    let nag = policy(
        "version: 1\nrules:\n  - { id: r, repeat: 1m, when: \"true\", then: { action: post_nudge, target: \"owner:bo\" }, rationale: r }",
    );
    let suite = |expect: &str| {
        parse(&format!(
            "cases: [{{ name: x, steps: [{{ event: {{ type: issue_opened }} }}, {{ advance: 100h, {expect} }}] }}]"
        ))
        .unwrap()
    };
    let fails = |expect: &str, steps: u64| {
        let ran = suite(expect).cases()[0].run(&nag, &mut Work::of(steps));
        failures(&ran).contains("steps together")
    };
    let none = "expect_none: [{ rule: x }]";
    assert!(fails(none, 6_000) && !fails(none, 100_000));
    // Six thousand actions beside two hundred.
    let many = format!("expect_some: [{}]", "post_nudge, ".repeat(200));
    let ran = suite(&many).cases()[0].run(&nag, &mut Work::of(100_000));
    assert!(ran.failures.is_empty(), "{}", failures(&ran));
    let mut work = Work::of(100_000);
    suite(&many).cases()[0].run(&nag, &mut work);
    assert!(failures(&suite(none).cases()[0].run(&nag, &mut work)).contains("steps together"));
}

#[test]
fn a_test_file_names_so_many_files() {
    let steps = |key: &str, count: usize| {
        let steps: String = (0..count).map(|n| format!("{{ {key}: f{n}, expect: [] }}, ")).collect();
        format!(
            "cases: [{{ name: x, steps: [{steps}] }}, {{ name: y, steps: [{{ {key}: one-more, expect: [] }}] }}]"
        )
    };
    struct Any;
    impl Files for Any {
        fn event(&mut self, name: &str) -> Result<IssueEvent, String> {
            use events::{EventType, Source};
            Ok(IssueEvent::new(name, "p", Source::Github, EventType::IssueOpened, "github:o/r#1"))
        }

        fn policy(&mut self, _: &str) -> Result<String, String> {
            Ok("version: 1\nrules: []".to_owned())
        }
    }
    let refused = |text: &str| in_words(&cases::parse(text, &mut Any).expect_err("the test file is refused"));
    assert!(cases::parse(&steps("file", 999), &mut Any).is_ok());
    assert!(refused(&steps("file", 1000)).contains("at most 1000 files with events"));
    assert!(cases::parse(&steps("policy", 19), &mut Any).is_ok());
    assert!(refused(&steps("policy", 20)).contains("at most 20 policies"));
}

#[test]
fn a_repeated_assignment_to_a_team_hands_the_issue_on() {
    let ruleset = |condition: &str| {
        policy(&format!(
            "version: 1\nteams: {{ triage: {{ members: [alice, bo] }} }}\nrules:\n  - {{ id: r, repeat: 24h, when: '{condition}', then: {{ \
             action: assign_owner, target: \"team:triage\" }}, rationale: r }}"
        ))
    };
    let steps = |assigned: &str, after: &str| {
        format!(
            "cases: [{{ name: x, steps: [{{ event: {{ type: issue_opened }}, expect: [assign_owner owner:alice] }}, \
             {assigned}{{ advance: 25h, expect: [{after}] }}] }}]"
        )
    };
    let passes = |condition: &str, text: &str| {
        let ran = run(&ruleset(condition), text);
        assert!(ran.failures.is_empty(), "{condition}\n{text}\n{}", failures(&ran));
    };
    passes("issue.state == \"open\"", &steps("", "assign_owner owner:bo"));
    let assigned = "{ event: { type: issue_updated, assignee: alice, assignees: [alice] }, expect: [] }, ";
    passes("issue.state == \"open\"", &steps(assigned, "assign_owner owner:bo"));
    passes("issue.assignee == null", &steps(assigned, ""));
}
