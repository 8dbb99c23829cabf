//! Policies that are as dear as the limits let them be, and an issue on which they are: how long one decision takes, and how much
//! memory the process then holds.

use std::fmt::Write;

use criterion::measurement::Measurement;
use events::{EventType, FieldChange, IssueEvent, Said, Source};
use policy::{Input, Ruleset, State, decide, load, trial::Walk};

use crate::{cpu_time::CpuTime, world::now};

/// Two characters of four bytes that differ in the last: a text of them repeats itself as a part of them does, which is what
/// makes searching slow.
const GRIN: &str = "😀";
const BEAM: &str = "😁";

/// None of them holds for the issue, and none requires anything that an index could know it by.
fn conditions() -> Vec<(&'static str, String)> {
    let joined = |part: &str, operator: &str| vec![part; 7900 / (part.len() + operator.len())].join(operator);
    let repeating = format!("{}{GRIN}{GRIN}", format!("{GRIN}{BEAM}").repeat(5));
    let fields = |n: usize| format!("[{}]", vec!["issue.title, issue.status"; n].join(", "));
    vec![
        ("element is a text", r#"issue.labels.exists(l, l == issue.title)"#.into()),
        ("element contains", format!(r#"issue.labels.exists(l, l.contains("{repeating}"))"#)),
        (
            "element contains another",
            "issue.labels.exists(l, issue.assignees.exists(a, l.contains(a)))".into(),
        ),
        ("element within a text", "issue.labels.exists(l, issue.title.contains(l))".into()),
        ("element of another list", "issue.labels.exists(l, l in event.labels_added)".into()),
        ("lists in lists", "issue.assignees.exists(a, issue.assignees.exists(b, a < b && b < a))".into()),
        ("lower case in a loop", "issue.assignees.exists(a, a == issue.priority)".into()),
        (
            "lower case of what is written",
            format!(r#"issue.labels.exists(l, ["{}"].exists(s, s == l))"#, "Σ’".repeat(200)),
        ),
        (
            "lower case of a field in a list",
            "[issue.assignee, issue.title, issue.status].exists(s, s == issue.priority)".into(),
        ),
        (
            "choice in a loop",
            "issue.labels.exists(l, (size(l) > 5000 ? issue.title : issue.url) == l)".into(),
        ),
        ("fields in lists", format!("{0}.exists(a, {0}.exists(b, a < b && b < a))", fields(40))),
        ("text in a list of fields", format!("issue.url in {}", fields(150))),
        ("text before a text", "issue.labels.exists(l, issue.title < issue.status)".into()),
        ("text begins a text", "issue.labels.exists(l, issue.status.startsWith(issue.title))".into()),
        ("size in a loop", "issue.labels.exists(l, size(issue.title) > 5000)".into()),
        (
            "time in a loop",
            "issue.labels.exists(l, now + duration(\"1h\") < issue.updated_at - duration(\"1h\"))".into(),
        ),
        ("short list in a loop", r#"issue.labels.exists(l, ["x"].exists(s, s == l))"#.into()),
        ("pattern over elements", r#"issue.labels.exists(l, l.matches("^area/.*x"))"#.into()),
        ("word boundaries", r#"issue.title.matches("(?i)\\bcrash\\b")"#.into()),
        ("empty alternatives", format!(r#"issue.title.matches("(?:{})\\bzz")"#, "|".repeat(7_000))),
        (
            "empty alternatives in a loop",
            format!(r#"issue.labels.exists(l, issue.title.matches("(?:{})\\bzz"))"#, "|".repeat(20)),
        ),
        ("alternatives", r#"issue.title.matches("😀x|😀y|😀z|😁x|😁y|😁z|[😀😁]{8}w")"#.into()),
        ("repetitions", r#"issue.title.matches("(?:.?){40}\\bb")"#.into()),
        ("repetitions of a class", r#"issue.priority.matches("(?:\\w?){20}\\b#")"#.into()),
        ("large repetitions", r#"issue.title.matches("(?:😀?){400}b")"#.into()),
        ("large cache", r#"issue.url.matches("(?:a|b)*a(?:a|b){12}c")"#.into()),
        ("text within a text", "issue.title.contains(issue.assignee)".into()),
        ("8 KiB of contains", joined(&format!(r#"issue.title.contains("{repeating}")"#), " || ")),
        ("8 KiB of sizes", joined("size(issue.title) > 5000", " || ")),
        (
            "8 KiB of times",
            format!(
                "now < {}",
                joined("issue.updated_at - duration(\"1h\")", " - duration(\"1h\") || now < ")
            ),
        ),
    ]
}

fn ruleset(condition: &str, rules: usize) -> Option<Ruleset> {
    let mut text = "version: 1\nrules:\n".to_owned();
    for number in 0..rules {
        let _ = writeln!(
            text,
            "  - {{ id: r{number}, when: '{condition}', then: {{ action: post_nudge, target: \"owner:u\" }}, rationale: r }}"
        );
    }
    load(&text).ok()
}

/// The largest policy of such rules that is not refused, to within an eighth; none where a single one is.
fn largest(condition: &str) -> Option<(usize, Ruleset)> {
    let (mut fits, mut refused) = (1, 10_001);
    let mut best = ruleset(condition, fits)?;
    while refused - fits > fits / 8 + 1 {
        let tried =
            if refused > 2 * fits + 2 && fits * 8 < refused { fits * 8 } else { fits.midpoint(refused) };
        match ruleset(condition, tried) {
            Some(ruleset) => (fits, best) = (tried, ruleset),
            None => refused = tried,
        }
    }
    Some((fits, best))
}

pub(crate) fn print(only: Option<&str>) {
    // As many members as there can be, of as many bytes as they can have together, which differ at their ends.
    let word = |n: usize| {
        let (a, b) = (if n & 1 == 0 { GRIN } else { BEAM }, char::from_u32(0x4e00 + n as u32).unwrap_or('x'));
        format!("{}{a}{b}", format!("{GRIN}{BEAM}").repeat(7))
    };
    let mut event =
        IssueEvent::new("e", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1".to_owned());
    event.labels = Said::Value((0..256).map(word).collect());
    event.assignees = Said::Value((300..556).map(word).collect());
    event.title = Said::Value(format!("{GRIN}{BEAM}").repeat(512));
    event.status = Said::Value(format!("{GRIN}{BEAM}").repeat(511) + GRIN);
    event.assignee = Said::Value(format!("{GRIN}{BEAM}").repeat(200) + "Σ" + GRIN);
    event.priority = Said::Value("Ü".repeat(1024));
    event.url = Said::Value(
        (0..1024_u32).map(|n| if n.wrapping_mul(2_654_435_761) >> 13 & 1 == 0 { 'a' } else { 'b' }).collect(),
    );
    event.updated_at = Some(now());
    let added = FieldChange { added: (600..856).map(word).collect(), ..FieldChange::default() };
    event.change.insert("labels".to_owned(), added);
    let none = load("{ version: 1, rules: [] }").unwrap();
    let mut state = State::default();
    state.apply(decide(&state, Input::Event { event: &event, payload_hash: None }, now(), &none));
    let issue = state.issue("alpha", "github:o/r#1").unwrap();
    let walk = Walk {
        project: "alpha",
        issue_ref: "github:o/r#1",
        issue,
        event: Some(&event),
        now: now(),
        momentary: true,
        lasting: true,
    };
    println!("\n### The dearest policies that are not refused, on an issue of the greatest size\n");
    println!("| every rule | rules | loading, ms | one decision, ms | resident, MiB |");
    println!("|---|---:|---:|---:|---:|");
    for (name, condition) in conditions() {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let Some((rules, ruleset)) = largest(&condition) else {
            println!("| {name} | 0 | – | – | {} |", resident_mib());
            continue;
        };
        let started = CpuTime.start();
        let loaded = load(ruleset.text()).unwrap();
        let loading = CpuTime.end(started) as f64 / 1e6;
        drop(loaded);
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let started = CpuTime.start();
                let met = walk.indexed(&ruleset, |_| {});
                assert!(met.is_empty(), "{name}");
                CpuTime.end(started) as f64 / 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("| {name} | {rules} | {loading:.0} | {:.0} | {} |", times[1], resident_mib());
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
