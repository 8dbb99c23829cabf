//! Rules and events: an organisation of fifty projects. Drawn from a fixed seed, so that every run has the same.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventType, FieldChange, IssueEvent, Said, Source};

/// How many events take turns.
pub(crate) const EVENTS: usize = 128;

const PROJECTS: usize = 50;
const LABELS: usize = 200;
const AREAS: usize = 40;
const PEOPLE: usize = 300;
const PRIORITIES: [&str; 5] = ["p0", "p1", "p2", "p3", "p4"];

/// What is different from one table to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every hundredth rule requires nothing that an index could know it by.
    Usual,
    /// Every rule can be indexed.
    AllIndexable,
    /// As usual, and labels are as frequent as words are (Zipf), in rules and on issues alike.
    Skewed,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Usual, Self::AllIndexable, Self::Skewed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::AllIndexable => "all-indexable",
            Self::Skewed => "skewed",
        }
    }
}

/// One rule, in both languages.
pub(crate) struct Written {
    pub(crate) cel: String,
    /// The body of a rule of Rego.
    pub(crate) rego: String,
    /// Rules that the body refers to.
    pub(crate) rego_helpers: String,
}

pub(crate) struct World {
    pub(crate) rules: Vec<Written>,
    pub(crate) events: Vec<IssueEvent>,
}

impl World {
    pub(crate) fn new(kind: Kind, size: usize) -> Self {
        let mut draw = Draw { state: 0x5eed, skewed: kind == Kind::Skewed };
        let events = (0..EVENTS).map(|number| event(&mut draw, number)).collect();
        let rules = (0..size)
            .map(|number| {
                // In the middle of each hundred.
                let free = kind != Kind::AllIndexable && (number % 100 == 50 || size < 100 && number == 5);
                if free { free_rule(&mut draw, number) } else { rule(&mut draw, number) }
            })
            .collect();
        Self { rules, events }
    }

    /// The policy file.
    pub(crate) fn policy(&self) -> String {
        let mut text = "version: 1\nrules:\n".to_owned();
        for (number, rule) in self.rules.iter().enumerate() {
            let _ = writeln!(
                text,
                "  - {{ id: r{number}, when: '{}', then: {{ action: post_nudge, target: \"owner:u{}\" }}, rationale: Look at it }}",
                rule.cel,
                number % PEOPLE
            );
        }
        text
    }
}

/// A rule's place in [`World::rules`], by the line on which it stands.
pub(crate) fn place(rule: &policy::Rule) -> usize {
    rule.line() - 3
}

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn rule(draw: &mut Draw, number: usize) -> Written {
    let project = draw.below(PROJECTS);
    let repo = format!("org{project}/r{}", draw.below(3));
    let project = format!("project-{project}");
    let (label, other) = (draw.label(), draw.label());
    let person = format!("u{}", draw.below(PEOPLE));
    let urgent = draw.below(4);
    let (high, higher) = (PRIORITIES[urgent], PRIORITIES[urgent + 1]);
    let area = format!("area/{}", draw.below(AREAS));
    let plain = |cel: String, rego: String| Written { cel, rego, rego_helpers: String::new() };
    match draw.below(100) {
        0..25 => plain(
            format!(
                r#"issue.project == "{project}" && "{label}" in issue.labels && issue.priority in ["{high}", "{higher}"]"#
            ),
            format!(
                r#"input.project == "{project}"; input.labels["{label}"]; input.priority in {{"{high}", "{higher}"}}"#
            ),
        ),
        25..45 => plain(
            format!(r#"issue.repo == "{repo}" && "{label}" in issue.labels"#),
            format!(r#"input.repo == "{repo}"; input.labels["{label}"]"#),
        ),
        45..60 => plain(
            format!(
                r#""{label}" in issue.labels && "{other}" in issue.labels && issue.priority == "{high}""#
            ),
            format!(r#"input.labels["{label}"]; input.labels["{other}"]; input.priority == "{high}""#),
        ),
        60..70 => plain(
            format!(r#"issue.assignee == "{person}" && issue.state == "open" && "{label}" in issue.labels"#),
            format!(r#"input.assignee == "{person}"; input.state == "open"; input.labels["{label}"]"#),
        ),
        70..80 => plain(
            format!(
                r#"event.type in ["issue_updated", "issue_opened"] && "{label}" in event.labels_added && issue.project == "{project}""#
            ),
            format!(
                r#"input.type in {{"issue_updated", "issue_opened"}}; input.labels_added["{label}"]; input.project == "{project}""#
            ),
        ),
        80..88 => plain(
            format!(
                r#"issue.labels.exists(l, l.startsWith("{area}/")) && issue.priority == "{high}" && "{label}" in issue.labels"#
            ),
            format!(
                r#"input.priority == "{high}"; input.labels["{label}"]; some l, _ in input.labels; startswith(l, "{area}/")"#
            ),
        ),
        88..95 => Written {
            cel: format!(
                r#"issue.project == "{project}" && ("{label}" in issue.labels && "{other}" in issue.labels || issue.assignee == "{person}")"#
            ),
            rego: format!(r#"input.project == "{project}"; helper_{number}"#),
            rego_helpers: format!(
                "helper_{number} if {{ input.labels[\"{label}\"]; input.labels[\"{other}\"] }}\nhelper_{number} if {{ input.assignee == \"{person}\" }}\n"
            ),
        },
        _ => plain(
            format!(
                r#"issue.repo == "{repo}" && issue.due_at != null && issue.due_at < now + duration("24h") && !("{label}" in issue.labels) && "{other}" in issue.labels"#
            ),
            format!(
                r#"input.repo == "{repo}"; input.labels["{other}"]; input.due_at != null; input.due_at < input.now + 86400; not input.labels["{label}"]"#
            ),
        ),
    }
}

/// Negations, sizes, parts of texts, ages: true of any project, label or person.
fn free_rule(draw: &mut Draw, number: usize) -> Written {
    let label = draw.label();
    let (cel, rego) = match (number / 100) % 4 {
        0 => (
            format!(r#"issue.title.contains("outage {number}") && !("{label}" in issue.labels)"#),
            format!(r#"contains(input.title, "outage {number}"); not input.labels["{label}"]"#),
        ),
        1 => (
            format!(r#"size(issue.labels) > {} && issue.priority != "p4""#, 9 + number % 5),
            format!(r#"count(input.labels) > {}; input.priority != "p4""#, 9 + number % 5),
        ),
        2 => (
            format!(r#"issue.updated_at < now - duration("{}h") && issue.state != "closed""#, 5000 + number),
            format!(r#"input.updated_at < input.now - {}; input.state != "closed""#, (5000 + number) * 3600),
        ),
        _ => (
            format!(
                r#"issue.title.endsWith("(case {number})") || issue.title.startsWith("Case {number}:") && issue.priority != "p3""#
            ),
            String::new(),
        ),
    };
    if rego.is_empty() {
        return Written {
            cel,
            rego: format!("helper_{number}"),
            rego_helpers: format!(
                "helper_{number} if {{ endswith(input.title, \"(case {number})\") }}\nhelper_{number} if {{ startswith(input.title, \"Case {number}:\"); input.priority != \"p3\" }}\n"
            ),
        };
    }
    Written { cel, rego, rego_helpers: String::new() }
}

fn event(draw: &mut Draw, number: usize) -> IssueEvent {
    let project = draw.below(PROJECTS);
    let types = [
        EventType::IssueOpened,
        EventType::IssueUpdated,
        EventType::IssueUpdated,
        EventType::IssueUpdated,
        EventType::IssueCommented,
        EventType::IssueReopened,
    ];
    let event_type = types[draw.below(types.len())].clone();
    let repo = format!("org{project}/r{}", draw.below(3));
    let mut event = IssueEvent::new(
        &format!("e{number}"),
        &format!("project-{project}"),
        Source::Github,
        event_type,
        format!("github:{repo}#{number}"),
    );
    let mut labels: Vec<_> = (0..1 + draw.below(4)).map(|_| draw.label()).collect();
    if draw.below(3) == 0 {
        labels.push(format!("area/{}/part-{}", draw.below(AREAS), draw.below(5)));
    }
    labels.sort();
    labels.dedup();
    if event.event_type == EventType::IssueUpdated && draw.below(2) == 0 {
        let added = FieldChange { added: vec![labels[0].clone()], ..FieldChange::default() };
        event.change.insert("labels".to_owned(), added);
    }
    event.labels = Said::Value(labels);
    event.repo = Some(repo);
    event.issue_number = Some(number as u64 + 1);
    event.title = Said::Value(format!("Checkout fails for some customers after update {number}"));
    event.url = Said::Value(format!("https://example.com/issues/{number}"));
    event.assignee = match draw.below(3) {
        0 => Said::Null,
        _ => Said::Value(format!("u{}", draw.below(PEOPLE))),
    };
    event.priority = Said::Value(PRIORITIES[draw.below(5)].to_owned());
    event.state = Said::Value(events::IssueState::Open);
    event.created_at = Some(now() - TimeDelta::hours(100 + draw.below(1000) as i64));
    event.updated_at = Some(now() - TimeDelta::minutes(draw.below(90) as i64));
    event.due_at = match draw.below(3) {
        0 => Said::Value(now() + TimeDelta::hours(draw.below(200) as i64)),
        _ => Said::Null,
    };
    event.actor = Some(format!("u{}", draw.below(PEOPLE)));
    event
}

/// SplitMix64.
struct Draw {
    state: u64,
    skewed: bool,
}

impl Draw {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn label(&mut self) -> String {
        let rank = if self.skewed {
            // Zipf with exponent 1: the rank is where the harmonic sum passes a drawn part of the whole.
            let whole: f64 = (1..=LABELS).map(|rank| 1.0 / rank as f64).sum();
            let part = self.next() as f64 / u64::MAX as f64 * whole;
            let mut sum = 0.0;
            (1..=LABELS)
                .position(|rank| {
                    sum += 1.0 / rank as f64;
                    sum >= part
                })
                .unwrap_or(LABELS - 1)
        } else {
            self.below(LABELS)
        };
        format!("label-{rank}")
    }
}
